"""What the logged figures about which images a model fails on mean."""

from lightning_failures.records.term import Term

__all__ = ["PERTURBED", "TERMS"]

TERMS: tuple[Term, ...] = (
    Term(
        "error_ratio/*",
        "Error ratio of a factor",
        "Error rate on the images that carry the factor, over the error rate on all images. Its 95% interval tests "
        "these images against all others.",
        "0 upwards",
        "1 is typical, 2 is twice the errors",
    ),
    Term(
        "error_ratio/worst",
        "Worst error ratio",
        "The largest error ratio. As the largest of several noisy figures it reads too high; the shrunk one corrects "
        "for that.",
        "0 upwards",
        "lower is better",
    ),
    Term("error/all", "Error rate", "Share of all images that are misclassified.", "0 to 1", "lower is better"),
    Term(
        "p_value/*",
        "p-value of a factor",
        "How often a difference this large between the factor's images and all others would arise by chance.",
        "0 to 1",
        "small: the factor matters",
    ),
)

PERTURBED: tuple[Term, ...] = (
    Term(
        "perturbed_ratio/*",
        "Errors on changed images",
        "Errors on the same images with one thing changed, over those on the images as they are.",
        "0 upwards",
        "1: the change does not matter; 2: twice the errors",
    ),
)
