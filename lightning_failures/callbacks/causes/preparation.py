"""Whether inputs are prepared as those they are compared with: what differs, channel by channel, and what undoes it."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.channel_faults import ChannelFaults, channel_faults, only_constant
from lightning_failures.functional.channel_order import match_channels
from lightning_failures.functional.input_statistics import InputSums, channel_statistics, compare_inputs, map_inputs

__all__ = ["Preparation"]

#: A channel differs where its mean is off by more than half a deviation, or its deviation by more than a half: beyond
#: the interval of either. Means of classes and of augmented images move by less.
SHIFT, RATIO = 0.5, 1.5

#: Share of the distance between the channels of both that another order must take away.
ORDER_GAIN = 0.5


#: Channels up to which the opposite order is tried where nothing tells of another one.
FEW_CHANNELS = 4


class Preparation(NamedTuple):
    """How validation images differ from training images; or images of one factor or group from the others.

    Below, validation stands for what may have to be mended, and training for what it is held against.

    Args:
        shift: mean of validation less that of training, in deviations of training, by channel; (b), float64.
        ratio: deviation of validation over that of training; (b).
        scale: what maps validation to training: multiply by it, then add ``offset``; (b).
        offset: see ``scale``; (b).
        turned_offset: what is to be added to validation times ``-scale``, so that it has the mean and the deviation of
            training and what is large there becomes small; (b).
        differs: which channels differ beyond chance; (b), bool.
        order: for each channel of training the channel of validation that is most like it; (b), int64.
        faults: of channels of validation that those of training do not have.
        faults_of_training: the other way round.
        tried: an order that is worth a trial where channels are on another scale and no other order stands out, for one
            may hide the other: images standardised with the statistics of RGB after they were read as BGR; (b), int64.
        tried_scale: what maps validation in that order to training: multiply by it, then add ``tried_offset``; (b).
        tried_offset: see ``tried_scale``; (b).
        constant: value of the channels that have one value in validation and vary in training, nan for others; (b).
    """

    shift: Tensor
    ratio: Tensor
    scale: Tensor
    offset: Tensor
    turned_offset: Tensor
    differs: Tensor
    order: Tensor
    tried: Tensor
    tried_scale: Tensor
    tried_offset: Tensor
    faults: ChannelFaults
    faults_of_training: ChannelFaults
    constant: Tensor

    @classmethod
    def of(cls, training: InputSums, validation: InputSums) -> "Preparation":
        """Compare the inputs of both."""
        found = compare_inputs(training, validation)
        apart = (found.shift_low > SHIFT) | (found.shift_high < -SHIFT)
        differs = apart | (found.ratio_low > RATIO) | (found.ratio_high < 1 / RATIO)
        differs &= found.scale.isfinite()  # one value everywhere is a fault, which no mapping mends
        match = match_channels(training, validation)
        as_it_is = torch.arange(len(match.order))
        order = match.order if float(match.gain) > ORDER_GAIN else as_it_is
        hidden = bool(differs.any()) and torch.equal(order, as_it_is)
        tried = _order_to_try(training, validation) if hidden else as_it_is
        own, other = channel_statistics(training), channel_statistics(validation)
        tried_scale = own.deviation / other.deviation[tried]
        return cls(
            found.shift,
            found.ratio,
            found.scale,
            found.offset,
            own.mean + found.scale * other.mean,
            differs,
            order,
            tried,
            tried_scale,
            own.mean - tried_scale * other.mean[tried],
            channel_faults(validation, training),
            channel_faults(training, validation),
            only_constant(validation, training),
        )

    @property
    def channel(self) -> int:
        """The channel that differs most."""
        apart = self.shift.abs() + self.ratio.log().abs()
        return int(torch.where(self.scale.isfinite(), apart, 0.0).argmax())

    @property
    def moved(self) -> bool:
        """Whether channels stand in another order."""
        return not torch.equal(self.order, torch.arange(len(self.order)))

    @property
    def moved_channels(self) -> Tensor:
        """Number of channels in another place; ()."""
        return (self.order != torch.arange(len(self.order))).sum()

    @property
    def apart(self) -> Tensor:
        """Which channels are on another scale or in another place; (b), bool."""
        return self.differs | (self.order != torch.arange(len(self.order)))

    @property
    def alike(self) -> bool:
        """Whether both are prepared alike, as far as channels tell: one scale, one order, and no channel at fault."""
        faulty = torch.stack([*self.faults, *self.faults_of_training, self.is_constant])
        return not bool(self.apart.any() or faulty.any())

    def undoings(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """What can be undone: name of the experiment -> from validation inputs to those as in training."""
        found: dict[str, Callable[[Tensor], Tensor]] = {}
        if bool(self.differs.any()):
            found["input_scale"] = lambda images: map_inputs(images, self.scale, self.offset)
        if self.moved:
            found["channel_order"] = lambda images: images[:, self.order.to(images.device)]
        return found

    def turning(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """What is tried where channels are on another scale, for statistics cannot tell it: that they are upside down.

        Absorbance beside transmittance, or an image beside its negative: what is large in one is small in the other.
        """
        if not bool(self.differs.any()):
            return {}
        return {"input_turned": lambda images: map_inputs(images, -self.scale, self.turned_offset)}

    def trial(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """What is tried without knowing: name of the experiment -> from validation inputs; empty where nothing is."""
        if not self.tries or not bool(self.tried_scale.isfinite().all()):
            return {}
        order = self.tried
        return {
            "order_and_scale": lambda images: map_inputs(
                images[:, order.to(images.device)], self.tried_scale, self.tried_offset
            )
        }

    @property
    def passes(self) -> int:
        """How often the network is asked for validation inputs with something undone."""
        return len(self.undoings() | self.turning() | self.trial())

    @property
    def tries(self) -> int:
        """Channels that are put in another place as a trial."""
        return int((self.tried != torch.arange(len(self.tried))).sum())

    @property
    def is_constant(self) -> Tensor:
        """Which channels have one value in validation and vary in training; (b), bool."""
        return self.constant.isfinite()

    def with_constants(self, images: Tensor) -> Tensor:
        """Training images whose channels have the one value that validation has there, as far as it has one."""
        axes = (-1, *(1,) * (images.ndim - 2))
        put = self.is_constant.to(images.device).view(axes)
        return torch.where(put, self.constant.nan_to_num(0).to(images).view(axes), images)

    def figures(self) -> dict[str, Tensor]:
        """What is logged of it."""
        return {
            "channels_differ": self.differs.sum().double(),
            "channels_moved": self.moved_channels.double(),
            "channels_tried": torch.tensor(float(len(self.trial()) and self.tries)),
            **self.of_worst(),
            "input_turned_offset": self.turned_offset[self.channel],
            **self._of_faults(),
        }

    def of_constant(self) -> dict[str, Tensor]:
        """What is logged of the first channel with one value in validation alone; nothing without one."""
        if not bool(self.is_constant.any()):
            return {}
        first = int(self.is_constant.int().argmax())
        return {"constant_channel": torch.tensor(float(first)), "constant_value": self.constant[first]}

    def _of_faults(self) -> dict[str, Tensor]:
        """What is logged of channels with a fault; of each kind of fault only where there is one."""
        both = {"validation": self.faults, "training": self.faults_of_training}
        faulty = torch.stack([which for faults in both.values() for which in faults]).any(0)
        values = {"channels_faulty": faulty.sum().double(), "channels_constant": self.is_constant.sum().double()}
        values |= self.of_constant()
        for where, faults in both.items():
            for kind, which in faults._asdict().items():
                if bool(which.any()):
                    name = f"{kind.replace('_', ' ')} in {where} only"
                    values[f"faults/{name}"] = which.sum().double()
                    values[f"fault_channel/{name}"] = torch.tensor(float(which.int().argmax()))
        return values

    def of_worst(self, turned: bool = False) -> dict[str, Tensor]:
        """What is logged of the channel that differs most; with the mapping that turns it upside down, if so said."""
        worst = self.channel
        return {
            "input_channel": torch.tensor(float(worst)),
            "input_shift": self.shift[worst],
            "input_ratio": self.ratio[worst],
            "input_scale": -self.scale[worst] if turned else self.scale[worst],
            "input_offset": self.turned_offset[worst] if turned else self.offset[worst],
        }

    @staticmethod
    def unknown() -> dict[str, Tensor]:
        """The same where inputs were not compared."""
        of_worst = ("input_channel", "input_shift", "input_ratio", "input_scale", "input_offset", "input_turned_offset")
        keys = (
            "channels_differ",
            "channels_moved",
            "channels_tried",
            *of_worst,
            "channels_faulty",
            "channels_constant",
        )
        return dict.fromkeys(keys, torch.tensor(math.nan))


def _order_to_try(training: InputSums, validation: InputSums) -> Tensor:
    """The order that the correlations of the channels tell; else, of few channels, the opposite one; (b), int64."""
    match = match_channels(training, validation, rescaled=True)
    as_it_is = torch.arange(len(match.order))
    if float(match.gain) > ORDER_GAIN and not torch.equal(match.order, as_it_is):
        return match.order
    return as_it_is.flip(0) if 1 < len(as_it_is) <= FEW_CHANNELS else as_it_is
