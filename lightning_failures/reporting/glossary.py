"""What each logged figure means, with its range and its direction."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

__all__ = ["GLOSSARY", "Term", "glossary"]


class Term(NamedTuple):
    """What one logged figure means."""

    pattern: str  # of the logged key
    name: str
    meaning: str
    range: str
    direction: str


_FACTORS, _COLLAPSE, _SIMPLICITY = "failures/factors/", "failures/collapse/", "failures/simplicity/"
_DIMENSIONS = "1 to the number of features"
_LEANS = "describes; whether it is too low depends on the task"

GLOSSARY = (
    Term(
        _FACTORS + "error_ratio/*",
        "Error ratio of a factor",
        "Error rate on the images that carry the factor, over the error rate on all images. Its 95% interval tests "
        "these images against all others.",
        "0 upwards",
        "1 is typical, 2 is twice the errors",
    ),
    Term(
        _FACTORS + "error_ratio/worst",
        "Worst error ratio",
        "The largest error ratio. As the largest of several noisy figures it reads too high; the shrunk one corrects "
        "for that.",
        "0 upwards",
        "lower is better",
    ),
    Term(
        _FACTORS + "error/all", "Error rate", "Share of all images that are misclassified.", "0 to 1", "lower is better"
    ),
    Term(
        _FACTORS + "p_value/*",
        "p-value of a factor",
        "How often a difference this large between the factor's images and all others would arise by chance.",
        "0 to 1",
        "small: the factor matters",
    ),
    Term(
        _SIMPLICITY + "reference_accuracy",
        "Linear reference",
        "Accuracy on the same validation images of a linear model on each image's mean, fitted in closed form from "
        "sums over the training batches. It costs next to nothing.",
        "0 to 1",
        "a network below it leaves information unused",
    ),
    Term(
        _SIMPLICITY + "difference",
        "Difference from the linear reference",
        "Difference in accuracy between the network and the linear reference, image by image on the same images, "
        "with its 95% interval.",
        "-1 to 1",
        "an interval that excludes 0 is more than chance",
    ),
    Term(
        _SIMPLICITY + "p_value",
        "p-value of that difference",
        "How often a difference this large would arise if both were equally good.",
        "0 to 1",
        "small: the difference is real",
    ),
    Term(
        _SIMPLICITY + "own/1",
        "Decided by one direction (own)",
        "A donor image is given the receiver's value on the main direction of variation of the data, one number an "
        "image. Share of pairs whose prediction then is the receiver's.",
        "0 to 1",
        "near 1: one number decides; near 0: the rest of the image does",
    ),
    Term(
        _SIMPLICITY + "donor/1",
        "Decided by the rest (donor)",
        "The same exchange: share of pairs whose prediction stays the donor's.",
        "0 to 1",
        "near 1 is healthy",
    ),
    Term(
        _COLLAPSE + "effective_rank/*",
        "Effective rank of a layer",
        "Exponential of the entropy of the covariance eigenvalues: along how many directions its features vary.",
        _DIMENSIONS,
        _LEANS,
    ),
    Term(
        _COLLAPSE + "rankme/*",
        "RankMe of a layer",
        "The same from the singular values of the uncentred features, logged because published figures use it.",
        _DIMENSIONS,
        _LEANS,
    ),
    Term(
        _COLLAPSE + "participation_ratio_unbiased/*",
        "Participation ratio of a layer, unbiased",
        "Squared sum of the covariance eigenvalues over the sum of their squares, corrected for the number of images.",
        _DIMENSIONS,
        _LEANS,
    ),
    Term(
        _COLLAPSE + "top1_share/*",
        "Top-1 share of a layer",
        "Share of the features' variance along the one strongest direction.",
        "0 to 1",
        "1: the features vary along one direction only",
    ),
    Term(
        _COLLAPSE + "logit_effective_rank",
        "Effective rank of the logits",
        "Along how many directions the centred logits vary. It cannot tell by itself whether predictions are "
        "one-dimensional; the exchange above can.",
        "1 to classes minus 1",
        "describes",
    ),
    Term(
        _COLLAPSE + "logit_top1_share",
        "Top-1 share of the logits",
        "Share of the centred logits' variance along the one strongest direction.",
        "0 to 1",
        "describes",
    ),
    Term(
        _COLLAPSE + "label_effective_rank",
        "Effective rank of the labels",
        "The same for the labels: what the logits of a classifier that is always right would reach.",
        "1 to classes minus 1",
        "the reference for the logits",
    ),
    Term(
        _COLLAPSE + "effective_classes",
        "Effective predicted classes",
        "Exponential of the entropy of the predicted classes.",
        "1 to the number of classes",
        "1: everything is put into one class",
    ),
    Term(
        _COLLAPSE + "label_classes",
        "Effective classes of the labels",
        "Exponential of the entropy of the labels' classes.",
        "1 to the number of classes",
        "the reference for the effective predicted classes",
    ),
    Term(
        _COLLAPSE + "class_share",
        "Classes in use",
        "Effective predicted classes beyond one, over those of the labels beyond one.",
        "0 upwards",
        "0: everything is put into one class; 1: as many as the labels have",
    ),
    Term(
        _COLLAPSE + "kept/*",
        "What a layer kept",
        "The smaller of two shares: the layer's effective rank over the most that it had, untrained or at an earlier "
        "evaluation, and not more than the labels need; and its features' angular spread over the most that it had.",
        "0 to 1",
        "near 0: the representation collapsed",
    ),
    Term(
        _COLLAPSE + "initial/*",
        "Before training",
        "The same figures of the untrained network, on a few images.",
        "as the figure itself",
        "a reference",
    ),
    Term(
        _COLLAPSE + "nc1/*",
        "Neural collapse, variability (NC1)",
        "Variance within the classes against that between their means.",
        "0 upwards",
        "near 0: each class is one point, as at the end of long training",
    ),
    Term(
        _COLLAPSE + "dormant_share/*",
        "Dormant units of a layer",
        "Share of units whose mean size is at most 2.5% of the layer's.",
        "0 to 1",
        "lower is better",
    ),
    Term(
        _COLLAPSE + "probe_accuracy/*",
        "Probe of a layer",
        "Accuracy of a closed-form linear model of the layer's features, fitted on every other validation image and "
        "tested on the rest.",
        "0 to 1",
        "where it drops from one layer to the next, information is lost",
    ),
    Term(
        _COLLAPSE + "lidar/*",
        "LiDAR of a layer",
        "Dimensions that tell images apart beyond what two views of one image differ by.",
        _DIMENSIONS,
        "higher is better",
    ),
    Term(
        _COLLAPSE + "dominant_excess",
        "Dominant excess",
        "Largest excess of a class among the predictions over its share among the labels.",
        "0 to 1",
        "lower is better",
    ),
    Term(
        _COLLAPSE + "marginal_perplexity",
        "Marginal perplexity",
        "Exponential of the entropy of the mean predicted probabilities.",
        "1 to the number of classes",
        "1: all probability on one class",
    ),
    Term(
        "failures/*/chance",
        "Chance",
        "Accuracy of always naming the most frequent class.",
        "0 to 1",
        "an accuracy near it means that nothing was learned yet",
    ),
)


def glossary(keys: Iterable[str]) -> list[Term]:
    """The terms that explain at least one of the keys."""
    keys = list(keys)
    return [term for term in GLOSSARY if any(fnmatchcase(key, term.pattern) for key in keys)]
