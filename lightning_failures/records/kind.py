"""The kinds of finding, each spelt once, with its title and the word that a progress bar has room for."""

from typing import NamedTuple

__all__ = [
    "CLASS_COLLAPSE",
    "COURSES",
    "DATA_FAULT",
    "FACTOR_FAILURE",
    "FACTOR_SPILLOVER",
    "FINDING_KINDS",
    "GENERALISATION_GAP",
    "GROUP_SHIFT",
    "KINDS",
    "MONITOR_ERROR",
    "NOT_FINITE",
    "NO_LEARNING",
    "ONE_DIMENSIONAL_PREDICTIONS",
    "OWN_RULE",
    "REPRESENTATION_COLLAPSE",
    "SIMPLE_CUE_RELIANCE",
    "SINGLE_BAND_RELIANCE",
    "SLICE_FAILURE",
    "TRAINING_FAULT",
    "UNTAPPED_INFORMATION",
    "Kind",
]


class Kind(NamedTuple):
    """One kind of finding."""

    name: str
    title: str
    word: str  # for a progress bar; empty: the subject says it


#: All kinds by name, worst first.
KINDS = {
    kind.name: kind
    for kind in (
        Kind("one_dimensional_predictions", "One-dimensional predictions", "one direction"),
        Kind("simple_cue_reliance", "Reliance on a simple cue", "simple cue"),
        Kind("untapped_information", "Untapped information", "untapped"),
        Kind("representation_collapse", "Representation collapse", "collapse"),
        Kind("class_collapse", "Class collapse", "class collapse"),
        Kind("single_band_reliance", "Reliance on a single band", "single band"),
        Kind("factor_failure", "Failure on one kind of image", ""),
        Kind("factor_spillover", "Spill-over onto one kind of image", ""),
        Kind("group_shift", "Failure on one group of images", ""),
        Kind("slice_failure", "Failure on images that are alike", ""),
        Kind("generalisation_gap", "A gap between training and validation", "gap"),
        Kind("no_learning", "Nothing is learnt", "no learning"),
        Kind("not_finite", "Not finite", "not finite"),
        Kind("training_fault", "A fault in the training step", "training"),
        Kind("data_fault", "A fault in the data", "data"),
        Kind("own_rule", "A rule of your own", ""),
        Kind("monitor_error", "A monitor stepped aside", "monitor error"),
    )
}
FINDING_KINDS = tuple(KINDS)
(
    ONE_DIMENSIONAL_PREDICTIONS,
    SIMPLE_CUE_RELIANCE,
    UNTAPPED_INFORMATION,
    REPRESENTATION_COLLAPSE,
    CLASS_COLLAPSE,
    SINGLE_BAND_RELIANCE,
    FACTOR_FAILURE,
    FACTOR_SPILLOVER,
    GROUP_SHIFT,
    SLICE_FAILURE,
    GENERALISATION_GAP,
    NO_LEARNING,
    NOT_FINITE,
    TRAINING_FAULT,
    DATA_FAULT,
    OWN_RULE,
    MONITOR_ERROR,
) = FINDING_KINDS

#: Kinds that compare an evaluation with earlier ones, so that one alone cannot show them.
COURSES = frozenset({FACTOR_SPILLOVER})
