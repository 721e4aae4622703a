"""Numbers that are not finite, from where they began."""

import math

from lightning_failures.callbacks.causes.case import EXCLUDED, Case, CauseTest, Tested
from lightning_failures.callbacks.causes.kinds import WORKS

__all__ = ["NOT_FINITE"]

_ORIGINS = ("input", "weight", "activation", "gradient", "loss")


def _test(case: Case) -> Tested | None:
    share = case.value("training/not_finite")
    if math.isnan(share):
        return None
    if share == 0:
        return EXCLUDED
    for origin in _ORIGINS:
        for name, step in case.named(f"training/not_finite_{origin}/*").items():
            return Tested(
                True,
                f"The first number that was not finite was an {origin} of {name}, seen at step {step:.0f}."
                if origin[0] in "ai"
                else f"The first number that was not finite was the {origin} of {name}, seen at step {step:.0f}.",
                "Look at what enters there; lower the learning rate or clip gradients, and train on in float32 or "
                "bfloat16 in place of float16.",
                {"share_not_finite": share, "step": step},
            )
    return Tested(
        True,
        f"{share:.0%} of the losses or of the images' logits are not finite.",
        "Look at the inputs and at the loss for NaN and infinity.",
        {"share_not_finite": share},
    )


NOT_FINITE = CauseTest("not_finite", WORKS, _test)
