"""The causes that may explain a finding, each spelt once, with its words, in the order in which they are tested."""

from typing import NamedTuple

__all__ = ["CAUSES", "Cause"]

_UNDONE = "With this undone, the accuracy goes from {before} to {after_within}{share}."


class Cause(NamedTuple):
    """What may explain a finding.

    Args:
        name: by which a finding names it.
        title: what is said where it holds; a sentence without its full stop.
        excluded: what is said where it was tested and does not hold; in a list of such.
        experiment: what its experiment gave; ``{before}`` and ``{after}`` stand for an accuracy before and after,
            ``{before_within}`` and ``{after_within}`` for the same with their intervals, ``{share}`` for the share of
            the gap that was closed.

    Example:
        >>> CAUSES["leakage"].experiment.format(before="0.98", after_within="0.71", share="")
        'Without the images that are in both, the accuracy goes from 0.98 to 0.71.'
    """

    name: str
    title: str
    excluded: str
    experiment: str = _UNDONE


#: All causes by name. The order matters: an earlier cause explains what a later one would be blamed for.
CAUSES = {
    cause.name: cause
    for cause in (
        Cause(
            "not_finite",
            "Some numbers are infinite or not a number (nan)",
            "numbers that are not finite",
        ),
        Cause(
            "input_mismatch",
            "Validation inputs are not prepared as those of training",
            "inputs prepared otherwise than in training",
            "With the validation inputs prepared as those of training, the accuracy goes from {before} to "
            "{after_within}{share}.",
        ),
        Cause(
            "label_mismatch",
            "Validation labels stand for other classes than those of training",
            "labels that stand for other classes than in training",
            "With the validation labels renamed to fit, the accuracy goes from {before} to {after_within}{share}.",
        ),
        Cause(
            "evaluation_mode",
            "The network computes something else in evaluation than in training (batch norm, dropout)",
            "a network that computes something else in evaluation",
            "With the network run on the same images as in training, the accuracy goes from {before} to "
            "{after_within}{share}.",
        ),
        Cause(
            "leakage",
            "The same images are in training and in validation",
            "images that are in training and in validation",
            "Without the images that are in both, the accuracy goes from {before} to {after_within}{share}.",
        ),
        Cause(
            "dead_units",
            "Many units give the same output for every image",
            "units that give the same output for every image",
        ),
        Cause(
            "frozen_parameters",
            "Some parameters that should learn never change",
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
            "No model does better than chance, {before}: the best of those that were tried reaches {after_within}.",
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
            "Without the images whose labels look wrong, the accuracy goes from {before} to {after_within}{share}.",
        ),
        Cause(
            "shortcut",
            "The network leans on a shortcut that training images have and others need not have",
            "a shortcut",
            "With the shortcut exchanged between images, the accuracy goes from {before} to {after_within}.",
        ),
        Cause(
            "overfitting",
            "The training images were learnt by heart",
            "training images learnt by heart",
            "The accuracy is {after} on training images and {before_within} on validation images, both in evaluation "
            "mode.",
        ),
    )
}
