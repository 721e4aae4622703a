"""Inputs with the channels on axis 1, whatever axis the module takes them on."""

from dataclasses import dataclass

from torch import Tensor

from lightning_failures.errors import InputError

__all__ = ["InputView"]

#: Most channels of a spectrum that is found by its shape; a longer axis is one of time.
MOST_CHANNELS = 4096


@dataclass(frozen=True)
class InputView:
    """How inputs are read as images or spectra whose channels lie on axis 1, and how they are given back to the module.

    Args:
        axis: of the channels in what the module takes, from the front; 1: as they are.
        single: place of an axis of one behind the channels, in the view, that is left out; None: none is.

    Example:
        >>> import torch
        >>> view = InputView.of((4, 1, 100))  # spectra as a 1-D convolution takes them
        >>> spectra = view.read(torch.zeros(4, 1, 100))
        >>> spectra.shape, view.give(spectra).shape
        (torch.Size([4, 100]), torch.Size([4, 1, 100]))
    """

    axis: int = 1
    single: int | None = None

    @classmethod
    def of(cls, shape: tuple[int, ...], channel_axis: int | None = None, where: str = "InputView") -> "InputView":
        """The view of inputs of some shape.

        Without an axis that is named, the channels are looked for behind an axis 1 of length one: (n 1 b) and
        (n 1 b h w), as 1-D and 3-D convolutions take spectra, and (n b 1). All other inputs stay as they are.

        Args:
            shape: of a batch of inputs, images first.
            channel_axis: axis of the channels; None: found.
            where: the public name to put into an error.

        Raises:
            InputError: there is no such axis.
        """
        axes = len(shape)
        if channel_axis is None:
            if axes == 3 and shape[1] > 1 and shape[2] == 1 and shape[1] <= MOST_CHANNELS:
                return cls(1, 2)
            found = axes in (3, 5) and shape[1] == 1 and 1 < shape[2] <= MOST_CHANNELS
            return cls(2, 2) if found else cls()
        if not -axes < channel_axis < axes or channel_axis == 0:
            given = f"channel_axis={channel_axis} for inputs {tuple(shape)}"
            fix = f"Choose from 1 to {axes - 1}; axis 0 holds the images."
            raise InputError(where, "inputs have no such axis", given, fix)
        axis = channel_axis % axes
        rest = [length for place, length in enumerate(shape) if place not in (0, axis)]
        single = 2 if axes in (3, 5) and rest[0] == 1 else None
        return cls(axis, single)

    @property
    def plain(self) -> bool:
        """Whether inputs are read as they are."""
        return self.axis == 1 and self.single is None

    def read(self, inputs: Tensor) -> Tensor:
        """Inputs of the module, with the channels on axis 1; no copy is made.

        Args:
            inputs: (n ...), as the module takes them.
        """
        view = inputs if self.axis == 1 else inputs.movedim(self.axis, 1)
        return view if self.single is None else view.squeeze(self.single)

    def give(self, view: Tensor) -> Tensor:
        """What :meth:`read` gave, as the module takes it."""
        inputs = view if self.single is None else view.unsqueeze(self.single)
        return inputs if self.axis == 1 else inputs.movedim(1, self.axis)
