"""What each figure of the data means."""

from lightning_failures.records.term import Term

__all__ = ["LABEL_TERMS", "NOTHING_HELD", "NOT_ALL", "NO_IMAGE", "NO_LABELS", "NO_TRAINING", "TERMS"]

NO_TRAINING = "no training image was seen before"
NOTHING_HELD = "no image of the evaluation is more than one value per channel"
NO_IMAGE = "no image of more than one value was seen"
NO_LABELS = "no image that was seen has a label"
NOT_ALL = (
    "it takes one class per image on both sides, a first epoch that was seen to its end, and at most 200,000 images"
)

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
        "Validation images trained on, lower end",
        "Lower end of the 95% interval of that share, the validation images taken as a sample (Wilson).",
        "0 to 1",
        "lower is better",
        when_nan="as for leakage",
    ),
    Term(
        "leakage_high",
        "Validation images trained on, upper end",
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
        "blank",
        "Blank validation images",
        "Share of the images of the evaluation in which each channel has one value throughout, the same in all of "
        "these; 0 where they differ.",
        "0 to 1",
        "lower is better: a blank image tells nothing",
        when_nan=NO_IMAGE,
    ),
    Term(
        "training_blank",
        "Blank training images",
        "Share of the training images of the first epoch in which each channel has one value throughout, the same in "
        "all of these; 0 where they differ.",
        "0 to 1",
        "lower is better: a blank image teaches nothing",
        when_nan=NO_IMAGE,
    ),
    Term(
        "unseen_classes",
        "Classes without a training image",
        "Classes of labelled validation images that no training image of the first epoch has.",
        "0 to the number of classes",
        "0 is good: such a class cannot be learnt",
        "classes",
        when_nan=NOT_ALL,
    ),
    Term(
        "unseen_class_images",
        "Validation images of classes without a training image",
        "Share of the labelled validation images whose class no training image of the first epoch has.",
        "0 to 1",
        "0 is good: no network can have these right",
        when_nan=NOT_ALL,
    ),
    Term(
        "largest_unseen_class",
        "Largest class without a training image",
        "Of the classes without a training image the number of the one that most validation images have. Not there "
        "where each class has one.",
        "0 to the number of classes, less 1",
        "describes",
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

_SHARE_WHEN = (
    "fewer than three epochs were watched, the run went on from a checkpoint, images cannot be told apart, or the "
    "network does not tell the labels"
)

LABEL_TERMS = (
    Term(
        "mislabelled",
        "Training labels that look wrong",
        "Share of the labels that are another than what is predicted, among the 30% of the images of which the network "
        "is surest, over the first three epochs in which it no longer learns fast.",
        "0 to 1",
        "lower is better",
        when_nan=_SHARE_WHEN,
        headline=True,
    ),
    Term(
        "mislabelled_low",
        "Training labels that look wrong, lower end",
        "Lower end of the interval of that share: Wilson's 95% interval, and 0.07 below it, by which the method was "
        "off in trials with classes that overlap.",
        "0 to 1",
        "lower is better",
        when_nan=_SHARE_WHEN,
    ),
    Term(
        "mislabelled_high",
        "Training labels that look wrong, upper end",
        "Upper end of that interval, 0.16 above Wilson's, by which the method was off in trials with networks that "
        "quickly learn by heart.",
        "0 to 1",
        "lower is better",
        when_nan=_SHARE_WHEN,
    ),
    Term(
        "negative_margins",
        "Labels with a negative margin",
        "Share of the training images whose area under the margin is below 0: on average over the epochs that were "
        "watched, another class had the larger logit.",
        "0 to 1",
        "lower is better; hard images and wrong labels together",
        when_nan="no training image was seen, or images cannot be told apart",
    ),
    Term(
        "labels",
        "Training labels watched",
        "Training images with a label whose margins were added up; of many a sample.",
        "0 upwards",
        "describes",
        "images",
    ),
)
