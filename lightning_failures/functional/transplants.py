"""Whose prediction comes out when only one kind of content is exchanged between two images, and what chance gives.

A receiver is given one content of a donor that is predicted otherwise. The *donor share* counts those that now predict
as the donor, the *own share* those that still predict as the receiver; what is left predicts as neither. If a small and
poor content carries the decision, the model leans on it. What the exchange itself disturbs is measured by a matched
control: the same content from a donor with the receiver's own prediction.

Exchange as an intervention: Geiger, Lu, Icard and Potts, "Causal abstractions of neural networks" (2021). Intervals:
Wilson's, and for the paired difference from the control Newcombe's method 10, Statistics in Medicine 17 (1998), with
the effective sample size of Kish, "Survey Sampling" (1965), where an image has several answers.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from lightning_failures.functional.clusters import clustered_rate
from lightning_failures.functional.paired_accuracy import accuracy_difference
from lightning_failures.functional.proportions import Interval, wilson

__all__ = [
    "NOT_RUN",
    "TransplantCounts",
    "TransplantFigures",
    "beyond_smaller",
    "control_rows",
    "count_transplants",
    "leads",
    "transplant_shares",
    "transplants_of_images",
]

#: Share of pairs that predict as the donor, and how many more of them than as the receiver, from which a content
#: carries the decision. Measured on digits with four networks at the end of training (docs/transplants.md): of planted
#: cues that more than half of the predictions follow, 88% have as much; contents of networks that lean on no cue have
#: less than what stays, but for the middle of the image, where the object is.
CARRIES, LEADS = 0.35, 0.1

#: Stands for the prediction of a control that was not run.
NOT_RUN = -2


class TransplantCounts(NamedTuple):
    """What came out of transplants of k contents; adds up across batches and across ranks.

    An answer is an image's class, or a pixel's, or the yes or no of one of several labels. Only answers that differ
    between receiver and donor are counted.
    """

    transplant_donor: Tensor  # (k) int64, answers that became the donor's
    transplant_own: Tensor  # (k) int64, answers that stayed the receiver's
    pairs: Tensor  # () int64, answers that were compared
    pair_squares: Tensor  # () int64, sum over the images of the square of their number of these
    both: Tensor  # (k) int64, with a control: answers that became the donor's by the transplant and by the control
    transplant_only: Tensor  # (k) int64, by the transplant alone
    control_only: Tensor  # (k) int64, by the control alone
    controlled: Tensor  # (k) int64, answers with a control
    controlled_squares: Tensor  # (k) int64, sum over the images of the square of their number of these

    @classmethod
    def zero(cls, num_contents: int) -> "TransplantCounts":
        """The counts of no pairs."""
        by_content, one = torch.zeros(num_contents, dtype=torch.int64), torch.zeros((), dtype=torch.int64)
        return cls(by_content, by_content, one, one, *[by_content] * 5)


class TransplantFigures(NamedTuple):
    """What :func:`transplant_shares` gives, one per content; each (k), float64."""

    donor: Tensor
    donor_low: Tensor
    donor_high: Tensor
    own: Tensor
    own_low: Tensor
    own_high: Tensor
    off_manifold: Tensor
    control: Tensor
    excess: Tensor
    excess_low: Tensor
    excess_high: Tensor


def control_rows(predictions: Tensor) -> Tensor:
    """For each image the next other one, going round, that is predicted most nearly as it is: the matched control.

    Args:
        predictions: classes (n), maps of them (n h w), or several labels per image (n l); int64.

    Returns:
        Itself for a single image; (n), int64.

    Example:
        >>> control_rows(torch.tensor([0, 1, 0, 1]))
        tensor([2, 3, 0, 1])
    """
    n = len(predictions)
    rows = torch.arange(n, device=predictions.device)
    if n < 2:
        return rows
    flat = rearrange(predictions, "n ... -> n (...)")
    agreeing = torch.stack([(flat == row).sum(1) for row in flat]).fill_diagonal_(-1)
    ahead = (rows[None] - rows[:, None]) % n
    nearest = ahead.masked_fill(agreeing < agreeing.max(1, keepdim=True).values, n).min(1).values
    return (rows + nearest) % n


def count_transplants(
    own_preds: Tensor,
    donor_preds: Tensor,
    transplanted_preds: Tensor,
    control_preds: Tensor | None = None,
    controlled: Tensor | None = None,
) -> TransplantCounts:
    """Count whose prediction came out, over the answers that differ between receiver and donor.

    Args:
        own_preds: predicted for the receivers: classes (n), maps of them (n h w), or 0 and 1 for several labels (n l);
            int64. An answer below 0 is none, and is left out.
        donor_preds: predicted for the donors; the same shape.
        transplanted_preds: predicted for the receivers with one content of the donors, a content a column; (n ... k).
        control_preds: the same with the contents of images that are predicted as the receivers; (n ... k).
            :data:`NOT_RUN` where no control was run. None: none was.
        controlled: which answers have a control, that is where that image's prediction is the receiver's; the shape of
            ``own_preds``, bool. None: all, where a control was run.
    """
    of_images = transplants_of_images(own_preds, donor_preds, transplanted_preds, control_preds, controlled)
    return TransplantCounts(*(count.sum(0) for count in of_images))


def transplants_of_images(
    own_preds: Tensor,
    donor_preds: Tensor,
    transplanted_preds: Tensor,
    control_preds: Tensor | None = None,
    controlled: Tensor | None = None,
) -> TransplantCounts:
    """What each receiver adds to :func:`count_transplants`, so that it can be added up by group; (n k) and (n).

    Args:
        own_preds: as there.
        donor_preds: as there.
        transplanted_preds: as there.
        control_preds: as there.
        controlled: as there.
    """
    own, donor = (rearrange(preds, "n ... -> n (...)") for preds in (own_preds, donor_preds))
    moved = rearrange(transplanted_preds, "n ... k -> k n (...)")
    differ = (own != donor) & (own >= 0) & (donor >= 0)
    as_donor = differ & (moved == donor)
    if control_preds is None:
        known, by_control = torch.zeros_like(as_donor), torch.zeros_like(as_donor)
    else:
        control = rearrange(control_preds, "n ... k -> k n (...)")
        known = differ if controlled is None else differ & rearrange(controlled, "n ... -> n (...)")
        known, by_control = known & (control != NOT_RUN), control == donor
    return TransplantCounts(
        as_donor.sum(2).T,
        (differ & (moved == own)).sum(2).T,
        differ.sum(1),
        differ.sum(1).square(),
        (known & as_donor & by_control).sum(2).T,
        (known & as_donor & ~by_control).sum(2).T,
        (known & ~as_donor & by_control).sum(2).T,
        known.sum(2).T,
        known.sum(2).square().T,
    )


def transplant_shares(counts: TransplantCounts, by_group: TransplantCounts | None = None) -> TransplantFigures:
    """Share of the transplants that predict as the donor, as the receiver and as neither, less what chance gives.

    Convention:
        ``donor`` and ``own`` in [0, 1], with Wilson's 95% limits: ``donor`` near 1: this content carries the decision;
        near 0: it does not. ``off_manifold`` is what is left, in [0, 1]: large where the result is like no image that
        the model knows; with two classes it is always 0, and the control alone shows it. ``control`` is the share that
        predicts as the donor though the content came from an image predicted as the receiver; ``excess`` is what the
        donor share has above it on the same pairs, in [-1, 1], with its paired 95% limits: above 0 the content itself
        carries the decision beyond what any exchange disturbs. Where an image has several answers, pixels or labels,
        they go together: limits are those of as many independent answers as Kish's effective sample size, which is at
        most the number of images. Donors that serve several receivers are taken as independent. With groups the limits
        count groups of receivers, see :mod:`.clusters`. ``nan`` without pairs, and from ``control`` on without a
        control; the limits also below :data:`.FEWEST_GROUPS` groups.

    Args:
        counts: the counts.
        by_group: the same counts of each group of receivers that belong together; (g k) and (g). None: they are
            independent.

    Returns:
        One of each a content; (k), float64.

    Example:
        >>> own, donor = torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 0, 0])
        >>> transplanted, control = torch.tensor([[1], [1], [0], [1]]), torch.tensor([[0], [0], [0], [1]])
        >>> figures = transplant_shares(count_transplants(own, donor, transplanted, control))
        >>> figures.donor, figures.excess
        (tensor([0.7500], dtype=torch.float64), tensor([0.5000], dtype=torch.float64))
    """
    pairs = counts.pairs.double()
    independent = (pairs.square() / counts.pair_squares).expand_as(counts.transplant_donor)
    donor, own = counts.transplant_donor / pairs, counts.transplant_own / pairs
    if by_group is None:
        donor_limits, own_limits = (wilson(share * independent, independent) for share in (donor, own))
    else:
        seen = by_group.pairs[:, None].expand_as(by_group.transplant_donor)
        rates = [clustered_rate(some, seen) for some in (by_group.transplant_donor, by_group.transplant_own)]
        donor_limits, own_limits = (Interval(rate.low, rate.high) for rate in rates)
    neither = (counts.pairs - counts.transplant_donor - counts.transplant_own) / pairs

    controlled = counts.controlled.double()
    shares = [count / controlled for count in (counts.both, counts.transplant_only, counts.control_only)]
    shares.append((counts.controlled - counts.both - counts.transplant_only - counts.control_only) / controlled)
    groups = None
    if by_group is not None:
        known = (by_group.both, by_group.transplant_only, by_group.control_only)
        groups = (*known, by_group.controlled - torch.stack(known).sum(0))
    both, only, other, none = (share * (controlled.square() / counts.controlled_squares) for share in shares)
    excess = accuracy_difference(both, only, other, none, by_group=groups)
    control = (counts.both + counts.control_only) / controlled
    return TransplantFigures(donor, *donor_limits, own, *own_limits, neither, control, *excess)


def leads(donor: float, own: float) -> bool:
    """Whether a content carries the decision: it decides more than all else together.

    Args:
        donor: share of pairs that predict as the donor: :data:`CARRIES` at least.
        own: share that predicts as the receiver: :data:`LEADS` less at least.
    """
    return donor >= CARRIES and donor - own >= LEADS


def beyond_smaller(donor: Tensor, own: Tensor, rank: Tensor, baseline: Tensor) -> Tensor:
    """What each content carries beyond what it always does, and beyond smaller ones that carry the decision already.

    What a smaller content that :func:`leads` carries is taken off, so that the smallest content that carries the
    decision is left and all that hold it too are not. Of two contents of one rank, the one with the larger share counts
    as the smaller.

    Args:
        donor: shares that predict as the donor; (k), float64.
        own: shares that predict as the receiver; (k), float64.
        rank: how rich each content is, from 0; (k), int64.
        baseline: what each carries in networks that do not lean on it; (k), float64.

    Convention:
        In [0, 1]: near 1: this content carries the decision, and no smaller one does; near 0: it does not, or a smaller
        one does. ``nan`` where the shares are; a content whose shares are ``nan`` explains no other one.

    Example:
        >>> donor, own = torch.tensor([0.05, 0.9, 0.95]), torch.tensor([0.9, 0.05, 0.0])
        >>> beyond_smaller(donor, own, torch.tensor([0, 1, 2]), torch.tensor([0.0, 0.0, 0.2]))
        tensor([0.0500, 0.9000, 0.0500])
    """
    leading = (donor >= CARRIES) & (donor - own >= LEADS)
    place = torch.arange(len(donor), device=donor.device)
    before = (donor[:, None] > donor) | ((donor[:, None] == donor) & (place[:, None] < place))
    explains = leading[:, None] & ((rank[:, None] < rank) | ((rank[:, None] == rank) & before))  # (smaller, larger)
    taken = torch.where(explains, donor[:, None], baseline).amax(0) if len(donor) else donor
    return (donor - taken).clamp(min=0)
