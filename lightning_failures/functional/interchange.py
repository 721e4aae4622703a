"""Interchange on principal directions: whose prediction comes out when a donor image gets a receiver's coordinates.

Interchange interventions: Geiger, Lu, Icard and Potts, "Causal abstractions of neural networks" (2021); projections of
the input as a measure of simplicity: Morwani, Batra, Jain and Netrapalli, "Simplicity bias in 1-hidden layer neural
networks" (2023).
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.cues import by_pixel
from lightning_failures.functional.proportions import wilson

__all__ = [
    "ClassInterchangeCounts",
    "Interchange",
    "InterchangeCounts",
    "Level",
    "WorstClass",
    "count_interchange",
    "count_interchange_by_class",
    "decision_dimension",
    "interchange_inputs",
    "interchange_shares",
    "worst_class_of_interchange",
]

#: Where coordinates are swapped: in an image's mean spectrum, or in every pixel's spectrum.
Level = Literal["image", "pixel"]


class InterchangeCounts(NamedTuple):
    """What came out of swaps; adds up across batches and across ranks."""

    own: Tensor  # (r) int64, swaps that predict as the receiver
    donor: Tensor  # (r) int64, swaps that predict as the donor
    pairs: Tensor  # () int64, pairs whose own predictions differ

    @classmethod
    def zero(cls, num_ranks: int) -> "InterchangeCounts":
        """The counts of no pairs."""
        counts = torch.zeros(num_ranks, dtype=torch.int64)
        return cls(counts, counts, torch.zeros((), dtype=torch.int64))


class Interchange(NamedTuple):
    """Shares of the pairs, one per rank; each (r), float64."""

    own: Tensor
    own_low: Tensor
    own_high: Tensor
    donor: Tensor


def interchange_inputs(receivers: Tensor, donors: Tensor, directions: Tensor, level: Level = "image") -> Tensor:
    """Donor images with the receivers' coordinates on some directions of the channels.

    At image level a donor's mean spectrum gets the receiver's coordinates, and every pixel moves along by the same
    spectrum: ``donor + P P' (mean of receiver - mean of donor)``. At pixel level every pixel gets the coordinates of
    the receiver's pixel at its place: ``donor + P P' (receiver - donor)``; the mean about which coordinates are taken
    cancels.

    Args:
        receivers: images, or spectra; (n b h w) or (n b), any number.
        donors: as many, with the same channels, and at pixel level the same size.
        directions: orthonormal directions of the channels as columns; (b r).
        level: "image" or "pixel"; the same for spectra.

    Returns:
        Like the donors, float32 where they are integers; (n b h w) or (n b).

    Raises:
        InputError: shapes that do not fit, or another level.

    Example:
        >>> receivers, donors = torch.tensor([[1.0, 2.0]]), torch.tensor([[5.0, 6.0]])
        >>> interchange_inputs(receivers, donors, torch.tensor([[1.0], [0.0]]))
        tensor([[1., 6.]])
    """
    _check(receivers, donors, directions, level)
    # integers and half precision would round the swap away
    exact = torch.float64 if donors.dtype == torch.float64 else torch.float32
    own, theirs = (by_pixel(images.to(exact)) for images in (receivers, donors))
    change = own.mean(2, keepdim=True) - theirs.mean(2, keepdim=True) if level == "image" else own - theirs
    onto = directions.to(own)
    swapped = theirs + torch.einsum("br,cr,ncp->nbp", onto, onto, change)
    return swapped.reshape(donors.shape).to(donors.dtype if donors.is_floating_point() else exact)


def count_interchange(own_preds: Tensor, donor_preds: Tensor, swapped_preds: Tensor) -> InterchangeCounts:
    """Count whose prediction came out, over the pairs whose predictions differ.

    Args:
        own_preds: classes predicted for the receivers; (n ...), int64.
        donor_preds: classes predicted for the donors; (n ...), int64.
        swapped_preds: classes predicted for donors with the receivers' coordinates, one rank per column;
            (n ... r), int64.
    """
    own, donor = (rearrange(preds, "n ... -> (n ...) 1") for preds in (own_preds, donor_preds))
    swapped = rearrange(swapped_preds, "n ... r -> (n ...) r")
    differ = own != donor
    return InterchangeCounts(
        (differ & (swapped == own)).sum(0),
        (differ & (swapped == donor)).sum(0),
        differ.sum(),
    )


def interchange_shares(counts: InterchangeCounts) -> Interchange:
    """Share of the pairs whose swap predicts as the receiver, and share that predicts as the donor.

    Convention:
        In [0, 1]; they add up to at most 1. ``own`` near 1: the decisions hang on these directions alone; near 0:
        on anything else. ``own_low`` and ``own_high`` are Wilson's 95% limits of ``own``, which take pairs as
        independent, those of one patient or slide too: a pair has two images, of as many groups, so that no one group
        is its own. :class:`.TransplantShares` tells pairs within groups from those across. ``nan`` without pairs.

    Returns:
        One of each a rank; (r), float64.

    Example:
        >>> interchange_shares(InterchangeCounts(torch.tensor([3, 4]), torch.tensor([1, 0]), torch.tensor(4))).own
        tensor([0.7500, 1.0000], dtype=torch.float64)
    """
    own = counts.own / counts.pairs.double()
    low, high = wilson(counts.own, counts.pairs.expand_as(counts.own))
    return Interchange(own, low, high, counts.donor / counts.pairs.double())


def decision_dimension(counts: InterchangeCounts, ranks: Sequence[int], threshold: float = 0.9) -> Tensor:
    """The smallest number of directions that carries the receiver's prediction along.

    Args:
        counts: of swaps at each rank.
        ranks: how many directions were swapped, ascending; as many as the counts have.
        threshold: share of pairs that must predict as the receiver.

    Convention:
        A number of directions. At image level 1 means that the decisions hang on one scalar per image; at pixel level
        it is the number of spectral directions that they need. ``nan`` without pairs, and where no rank reaches the
        threshold.

    Returns:
        One of the ranks; (), float64.

    Example:
        >>> counts = InterchangeCounts(torch.tensor([30, 40]), torch.tensor([10, 0]), torch.tensor(40))
        >>> decision_dimension(counts, ranks=(1, 2))
        tensor(2., dtype=torch.float64)
    """
    reached = interchange_shares(counts).own >= threshold
    candidates = torch.tensor(ranks, dtype=torch.float64).to(reached.device)
    smallest = torch.where(reached, candidates, torch.inf).min()
    return torch.where(smallest.isinf(), torch.nan, smallest)


def _check(receivers: Tensor, donors: Tensor, directions: Tensor, level: str) -> None:
    where = "interchange_inputs"
    shapes = f"receivers {tuple(receivers.shape)}, donors {tuple(donors.shape)}, directions {tuple(directions.shape)}"
    if level not in ("image", "pixel"):
        raise InputError(where, "no such level", repr(level), 'Pass "image" or "pixel".')
    if receivers.ndim < 2 or receivers.shape[:2] != donors.shape[:2]:
        raise InputError(
            where, "receivers and donors are no pairs", shapes, "Pass as many of both, (n b h w) or (n b)."
        )
    if level == "pixel" and receivers.shape != donors.shape:
        raise InputError(where, "pixels have no partners", shapes, 'Pass images of one size, or level="image".')
    if directions.ndim != 2 or len(directions) != donors.shape[1]:
        raise InputError(where, "directions do not fit the channels", shapes, "Pass one row per channel: (b r).")


#: Pairs below which a class says nothing by itself.
FEWEST_PAIRS = 8


class ClassInterchangeCounts(NamedTuple):
    """What came out of swaps by the class that the receiver was put into; adds up across batches and ranks."""

    class_own: Tensor  # (k c) int64, swaps of each cue that predict as the receiver
    class_pairs: Tensor  # (c) int64, pairs whose own predictions differ

    @classmethod
    def zero(cls, num_cues: int, num_classes: int) -> "ClassInterchangeCounts":
        """The counts of no pairs."""
        return cls(torch.zeros(num_cues, num_classes, dtype=torch.int64), torch.zeros(num_classes, dtype=torch.int64))


class WorstClass(NamedTuple):
    """The class whose predictions follow each cue most; each (k), float64."""

    share: Tensor
    low: Tensor
    label: Tensor


def count_interchange_by_class(
    own_preds: Tensor, donor_preds: Tensor, swapped_preds: Tensor, num_classes: int
) -> ClassInterchangeCounts:
    """As :func:`count_interchange`, by the class that the receiver was put into.

    Args:
        own_preds: classes predicted for the receivers; (n ...), int64. A pair of a class outside [0, c) is left out.
        donor_preds: classes predicted for the donors; (n ...), int64.
        swapped_preds: classes predicted for donors with what the receivers have, one cue per column; (n ... k), int64.
        num_classes: number of classes c.
    """
    own, donor = (rearrange(preds, "n ... -> (n ...)") for preds in (own_preds, donor_preds))
    swapped = rearrange(swapped_preds, "n ... k -> k (n ...)")
    differ = (own != donor) & (own >= 0) & (own < num_classes)
    place = torch.where(differ, own, 0)
    follows = (differ & (swapped == own)).long()
    none = follows.new_zeros(len(swapped), num_classes)
    return ClassInterchangeCounts(
        none.index_add(1, place, follows), follows.new_zeros(num_classes).index_add(0, place, differ.long())
    )


def worst_class_of_interchange(counts: ClassInterchangeCounts) -> WorstClass:
    """The class of which the largest share of predictions follows each cue: one class is diluted among many.

    Convention:
        Shares in [0, 1], near 1: the cue decides this class. The lower end is Wilson's, of 95% for all classes together
        (Bonferroni), since the largest of several shares reads too high. Classes with fewer than 8 pairs are left out;
        ``nan`` where that leaves none.

    Returns:
        Share, lower end and class of each cue; (k), float64.

    Example:
        >>> counts = ClassInterchangeCounts(torch.tensor([[1, 20]]), torch.tensor([20, 20]))
        >>> worst = worst_class_of_interchange(counts)
        >>> worst.share, worst.label
        (tensor([1.], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """
    enough = counts.class_pairs >= FEWEST_PAIRS
    shares = torch.where(enough, counts.class_own.double() / counts.class_pairs.double(), -1.0)
    low = wilson(counts.class_own, counts.class_pairs.expand_as(counts.class_own), 1 - 0.05 / max(1, int(enough.sum())))
    share, label = shares.max(1)
    known = share >= 0
    at_label = low.low.gather(1, label[:, None])[:, 0]
    return WorstClass(*(torch.where(known, value, torch.nan) for value in (share, at_label, label.double())))
