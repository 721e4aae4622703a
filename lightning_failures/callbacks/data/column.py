"""Data as the report shows them."""

from lightning_failures.callbacks.data.rules import LABEL_RULES, RULES
from lightning_failures.callbacks.data.terms import LABEL_TERMS, TERMS
from lightning_failures.reporting.column import Column, Medium, Proof, last_figure
from lightning_failures.reporting.proof import Trace, traces

__all__ = ["DATA"]
_KEY = "failures/data/"
_LEAKED = traces(
    "share of the validation images",
    "Share of the validation images that are equal, byte for byte, to a training image, with its 95% interval.",
    Trace("trained on", f"{_KEY}leakage", f"{_KEY}leakage_low", f"{_KEY}leakage_high"),
    whole=True,
)
_MISLABELLED = traces(
    "share of the training labels",
    "Share of the training labels that look wrong, with its 95% interval.",
    Trace("look wrong", f"{_KEY}mislabelled", f"{_KEY}mislabelled_low", f"{_KEY}mislabelled_high"),
    whole=True,
)

DATA = Column(
    "data",
    (*TERMS, *LABEL_TERMS),
    (*RULES, *LABEL_RULES),
    title="The data",
    proofs=(Proof(("leakage",), _LEAKED), Proof(("label_noise",), _MISLABELLED)),
    media=(Medium("label_noise", "table", "Training images whose label looks wrong, the likeliest first"),),
    rows=(("Validation images trained on", last_figure("failures/data/leakage", ".1%")),),
)
