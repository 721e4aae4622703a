"""Transplants, streamed: the metric over :mod:`lightning_failures.functional.transplants`."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.transplants import (
    TransplantCounts,
    count_transplants,
    transplant_shares,
    transplants_of_images,
)
from lightning_failures.metrics.base import ALL_GROUPS, GroupedMetric, check_groups
from lightning_failures.metrics.simplicity import NO_PAIRS
from lightning_failures.records.term import Term

__all__ = ["TransplantShares"]

_NO_CONTROL = f"{NO_PAIRS}, or none whose image has another one that is predicted alike"


class TransplantShares(GroupedMetric[TransplantCounts]):
    """Whose prediction comes out when an image is given one kind of content of another image.

    ``compute`` returns, for each content, ``donor/<content>``, ``own/<content>``, ``off_manifold/<content>``,
    ``control/<content>`` and ``excess/<content>``, the first two and the last with 95% limits in
    ``donor_low/<content>``, ``donor_high/<content>`` and so on, see :func:`.transplant_shares`;
    ``controlled/<content>``, and ``pairs``.

    Args:
        contents: names, one per column of the predictions for transplants.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: a name stands twice; in ``update`` predictions that do not belong together.

    Example:
        >>> import torch
        >>> metric = TransplantShares(["level", "border"])
        >>> own, donor = torch.tensor([0, 1]), torch.tensor([1, 0])
        >>> metric.update(own, donor, torch.stack([donor, own], 1))
        >>> metric.compute()["donor/level"], metric.compute()["own/border"]
        (tensor(1., dtype=torch.float64), tensor(1., dtype=torch.float64))
    """

    counts_groups = ("donor_low", "donor_high", "own_low", "own_high", "excess_low", "excess_high")

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "donor/*",
            "Content exchanged (donor)",
            "An image, the receiver, is given one kind of content of another one, the donor, that is predicted "
            "otherwise. Share of pairs whose prediction then is the donor's.",
            "0 to 1",
            "near 1: this content decides; near 0: it does not",
            when_nan=NO_PAIRS,
        ),
        Term(
            "donor_low/*",
            "Content exchanged (donor), lower end",
            "Lower end of the 95% interval of that share.",
            "0 to 1",
            "near 1: this content decides beyond chance",
            when_nan=NO_PAIRS,
        ),
        Term(
            "donor_high/*",
            "Content exchanged (donor), upper end",
            "Upper end of the 95% interval of that share.",
            "0 to 1",
            "near 0: this content does not decide, beyond chance",
            when_nan=NO_PAIRS,
        ),
        Term(
            "own/*",
            "Content exchanged (own)",
            "The same exchange: share of pairs whose prediction stays the receiver's.",
            "0 to 1",
            "near 1: all that was not exchanged decides",
            when_nan=NO_PAIRS,
        ),
        Term(
            "own_low/*",
            "Content exchanged (own), lower end",
            "Lower end of the 95% interval of that share.",
            "0 to 1",
            "near 1: all that was not exchanged decides, beyond chance",
            when_nan=NO_PAIRS,
        ),
        Term(
            "own_high/*",
            "Content exchanged (own), upper end",
            "Upper end of the 95% interval of that share.",
            "0 to 1",
            "near 0: what is left alone does not decide, beyond chance",
            when_nan=NO_PAIRS,
        ),
        Term(
            "off_manifold/*",
            "Content exchanged (neither)",
            "The same exchange: share of pairs whose prediction is neither the donor's nor the receiver's.",
            "0 to 1; 0 with two classes",
            "large: the exchange made images like none that the network knows",
            when_nan=NO_PAIRS,
        ),
        Term(
            "control/*",
            "Content exchanged with an image predicted alike",
            "The same content from an image with the receiver's own prediction: share of pairs whose prediction still "
            "is the donor's. So much does the exchange itself disturb.",
            "0 to 1",
            "near 0 is healthy",
            when_nan=_NO_CONTROL,
        ),
        Term(
            "excess/*",
            "Content exchanged (donor), less the control",
            "Share of pairs whose prediction is the donor's by its content, minus that by the content of an image "
            "predicted as the receiver, on the same pairs.",
            "-1 to 1",
            "near 1: this content decides; near 0: it does not",
            when_nan=_NO_CONTROL,
        ),
        Term(
            "excess_low/*",
            "Content exchanged (donor), less the control, lower end",
            "Lower end of the paired 95% interval of that difference.",
            "-1 to 1",
            "above 0: this content carries some of the decision beyond chance",
            when_nan=_NO_CONTROL,
        ),
        Term(
            "excess_high/*",
            "Content exchanged (donor), less the control, upper end",
            "Upper end of the paired 95% interval of that difference.",
            "-1 to 1",
            "near 0: this content does not decide, beyond chance",
            when_nan=_NO_CONTROL,
        ),
        Term(
            "pairs",
            "Pairs of the exchange",
            "Pairs of images, of pixels or of labels, whose own predictions differ; only these count.",
            "0 upwards",
            "describes",
            "pairs",
        ),
        Term(
            "controlled/*",
            "Pairs with a control",
            "Pairs of the exchange for which another image is predicted as the receiver, and was run.",
            "0 upwards",
            "describes",
            "pairs",
        ),
        ALL_GROUPS,
    )

    def __init__(self, contents: Sequence[str], **kwargs: Any) -> None:
        self.contents = tuple(contents)
        if len(set(self.contents)) < len(self.contents):
            raise InputError("TransplantShares", "a name stands twice", ", ".join(self.contents), "Name each one once.")
        super().__init__(TransplantCounts.zero(len(self.contents)), **kwargs)

    def update(
        self,
        own_preds: Tensor,
        donor_preds: Tensor,
        transplanted_preds: Tensor,
        control_preds: Tensor | None = None,
        controlled: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> None:
        """Add the predictions of pairs, int64; see :func:`.count_transplants`.

        Args:
            own_preds: of the receivers: classes (n), maps of them (n h w), or 0 and 1 for several labels (n l).
            donor_preds: of the donors; the same shape.
            transplanted_preds: of the receivers with one content of the donors, a content a column; (n ... k).
            control_preds: the same with contents of images predicted as the receivers; (n ... k).
                :data:`.NOT_RUN` where no control was run. None: none was.
            controlled: which answers have a control; the shape of ``own_preds``, bool. None: all.
            groups: which receivers belong together, any number for each group; (n), int. None: they are independent.
                With every batch or with none.

        Raises:
            InputError: shapes that are not of the same pairs and of these contents, or groups that are not one for each
                receiver.
        """
        expected = (*own_preds.shape, len(self.contents))
        control = transplanted_preds if control_preds is None else control_preds
        known = own_preds if controlled is None else controlled
        if (
            donor_preds.shape != own_preds.shape
            or transplanted_preds.shape != expected
            or control.shape != expected
            or known.shape != own_preds.shape
        ):
            raise InputError(
                "TransplantShares.update",
                "predictions do not belong to the same pairs and contents",
                f"own {tuple(own_preds.shape)}, donor {tuple(donor_preds.shape)}, transplanted "
                f"{tuple(transplanted_preds.shape)}, control {tuple(control.shape)}, controlled {tuple(known.shape)} "
                f"for {', '.join(self.contents)}",
                "Pass one answer a pair, and one column per content: (n), (n) and (n k).",
            )
        check_groups("TransplantShares.update", groups, len(own_preds))
        given = (own_preds, donor_preds, transplanted_preds, control_preds, controlled)
        self.add(count_transplants(*given))
        self.add_groups(groups, len(own_preds), lambda: transplants_of_images(*given))

    def compute(self) -> dict[str, Tensor]:
        """Every share by content, and the pairs that they rest on."""
        sums, by_group = self.sums, self.by_group
        shares = transplant_shares(sums if by_group is None else self.sums_on_cpu, by_group)._asdict()
        shares["controlled"] = sums.controlled.double()
        values = {
            f"{name}/{content}": value[k] for name, value in shares.items() for k, content in enumerate(self.contents)
        }
        if by_group is not None:
            values["groups/all"] = (by_group.pairs > 0).sum()
        return {**values, "pairs": sums.pairs.double()}
