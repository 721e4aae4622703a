"""Interventions on images: what a model predicts when a part of its input is transplanted, kept or removed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.empty_batches import never_empty
from lightning_failures.functional.interchange import Level, interchange_inputs
from lightning_failures.interventions.changes import Change, Transplant
from lightning_failures.observe.logits import logits_of
from lightning_failures.observe.undisturbed import undisturbed

__all__ = [
    "as_labels",
    "interchange",
    "predict_changed",
    "predict_transplants",
]

Model = Callable[[Tensor], Tensor]


def as_labels(logits: Tensor) -> Tensor:
    """Classes from logits: (n c) to (n), (n c h w) to (n h w), and one logit per image (n) or (n 1) to 0 or 1; int64.

    Where a logit is NaN there is no class, and -1 stands for it.

    Example:
        >>> as_labels(torch.tensor([[0.0, 2.0], [1.0, 0.0]])), as_labels(torch.tensor([[-1.0], [3.0]]))
        (tensor([1, 0]), tensor([0, 1]))
    """
    logits = logits if logits.ndim > 1 else logits[:, None]
    labels = (logits > 0).long().squeeze(1) if logits.shape[1] == 1 else logits.argmax(1)
    return torch.where(logits.isnan().any(1), -1, labels)


def predict_changed(model: Model, inputs: Tensor, changes: Mapping[str, Change], batch_size: int = 64) -> Tensor:
    """Predictions for changed images.

    Args:
        model: gives logits (n c), (n c h w) or (n 1); a module runs in evaluation mode.
        inputs: on the model's device; (n b h w).
        changes: name -> change.
        batch_size: images per forward pass.

    Returns:
        One column a change; (n k), or (n h w k) for pixels, int64.
    """
    transplants = {name: partial(_of_one, change) for name, change in changes.items()}
    return predict_transplants(model, inputs, inputs, transplants, batch_size, "predict_changed")


def predict_transplants(
    model: Model,
    inputs: Tensor,
    donors: Tensor,
    transplants: Mapping[str, Transplant],
    batch_size: int = 64,
    where: str = "predict_transplants",
    say: Callable[[Tensor], Tensor] = as_labels,
) -> Tensor:
    """Predictions for donor images that were given something of the receivers, or the other way round.

    Args:
        model: gives logits (n c), (n c h w) or (n 1); a module runs in evaluation mode.
        inputs: the receivers, on the model's device; (n b h w).
        donors: one per receiver; (n b h w).
        transplants: name -> what a donor is given, such as an interchange or the swap of a cue.
        batch_size: images per forward pass.
        where: the public name to put into an error.
        say: predictions from logits; int64.

    Returns:
        One column a transplant; (n k), or (n h w k) for pixels, int64.
    """
    columns = []
    for transplant in transplants.values():
        parts = zip(torch.split(inputs, batch_size), torch.split(donors, batch_size), strict=True)
        columns.append(_run(model, (transplant(own, donor) for own, donor in parts), inputs.device, where, say))
    return torch.stack(columns, -1)


def interchange(
    model: Model,
    inputs: Tensor,
    donors: Tensor,
    directions: Tensor,
    level: Level = "image",
    ranks: Sequence[int] | None = None,
    batch_size: int = 64,
) -> Tensor:
    """Predictions for donor images that got the receivers' coordinates on the data's top directions.

    Where the predictions of receiver and donor differ, this says what decides: see
    :class:`.DecisionDimension`, which counts it.

    Args:
        model: gives logits (n c), (n c h w) or (n 1) for images; a module runs in evaluation mode.
        inputs: the receivers; (n b h w) or (n b), on the model's device.
        donors: one donor a receiver, in the same shape, for example ``inputs.roll(1, 0)``.
        directions: orthonormal directions of the channels as columns, such as the principal ones of the image-mean
            spectra (image level) or of the pixels' spectra (pixel level); (b r).
        level: "image" or "pixel"; see :func:`.interchange_inputs`.
        ranks: how many of the directions to interchange, one per column of the result; None: 1 to r.
        batch_size: images per forward pass.

    Returns:
        One column per rank; (n r), or (n h w r) for pixels, int64.

    Raises:
        InputError: shapes that do not fit, directions that are not orthonormal, or ranks that they do not have.

    Example:
        >>> receivers, donors = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> interchange(lambda x: x, receivers, donors, torch.eye(2))
        tensor([[0, 0]])
    """
    where = "interchange"
    if directions.ndim != 2:
        raise InputError(where, "directions are no columns", f"{tuple(directions.shape)}", "Pass (b r).")
    width = directions.shape[1]
    ranks = tuple(range(1, width + 1)) if ranks is None else tuple(ranks)
    if not ranks or min(ranks) < 1 or max(ranks) > width:
        raise InputError(
            where, "ranks are not there", f"{ranks} of {width} directions", f"Pass ranks from 1 to {width}."
        )
    gram = directions.double().T @ directions.double()
    if not bool((gram - torch.eye(width, device=gram.device)).abs().max() < 1e-3):
        fix = "Pass orthonormal columns, for example principal_directions(covariance(moments))."
        raise InputError(where, "directions are not orthonormal", f"lengths {gram.diagonal().sqrt().tolist()}", fix)
    interchanges = {
        str(rank): partial(interchange_inputs, directions=directions[:, :rank], level=level) for rank in ranks
    }
    return predict_transplants(model, inputs, donors, interchanges, batch_size, where)


def _run(
    model: Model, parts: Iterable[Tensor], device: torch.device, where: str, say: Callable[[Tensor], Tensor] = as_labels
) -> Tensor:
    """What a model says of images that come in parts, without a graph; nothing of the model is changed."""

    @never_empty
    def run(part: Tensor) -> Tensor:
        return logits_of(model(part.clone()), where)  # a change may have left it as it was, and a model may write to it

    with undisturbed(model, device), torch.no_grad():
        return torch.cat([say(run(part)) for part in parts])


def _of_one(change: Change, receivers: Tensor, donors: Tensor) -> Tensor:
    return change(donors)
