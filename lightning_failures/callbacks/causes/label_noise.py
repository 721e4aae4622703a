"""Training labels of which some are wrong."""

import math

from lightning_failures.callbacks.causes.case import EXCLUDED, Case, CauseTest, Tested
from lightning_failures.callbacks.causes.kinds import GENERALISES
from lightning_failures.records.kind import DATA_FAULT

__all__ = ["LABEL_NOISE"]

#: Estimated share of wrong labels, at the lower end of its interval; share of images that have two labels.
WRONG, TWO_LABELS = 0.05, 0.01


def _test(case: Case) -> Tested | None:
    twice = case.value("data/training_contradicting_labels")
    if twice >= TWO_LABELS:
        return Tested(
            True,
            f"{twice:.1%} of the training images stand in the data once more under another label.",
            "Find out which of the labels is right; audit_data names the rows.",
            {"contradicting": twice},
        )
    share, low, high = (case.value(f"data/mislabelled{end}") for end in ("", "_low", "_high"))
    if math.isnan(low):
        return None
    if low < WRONG:
        return EXCLUDED
    return Tested(
        True,
        f"By how training images are learnt, {share:.0%} of their labels are wrong (95% interval {low:.0%} to "
        f"{high:.0%}).",
        "Look at the images at the top of the table failures/data/label_noise, and correct or drop their labels.",
        {"mislabelled": share},
    )


LABEL_NOISE = CauseTest("label_noise", (*GENERALISES, DATA_FAULT), _test)
