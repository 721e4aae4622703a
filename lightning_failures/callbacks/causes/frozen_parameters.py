"""Parameters that are meant to be trained and never move."""

import math

from lightning_failures.callbacks.causes.case import EXCLUDED, Case, CauseTest, Tested
from lightning_failures.callbacks.causes.kinds import LEARNS
from lightning_failures.records.kind import REPRESENTATION_COLLAPSE, TRAINING_FAULT

__all__ = ["FROZEN_PARAMETERS"]

#: Share of the numbers that require a gradient.
FROZEN = 0.25

#: Share of all numbers that require none, from which they make the features, and how much more a simple model of the
#: images must reach than the network, for the features to be at fault.
MOST, SHORT = 0.5, 0.1


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
        return _features(case) or EXCLUDED
    return Tested(
        True,
        f"{never:.0%} of the numbers that require a gradient are what they were at the start of the run.",
        "Look for a detach(), a torch.no_grad() or a layer that the loss does not use.",
        {"never_moved": never},
    )


def _features(case: Case) -> Tested | None:
    """Where most of the network is frozen on purpose, and gives its head less than the images hold; else None."""
    frozen, reach = case.value("training/frozen"), case.value("simplicity/best_reach")
    accuracy = case.value("simplicity/model_accuracy")
    if not (frozen >= MOST and reach > accuracy + SHORT):
        return None
    return Tested(
        True,
        f"{frozen:.0%} of the network's weights require no gradient. With the features that they give, its accuracy is "
        f"{accuracy:.2f}; that of a simple model of the images themselves is {reach:.2f}.",
        "Look whether pretrained weights were loaded; if that part is to learn, call requires_grad_(True) on it before "
        "the optimizer is built.",
        {"frozen": frozen, "accuracy": accuracy, "simple_model": reach},
    )


FROZEN_PARAMETERS = CauseTest("frozen_parameters", (*LEARNS, REPRESENTATION_COLLAPSE, TRAINING_FAULT), _test)
