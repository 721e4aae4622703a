"""Error ratios by factor, from counts that add up, after ImageNet-X (Idrissi et al. 2022, arXiv:2211.01866)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.errors import InputError

__all__ = [
    "FactorCounts",
    "check_factor_names",
    "count_errors_of_models",
    "count_factor_errors",
    "error_difference",
    "error_rates",
    "error_ratio",
    "factor_errors_of_images",
    "misclassified",
    "misclassified_real",
]


#: Last parts of keys that no factor may take.
RESERVED = ("all", "non_finite", "worst", "worst_shrunk")


def check_factor_names(where: str, factors: Sequence[str]) -> tuple[str, ...]:
    """The names as a tuple, each once, none empty or the name of a total."""
    names = (factors,) if isinstance(factors, str) else tuple(factors)
    fix = "Pass a list of different names, one per column."
    if isinstance(factors, str) or not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise InputError(where, "factors are not a list of names", repr(factors), fix)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(where, "factor names stand twice", ", ".join(twice), fix)
    if taken := [name for name in names if name in RESERVED]:
        fix = f"Rename them: {', '.join(RESERVED)} are taken."
        raise InputError(where, "factor names are those of a total", ", ".join(taken), fix)
    return names


class FactorCounts(NamedTuple):
    """All that :func:`error_ratio` needs; adds up across batches and across ranks."""

    wrong: Tensor  # (f) int64, misclassified images carrying each factor
    seen: Tensor  # (f) int64, images carrying each factor
    all_wrong: Tensor  # () int64, misclassified images
    all_seen: Tensor  # () int64, images

    @classmethod
    def zero(cls, num_factors: int) -> "FactorCounts":
        """The counts of no images."""
        by_factor, overall = torch.zeros(num_factors, dtype=torch.int64), torch.zeros((), dtype=torch.int64)
        return cls(by_factor, by_factor.clone(), overall, overall.clone())


def misclassified(preds: Tensor, target: Tensor, top_k: int = 1) -> Tensor:
    """Which images are misclassified: the target is not among the ``top_k`` classes of highest score.

    Convention:
        Among equal scores the lower class comes first, as in ``argmax``, so that a network whose scores are all
        equal is not right everywhere. An image whose highest score is not finite has no prediction and is wrong.

    Args:
        preds: predicted classes; (n), int, or scores; (n c), float.
        target: the true classes; (n), int; with scores in [0, c).
        top_k: how many classes a prediction may name; more than 1 needs scores.

    Returns:
        True where wrong; (n), bool.

    Example:
        >>> misclassified(torch.tensor([[0.1, 0.7, 0.2], [0.3, 0.4, torch.nan]]), torch.tensor([1, 1]))
        tensor([False,  True])
    """
    if preds.ndim == 1:
        return preds != target
    own = preds.gather(1, target[:, None])
    before = torch.arange(preds.shape[1], device=preds.device) < target[:, None]
    rank = ((preds > own) | ((preds == own) & before)).sum(1)
    return (rank >= top_k) | ~preds.amax(1).isfinite()


def misclassified_real(preds: Tensor, accepted: Tensor) -> Tensor:
    """Which images are misclassified, where more than one label may be right.

    Convention:
        An image without any right label is wrong, as ImageNet-X counts it; the usual protocol leaves such images out:
        those where ``(accepted < 0).all(1)``.

    Args:
        preds: predicted classes; (n), int.
        accepted: the right labels of each image, filled up with -1; (n k), int.

    Returns:
        True where wrong; (n), bool.

    Example:
        >>> misclassified_real(torch.tensor([3, 3, 3]), torch.tensor([[1, 3], [1, -1], [-1, -1]]))
        tensor([False,  True,  True])
    """
    return ~((preds[:, None] == accepted) & (accepted >= 0)).any(1)


def count_factor_errors(wrong: Tensor, factors: Tensor, known: Tensor | None = None) -> FactorCounts:
    """Count a batch.

    Args:
        wrong: which images are misclassified; (n), bool.
        factors: which factors each image carries; (n f), bool or int of 0 and 1.
        known: which images have a label; the others count nowhere; (n), bool; None: all have one.

    Raises:
        InputError: the shapes do not match.

    Example:
        >>> wrong, dark = torch.tensor([True, False, True]), torch.tensor([[1], [1], [1]])
        >>> count_factor_errors(wrong, dark, known=torch.tensor([True, True, False]))
        FactorCounts(wrong=tensor([1]), seen=tensor([2]), all_wrong=tensor(1), all_seen=tensor(2))
    """
    if wrong.ndim != 1 or factors.ndim != 2 or len(wrong) != len(factors):
        raise InputError(
            "count_factor_errors",
            "wrong and factors do not describe the same images",
            f"wrong {tuple(wrong.shape)}, factors {tuple(factors.shape)}",
            "Pass wrong (n) and factors (n f).",
        )
    return count_errors_of_models(wrong[None], factors, known)[0]


def count_errors_of_models(wrong: Tensor, factors: Tensor, known: Tensor | None = None) -> list[FactorCounts]:
    """Count the errors of several models on the same images, in one pass over their factors.

    Args:
        wrong: which images each model misclassifies; (m n), bool.
        factors: which factors each image carries; (n f), bool or int of 0 and 1.
        known: which images have a label; the others count nowhere; (n), bool; None: all have one.

    Returns:
        What :func:`count_factor_errors` counts of each model.

    Raises:
        InputError: the shapes do not match.

    Example:
        >>> dark = torch.tensor([[1], [1], [0]])
        >>> counts = count_errors_of_models(torch.tensor([[True, False, True], [True, True, True]]), dark)
        >>> [model.wrong.tolist() for model in counts], counts[0].seen
        ([[1], [2]], tensor([2]))
    """
    if wrong.ndim != 2 or factors.ndim != 2 or wrong.shape[1] != len(factors):
        raise InputError(
            "count_errors_of_models",
            "wrong and factors do not describe the same images",
            f"wrong {tuple(wrong.shape)}, factors {tuple(factors.shape)}",
            "Pass wrong (m n) and factors (n f).",
        )
    if wrong.device.type != "cpu":  # where float64 is slow, or is not there
        return [
            FactorCounts(*(count.sum(0) for count in factor_errors_of_images(own, factors, known))) for own in wrong
        ]
    kept = torch.ones(wrong.shape[1], dtype=torch.bool) if known is None else known.bool()
    rows = torch.cat([wrong.bool() & kept, kept[None]]).double()  # whose sums are whole numbers up to 2**53
    carried, overall = (rows @ factors.bool().double()).long(), rows.sum(1).long()
    seen, images = carried[-1], overall[-1]
    return [
        FactorCounts(own, seen.clone(), total, images.clone())
        for own, total in zip(carried[:-1], overall, strict=False)
    ]


def factor_errors_of_images(wrong: Tensor, factors: Tensor, known: Tensor | None = None) -> FactorCounts:
    """What each image adds to :func:`count_factor_errors`, so that it can be added up by group.

    Args:
        wrong: which images are misclassified; (n), bool.
        factors: which factors each image carries; (n f), bool or int of 0 and 1.
        known: which images have a label; the others count nowhere; (n), bool; None: all have one.

    Returns:
        The counts of each image; (n f) and (n), int64.

    Example:
        >>> factor_errors_of_images(torch.tensor([True, False]), torch.tensor([[1], [1]])).all_wrong
        tensor([1, 0])
    """
    carried, wrong = factors.bool(), wrong.bool()
    known = torch.ones_like(wrong) if known is None else known
    # no selection of rows, whose number a device would have to tell first
    carried, wrong = carried & known[:, None], wrong & known
    return FactorCounts((carried & wrong[:, None]).long(), carried.long(), wrong.long(), known.long())


def error_ratio(counts: FactorCounts) -> Tensor:
    """Error rate on images carrying each factor, over the error rate on all images.

    Convention:
        1 is typical and 2 is twice the errors; dimensionless, from 0 to the inverse of the factor's share of the
        images. ``nan`` means undefined: no image carried the factor, or nothing was misclassified.

    Returns:
        One ratio per factor; (f), float64.

    Example:
        >>> wrong = torch.tensor([True, True, False, False])
        >>> factors = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 0]])
        >>> error_ratio(count_factor_errors(wrong, factors))
        tensor([2., 0.], dtype=torch.float64)
    """
    error = counts.wrong.double() / counts.seen.double()
    ratio = error / (counts.all_wrong.double() / counts.all_seen.double())
    return torch.where(counts.all_wrong > 0, ratio, torch.nan)


def error_rates(counts: FactorCounts) -> tuple[Tensor, Tensor]:
    """Error rate on the images that carry each factor, and on those that do not.

    Convention:
        Both in [0, 1]. ``nan``: no image carries the factor; or every image does.

    Returns:
        Two rates per factor; (f) each, float64.

    Example:
        >>> wrong = torch.tensor([True, True, True, False])
        >>> error_rates(count_factor_errors(wrong, torch.tensor([[1], [1], [0], [0]])))
        (tensor([1.], dtype=torch.float64), tensor([0.5000], dtype=torch.float64))
    """
    others_wrong, others = counts.all_wrong - counts.wrong, counts.all_seen - counts.seen
    return counts.wrong.double() / counts.seen.double(), others_wrong.double() / others.double()


def error_difference(counts: FactorCounts) -> Tensor:
    """Error rate on the images that carry each factor, minus that on the images without it.

    How many images more are wrong: unlike a ratio, it does not shrink where the network is wrong on many others too.

    Convention:
        In [-1, 1]: 0 is no harder than the rest, 1 wrong on all of them and on no other. ``nan``: no image or every
        image carries the factor.

    Returns:
        One difference per factor; (f), float64.

    Example:
        >>> wrong = torch.tensor([True, True, True, False])
        >>> error_difference(count_factor_errors(wrong, torch.tensor([[1], [1], [0], [0]])))
        tensor([0.5000], dtype=torch.float64)
    """
    with_factor, without = error_rates(counts)
    return with_factor - without
