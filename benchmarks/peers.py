"""What other tools say of a network that leans on one content of images: attributions, and errors by factor.

Attributions lie on the pixels of the channels. They are added up over what of the contents is a set of pixels or of
channels, the border and each channel, and read by the same rule as an exchange: a part is named that has
:data:`CARRIES` of all, and :data:`LEADS` more than the rest together. Level, colour, texture and low frequencies are no
set of pixels, so that attributions as they come cannot name them.

Error ratios are those of ImageNet-X: of images whose cue an annotator found unlike that of their class, over the errors
of all. Without such an annotation, without such images or without errors nothing is said.

captum: Kokhlikyan et al., arXiv:2009.07896. Integrated gradients: Sundararajan et al., arXiv:1703.01365. ImageNet-X:
Idrissi et al., arXiv:2211.01866.
"""

import importlib.util
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_failures.callbacks.simplicity.contents import FEW
from lightning_failures.functional import border_mask, count_factor_errors, error_ratio, error_ratio_interval, leads

__all__ = ["CAPTUM", "METHODS", "ErrorsByCue", "attributions", "can_name", "errors_by_cue", "named_parts"]

CAPTUM = importlib.util.find_spec("captum") is not None  #: whether it is installed
IMAGES, STEPS, AT_ONCE = 64, 32, 256  # of integrated gradients; images and steps that run at once


class ErrorsByCue(NamedTuple):
    """Errors on images whose cue is unlike that of their class, as ImageNet-X gives them."""

    ratio: float  # to errors on all images; nan: no such image, or no error
    low: float  # of its 95% interval
    high: float
    images: int  # such ones


def errors_by_cue(wrong: Tensor, unlike: Tensor) -> ErrorsByCue:
    """Error ratio of the images whose cue is unlike that of their class.

    Args:
        wrong: which images are misclassified; (n), bool.
        unlike: which ones carry another cue than their class; (n), bool.

    Example:
        >>> wrong, unlike = torch.tensor([True, False, False, False]), torch.tensor([True, False, False, False])
        >>> errors_by_cue(wrong, unlike).ratio, errors_by_cue(wrong, unlike & False).ratio
        (4.0, nan)
    """
    counts = count_factor_errors(wrong, unlike[:, None])
    low, high = error_ratio_interval(counts)
    return ErrorsByCue(float(error_ratio(counts)[0]), float(low[0]), float(high[0]), int(unlike.sum()))


def can_name(content: str) -> bool:
    """Whether attributions can name a content: it is a set of pixels or of channels.

    Example:
        >>> can_name("border"), can_name("channel 3"), can_name("colour")
        (True, True, False)
    """
    return content == "border" or content.startswith("channel ")


def named_parts(shares: Mapping[str, float]) -> list[str]:
    """The parts that have more of the attribution than all else together, by the rule for exchanges.

    Example:
        >>> named_parts({"border": 0.7, "channel 0": 0.5, "channel 1": 0.45})
        ['border']
    """
    return [part for part, share in shares.items() if leads(share, 1 - share)]


def attributions(network: nn.Module, images: Tensor) -> dict[str, dict[str, float]]:
    """Share of the attribution of the predicted class that lies on the border, and on each channel, by method.

    An image without anything, from which attributions count, is 0: the mean of each channel of standardised images.

    Args:
        network: from images to logits (n c), in evaluation mode.
        images: (n b h w).

    Convention:
        Mean over the images of absolute attribution on the part over that on all; in [0, 1]. Of up to four channels
        each is an image of its own and no simple content, as for transplants: they are not told.

    Returns:
        Method -> part -> share; empty without captum.
    """
    if not CAPTUM:
        return {}
    some = images[torch.linspace(0, len(images) - 1, min(IMAGES, len(images))).round().long()]
    with torch.no_grad():
        preds = network(some).argmax(1)
    return {name: method(network, some, preds) for name, method in METHODS.items()}


def _integrated_gradients(network: nn.Module, images: Tensor, preds: Tensor) -> dict[str, float]:
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(network)
    found = method.attribute(images, target=preds, n_steps=STEPS, internal_batch_size=AT_ONCE).detach().abs()
    border = border_mask(*images.shape[2:])
    parts = {"border": found[..., border].sum((1, 2))}
    if images.shape[1] > FEW:
        parts |= {f"channel {k}": found[:, k].sum((1, 2)) for k in range(images.shape[1])}
    return _shares(parts, found.sum((1, 2, 3)))


def _ablation(network: nn.Module, images: Tensor, preds: Tensor) -> dict[str, float]:
    from captum.attr import FeatureAblation

    def drops(groups: Tensor) -> Tensor:  # (n g) by what the logit moves without each group
        with torch.no_grad():
            found = FeatureAblation(network).attribute(images, target=preds, feature_mask=groups.expand(1, *shape))
        first = [(groups.expand(shape) == group).flatten().int().argmax() for group in range(int(groups.max()) + 1)]
        moved: Tensor = found.flatten(1)[:, torch.stack(first)].abs()
        return moved

    shape = images.shape[1:]
    centre_and_border = drops(border_mask(*shape[1:]).long())
    shares = _shares({"border": centre_and_border[:, 1]}, centre_and_border.sum(1))
    if shape[0] > FEW:
        by_channel = drops(torch.arange(shape[0])[:, None, None])
        parts = {f"channel {k}": by_channel[:, k] for k in range(shape[0])}
        shares |= _shares(parts, by_channel.sum(1))
    return shares


def _shares(parts: Mapping[str, Tensor], whole: Tensor) -> dict[str, float]:
    """Mean over the images of the share of each part; an image without any attribution is left out."""
    known = whole > 0
    if not bool(known.any()):
        return dict.fromkeys(parts, math.nan)
    return {name: float((part[known] / whole[known]).mean()) for name, part in parts.items()}


#: Method of captum -> what adds its attributions up.
METHODS: dict[str, Callable[[nn.Module, Tensor, Tensor], dict[str, float]]] = {
    "integrated gradients": _integrated_gradients,
    "ablation": _ablation,
}
