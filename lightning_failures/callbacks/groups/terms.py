"""What the logged figures about groups mean: errors by group, and what is read of groups in the features."""

from lightning_failures.metrics.group_errors import GroupErrors
from lightning_failures.records.headlines import told_by
from lightning_failures.records.term import Term

__all__ = ["TERMS"]

#: Why nothing is read, by what is read.
_READ = "fewer than two groups have 8 images of the sample, or no feature varies"
_READ_WITHIN = "no class has 16 images of the sample and several groups"
_READ_LABELS = "fewer than two groups have 8 images of the sample, these are of one class, or no feature varies"
_READ_LABELS_BOUNDS = f"{_READ_LABELS}; or fewer than 4 groups are left, or one of them holds most"
_NEIGHBOURS = "no neighbour is of one class and two groups, or of one group and two classes"

_SHARE = "0 to 1"

_OF_FEATURES = (
    Term(
        "group_read",
        "Group read from the features",
        "Share of images whose group a linear model in closed form reads from the penultimate features: of two halves "
        "of a sample of 1,024 images, each is read by the model of the other. Groups with 8 images and more of the "
        "sample; of more than 128 features a random projection.",
        _SHARE,
        "well above chance: the features tell the group too; by itself no fault, as where groups hold other classes",
        when_nan=_READ,
    ),
    Term(
        "group_read_low",
        "Group read from the features, lower end",
        "Lower end of its 95% interval, of these groups.",
        _SHARE,
        "above chance: read beyond chance",
        when_nan=_READ,
    ),
    Term(
        "group_read_high",
        "Group read from the features, upper end",
        "Upper end of its 95% interval, of these groups.",
        _SHARE,
        "see the lower end",
        when_nan=_READ,
    ),
    Term(
        "group_chance",
        "Group read by chance",
        "Share of the largest group among these images.",
        _SHARE,
        "describes",
        when_nan=_READ,
    ),
    Term(
        "group_read_within",
        "Group read among images of one class",
        "The same among images of one class, which cannot come from groups that hold other classes.",
        _SHARE,
        "well above chance: the features tell the group whatever the class",
        when_nan=_READ_WITHIN,
    ),
    Term(
        "group_chance_within",
        "Group read among images of one class by chance",
        "Share of the largest group of each class among these images.",
        _SHARE,
        "describes",
        when_nan=_READ_WITHIN,
    ),
    Term(
        "label_read",
        "Class read from the features",
        "Share of the same images whose class is read from the same features in the same way, to be held beside the "
        "group. Both halves hold images of the same groups.",
        _SHARE,
        "higher is better",
        when_nan=_READ_LABELS,
    ),
    Term(
        "label_read_low",
        "Class read from the features, lower end",
        "Lower end of its 95% interval, which counts groups.",
        _SHARE,
        "above chance: read beyond chance",
        when_nan=_READ_LABELS_BOUNDS,
    ),
    Term(
        "label_read_high",
        "Class read from the features, upper end",
        "Upper end of its 95% interval, which counts groups.",
        _SHARE,
        "see the lower end",
        when_nan=_READ_LABELS_BOUNDS,
    ),
    Term(
        "label_chance",
        "Class read by chance",
        "Share of the largest class among these images.",
        _SHARE,
        "describes",
        when_nan=_READ_LABELS,
    ),
    Term(
        "robustness_index",
        "Robustness index of the features",
        "Of the 10 nearest neighbours of each image of the sample that share its class or its group and not both, the "
        "share of those of its class (PathoROB, Nature Communications 2026).",
        _SHARE,
        "near 1: the class decides which images are alike; near 0: the group does",
        when_nan=_NEIGHBOURS,
    ),
    Term(
        "sampled",
        "Images of the sample",
        "Images whose features were kept to read groups and classes from: 1,024 at most, over all processes.",
        "0 to 1,024",
        "describes",
        "images",
    ),
)

TERMS = told_by((*GroupErrors.terms, *_OF_FEATURES), {"difference/*": ("worst_group", "max")})
