"""Labels that nothing in the images was found to tell."""

import math

import torch

from lightning_failures.callbacks.causes.case import EXCLUDED, INAPPLICABLE, Case, CauseTest, Tested
from lightning_failures.callbacks.causes.kinds import GENERALISES
from lightning_failures.functional.proportions import wilson
from lightning_failures.records.kind import GENERALISATION_GAP, REPRESENTATION_COLLAPSE
from lightning_failures.records.numbers import share

__all__ = ["NO_SIGNAL"]

#: By how much training images may be above chance at the first evaluation, where there is nothing to be learnt of them.
LITTLE = 0.1


#: Share of blank images from which there is nothing that could tell a label.
BLANK = 0.9

#: Whose images they are, and the figure of them.
SIDES = {"training": "training_blank", "validation": "blank"}


def _test(case: Case) -> Tested | None:
    for side, key in SIDES.items():
        blank = case.value(f"data/{key}")
        if blank > BLANK:
            return Tested(
                True,
                f"In {share(blank)} the {side} images each channel has one value throughout, the same in each of them: "
                "the inputs are constant.",
                "Look at some images as the step gets them: a file that could not be read and was filled up, a crop "
                "outside of the image, a division that leaves 0, clipping that leaves one value.",
                {"blank": blank},
            )
    if case.finding.kind == REPRESENTATION_COLLAPSE:
        return INAPPLICABLE
    accuracy, low = case.value("causes/validation_accuracy"), case.value("causes/validation_low")
    chance = case.value("causes/chance")
    reach, images = case.value("simplicity/best_reach"), case.value("simplicity/images")
    if any(map(math.isnan, (low, chance, reach, images))):
        return None
    right = torch.tensor(round(reach * images))
    reach_low = float(wilson(right, torch.tensor(round(images))).low)
    if low > chance or reach_low > chance or (case.finding.kind == GENERALISATION_GAP and not _by_heart(case, chance)):
        return EXCLUDED
    return Tested(
        True,
        f"On validation images the network is right on {accuracy:.1%}, the best of the simple models, which need no "
        f"training, on {reach:.1%}, and naming the most frequent class on {chance:.1%}: none of them is better than "
        "chance.",
        "Look at some images beside their labels: a loader that shuffles one of both, a table joined by the wrong "
        "column. If they belong together, the images may not hold what the labels ask for.",
        {"before": accuracy, "after": reach, "chance": chance},
    )


def _by_heart(case: Case, chance: float) -> bool:
    """Whether training images are learnt one by one: what they have in common is learnt within the first epoch."""
    _, course = case.record.series("failures/causes/reached")
    first = next((value for value in course if not math.isnan(value)), math.nan)
    return first < chance + LITTLE


NO_SIGNAL = CauseTest("no_signal", (*GENERALISES, REPRESENTATION_COLLAPSE), _test)
