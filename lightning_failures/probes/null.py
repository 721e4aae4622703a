"""Models and inputs that know nothing, whose profile shows how large a change means nothing.

Randomised models: Adebayo et al., "Sanity checks for saliency maps" (NeurIPS, 2018).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightning_failures.errors import DiscoveryError, UnknownNameError

__all__ = ["Null", "nulled"]

#: ``"head"``: the weights of the last layer shuffled; ``"channels"``: the channels of the inputs shuffled.
Null = Literal["head", "channels"]


@contextmanager
def nulled(model: nn.Module, inputs: Tensor, axis: int, null: Null, generator: torch.Generator) -> Iterator[Tensor]:
    """Make the model, or its inputs, know nothing inside; gives the inputs to use.

    Args:
        model: the model; its head's weight is another one inside.
        inputs: images; any shape, images first.
        axis: axis of the channels.
        null: which of them.
        generator: source of the shuffle.

    Raises:
        UnknownNameError: no such null.
        DiscoveryError: no last layer with weights.
    """
    if null == "channels":
        order = torch.randperm(inputs.shape[axis], generator=generator).to(inputs.device)
        yield inputs.index_select(axis, order)
    elif null == "head":
        head = _head(model, inputs)
        weight = head._parameters["weight"]
        assert weight is not None
        order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
        head._parameters["weight"] = nn.Parameter(weight.detach().flatten()[order].view_as(weight))
        try:
            yield inputs
        finally:
            head._parameters["weight"] = weight
    else:
        raise UnknownNameError("attribute_channels", "no such null", repr(null), "Choose from 'head' and 'channels'.")


def _head(model: nn.Module, inputs: Tensor) -> nn.Module:
    """The last linear layer or convolution that runs."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    ran: list[nn.Module] = []

    def note(module: nn.Module, _: Any) -> None:
        ran.append(module)

    hooks = [module.register_forward_pre_hook(note) for module in model.modules() if isinstance(module, kinds)]
    try:
        model(inputs[:1].clone())
    finally:
        for hook in hooks:
            hook.remove()
    if not ran or ran[-1]._parameters.get("weight") is None:
        raise DiscoveryError(
            "attribute_channels",
            "the model has no last layer whose weights could be shuffled",
            type(model).__name__,
            "Use null='channels', or no null.",
        )
    return ran[-1]
