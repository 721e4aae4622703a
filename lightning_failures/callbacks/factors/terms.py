"""What the logged figures about which images a model fails on mean."""

from lightning_failures.metrics.factors import FactorErrorRatio
from lightning_failures.metrics.mean_errors import FactorMeanError
from lightning_failures.metrics.paired import FactorSetback
from lightning_failures.records.headlines import told_by
from lightning_failures.records.term import Term

__all__ = ["PERTURBED", "TERMS"]

#: Of the metric, not logged: no rule, figure or table reads it, and an interval that starts above 1 says enough.
LEFT_OUT = "odds_high/"

_NOT_PAIRED = "there is no earlier evaluation of the same images in the same order"
_NOT_CHANGED = "the images were not changed, such as for want of time, or the clean ones have no errors"

#: Of the mean error; how many images there are is said by the error ratio's own terms.
_OF_MEAN_ERRORS = tuple(term for term in FactorMeanError.terms if term.key.startswith("mean_error"))

_OF_THE_METRIC = (term for term in FactorErrorRatio.terms if not term.key.startswith(LEFT_OUT))

_TERMS: tuple[Term, ...] = (
    *_OF_THE_METRIC,
    *_OF_MEAN_ERRORS,
    *FactorSetback.terms,
    Term(
        "spillover_best/*",
        "Best epoch of a factor",
        "The epoch so far at which the images that carry the factor had fewest errors, which spill-over is counted "
        "against.",
        "0 upwards",
        "describes",
        "epochs",
        _NOT_PAIRED,
    ),
)

TERMS = told_by(
    _TERMS,
    {
        "error_ratio/worst": ("worst_factor", "max"),
        "mean_error_ratio/worst": ("worst_factor", "max"),
    },
    ["error_ratio/*", "mean_error_ratio/*", "mean_error/all"],
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
    Term(
        "perturbed_groups",
        "Groups of changed images",
        "Groups of changed images that belong together, where groups were given: intervals and tests count groups.",
        "0 upwards",
        "describes",
        "groups",
    ),
)
