"""What simple models, and a small network, reach on the images that a survey held out."""

import torch
from torch import Tensor

from lightning_failures.audit.data_sums import Survey
from lightning_failures.audit.small_network import BATCH, Trial, image_views, run_trial
from lightning_failures.functional.audit import Estimate, LabelDirections, add_sums
from lightning_failures.functional.discriminant import linear_discriminant
from lightning_failures.functional.intervals import wilson
from lightning_failures.functional.ladder import fit_ladder, project
from lightning_failures.functional.moments import ClassMoments
from lightning_failures.functional.paired_accuracy import accuracy_difference, count_pairs

__all__ = ["accuracy", "difference", "reach_by_directions", "reach_rungs", "reach_trials", "spectra_of"]

NO_TOTAL = "some images have a total of 0 or below, so these are no raw units; pass denormalize"


def spectra_of(survey: Survey) -> list[ClassMoments]:
    """The moments of the mean spectra alone, by group of training images."""
    start = 0
    for name, width in survey.widths.items():
        if name == "mean_spectrum":
            break
        start += width
    columns = slice(start, start + survey.widths["mean_spectrum"])
    return [
        ClassMoments(part.counts, part.totals[:, columns], part.squares, part.outer[columns, columns])
        for part in survey.sums
    ]


def reach_rungs(survey: Survey, notes: dict[str, str]) -> dict[str, Tensor]:
    """Which held-out images each rung of the ladder gets right; (m), bool, lowest rung first.

    Rungs that say the same as others are left out: of one channel, all but its mean and its distribution over the
    pixels; of three, the total beside the grey level. So is the total where the images are in no raw units.

    Args:
        survey: of the data.
        notes: takes what is left out, and why.
    """
    held, (channels, *space) = survey.held.rows, survey.shape
    rungs = fit_ladder(add_sums(survey.sums), survey.widths)
    left_out = {"first_component", "best_channel", "total_absorbance"} if channels == 1 else set()
    if channels == 3:
        left_out.add("total_absorbance")
    elif not survey.positive:
        left_out.add("total_absorbance")
        notes["total_absorbance"] = NO_TOTAL
    if not space:
        left_out.add("low_frequencies")
    return {
        "mean_intensity" if channels == 1 and name == "mean_spectrum" else name: rung.predict(held) == held[""]
        for name, rung in rungs.items()
        if name not in left_out
    }


def reach_by_directions(
    survey: Survey, sums: ClassMoments, info: LabelDirections, main: int
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Which held-out images a linear model gets right with only the first directions of the spectra, and without them.

    Args:
        survey: of the data.
        sums: moments of the mean spectra.
        info: their directions.
        main: a number of directions that is among those tried, beside 1, 2, 4, ... and all.

    Returns:
        Number of directions -> (m), bool, twice.
    """
    rows, known = survey.held.rows["mean_spectrum"].double(), survey.held.rows[""]
    varying = int((info.variance > 0).sum())
    numbers = sorted({min(2**power, varying) for power in range(varying.bit_length() + 1)} | {main})
    first: dict[int, Tensor] = {}
    without: dict[int, Tensor] = {}
    for number in numbers:
        for found, chosen in ((first, info.directions[:, :number]), (without, info.directions[:, number:varying])):
            if chosen.shape[1]:
                found[number] = linear_discriminant(project(sums, chosen)).predict(rows @ chosen) == known
    return first, without


def reach_trials(
    survey: Survey, first: Tensor | None, steps: int, seed: int, notes: dict[str, str]
) -> dict[str, Trial]:
    """A small network on each view of the images; see :func:`.image_views`.

    Args:
        survey: of the data.
        first: the first principal direction of the mean spectra; (b).
        steps: of training; 0: nothing is tried.
        seed: of weights and order.
        notes: takes why nothing is tried.
    """
    if steps < 1:
        notes["trials"] = "no small network was asked for"
        return {}
    if len(survey.train) < 2 * BATCH:
        notes["trials"] = f"{len(survey.train)} training images are fewer than two batches of {BATCH}"
        return {}
    train, held = survey.train.rows, survey.held_images.rows
    raw = tuple(part.get("raw", part["images"]) for part in (train, held))
    positive = all(bool((part.sum(1) > 0).all()) for part in raw)
    if survey.shape[0] > 1 and not positive and "total_absorbance" not in notes:
        notes["without_total"] = "some pixels have a total of 0 or below"
    views = image_views(train["images"], held["images"], (raw[0], raw[1]) if positive else None, first)
    return {
        name: run_trial(images, train["target"], others, held["target"], survey.classes, steps, seed)
        for name, (images, others) in views.items()
    }


def accuracy(right: Tensor) -> Estimate:
    """Share that is right, with Wilson's interval."""
    hits, images = right.sum().double(), torch.tensor(float(len(right)), dtype=torch.float64)
    low, high = wilson(hits, images)
    return Estimate(float(hits / images), float(low), float(high))


def difference(right: Tensor, other: Tensor) -> Estimate:
    """Accuracy of one minus that of another on the same images, with Newcombe's paired interval."""
    pairs = count_pairs(right, other, torch.ones_like(right))
    return Estimate(*(float(value) for value in accuracy_difference(*(pair.double() for pair in pairs))))
