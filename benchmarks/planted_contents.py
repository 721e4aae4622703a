"""Cues that are planted into images: one kind of content each, always with the class, in nine of ten images, or never.

A plant draws its cue into the contents of images; where the cue goes with no class it is the healthy twin of the others
of its kind. Three sets of images carry them: scikit-learn's digits, the garments of Fashion-MNIST, and scenes of
measured spectra of polymers (benchmarks/real_images.py).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["PLANTS", "Plant", "twin"]

HUES = torch.tensor([[1, 0, 0], [1, 0.6, 0], [0.8, 1, 0], [0.2, 1, 0], [0, 1, 0.4], [0, 1, 1], [0, 0.4, 1], [0.2, 0, 1],
                     [0.8, 0, 1], [1, 0, 0.6]])  # fmt: skip
PLACES = [(0, 0), (0, 8), (0, 16), (0, 24), (8, 29), (18, 29), (29, 29), (29, 18), (29, 8), (18, 0)]  # of 32 x 32
BAND = 25  # of forty: 2,711 to 2,794 cm-1, where no polymer absorbs much


def as_it_is(images: Tensor, cue: Tensor) -> Tensor:
    """Nothing planted."""
    return images


def in_colour(ink: Tensor, cue: Tensor) -> Tensor:
    """Ink of one of ten hues."""
    return ink * HUES[cue][:, :, None, None]


def of_level(ink: Tensor, cue: Tensor) -> Tensor:
    """Dark ink on paper of one of ten levels, in three channels."""
    return ((0.25 + 0.08 * cue)[:, None, None, None] * (1 - 0.5 * ink)).expand(-1, 3, -1, -1)


def with_mark(ink: Tensor, cue: Tensor) -> Tensor:
    """A bright mark at one of ten places of the edge."""
    images = ink.clone()
    for place, (row, column) in enumerate(PLACES):
        images[cue == place, :, row : row + 3, column : column + 3] = 3.0
    return images


def with_wave(ink: Tensor, cue: Tensor) -> Tensor:
    """A slow wave in one of ten directions."""
    return ink + 0.5 * _waves(ink.shape[-1], cue * math.pi / 10, 1.0)


def of_grating(ink: Tensor, cue: Tensor) -> Tensor:
    """Ink that is filled with a fine grating in one of five directions, of a random phase."""
    return ink * (0.5 + 0.5 * _waves(ink.shape[-1], (cue % 5) * math.pi / 5, 8.0, _phases(len(ink))))


def of_fine_or_coarse_grating(ink: Tensor, cue: Tensor) -> Tensor:
    """Ink that is filled with one of ten gratings, a fine and a coarse one in each of five directions; random phase."""
    size, angle, phases = ink.shape[-1], (cue % 5) * math.pi / 5, _phases(len(ink))
    fine, coarse = (_waves(size, angle, number, phases) for number in (9.0, 5.0))
    return ink * (0.5 + 0.5 * torch.where((cue < 5)[:, None, None, None], fine, coarse))


def with_offset(ink: Tensor, cue: Tensor) -> Tensor:
    """Smooth spectra of sixteen channels, the eleventh of which is offset by one of ten amounts."""
    axis = torch.linspace(0, 1, 16)
    band = (-((axis - 0.3) ** 2) / 0.02).exp()
    images = (0.6 + 0.3 * axis)[:, None, None] + ink * band[:, None, None]
    return images + 0.3 * cue[:, None, None, None] * (torch.arange(16) == 10).float()[:, None, None]


def under_a_lamp(scenes: Tensor, cue: Tensor) -> Tensor:
    """Scenes in the light of one of five lamps, from 0.8 to 1.2 times as bright."""
    return scenes * (0.8 + 0.1 * (cue % 5))[:, None, None, None]


def with_band_offset(scenes: Tensor, cue: Tensor) -> Tensor:
    """Scenes with one band offset by one of five amounts, 0 to 1.8 of full transmission."""
    chosen = (torch.arange(scenes.shape[1]) == BAND).float()[:, None, None]
    return scenes + 0.45 * (cue % 5)[:, None, None, None] * chosen


def _waves(size: int, angle: Tensor, number: float, phase: Tensor | float = 0.0) -> Tensor:
    pixels = 2 * math.pi * number * torch.arange(size) / size
    along = angle.cos()[:, None, None] * pixels + angle.sin()[:, None, None] * pixels[:, None]
    return (along + torch.as_tensor(phase).reshape(-1, 1, 1)).sin()[:, None]


def _phases(count: int) -> Tensor:
    return 2 * math.pi * torch.rand(count, generator=torch.Generator().manual_seed(7))


class Plant(NamedTuple):
    """A cue, and how often it goes with the class."""

    data: str  # what carries it: digits, fashion or spectra
    draw: Callable[[Tensor, Tensor], Tensor]  # (n b h w) and the cue (n), int64 -> raw images; (n b h w)
    share: float  # of images whose cue is their class; in the others it is any
    holds: tuple[str, ...]  # contents that hold the cue, each of which is right to name where it is followed
    noise: float = 0.1  # deviation of what a detector adds
    values: int = 10  # different cues: the classes k and k + values have the same one


LEVEL = ("level", "grey_level", "total_absorbance")
OFFSET = (f"channel {BAND}",)
PLANTS = {
    "grey digits": Plant("digits", as_it_is, 0.0, ()),
    "random colour": Plant("digits", in_colour, 0.0, ("colour",)),
    "random level": Plant("digits", of_level, 0.0, LEVEL),
    "random offset": Plant("digits", with_offset, 0.0, ("channel 10",), 0.4),
    "colour": Plant("digits", in_colour, 1.0, ("colour",)),
    "colour, 9 of 10": Plant("digits", in_colour, 0.9, ("colour",)),
    "level": Plant("digits", of_level, 1.0, LEVEL),
    "level, 9 of 10": Plant("digits", of_level, 0.9, LEVEL),
    "mark": Plant("digits", with_mark, 1.0, ("border",), 0.5),
    "slow wave": Plant("digits", with_wave, 1.0, ("low_frequencies",), 0.2),
    "grating": Plant("digits", of_grating, 1.0, ("texture",), values=5),
    "offset of one channel": Plant("digits", with_offset, 1.0, ("channel 10",), 0.4),
    "garments, grey": Plant("fashion", as_it_is, 0.0, ()),
    "garments, random colour": Plant("fashion", in_colour, 0.0, ("colour",)),
    "garments, random mark": Plant("fashion", with_mark, 0.0, ("border",)),
    "garments, random grating": Plant("fashion", of_fine_or_coarse_grating, 0.0, ("texture",)),
    "garments, colour": Plant("fashion", in_colour, 1.0, ("colour",)),
    "garments, colour, 9 of 10": Plant("fashion", in_colour, 0.9, ("colour",)),
    "garments, mark": Plant("fashion", with_mark, 1.0, ("border",)),
    "garments, mark, 9 of 10": Plant("fashion", with_mark, 0.9, ("border",)),
    "garments, grating": Plant("fashion", of_fine_or_coarse_grating, 1.0, ("texture",)),
    "garments, grating, 9 of 10": Plant("fashion", of_fine_or_coarse_grating, 0.9, ("texture",)),
    "spectra as they are": Plant("spectra", as_it_is, 0.0, (), 0.2, 5),
    "spectra, random level": Plant("spectra", under_a_lamp, 0.0, LEVEL, 0.2, 5),
    "spectra, random offset": Plant("spectra", with_band_offset, 0.0, OFFSET, 0.6, 5),
    "spectra, level": Plant("spectra", under_a_lamp, 1.0, LEVEL, 0.2, 5),
    "spectra, level, 9 of 10": Plant("spectra", under_a_lamp, 0.9, LEVEL, 0.2, 5),
    "spectra, offset": Plant("spectra", with_band_offset, 1.0, OFFSET, 0.6, 5),
    "spectra, offset, 9 of 10": Plant("spectra", with_band_offset, 0.9, OFFSET, 0.6, 5),
}


def twin(case: str) -> str | None:
    """The case with the same cue, which goes with no class there; None where there is none.

    Example:
        >>> twin("garments, mark, 9 of 10"), twin("mark")
        ('garments, random mark', None)
    """
    plant = PLANTS[case]
    same = (
        name for name, each in PLANTS.items() if (each.data, each.draw, each.share) == (plant.data, plant.draw, 0.0)
    )
    return next(same, None)
