"""Validation images that were trained on."""

import math

from lightning_failures.callbacks.causes.case import EXCLUDED, INAPPLICABLE, Case, CauseTest, Tested
from lightning_failures.records.kind import DATA_FAULT

__all__ = ["LEAKAGE"]

#: Share of validation images from which it matters; as the rule on leaked images.
LEAKED = 0.01


def _test(case: Case) -> Tested | None:
    if case.finding.rule != "leakage":
        return INAPPLICABLE
    share = case.value("data/leakage")
    if math.isnan(share):
        return None
    if share < LEAKED:
        return EXCLUDED
    return Tested(
        True,
        f"{share:.1%} of the validation images are equal, byte for byte, to training images.",
        case.finding.advice,
        {"leaked": share},
    )


LEAKAGE = CauseTest("leakage", (DATA_FAULT,), _test)
