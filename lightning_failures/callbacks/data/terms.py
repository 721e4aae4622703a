"""What each figure of the data means."""

from lightning_failures.records.term import Term

__all__ = ["NOTHING_HELD", "NO_LABELS", "NO_TRAINING", "TERMS"]

NO_TRAINING = "no training image was seen before"
NOTHING_HELD = "no image of the evaluation is more than one value a channel"
NO_LABELS = "no image that was seen has a label"

TERMS = (
    Term(
        "leakage",
        "Validation images trained on",
        "Share of the validation images that are equal, byte for byte, to a training image of the run's first epoch, "
        "as the steps saw them. Blank images, in which each channel has one value, are left out. Where training images "
        "are changed anew each time (augmentation), most cannot be recognised, and it is a lower bound.",
        "0 to 1",
        "lower is better: accuracy on images that were trained on tells less of new ones",
        when_nan="no training image was seen before, or none can be recognised when it comes again",
        headline=True,
    ),
    Term(
        "leakage_low",
        "Validation images trained on, low",
        "Lower end of the 95% interval of that share, the validation images taken as a sample (Wilson).",
        "0 to 1",
        "lower is better",
        when_nan="as for leakage",
    ),
    Term(
        "leakage_high",
        "Validation images trained on, high",
        "Upper end of that interval.",
        "0 to 1",
        "lower is better",
        when_nan="as for leakage",
    ),
    Term(
        "duplicates",
        "Repeated validation images",
        "Share of the validation images that are equal, byte for byte, to an earlier one.",
        "0 to 1",
        "lower is better: images that count twice make intervals too narrow",
        when_nan=NOTHING_HELD,
    ),
    Term(
        "contradicting_labels",
        "Validation images under two labels",
        "Share of the labelled validation images that stand elsewhere, in training or validation, under another label.",
        "0 to 1",
        "lower is better: no network can have both right",
        when_nan=NO_LABELS,
    ),
    Term(
        "training_duplicates",
        "Repeated training images",
        "Share of the training images of the first epoch that are equal, byte for byte, to an earlier one.",
        "0 to 1",
        "describes: drawing with replacement and balancing repeat images on purpose",
        when_nan=NO_TRAINING,
    ),
    Term(
        "training_contradicting_labels",
        "Training images under two labels",
        "Share of the labelled training images of the first epoch that stand elsewhere under another label.",
        "0 to 1",
        "lower is better: these labels are wrong, or an image has several",
        when_nan=NO_LABELS,
    ),
    Term(
        "recognised",
        "Training images recognised",
        "Share of the training images of the second epoch that are equal to one of the first, over some batches. Near "
        "0, training images are changed anew each time, or are others each epoch, and copies of them in validation are "
        "not found.",
        "0 to 1",
        "below a half, an absence of leakage tells nothing",
        when_nan="there was no second epoch of training",
    ),
    Term(
        "leaked",
        "Number of validation images trained on",
        "Validation images that are equal to a training image.",
        "0 upwards",
        "lower is better",
        "images",
    ),
    Term(
        "images",
        "Validation images compared",
        "Images of the evaluation that are compared, without blank ones.",
        "0 upwards",
        "describes",
        "images",
    ),
    Term(
        "training_images",
        "Training images compared",
        "Training images of the first epoch that are compared, without blank ones.",
        "0 upwards",
        "describes",
        "images",
    ),
    Term(
        "one_in",
        "One image in",
        "Of so many images one is compared, where there are more than 200,000 of them.",
        "1, 2, 4, 8 and so on",
        "describes",
        "images",
    ),
)
