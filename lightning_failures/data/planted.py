"""Spectral scenes with a planted truth: images whose label can be read from a simple cue, a complex one, or both.

Infrared absorbance of a tissue with 64 channels from 900 to 1800 per cm on 24 x 24 pixels, four classes of two bits:

    A = t (S0(v) m(p) + 0.5 sum_j u_j(p) P_j(v)) + baseline + noise

with S0 a protein spectrum (amide I and II and four smaller bands), m a smooth map, P_j four narrow bands and u_j a blob
for each. The *simple cue* is the thickness t = 1 + class / 4 + N(0, 0.04): one number per image. The *complex cue* is
where blobs lie: the first bit says whether those of the first two bands lie apart or at one place, the second bit the
same of the other two. Blobs wrap around the edges, so that the mean spectrum holds nothing of the complex cue, exactly.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
from einops import rearrange
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lightning_failures.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule

__all__ = ["PlantedCase", "PlantedImages", "PlantedScene", "planted_scene"]

#: ``complex``: the thickness says nothing of the class. ``simple``: the blobs say nothing. ``both``: either is enough.
#: ``partial``: both, but for 10% of the images the thickness is that of a random class. ``normalised``: both, and each
#: pixel is divided by its mean absorbance. ``control``: as normalised, but the blobs are not multiplied by the
#: thickness, so that the amount of protein against that of the blobs gives it away.
PlantedCase = Literal["complex", "simple", "both", "partial", "normalised", "control"]

_PROTEIN = ((1655.0, 1.0), (1545.0, 0.7), (1450.0, 0.3), (1400.0, 0.3), (1240.0, 0.3), (1080.0, 0.3))
_BANDS = (1080.0, 1240.0, 1030.0, 1740.0)
_CLASSES = 4
_BLOB = 2.5 / 24  # deviation of a blob, in shares of the side


class PlantedImages(Dataset[tuple[Tensor, Tensor]]):
    """Images with their classes, and the truth about each.

    Args:
        images: (n b h w), float32.
        labels: class of each image; (n), int64.
        thickness: the simple cue t of each; (n), float32.
        thickness_labels: the class that the thickness shows; (n), int64.
        blob_labels: the class that the blobs show; (n), int64.
        total_absorbance: of the images before any normalisation, summed over the channels of the mean spectrum; (n).
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        thickness: Tensor,
        thickness_labels: Tensor,
        blob_labels: Tensor,
        total_absorbance: Tensor,
    ) -> None:
        self.images, self.labels = images, labels
        self.thickness, self.thickness_labels, self.blob_labels = thickness, thickness_labels, blob_labels
        self.total_absorbance = total_absorbance

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """One image (b h w), float32, and its class (), int64."""
        return self.images[index], self.labels[index]

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, Tensor]]:
        """A whole batch at once, which is what a DataLoader asks for."""
        return list(zip(self.images[indices], self.labels[indices], strict=True))


@dataclass(frozen=True)
class PlantedScene:
    """Training and validation images of one case, drawn alike, and what a diagnosis should say of a trained model."""

    case: PlantedCase
    train: PlantedImages
    validation: PlantedImages
    wavenumbers: Tensor  # (b) float64, per cm
    classes: int
    reliance: bool | None  # whether models are known to lean on the thickness; None: not known beforehand

    def __repr__(self) -> str:
        sizes = f"{len(self.train)} training and {len(self.validation)} validation images"
        return f"PlantedScene {self.case!r}: {sizes} of {len(self.wavenumbers)} channels, {self.classes} classes"

    def data_module(self, batch_size: int = 64) -> "LightningDataModule":
        """Both parts as a LightningDataModule of (images, labels); training images are shuffled.

        Args:
            batch_size: images per batch.
        """
        from lightning.pytorch import LightningDataModule  # the images themselves need no Lightning

        scene = self

        class PlantedDataModule(LightningDataModule):
            def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
                return DataLoader(scene.train, batch_size, shuffle=True)

            def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
                return DataLoader(scene.validation, batch_size)

        return PlantedDataModule()


def planted_scene(
    case: PlantedCase,
    seed: int = 0,
    *,
    images: int = 1536,
    validation: int = 512,
    channels: int = 64,
    size: int = 24,
) -> PlantedScene:
    """Draw a scene; the same arguments give the same images, and torch's own random state stays as it is.

    Args:
        case: which cues show the class.
        seed: of all that is drawn.
        images: number of training images.
        validation: number of validation images.
        channels: number of channels b.
        size: height and width of an image.

    Raises:
        UnknownNameError: there is no such case.
        InputError: sizes that cannot be used.

    Example:
        >>> scene = planted_scene("simple", seed=0, images=200, validation=8)
        >>> scene.train.images.shape
        torch.Size([200, 64, 24, 24])
        >>> scene.train.thickness_labels.equal(scene.train.labels)
        True
    """
    if case not in get_args(PlantedCase):
        cases = ", ".join(get_args(PlantedCase))
        raise UnknownNameError("planted_scene", "no such case", repr(case), f"Pass one of {cases}.")
    if min(images, validation) < 1 or channels < 8 or size < 8:
        given = f"images={images}, validation={validation}, channels={channels}, size={size}"
        fix = "Pass 1 image or more of each, 8 channels and 8 pixels or more."
        raise InputError("planted_scene", "sizes cannot be used", given, fix)
    generator = torch.Generator().manual_seed(seed)
    wavenumbers = torch.linspace(900, 1800, channels, dtype=torch.float64)
    train, valid = (_draw(case, count, wavenumbers, size, generator) for count in (images, validation))
    reliance = {"complex": False, "simple": True, "both": True, "partial": True, "normalised": False}.get(case)
    return PlantedScene(case, train, valid, wavenumbers, _CLASSES, reliance)


def _draw(case: str, n: int, wavenumbers: Tensor, size: int, generator: torch.Generator) -> PlantedImages:
    labels, by_chance, blobs_by_chance = (torch.randint(_CLASSES, (n,), generator=generator) for _ in range(3))
    predictive = {"complex": 0.0, "partial": 0.9}.get(case, 1.0)
    shown = torch.where(torch.rand(n, generator=generator) < predictive, labels, by_chance)
    blob_labels = blobs_by_chance if case == "simple" else labels
    thickness = 1 + 0.25 * shown + 0.04 * torch.randn(n, generator=generator)

    protein, bands = _spectra(wavenumbers)
    tissue, blobs = _tissue(n, size, generator), 0.5 * _blobs(blob_labels, size, generator)
    if case != "control":
        blobs = blobs * thickness[:, None, None, None]
    maps = rearrange(torch.cat([tissue * thickness[:, None, None, None], blobs], 1), "n k h w -> n k (h w)")
    raw = torch.einsum("nkp,kb->nbp", maps, torch.cat([protein[None], bands]))
    ramp = torch.linspace(-0.5, 0.5, len(wavenumbers))
    raw += (0.05 * torch.randn(n, 1, generator=generator) * ramp)[:, :, None]
    raw += 0.02 * torch.randn(raw.shape, generator=generator)
    total = raw.mean(2).sum(1)
    if case in ("normalised", "control"):
        raw /= raw.mean(1, keepdim=True)
    images = rearrange(raw, "n b (h w) -> n b h w", h=size)
    return PlantedImages(images, labels, thickness, shown, blob_labels, total)


def _spectra(wavenumbers: Tensor) -> tuple[Tensor, Tensor]:
    """The protein spectrum (b) and the narrow bands (4 b)."""

    def line(centre: float, width: float) -> Tensor:
        return (-((wavenumbers - centre) ** 2) / (2 * width**2)).exp()

    protein = 0.15 + torch.stack([height * line(centre, 20) for centre, height in _PROTEIN]).sum(0)
    return protein.float(), torch.stack([line(centre, 10) for centre in _BANDS]).float()


def _tissue(n: int, size: int, generator: torch.Generator) -> Tensor:
    """A smooth map about 1 for each image, of mean 1; (n 1 h w)."""
    place = torch.arange(size) / size
    along = torch.tensor([[1, 0], [0, 1], [1, 1]])[torch.randint(3, (n,), generator=generator)]
    phase = torch.rand(n, 1, 1, generator=generator)
    wave = (2 * torch.pi * (along[:, :1, None] * place[:, None] + along[:, 1:, None] * place + phase)).cos()
    return (1 + 0.1 * wave)[:, None]


def _blobs(labels: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """One blob for each narrow band; those of a pair lie apart where its bit is 1; (n 4 h w)."""
    n = len(labels)
    bits = torch.stack([labels // 2, labels % 2], 1)
    first = torch.rand(n, 2, 2, generator=generator)  # in shares of the side
    angle = 2 * torch.pi * torch.rand(n, 2, generator=generator)
    apart = 0.4 * torch.stack([angle.sin(), angle.cos()], 2) * bits[:, :, None]
    centres = rearrange([first, first + apart], "both n pair yx -> n (pair both) yx")
    offset = torch.arange(size) / size - centres[..., None]
    offset = offset - offset.round()  # the shorter way around
    profile = (-offset.square() / (2 * _BLOB**2)).exp()
    return profile[:, :, 0, :, None] * profile[:, :, 1, None, :]
