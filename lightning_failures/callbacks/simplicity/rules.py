"""What counts as a failure in the figures of simplicity; each threshold has its source or its measurement beside it."""

from collections.abc import Mapping, Sequence

from lightning_failures.functional.transplants import CARRIES, LEADS
from lightning_failures.records.kind import ONE_DIMENSIONAL_PREDICTIONS, SIMPLE_CUE_RELIANCE, UNTAPPED_INFORMATION
from lightning_failures.records.rule import STEPS_TO_LEARN, Rule

__all__ = ["RULES"]


def _leans(name: str, learnt: Sequence[str], accuracy: str, evidence: Mapping[str, str]) -> Rule:
    """Reliance on one content of images, in a network that has learnt something."""
    return Rule(
        kind=SIMPLE_CUE_RELIANCE,
        name=name,
        when=[
            f"failures/simplicity/reliance/* >= {CARRIES}",
            f"failures/simplicity/transplant/* >= failures/simplicity/transplant_own/* + {LEADS}",
            "failures/simplicity/all_there_is/* < 0.5",
            *learnt,
        ],
        clear=["failures/simplicity/reliance/* < 0.3"],
        plain_when=["failures/simplicity/transplant_low/* >= 0.5"],
        evidence={
            "reliance": "failures/simplicity/reliance/*",
            "share": "failures/simplicity/transplant/*",
            "own": "failures/simplicity/transplant_own/*",
            "excess_low": "failures/simplicity/transplant_excess_low/*",
            "without": "failures/simplicity/without/*",
            "without_low": "failures/simplicity/without_low/*",
            "audit_alone": "failures/simplicity/audit_alone/*",
            "audit_without": "failures/simplicity/audit_without/*",
            "model_accuracy": "failures/simplicity/model_accuracy",
            "chance": "failures/simplicity/chance",
            **evidence,
        },
        message=(
            "The predictions depend on one simple thing, {subject}. Where {subject} is taken from another image, and "
            "nothing else, {share:.0%} of the images are predicted as that other one, and {own:.0%} as before. "
            + accuracy
        ),
        severity="warning",
        severe_when={"failure": ["failures/simplicity/without_low/* >= 0.5"]},
        advice=(
            "If that is what the label is made of, this is right; `lightning-failures audit` tells before training "
            "whether more is to be had. Else take it out of the inputs (total absorbance: divide each pixel's spectrum "
            "by its total; level and colour: change them at random in training), or add images in which it does not go "
            "with the label, and train again."
        ),
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=2,
        source=(
            "measured on digits with four networks: where more than half of the predictions follow the planted cue, "
            "88% of the runs have as much, in real images all (docs/transplants.md); in healthy runs that had learnt "
            "it is less than what stays. It is a failure where a "
            "small model has half of what there is above naming one class on images without the content, and nothing "
            "is said where that model finds nothing"
        ),
    )


RULES = (
    Rule(
        kind=UNTAPPED_INFORMATION,
        when=["failures/simplicity/low > 0.05"],
        clear=["failures/simplicity/low <= 0.02"],
        plain_when=["failures/simplicity/low > 0.25"],
        severity="watch",
        severe_when={
            "warning": ["failures/simplicity/low > 0.1", "failures/simplicity/recent_low > 0.05"],
            "failure": ["failures/simplicity/low > 0.2", "failures/simplicity/recent_low > 0.05"],
        },
        evidence={
            "model_accuracy": "failures/simplicity/model_accuracy",
            "linear_accuracy": "failures/simplicity/reference_accuracy",
            "difference": "failures/simplicity/difference",
            "low": "failures/simplicity/low",
            "high": "failures/simplicity/high",
            "p_value": "failures/simplicity/p_value",
            "images": "failures/simplicity/images",
        },
        message=(
            "The network does worse than a linear model that sees only the mean of each channel of an image: "
            "its accuracy is {model_accuracy:.3f}, that of the linear model {linear_accuracy:.3f} on the same "
            "{images:.0f} images, a difference of {difference:.3f} (95% interval {low:.3f} to {high:.3f})."
        ),
        advice=(
            "What to change depends on the cause. Where none is named: train until the losses stop falling, run "
            "`lightning-failures audit` on the data, and look at images that only the linear model gets right."
        ),
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=2,
        source=(
            "measured on Indian Pines, resnet10t: raw inputs 0.2 to 0.4, standardised inputs under 0.05; healthy "
            "networks whose accuracy swings from epoch to epoch are up to 0.2 below at some evaluations in a row, and "
            "came up to the linear model at one of the five evaluations before: that is worth watching"
        ),
    ),
    Rule(
        kind=UNTAPPED_INFORMATION,
        name="below_simple_model",
        when=[
            "failures/simplicity/best_reach > failures/simplicity/model_accuracy + 0.2",
            "failures/simplicity/model_accuracy > failures/simplicity/chance + 0.02",
            "failures/simplicity/low <= 0.05",
        ],
        clear=["failures/simplicity/best_reach <= failures/simplicity/model_accuracy + 0.1"],
        evidence={
            "model_accuracy": "failures/simplicity/model_accuracy",
            "best_reach": "failures/simplicity/best_reach",
            "images": "failures/simplicity/images",
        },
        message=(
            "The network does worse than a simple model that was fitted on the same training images in one step: its "
            "accuracy is {model_accuracy:.3f}, that of the best of the simple models {best_reach:.3f} on the same "
            "{images:.0f} images."
        ),
        advice=(
            "What to change depends on the cause. Where none is named: look whether the training loss falls, raise the "
            "learning rate or train for longer, and compare the loss of the first steps with that of guessing."
        ),
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=4,
        source=(
            "measured on digits: with a learning rate far too small 0.28 to 0.46 below after 8 epochs, healthy "
            "networks that had learnt for 60 steps 0.17 above and more; one that begins slowly on a linear task is "
            "that far below twice in a row. At chance, and below a linear model of the mean of each channel, "
            "other rules speak"
        ),
    ),
    Rule(
        kind=ONE_DIMENSIONAL_PREDICTIONS,
        when=[
            "failures/simplicity/own/1 >= 0.9",
            "failures/simplicity/model_accuracy > failures/simplicity/chance + 0.1",
            "failures/simplicity/all_there_is/first_direction < 0.5",
        ],
        clear=["failures/simplicity/own/1 < 0.8"],
        plain_when=["failures/simplicity/own_low/1 >= 0.9"],
        evidence={
            "own": "failures/simplicity/own/1",
            "own_low": "failures/simplicity/own_low/1",
            "own_high": "failures/simplicity/own_high/1",
            "donor": "failures/simplicity/donor/1",
            "pairs": "failures/simplicity/pairs",
            "model_accuracy": "failures/simplicity/model_accuracy",
            "chance": "failures/simplicity/chance",
        },
        message=(
            "The predictions depend on one number per image, its coordinate on the data's first principal direction: "
            "an image that is given nothing but that number of another one is predicted as the image that the number "
            "came from in {own:.0%} of {pairs:.0f} pairs (95% interval {own_low:.0%} to {own_high:.0%}), and as itself "
            "in {donor:.0%}."
        ),
        advice=(
            "If that scalar is what the label is made of, such as a dose, this is right. Else remove that direction "
            "from the inputs (spectra: divide by the total absorbance) and train again."
        ),
        severity="warning",
        severe_when={
            "failure": [
                "failures/simplicity/low > 0.05",
                "failures/simplicity/reach/first_component < failures/simplicity/reference_accuracy - 0.1",
            ]
        },
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=3,
        source=(
            "measured on planted scenes: collapsed runs 0.97 to 1.00, healthy runs 0.00 to 0.05. Whether the scalar is "
            "the task or stands in its place this does not tell (brightness, a threshold or a dose may be the label), "
            "so it is a failure only where more was to be had: a linear model of all channels is better than the "
            "network beyond chance, and than one of this direction alone"
        ),
    ),
    _leans(
        "",
        ["failures/simplicity/model_accuracy > failures/simplicity/chance + 0.1"],
        "The accuracy is {model_accuracy:.3f}.",
        {},
    ),
    _leans(
        "simple_cue_reliance_at_chance",
        [
            "failures/simplicity/model_accuracy <= failures/simplicity/chance + 0.1",
            "failures/causes/training_accuracy > failures/simplicity/chance + 0.3",
        ],
        "The accuracy is {training_accuracy:.3f} on training images, where it goes with the label, and "
        "{model_accuracy:.3f} on validation images, where it does not.",
        {"training_accuracy": "failures/causes/training_accuracy"},
    ),
    Rule(
        kind=SIMPLE_CUE_RELIANCE,
        name="reliance_on_an_own_cue",
        when=[
            "failures/simplicity/reliance/* >= 0.6",
            "failures/simplicity/eta2/* >= 0.6",
            "failures/simplicity/model_accuracy > failures/simplicity/chance + 0.1",
        ],
        clear=["failures/simplicity/reliance/* < 0.4"],
        evidence={
            "reliance": "failures/simplicity/reliance/*",
            "eta2": "failures/simplicity/eta2/*",
            "eta2_within": "failures/simplicity/eta2_within/*",
            "explained": "failures/simplicity/explained_adjusted/*",
            "reach": "failures/simplicity/reach/*",
            "best_reach": "failures/simplicity/best_reach",
            "model_accuracy": "failures/simplicity/model_accuracy",
            "chance": "failures/simplicity/chance",
        },
        message=(
            "The predictions rest on one simple cue, {subject}: it explains {reliance:.0%} of the logits among images "
            "of one label. On the same images a model that sees only this cue has an accuracy of {reach:.3f}, the best "
            "simple model {best_reach:.3f}, and the network {model_accuracy:.3f}."
        ),
        severity="warning",
        severe_when={
            "failure": [
                "failures/simplicity/low > 0.05",
                "failures/simplicity/reach/* < failures/simplicity/best_reach - 0.1",
            ]
        },
        advice=(
            "If the cue is what the label is made of, this is right. Else take it out of the inputs, or add images in "
            "which it does not go with the label, and train again."
        ),
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=3,
        source=(
            "measured on planted scenes with three architectures past chance (benchmarks/planted_findings.py): within "
            "the labels, 0.37 to 0.88 where the network leans on the cue and up to 0.41 where it does not, so that a "
            "cue that cannot be exchanged is named only where it is plain; the variance explained over all labels "
            "(0.93 in a network that never sees the cue) and the information shared with a simple model are large "
            "wherever cue and label agree, and decide nothing"
        ),
    ),
    Rule(
        kind=SIMPLE_CUE_RELIANCE,
        name="simple_cue_reliance_of_a_class",
        when=[
            "failures/simplicity/class_reliance/* >= 0.8",
            "failures/simplicity/class_reliance_low/* >= 0.4",
            f"failures/simplicity/transplant/* < {CARRIES}",
            "failures/simplicity/model_accuracy > failures/simplicity/chance + 0.1",
        ],
        clear=["failures/simplicity/class_reliance/* < 0.6"],
        plain_when=["failures/simplicity/class_reliance_low/* >= 0.5"],
        evidence={
            "label": "failures/simplicity/reliant_class/*",
            "class_reliance": "failures/simplicity/class_reliance/*",
            "class_reliance_low": "failures/simplicity/class_reliance_low/*",
            "reliance": "failures/simplicity/transplant/*",
            "model_accuracy": "failures/simplicity/model_accuracy",
            "chance": "failures/simplicity/chance",
        },
        message=(
            "One class rests on one simple cue: of images that are given the {subject} of an image of class "
            "{label:.0f}, {class_reliance:.0%} are put into class {label:.0f} (at least {class_reliance_low:.0%} "
            "beyond chance), while over all classes {reliance:.0%} of the predictions follow it."
        ),
        advice=(
            "If the cue is what this class is, this is right. Else look at its training images: add some in which the "
            "cue is as in other classes."
        ),
        severity="warning",
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=3,
        source=(
            "the share over all classes is an average: a class of ten that follows a cue altogether gives it 0.1. Four "
            "fifths of a class, and two fifths at the lower end of an interval that holds for all classes together. "
            "Half there is enough once: 0.58 and more in planted runs, 0.37 at most in healthy ones that had learnt "
            "for 60 steps"
        ),
    ),
)
