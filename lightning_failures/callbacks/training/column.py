"""The training step as the report shows it."""

from lightning_failures.callbacks.training.origin import KINDS
from lightning_failures.callbacks.training.rules import RULES
from lightning_failures.callbacks.training.terms import TERMS
from lightning_failures.reporting.column import Column, Proof, last_figure
from lightning_failures.reporting.proof import Trace, traces

__all__ = ["TRAINING"]
_KEY = "failures/training/"
_LOSS = traces(
    "training loss",
    "The training loss, and what it was in the first steps. The line ends where the loss is no number.",
    Trace("loss", f"{_KEY}loss"),
    Trace("first steps", f"{_KEY}loss_initial", level=True),
)
_FROZEN = traces(
    "accuracy",
    "Accuracy of the network, most of whose weights are frozen, and of the best simple model of the images themselves, "
    "on the same images.",
    Trace("network", "failures/simplicity/model_accuracy"),
    Trace("simple model", "failures/simplicity/best_reach"),
)

TRAINING = Column(
    "training",
    TERMS,
    RULES,
    title="The training step",
    proofs=(
        Proof(("training_diverges", *(f"not_finite_{kind}" for kind in KINDS)), _LOSS),
        Proof(("frozen_features",), _FROZEN),
        *(
            Proof(
                (rule,),
                traces(
                    "share of the weights",
                    f"Share of all numbers that require a gradient {which}.",
                    Trace("they are", f"{_KEY}{rule}"),
                    whole=True,
                ),
            )
            for rule, which in (
                ("never_moved", "and are to the last digit what they were when the run began"),
                ("not_in_optimizer", "and that no optimizer holds"),
                ("without_gradient", "and never got one"),
            )
        ),
        Proof(
            ("stale_optimizer",),
            traces(
                "share of the weights",
                "Share of all numbers that require a gradient and that no optimizer holds.",
                Trace("they are", f"{_KEY}not_in_optimizer"),
                whole=True,
            ),
        ),
    ),
    rows=(("Training loss", last_figure(f"{_KEY}loss", ".3g")),),
)
