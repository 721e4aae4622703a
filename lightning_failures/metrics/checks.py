"""What the factor metrics ask of names, labels and factor columns: shapes always, values where no device stops."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.factors import check_factor_names, misclassified

__all__ = [
    "STRAY",
    "Mistakes",
    "check_confidence",
    "check_factor_names",
    "check_factors",
    "check_labels",
    "check_positive",
    "check_stray",
    "describe",
    "find_mistakes",
]

#: What each of these metrics counts beside its sums: labels that are no class, see :func:`check_stray`.
STRAY = {"stray": 0}


def describe(**tensors: Tensor) -> str:
    """Names, shapes and types of tensors, for an error."""
    return ", ".join(
        f"{name} {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}" for name, value in tensors.items()
    )


def check_positive(where: str, name: str, value: int) -> None:
    """A count of at least one.

    Raises:
        InputError: it is less.
    """
    if value < 1:
        raise InputError(where, f"{name} is not positive", str(value), f"Pass {name} of 1 or more.")


def check_confidence(where: str, confidence: float) -> None:
    """A probability strictly inside 0 and 1.

    Raises:
        InputError: it is 0 or less, or 1 or more.
    """
    if not 0 < confidence < 1:
        raise InputError(where, "confidence is no probability", str(confidence), "Pass a value such as 0.95.")


def check_labels(where: str, preds: Tensor, target: Tensor) -> None:
    """Predictions are labels (n) or scores (n c) of the images that the target (n) labels."""
    if target.ndim != 1 or preds.ndim not in (1, 2) or len(preds) != len(target):
        wrong = "preds and target do not describe the same images"
    elif _is_fraction(target) or (preds.ndim == 1) == _is_fraction(preds):
        wrong = "preds and target are not labels or scores"
    else:
        return
    fix = "Pass preds (n) as integer labels or (n c) as scores, and target (n) as integer labels."
    raise InputError(where, wrong, describe(preds=preds, target=target), fix)


def check_factors(where: str, names: Sequence[str], factors: Tensor, target: Tensor) -> Tensor:
    """The factors on the device of the labels: one row per image and one column per name, of bool or int."""
    if factors.shape != (len(target), len(names)):
        given = f"{describe(factors=factors)} for {len(target)} images and {len(names)} names: {', '.join(names)}"
        fix = "Pass factors (n f): one row per image, one column per name."
        raise InputError(where, "the factor columns do not match", given, fix)
    if _is_fraction(factors):
        fix = "Compare a continuous factor with a threshold, or use FactorTrend."
        raise InputError(where, "factors are not bool or int", describe(factors=factors), fix)
    return factors.to(target.device, non_blocking=True)


class Mistakes(NamedTuple):
    """A batch that was checked."""

    wrong: Tensor  # (n) bool, which images are misclassified
    target: Tensor  # (n) int64, the true classes, moved into range
    stray: Tensor  # () int64, how many were not in range


def find_mistakes(
    where: str,
    preds: Tensor,
    target: Tensor,
    num_classes: int | None = None,
    top_k: int = 1,
    known: Tensor | None = None,
) -> Mistakes:
    """Which images are misclassified, and how many labels are no class: on the CPU, where looking is free, an error.

    Args:
        where: the public name to put into an error.
        preds: predicted classes; (n), int, or scores; (n c), float.
        target: the true classes; (n), int.
        num_classes: number of classes c; None: that of the scores, or unknown.
        top_k: how many classes a prediction may name.
        known: which images have a label; the others are neither wrong nor out of range; (n), bool; None: all have one.

    Raises:
        InputError: predictions, target and ``known`` are not of the same images, are of another type, or name other
            classes than there are.
    """
    check_labels(where, preds, target)
    if known is not None and (known.dtype != torch.bool or known.shape != target.shape):
        fix = "Pass known (n), bool: which images have a label; groups by name: groups=..."
        raise InputError(where, "known is not one bool for each image", describe(known=known, target=target), fix)
    if preds.ndim == 1 and top_k > 1:
        raise InputError(where, f"labels have no top_k={top_k}", describe(preds=preds), "Pass scores (n c).")
    classes = preds.shape[1] if preds.ndim == 2 else num_classes
    if num_classes not in (None, classes):
        given, fix = f"{describe(preds=preds)} for {num_classes} classes", "Pass one column per class."
        raise InputError(where, "the scores are not those of the classes", given, fix)
    if preds.ndim == 2 and preds.shape[1] < top_k:
        raise InputError(where, f"top_k={top_k} is more than the classes", describe(preds=preds), "Lower top_k.")
    stray = torch.zeros((), dtype=torch.int64, device=target.device)
    if classes is not None:
        outside = (target < 0) | (target >= classes)
        stray = (outside if known is None else outside & known).sum()
        if target.device.type == "cpu":
            check_stray(where, stray)
        target = target.long().clamp(0, classes - 1)
    wrong = misclassified(preds, target, top_k)
    return Mistakes(wrong if known is None else wrong & known, target, stray)


def check_stray(where: str, stray: Tensor) -> None:
    """No label was out of range.

    Raises:
        InputError: some were.
    """
    if int(stray):
        raise InputError(
            where,
            "labels are out of range",
            f"{int(stray)} labels below 0 or not below the number of classes",
            "Leave unlabelled images out, or correct the labels.",
        )


def _is_fraction(value: Tensor) -> bool:
    return value.is_floating_point() or value.is_complex()
