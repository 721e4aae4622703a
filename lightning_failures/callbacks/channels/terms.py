"""What the logged figures about channels and bands mean."""

from lightning_failures.records.term import Term

__all__ = ["TERMS"]

_BLANK = "no band's change passes the null floor, so that the profile's shape means nothing"
_NOTHING = "no image was examined"
_FIRST = "there is no earlier evaluation to compare with"

TERMS: tuple[Term, ...] = (
    Term(
        "change/*",
        "What the model loses without a band",
        "Rise of the cross-entropy on a fixed batch when the band is replaced. It says what the model depends on, not "
        "what the signal is carried by: the table has the pattern of that beside it.",
        "any",
        "0: no dependence; above 0: the model is worse without the band",
        "nats",
        _NOTHING,
    ),
    Term(
        "error/*",
        "Standard error of that",
        "Standard error of the rise, over images and over random draws.",
        "0 upwards",
        "smaller: better known",
        "nats",
        "fewer than two images were examined",
    ),
    Term(
        "share/*",
        "Share of a band",
        "Size of the band's change over the sum of all sizes. Read it beside the change, whose size it hides.",
        "0 to 1",
        "describes",
        when_nan=_BLANK,
    ),
    Term(
        "floor",
        "Null floor",
        "The largest rise of a model that knows nothing, as the option null makes it: by default the same model with "
        "the weights of its last layer shuffled, eight times.",
        "0 upwards",
        "a change below it means nothing",
        "nats",
        _NOTHING,
    ),
    Term(
        "largest_change",
        "Largest change",
        "Size of the largest change of a band.",
        "0 upwards",
        "compare with the null floor",
        "nats",
        f"{_NOTHING}: not the turn of this evaluation, the time budget was spent, or the module cannot be run again",
    ),
    Term(
        "total",
        "Loss without all bands",
        "Rise of the cross-entropy when all bands are replaced together, which the bands' Shapley values share out. "
        "Logged where the method gives it.",
        "any",
        "describes",
        "nats",
    ),
    Term(
        "effective_channels",
        "Effective bands",
        "1 over the sum of squared shares: the number of equal bands that would be as concentrated.",
        "1 to the number of bands",
        "1: one band has it all",
        "bands",
        _BLANK,
        headline=True,
    ),
    Term(
        "largest_share",
        "Largest share",
        "Share of the largest band.",
        "1 over the number of bands, to 1",
        "near 1: one band has it all",
        when_nan=_BLANK,
        headline=True,
    ),
    Term(
        "centroid",
        "Centroid of the profile",
        "Mean place of the shares on the axis. Logged where there is an axis.",
        "the first band's place on the axis to the last one's",
        "describes",
        "that of the axis",
        _BLANK,
    ),
    Term("bands", "Bands", "Number of bands that are watched.", "1 upwards", "describes", "bands"),
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
        f"{_FIRST}, or {_BLANK}",
    ),
)
