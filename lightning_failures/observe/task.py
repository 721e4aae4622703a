"""What a module is trained for, and its scores and labels in the one shape that all monitors take."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from lightning_failures.errors import InputError, UnknownNameError

__all__ = [
    "CLASSIFIES",
    "NO_LABEL",
    "Kind",
    "LabelAnswers",
    "Task",
    "check_kind",
    "errors_of_answers",
    "is_one_hot",
    "known_labels",
    "label_answers",
    "logits_of_scores",
    "task_of_shapes",
]

#: What a module may be trained for. ``multilabel``: several answers of yes or no an image; ``regression``: numbers, an
#: image built again included; ``embedding``: views of an image are compared; ``unknown``: nothing that was heard or
#: seen says it.
Kind = Literal[
    "multiclass", "binary", "pixel_multiclass", "pixel_binary", "multilabel", "regression", "embedding", "unknown"
]

#: What scores are: any numbers whose softmax or sigmoid is meant, or probabilities already.
Scale = Literal["logits", "probabilities"]

CLASSIFIES: tuple[Kind, ...] = ("multiclass", "binary", "pixel_multiclass", "pixel_binary")

#: Label of an image or a pixel that has none; all metrics take a negative one for that.
NO_LABEL = -100

#: Share of a row of labels that its class holds.
SURE = 0.9

_WORDS: dict[Kind, str] = {
    "multiclass": "classification",
    "binary": "binary classification",
    "pixel_multiclass": "segmentation",
    "pixel_binary": "binary segmentation",
    "multilabel": "a task of several labels per image",
    "regression": "regression",
    "embedding": "embedding of views",
    "unknown": "a task that is not known",
}


@dataclass(frozen=True)
class Task:
    """What a module is trained for.

    Args:
        kind: see :data:`Kind`.
        classes: number of classes, 2 for one score; of several labels their number; None where it is not known.
        ignore_index: label that the loss leaves out; None: it has none.
        loss: name of the loss that says so; None: it was not heard.
        one_score: whether one score tells two classes apart.
        scale: what the scores are.
        why: why the kind is not known, or why scores of it are not read.
    """

    kind: Kind = "unknown"
    classes: int | None = None
    ignore_index: int | None = None
    loss: str | None = None
    one_score: bool = False
    scale: Scale = "logits"
    why: str | None = None

    @property
    def classifies(self) -> bool:
        """Whether each image, or each pixel, is put into one class."""
        return self.kind in CLASSIFIES

    @property
    def pixels(self) -> bool:
        """Whether each pixel has a label."""
        return self.kind in ("pixel_multiclass", "pixel_binary")

    @property
    def words(self) -> str:
        """The kind in plain words."""
        return _WORDS[self.kind]

    def __str__(self) -> str:
        if self.kind == "unknown":
            return f"not known: {self.why}" if self.why else "not known"
        parts = [f"{self.words} by {self.loss}" if self.loss else self.words]
        parts += [f"{self.classes} {'labels' if self.kind == 'multilabel' else 'classes'}"] if self.classes else []
        parts += [f"label {self.ignore_index} left out"] if self.ignore_index not in (None, NO_LABEL) else []
        return ", ".join(parts)


class LabelAnswers(NamedTuple):
    """What several labels of each image are answered, and what is right."""

    scores: Tensor  # (n l) float32; above 0: yes
    labels: Tensor  # (n l) int8; 1: yes, 0: no, -1: not known

    @property
    def wrong(self) -> Tensor:
        """Which of the known labels are answered wrongly, those whose score is NaN among them; (n l), bool."""
        return (self.labels >= 0) & (((self.scores > 0) != (self.labels > 0)) | self.scores.isnan())


def check_kind(kind: str | None, where: str) -> None:
    """Refuse a task that there is not.

    Raises:
        UnknownNameError: no such kind.
    """
    if kind is not None and kind not in get_args(Kind):
        fix = f"Choose from {', '.join(repr(each) for each in get_args(Kind))}."
        raise UnknownNameError(where, "there is no such task", repr(kind), fix)


def task_of_shapes(scores: Tensor, labels: Tensor | None, ignore_index: int | None = None) -> Task | None:
    """The task that the shapes of scores and labels say, where no loss was heard; None where they say none.

    Args:
        scores: (n), (n c), (n 1 h w) or (n c h w).
        labels: as the batch holds them; (n), (n 1), (n c) of 0 and 1, (n h w) or (n 1 h w); None: there are none.
        ignore_index: label that is left out.

    Example:
        >>> task_of_shapes(torch.rand(4, 3), torch.tensor([0, 2, 1, 1])).kind
        'multiclass'
    """
    columns = scores[0].numel() if len(scores) else scores.shape[-1:].numel()
    if scores.ndim == 1 or (scores.ndim > 1 and columns == 1):
        return Task("binary", 2, ignore_index, one_score=True)
    flat = scores.ndim == 2 or columns == scores.shape[1]
    if flat:
        several = labels is not None and labels.shape == scores.shape and not is_one_hot(labels)
        if several and labels is not None:
            of_two = bool(((labels == 0) | (labels == 1)).all())
            return Task("multilabel", scores.shape[1]) if of_two else Task("regression")
        return Task("multiclass", scores.shape[1], ignore_index)
    if scores.ndim == 4 and labels is not None and labels.ndim - (labels.ndim == 4) == 3:
        if scores.shape[1] == 1:
            return Task("pixel_binary", 2, ignore_index, one_score=True)
        return Task("pixel_multiclass", scores.shape[1], ignore_index)
    return None


def logits_of_scores(scores: Tensor, task: Task) -> Tensor:
    """Logits in the one shape that all monitors take: one class per column.

    One logit z becomes the two columns 0 and z: softmax gives them the probabilities 1 - sigmoid(z) and sigmoid(z), and
    the larger one is the class that the threshold z > 0 names. Probabilities become their logarithms, one probability
    its log odds. A pooled map (n c 1 1) becomes (n c).

    Args:
        scores: what the loss is given, or a submodule gives; (n), (n c), (n h w) or (n c h w).
        task: of the module.

    Returns:
        (n c), or (n c h w) for pixels; float32 at least.

    Example:
        >>> logits_of_scores(torch.tensor([-1.0, 3.0]), Task("binary", 2, one_score=True))
        tensor([[ 0., -1.],
                [ 0.,  3.]])
    """
    scores = scores if scores.dtype == torch.float64 else scores.float()
    if task.scale == "probabilities":
        least = torch.finfo(scores.dtype).tiny
        scores = scores.logit(1e-7) if task.one_score else scores.clamp(min=least).log()
    if task.kind == "binary" and task.one_score:
        scores = scores.reshape(len(scores), 1)
    elif task.kind == "pixel_binary" and task.one_score and scores.ndim == 3:
        scores = scores[:, None]
    elif task.kind in ("multiclass", "binary", "multilabel") and scores.ndim > 2 and _pooled(scores):
        scores = scores.flatten(1)
    return torch.cat([torch.zeros_like(scores), scores], 1) if task.one_score else scores


def known_labels(labels: Tensor, task: Task, where: str = "known_labels") -> Tensor:
    """Labels of the batch in one shape, with -100 where there is none: left out by the loss, or none of the classes.

    Labels of one class per column become the class of the column that holds nine tenths of a row or more, as smoothed
    labels do; a row that has none, such as a mixed one, has no label. Costs no device synchronisation.

    Args:
        labels: a field of the batch, of any dtype; (n), (n 1), (n c), (n h w), (n 1 h w) or (n c h w).
        task: of the module; one that classifies.
        where: the public name to put into an error.

    Returns:
        (n), or (n h w) for pixels; int64.

    Raises:
        InputError: the labels have another shape.

    Example:
        >>> known_labels(torch.tensor([0, 255, 2]), Task("multiclass", 3, ignore_index=255))
        tensor([   0, -100,    2])
        >>> known_labels(torch.tensor([[0.0, 1.0], [0.4, 0.6]]), Task("multiclass", 2))
        tensor([   1, -100])
    """
    whole = 3 if task.pixels or (task.kind == "unknown" and labels.ndim > 2) else 1
    if labels.ndim == whole + 1 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == whole + 1 and labels.shape[1] == task.classes:
        most = labels.max(1)
        found = torch.where(most.values >= SURE * labels.sum(1), most.indices, NO_LABEL)
    elif labels.ndim == whole:
        found = labels.long()
        if labels.is_floating_point():
            found = torch.where(labels == found, found, NO_LABEL)
    else:
        given = f"{tuple(labels.shape)} {str(labels.dtype).removeprefix('torch.')} for {task.words}"
        fix = "Name a field that holds one label per image, or per pixel: targets='label'."
        raise InputError(where, "targets are not labels of the classes", given, fix)
    left_out = found < 0
    if task.classes is not None:
        left_out = left_out | (found >= task.classes)
    if task.ignore_index is not None:
        left_out = left_out | (found == task.ignore_index)
    return found.masked_fill(left_out, NO_LABEL)


def errors_of_answers(scores: Tensor, answers: Tensor, task: Task) -> Tensor | None:
    """Error of each image where no class is right or wrong; None where scores and answers do not correspond.

    Of several labels the share of the known ones that is answered wrongly, nan where none is known; of numbers the mean
    of absolute differences, or of squared ones where the loss is of squares.

    Args:
        scores: what the loss was given, one row per image; (n ...).
        answers: the numbers, or labels of 0 and 1, that it was compared with; as many.
        task: of the module.

    Returns:
        (n), float32.

    Example:
        >>> errors_of_answers(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]), Task("regression", loss="mse_loss"))
        tensor([0., 4.])
    """
    if task.kind == "multilabel":
        found = label_answers(scores, answers, task)
        return None if found is None else found.wrong.sum(1) / (found.labels >= 0).sum(1)
    if not _correspond(scores, answers):
        return None
    scores, answers = scores.float().reshape(len(scores), -1), answers.float().reshape(len(answers), -1)
    apart = scores - answers
    return (apart.square() if task.loss in ("mse_loss", "gaussian_nll_loss") else apart.abs()).mean(1)


def label_answers(scores: Tensor, answers: Tensor, task: Task) -> LabelAnswers | None:
    """What several labels of each image are answered; None where scores and answers do not correspond.

    Args:
        scores: what the loss was given, one row per image; (n ...).
        answers: the labels that it was compared with, as many: 1 for yes, 0 for no, smoothed ones in between. Those
            that are negative or NaN, or the label that is left out, are not known.
        task: of the module; one of several labels.

    Example:
        >>> label_answers(torch.tensor([[0.9, 0.2]]), torch.tensor([[1, -1]]), Task("multilabel", 2)).labels
        tensor([[ 1, -1]], dtype=torch.int8)
    """
    if not _correspond(scores, answers):
        return None
    scores, answers = scores.float().reshape(len(scores), -1), answers.reshape(len(answers), -1)
    labels = (answers > 0.5).to(torch.int8)
    unknown = ~(answers >= 0)
    if task.ignore_index is not None:
        unknown = unknown | (answers == task.ignore_index)
    return LabelAnswers(scores - 0.5 if task.scale == "probabilities" else scores, labels.masked_fill(unknown, -1))


def _correspond(scores: Tensor, answers: Tensor) -> bool:
    """Whether there is one answer a score, of an image or more."""
    return scores.numel() == answers.numel() and len(scores) == len(answers) and len(scores) > 0


def _pooled(scores: Tensor) -> bool:
    return scores.shape[2:].numel() == 1


def is_one_hot(labels: Tensor) -> bool:
    """Whether each of the rows (n c) holds a single 1 and else 0; looks at values."""
    return bool(((labels == 0) | (labels == 1)).all() & (labels.sum(1) == 1).all())
