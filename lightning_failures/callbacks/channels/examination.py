"""One examination of a model on the reference batch: what it loses without each band, and what each channel carries."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from lightning_failures.attribution.attribution import DRAWS, NULL_POINTS, Method, attribute_channels
from lightning_failures.attribution.null_models import Null
from lightning_failures.callbacks.channels.course import BandProfile, ChannelCourse
from lightning_failures.functional.channels import jensen_shannon, spearman
from lightning_failures.functional.moments import finite_images
from lightning_failures.metrics.channels import ChannelDependence, ChannelSignal
from lightning_failures.observe.logits import logits_of
from lightning_failures.observe.undisturbed import ordinary, undisturbed, unwrapped
from lightning_failures.spectrum.layout import Layout

__all__ = ["ChannelExamination", "How"]

MOST_KEYS = 32  # bands with scalars of their own
MOST_LOGITS = 1024  # whose correlations with the channels are kept
GRADIENTS = ("gradient_x_input", "integrated_gradients", "expected_gradients")  # which change all bands at once
BY_BAND = ("change", "error", "share")
# What the metric gives and is no scalar of a run: two say once more how few bands have it all, as effective_channels
# does, and the floors of the bands are drawn.
NOT_LOGGED = frozenset({"entropy_channels", "gini", "band_floor"})


class How(NamedTuple):
    """How the model is attributed; see :func:`.attribute_channels`."""

    method: Method
    null: Null | None
    baseline: str | float | Tensor  # what replaces a band
    target: Literal["true", "predicted"]
    channel_axis: int
    chunk: int = 64

    def passes(self, bands: int) -> float:
        """How often an examination runs each image: once as it is, and for the changes, of a null model too."""
        draws = DRAWS[self.method] or NULL_POINTS
        changes = draws if self.method in GRADIENTS else draws * bands
        return 2 + changes * (1 + (self.null in ("head", "channels")))


class ChannelExamination:
    """Sums of one examination, by band, and the figures that they give.

    Args:
        layout: bands and axis.
        classes: number of logits, 1 or more.
        how: how the model is attributed.
    """

    def __init__(self, layout: Layout, classes: int, how: How) -> None:
        self.layout, self.classes, self.how = layout, classes, how
        self.dependence = ChannelDependence(layout.names, layout.bands.positions)
        self.signal = ChannelSignal(layout.num_channels, min(classes, MOST_LOGITS))

    def reset(self, device: torch.device) -> None:
        """Forget all images."""
        self.dependence.to(device).reset()
        self.signal.to(device).reset()

    def run(
        self,
        model: nn.Module,
        inputs: Tensor,
        targets: Tensor | None,
        precision: Callable[[], AbstractContextManager[object]],
    ) -> None:
        """Replace the bands of a batch, and run it once as it is.

        Args:
            model: gives the logits; in any mode, and left in it.
            inputs: this rank's images, (n C h w) or with the channels on the axis that ``how`` names; uint8 ones are
                made float.
            targets: their labels, (n) or (n h w); those that are no class do not count. None: what the model predicts.
            precision: makes the context of mixed precision.
        """
        model, how = unwrapped(model), self.how
        images = ordinary(inputs if inputs.is_floating_point() else inputs.float())
        usable = finite_images(images)
        if not bool(usable.all()):  # left out here, so that the warning is not given at every evaluation
            images = images[usable]
            targets = None if targets is None else targets[usable.to(targets.device)]
        if not len(images):
            return
        if targets is None or how.target == "predicted":
            counted = None
        else:
            known = (targets >= 0) & (targets < max(2, self.classes))  # one logit tells two classes apart
            counted = torch.where(known, targets, -100).to(images.device)
        with precision():
            profile = attribute_channels(
                model,
                images,
                counted,
                how.method,
                self.layout.bands,
                how.baseline,
                null=how.null,
                channel_axis=how.channel_axis,
                chunk_size=how.chunk,
                where="ChannelAttributionMonitor",
            )
        with undisturbed(model, images.device, precision), torch.no_grad():
            logits = torch.cat([logits_of(model(part.clone())).float() for part in images.split(how.chunk)])
        self.dependence.to(images.device).update(profile)
        few = logits if logits.ndim == 1 else logits[:, :MOST_LOGITS]
        self.signal.to(images.device).update(images, few, how.channel_axis)

    def compute(self, course: ChannelCourse, before: BandProfile | None) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Statistic -> value, of all ranks, and why those that are nan are; fills the last profile of a course.

        Args:
            course: whose last profile has an epoch and a step, and is filled.
            before: the evaluation to compare with.
        """
        found, spectra = self.dependence.compute(), self.signal.spectra()
        columns = {key: torch.stack([found[f"{key}/{name}"] for name in self.layout.names]).cpu() for key in BY_BAND}
        last = course.profiles[-1]
        last.change, last.error, last.share = (columns[key].tolist() for key in BY_BAND)
        last.floors = torch.stack([found[f"band_floor/{name}"] for name in self.layout.names]).tolist()
        last.total = float(found["total"])
        course.mean, course.deviation, course.pattern = (part.tolist() for part in spectra)

        left_out = set(NOT_LOGGED) | (set(BY_BAND) if len(self.layout.names) > MOST_KEYS else set())
        left_out |= {"total"} if bool(found["total"].isnan()) else set()
        left_out |= {"centroid"} if self.layout.axis is None else set()
        values = {key: value for key, value in found.items() if key.split("/")[0] not in left_out}
        undefined = {key: why for key, why in self.dependence.undefined.items() if key in values}
        stability, why = _stability(columns, before)
        undefined |= {key: why for key, value in stability.items() if bool(value.isnan())}
        return values | stability, undefined


def _stability(columns: dict[str, Tensor], before: BandProfile | None) -> tuple[dict[str, Tensor], str]:
    """How much of the evaluation before came again, and why that may not be known."""
    if before is None:
        nothing = torch.tensor(torch.nan, dtype=torch.float64)
        return dict.fromkeys(("spearman", "jensen_shannon"), nothing), "there is no earlier evaluation to compare with"
    change, share = (torch.tensor(part, dtype=torch.float64) for part in (before.change, before.share))
    values = {
        "spearman": spearman(change, columns["change"]),
        "jensen_shannon": jensen_shannon(share, columns["share"]),
    }
    return values, "fewer than two bands, changes that are all equal, or a profile under the null floor"
