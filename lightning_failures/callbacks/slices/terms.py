"""What the logged figures about slices mean."""

from lightning_failures.records.term import Term

__all__ = ["TERMS"]

_TOO_FEW = "too few images or errors to look for slices"

TERMS: tuple[Term, ...] = (
    Term(
        "found",
        "Slices",
        "Groups of images, found on one half of the sample, that are harder than others of their classes on the other "
        "half beyond chance.",
        "0 to 5",
        "describes; how much harder they are is in excess",
        "slices",
        when_nan=_TOO_FEW,
        headline=True,
    ),
    Term(
        "tested",
        "Slices that were tested",
        "Groups of images that were found on one half of the sample, each of which was tested on the other half.",
        "0 to 5",
        "describes",
        "slices",
        when_nan=_TOO_FEW,
    ),
    Term(
        "excess/*",
        "How much harder a slice is at least",
        "Lower end of the difference of error rates between the slice and other images of the same classes; 0 where no "
        "such slice is found at this evaluation.",
        "0 to 1",
        "lower is better",
    ),
    Term(
        "error/*",
        "Error rate of a slice",
        "Share of the images of the slice that are misclassified, on the half that it was tested on.",
        "0 to 1",
        "lower is better",
    ),
    Term(
        "error_others/*",
        "Error rate of others like a slice",
        "Share of other images of the same classes that are misclassified, on the half that the slice was tested on: "
        "the error rate of the slice less the difference.",
        "0 to 1",
        "the reference for the error rate of the slice",
    ),
    Term(
        "difference/*",
        "Difference of a slice from others",
        "Error rate of the slice minus that of other images of the same classes, pooled over the classes after Mantel "
        "and Haenszel, on the half that it was tested on.",
        "-1 to 1",
        "0: as good as on the others",
    ),
    Term(
        "difference_high/*",
        "Difference of a slice from others, upper end",
        "Upper end of its interval; those of all tested slices hold together with 95%. The lower end is excess.",
        "-1 to 1",
        "describes",
    ),
    Term(
        "p_value/*",
        "p-value of a slice",
        "How often so many errors would arise if the slice were as hard as other images of its classes: test of "
        "Cochran, Mantel and Haenszel with Holm's adjustment for the tested slices.",
        "0 to 1",
        "small: the slice is harder beyond chance",
    ),
    Term(
        "images/*",
        "Images of a slice",
        "Images of the slice in the half that it was tested on.",
        "0 upwards",
        "describes",
        "images",
    ),
    Term(
        "images/all",
        "Images of the sample",
        "Images in which slices were looked for: a fixed sample of the evaluated images.",
        "0 upwards",
        "describes",
        "images",
    ),
)
