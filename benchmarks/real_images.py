"""Real images for the plants: the garments of Fashion-MNIST, and scenes of infrared spectra of five polymers.

Neither is part of the project; both are read from where they were unpacked. Fashion-MNIST (MIT): Debian's package
dataset-fashion-mnist. Spectra: the wheel of xpectrass 0.0.4 on PyPI, installed without its dependencies; the licences
of its data are not stated, so that nothing of them is copied.
"""

import gzip
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from digit_runs import Labelled, ink_of_digits
from torch import Tensor, nn

__all__ = ["IMAGES", "ImageSet", "digits", "garments", "polymer_scenes", "why_missing"]

SIZE = 32  # of digits and garments
POLYMERS = {"PE": 0, "HDPE": 0, "LDPE": 0, "PET": 1, "PP": 2, "PS": 3, "PVC": 4}
BANDS, LOWEST, HIGHEST = 40, 660.0, 3943.0  # of the spectra, in cm-1
SIDE, SPECTRA = 12, 4  # of a scene: pixels a side, and how many measured spectra its pixels show


class ImageSet(NamedTuple):
    """A set of images that plants are drawn into."""

    files: tuple[str, ...]  # what its folder must hold
    package: str  # where to have them from
    read: Callable[[Path, torch.Generator], Labelled]
    training: int  # how many of the images are for training; those at the front
    classes: int


def digits(_: Path, generator: torch.Generator) -> Labelled:
    """scikit-learn's digits in [0, 1], 1,797 of them in a random order; (n 1 32 32)."""
    ink, labels = ink_of_digits(generator)
    return Labelled(_resized(ink), labels)


def garments(folder: Path, generator: torch.Generator, count: int = 3000) -> Labelled:
    """3,000 of the 60,000 training images of Fashion-MNIST in [0, 1]; (n 1 32 32).

    Args:
        folder: holds the files of the original, compressed.
        generator: which ones, and in which order.
        count: another number of images.
    """
    images, labels = (_idx(folder / file) for file in IMAGES["fashion"].files)
    some = torch.randperm(len(labels), generator=generator)[:count]
    return Labelled(_resized(images[some].float() / 255), labels[some].long())


def polymer_scenes(folder: Path, generator: torch.Generator) -> Labelled:
    """2,000 scenes of five polymers in 40 bands, as shares of full transmission; (n 40 12 12).

    Of the studies the one that has all five classes in like numbers: in a mix of them the study goes with the class.
    Four measured spectra of a scene's class lie on its pixels at random. A spectrum is either in scenes of training or
    in scenes of validation, never in both.

    Args:
        folder: holds the tables, one a study.
        generator: which spectra, and where.
    """
    import pandas as pd

    measured = pd.read_csv(folder / IMAGES["spectra"].files[0], low_memory=False)
    measured = measured[measured["type"].isin(list(POLYMERS))]
    columns = [name for name in measured.columns if name[:1].isdigit()]
    axis = torch.tensor([float(name) for name in columns])
    values = torch.tensor(measured[columns].to_numpy(dtype="float32")) / 100
    binned = binned_spectra(values, axis)
    kinds = torch.tensor([POLYMERS[name] for name in measured["type"]])
    order = torch.randperm(len(kinds), generator=generator)
    last = len(order) * 3 // 4
    count, training = 2000, IMAGES["spectra"].training
    labels = torch.randint(len(set(POLYMERS.values())), (count,), generator=generator)
    scenes = torch.empty(count, BANDS, SIDE, SIDE)
    for place, label in enumerate(labels.tolist()):
        usable = order[:last] if place < training else order[last:]
        usable = usable[kinds[usable] == label]
        chosen = usable[torch.randint(len(usable), (SPECTRA,), generator=generator)]
        shown = chosen[torch.randint(SPECTRA, (SIDE, SIDE), generator=generator)]
        scenes[place] = binned[shown].movedim(-1, 0)
    return Labelled(scenes, labels)


def binned_spectra(values: Tensor, axis: Tensor) -> Tensor:
    """Means of spectra (n t) within bands of equal width from :data:`LOWEST` to :data:`HIGHEST`; (n 40).

    Args:
        values: (n t).
        axis: wavenumbers in any order; (t).
    """
    edges = torch.linspace(LOWEST, HIGHEST, BANDS + 1)
    within = [(axis >= low) & (axis < high) for low, high in itertools.pairwise(edges)]
    return torch.stack([values[:, some].mean(1) for some in within], 1)


IMAGES = {
    "digits": ImageSet((), "scikit-learn", digits, 1280, 10),
    "fashion": ImageSet(
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
        "Debian's package dataset-fashion-mnist",
        garments,
        2400,
        10,
    ),
    "spectra": ImageSet(
        ("villegas_camacho_2024_c8.csv.xz",),
        "the wheel of xpectrass 0.0.4 on PyPI (pip install --no-deps)",
        polymer_scenes,
        1500,
        5,
    ),
}


def why_missing(data: str, folder: Path | None) -> str | None:
    """Why a set of images cannot be read; None where it can.

    Example:
        >>> why_missing("digits", None)
        >>> why_missing("spectra", Path("papers")).split(";")[0]
        'spectra: papers holds no villegas_camacho_2024_c8.csv.xz'
    """
    wanted = IMAGES[data]
    lacking = [file for file in wanted.files if folder is None or not (folder / file).is_file()]
    if not lacking:
        return None
    given = "no folder was given" if folder is None else f"{folder} holds no {lacking[0]}"
    return f"{data}: {given}; unpack {wanted.package}, and pass --{data} with the folder of {', '.join(wanted.files)}"


def _resized(images: Tensor) -> Tensor:
    return nn.functional.interpolate(images[:, None], size=(SIZE, SIZE), mode="bilinear")


def _idx(path: Path) -> Tensor:
    """An array of bytes in the format of MNIST: two bytes 0, a type, the number of axes, their lengths, the values."""
    content = gzip.decompress(path.read_bytes())
    axes = content[3]
    shape = [int.from_bytes(content[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(axes)]
    return torch.frombuffer(bytearray(content[4 + 4 * axes :]), dtype=torch.uint8).reshape(shape)
