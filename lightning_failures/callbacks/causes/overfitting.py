"""Training images that are known by heart."""

import math

from lightning_failures.callbacks.causes.case import EXCLUDED, Case, CauseTest, Tested
from lightning_failures.callbacks.causes.kinds import GENERALISES
from lightning_failures.records.kind import GENERALISATION_GAP

__all__ = ["OVERFITTING"]

#: Gap between training and validation, at the lower end of its interval, and accuracy on training images.
GAP, KNOWN = 0.05, 0.8

#: Where the finding is of something else, the gap that may explain it, which is one that would be a finding; and the
#: least share of what training images have above chance that others must have too: whoever learns by
#: heart what has a signal has a part of it.
WIDE, PART = 0.19, 0.3


def _test(case: Case) -> Tested | None:
    training, validation = case.value("causes/training_accuracy"), case.value("causes/validation_accuracy")
    low, held, chance = (case.value(f"causes/{key}") for key in ("gap_low", "validation_low", "chance"))
    if math.isnan(low):
        return None
    least = GAP if case.finding.kind == GENERALISATION_GAP else WIDE
    misled = held <= chance or validation - chance < PART * (training - chance)
    if low < least or training < KNOWN or misled:
        return EXCLUDED
    return Tested(
        True,
        f"In evaluation mode the network is right on {training:.1%} of the images that it was trained on and on "
        f"{validation:.1%} of others, and nothing that was tried makes these alike: it knows those by heart.",
        "Add images or augmentation, stop at the best epoch, raise the weight decay, or train a smaller network.",
        {"before": validation, "after": training},
    )


OVERFITTING = CauseTest("overfitting", GENERALISES, _test)
