"""Indian Pines: a real hyperspectral scene cut into patches, for the demo and for tests.

AVIRIS, 145 x 145 pixels of 20 m, 200 bands from 400 to 2500 nm, 16 classes of crops and land cover: Baumgardner, Biehl,
Landgrebe, 220 Band AVIRIS Hyperspectral Image Data Set, Purdue University Research Repository 2015,
doi:10.4231/R7RX991C, CC BY 3.0. The scene is read from the installed package ``tensorly``; nothing is downloaded.

Fields are larger than patches, so that neighbouring patches are near copies and a random split of pixels leaks. Here
whole blocks go to training or to validation, and where a patch reaches into the other part it shows its own centre: no
pixel of the scene is in both parts. Without this a linear discriminant on patch means gains 0.08 to 0.11 of
accuracy that it does not have on unseen ground (0.92 for 0.84, 0.90 for 0.82, 0.82 for 0.71 with seeds 0, 1, 2).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange, reduce
from torch import Tensor
from torch.utils.data import Dataset

from lightning_failures.data.factor_table import FactorTable
from lightning_failures.errors import InputError, MissingPackageError

__all__ = ["CLASS_NAMES", "IndianPines", "Patches", "load_indian_pines"]

CLASS_NAMES = (
    "Alfalfa",
    "Corn-notill",
    "Corn-mintill",
    "Corn",
    "Grass-pasture",
    "Grass-trees",
    "Grass-pasture-mowed",
    "Hay-windrowed",
    "Oats",
    "Soybean-notill",
    "Soybean-mintill",
    "Soybean-clean",
    "Wheat",
    "Woods",
    "Buildings-Grass-Trees-Drives",
    "Stone-Steel-Towers",
)

#: A field, or a class in training, of fewer pixels than this is small, or rare.
FEW = 100


class Patches(Dataset[tuple[Tensor, Tensor]]):
    """Square patches of one scene, cut when they are asked for, each with the class of its centre.

    Args:
        scene: one spectrum per pixel; (p b), float32.
        pixels: pixels of each patch, by row of ``scene``; (n h w), int64.
        labels: class of each patch; (n), int64.
    """

    def __init__(self, scene: Tensor, pixels: Tensor, labels: Tensor) -> None:
        self.scene, self.pixels, self.labels = scene, pixels, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """One patch (b h w), float32, and its class (), int64."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, Tensor]]:
        """A whole batch at once, which is what a DataLoader asks for."""
        chosen = torch.as_tensor(indices)
        patches = rearrange(self.scene[self.pixels[chosen]], "n h w b -> n b h w")
        return list(zip(patches, self.labels[chosen], strict=True))


@dataclass(frozen=True)
class IndianPines:
    """The scene as two datasets that share no pixel, and the factors of the validation images."""

    train: Patches
    validation: Patches
    factors: FactorTable  # row i is image i of validation
    wavelengths: Tensor  # (b) float64, nm, ascending
    class_names: tuple[str, ...]

    def __repr__(self) -> str:
        sizes = f"{len(self.train)} training and {len(self.validation)} validation patches"
        return f"IndianPines: {sizes} of {len(self.wavelengths)} bands, {len(self.class_names)} classes"


def load_indian_pines(
    scaling: Literal["raw", "standardised"] = "raw",
    size: int = 9,
    block: int = 16,
    validation: float = 0.3,
    seed: int = 0,
) -> IndianPines:
    """Cut the scene into one patch around each labelled pixel, and split it by blocks.

    Blocks are drawn for validation at random, then moved one at a time while that brings the shares of the classes
    nearer to ``validation``. A class in one block only (grass-pasture-mowed, with blocks of 16) is all in one part.

    The factors: *boundary*, the patch holds another class; *bright* and *dark*, its mean radiance is above the 90 % or
    below the 10 % quantile of the training patches; *low_contrast*, its radiance varies less over its pixels than in
    90 % of them; *small_field*, fewer than 100 pixels of its class hang together with it; *rare_class*, its class has
    fewer than 100 training patches. A factor that no validation image carries is left out.

    Args:
        scaling: ``"raw"``: divided by the scene's maximum, range (0, 1]; ``"standardised"``: each band to mean 0 and
            deviation 1 over the labelled training pixels.
        size: height and width of a patch, odd.
        block: height and width of a block of the split.
        validation: share of the images to validate on, within (0, 1).
        seed: of the split.

    Raises:
        MissingPackageError: tensorly is not installed.
        InputError: a value that cannot be used.
    """
    _check(scaling, size, block, validation)
    scene, labels, wavelengths = _read_scene()
    held = _validation_pixels(labels, block, validation, seed)
    ground = [(labels > 0) & ~held, (labels > 0) & held]
    train, valid = (_patch_pixels(centres, part, size) for centres, part in zip(ground, (~held, held), strict=True))
    classes = labels.flatten() - 1
    table = _factors(scene.mean(1), classes, _field_sizes(labels).flatten(), train, valid)
    known = scene[ground[0].flatten()]
    scaled = scene / scene.max() if scaling == "raw" else (scene - known.mean(0)) / known.std(0)
    middle = size // 2
    parts = [Patches(scaled.float(), pixels, classes[pixels[:, middle, middle]]) for pixels in (train, valid)]
    return IndianPines(parts[0], parts[1], table, wavelengths, CLASS_NAMES)


def _check(scaling: str, size: int, block: int, validation: float) -> None:
    for right, wrong, given, fix in (
        (scaling in ("raw", "standardised"), "no such scaling", repr(scaling), "Pass 'raw' or 'standardised'."),
        (size >= 1 and size % 2 == 1, "a patch needs a centre", f"size={size}", "Pass an odd size, such as 9."),
        (block >= 1, "blocks need pixels", f"block={block}", "Pass 1 or more."),
        (0 < validation < 1, "the share to validate on is no share", f"validation={validation}", "Pass 0.3, say."),
    ):
        if not right:
            raise InputError("load_indian_pines", wrong, given, fix)


def _read_scene() -> tuple[Tensor, Tensor, Tensor]:
    """Spectra (p b), float64; labels (h w), int64, 0 where unlabelled; wavelengths (b), float64, ascending."""
    try:
        import tensorly
        from tensorly.datasets import load_indian_pines as read
    except ImportError as error:
        raise MissingPackageError(
            "load_indian_pines",
            "the package that ships the scene is missing",
            f"no {error.name}",
            "Run pip install tensorly.",
        ) from error
    bunch = read()  # a tensor of whatever backend tensorly is set to
    scene = torch.as_tensor(tensorly.to_numpy(bunch.tensor), dtype=torch.float64)
    labels = torch.as_tensor(bunch.ticks[0], dtype=torch.int64)
    # the four spectrometers of AVIRIS overlap by up to 40 nm
    wavelengths, order = torch.tensor(bunch.ticks[1], dtype=torch.float64).sort()
    return rearrange(scene, "h w b -> (h w) b")[:, order], labels, wavelengths


def _validation_pixels(labels: Tensor, block: int, validation: float, seed: int) -> Tensor:
    """Which pixels are held out; (h w), bool, in whole blocks."""
    height, width = labels.shape
    rows, columns = torch.arange(height) // block, torch.arange(width) // block
    blocks = rows[:, None] * (int(columns[-1]) + 1) + columns
    total = int(blocks[-1, -1]) + 1
    counts = torch.zeros(total, int(labels.max()) + 1, dtype=torch.float64)
    counts.index_put_((blocks.flatten(), labels.flatten()), torch.ones((), dtype=torch.float64), accumulate=True)
    shares = counts[:, 1:] / counts[:, 1:].sum(0).clamp(min=1)  # (blocks c): of each class, what lies in each block
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.rand(total, generator=generator) < validation
    excess = shares[chosen].sum(0) - validation
    moved = True
    while moved:
        moved = False
        for at in torch.randperm(total, generator=generator).tolist():
            after = excess + (-shares[at] if chosen[at] else shares[at])
            if after.square().sum() < excess.square().sum() - 1e-9:  # not for a rounding error, which may go in circles
                chosen[at], excess, moved = ~chosen[at], after, True
    return chosen[blocks]


def _patch_pixels(centres: Tensor, part: Tensor, size: int) -> Tensor:
    """Pixels of the patch around each centre; the centre again where it leaves its part or the scene; (n h w)."""
    height, width = part.shape
    row, column = centres.nonzero().unbind(1)
    reach = torch.arange(size) - size // 2
    rows, columns = row[:, None, None] + reach[:, None], column[:, None, None] + reach
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    pixels = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    return torch.where(inside & part.flatten()[pixels], pixels, (row * width + column)[:, None, None])


def _field_sizes(labels: Tensor) -> Tensor:
    """How many pixels of its class hang together with each pixel, by its four neighbours; (h w), int64."""
    from scipy import ndimage  # comes with tensorly, as the scene does

    sizes = torch.zeros_like(labels)
    for label in range(1, int(labels.max()) + 1):
        fields = torch.as_tensor(ndimage.label((labels == label).numpy())[0], dtype=torch.int64)
        sizes += torch.where(fields > 0, torch.bincount(fields.flatten())[fields], 0)
    return sizes


def _factors(light: Tensor, classes: Tensor, fields: Tensor, train: Tensor, valid: Tensor) -> FactorTable:
    """Factors of the validation patches, with thresholds from the training patches."""
    middle = valid.shape[1] // 2
    centre, around = classes[valid[:, middle, middle]], classes[valid]
    quantiles = torch.tensor([0.1, 0.9], dtype=light.dtype)
    (dark, bright), (flat, _) = (power(light[train]).quantile(quantiles) for power in (_mean, _deviation))
    columns = {
        "boundary": reduce((around >= 0) & (around != centre[:, None, None]), "n h w -> n", "any"),
        "bright": _mean(light[valid]) > bright,
        "dark": _mean(light[valid]) < dark,
        "low_contrast": _deviation(light[valid]) < flat,
        "small_field": fields[valid[:, middle, middle]] < FEW,
        "rare_class": torch.bincount(classes[train[:, middle, middle]], minlength=len(CLASS_NAMES))[centre] < FEW,
    }
    carried = {name: column for name, column in columns.items() if bool(column.any())}
    return FactorTable(tuple(carried), torch.stack(list(carried.values()), 1))


def _mean(light: Tensor) -> Tensor:
    return reduce(light, "n h w -> n", "mean")


def _deviation(light: Tensor) -> Tensor:
    return rearrange(light, "n h w -> n (h w)").std(1, correction=0)
