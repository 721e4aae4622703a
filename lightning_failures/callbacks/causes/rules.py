"""What counts as a failure in the figures of causes; each threshold has its source or its measurement beside it."""

from lightning_failures.records.kind import DATA_FAULT, GENERALISATION_GAP, NO_LEARNING, TRAINING_FAULT
from lightning_failures.records.rule import STEPS_TO_LEARN, Rule

__all__ = ["LABELS_RENAMED", "RULES"]

#: The rule on the labels of a model that was not trained in this run.
LABELS_RENAMED = "labels_renamed"

_GAP = {
    "training_accuracy": "failures/causes/training_accuracy",
    "validation_accuracy": "failures/causes/validation_accuracy",
    "gap": "failures/causes/gap",
    "gap_low": "failures/causes/gap_low",
    "gap_high": "failures/causes/gap_high",
}


def _of_kind(family: str, of: str) -> tuple[Rule, ...]:
    """On images of one kind that are not like the others.

    Args:
        family: ``"factor"`` or ``"group"``.
        of: what stands between "images" and its name: "with" or "of".
    """
    return (
        Rule(
            kind=DATA_FAULT,
            name=f"{family}_inputs_differ",
            when=[
                f"failures/causes/{family}_gain_low/* > 0.1",
                f"failures/causes/{family}_share/* > 0.5",
                f"failures/causes/{family}_undone/* <= 2",
            ],
            clear=[f"failures/causes/{family}_gain_low/* <= 0.05"],
            evidence={
                "before": f"failures/causes/{family}_before/*",
                "after": f"failures/causes/{family}_after/*",
                "gain_low": f"failures/causes/{family}_gain_low/*",
                "gain_high": f"failures/causes/{family}_gain_high/*",
                "others": f"failures/causes/{family}_others/*",
                "channels": f"failures/causes/{family}_channels/*",
                "channel": f"failures/causes/{family}_channel/*",
                "shift": f"failures/causes/{family}_shift/*",
                "ratio": f"failures/causes/{family}_ratio/*",
                "scale": f"failures/causes/{family}_scale/*",
                "offset": f"failures/causes/{family}_offset/*",
            },
            message=(
                f"Images {of} {{subject}} are not prepared as the others: {{channels:.0f}} of the channels differ. "
                "Most of all channel {channel:.0f}: its mean is {shift:+.2f} standard deviations of the others away "
                "from theirs, and its own deviation is {ratio:.2f} times as large. Prepared as the others, the network "
                "is right on {after:.1%} of them in place of {before:.1%}; on the others it is right on {others:.1%}."
            ),
            advice="Look at how these images are read and scaled, in training and in validation.",
            severity="watch",
            warmup=0,
            persistence=1,
            source=(
                "an experiment on the same images: half of the gap to the others is closed, with a gain above 0.1 at "
                "the lower end of its 95% interval; how much it matters is said by the errors on them"
            ),
        ),
        Rule(
            kind=DATA_FAULT,
            name=f"{family}_channels_faulty",
            when=[f"failures/causes/{family}_faulty/* >= 1"],
            evidence={
                "channels": f"failures/causes/{family}_faulty/*",
                "channel": f"failures/causes/{family}_faulty_channel/*",
                "not_finite": f"failures/causes/{family}_not_finite/*",
                "empty": f"failures/causes/{family}_empty/*",
                "constant": f"failures/causes/{family}_constant/*",
                "saturated": f"failures/causes/{family}_saturated/*",
            },
            message=(
                f"Channels at fault in images {of} {{subject}} and sound in the others: {{channels:.0f}}, the first is "
                "channel {channel:.0f}, counted from 0. Of them {not_finite:.0f} not finite, {empty:.0f} empty, "
                "{constant:.0f} constant, {saturated:.0f} saturated."
            ),
            advice=(
                "Look at how these images are read, scaled and clipped. Empty: 0 everywhere; constant: one value "
                "everywhere; saturated: a fifth of the values or more are the smallest, or the largest one."
            ),
            severity="watch",
            warmup=0,
            persistence=1,
            source="a fifth of the images, or of the values, of one kind, and a twentieth at most of the others",
        ),
    )


RULES = (
    Rule(
        kind=GENERALISATION_GAP,
        name="proven_mismatch",
        when=["failures/causes/proven >= 1"],
        clear=["failures/causes/proven < 1", "failures/causes/undecided < 1"],
        evidence=_GAP | {"reached": "failures/causes/reached"},
        message=(
            "Validation images or labels are not like those of training: the accuracy is {reached:.3f} on training "
            "images and {validation_accuracy:.3f} on those of validation, and undoing how validation differs closes "
            "most of that gap."
        ),
        advice="Prepare validation images and labels as those of training.",
        warmup=0,
        persistence=1,
        source="an experiment: half of the gap is closed, with a gain above 0.1 at the lower end of its 95% interval",
    ),
    Rule(
        kind=GENERALISATION_GAP,
        when=["failures/causes/gap_low > 0.19", "failures/causes/proven < 1"],
        clear=["failures/causes/gap <= 0.1"],
        plain_when=["failures/causes/gap_low > 0.19"],
        evidence=_GAP,
        message=(
            "What is learnt does not hold for new images: in evaluation the network is right on "
            "{training_accuracy:.1%} of the images that it was trained on and on {validation_accuracy:.1%} of the "
            "others, a gap of {gap:.3f} (95% interval {gap_low:.3f} to {gap_high:.3f})."
        ),
        advice="Look first whether both are prepared alike; then ask for more images, or augmentation.",
        severity="warning",
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=2,
        source=(
            "measured on digits, seeds 1 to 3: healthy runs up to 0.17 at the lower end, in 64 noisy channels, and "
            "images learnt by heart 0.22 and more at their worst evaluation. The interval decides at once, since most "
            "evaluations look at few training images and have a wide one"
        ),
    ),
    Rule(
        kind=GENERALISATION_GAP,
        name="evaluation_gap",
        when=["failures/causes/gain_low/evaluation_mode > 0.1", "failures/causes/proven < 1"],
        clear=["failures/causes/gain_low/evaluation_mode <= 0.05"],
        evidence={
            "before": "failures/causes/before/evaluation_mode",
            "after": "failures/causes/after/evaluation_mode",
            "gain": "failures/causes/gain/evaluation_mode",
            "gain_low": "failures/causes/gain_low/evaluation_mode",
            "gain_high": "failures/causes/gain_high/evaluation_mode",
        },
        message=(
            "The network works otherwise in evaluation than in training: on the same validation images it is right on "
            "{before:.1%} as it is evaluated and on {after:.1%} in the other mode, a difference of {gain:.3f} (95% "
            "interval {gain_low:.3f} to {gain_high:.3f})."
        ),
        advice="Look at what differs between the modes: batch norm's running statistics, and dropout.",
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=2,
        source="an experiment on the same images, with its interval",
    ),
    Rule(
        kind=TRAINING_FAULT,
        name="validated_in_training_mode",
        when=["failures/causes/in_training_mode >= 1"],
        evidence={"in_training_mode": "failures/causes/in_training_mode"},
        message=(
            "The module is validated in training mode: dropout is at work, or batch norm takes the statistics of each "
            "batch of validation images, and learns from them."
        ),
        advice="Do not call train() in or before validation: Lightning sets both modes itself.",
        severity="warning",
        warmup=0,
        persistence=1,
        source="the modes of dropout and of batch norm, as the validation step left them",
    ),
    Rule(
        kind=NO_LEARNING,
        when=[
            "failures/causes/validation_low <= failures/causes/chance",
            "failures/causes/validation_accuracy <= failures/causes/chance + 0.2",
            "failures/causes/gap_low <= 0.19",
            "failures/causes/proven < 1",
        ],
        clear=["failures/causes/validation_low > failures/causes/chance + 0.02"],
        evidence={
            "accuracy": "failures/causes/validation_accuracy",
            "low": "failures/causes/validation_low",
            "high": "failures/causes/validation_high",
            "chance": "failures/causes/chance",
            "training_accuracy": "failures/causes/training_accuracy",
        },
        message=(
            "As it is evaluated, the network is no better than chance: its accuracy is {accuracy:.3f} (95% interval "
            "{low:.3f} to {high:.3f}), and always naming the most frequent class gives {chance:.3f}. On training "
            "images it is {training_accuracy:.3f}."
        ),
        advice="Look whether labels and images belong together, and whether the training loss falls at all.",
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=3,
        source=(
            "the interval of the accuracy, three times in a row; and an accuracy less than 0.2 above chance, for the "
            "interval of few groups is so wide that it tells little"
        ),
    ),
    Rule(
        kind=DATA_FAULT,
        name=LABELS_RENAMED,
        when=["failures/causes/renaming_gain_low > 0.1", "failures/causes/renamed_skill_low > 0.5"],
        evidence={
            "before": "failures/causes/before/labels",
            "after": "failures/causes/after/labels",
            "gain_low": "failures/causes/gain_low/labels",
            "gain_high": "failures/causes/gain_high/labels",
            "classes": "failures/causes/labels_renamed",
        },
        message=(
            "The labels stand for other classes than the model's: it is right on {before:.1%} of the images, and on "
            "{after:.1%} once {classes:.0f} classes have other names, a gain of {gain_low:.3f} to {gain_high:.3f} (95% "
            "interval)."
        ),
        advice=(
            "Give these images the list of classes that the model was trained with, in the same order; and make sure "
            "that its trained weights were loaded."
        ),
        warmup=0,
        persistence=1,
        source=(
            "an experiment: names are matched on one half of the images and tried on the other. Half of what there is "
            "above chance must then be right, which a network that names one class does not reach. The model is taken "
            "for a trained one: where one number tells two classes apart, an untrained one may have them exchanged"
        ),
    ),
    Rule(
        kind=DATA_FAULT,
        name="inputs_differ",
        when=["failures/causes/channels_differ >= 1", "failures/causes/proven < 1"],
        evidence={
            "channels": "failures/causes/channels_differ",
            "channel": "failures/causes/input_channel",
            "shift": "failures/causes/input_shift",
            "ratio": "failures/causes/input_ratio",
            "scale": "failures/causes/input_scale",
            "offset": "failures/causes/input_offset",
        },
        message=(
            "Validation images are on another scale than training images in {channels:.0f} of the channels. Most of "
            "all channel {channel:.0f} (counted from 0): its mean is {shift:+.2f} standard deviations of training away "
            "from that of training, and its own deviation is {ratio:.2f} times as large. To bring it to the scale of "
            "training, multiply by {scale:.3g} and add {offset:.3g}."
        ),
        advice="Look whether both loaders use the same transform and the same statistics.",
        severity="watch",
        warmup=0,
        persistence=1,
        source="beyond the 95% interval; augmented images of one data set differ by less",
    ),
    Rule(
        kind=DATA_FAULT,
        name="channels_faulty",
        when=["failures/causes/faults/* >= 1"],
        evidence={
            "channels": "failures/causes/faults/*",
            "channel": "failures/causes/fault_channel/*",
        },
        message=(
            "In {channels:.0f} of the channels the images are {subject}, first in channel {channel:.0f} (counted from "
            "0)."
        ),
        advice=(
            "Look at how this channel is read, scaled and clipped. Empty: 0 everywhere; constant: one value "
            "everywhere; saturated: a fifth of its values or more are its smallest, or its largest one."
        ),
        severity="watch",
        warmup=0,
        persistence=1,
        source="a fifth of the images, or of the values, on one side, and a twentieth at most on the other",
    ),
    *_of_kind("factor", "marked"),
    *_of_kind("group", "of"),
)
