"""Slices: groups of images on which a network fails, found on one half of the images and tested on the other.

The task is that of Domino (Eyuboglu et al., "Domino: discovering systematic errors with cross-modal embeddings", ICLR
2022), Spotlight (d'Eon et al., "The Spotlight: a general method for discovering systematic errors in deep learning
models", FAccT 2022) and SliceFinder (Chung et al., "Automated data slicing for model validation", IEEE Transactions on
Knowledge and Data Engineering 32, 2020). Like Spotlight it looks for balls of images with many errors in the features;
like SliceFinder for factors that go with them. Unlike all three it says nothing that other images did not confirm.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.adjustment import (
    GroupedClasses,
    cochran_mantel_haenszel,
    count_by_class,
    mantel_haenszel,
    mantel_haenszel_difference,
    mantel_haenszel_difference_interval,
    mantel_haenszel_interval,
)
from lightning_failures.functional.factors import factor_errors_of_images
from lightning_failures.functional.intervals import holm
from lightning_failures.functional.one_thread import one_thread
from lightning_failures.functional.projection import gaussian_projection

__all__ = ["SharedFactor", "Slice", "Slices", "find_slices", "narrow_features", "searched_half"]

#: Images with a label, and errors in each half, below which nothing is looked for.
FEWEST_IMAGES, FEWEST_ERRORS = 200, 10
#: Features from which on a fixed random projection to as many takes their place.
WIDTH = 128
#: Leading components of the features in which images are alike.
COMPONENTS = 16
#: Images of a ball or a tail, as shares of those of a half; and fewest of them.
SIZES, SMALLEST = (0.03, 0.06), 10
#: Errors around which balls are tried, and balls of each size that are moved to where the errors are.
MOST_CENTRES, MOST_BALLS, MOVES = 256, 3, 5
#: Candidates that are tested; fewer, so that Holm's adjustment costs little.
MOST = 5
#: Standard deviations of errors beyond those of the classes, on the half that is searched, below which none is tested.
LEAST = 2.0
#: Share of the smaller of two candidates from which on they are the same images.
SAME = 0.5
#: How much more often at least, and at which share of the slice, a factor is what its images share.
SHARED_RATIO, SHARED_SHARE = 1.5, 0.5
#: Share of a slice's images, or of its errors, that are of one class, or predicted as one, so that it is said.
MOSTLY = 2 / 3
#: Ridge of the direction of the errors, over components of variance 1.
RIDGE = 0.1


class SharedFactor(NamedTuple):
    """A factor that images of a slice carry more often than other images of the same classes."""

    name: str
    share: float  # of the images of the slice
    ratio: float  # over that of others of the same classes; infinite where none of them carries it
    low: float  # 95% interval, adjusted for the number of factors
    high: float


class Slice(NamedTuple):
    """A group of images with more errors than others of their classes; all figures are of the half it is tested on."""

    name: str  # what its images share
    members: Tensor  # (n) bool, images of both halves
    typical: Tensor  # (n) float64, larger for images deeper inside
    images: int
    error: float
    error_others: float  # that of other images of the same classes: the error less the difference
    difference: float
    low: float  # interval; all tested slices together have 95%
    high: float
    p_value: float  # Holm's adjustment for the number of tested slices
    factors: tuple[SharedFactor, ...]


class Slices(NamedTuple):
    """What was found."""

    slices: tuple[Slice, ...]  # those that hold on the second half, the largest lower end first
    tested_on: Tensor  # (n) bool, the second half
    candidates: int  # how many were tested
    why: str | None  # nothing could be looked for; None: it was


class _Candidate(NamedTuple):
    name: str  # empty: by its images
    members: Tensor  # (n) bool
    typical: Tensor  # (n) float64


def searched_half(images: int, seed: int = 0) -> Tensor:
    """Which images are searched; the others are tested on. (n), bool; the same for the same seed everywhere.

    Args:
        images: how many.
        seed: another seed draws other halves; nothing is drawn from the global generators.

    Example:
        >>> int(searched_half(10).sum())
        5
    """
    order = torch.randperm(images, generator=torch.Generator().manual_seed(seed))
    return order < images // 2


def narrow_features(features: Tensor) -> Tensor:
    """Features (n d) as they are, or of more than 128 a fixed random projection to 128; float32 or float64.

    Example:
        >>> narrow_features(torch.zeros(4, 512)).shape
        torch.Size([4, 128])
    """
    features = features if features.dtype == torch.float64 else features.float()
    if features.shape[1] <= WIDTH:
        return features
    return features @ gaussian_projection(features.shape[1], WIDTH).to(features.device, features.dtype)


def find_slices(
    features: Tensor,
    preds: Tensor,
    target: Tensor,
    factors: Tensor | None = None,
    names: Sequence[str] = (),
    *,
    groups: Tensor | None = None,
    class_names: Sequence[str] | None = None,
    searched: Tensor | None = None,
    factors_alone: bool = True,
    confidence: float = 0.95,
) -> Slices:
    """Groups of images that a network is wrong on more often than on other images of the same classes.

    On one half of the images candidates are found: balls around errors, and tails along the direction in which errors
    lie, in the leading components of the features; images that carry a factor; and images of one class that carry it.
    Each is a fixed rule. The five with most errors beyond those of their classes are tested on the other half: the
    difference of error rates within classes after Mantel and Haenszel, the test of Cochran, Mantel and Haenszel with
    Holm's adjustment. All that is said of a slice is of the half that it was tested on.

    What is found is true of the images, and no fault by itself: between classes that look alike errors are more
    frequent in every network. See ``docs/slices.md`` for what a healthy network has.

    Args:
        features: of each image, such as the input of the classifier head; (n d), any number.
        preds: predicted classes; (n), int, negative where there is no prediction, which is wrong.
        target: the true classes; (n), int, negative where there is none.
        factors: which factors each image carries; (n f), bool or 0 and 1. None: none are known.
        names: of the factors; f of them.
        groups: which images belong together; (n), int. They are searched or tested on together, and intervals and tests
            then count groups. None: images are independent.
        class_names: of all classes; None: they are told by number.
        searched: which images are searched; (n), bool. None: a half that a fixed seed draws.
        factors_alone: whether images with a factor are a candidate of their own; False where that is tested elsewhere.
        confidence: probability that the intervals of all tested slices cover.

    Convention:
        Differences are from -1 to 1; above 0: the slice is harder. Images without a label or with features that are not
        finite count nowhere. Of fewer than 200 images, or fewer than 10 errors in a half, nothing is looked for, and
        ``why`` says so.

    Raises:
        InputError: the arguments do not describe the same images, or factors have no names.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> features = torch.randn(1000, 8, generator=generator)
        >>> target, odd = torch.arange(1000) % 4, torch.arange(1000) % 21 < 1
        >>> features[odd, 0] += 8
        >>> missed = torch.rand(1000, generator=generator) < torch.where(odd, 0.8, 0.1)
        >>> found = find_slices(features, (target + missed) % 4, target, odd[:, None], ["odd"])
        >>> [(one.name, one.images) for one in found.slices]
        [('odd', 25)]
    """
    _check(features, preds, target, factors, names, groups, searched)
    n = len(target)
    preds, target, features = preds.cpu().long(), target.cpu().long(), narrow_features(features.detach()).cpu().double()
    carried = torch.zeros(n, 0, dtype=torch.bool) if factors is None else factors.cpu().bool()
    usable = (target >= 0) & features.isfinite().all(1)
    if searched is None:
        searched = searched_half(n) if groups is None else _halves_of_groups(groups.cpu())
    searched = searched.cpu().bool()
    first, second, wrong = searched & usable, ~searched & usable, preds != target
    errors = int((wrong & first).sum()), int((wrong & second).sum())
    if int(usable.sum()) < FEWEST_IMAGES or min(errors) < FEWEST_ERRORS:
        why = f"{int(usable.sum())} images with {errors[0]} and {errors[1]} errors in the halves are not enough"
        return Slices((), second, 0, why)
    classes = max(int(target.max()), 0) + 1
    found = _in_features(features, wrong, target, classes, first)
    found += _of_factors(carried, names, target, classes, first, class_names, factors_alone)
    chosen = _chosen(found, wrong, target, classes, first)
    if not chosen:
        return Slices((), second, 0, None)
    members = torch.stack([one.members for one in chosen], 1)
    counts = count_by_class(wrong[second], members[second], target[second], classes)
    by_group = None if groups is None else _by_group(wrong, members, target, groups.cpu(), second)
    difference = mantel_haenszel_difference(counts)
    limits = mantel_haenszel_difference_interval(counts, 1 - (1 - confidence) / len(chosen), by_group)
    p_values = holm(cochran_mantel_haenszel(counts, by_group))
    slices = []
    for k, one in enumerate(chosen):
        seen = int(counts.factors.seen[k])
        if not (difference[k] > 0 and limits[0][k] > 0 and p_values[k] < 1 - confidence and seen):
            continue
        inside, error = one.members & second, float(counts.factors.wrong[k]) / seen
        shared = _shared(carried, names, inside, target, classes, second)
        name = one.name or _described(shared, inside, wrong, preds, target, class_names)
        slices.append(
            Slice(
                name,
                one.members & usable,
                one.typical,
                seen,
                error,
                max(0.0, error - float(difference[k])),
                float(difference[k]),
                float(limits[0][k]),
                float(limits[1][k]),
                float(p_values[k]),
                shared,
            )
        )
    slices.sort(key=lambda one: (-one.low, one.name))
    return Slices(_told_apart(slices), second, len(chosen), None)


# -- candidates, on the half that is searched


def _in_features(features: Tensor, wrong: Tensor, target: Tensor, classes: int, first: Tensor) -> list[_Candidate]:
    """Balls around errors, and tails along the direction of the errors, among the leading components."""
    z = _components(features, first)
    if not z.shape[1]:
        return []
    found = []
    inside = z[first]
    sizes = sorted({min(max(SMALLEST, round(size * len(inside))), len(inside)) for size in SIZES})
    centres = z[first & wrong][:MOST_CENTRES]
    distances = torch.cdist(centres, inside)
    for size in sizes:
        radii = distances.kthvalue(size, 1).values
        balls = (distances <= radii[:, None]).T
        taken = torch.zeros(len(inside), dtype=torch.bool)
        order = _deviates(wrong[first], balls, target[first], classes).argsort(descending=True, stable=True)
        tried = 0
        for place in order.tolist():
            if int((balls[:, place] & taken).sum()) > SAME * size:
                continue
            taken |= balls[:, place]
            found.append(_ball(z, centres[place], size, wrong, first))
            tried += 1
            if tried == MOST_BALLS:
                break
    excess = wrong.double() - _class_means(wrong, target, classes, first)[target.clamp(min=0)]
    products = inside.T @ inside / len(inside) + RIDGE * torch.eye(z.shape[1], dtype=torch.float64)
    along = z @ torch.linalg.solve(products, inside.T @ excess[first] / len(inside))
    for size in sizes:
        edge = along[first].kthvalue(len(inside) - size + 1).values
        found.append(_Candidate("", along >= edge, along - edge))
    return found


def _components(features: Tensor, first: Tensor) -> Tensor:
    """The leading principal components, each of variance 1 on the half that is searched; (n k)."""
    mean = features[first].mean(0)
    centred = torch.where(features.isfinite(), features - mean, 0.0)
    inside = centred[first]
    with one_thread():
        variance, axes = torch.linalg.eigh(inside.T @ inside / len(inside))
    variance, axes = variance[-COMPONENTS:], axes[:, -COMPONENTS:]
    kept = variance > 1e-9 * variance[-1].clamp(min=torch.finfo(torch.float64).tiny)
    components: Tensor = centred @ axes[:, kept] / variance[kept].sqrt()
    return components


def _ball(z: Tensor, centre: Tensor, size: int, wrong: Tensor, first: Tensor) -> _Candidate:
    """A ball of so many images of the first half, moved to the mean of its errors a few times."""
    for _ in range(MOVES):
        distance = (z - centre).norm(dim=1)
        errors = (distance <= distance[first].kthvalue(size).values) & first & wrong
        if not bool(errors.any()):
            break
        centre = z[errors].mean(0)
    distance = (z - centre).norm(dim=1)
    radius = distance[first].kthvalue(size).values
    return _Candidate("", distance <= radius, radius - distance)


def _class_means(wrong: Tensor, target: Tensor, classes: int, first: Tensor) -> Tensor:
    """Error rate of each class; (c), float64."""
    sums = torch.zeros(2, classes, dtype=torch.float64)
    sums.index_add_(1, target[first], torch.stack([wrong[first].double(), torch.ones(int(first.sum())).double()]))
    return sums[0] / sums[1].clamp(min=1)


def _of_factors(
    carried: Tensor,
    names: Sequence[str],
    target: Tensor,
    classes: int,
    first: Tensor,
    class_names: Sequence[str] | None,
    alone: bool,
) -> list[_Candidate]:
    """Images that carry a factor, and those of one class that do."""
    counts = torch.zeros(classes, carried.shape[1], dtype=torch.int64)
    counts.index_add_(0, target[first], carried[first].long())
    found = []
    for place, name in enumerate(names):
        column = carried[:, place]
        if alone and int(counts[:, place].sum()) >= SMALLEST:
            found.append(_Candidate(name, column, column.double()))
        for number in (counts[:, place] >= SMALLEST).nonzero()[:, 0].tolist():
            members = column & (target == number)
            found.append(_Candidate(f"{_called(number, class_names)}, {name}", members, members.double()))
    return found


def _deviates(wrong: Tensor, members: Tensor, target: Tensor, classes: int) -> Tensor:
    """Errors of each candidate beyond those of its classes, in standard deviations; (k), float64."""
    counts = count_by_class(wrong, members, target, classes)
    a, inside, errors, n = (count.double() for count in counts)
    n = n.clamp(min=1)
    excess = (a - inside * errors / n).sum(1)
    variance = (inside * (n - inside) * errors * (n - errors) / (n.square() * (n - 1).clamp(min=1))).sum(1)
    return torch.where(variance > 0, excess / variance.sqrt(), -torch.inf)


def _chosen(found: list[_Candidate], wrong: Tensor, target: Tensor, classes: int, first: Tensor) -> list[_Candidate]:
    """The candidates with most errors beyond those of their classes, none of them twice."""
    if not found:
        return []
    members = torch.stack([one.members[first] for one in found], 1)
    deviates = _deviates(wrong[first], members, target[first], classes)
    kept: list[int] = []
    for place in deviates.argsort(descending=True, stable=True).tolist():
        if deviates[place] < LEAST or len(kept) == MOST:
            break
        mine = members[:, place]
        if all(int((mine & members[:, k]).sum()) <= SAME * int(min(mine.sum(), members[:, k].sum())) for k in kept):
            kept.append(place)
    return [found[place] for place in kept]


# -- what is said, on the half that is tested


def _shared(
    carried: Tensor, names: Sequence[str], inside: Tensor, target: Tensor, classes: int, second: Tensor
) -> tuple[SharedFactor, ...]:
    """Factors that most images of a slice carry, and others of the same classes seldom; the clearest first."""
    found = []
    for place, name in enumerate(names):
        counts = count_by_class(carried[second, place], inside[second, None], target[second], classes)
        level = 0.05 / len(names)
        ratio = mantel_haenszel(counts)
        low, high = mantel_haenszel_interval(counts, 1 - level)
        share = float(carried[inside, place].double().mean())
        figures = float(ratio[0]), float(low[0]), float(high[0])
        if share > 0 and ratio[0].isnan() and cochran_mantel_haenszel(counts)[0] < level:  # no other image carries it
            figures = math.inf, math.inf, math.inf
        if share >= SHARED_SHARE and figures[1] >= SHARED_RATIO:
            found.append(SharedFactor(name, share, *figures))
    return tuple(sorted(found, key=lambda one: (-one.low, -one.share)))  # of equal ones the first given


def _described(
    shared: Sequence[SharedFactor],
    inside: Tensor,
    wrong: Tensor,
    preds: Tensor,
    target: Tensor,
    class_names: Sequence[str] | None,
) -> str:
    """What the images of a slice that was found in the features share, in words."""
    own = _most(target[inside])
    said = _most(preds[inside & wrong & (preds >= 0)])
    parts = [] if own is None or own == said else [_called(own, class_names)]
    parts += [] if said is None else [f"predicted as {_called(said, class_names)}"]
    parts += [f"described by {shared[0].name}"] if shared else []
    return ", ".join(parts) or "alike in their features"


def _most(numbers: Tensor) -> int | None:
    """The number that most of them are; None where no one is."""
    if not len(numbers):
        return None
    values, counts = numbers.unique(return_counts=True)
    return int(values[counts.argmax()]) if int(counts.max()) >= MOSTLY * len(numbers) else None


def _called(number: int, class_names: Sequence[str] | None) -> str:
    return f"class {class_names[number] if class_names and number < len(class_names) else number}"


def _told_apart(slices: Sequence[Slice]) -> tuple[Slice, ...]:
    """The slices, with a number behind a name that stands twice."""
    seen: dict[str, int] = {}
    told = []
    for one in slices:
        seen[one.name] = seen.get(one.name, 0) + 1
        told.append(one if seen[one.name] == 1 else one._replace(name=f"{one.name} ({seen[one.name]})"))
    return tuple(told)


# -- groups of images that belong together


def _halves_of_groups(groups: Tensor) -> Tensor:
    """Which images are searched, those of a group together; (n), bool."""
    ids, place = groups.unique(return_inverse=True)
    return searched_half(len(ids))[place]


def _by_group(wrong: Tensor, members: Tensor, target: Tensor, groups: Tensor, second: Tensor) -> GroupedClasses:
    """What each image adds to the counts of its group and class."""
    _, place = groups[second].unique(return_inverse=True)
    return GroupedClasses(place, target[second], factor_errors_of_images(wrong[second], members[second]))


def _check(
    features: Tensor,
    preds: Tensor,
    target: Tensor,
    factors: Tensor | None,
    names: Sequence[str],
    groups: Tensor | None,
    searched: Tensor | None,
) -> None:
    """Refuse what does not describe the same images."""
    given = {"features": features, "preds": preds, "target": target, "factors": factors}
    shapes = ", ".join(f"{name} {tuple(each.shape)}" for name, each in given.items() if each is not None)
    axes = {"features": 2, "preds": 1, "target": 1, "factors": 2}
    wrong_axes = any(each is not None and each.ndim != axes[name] for name, each in given.items())
    beside = [each for each in (*given.values(), groups, searched) if each is not None]
    if wrong_axes or len({len(each) for each in beside}) > 1:
        fix = (
            "Pass features (n d), preds (n), target (n) and factors (n f) of the same images; of scores, their argmax."
        )
        raise InputError("find_slices", "the arguments do not describe the same images", shapes, fix)
    width = 0 if factors is None else factors.shape[1]
    if len(names) != width or isinstance(names, str):
        fix = "Pass one name for each column of the factors."
        raise InputError(
            "find_slices", "factors have no names of their own", f"{width} factors, {len(names)} names", fix
        )
