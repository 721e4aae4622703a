"""What the logged figures about images of a property mean."""

from lightning_failures.metrics.adjustment import ClassAdjustedErrorRatio
from lightning_failures.records.headlines import told_by
from lightning_failures.records.term import Term

__all__ = ["LOGGED", "NO_EDGES", "NO_IMAGES", "TERMS"]

#: Of the metric; what else it computes is for those who use it by hand.
LOGGED = ("error", "difference", "difference_low", "difference_high", "cmh_p_value", "images", "groups")

NO_EDGES = "no training image was seen, which would say what counts as dark or as blurred"

#: What is said where the inputs are something else.
NO_IMAGES = "the inputs are no images with rows and columns"

_TERMS: tuple[Term, ...] = (
    *(term for term in ClassAdjustedErrorRatio.terms if term.key.partition("/")[0] in LOGGED),
    Term(
        "edge/*",
        "Edge of a property",
        "Value of the property from which on an image counts: a tenth of the training images are beyond it.",
        "any number",
        "describes",
    ),
)

TERMS = told_by(
    _TERMS,
    {"difference/*": ("worst_property", "max")},
)
