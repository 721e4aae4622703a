"""A fixed sample of the images of an evaluation, with what slices are looked for in; of bounded size."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_failures.callbacks.sampled_rows import SampledRows
from lightning_failures.functional.image_properties import image_properties
from lightning_failures.functional.slices import narrow_features
from lightning_failures.observe.observation import take_rows
from lightning_failures.reporting.contact_sheet import shown_channels

__all__ = ["MOST", "SampledImages", "SliceSample"]

#: Images of the sample, over all ranks, and pixels a side of the small pictures that are kept of them.
MOST, SIDE = 2048, 32


class SampledImages(NamedTuple):
    """What is known of the images of the sample; m of them, in the order of their places."""

    places: Tensor  # (m) int64, rows of the dataset, or of their arrival
    features: Tensor  # (m d)
    preds: Tensor  # (m) int64, -1 where there is no prediction
    target: Tensor  # (m) int64
    carried: Tensor  # (m f) bool, the user's factors
    groups: Tensor  # (m) int64; (0) without groups
    properties: dict[str, Tensor]  # of images; (m) each

    @classmethod
    def joined(cls, parts: "list[SampledImages]") -> "SampledImages":
        """Those of all batches, or of all ranks."""
        places = torch.cat([part.places for part in parts])
        order = places.argsort()
        columns = (
            torch.cat(column)[order] if len(column[0]) else column[0] for column in zip(*_plain(parts), strict=True)
        )
        features, preds, target, carried, groups = columns
        names = [name for name in parts[0].properties if all(name in part.properties for part in parts)]
        properties = {name: torch.cat([part.properties[name] for part in parts])[order] for name in names}
        return cls(places[order], features, preds, target, carried, groups, properties)


def _plain(parts: list[SampledImages]) -> list[tuple[Tensor, ...]]:
    return [(part.features, part.preds, part.target, part.carried, part.groups) for part in parts]


class SliceSample(SampledRows):
    """Keeps the sample of one rank as its batches pass by, on their device; see :class:`.SampledRows`.

    Args:
        batches: that are to come on this rank; infinitely many if unknown.
        ranks: of the run.
        rank: this one.
    """

    def __init__(self, batches: float, ranks: int = 1, rank: int = 0) -> None:
        super().__init__(MOST, batches, ranks, rank)
        self.channels: int | None = None  #: of the images; None before the first
        self._parts: list[SampledImages] = []
        self._pictures: list[Tensor] = []

    def add(
        self,
        kept: Tensor,
        places: Tensor,
        inputs: Tensor | None,
        features: Tensor,
        logits: Tensor,
        target: Tensor,
        carried: Tensor | None,
        groups: Tensor | None,
    ) -> None:
        """Keep some images of a batch; no device synchronisation.

        Args:
            kept: which ones; (k), int64, on the CPU.
            places: of them; (k), int64.
            inputs: (n b h w); None: no images.
            features: (n d).
            logits: (n c).
            target: (n).
            carried: factors; (n f). None: there are none.
            groups: (n). None: there are none.
        """
        if not len(kept):
            return
        scores = take_rows(logits, kept)
        none = torch.zeros(0, dtype=torch.int64)
        images = None if inputs is None else take_rows(inputs, kept)
        self._parts.append(
            SampledImages(
                places,
                narrow_features(take_rows(features, kept)),
                torch.where(scores.amax(1).isfinite(), scores.argmax(1), -1),
                take_rows(target, kept),
                torch.zeros(len(kept), 0, dtype=torch.bool) if carried is None else take_rows(carried, kept).bool(),
                none if groups is None else take_rows(groups, kept),
                {} if images is None else image_properties(images),
            )
        )
        if images is not None:
            self.channels = images.shape[1]
            self._pictures.append(_small(images))
        self.images += len(kept)

    def on_cpu(self) -> SampledImages | None:
        """What was kept; None where nothing was."""
        if not self._parts:
            return None
        return SampledImages.joined([_moved(part) for part in self._parts])

    def pictures(self, wanted: set[int]) -> dict[int, Tensor]:
        """Small pictures of those of some images that are here; place -> (b h w), float16, on the CPU.

        Args:
            wanted: their places.
        """
        if not self._pictures or not wanted:
            return {}
        places, pictures = torch.cat([part.places for part in self._parts]).tolist(), torch.cat(self._pictures)
        rows = {place: row for row, place in enumerate(places) if place in wanted}
        chosen = pictures[torch.tensor(list(rows.values()), dtype=torch.int64, device=pictures.device)].cpu()
        return dict(zip(rows, chosen.unbind(), strict=True))


def _small(images: Tensor) -> Tensor:
    """Small pictures of images; (k b h w), float16."""
    shown = images[:, shown_channels(images.shape[1])].float()
    size = min(SIDE, shown.shape[2]), min(SIDE, shown.shape[3])
    small = shown if size == tuple(shown.shape[2:]) else F.adaptive_avg_pool2d(shown, size)
    return small.clamp(-6e4, 6e4).half()


def _moved(part: SampledImages) -> SampledImages:
    moved: list[Any] = [value.cpu() if isinstance(value, Tensor) else value for value in part]
    moved[-1] = {name: value.cpu() for name, value in part.properties.items()}
    return SampledImages(*moved)
