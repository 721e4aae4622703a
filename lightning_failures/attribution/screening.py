"""Which channels to look at exactly, and whether a profile's order is the order in which the model needs them.

Deletion and insertion: Petsiuk, Das and Saenko, "RISE" (BMVC, 2018); against random orders: Hooker et al. (NeurIPS,
2019).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_failures.attribution.ablation import score_sets
from lightning_failures.attribution.attribution import attribute_channels
from lightning_failures.attribution.task import check_inputs, open_task, resolve_groups
from lightning_failures.functional.channels import ChannelProfile, Output, pearson
from lightning_failures.spectrum.bands import Bands, BandsLike

__all__ = ["Curves", "Screening", "deletion_curves", "screen_channels"]


class Screening(NamedTuple):
    """A first-order profile of all bands, and the exact one of a few.

    Convention:
        ``agreement`` is the correlation, over images and checked bands, of first-order and exact changes: 1 where the
        model is linear in the bands, as a collapsed one nearly is; ``agreement_random`` the same over bands drawn at
        random, free of the choice; ``nan`` where nothing varies. ``missed``: share of the random bands whose exact
        change is larger than the smallest among the top ones.
    """

    first_order: ChannelProfile  # all bands
    exact: ChannelProfile  # the checked bands: top first, then random
    top: Tensor  # (k) int64, bands of the largest first-order values
    random: Tensor  # (r) int64, other bands
    agreement: Tensor  # () float64
    agreement_random: Tensor  # () float64
    missed: Tensor  # () float64, in [0, 1]; nan without random bands


class Curves(NamedTuple):
    """What is lost as more and more bands are replaced, in three orders.

    Convention:
        In nats, or units of the logit; the areas are means over the fraction of bands. A faithful profile has
        ``deletion`` above ``random`` and ``insertion`` below: the bands that it puts first lose most, and give most
        back.
    """

    fraction: Tensor  # (s) float64, share of the bands replaced (deletion, random) or given back (insertion), 0 to 1
    deletion: Tensor  # (s) lost with the most important replaced
    insertion: Tensor  # (s) lost with all replaced but the most important
    random: Tensor  # (s) lost with random ones replaced, mean over orders
    deletion_area: Tensor  # () float64
    insertion_area: Tensor  # () float64
    random_area: Tensor  # () float64


def screen_channels(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor | None,
    bands: BandsLike = None,
    baseline: str | float | Tensor = "mean",
    wavelengths: Any = None,
    unit: str | None = None,
    *,
    top: int = 8,
    random: int = 8,
    output: Output = "cross_entropy",
    channel_axis: int = 1,
    chunk_size: int = 64,
    seed: int = 0,
) -> Screening:
    """First-order changes of all bands by one gradient, and exact ones of the top bands and of some random others.

    Args:
        model: as for :func:`.attribute_channels`, as are the others.
        inputs: images.
        targets: class of each image or pixel, or None.
        bands: groups of channels.
        baseline: what replaces them.
        wavelengths: place of each channel.
        unit: of the axis.
        top: how many of the largest to check.
        random: how many others to check.
        output: the score.
        channel_axis: axis of the channels.
        chunk_size: the most images in one forward.
        seed: of the choice of the random ones.
    """
    axis = check_inputs(inputs, channel_axis, "ablation", None, chunk_size)
    every = resolve_groups(inputs, axis, bands, wavelengths, unit)
    common: dict[str, Any] = {
        "baseline": baseline,
        "output": output,
        "channel_axis": axis,
        "chunk_size": chunk_size,
    }
    first = attribute_channels(model, inputs, targets, "gradient_x_input", every, **common)
    order = first.values.abs().argsort(descending=True)
    best, others = order[:top], order[top:]
    drawn = others[torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))[:random]]
    checked = torch.cat([best, drawn])
    few = Bands(
        tuple(every.names[band] for band in checked.tolist()),
        every.members[checked],
        None if every.positions is None else every.positions[checked],
    )
    exact = attribute_channels(model, inputs, targets, "ablation", few, **common)
    cheap = first.changes[:, checked]
    known = ~exact.changes.isnan().any(1)
    sizes = exact.values.abs()
    return Screening(
        first,
        exact,
        best,
        drawn,
        pearson(cheap[known].flatten(), exact.changes[known].flatten()),
        pearson(cheap[known, len(best) :].flatten(), exact.changes[known, len(best) :].flatten()),
        (sizes[len(best) :] > sizes[: len(best)].min()).double().mean(),
    )


def deletion_curves(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor | None,
    profile: ChannelProfile,
    baseline: str | float | Tensor = "mean",
    *,
    steps: int = 10,
    orders: int = 3,
    channel_axis: int = 1,
    chunk_size: int = 64,
    seed: int = 0,
) -> Curves:
    """Replace bands in the order of a profile, largest first, in the opposite sense, and in random orders.

    Args:
        model: gives the logits.
        inputs: images, of the batch of the profile or of another.
        targets: class of each image or pixel, or None.
        profile: bands, their values, and the score.
        baseline: what replaces them.
        steps: number of steps from none to all.
        orders: number of random orders.
        channel_axis: axis of the channels.
        chunk_size: the most images in one forward.
        seed: of the random orders.
    """
    axis = check_inputs(inputs, channel_axis, "ablation", None, chunk_size)
    count = len(profile.names)
    sizes = torch.linspace(0, count, min(steps, count) + 1).round().long()
    best = profile.values.abs().argsort(descending=True)
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randperm(count, generator=generator) for _ in range(orders)]
    # What is left to give back is replaced from the least important on
    sets = torch.cat([_first(order, sizes) for order in (best, *drawn)] + [_first(best.flip(0), sizes)])
    output: Output = "logit" if profile.output == "logit" else "cross_entropy"
    with open_task(
        model, inputs, targets, profile.members, axis, baseline=baseline, output=output, chunk_size=chunk_size
    ) as task:
        scores, _ = score_sets(task, sets)
    lost = (scores[:1] - scores).nanmean(1).cpu().view(orders + 2, len(sizes))
    deletion, random, insertion = lost[0], lost[1:-1].mean(0), lost[-1].flip(0)
    fraction = sizes.double() / count
    areas = (torch.trapezoid(curve, fraction) for curve in (deletion, insertion, random))
    return Curves(fraction, deletion, insertion, random, *areas)


def _first(order: Tensor, sizes: Tensor) -> Tensor:
    """The first so many bands of an order; (s g), bool."""
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    return place < sizes[:, None]
