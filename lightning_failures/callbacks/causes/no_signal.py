"""Labels that nothing in the images was found to tell."""

import math

import torch

from lightning_failures.callbacks.causes.case import EXCLUDED, Case, CauseTest, Tested
from lightning_failures.callbacks.causes.kinds import GENERALISES
from lightning_failures.functional.intervals import wilson

__all__ = ["NO_SIGNAL"]


def _test(case: Case) -> Tested | None:
    accuracy, low = case.value("causes/validation_accuracy"), case.value("causes/validation_low")
    chance = case.value("causes/chance")
    reach, images = case.value("simplicity/best_reach"), case.value("simplicity/images")
    if any(map(math.isnan, (low, chance, reach, images))):
        return None
    right = torch.tensor(round(reach * images))
    reach_low = float(wilson(right, torch.tensor(round(images))).low)
    if low > chance or reach_low > chance:
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


NO_SIGNAL = CauseTest("no_signal", GENERALISES, _test)
