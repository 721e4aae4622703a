"""The causes that may explain a finding, each spelt once, with its words, in the order in which they are tested."""

from typing import NamedTuple

__all__ = ["CAUSES", "Cause"]


class Cause(NamedTuple):
    """What may explain a finding.

    Args:
        name: by which a finding names it.
        title: what is said where it holds; a sentence without its full stop.
        excluded: what is said where it was tested and does not hold; in a list of such.
    """

    name: str
    title: str
    excluded: str


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
            "inputs prepared otherwise than in training",
        ),
        Cause(
            "label_mismatch",
            "Validation labels stand for other classes than those of training",
            "labels that stand for other classes than in training",
        ),
        Cause(
            "evaluation_mode",
            "The network computes something else in evaluation than in training",
            "a network that computes something else in evaluation",
        ),
        Cause(
            "leakage",
            "The same images are in training and in validation",
            "images that are in training and in validation",
        ),
        Cause(
            "dead_units",
            "Many units no longer answer to any image",
            "units that no longer answer to any image",
        ),
        Cause(
            "frozen_parameters",
            "Parameters that should learn never change",
            "parameters that never change",
        ),
        Cause(
            "learning_rate_high",
            "The learning rate is too large",
            "a learning rate that is too large",
        ),
        Cause(
            "learning_rate_low",
            "The learning rate is too small",
            "a learning rate that is too small",
        ),
        Cause(
            "no_signal",
            "Nothing in the images was found that tells their labels",
            "images that do not tell their labels",
        ),
        Cause(
            "unfinished_training",
            "The training ended while the network was still getting better",
            "a training that ended too early",
        ),
        Cause(
            "label_noise",
            "Some of the training labels are wrong",
            "wrong labels in training",
        ),
        Cause(
            "shortcut",
            "The network leans on a shortcut",
            "a shortcut",
        ),
        Cause(
            "overfitting",
            "The training images were learnt by heart",
            "training images learnt by heart",
        ),
    )
}
