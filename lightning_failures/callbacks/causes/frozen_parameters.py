"""Parameters that are meant to be trained and never move."""

import math

from lightning_failures.callbacks.causes.case import EXCLUDED, Case, CauseTest, Tested
from lightning_failures.callbacks.causes.kinds import LEARNS
from lightning_failures.records.kind import REPRESENTATION_COLLAPSE, TRAINING_FAULT

__all__ = ["FROZEN_PARAMETERS"]

#: Share of the numbers that require a gradient.
FROZEN = 0.25


def _test(case: Case) -> Tested | None:
    never, lost = case.value("training/never_moved"), case.value("training/not_in_optimizer")
    if math.isnan(never):
        return None
    stale = case.value("training/stale_parameters")
    if lost >= FROZEN:
        also = f", and it holds {stale:.0f} parameters that the module does not have" if stale > 0 else ""
        return Tested(
            True,
            f"{lost:.0%} of the numbers that require a gradient are held by no optimizer{also}.",
            "Build the optimizer in configure_optimizers from self.parameters(), after all layers were replaced.",
            {"not_in_optimizer": lost},
        )
    if never < FROZEN:
        return EXCLUDED
    return Tested(
        True,
        f"{never:.0%} of the numbers that require a gradient are what they were at the start of the run.",
        "Look for a detach(), a torch.no_grad() or a layer that the loss does not use.",
        {"never_moved": never},
    )


FROZEN_PARAMETERS = CauseTest("frozen_parameters", (*LEARNS, REPRESENTATION_COLLAPSE, TRAINING_FAULT), _test)
