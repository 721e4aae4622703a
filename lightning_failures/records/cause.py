"""The causes that may explain a finding, each spelt once, with its title, in the order in which they are tested."""

from typing import NamedTuple

__all__ = ["CAUSES", "Cause"]


class Cause(NamedTuple):
    """What may explain a finding."""

    name: str
    title: str


#: All causes by name. The order matters: an earlier cause explains what a later one would be blamed for.
CAUSES = {
    cause.name: cause
    for cause in (
        Cause("not_finite", "Numbers that are not finite"),
        Cause("input_mismatch", "Validation inputs are not prepared as those of training"),
        Cause("label_mismatch", "Validation labels stand for other classes than those of training"),
        Cause("evaluation_mode", "The network works otherwise in evaluation than in training"),
        Cause("leakage", "Images stand on both sides of the split"),
        Cause("dead_units", "Units that no longer answer to any input"),
        Cause("frozen_parameters", "Parameters that never move"),
        Cause("learning_rate_high", "The learning rate is too large"),
        Cause("learning_rate_low", "The learning rate is too small"),
        Cause("no_signal", "Nothing in the images was found that tells the labels"),
        Cause("unfinished_training", "The training ended before it was done"),
        Cause("label_noise", "Some training labels are wrong"),
        Cause("shortcut", "The network leans on a shortcut"),
        Cause("overfitting", "The training images were learnt by heart"),
    )
}
