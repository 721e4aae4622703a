"""Units that no longer answer to any input."""

import math

from lightning_failures.callbacks.causes.case import EXCLUDED, Case, CauseTest, Tested
from lightning_failures.callbacks.causes.kinds import LEARNS
from lightning_failures.records.kind import REPRESENTATION_COLLAPSE, TRAINING_FAULT

__all__ = ["DEAD_UNITS"]

#: Share of a layer's units from which they explain a failure; healthy rectified layers have up to half.
DEAD = 0.75


def _test(case: Case) -> Tested | None:
    layers = {name: share for name, share in case.named("training/dead_units/*").items() if name != "most"}
    if math.isnan(case.value("training/dead_units/most")) or not layers:
        return None
    worst = max(layers, key=lambda name: layers[name])
    if layers[worst] < DEAD:
        return EXCLUDED
    return Tested(
        True,
        f"{layers[worst]:.0%} of the units of {worst} gave no gradient at any step that was looked at: they answer to "
        "no image any more, and training cannot bring them back.",
        "Start again from a checkpoint before it, with a lower learning rate or a warm-up; clip gradients, add a norm, "
        "or use a unit that is never flat, such as GELU.",
        {"dead_units": layers[worst]},
    )


DEAD_UNITS = CauseTest("dead_units", (*LEARNS, REPRESENTATION_COLLAPSE, TRAINING_FAULT), _test)
