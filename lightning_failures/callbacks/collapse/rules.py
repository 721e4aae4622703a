"""What counts as a failure in the figures of collapse; each threshold has its source or its measurement beside it."""

from lightning_failures.records.kind import CLASS_COLLAPSE, REPRESENTATION_COLLAPSE, UNTAPPED_INFORMATION
from lightning_failures.records.rule import STEPS_TO_LEARN, Rule

__all__ = ["RULES"]

RULES = (
    Rule(
        kind=REPRESENTATION_COLLAPSE,
        when=["failures/collapse/kept/* < 0.2"],
        clear=["failures/collapse/kept/* > 0.3"],
        plain_when=["failures/collapse/kept/* < 0.06"],
        evidence={
            "kept": "failures/collapse/kept/*",
            "dimensions_kept": "failures/collapse/dimensions_kept/*",
            "spread_kept": "failures/collapse/spread_kept/*",
            "filled": "failures/collapse/filled/*",
            "effective_rank": "failures/collapse/effective_rank/*",
            "initial_effective_rank": "failures/collapse/initial/effective_rank/*",
            "mean_cosine": "failures/collapse/mean_cosine/*",
            "label_effective_rank": "failures/collapse/label_effective_rank",
        },
        message=(
            "The features of {subject} collapse, they vary in few directions: their effective rank is "
            "{effective_rank:.2f} (1: all on a line) and their mean cosine {mean_cosine:.3f} (1: all in one "
            "direction). Of the dimensions and the angles that the layer had at its best, or that its task needs, "
            "{kept:.0%} is left."
        ),
        advice=(
            "Self-supervised: check the stop-gradient, the predictor and the normalisation; add a variance term. "
            "Supervised: lower the learning rate, and look for dead units and for a layer without normalisation."
        ),
        warmup=1,
        warmup_steps=0,  # 15 healthy runs of 3, 5 and 8 steps per epoch kept 0.31 and more throughout
        persistence=2,
        source=(
            "measured on the 16 x 16 digits, the lowest evaluation of each run: supervised with dead units 0.00 to "
            "0.07 (0.12 at the first), self-supervised without stop-gradient 0.05 to 0.06; healthy supervised runs "
            "0.31 and more, healthy self-supervised ones 0.35 and more"
        ),
    ),
    Rule(
        kind=CLASS_COLLAPSE,
        when=[
            "failures/collapse/class_share < 0.2",
            "failures/collapse/sharpness > 0.25",
            "failures/collapse/non_finite < 1",
        ],
        clear=["failures/collapse/class_share > 0.4"],
        plain_when=["failures/collapse/class_share < 0.05"],
        evidence={
            "class_share": "failures/collapse/class_share",
            "effective_classes": "failures/collapse/effective_classes",
            "label_classes": "failures/collapse/label_classes",
            "dominant_excess": "failures/collapse/dominant_excess",
            "sharpness": "failures/collapse/sharpness",
            "accuracy": "failures/collapse/accuracy",
            "chance": "failures/collapse/chance",
        },
        message=(
            "The network names few of the classes: its predictions are as varied as {effective_classes:.1f} equally "
            "frequent classes, the labels as {label_classes:.1f}. The share of images that are predicted as one class "
            "is larger by {dominant_excess:.0%} of all images than the share that have it. Sharpness of the "
            "predictions: {sharpness:.2f} (1: certain). The accuracy is {accuracy:.3f}, and always naming the most "
            "frequent class gives {chance:.3f}."
        ),
        advice="Lower the learning rate or warm it up; balance the classes in the batches or in the loss.",
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=2,
        source="measured on the 8 x 8 digits: collapsed runs 0.00, healthy runs 0.36 and more from the third epoch",
    ),
    Rule(
        kind=CLASS_COLLAPSE,
        name="never_given",
        when=[
            "failures/collapse/classes_never_given >= 1",
            "failures/collapse/class_share >= 0.2",
            "failures/collapse/accuracy > failures/collapse/chance + 0.02",
            "failures/collapse/non_finite < 1",
        ],
        clear=["failures/collapse/classes_never_given < 1"],
        evidence={
            "classes": "failures/collapse/classes_never_given",
            "label": "failures/collapse/largest_class_never_given",
            "accuracy": "failures/collapse/accuracy",
            "images": "failures/collapse/images",
        },
        message=(
            "No image is put into some of the classes, though each of these is the label of 20 of the {images:.0f} "
            "images or more. In all {classes:.0f}; the one with most images is class {label:.0f}. The accuracy is "
            "{accuracy:.3f}."
        ),
        advice=(
            "Look whether training images have these labels, and under the same numbers; whether an activation on the "
            "logits keeps them from growing; and whether other classes are much more frequent in training."
        ),
        severity="warning",
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=3,
        source=(
            "measured on the digits: an activation on the logits, or a class without training images, gave it at each "
            "evaluation after 60 steps; healthy runs, seeds 1 to 3, never three times in a row"
        ),
    ),
    Rule(
        kind=UNTAPPED_INFORMATION,
        name="below_its_features",
        when=[
            "failures/collapse/probe_accuracy/penultimate > failures/collapse/accuracy + 0.2",
            "failures/collapse/accuracy > failures/collapse/chance + 0.02",
            "failures/collapse/images >= 100",
            "failures/collapse/non_finite < 1",
        ],
        clear=["failures/collapse/probe_accuracy/penultimate <= failures/collapse/accuracy + 0.1"],
        evidence={
            "accuracy": "failures/collapse/accuracy",
            "probe": "failures/collapse/probe_accuracy/penultimate",
            "images": "failures/collapse/images",
        },
        message=(
            "The network's last layer makes less of its features than they hold: the accuracy is {accuracy:.3f} on "
            "{images:.0f} validation images, and a linear model of the same features, fitted on every other image, "
            "has {probe:.3f} on the rest."
        ),
        advice=(
            "What to change depends on the cause. Where none is named: look at what stands between the features and "
            "the loss, such as an activation on the logits, much dropout, or a last layer that hardly learns; and "
            "whether validation images, or how frequent the classes are, differ from training."
        ),
        severity="warning",
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=4,
        source=(
            "measured on the digits at the evaluations after 60 steps: 0.25 to 0.4 with a ReLU on the logits or with "
            "dropout of 0.97; in 45 healthy runs, seeds 1 to 3, 0.29 at most, and never above 0.2 twice in a row"
        ),
    ),
)
