"""What simple models, and a small network, reach on the images that were held out."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lightning_failures.audit.contents import without_content
from lightning_failures.audit.data_sums import DataSums
from lightning_failures.audit.small_network import BATCH, SmallNetworkRun, image_views, run_small_network
from lightning_failures.functional.discriminant import linear_discriminant
from lightning_failures.functional.estimate import Estimate, TrainingSpread, add_sums, training_spread, widen
from lightning_failures.functional.label_directions import LabelDirections
from lightning_failures.functional.ladder import fit_ladder, project
from lightning_failures.functional.moments import ClassMoments
from lightning_failures.functional.paired_accuracy import accuracy_difference, count_pairs
from lightning_failures.functional.proportions import wilson

__all__ = [
    "accuracy",
    "content_trial",
    "difference",
    "directions_right",
    "longer_trial",
    "mean_spectrum_sums",
    "rungs_right",
    "small_networks_right",
    "spread_of",
    "trial_accuracy",
    "trial_difference",
]

#: Views on which the small network is trained so often, to know how far its accuracy depends on chance.
RUNS = {"as_given": 3, "standardised": 3}
#: Steps more, after which a small network that reads nothing is looked at again.
MORE_STEPS = 400

NO_TOTAL = "some images have a total of 0 or below, so these are no raw units; pass denormalize"


def mean_spectrum_sums(data: DataSums) -> list[ClassMoments]:
    """The moments of the mean spectra alone, by group of training images."""
    start = 0
    for name, width in data.widths.items():
        if name == "mean_spectrum":
            break
        start += width
    columns = slice(start, start + data.widths["mean_spectrum"])
    return [
        ClassMoments(part.counts, part.totals[:, columns], part.squares, part.outer[columns, columns])
        for part in data.feature_sums
    ]


def rungs_right(data: DataSums, notes: dict[str, str]) -> dict[str, Tensor]:
    """Which held-out images each rung of the ladder gets right; (m), bool, lowest rung first.

    Rungs that say the same as others are left out: of one channel, all but its mean and its distribution over the
    pixels; of three, the total beside the grey level. So is the total where the images are in no raw units.

    Args:
        data: their sums and samples.
        notes: takes what is left out, and why.
    """
    held, (channels, *space) = data.held.rows, data.shape
    rungs = fit_ladder(add_sums(data.feature_sums), data.widths)
    left_out = {"first_component", "best_channel", "total_absorbance"} if channels == 1 else set()
    if channels == 3:
        left_out.add("total_absorbance")
    elif not data.positive:
        left_out.add("total_absorbance")
        notes["total_absorbance"] = NO_TOTAL
    if not space:
        left_out.add("low_frequencies")
    return {
        "mean_intensity" if channels == 1 and name == "mean_spectrum" else name: rung.predict(held) == held[""]
        for name, rung in rungs.items()
        if name not in left_out
    }


def directions_right(
    data: DataSums, sums: ClassMoments, info: LabelDirections, main: int
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Which held-out images a linear model gets right with only the first directions of the spectra, and without them.

    Args:
        data: their sums and samples.
        sums: moments of the mean spectra.
        info: their directions.
        main: a number of directions that is among those tried, beside 1, 2, 4, ... and all.

    Returns:
        Number of directions -> (m), bool, twice.
    """
    rows, known = data.held.rows["mean_spectrum"].double(), data.held.rows[""]
    varying = int((info.variance > 0).sum())
    numbers = sorted({min(2**power, varying) for power in range(varying.bit_length() + 1)} | {main})
    first: dict[int, Tensor] = {}
    without: dict[int, Tensor] = {}
    for number in numbers:
        for found, chosen in ((first, info.directions[:, :number]), (without, info.directions[:, number:varying])):
            if chosen.shape[1]:
                found[number] = linear_discriminant(project(sums, chosen)).predict(rows @ chosen) == known
    return first, without


def small_networks_right(
    data: DataSums, first: Tensor | None, steps: int, seed: int, notes: dict[str, str]
) -> dict[str, tuple[SmallNetworkRun, ...]]:
    """A small network on each view of the images, see :func:`.image_views`; several, by seed, of those compared.

    Args:
        data: their sums and samples.
        first: the first principal direction of the mean spectra; (b).
        steps: of training; 0: none is trained.
        seed: of weights and order.
        notes: takes why none is trained.
    """
    if steps < 1:
        notes["trials"] = "no small network was asked for"
        return {}
    if len(data.train) < 2 * BATCH:
        notes["trials"] = f"{len(data.train)} training images are fewer than two batches of {BATCH}"
        return {}
    train, held = data.train.rows, data.held_images.rows
    raw = tuple(part.get("raw", part["images"]) for part in (train, held))
    positive = all(bool((part.sum(1) > 0).all()) for part in raw)
    if data.shape[0] > 1 and not positive and "total_absorbance" not in notes:
        notes["without_total"] = "some pixels have a total of 0 or below"
    views = image_views(train["images"], held["images"], (raw[0], raw[1]) if positive else None, first)
    return {
        name: tuple(
            run_small_network(images, train["target"], others, held["target"], data.classes, steps, seed + run)
            for run in range(RUNS.get(name, 1))
        )
        for name, (images, others) in views.items()
    }


def longer_trial(data: DataSums, steps: int, seed: int) -> SmallNetworkRun:
    """A small network on standardised images after more steps.

    Args:
        data: their samples.
        steps: of its training.
        seed: of weights and order.
    """
    train, held = data.train.rows, data.held_images.rows
    images, others = image_views(train["images"], held["images"], None, None)["standardised"]
    return run_small_network(images, train["target"], others, held["target"], data.classes, steps, seed)


def content_trial(data: DataSums, kind: str, steps: int, seed: int) -> SmallNetworkRun:
    """A small network on standardised images that all have one content of one image.

    Args:
        data: their samples.
        kind: of content, as :func:`.content_descriptor` takes it.
        steps: of its training.
        seed: of weights and order.
    """
    train, held = data.train.rows, data.held_images.rows
    images, others = image_views(*without_content(train, held, kind), None, None)["standardised"]
    return run_small_network(images, train["target"], others, held["target"], data.classes, steps, seed)


def spread_of(rights: Mapping[str, Sequence[Tensor]]) -> dict[str, TrainingSpread]:
    """How far the accuracies on each view lie apart by the seed alone; of one training, as on standardised images.

    Args:
        rights: view -> which images each training gets right; (m), bool.
    """
    known = {
        view: training_spread([float(right.double().mean()) for right in runs])
        for view, runs in rights.items()
        if len(runs) > 1
    }
    return {view: known.get(view, known["standardised"]) for view in rights}


def trial_accuracy(rights: Sequence[Tensor], spread: TrainingSpread) -> Estimate:
    """Mean accuracy of some runs, with an interval for the choice of images and for the chance of the training."""
    own = accuracy(torch.stack(list(rights)).double().mean(0))
    wide = widen(own, spread.reach(own.value, len(rights)))
    return Estimate(own.value, max(0.0, wide.low), min(1.0, wide.high))


def trial_difference(runs: Sequence[Tensor], others: Sequence[Tensor], reach: float) -> Estimate:
    """Mean accuracy of some runs minus that of others on the same images; its interval holds a further error.

    Args:
        runs: which images each gets right; (m), bool.
        others: the same.
        reach: of the chance of the trainings; see :meth:`.TrainingSpread.reach`.
    """
    pairs = [difference(runs[k % len(runs)], others[k % len(others)]) for k in range(max(len(runs), len(others)))]
    return widen(Estimate(*(sum(values) / len(pairs) for values in zip(*pairs, strict=True))), reach)


def accuracy(right: Tensor) -> Estimate:
    """Share that is right, with Wilson's interval."""
    hits, images = right.sum().double(), torch.tensor(float(len(right)), dtype=torch.float64)
    low, high = wilson(hits, images)
    return Estimate(float(hits / images), float(low), float(high))


def difference(right: Tensor, other: Tensor) -> Estimate:
    """Accuracy of one minus that of another on the same images, with Newcombe's paired interval."""
    pairs = count_pairs(right, other, torch.ones_like(right))
    return Estimate(*(float(value) for value in accuracy_difference(*(pair.double() for pair in pairs))))
