"""Linear probes of the layers of a network: how well a linear model of each tells the classes, and where that is lost.

The probes are :func:`.linear_discriminant` on the moments of one half of the images; the other half tests them.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor

from lightning_failures.functional.discriminant import UntappedCounts, count_untapped, untapped_information

__all__ = ["count_probes", "halves", "most_lost", "probe_statistics"]


def halves(places: Tensor) -> tuple[Tensor, Tensor]:
    """Which images the probes are fitted on, and which test them: every other one by its place.

    The place is the row in the dataset, so that any cut into batches and ranks splits the images alike.

    Args:
        places: of each image; (n), int64.

    Returns:
        Indices of the images at even places, and of those at odd ones; int64.

    Example:
        >>> import torch
        >>> halves(torch.tensor([4, 5, 7]))
        (tensor([0]), tensor([1, 2]))
    """
    odd = places % 2 == 1
    return (~odd).nonzero().squeeze(1), odd.nonzero().squeeze(1)


def count_probes(predictions: Mapping[str, Tensor], target: Tensor) -> dict[str, UntappedCounts]:
    """Who is right, image by image: each layer's probe against that of the layer before, the first against itself.

    Args:
        predictions: classes that each layer's probe predicts, -1 where it is undefined, in the order of the network;
            (n), int64.
        target: true classes; (n), int64, negative where unknown.
    """
    before = [*list(predictions)[:1], *predictions]
    pairs = [(name, predictions[last], predictions[name]) for last, name in pairwise(before)]
    return {name: count_untapped(last, own, target.to(own.device)) for name, last, own in pairs}


def probe_statistics(counts: Mapping[str, UntappedCounts]) -> dict[str, Tensor]:
    """Accuracy of each layer's probe, and what it gained or lost against the layer before.

    Convention:
        ``probe_accuracy/<layer>`` in [0, 1]; for each layer but the first ``probe_change/<layer>`` in [-1, 1], below 0
        where information is lost, with its paired 95% limits ``probe_change_low/<layer>`` and
        ``probe_change_high/<layer>``. ``nan`` without tested images, or with undefined probes. Where neighbouring
        images share their content, as overlapping patches and video frames do, accuracies read too high; their order
        over the layers still stands. The limits count images: where these come in groups they are too narrow.

    Args:
        counts: what :func:`count_probes` gave, summed over batches and ranks, in the order of the network.

    Returns:
        Each statistic; (), float64.

    Example:
        >>> import torch
        >>> predictions = {"early": torch.tensor([0, 1, 1]), "late": torch.tensor([0, 0, 1])}
        >>> values = probe_statistics(count_probes(predictions, torch.tensor([0, 1, 1])))
        >>> round(values["probe_accuracy/late"].item(), 3), round(values["probe_change/late"].item(), 3)
        (0.667, -0.333)
    """
    values: dict[str, Tensor] = {}
    for place, (name, pairs) in enumerate(counts.items()):
        found = untapped_information(pairs)
        values[f"probe_accuracy/{name}"] = found.reference_accuracy
        if place:
            values[f"probe_change/{name}"] = found.difference
            values[f"probe_change_low/{name}"] = found.low
            values[f"probe_change_high/{name}"] = found.high
    return values


def most_lost(values: Mapping[str, Tensor], layers: Sequence[str]) -> str | None:
    """The layer that loses most against the one before, among those that lose beyond chance; None without one.

    Args:
        values: what :func:`probe_statistics` gave.
        layers: their names, in the order of the network.
    """
    lost = [name for name in layers[1:] if bool(values[f"probe_change_high/{name}"] < 0)]
    return min(lost, key=lambda name: float(values[f"probe_change/{name}"]), default=None)
