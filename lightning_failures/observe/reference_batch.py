"""A fixed reference batch kept from images that pass by, and the mean spectra of images."""

import math

import torch
from einops import rearrange
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.empty_batches import never_empty
from lightning_failures.functional.moments import finite_images
from lightning_failures.observe.observation import take_rows

__all__ = ["ReferenceBatch", "donor_rows", "mean_spectra"]


def mean_spectra(inputs: Tensor) -> Tensor:
    """Mean of each channel over an image's positions; (n b), float32.

    Args:
        inputs: images (n b h w), sequences (n b t), or rows (n b), which are their own mean; any dtype.

    Example:
        >>> mean_spectra(torch.tensor([[[[1, 3], [1, 3]]]]))
        tensor([[2.]])
    """
    if inputs.ndim < 2:
        raise InputError(
            "mean_spectra", "inputs have no channel axis", str(tuple(inputs.shape)), "Give (n b), (n b t) or (n b h w)."
        )
    return rearrange(inputs.float(), "n b ... -> n b (...)").mean(2) if inputs.ndim > 2 else inputs.float()


@never_empty
def donor_rows(predictions: Tensor) -> Tensor:
    """For each image the next one, going round, whose prediction differs; itself where all agree; (n), int64.

    Example:
        >>> donor_rows(torch.tensor([0, 0, 1, 2]))
        tensor([2, 2, 3, 0])
    """
    rows = torch.arange(len(predictions), device=predictions.device)
    ahead = (rows[None] - rows[:, None]) % len(predictions)
    ahead = ahead.masked_fill(predictions[None] == predictions[:, None], len(predictions))
    return (rows + ahead.min(1).values) % len(predictions)


class ReferenceBatch:
    """Images spread evenly over the first evaluation, or epoch, kept on the CPU and the same ever after.

    Rows are taken evenly from every batch, so that a dataset sorted by class is covered; no random number is drawn.

    Args:
        images: number of images to keep on this rank.
    """

    def __init__(self, images: int) -> None:
        self.images = images
        self.inputs: Tensor | None = None
        self.logits: Tensor | None = None
        self.targets: Tensor | None = None
        self.factors: Tensor | None = None  #: which factors each image carries; (n f), bool
        self.groups: Tensor | None = None  #: which images belong together; (n), int64
        self.finite: Tensor | None = None  #: which images are free of NaN and infinity; (n), bool
        self._kept: list[tuple[Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None]] = []
        self._batches = math.inf
        self._seen = 0

    @property
    def complete(self) -> bool:
        """Whether the images are fixed."""
        return self.inputs is not None

    def begin(self, batches: float) -> None:
        """Start to keep: ``batches`` are to come, infinitely many if unknown."""
        self._kept = []
        self._batches, self._seen = batches, 0

    @property
    def kept(self) -> int:
        """Number of images that are kept so far."""
        return sum(len(each[0]) for each in self._kept) if self.inputs is None else len(self.inputs)

    def restrict(self, images: int) -> None:
        """Keep no more than so many images, where it is found that they are large."""
        if images < self.images and not self.complete:
            self.images = images

    def add(
        self,
        inputs: Tensor,
        logits: Tensor | None,
        targets: Tensor | None = None,
        factors: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> None:
        """Keep some rows of one batch with what is known of them; no device synchronisation.

        Args:
            inputs: (n b ...).
            logits: that the model gave; (n c ...).
            targets: (n) or (n h w).
            factors: which of them each image carries; (n f), bool.
            groups: which images belong together; (n), int64.
        """
        self._seen += 1
        known = math.isfinite(self._batches) and self._batches > 0
        due = min(math.ceil(self._seen * self.images / self._batches), self.images) if known else self.images
        count = min(due - self.kept, len(inputs))
        if not self.complete and count > 0:
            rows = torch.linspace(0, len(inputs) - 1, count).round().long()  # the same ones, wherever each of them is

            def taken(values: Tensor | None) -> Tensor | None:
                return None if values is None else take_rows(values, rows)

            self._kept.append((take_rows(inputs, rows), taken(logits), taken(targets), taken(factors), taken(groups)))

    def fix(self) -> bool:
        """Make what was kept the reference batch; whether it was made just now."""
        if self.complete or not self._kept:
            return False
        self.inputs = torch.cat([each[0].cpu() for each in self._kept])
        self.finite = finite_images(self.inputs)
        joined = (_joined([each[i] for each in self._kept]) for i in (1, 2, 3, 4))
        self.logits, self.targets, self.factors, self.groups = joined
        self._kept = []
        return True


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    """All of them, on the CPU; None where one is missing."""
    known = [part.cpu() for part in parts if part is not None]
    return torch.cat(known) if len(known) == len(parts) else None
