"""Whether predictions number the classes otherwise than the annotations do: from 1, or in another order."""

from collections.abc import Sequence
from os import PathLike

import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.label_matching import assign_labels, count_renamed_apart, renaming_bound
from lightning_failures.functional.mending import Mending, count_mending, mending

__all__ = ["refuse_other_numbers"]

#: As the rule `labels_renamed` of CauseMonitor: other numbers must gain more than this, and give more than this share
#: of what there is above the most frequent class, both at the lower end of a 95% interval.
LEAST_GAIN, LEAST_SKILL = 0.1, 0.5
#: Nearly all is wrong: other numbers are right on at least so many times the images.
TIMES = 2
#: Most classes that are assigned to each other; of more only a count from 1 is looked for.
MOST_CLASSES = 2048


def refuse_other_numbers(
    where: str, path: str | PathLike[str], preds: Tensor, true: Tensor, names: Sequence[str] | None
) -> None:
    """Raise where nearly all predictions are wrong as they are numbered, and right under other numbers.

    Numbers that are 1 apart are tried on all images. A one-to-one assignment of predicted classes to true ones is found
    on one half of the images, drawn at random, and judged on the other, and the other way round.

    Args:
        where: the public name to put into the error.
        path: the file of predictions.
        preds: predicted classes; (n), int64.
        true: true classes; (n), int64.
        names: of all these numbers; None: they have none.

    Raises:
        InputError: it says both accuracies.
    """
    labels, numbers = torch.cat([true, preds]).unique(return_inverse=True)
    own, predicted = numbers.split([len(true), len(preds)])
    chance = float(own.bincount().max()) / len(own) if len(own) else torch.nan
    for apart, counted, other in ((1, "predicted", "true"), (-1, "true", "predicted")) if names is None else ():
        found = mending(count_mending(preds, preds - apart, true))
        if _is_other(found, chance):
            wrong = f"the {counted} classes look counted from 1 where the {other} ones are counted from 0"
            change = "subtract 1 from each predicted class" if apart > 0 else "add 1 to each predicted class"
            raise InputError(
                where, wrong, _accuracies(path, found, "numbers"), f"Count both from 0: {change}. {_OTHERWISE}"
            )
    if len(labels) > MOST_CLASSES:
        return
    pairs = _pairs(predicted, own, len(labels))
    if not len(own) or renaming_bound(pairs.sum(0)) < LEAST_GAIN:
        return
    found = mending(count_renamed_apart(pairs))
    if _is_other(found, chance):
        label = assign_labels(pairs.sum(0))
        moved = (label != torch.arange(len(label))) & (pairs.sum((0, 2)) > 0)
        said = [
            f"{_said(labels[place], names)} stands for {_said(labels[label[place]], names)}"
            for place in moved.nonzero().squeeze(1).tolist()
        ]
        more = f" and {len(said) - 4} more" if len(said) > 4 else ""
        wrong = f"the predicted classes look renamed: {', '.join(said[:4])}{more}"
        what = "numbers" if names is None else "names"
        fix = "Give both files one list of classes in one order: compare class_to_idx."
        raise InputError(where, wrong, _accuracies(path, found, what), f"{fix} {_OTHERWISE}")


_OTHERWISE = "If they are right as they stand, pass --keep-classes."


def _is_other(found: Mending, chance: float) -> bool:
    if not (float(found.gain_low) > LEAST_GAIN and float(found.after) >= TIMES * float(found.before)):
        return False
    return float(found.after_low) - chance > LEAST_SKILL * (1 - chance)


def _accuracies(path: str | PathLike[str], found: Mending, what: str) -> str:
    before, after = 100 * float(found.before), 100 * float(found.after)
    return f"{path}: {before:.1f}% of the images are right as the classes stand, {after:.1f}% under other {what}"


def _pairs(predicted: Tensor, own: Tensor, classes: int) -> Tensor:
    """How often each class is predicted for images of each, in two halves; (2 c c), int64."""
    half = torch.randint(0, 2, own.shape, generator=torch.Generator().manual_seed(0))
    place = (half * classes + predicted) * classes + own
    return place.bincount(minlength=2 * classes * classes).view(2, classes, classes)


def _said(number: Tensor, names: Sequence[str] | None) -> str:
    return str(int(number)) if names is None else names[int(number)]
