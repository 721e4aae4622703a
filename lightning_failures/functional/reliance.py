"""How far predictions rest on one cue, by what bears witness of it."""

import torch
from torch import Tensor

from lightning_failures.errors import InputError

__all__ = ["reliance"]


def reliance(swap_own: Tensor | None = None, eta2: Tensor | None = None, eta2_within: Tensor | None = None) -> Tensor:
    """How far the predictions rest on a cue.

    Where the cue can be exchanged between two images: the share of predictions that follow it. Else the smaller of two
    shares of the logits' variance: the one over all images alone is large for a cue that goes with the labels, though
    the model never sees it; the one within the labels alone is large for a cue that makes logits larger and changes no
    decision. A cue that decides has both.

    Convention:
        Near 1: the cue decides; near 0: it does not. In [0, 1] for exchanges; shares of variance, from which chance is
        taken off, may lie a little below 0. ``nan`` where the exchange is, or else where either share is.

    Args:
        swap_own: share of pairs whose prediction follows the exchanged cue, see :class:`.CueSwap`; any shape, float64.
        eta2: share of the logits' variance that the cue explains, see :func:`.cue_explained_variance`; any shape,
            float64. Not looked at with ``swap_own``.
        eta2_within: the same within the labels; the same shape.

    Returns:
        The reliance, of the shape given.

    Raises:
        InputError: neither an exchange nor both shares of variance were given.

    Example:
        >>> reliance(eta2=torch.tensor([0.9, 0.8]), eta2_within=torch.tensor([0.1, 0.7]))
        tensor([0.1000, 0.7000])
        >>> reliance(swap_own=torch.tensor(0.6), eta2=torch.tensor(0.9), eta2_within=torch.tensor(0.1))
        tensor(0.6000)
    """
    if swap_own is not None:
        return swap_own
    if eta2 is None or eta2_within is None:
        given = "eta2 alone" if eta2 is not None else "eta2_within alone" if eta2_within is not None else "nothing"
        fix = "Pass swap_own, or eta2 and eta2_within."
        raise InputError("reliance", "no witness of the cue was given", given, fix)
    return torch.minimum(eta2, eta2_within)
