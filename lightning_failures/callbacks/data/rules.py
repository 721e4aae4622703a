"""What counts as a fault of the data; each threshold has its source or its reason beside it."""

from lightning_failures.records.kind import DATA_FAULT
from lightning_failures.records.rule import Rule

__all__ = ["LABEL_RULES", "RULES"]


def _blank(name: str, key: str, images: str) -> Rule:
    """That half of the images of one side, or more, hold nothing."""
    return Rule(
        kind=DATA_FAULT,
        name=name,
        when=[f"failures/data/{key} >= 0.5"],
        evidence={"share": f"failures/data/{key}"},
        message=(
            f"The inputs are constant: in {{share:share}} the {images} images each channel has one value throughout, "
            "the same in each of them, so that nothing can be told from them."
        ),
        advice=(
            "Look at some of these images as the step gets them: a file that could not be read and was filled up, a "
            "crop outside of the image, a division that leaves 0, clipping that leaves one value."
        ),
        warmup=0,
        persistence=1,
        source="images that are all the same tell nothing; none of the 1,797 8 x 8 digits is blank",
    )


#: Exact counts need neither a warm-up nor a second evaluation: what is equal stays equal.
RULES = (
    Rule(
        kind=DATA_FAULT,
        name="leakage",
        when=["failures/data/leakage >= 0.01"],
        severe_when={"failure": "failures/data/leakage >= 0.1"},
        evidence={
            "leakage": "failures/data/leakage",
            "leaked": "failures/data/leaked",
            "images": "failures/data/images",
            "low": "failures/data/leakage_low",
            "high": "failures/data/leakage_high",
        },
        message=(
            "{leaked:.0f} of {images:.0f} validation images ({leakage:.1%}) were trained on: each is equal, byte for "
            "byte, to a training image. The accuracy on validation tells less of new images than it seems to."
        ),
        advice=(
            "Take these images out of one of the two datasets before you split, and look where they came in twice: a "
            "folder or table read for both, an export repeated, copies made before the split. audit_data(train_loader, "
            "val_loader) names their rows."
        ),
        severity="warning",
        warmup=0,
        persistence=1,
        source=(
            "1% of leaked images moves an accuracy by up to a point, about what two seeds differ by; 10% by more than "
            "what models are chosen for. No pair of the 1,797 8 x 8 digits is equal"
        ),
    ),
    Rule(
        kind=DATA_FAULT,
        name="unseen_classes",
        when=["failures/data/unseen_class_images >= 0.01"],
        severe_when={"failure": "failures/data/unseen_class_images >= 0.1"},
        evidence={
            "classes": "failures/data/unseen_classes",
            "label": "failures/data/largest_unseen_class",
            "share": "failures/data/unseen_class_images",
        },
        message=(
            "Validation asks for classes that were never shown: {share:.1%} of its images are of a class that no "
            "training image of the first epoch has. In all {classes:.0f}; the one with most images is class "
            "{label:.0f}."
        ),
        advice=(
            "Look how the data was split, for a filter or a table that drops or joins classes, and whether classes "
            "have the same numbers on both sides: folders that do not hold the same classes are numbered differently."
        ),
        severity="warning",
        warmup=0,
        persistence=1,
        source="as for leakage: a share of 1% moves an accuracy by up to a point",
    ),
    Rule(
        kind=DATA_FAULT,
        name="repeated_validation_images",
        when=["failures/data/duplicates >= 0.05"],
        evidence={"duplicates": "failures/data/duplicates", "images": "failures/data/images"},
        message=(
            "{duplicates:.1%} of the {images:.0f} validation images are equal, byte for byte, to an earlier one. They "
            "count twice, so that intervals and tests claim more than the images can tell."
        ),
        advice=(
            "Keep one of each in the validation dataset. Look for a list of files that was joined to itself, a sampler "
            "with replacement, or an oversampled class."
        ),
        severity="warning",
        warmup=0,
        persistence=1,
        source="with a share s of copies, intervals are too narrow by 1 - sqrt(1 - s): 2.5% at 0.05, 29% at a half",
    ),
    Rule(
        kind=DATA_FAULT,
        name="contradicting_validation_labels",
        when=["failures/data/contradicting_labels >= 0.01"],
        severe_when={"failure": "failures/data/contradicting_labels >= 0.1"},
        evidence={"share": "failures/data/contradicting_labels", "images": "failures/data/images"},
        message=(
            "{share:.1%} of the {images:.0f} validation images stand in the data once more under another label: no "
            "network can have both right."
        ),
        advice="Find out which of the labels is right, or whether an image may have several; then keep one of each.",
        severity="warning",
        warmup=0,
        persistence=1,
        source="as for leakage: a share of 1% moves an accuracy by up to a point",
    ),
    Rule(
        kind=DATA_FAULT,
        name="contradicting_training_labels",
        when=["failures/data/training_contradicting_labels >= 0.01"],
        severe_when={"failure": "failures/data/training_contradicting_labels >= 0.1"},
        evidence={
            "share": "failures/data/training_contradicting_labels",
            "images": "failures/data/training_images",
        },
        message=(
            "{share:.1%} of the {images:.0f} training images stand in the data once more under another label: at least "
            "one of the two labels is wrong, or the image has several."
        ),
        advice="Find out which of the labels is right; where images have several, train for several labels per image.",
        severity="warning",
        warmup=0,
        persistence=1,
        source="as for validation labels",
    ),
    _blank("blank_training_images", "training_blank", "training"),
    _blank("blank_validation_images", "blank", "validation"),
)

#: What :class:`.LabelNoiseMonitor` finds.
LABEL_RULES = (
    Rule(
        kind=DATA_FAULT,
        name="label_noise",
        when=["failures/data/mislabelled_low >= 0.05"],
        evidence={
            "share": "failures/data/mislabelled",
            "low": "failures/data/mislabelled_low",
            "high": "failures/data/mislabelled_high",
            "labels": "failures/data/labels",
        },
        message=(
            "About {share:.0%} of the training labels look wrong (between {low:.0%} and {high:.0%}): the network is "
            "sure of another class, as early as in its first epochs."
        ),
        advice=(
            "Look at the images at the top of the table failures/data/label_noise, or of the monitor's ranked, and "
            "correct or drop their labels; where they cannot be mended, use fewer epochs or a loss that bears noise."
        ),
        severity="warning",
        warmup=0,
        persistence=1,
        source=(
            "of 60 planted runs each: raised in 60 with 40% wrong labels, 47 with 20%, 3 with 10%, 0 with none, a "
            "quarter of them with classes that overlap"
        ),
    ),
)
