"""What the logged figures about channels and bands mean: the words of the metric that computes them, in a run."""

from typing import Any

from lightning_failures.callbacks.channels.examination import NOT_LOGGED
from lightning_failures.metrics.channels import ChannelDependence
from lightning_failures.records.headlines import told_by
from lightning_failures.records.term import Term

__all__ = ["TERMS"]

_FIRST = "there is no earlier evaluation to compare with"

#: What differs from the metric's own words, which know neither which score is attributed, nor what is logged when.
_IN_A_RUN: dict[str, dict[str, Any]] = {
    "change/*": {
        "meaning": "Rise of the cross-entropy on a fixed batch when the band is replaced. It says what the model "
        "depends on, not what the signal is carried by: the table has the pattern of that beside it.",
    },
    "error/*": {"meaning": "Standard error of the rise, over images and over random draws."},
    "centroid": {
        "meaning": "Mean place of the shares on the axis. Logged where there is an axis.",
        "range": "the first band's place on the axis to the last one's",
        "unit": "that of the axis",
        "when_nan": "no band's change passes the null floor",
    },
    "largest_change": {
        "when_nan": "no image was examined: not the turn of this evaluation, the budget was spent, or the module "
        "cannot be run again",
    },
    "total": {
        "meaning": "Rise of the cross-entropy when all bands are replaced together, which the bands' Shapley values "
        "share out. Logged where the method gives it.",
        "when_nan": "",
    },
    "floor": {
        "meaning": "Size of change that means nothing, of the band that passes its own by most or comes nearest to it, "
        "as the option null makes it: by default the rise that the chance of the images gives such a band in a model "
        "to which none is of use, and at least 0.05 nats.",
    },
}

_STABILITY = (
    Term(
        "spearman",
        "Rank correlation with the evaluation before",
        "Rank correlation of the changes by band with those of the evaluation before, on the same images.",
        "-1 to 1",
        "near 1: the profile is stable",
        when_nan=f"{_FIRST}, there are fewer than two bands, or all changes are equal",
    ),
    Term(
        "jensen_shannon",
        "Divergence from the evaluation before",
        "Jensen-Shannon divergence, to base 2, of the shares from those of the evaluation before.",
        "0 to 1",
        "near 0: the profile is stable",
        "bits",
        f"{_FIRST}, or no band's change passes the null floor at one of the two",
    ),
)

_TERMS: tuple[Term, ...] = (
    *(
        term._replace(**_IN_A_RUN.get(term.key, {}))
        for term in ChannelDependence.terms
        if term.key.removesuffix("/*") not in NOT_LOGGED
    ),
    *_STABILITY,
)

TERMS = told_by(
    _TERMS,
    {"largest_share": ("one_band", "max")},
    ["effective_channels"],
)
