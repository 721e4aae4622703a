"""Which null floor shows the profile of a network that uses one channel of 40, and blanks that of one that uses none.

    python benchmarks/channel_null.py [--seeds 4 5 6] [--networks linear pixels cnn] [--json FILE]

Small networks on smooth spectra of 40 channels, seen by their channels one by one and by the monitor's 20 bands of two.
*Planted*: one channel goes with the class, and without it the accuracy falls by a tenth or more. *At chance*: labels
that have nothing to do with the images, white noise, noise learnt by heart, no training. *Others*: the class is the
height of all channels alike, a shape, or a spectrum, so that no one channel is to be named. For each null: in how
many the shares are defined, in how many the largest is the planted channel's, and in how many the rule
single_band_reliance finds a band; with Wilson's intervals. The network resnet10t, ten times as slow as the others, sees
one kind of the first two groups.
"""

import argparse
import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_failures import FailureDiagnosis, attribute_channels, planted_scene, standard_rules
from lightning_failures.attribution import Null
from lightning_failures.functional import wilson
from lightning_failures.metrics import ChannelDependence
from lightning_failures.records import Evaluation
from lightning_failures.spectrum import channel_layout

CHANNELS, SIZE, TRAINING, VALIDATION, REFERENCE = 40, 10, 768, 256, 128
PLANTED = ("offset", "offset 0.8", "only carrier", "beside a shape", "pair of eight", "part of the images")
CHANCE = ("random labels", "noise", "noise by heart", "untrained")
OTHERS = ("level", "scene level", "shape", "spectra")
EPOCHS = {"linear": 20, "pixels": 10, "cnn": 6, "resnet10t": 5}
SEVERAL = {"noise by heart": 4, "untrained": 0}  # times as many epochs
SLOW = ("offset", "random labels")  # kinds that the slow network sees


def bumps(generator: torch.Generator, count: int = 6) -> Tensor:
    """A smooth spectrum."""
    centre, width, height = torch.rand(3, count, 1, generator=generator)
    spectrum: Tensor = (
        height * (-((torch.linspace(0, 1, CHANNELS) - centre) ** 2) / (2 * (0.05 + 0.15 * width) ** 2)).exp()
    ).sum(0)
    return spectrum


def smooth_images(generator: torch.Generator, count: int) -> Callable[[], Tensor]:
    """What gives so many images of one mean spectrum and three components, by image and pixel, with noise."""
    base, components = 0.5 + bumps(generator), torch.stack([bumps(generator) for _ in range(3)])

    def draw() -> Tensor:
        by_pixel = 0.1 * torch.randn(count, 3, SIZE, SIZE, generator=generator)
        amounts = 0.5 + by_pixel + 0.2 * torch.randn(count, 3, 1, 1, generator=generator)
        mixed = torch.einsum("nkhw,kc->nchw", amounts, components)
        return base[:, None, None] + mixed + 0.05 * torch.randn(mixed.shape, generator=generator)

    return draw


def lines(labels: Tensor, generator: torch.Generator) -> Tensor:
    """A row, a column or one of two diagonals by class, at any place and in all channels; (n 1 h w)."""
    masks = torch.zeros(len(labels), 1, SIZE, SIZE)
    places, along = torch.randint(SIZE, (len(labels),), generator=generator), torch.arange(SIZE)
    for mask, label, place in zip(masks[:, 0], labels.tolist(), places.tolist(), strict=True):
        rows = (torch.full((SIZE,), place), along, along, along)[label]
        columns = (along, torch.full((SIZE,), place), (along + place) % SIZE, (place - along) % SIZE)[label]
        mask[rows, columns] = 1
    return masks


def data(kind: str, seed: int) -> tuple[Tensor, Tensor, int]:
    """Images and labels, the training ones first, standardised by channel, and the planted channel."""
    generator = torch.Generator().manual_seed(1000 * seed + 17)
    count = TRAINING + VALIDATION
    if kind == "scene level":
        scene = planted_scene("simple", seed, images=TRAINING, validation=VALIDATION, size=SIZE)
        parts = [scene.train, scene.validation]
        some = torch.linspace(0, parts[0].images.shape[1] - 1, CHANNELS).long()
        images, labels = torch.cat([part.images[:, some] for part in parts]), torch.cat([p.labels for p in parts])
        return standardised(images), labels, 0
    classes = 8 if kind == "pair of eight" else 4
    images = smooth_images(generator, count)()
    labels = torch.randint(classes, (count,), generator=generator)
    channel = int(torch.randint(CHANNELS, (), generator=generator))
    spectra = torch.stack([bumps(generator) for _ in range(classes)])

    def scattered(size: float, *shape: int) -> Tensor:
        return size * torch.randn(count, *shape, generator=generator)

    def some_of(share: float) -> Tensor:
        return torch.rand(count, generator=generator) < share

    followed = labels
    if kind == "offset 0.8":
        followed = torch.where(some_of(0.8), labels, torch.randint(classes, (count,), generator=generator))
    height = (0.25 * (followed - 1.5) + scattered(0.03))[:, None, None]
    if kind == "only carrier":
        images = scattered(0.05, CHANNELS, SIZE, SIZE)
    if kind in ("offset", "offset 0.8", "only carrier", "beside a shape", "untrained"):
        images[:, channel] += height
    if kind == "beside a shape":  # which says nothing in a quarter
        images += 0.5 * lines(labels, generator) * some_of(0.75)[:, None, None, None]
    if kind == "pair of eight":
        spectra[7] = spectra[6]
        images += 0.3 * spectra[labels][:, :, None, None] * (1 + scattered(0.2, 1, 1, 1))
        images[:, channel] += (0.5 * (labels == 7) + scattered(0.03))[:, None, None]
    if kind == "part of the images":
        chosen = some_of(0.3)
        images += 0.3 * torch.where(chosen[:, None], 0.0, spectra[labels])[:, :, None, None]
        images[:, channel] += torch.where(chosen[:, None, None], 2 * height, 0.0)
    if kind in ("noise", "noise by heart"):
        images = scattered(1.0, CHANNELS, SIZE, SIZE)
    if kind == "level":
        images += (0.4 * (labels - 1.5) + scattered(0.1))[:, None, None, None]
    if kind == "shape":
        images += 0.5 * lines(labels, generator)
    if kind == "spectra":
        images += 0.3 * spectra[labels][:, :, None, None] * (1 + scattered(0.3, 1, 1, 1))
    return standardised(images), labels, channel


def standardised(images: Tensor) -> Tensor:
    """By the training images."""
    seen = images[:TRAINING]
    return (images - seen.mean((0, 2, 3), keepdim=True)) / seen.std((0, 2, 3), keepdim=True)


def network(name: str, classes: int) -> nn.Module:
    """Of the mean spectrum, of each pixel alone, three convolutions, or a small residual network."""
    if name == "resnet10t":
        import timm

        residual: nn.Module = timm.create_model(name, in_chans=CHANNELS, num_classes=classes)
        return residual
    if name == "linear":
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, classes))
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, classes))
    if name == "pixels":
        return nn.Sequential(nn.Conv2d(CHANNELS, 32, 1), nn.ReLU(), nn.Conv2d(32, 32, 1), nn.ReLU(), *head)
    return nn.Sequential(
        *(nn.Conv2d(CHANNELS, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU()),
        *head,
    )


def train(model: nn.Module, images: Tensor, labels: Tensor, epochs: int) -> None:
    """AdamW on one cycle of the learning rate."""
    if not epochs:
        return
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=epochs * (len(images) // 32))
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of the images that are classified rightly."""
    return float((model(images).argmax(1) == labels).double().mean())


def examined(model: nn.Module, images: Tensor, labels: Tensor, channel: int, width: int, null: Null) -> dict[str, Any]:
    """Whether the shares are defined, the largest is the planted channel's, and the rule names one; as a monitor."""
    layout = channel_layout(width, CHANNELS)
    metric = ChannelDependence(layout.names)
    metric.update(attribute_channels(model, images, labels, bands=layout.bands, null=null))
    values = {key: float(value) for key, value in metric.compute().items()}
    diagnosis = FailureDiagnosis([rule for rule in standard_rules() if rule.kind == "single_band_reliance"])
    logged = {f"failures/channels/{key}": value for key, value in values.items()}
    for epoch in range(6):
        diagnosis.evaluate(Evaluation(epoch, 1000 * epoch, logged))
    changes = torch.tensor([abs(values[f"change/{name}"]) for name in layout.names])
    defined = values["largest_share"] == values["largest_share"]
    right = channel in layout.members[int(changes.argmax())]
    figures = {"change": round(float(changes.max()), 3), "floor": round(values["floor"], 3)}
    return figures | {"defined": defined, "right": defined and right, "found": bool(diagnosis.history)}


def measure(kind: str, name: str, seed: int) -> dict[str, Any]:
    """One network, with each null, by channel and by band."""
    images, labels, channel = data(kind, seed)
    torch.manual_seed(seed)
    model = network(name, int(labels.max()) + 1)
    train(model, images[:TRAINING], labels[:TRAINING], EPOCHS[name] * SEVERAL.get(kind, 1))
    model.eval()
    shown, target = images[TRAINING:], labels[TRAINING:]
    without = shown.clone()
    without[:, channel] = shown[:, channel].mean()
    row = {"kind": kind, "network": name, "seed": seed, "accuracy": round(accuracy(model, shown, target), 3)}
    row["accuracy_without"] = round(accuracy(model, without, target), 3)
    for null, width in product(get_args(Null), (1, 2)):
        key = f"{null}, {CHANNELS // width} bands"
        row[key] = examined(model, shown[:REFERENCE], target[:REFERENCE], channel, width, null)
    return row


def told(count: int, among: int) -> str:
    """A proportion and its interval."""
    ends = wilson(torch.tensor(count), torch.tensor(among))
    return f"{count} of {among} ({float(ends.low):.2f} to {float(ends.high):.2f})"


def report(found: list[dict[str, Any]]) -> None:
    """The table by null and group."""
    using = [row for row in found if row["kind"] in PLANTED and row["accuracy"] - row["accuracy_without"] >= 0.1]
    groups = {"planted": using} | {
        name: [row for row in found if row["kind"] in kinds] for name, kinds in (("chance", CHANCE), ("others", OTHERS))
    }
    for key in (f"{null}, {CHANNELS // width} bands" for width, null in product((1, 2), get_args(Null))):
        print(f"null {key}")
        for group, rows in groups.items():
            counts = {word: sum(row[key][word] for row in rows) for word in ("defined", "right", "found")}
            if group != "planted":
                del counts["right"]
            print(f"  {group:8}" + "; ".join(f"{word} {told(count, len(rows))}" for word, count in counts.items()))


def main() -> None:
    """Train, print, and with ``--json`` write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[4, 5, 6])
    parser.add_argument("--networks", nargs="+", choices=list(EPOCHS), default=["linear", "pixels", "cnn"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for seed, kind, name in product(options.seeds, PLANTED + CHANCE + OTHERS, options.networks):
        if name != "resnet10t" or kind in SLOW:
            found.append(measure(kind, name, seed))
            print(found[-1], flush=True)
    report(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
