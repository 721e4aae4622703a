"""Pictures of the images themselves, where a finding is about images: with the fault, and without it.

``python benchmarks/course_pictures.py`` draws them, beside those of courses.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import lightning as L
import torch
from digit_runs import Setup, healthy_setup, train
from faults import FAULTS
from real_images import digits
from slices import SETS, TWENTIETH, Network, quiet
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import lightning_failures as lf
from lightning_failures.reporting.figure_style import COLOURS, canvas, close, to_small_png

__all__ = ["DRAWN", "Panel", "Shown", "copied", "drawn", "nearest", "sliced"]

SEVEN = 7  # the class in which a slice is planted


class Shown(NamedTuple):
    """One image with what is written above it."""

    image: Tensor  # (h w)
    words: str
    wrong: bool


class Panel(NamedTuple):
    """One half of a picture: rows of images under a title."""

    title: str
    rows: Sequence[Sequence[Shown]]


def nearest(images: Tensor, among: Tensor) -> Tensor:
    """Of each image the one of the others that is nearest to it in Euclidean distance; (n), int64.

    Args:
        images: (n b h w).
        among: those to choose from; (m b h w).
    """
    return torch.cdist(images.flatten(1), among.flatten(1)).argmin(1)


def copied(seed: int) -> tuple[Panel, Panel]:
    """Validation images above the training images that are nearest to them: in a run with copies, and in its twin."""
    halves = []
    for title, put_into in (("Planted", FAULTS["copied images"].put_into), ("The same run without it", _as_it_is)):
        L.seed_everything(seed, verbose=False)
        setup: Setup = put_into(healthy_setup("cnn", seed))
        stood = [each for each in train(setup, budget=0.5)["findings"] if each["cleared"] is None]
        shares = [each["evidence"]["leakage"] for each in stood if "leakage" in each["evidence"]]
        told = f"copies of training images: {shares[0]:.0%}" if shares else "no finding"
        some = setup.valid.images[:4]
        twins = setup.train.images[nearest(some, setup.train.images)]
        same = [bool(ours.equal(theirs)) for ours, theirs in zip(some, twins, strict=True)]
        above = [Shown(image[0], "validation", copy) for image, copy in zip(some, same, strict=True)]
        below = [Shown(image[0], "training", copy) for image, copy in zip(twins, same, strict=True)]
        halves.append(Panel(f"{title}: {told}", (above, below)))
    return halves[0], halves[1]


def sliced(seed: int) -> tuple[Panel, Panel]:
    """Images of a slice that was found, as they were evaluated, and the same images before they were inverted."""
    L.seed_everything(seed, verbose=False)
    generator = torch.Generator().manual_seed(seed)
    count, size, _, _, epochs = SETS["digits"]
    images, labels = digits(Path(), generator)
    batches = DataLoader(TensorDataset(images[:count], labels[:count]), 100, shuffle=True, drop_last=True)
    module = Network(epochs * len(batches))
    quiet(max_epochs=epochs, limit_val_batches=0).fit(module, batches)
    clean, given = images[count : count + size], labels[count : count + size]
    planted = clean.clone()
    rows = (given == SEVEN).nonzero()[:, 0][: size // TWENTIETH]
    planted[rows] = 1 - planted[rows]
    halves = []
    for title, evaluated in (("Planted", planted), ("The same images as they were", clean)):
        monitor = lf.SliceMonitor(on_error="raise")
        quiet(callbacks=[monitor]).validate(module, DataLoader(TensorDataset(evaluated, given), 256), verbose=False)
        found = monitor.slices
        told = f"{found[0].name}: {found[0].error:.0%} wrong" if found else "no slice is found"
        with torch.no_grad():
            preds = module.eval()(evaluated[rows[:8]]).argmax(1).tolist()
        shown = [
            Shown(evaluated[row][0], f"said {said}", said != SEVEN)
            for row, said in zip(rows[:8].tolist(), preds, strict=True)
        ]
        halves.append(Panel(f"{title}: {told}", (shown[:4], shown[4:])))
    return halves[0], halves[1]


#: By the kind of finding: both halves of its picture, of a seed.
DRAWN: dict[str, Callable[[int], tuple[Panel, Panel]]] = {"data_fault": copied, "slice_failure": sliced}


def drawn(halves: Sequence[Panel]) -> bytes:
    """The halves side by side, as a PNG file; every image on the same scale of grey."""
    everything = torch.stack([shown.image for half in halves for row in half.rows for shown in row])
    darkest, brightest = float(everything.min()), float(everything.max())
    with canvas(7.2, 2.7) as figure:
        for part, half in zip(figure.subfigures(1, 2, wspace=0.06), halves, strict=True):
            part.suptitle(half.title, fontsize=8.5)
            axes = part.subplots(len(half.rows), len(half.rows[0]), squeeze=False)
            for axis, shown in zip(axes.flat, (shown for row in half.rows for shown in row), strict=True):
                axis.imshow(shown.image.numpy(), cmap="gray", vmin=darkest, vmax=brightest)
                axis.set_title(shown.words, fontsize=7, color=COLOURS["second" if shown.wrong else "first"])
                axis.set_axis_off()
        made = to_small_png(figure, dpi=140)
        close(figure)
    return made


def _as_it_is(setup: Setup) -> Setup:
    return setup
