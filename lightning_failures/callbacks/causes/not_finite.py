"""Numbers that are not finite, from where they began."""

import math

from lightning_failures.callbacks.causes.case import EXCLUDED, Case, CauseTest, Tested
from lightning_failures.callbacks.causes.kinds import WORKS
from lightning_failures.records.kind import NOT_FINITE as NOT_FINITE_KIND

__all__ = ["NOT_FINITE"]

#: Where it may have begun, in the order in which one brings the next, and how that is said before its name.
_ORIGINS = {
    "input": "the inputs of",
    "weight": "the parameter",
    "activation": "the output of",
    "gradient": "the gradient of",
    "loss": "the loss of",
}
_ADVICE = "Look at what enters there; lower the learning rate or clip gradients, and train in float32 or bfloat16."


def _test(case: Case) -> Tested | None:
    share = case.value("training/not_finite")
    if math.isnan(share):
        return None
    if share == 0:
        return EXCLUDED
    own = case.finding.kind == NOT_FINITE_KIND  # its rule knows what to try for such an origin
    for origin, said in _ORIGINS.items():
        for name, step in case.named(f"training/not_finite_{origin}/*").items():
            return Tested(
                True,
                f"The first number that was not finite was seen at step {step:.0f}, in {said} {name}.",
                case.finding.advice if own else _ADVICE,
                {"share_not_finite": share, "step": step},
            )
    return Tested(
        True,
        f"{share:.0%} of the losses or of the images' logits are not finite.",
        "Look at the inputs and at the loss for NaN and infinity.",
        {"share_not_finite": share},
    )


NOT_FINITE = CauseTest("not_finite", WORKS, _test)
