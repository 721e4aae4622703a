"""What the logged figures about simple cues mean: the words of the metrics that compute them, where these suffice."""

from collections.abc import Iterable, Mapping
from typing import Any

from lightning_failures.metrics.cues import CueExplainedVariance, CueSwapByClass
from lightning_failures.metrics.simplicity import (
    DecisionDimension,
    ExplainedBySimple,
    LinearReference,
    UntappedInformation,
)
from lightning_failures.metrics.transplants import TransplantShares
from lightning_failures.records.headlines import told_by
from lightning_failures.records.term import Term

__all__ = ["TERMS"]

#: Why a figure of the examination is nan, besides what its metric says.
_NOT_NOW = "left to a later evaluation; the module cannot be run again"
_NONE_EXPLAINS = "no simple model explains the network"


def _declared(terms: Iterable[Term], in_a_run: Mapping[str, Mapping[str, Any]], form: str = "{}") -> list[Term]:
    """The terms of some statistics of a metric, in the order given, with what is said otherwise in a run."""
    found = {term.key: term for term in terms}
    known = [found[statistic]._replace(**said) for statistic, said in in_a_run.items()]
    return [term.of(form) for term in known]


def _examined(terms: Iterable[Term]) -> list[Term]:
    """Figures that need further forward passes, for which there is not always time."""
    return [term._replace(when_nan=f"{term.when_nan}; {_NOT_NOW}") if term.when_nan else term for term in terms]


_UNTAPPED = _declared(
    UntappedInformation.terms,
    {
        "model_accuracy": {
            "name": "Accuracy",
            "meaning": "Accuracy of the network on the validation images that the linear reference predicts too; on 16 "
            "pixels of each image where pixels are labelled.",
        },
        "reference_accuracy": {
            "name": "Linear reference",
            "meaning": "Accuracy on the same validation images of a linear model on each image's mean, fitted in "
            "closed form from sums over the training batches. It costs next to nothing.",
        },
        "difference": {"name": "Difference from the linear reference"},
        "low": {"name": "Difference from the linear reference, lower end"},
        "high": {"name": "Difference from the linear reference, upper end"},
        "p_value": {},
        "images": {
            "name": "Images compared",
            "meaning": "Validation images on which the network and the linear reference were compared; pixels where "
            "these are labelled.",
            "direction": "few images give wide intervals",
        },
        "groups/all": {
            "name": "Groups compared",
            "meaning": "Groups of validation images that belong together, where groups were given: the interval of the "
            "difference counts groups.",
            "direction": "few groups give wide intervals",
        },
    },
)
_CHANCE = _declared(
    LinearReference.terms,
    {
        "chance": {
            "name": "Chance in training",
            "meaning": "Share of the most frequent class of the training images: the accuracy of naming it always.",
            "direction": "an accuracy near it means that nothing was learned yet",
            "when_nan": "no training batch was seen before the evaluation",
        }
    },
)

_CUES = [
    *_examined(
        [
            Term(
                "reliance/*",
                "Reliance on one content",
                "Share of predictions that become those of another image when one kind of content alone is taken from "
                "it, less what a poorer content carries already, and a pattern in any network. For a cue of your own, "
                "which cannot be exchanged, what it explains of the logits, over all images and within one label, "
                "whichever is smaller.",
                "0 to 1",
                "near 1: this content decides, and no poorer one does; near 0: it does not, or a poorer one does",
                when_nan="the exchange, or else what the cue explains, is undefined; finer parts are looked at first; "
                "several channels, or the statistics of many, are no simple cue",
            ),
            *_declared(
                TransplantShares.terms,
                {
                    "donor/*": {"key": "transplant/*"},
                    "donor_low/*": {"key": "transplant_low/*"},
                    "own/*": {"key": "transplant_own/*"},
                    "excess/*": {"key": "transplant_excess/*"},
                    "excess_low/*": {"key": "transplant_excess_low/*"},
                },
            ),
            *_declared(CueSwapByClass.terms, {term.key: {} for term in CueSwapByClass.terms}),
        ]
    ),
    Term(
        "without/*",
        "To be had without a content",
        "A small model reads the labels of images that all have the same content: its accuracy above that of naming "
        "one class, as a share of what there is above it. Without the total absorbance, a level, a colour or a "
        "channel, the other statistics of the channels are not left either.",
        "about 0 to 1",
        "near 1: the label is to be had without it; near 0: nothing else was found",
        when_nan="the images that were judged have one label",
    ),
    Term(
        "without_low/*",
        "To be had without a content, lower end",
        "Lower end of the 95% interval of that share.",
        "about 0 to 1",
        "above 0: something is to be had without it, beyond chance",
        when_nan="the images that were judged have one label",
    ),
    Term(
        "all_there_is/*",
        "Nothing else was found",
        "1 where a small model reads nothing of the labels from images that all have the same content; 0 where it "
        "does, or where that could not be tested.",
        "0 or 1",
        "1: the content is all that was found, and leaning on it is right",
    ),
    Term(
        "audit_alone/*",
        "Audit: from a content alone",
        "Accuracy on held-out images of a linear model that sees this content and nothing else, in the audit that the "
        "run was given; of the total absorbance and the grey level that of the level.",
        "0 to 1",
        "near what anything reaches: the content can carry the label; near chance: it cannot",
        when_nan="the audit gives none",
    ),
    Term(
        "audit_without/*",
        "Audit: without a content",
        "Accuracy on held-out images of a model that sees images which all have the same content, in the audit that "
        "the run was given; of the total absorbance and the grey level without the level.",
        "0 to 1",
        "near what anything reaches: the label is to be had without it; near chance: nothing else was found",
        when_nan="the audit did not look at images without it",
    ),
    *_declared(CueExplainedVariance.terms, {"eta2": {}, "eta2_within": {}}, "{}/*"),
]

_SEVERAL = {
    "own/*": {},
    "own_low/*": {"meaning": "Lower end of the 95% interval of that share, by number of directions."},
    "own_high/*": {"meaning": "Upper end of the 95% interval of that share, by number of directions."},
}
_OF_PIXELS = {
    "own/*": {
        "name": "Decided by directions of pixels (own)",
        "meaning": "The exchange in every pixel's own spectrum: share of pairs whose prediction becomes the "
        "receiver's.",
    },
    "own_low/*": {"name": "Decided by directions of pixels (own), lower end"},
    "own_high/*": {"name": "Decided by directions of pixels (own), upper end"},
    "decision_dimension": {
        "name": "Decision dimension of pixels",
        "meaning": "The decision dimension in every pixel's own spectrum.",
        "range": "1 to 8",
        "direction": "1 is right where colour says nothing, as in grey digits",
    },
}
_INTERCHANGE = _examined(
    [
        *_declared(
            DecisionDimension.terms,
            {
                "own/*": {
                    "key": "own/1",
                    "name": "Decided by one direction (own)",
                    "meaning": "One image, the donor, is given the value of another, the receiver, on the main "
                    "direction of variation of the data: one number per image. Share of pairs whose prediction then is "
                    "the receiver's own.",
                    "direction": "near 1: one number decides; near 0: the rest of the image does",
                },
                "donor/*": {"key": "donor/1"},
                "pairs": {"direction": "few pairs give wide intervals"},
                "decision_dimension": {
                    "meaning": "The smallest number of main directions of the images' mean spectra which, given to a "
                    "donor image, bring the receiver's prediction along in nine of ten pairs.",
                    "range": "1 to 8",
                },
            },
        ),
        *_declared(DecisionDimension.terms, _SEVERAL),
        *_declared(DecisionDimension.terms, _OF_PIXELS, "pixel_{}"),
    ]
)

_LADDER = [
    Term(
        "reach/*",
        "Accuracy of a simple model",
        "The simple models are the rungs of a ladder, from poor to rich; their reach is their accuracy on the same "
        "images. They are fitted in closed form on sums over the training batches.",
        "0 to 1",
        "above the network: it leaves information unused",
        when_nan="the simple model is undefined on the training images, or no image had labels",
    ),
    Term(
        "best_reach",
        "Accuracy of the best simple model",
        "The largest accuracy of any of the simple models.",
        "0 to 1",
        "above that of the simplest model that explains the network: more is there to be had",
        when_nan="no simple model is defined",
    ),
    *_declared(
        ExplainedBySimple.terms,
        {
            "explained_adjusted": {
                "name": "Explained by a simple model, less chance",
                "meaning": "Share of the network's information on the labels that is gone once the simple model's "
                "prediction is known, against the exact mean of models that have nothing to do with the network.",
                "direction": "near 1: the network knows no more than the simple model, or both know all",
            }
        },
        "{}/*",
    ),
    Term(
        "lowest_rung",
        "Simplest model that explains the network",
        "Its place among the simple models, from 0 for the poorest: the first that explains nine tenths of what the "
        "network knows.",
        "0 upwards",
        "describes; compare its accuracy with the best",
        "simple models",
        _NONE_EXPLAINS,
    ),
    Term(
        "lowest_reach",
        "Accuracy of the simplest model that explains the network",
        "Its accuracy on the labels.",
        "0 to 1",
        "as high as the best of the simple models: nothing simpler was missed",
        when_nan=_NONE_EXPLAINS,
    ),
]

_RECENT = Term(
    "recent_low",
    "Difference from the linear reference, lower end, least of late",
    "The least lower end of that difference at the last five evaluations, this one included.",
    "-1 to 1",
    "above 0: the network has not come up to the linear model for five evaluations, or since it began",
    when_nan=next(term.when_nan for term in _UNTAPPED if term.key == "low"),
)

TERMS = told_by(
    (*_UNTAPPED, _RECENT, *_CHANCE, *_CUES, *_INTERCHANGE, *_LADDER),
    {
        "reference_accuracy": ("linear_model", "max"),
        "reliance/*": ("leans_on", "max"),
        "own/1": ("one_direction", "max"),
    },
)
