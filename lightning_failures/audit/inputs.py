"""Whether validation images hold in each channel what training images hold, and what mends it where they do not."""

from typing import NamedTuple

from torch import Tensor

from lightning_failures.functional.channel_order import ChannelMatch, match_channels
from lightning_failures.functional.input_statistics import (
    ChannelStatistics,
    InputComparison,
    InputSums,
    channel_statistics,
    compare_inputs,
    input_sums,
    merge_inputs,
)

__all__ = ["InputDifference", "SeenInputs", "input_difference"]


class SeenInputs:
    """The sums of the images of one loader, all of them in one bounded state."""

    def __init__(self) -> None:
        self.sums: InputSums | None = None

    def add(self, images: Tensor) -> None:
        """Add a batch; (n b ...)."""
        more = input_sums(images)
        self.sums = more if self.sums is None else merge_inputs([self.sums, more])


class InputDifference(NamedTuple):
    """What training and validation images hold, and how they differ."""

    train: ChannelStatistics
    validation: ChannelStatistics
    comparison: InputComparison
    match: ChannelMatch


def input_difference(train: SeenInputs, validation: SeenInputs) -> InputDifference | None:
    """How the images of two loaders differ; None where one of them gave none."""
    own, other = train.sums, validation.sums
    if own is None or other is None:
        return None
    return InputDifference(
        channel_statistics(own), channel_statistics(other), compare_inputs(own, other), match_channels(own, other)
    )
