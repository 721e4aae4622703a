"""How large a change means nothing: by the chance of the images, or by models and inputs that know nothing.

Measured by benchmarks/channel_null.py on networks that use one channel of 40 (which lose a tenth of their accuracy or
more without it) and on networks at chance, after the bounds were set on other seeds; by the monitor's 20 bands, with
Wilson's interval. Shares are defined:

======== ======================== ========================
null     one channel is used      at chance: false alarms
======== ======================== ========================
images   54 of 54 (0.93 to 1.00)   1 of 36 (0.00 to 0.14)
head     49 of 54 (0.80 to 0.96)    20 of 36 (0.40 to 0.70)
channels 42 of 54 (0.65 to 0.87)    27 of 36 (0.59 to 0.86)
======== ======================== ========================

Under images the largest share is then the planted channel's in 48 of 54. By the 40 channels one by one: images 53 and
1, head 50 and 16, channels 43 and 28, and the largest is the right one wherever shares are defined. The rule
single_band_reliance finds the planted one in 36 (by channel 38), and none in the 36 at chance, nor in 36 whose class is
the height of all channels, a shape or a spectrum. What head blanks are linear models of the mean spectrum that need a
channel for some of their classes.

Randomised models: Adebayo et al., "Sanity checks for saliency maps" (NeurIPS, 2018).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lightning_failures.attribution.first_layer import forward_replaced
from lightning_failures.errors import DiscoveryError, UnknownNameError
from lightning_failures.observe.hooks import CallRecorder
from lightning_failures.observe.logits import logits_of

__all__ = ["LEAST_RISE", "NULL_HEADS", "Null", "check_null", "null_heads", "shuffled_head", "widened"]

#: ``"images"``: other images as they come, by the standard error over these; ``"head"``: the weights of the last layer
#: shuffled; ``"channels"``: the channels of the inputs shuffled.
Null = Literal["images", "head", "channels"]

#: Rise of the cross-entropy in nats that does not matter, though many images make it certain: without the band the
#: right class keeps 95% of its probability.
LEAST_RISE = 0.05

#: Shuffles of the last layer; the largest rise of any of them is the floor, since what knows nothing also changes, but
#: rather errs less. On planted scenes the largest change of a channel, window or tile was 1.6 to 4.5 times the floor in
#: 12 profiles of models that used the bands, 0.08 to 0.57 times in 24 of models that did not.
NULL_HEADS = 8


class NullHeads:
    """The last layer of a model that has weights, and shuffles of them."""

    def __init__(self, layer: nn.Module, alone: bool, generator: torch.Generator) -> None:
        self.layer, self.alone = layer, alone
        weight = _weight_of(layer)
        orders = [torch.randperm(weight.numel(), generator=generator).to(weight.device) for _ in range(NULL_HEADS)]
        self.weights = [weight.flatten()[order].view_as(weight) for order in orders]


def check_null(null: str | None, where: str = "check_null") -> None:
    """Refuse a null that is not known; ``where`` is the public name to put into an error.

    Raises:
        UnknownNameError: no such null.
    """
    if null is not None and null not in get_args(Null):
        raise UnknownNameError(where, "no such null", repr(null), "Choose from 'images', 'head' and 'channels'.")


def null_heads(model: nn.Module, inputs: Tensor, generator: torch.Generator, where: str = "null_heads") -> NullHeads:
    """The last linear layer or convolution that runs, with shuffles of its weights.

    Args:
        model: gives the logits; in ``eval``, under ``no_grad``.
        inputs: images, two of which it is run on.
        generator: of the shuffles.
        where: the public name to put into an error.

    Raises:
        DiscoveryError: there is none.
    """
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    layers = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
    with CallRecorder(layers, keep=0) as recorder:
        model(inputs[:2].clone())
        ran = [layers[call.name] for call in recorder.calls]
    if not ran or not isinstance(getattr(ran[-1], "weight", None), Tensor):
        raise DiscoveryError(
            where,
            "the model has no last layer whose weights could be shuffled",
            type(model).__name__,
            "Use null='images' or 'channels', or no null.",
        )
    return NullHeads(ran[-1], len(ran) == 1, generator)


@contextmanager
def shuffled_head(heads: NullHeads, which: int) -> Iterator[None]:
    """The model with one of the shuffles in place of its last layer's weights."""
    table = heads.layer._parameters
    if table.get("weight") is None:  # it is computed from others, as by pruning
        with forward_replaced(heads.layer, _with_weight(heads.layer, heads.weights[which]).forward):
            yield
        return
    weight = table["weight"]
    table["weight"] = nn.Parameter(heads.weights[which])
    try:
        yield
    finally:
        table["weight"] = weight


def _weight_of(layer: nn.Module) -> Tensor:
    """The weight that a layer runs with, which may be computed from others."""
    weight: Any = layer.weight
    return weight.detach()  # type: ignore[no-any-return]


def _with_weight(layer: nn.Module, weight: Tensor, times: int = 1) -> nn.Module:
    """A layer of the same class with a weight of its own, computed from no others, and with its bias, repeated."""
    kind: Any = nn.utils.parametrize.type_before_parametrizations(layer)
    given: nn.Module = kind.__new__(kind)
    bias = getattr(layer, "bias", None)
    table: dict[str, Any] = given.__dict__
    table.update({name: value for name, value in layer.__dict__.items() if name not in ("weight", "bias")})
    table["_parameters"] = {"weight": weight, "bias": None if bias is None else bias.detach().repeat(times)}
    return given


@contextmanager
def widened(heads: NullHeads, model: nn.Module, inputs: Tensor) -> Iterator[bool]:
    """The model with all heads side by side, so that one forward gives the logits of each, its own first.

    Gives whether the model can run so: whether its logits, on two images, are those of the heads one by one.
    """
    if heads.alone:
        yield False  # it is the first layer as well
        return
    layer = heads.layer
    own = _weight_of(layer)
    wide = _with_weight(layer, torch.cat([own, *heads.weights]), 1 + NULL_HEADS)
    few = inputs[:2]
    plain = [logits_of(model(few.clone()))]
    for which in range(NULL_HEADS):
        with shuffled_head(heads, which):
            plain.append(logits_of(model(few.clone())))
    expected = torch.cat(plain, -1 if plain[0].ndim == 1 else 1)
    with forward_replaced(layer, wide.forward):
        try:
            together = logits_of(model(few.clone()))
            size = 1e-3 if together.dtype in (torch.float32, torch.float64) else 5e-2
            good = together.shape == expected.shape
            good = good and bool((together - expected).abs().max() <= size * expected.abs().max())
        except (RuntimeError, ValueError, IndexError):
            good = False
        if good:
            yield True
    if not good:
        yield False
