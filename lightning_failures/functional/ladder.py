"""The ladder of simple models, lowest rung first, each fitted in closed form on streamed moments.

Every rung is a linear discriminant on features of an image, and all features stand side by side in one row, so that one
:class:`.ClassMoments` fits the whole ladder. A discriminant with pooled variance
also serves the rungs of one number. On eight splits of the Indian Pines scene it reached 0.32 of the labels from the
total and 0.41 from the first component; one normal density a class, 0.33 and 0.41; the most frequent class of 16 bins,
0.35 and 0.37.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from lightning_failures.functional.cues import by_pixel, grey_level, total_absorbance
from lightning_failures.functional.discriminant import Discriminant, linear_discriminant
from lightning_failures.functional.empty_batches import never_empty
from lightning_failures.functional.moments import ClassMoments, covariance, principal_directions

__all__ = ["Rung", "best_channel", "fit_ladder", "label_share", "ladder_features", "pixel_ladder_features", "project"]

_MOST_PIXELS = 512  # whose deciles stand for those of a larger image; sorting them all takes a tenth of a small network
_MOST_FEATURES = 512  # keeps the moments of 200 channels at 5 ms per batch on one core


class Rung(NamedTuple):
    """One simple model: a block of features, and a linear discriminant of them."""

    features: str
    model: Discriminant

    def predict(self, features: Mapping[str, Tensor]) -> Tensor:
        """The class that this rung predicts, -1 where it is undefined; (n), int64.

        Args:
            features: as :func:`ladder_features` gives them.
        """
        return self.model.predict(features[self.features])


def ladder_features(
    images: Tensor, raw: Tensor | None = None, cues: Mapping[str, Tensor] | None = None, grid: int = 2
) -> dict[str, Tensor]:
    """The features of every rung, one row per image.

    ``total_absorbance``, from raw units alone, one number; the user's cues, in their order; for three channels
    ``grey_level``; ``pixel_intensity``, nine deciles of an image's pixel totals (raw ones, where they are known; some
    512 of a larger image); ``mean_spectrum``; and ``low_frequencies``, the mean spectrum of each cell of a coarse
    grid, adjacent channels averaged where there would be more than 512 numbers.

    Args:
        images: as the model sees them; (n b h w), or (n b) without the last.
        raw: the same in raw units; None: the total absorbance is unknown, and left out.
        cues: further cues, one value (n) or several (n k) an image.
        grid: cells along each side.

    Returns:
        Name -> (n k), float32 or float64, lowest rung first.
    """
    images = images if images.is_floating_point() else images.float()
    mean = by_pixel(images).mean(2)
    features = {}
    if raw is not None:
        features["total_absorbance"] = total_absorbance(raw)[:, None]
    for name, cue in (cues or {}).items():
        features[name] = cue if cue.ndim > 1 else cue[:, None]
    if images.shape[1] == 3:
        features["grey_level"] = grey_level(mean)[:, None]
    if images.ndim > 2:
        features["pixel_intensity"] = _deciles(_some_pixels(by_pixel(images if raw is None else raw)).float().sum(1))
    features["mean_spectrum"] = mean
    if images.ndim == 4:
        features["low_frequencies"] = _coarse(images, grid)
    return features


def fit_ladder(sums: ClassMoments, widths: Mapping[str, int], shrinkage: float | None = None) -> dict[str, Rung]:
    """Every rung as a fitted model.

    Before the mean spectrum stand two rungs that are made of its moments: ``first_component``, its coordinate on the
    direction of largest variance, and ``best_channel``, the single channel with the largest ratio of variance between
    classes to variance within. With three channels the mean spectrum is called ``mean_color``.

    Args:
        sums: moments of the features side by side.
        widths: name -> number of features, in the order of the columns; one is ``mean_spectrum``.
        shrinkage: as in :func:`.linear_discriminant`.

    Returns:
        Name -> rung, lowest first.
    """
    start, rungs = 0, {}
    for name, width in widths.items():
        columns = slice(start, start := start + width)
        block = ClassMoments(sums.counts, sums.totals[:, columns], sums.squares, sums.outer[columns, columns])
        if name == "mean_spectrum":
            matrix = covariance(block.all)
            defined = bool(matrix.isfinite().all())
            first = principal_directions(matrix)[:, :1] if defined else torch.full_like(matrix[:, :1], torch.nan)
            one_hot = torch.zeros_like(first).index_fill_(0, best_channel(block), 1.0)
            for single, direction in (("first_component", first), ("best_channel", one_hot)):
                model = linear_discriminant(project(block, direction), shrinkage)
                rungs[single] = Rung(name, Discriminant(model.weight @ direction.T, model.bias))
        known_as = "mean_color" if name == "mean_spectrum" and width == 3 else name
        rungs[known_as] = Rung(name, linear_discriminant(block, shrinkage))
    return rungs


def best_channel(sums: ClassMoments) -> Tensor:
    """The channel with the largest share of variance between classes; (), int64; 0 where none is defined."""
    channels = torch.eye(sums.totals.shape[1], dtype=torch.float64, device=sums.totals.device)
    return label_share(sums, channels).nan_to_num(nan=-1.0).argmax()


def label_share(sums: ClassMoments, directions: Tensor) -> Tensor:
    """Share of the variance along each direction that lies between the classes: how much it says of the label.

    Args:
        sums: moments by class.
        directions: columns; (d r).

    Convention:
        The correlation ratio, in [0, 1]; its mean where direction and label are independent is (classes - 1) /
        (rows - 1). ``nan`` for a direction without variance, and without rows.

    Returns:
        One share per direction; (r), float64.

    Example:
        >>> from lightning_failures.functional.moments import class_moments
        >>> rows = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> label_share(class_moments(rows, torch.tensor([0, 0, 1, 1]), 2), torch.eye(2))
        tensor([1., 0.], dtype=torch.float64)
    """
    directions = directions.to(sums.totals)
    counts = sums.counts.double()
    rows = counts.sum()
    along = sums.totals @ directions
    second = torch.einsum("dr,de,er->r", directions, sums.outer, directions)
    total = second - along.sum(0).square() / rows
    means = torch.where(counts[:, None] > 0, along / counts[:, None], 0.0)
    between = (along * means).sum(0) - along.sum(0).square() / rows
    return torch.where(total > 1e-12 * second, between / total, torch.nan).clamp(0, 1)


def project(sums: ClassMoments, directions: Tensor) -> ClassMoments:
    """The moments of the rows' coordinates on some directions.

    ``squares``, which sums the lengths of whole rows, becomes nan.

    Args:
        sums: moments of rows of d features.
        directions: columns; (d r).
    """
    onto = directions.to(sums.totals)
    lost = torch.full_like(sums.squares, torch.nan)
    return ClassMoments(sums.counts, sums.totals @ onto, lost, onto.T @ sums.outer @ onto)


def pixel_ladder_features(
    images: Tensor, raw: Tensor | None = None, cues: Mapping[str, Tensor] | None = None, window: int = 9
) -> dict[str, Tensor]:
    """The features of every rung, one row per pixel, for tasks that label pixels: ``target.flatten()``.

    As :func:`ladder_features` has them, of the pixel alone: its total is ``total_absorbance`` in raw units, and
    ``pixel_intensity`` where those are unknown; its spectrum is the ``mean_spectrum``. ``low_frequencies`` is the mean
    spectrum of the window around it.

    Args:
        images: as the model sees them; (n b h w).
        raw: the same in raw units.
        cues: further cues, one value per image (n) or per pixel (n h w).
        window: side of the window, in pixels, odd.

    Returns:
        Name -> (n h w, k), lowest rung first.

    Example:
        >>> features = pixel_ladder_features(torch.zeros(2, 5, 3, 4))
        >>> {name: tuple(rows.shape) for name, rows in features.items()}
        {'pixel_intensity': (24, 1), 'mean_spectrum': (24, 5), 'low_frequencies': (24, 5)}
    """
    images = images if images.is_floating_point() else images.float()
    n, _, h, w = images.shape
    pool = never_empty(torch.nn.functional.avg_pool2d)
    around = pool(images, window, stride=1, padding=window // 2, count_include_pad=False)
    total = "pixel_intensity" if raw is None else "total_absorbance"
    features = {total: (images if raw is None else raw).sum(1, keepdim=True)}
    for name, cue in (cues or {}).items():
        features[name] = (cue[:, None] if cue.ndim > 1 else rearrange(cue, "n -> n 1 1 1")).expand(n, 1, h, w)
    if images.shape[1] == 3:
        level = grey_level(rearrange(images, "n b h w -> (n h w) b"))
        features["grey_level"] = rearrange(level, "(n h w) -> n 1 h w", h=h, w=w)
    features |= {"mean_spectrum": images, "low_frequencies": around}
    return {name: rearrange(value, "n k h w -> (n h w) k") for name, value in features.items()}


@never_empty
def _coarse(images: Tensor, grid: int) -> Tensor:
    cells = torch.nn.functional.adaptive_avg_pool2d(images, grid).flatten(2)
    groups = min(images.shape[1], max(1, _MOST_FEATURES // cells.shape[2]))
    return torch.nn.functional.adaptive_avg_pool1d(cells.transpose(1, 2), groups).flatten(1)


def _some_pixels(pixels: Tensor) -> Tensor:
    """Some 512 of the pixels of each image, evenly spread; (n b p)."""
    every = (pixels.shape[2] // _MOST_PIXELS) | 1  # odd, so that it does not go down a few columns
    return pixels[..., ::every]


def _deciles(totals: Tensor) -> Tensor:
    ordered = totals.sort(1).values
    last = ordered.shape[1] - 1
    place = torch.arange(1, 10, device=totals.device) * last / 10
    left = place.long()
    return torch.lerp(ordered[:, left], ordered[:, (left + 1).clamp(max=last)], (place - left).to(ordered))
