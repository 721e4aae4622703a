"""Validation labels that stand for other classes than those of training."""

import math

from lightning_failures.callbacks.causes.case import EXCLUDED, Case, CauseTest, Tested, experiment_of, gained, mends
from lightning_failures.callbacks.causes.experiments import LABELS
from lightning_failures.callbacks.causes.kinds import EVALUATED

__all__ = ["LABEL_MISMATCH"]


def _test(case: Case) -> Tested | None:
    made = experiment_of(case, LABELS)
    if not made:
        return None
    if not mends(made):
        return EXCLUDED
    renamed, shift = case.value("causes/labels_renamed"), case.value("causes/label_shift")
    how = f"{renamed:.0f} classes" if math.isnan(shift) else f"{renamed:.0f} classes, each label {shift:.0f} higher"
    return Tested(
        True,
        f"Predictions know the classes, but under other names ({how}): with each predicted class as the label that it "
        f"fits best, found on one half of the images, the accuracy on the other half {gained(made)}.",
        "Give both data sets one list of classes in one order: compare class_to_idx, a label that is counted from 1, "
        "and folders that one of them lacks.",
        made,
    )


LABEL_MISMATCH = CauseTest("label_mismatch", EVALUATED, _test, undoes=True)
