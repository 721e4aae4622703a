"""Training images that are known by heart."""

import math

from lightning_failures.callbacks.causes.case import EXCLUDED, Case, CauseTest, Tested
from lightning_failures.callbacks.causes.kinds import GENERALISES

__all__ = ["OVERFITTING"]

#: Gap between training and validation, at the lower end of its interval, and accuracy on training images.
GAP, KNOWN = 0.05, 0.8


def _test(case: Case) -> Tested | None:
    training, validation = case.value("causes/training_accuracy"), case.value("causes/validation_accuracy")
    low, held, chance = (case.value(f"causes/{key}") for key in ("gap_low", "validation_low", "chance"))
    if math.isnan(low):
        return None
    # whoever learns by heart what has a signal is better than chance; below, something in training misleads
    if low < GAP or training < KNOWN or held <= chance:
        return EXCLUDED
    return Tested(
        True,
        f"In evaluation mode the network is right on {training:.1%} of the images that it was trained on and on "
        f"{validation:.1%} of others that are prepared alike: it knows those by heart.",
        "Add images or augmentation, stop at the best epoch, raise the weight decay, or train a smaller network.",
        {"before": validation, "after": training},
    )


OVERFITTING = CauseTest("overfitting", GENERALISES, _test)
