"""The causes that may explain a finding, each spelt once, with its words, in the order in which they are tested."""

from typing import NamedTuple

__all__ = ["CAUSES", "Cause"]


class Cause(NamedTuple):
    """What may explain a finding.

    Args:
        name: by which a finding names it.
        title: what is said where it holds; a sentence without its full stop.
        excluded: what is said where it was tested and does not hold; in a list of such.
        of_images: the title where it was found by holding the images of the finding's subject against the others;
            empty: as the title.
        compared: what the accuracies ``before`` and ``after`` of its experiment are of, in short.
    """

    name: str
    title: str
    excluded: str
    of_images: str = ""
    compared: tuple[str, str] = ("as it is", "undone")


#: All causes by name. The order matters: an earlier cause explains what a later one would be blamed for.
CAUSES = {
    cause.name: cause
    for cause in (
        Cause(
            "not_finite",
            "Some numbers are infinite or not a number (NaN)",
            "numbers that are not finite",
        ),
        Cause(
            "input_mismatch",
            "Validation inputs are not prepared as those of training",
            "other inputs in validation",
            "These images are not prepared as the others",
        ),
        Cause(
            "label_mismatch",
            "Validation labels stand for other classes than those of training",
            "other labels in validation",
        ),
        Cause(
            "evaluation_mode",
            "The network computes something else in evaluation than in training",
            "evaluation mode",
        ),
        Cause(
            "class_imbalance",
            "Some classes are much more frequent in training than others",
            "unequally frequent classes",
        ),
        Cause(
            "leakage",
            "The same images are in training and in validation",
            "leakage",
        ),
        Cause(
            "frozen_parameters",
            "Parameters that should learn never change",
            "frozen parameters",
        ),
        Cause(
            "learning_rate_high",
            "The learning rate is too large",
            "too large a learning rate",
        ),
        Cause(
            "dead_units",
            "Many units no longer answer to any image",
            "dead units",
        ),
        Cause(
            "learning_rate_low",
            "The learning rate is too small",
            "too small a learning rate",
        ),
        Cause(
            "no_signal",
            "Nothing in the images was found that tells their labels",
            "labels without a signal",
            compared=("the network", "a simple model"),
        ),
        Cause(
            "unfinished_training",
            "The training ended while the network was still getting better",
            "too short a training",
            compared=("earlier", "at the end"),
        ),
        Cause(
            "label_noise",
            "Some of the training labels are wrong",
            "wrong labels",
        ),
        Cause(
            "shortcut",
            "The network leans on a shortcut",
            "a shortcut",
        ),
        Cause(
            "overfitting",
            "The training images were learnt by heart",
            "overfitting",
            compared=("validation images", "training images"),
        ),
    )
}
