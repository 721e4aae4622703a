"""What the logged figures about which images a model fails on mean."""

from lightning_failures.records.term import Term

__all__ = ["PERTURBED", "TERMS"]

_NO_ERRORS = "no image carries the factor, or nothing is misclassified"
_NO_ODDS = "no image or every image carries the factor, or the images with and without it are all right or all wrong"
_NOT_PAIRED = (
    "there is no earlier evaluation of the same images in the same order, or one of the two has no errors on the factor"
)
_NOT_CHANGED = "the images were not changed, such as for want of time, or the clean ones have no errors"

TERMS: tuple[Term, ...] = (
    Term(
        "error_ratio/*",
        "Error ratio of a factor",
        "Error rate on the images that carry the factor, over the error rate on all images. Its 95% interval tests "
        "these images against all others.",
        "0 to 1 over the factor's share of the images",
        "1 is typical, 2 is twice the errors",
        when_nan=_NO_ERRORS,
        headline=True,
    ),
    Term(
        "error_ratio/worst",
        "Worst error ratio",
        "The largest error ratio. As the largest of several noisy figures it reads too high; the shrunk one corrects "
        "for that.",
        "0 upwards",
        "lower is better",
        when_nan=_NO_ERRORS,
        headline=True,
    ),
    Term(
        "error_ratio/worst_shrunk",
        "Worst error ratio, shrunk",
        "The largest error ratio after each was drawn towards the mean of all, the more so the fewer images carry the "
        "factor. It does not read too high by the choice of the largest.",
        "0 upwards",
        "lower is better",
        when_nan=_NO_ERRORS,
    ),
    Term(
        "low/*",
        "Error ratio of a factor, lower end",
        "Lower end of the 95% interval of the error ratio.",
        "0 upwards",
        "above 1: the factor is harder beyond chance",
        when_nan=_NO_ERRORS,
    ),
    Term(
        "high/*",
        "Error ratio of a factor, upper end",
        "Upper end of the 95% interval of the error ratio.",
        "0 upwards",
        "below 1: the factor is easier beyond chance",
        when_nan=_NO_ERRORS,
    ),
    Term(
        "p_value/*",
        "p-value of a factor",
        "How often a difference this large between the factor's images and all others would arise by chance: Fisher's "
        "exact test, adjusted for the number of factors.",
        "0 to 1",
        "small: the factor matters",
        when_nan=_NO_ERRORS,
    ),
    Term(
        "odds_ratio/*",
        "Odds ratio of a factor",
        "Odds of an error with the factor over those without it. Unlike the error ratio it does not drift with the "
        "accuracy.",
        "0 upwards, infinite where all images with the factor are wrong or all others right",
        "1: no harder than the rest",
        when_nan=_NO_ODDS,
    ),
    Term(
        "odds_low/*",
        "Odds ratio of a factor, lower end",
        "Lower end of the 95% interval of the odds ratio.",
        "0 upwards",
        "above 1: the factor is harder beyond chance",
        when_nan=_NO_ODDS,
    ),
    Term(
        "images/*",
        "Images of a factor",
        "Images that carry the factor.",
        "0 upwards",
        "few: wide intervals",
        unit="images",
    ),
    Term("images/all", "Images", "All images of the evaluation.", "0 upwards", "describes", unit="images"),
    Term(
        "images/non_finite",
        "Images without a finite prediction",
        "Images whose highest score is not finite. They count as misclassified.",
        "0 upwards",
        "above 0: the network computes values that are not finite",
        unit="images",
    ),
    Term(
        "errors/*",
        "Errors of a factor",
        "Misclassified images among those that carry the factor.",
        "0 upwards",
        "few: wide intervals",
        unit="images",
    ),
    Term(
        "error/all",
        "Error rate",
        "Share of all images that are misclassified.",
        "0 to 1",
        "lower is better",
        when_nan="no image was seen",
        headline=True,
    ),
    Term(
        "spillover/*",
        "Spill-over",
        "1 where the factor's error ratio rose beyond chance while all errors became fewer than at the best epoch so "
        "far, else 0.",
        "0 or 1",
        "1: training may have paid for other images with these; see the errors over those of the best epoch",
        when_nan=_NOT_PAIRED,
    ),
    Term(
        "spillover_ratio/*",
        "Error ratio over that of the best epoch",
        "The factor's error ratio over its error ratio at the best epoch so far, on the same images.",
        "0 upwards",
        "above 1: it became harder relative to all images",
        when_nan=_NOT_PAIRED,
    ),
    Term(
        "spillover_low/*",
        "Error ratio over that of the best epoch, lower end",
        "Lower end of its 95% interval.",
        "0 upwards",
        "above 1: it became harder beyond chance",
        when_nan=_NOT_PAIRED,
    ),
    Term(
        "spillover_high/*",
        "Error ratio over that of the best epoch, upper end",
        "Upper end of its 95% interval.",
        "0 upwards",
        "below 1: it became easier beyond chance",
        when_nan=_NOT_PAIRED,
    ),
    Term(
        "spillover_risk/*",
        "Errors over those of the best epoch",
        "Errors on the images that carry the factor, over those of the best epoch so far on the same images.",
        "0 upwards",
        "above 1: more errors than there were; a ratio that rises while this is below 1 is no failure",
        when_nan=_NOT_PAIRED,
    ),
    Term(
        "spillover_mcnemar_p/*",
        "p-value of errors over those of the best epoch",
        "How often this epoch and the best one would be wrong alone so unequally often if they were equally good: "
        "McNemar's exact test, image by image.",
        "0 to 1",
        "small: one of the two is better on these images",
        when_nan=_NOT_PAIRED,
    ),
)

PERTURBED: tuple[Term, ...] = (
    Term(
        "perturbed_ratio/*",
        "Errors on changed images",
        "Errors on the same images with one thing changed, over those on the images as they are.",
        "0 upwards",
        "1: the change does not matter; 2: twice the errors",
        when_nan=_NOT_CHANGED,
    ),
    Term(
        "perturbed_low/*",
        "Errors on changed images, lower end",
        "Lower end of the 95% interval of that ratio.",
        "0 upwards",
        "above 1: the change makes errors beyond chance",
        when_nan=_NOT_CHANGED,
    ),
    Term(
        "perturbed_high/*",
        "Errors on changed images, upper end",
        "Upper end of the 95% interval of that ratio.",
        "0 upwards",
        "below 1: the change mends errors beyond chance",
        when_nan=_NOT_CHANGED,
    ),
    Term(
        "perturbed_mcnemar_p/*",
        "p-value of errors on changed images",
        "How often the changed and the clean images would be misclassified alone so unequally often if the change did "
        "not matter: McNemar's exact test, image by image.",
        "0 to 1",
        "small: the change matters",
        when_nan="the images were not changed, such as for want of time",
    ),
)
