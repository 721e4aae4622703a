"""Where a module takes its inputs and gives its logits, so that it can be run again on other inputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lightning_failures.errors import DiscoveryError
from lightning_failures.observe.batch_fields import read_field
from lightning_failures.observe.input_view import InputView
from lightning_failures.observe.logits import find_logits
from lightning_failures.observe.undisturbed import unwrapped

__all__ = ["Entry", "Runnable"]


@dataclass(frozen=True)
class Entry:
    """How a submodule was called: with the inputs at some place, and with other arguments beside them.

    Args:
        name: of the submodule; empty: the module itself.
        place: position or keyword of the inputs.
        beside: the other arguments, by position and keyword.
        images: how many there were; tensors of as many rows among the other arguments hold one per image.
        output: path of the scores in what it returned; None: found, see :func:`.find_logits`.
    """

    name: str = ""
    place: int | str = 0
    beside: Mapping[int | str, Any] = field(default_factory=dict)
    images: int = 0
    output: str | None = None

    @property
    def takes_more(self) -> bool:
        """Whether it was called with more than the inputs that differs by image."""
        return any(self._of_images(value) for value in self.beside.values())

    def _of_images(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.ndim > 0 and len(value) == self.images

    def call(self, net: nn.Module, inputs: Tensor, shift: int = 0) -> Any:
        """Run a submodule on inputs, with the arguments that stood beside those that it was called with.

        Args:
            net: the submodule.
            inputs: (n ...).
            shift: how many rows further the other arguments begin; they are repeated as often as it takes.
        """

        def fit(value: Any) -> Any:
            if not self._of_images(value):
                return value
            rows = (torch.arange(len(inputs), device=value.device) + shift) % len(value)
            return value[rows].to(inputs.device)

        given = {self.place: inputs, **{place: fit(value) for place, value in self.beside.items()}}
        positions = sorted(place for place in given if isinstance(place, int))
        keywords = {place: value for place, value in given.items() if isinstance(place, str)}
        return net(*(given[place] for place in positions), **keywords)


class Runnable(nn.Module):
    """A user's module as a function from inputs, with the channels on axis 1, to logits.

    Args:
        module: the user's, or the submodule that the entry names.
        entry: how it is called; None: by its own ``forward``, with the inputs.
        view: how inputs are given to it.
        logits: from what it returned, without its batch's labels, to the logits of an observation.
    """

    def __init__(
        self,
        module: nn.Module,
        entry: Entry | None,
        view: InputView,
        logits: Callable[[Tensor], Tensor] = lambda each: each,
    ) -> None:
        super().__init__()
        self.known = entry is not None  #: whether a step was seen that called it so
        entry = entry or Entry()
        self.net = unwrapped(module.get_submodule(entry.name) if entry.name else module)
        self.entry, self.view, self.logits = entry, view, logits
        self.shift = 0  #: of the arguments beside the inputs
        self.training = self.net.training

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits of inputs; (n b ...) -> (n c) or (n c h w)."""
        output = self.entry.call(self.net, self.view.give(inputs), self.shift)
        found = find_logits(output) if self.entry.output is None else read_field(output, self.entry.output, "rerun")
        if not isinstance(found, Tensor):
            given, fix = f"a {type(output).__name__}", "Give the module a forward(inputs) that returns its logits."
            raise DiscoveryError("rerun", "the module returns no tensor", given, fix)
        return self.logits(found)
