"""A training that ended before it was done."""

import math
from itertools import pairwise

from lightning_failures.callbacks.causes.case import EXCLUDED, Case, CauseTest, Tested
from lightning_failures.callbacks.causes.kinds import LEARNS

__all__ = ["UNFINISHED_TRAINING"]

#: Evaluations of which the course is taken, and what it must gain over them.
LAST, GAIN = 4, 0.02


def _test(case: Case) -> Tested | None:
    epochs, values = case.record.series("failures/causes/validation_accuracy")
    known = [(epoch, value) for epoch, value in zip(epochs, values, strict=True) if not math.isnan(value)][-LAST:]
    if len(known) < 3:
        return None
    (first, before), (last, now) = known[0], known[-1]
    rises = all(after > earlier for (_, earlier), (_, after) in pairwise(known))
    falls = case.value("training/loss_slope_high")
    if not rises or now - before < GAIN or falls >= 0:
        return EXCLUDED
    return Tested(
        True,
        f"The accuracy on validation images still rises: from {before:.3f} after epoch {first} to {now:.3f} after "
        f"epoch {last}, at each evaluation.",
        "Train for longer before anything else is changed.",
        {"before": before, "after": now},
    )


UNFINISHED_TRAINING = CauseTest("unfinished_training", LEARNS, _test)
