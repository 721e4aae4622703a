"""Units that no longer answer to any input."""

import math

from lightning_failures.callbacks.causes.case import EXCLUDED, INAPPLICABLE, Case, CauseTest, Tested
from lightning_failures.callbacks.causes.kinds import LEARNS
from lightning_failures.records.kind import REPRESENTATION_COLLAPSE, TRAINING_FAULT

__all__ = ["DEAD", "DEAD_UNITS"]

#: Share of a layer's units from which they explain a failure; healthy rectified layers have up to half.
DEAD = 0.75


def _test(case: Case) -> Tested | None:
    most, layers = case.value("training/dead_units"), case.named("training/dead_units/*")
    if case.value("training/gradient_survives") > 0.5:
        return INAPPLICABLE  # what kills units is that gradients add up
    if math.isnan(most):
        return None
    outputs = max(case.values("training/dead_outputs"), default=0.0)  # now and then one image may get past
    if 0 < outputs < 1:
        return Tested(
            True,
            f"{outputs:.0%} of the outputs of the last linear layer gave no gradient at any step that was looked at "
            "before one of the last evaluations: no image moves the scores of these classes, so that training can "
            "hardly change them.",
            "Take away what stands between the last linear layer and the loss, such as a ReLU: the loss wants the "
            "scores as that layer gives them. If nothing does, lower the learning rate.",
            {"dead_outputs": outputs},
        )
    if most < DEAD or not layers:  # layers with few dead units have no figure of their own
        return EXCLUDED
    worst = max(layers, key=lambda name: layers[name])
    return Tested(
        True,
        f"{layers[worst]:.0%} of the units of {worst} gave no gradient at any step that was looked at: no image "
        "moves them, so that training can hardly bring them back.",
        "Start again from a checkpoint in which they still lived, with a lower learning rate or a "
        "warm-up; clip gradients, add a norm, or use a unit that is never flat, such as GELU.",
        {"dead_units": layers[worst]},
    )


DEAD_UNITS = CauseTest("dead_units", (*LEARNS, REPRESENTATION_COLLAPSE, TRAINING_FAULT), _test)
