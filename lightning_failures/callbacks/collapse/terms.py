"""What the logged figures about collapse mean."""

from lightning_failures.records.term import Term

__all__ = ["TERMS"]

_DIMENSIONS = "1 to the number of features"
_LEANS = "describes; whether it is too low depends on the task"

TERMS: tuple[Term, ...] = (
    Term(
        "effective_rank/*",
        "Effective rank of a layer",
        "Exponential of the entropy of the covariance eigenvalues: along how many directions its features vary.",
        _DIMENSIONS,
        _LEANS,
    ),
    Term(
        "rankme/*",
        "RankMe of a layer",
        "The same from the singular values of the uncentred features, logged because published figures use it.",
        _DIMENSIONS,
        _LEANS,
    ),
    Term(
        "participation_ratio_unbiased/*",
        "Participation ratio of a layer, unbiased",
        "Squared sum of the covariance eigenvalues over the sum of their squares, corrected for the number of images.",
        _DIMENSIONS,
        _LEANS,
    ),
    Term(
        "top1_share/*",
        "Top-1 share of a layer",
        "Share of the features' variance along the one strongest direction.",
        "0 to 1",
        "1: the features vary along one direction only",
    ),
    Term(
        "logit_effective_rank",
        "Effective rank of the logits",
        "Along how many directions the centred logits vary. It cannot tell by itself whether predictions are "
        "one-dimensional; the exchange above can.",
        "1 to classes minus 1",
        "describes",
    ),
    Term(
        "logit_top1_share",
        "Top-1 share of the logits",
        "Share of the centred logits' variance along the one strongest direction.",
        "0 to 1",
        "describes",
    ),
    Term(
        "label_effective_rank",
        "Effective rank of the labels",
        "The same for the labels: what the logits of a classifier that is always right would reach.",
        "1 to classes minus 1",
        "the reference for the logits",
    ),
    Term(
        "effective_classes",
        "Effective predicted classes",
        "Exponential of the entropy of the predicted classes.",
        "1 to the number of classes",
        "1: everything is put into one class",
    ),
    Term(
        "label_classes",
        "Effective classes of the labels",
        "Exponential of the entropy of the labels' classes.",
        "1 to the number of classes",
        "the reference for the effective predicted classes",
    ),
    Term(
        "class_share",
        "Classes in use",
        "Effective predicted classes beyond one, over those of the labels beyond one.",
        "0 upwards",
        "0: everything is put into one class; 1: as many as the labels have",
    ),
    Term(
        "kept/*",
        "What a layer kept",
        "The smaller of two shares: the layer's effective rank over the most that it had, untrained or at an earlier "
        "evaluation, and not more than the labels need; and its features' angular spread over the most that it had.",
        "0 to 1",
        "near 0: the representation collapsed",
    ),
    Term(
        "initial/*",
        "Before training",
        "The same figures of the untrained network, on a few images.",
        "as the figure itself",
        "a reference",
    ),
    Term(
        "nc1/*",
        "Neural collapse, variability (NC1)",
        "Variance within the classes against that between their means.",
        "0 upwards",
        "near 0: each class is one point, as at the end of long training",
    ),
    Term(
        "dormant_share/*",
        "Dormant units of a layer",
        "Share of units whose mean size is at most 2.5% of the layer's.",
        "0 to 1",
        "lower is better",
    ),
    Term(
        "probe_accuracy/*",
        "Probe of a layer",
        "Accuracy of a closed-form linear model of the layer's features, fitted on every other validation image and "
        "tested on the rest.",
        "0 to 1",
        "where it drops from one layer to the next, information is lost",
    ),
    Term(
        "lidar/*",
        "LiDAR of a layer",
        "Dimensions that tell images apart beyond what two views of one image differ by.",
        _DIMENSIONS,
        "higher is better",
    ),
    Term(
        "dominant_excess",
        "Dominant excess",
        "Largest excess of a class among the predictions over its share among the labels.",
        "0 to 1",
        "lower is better",
    ),
    Term(
        "marginal_perplexity",
        "Marginal perplexity",
        "Exponential of the entropy of the mean predicted probabilities.",
        "1 to the number of classes",
        "1: all probability on one class",
    ),
    Term(
        "class_dimension/*",
        "Dimensions of a class",
        "Participation ratio of the features of one class, without the bias of few images; smallest: of the class that "
        "fills fewest.",
        _DIMENSIONS,
        "shrinks as classes become points (neural collapse)",
    ),
    Term(
        "factor_dimension/*",
        "Dimensions of a factor",
        "Participation ratio of the features of the images that carry the factor, without the bias of few images.",
        _DIMENSIONS,
        "far below that of other factors: these images look alike to the network",
    ),
    Term(
        "cka/*",
        "Similarity of two layers",
        "Linear centred kernel alignment of their features on the same images.",
        "0 to 1",
        "near 1: the later layer adds little",
    ),
    Term(
        "chance",
        "Chance",
        "Accuracy of always naming the most frequent class.",
        "0 to 1",
        "an accuracy near it means that nothing was learned yet",
    ),
)
