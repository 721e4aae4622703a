"""The user's model as callbacks see it: a module that holds it, and takes what they log."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["HeldModel"]


class HeldModel(nn.Module):
    """Holds a model as ``model``, as a LightningModule would; the model knows nothing of it.

    Args:
        model: is watched, and not changed.
        log: takes what monitors log.
        convert: makes of inputs what the model is really given, for example in another type.
    """

    def __init__(
        self, model: nn.Module, log: Callable[[Mapping[str, Tensor]], None], convert: Callable[[Any], Any]
    ) -> None:
        super().__init__()
        self.model = model
        self._log, self._convert = log, convert

    @property
    def device(self) -> torch.device:
        """Where the model is by now."""
        return next(self.model.parameters()).device

    def log_dict(self, values: Mapping[str, Tensor], **_: Any) -> None:
        """Log as a LightningModule does; the options of its own are about a Trainer."""
        self._log({key: value.detach().clone() for key, value in values.items()})

    def forward(self, *arguments: Any, **named: Any) -> Any:
        """The model's."""
        arguments, named = self._convert((arguments, named))
        return self.model(*arguments, **named)
