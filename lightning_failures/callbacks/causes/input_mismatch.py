"""Validation inputs that are not prepared as those of training: another scale, or channels in another order."""

import math

from lightning_failures.callbacks.causes.case import EXCLUDED, Case, CauseTest, Tested, experiment_of, gained, mends
from lightning_failures.callbacks.causes.kinds import EVALUATED

__all__ = ["INPUT_MISMATCH"]


def _test(case: Case) -> Tested | None:
    differ, moved = case.value("causes/channels_differ"), case.value("causes/channels_moved")
    if math.isnan(differ):
        return None
    scale, order = experiment_of(case, "input_scale"), experiment_of(case, "channel_order")
    if (differ and not scale) or (moved and not order):
        return None  # there was no time for the experiment
    best = max((scale, order), key=lambda made: float(made.get("after") or 0))
    if not mends(best):
        return EXCLUDED
    told = f"the accuracy on the same validation images {gained(best)}"
    if best is order:
        return Tested(
            True,
            f"{moved:.0f} channels of validation are like other channels of training; put back in that order, {told}.",
            "Read the channels in the same order for training and validation: RGB against BGR, or files sorted anew.",
            order,
        )
    channel, shift, ratio = (case.value(f"causes/input_{key}") for key in ("channel", "shift", "ratio"))
    by, plus = case.value("causes/input_scale"), case.value("causes/input_offset")
    return Tested(
        True,
        f"Channels of validation on another scale: {differ:.0f}; in channel {channel:.0f} the mean lies {shift:+.2f} "
        f"standard deviations of training beside that of training, and the deviation is {ratio:.2f} times as large. "
        f"With training's mean and deviation, {told}.",
        "Use one transform with one set of statistics, those of the training images, for both loaders. What the "
        f"validation loader gives in channel {channel:.0f} is on the scale of training when it is multiplied by "
        f"{by:.4g} and {plus:.4g} is added.",
        scale,
    )


INPUT_MISMATCH = CauseTest("input_mismatch", EVALUATED, _test, undoes=True)
