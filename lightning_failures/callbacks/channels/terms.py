"""What the logged figures about channels and bands mean."""

from lightning_failures.records.term import Term

__all__ = ["TERMS"]

_BLANK = "undefined where no band passes the null floor"

TERMS: tuple[Term, ...] = (
    Term(
        "change/*",
        "What the model loses without a band",
        "Rise of the cross-entropy on a fixed batch when the band is replaced. It says what the model depends on, not "
        "what the signal is carried by: the table has the pattern of that beside it.",
        "any, in nats",
        "0: no dependence; above 0: the model is worse without the band",
    ),
    Term(
        "error/*",
        "Standard error of that",
        "Standard error of the rise, over images and over random draws.",
        "0 upwards, in nats",
        "smaller: better known",
    ),
    Term(
        "share/*",
        "Share of a band",
        "Size of the band's change over the sum of all sizes. Read it beside the change, whose size it hides.",
        "0 to 1; " + _BLANK,
        "describes",
    ),
    Term(
        "floor",
        "Null floor",
        "The largest rise of a model that knows nothing: the same with the weights of its last layer shuffled, eight "
        "times.",
        "0 upwards, in nats",
        "a change below it means nothing",
    ),
    Term(
        "largest_change",
        "Largest change",
        "Size of the largest change of a band.",
        "0 upwards, in nats",
        "compare with the null floor",
    ),
    Term(
        "total",
        "Loss without all bands",
        "Rise of the cross-entropy when all bands are replaced together, which the bands' Shapley values share out.",
        "any, in nats",
        "describes",
    ),
    Term(
        "effective_channels",
        "Effective bands",
        "1 over the sum of squared shares: the number of equal bands that would be as concentrated.",
        "1 to the number of bands; " + _BLANK,
        "1: one band has it all",
    ),
    Term(
        "entropy_channels",
        "Effective bands by entropy",
        "Exponential of the entropy of the shares.",
        "1 to the number of bands; " + _BLANK,
        "1: one band has it all",
    ),
    Term(
        "gini",
        "Gini coefficient of the bands",
        "How unequal the shares are.",
        "0 to 1; " + _BLANK,
        "0: all are equal; near 1: one band has it all",
    ),
    Term(
        "largest_share",
        "Largest share",
        "Share of the largest band.",
        "0 to 1; " + _BLANK,
        "near 1: one band has it all",
    ),
    Term(
        "centroid",
        "Centroid of the profile",
        "Mean place of the shares on the axis.",
        "the axis, in its unit; " + _BLANK,
        "describes",
    ),
    Term("bands", "Bands", "Number of bands that are watched.", "1 upwards", "describes"),
    Term(
        "spearman",
        "Rank correlation with the evaluation before",
        "Rank correlation of the changes by band with those of the evaluation before, on the same images.",
        "-1 to 1",
        "near 1: the profile is stable",
    ),
    Term(
        "jensen_shannon",
        "Divergence from the evaluation before",
        "Jensen-Shannon divergence of the shares from those of the evaluation before.",
        "0 to 1; " + _BLANK,
        "near 0: the profile is stable",
    ),
)
