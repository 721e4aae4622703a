"""How concentrated the profiles of models are that use one band, and of models that use several: for the rule's bound.

    python benchmarks/single_band.py [--seeds 3] [--epochs 6] [--json FILE]

Small networks on planted scenes of 64 channels. *One band*: the class is nothing but the height of one narrow band, all
else is as it comes. *Several*: the planted cases. After each epoch the default bands, 16 of 4 channels each, by exact
ablation over the null floor, as ChannelAttributionMonitor logs them; the largest share from the third epoch on, and
whether the standard rule fires.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_failures import FailureDiagnosis, attribute_channels, planted_scene, standard_rules
from lightning_failures.metrics import ChannelDependence
from lightning_failures.records import Evaluation
from lightning_failures.spectrum import channel_layout

BANDS = (1030.0, 1080.0, 1240.0, 1545.0, 1740.0)
CASES = ("complex", "simple", "both", "partial", "normalised", "control")


def network() -> nn.Module:
    """Three convolutions."""
    return nn.Sequential(
        *(nn.Conv2d(64, 16, 1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4)),
    )


def scenes(seed: int) -> Iterator[tuple[str, Tensor, Tensor, Tensor, Tensor]]:
    """Name, training images and labels, validation images and labels; standardised by channel."""
    parts: list[tuple[str, list[Tensor], list[Tensor]]] = []
    for case in CASES:
        scene = planted_scene(case, seed, images=1024, validation=256, size=12)  # type: ignore[arg-type]
        both = (scene.train, scene.validation)
        parts.append((case, [part.images for part in both], [part.labels for part in both]))
    base = planted_scene("complex", seed, images=1024, validation=256, size=12)
    generator = torch.Generator().manual_seed(seed)
    for centre in BANDS:
        line = (-((base.wavenumbers - centre) ** 2) / (2 * 10**2)).exp().float()
        labels = [torch.randint(4, (len(part),), generator=generator) for part in (base.train, base.validation)]
        height = [0.2 * label + 0.04 * torch.randn(len(label), generator=generator) for label in labels]
        images = [
            part.images + size[:, None, None, None] * line[:, None, None]
            for part, size in zip((base.train, base.validation), height, strict=True)
        ]
        parts.append((f"one band at {centre:.0f}", images, labels))
    for name, images, labels in parts:
        mean, scale = images[0].mean((0, 2, 3), keepdim=True), images[0].std((0, 2, 3), keepdim=True)
        train, valid = ((part - mean) / scale for part in images)
        yield name, train, labels[0], valid, labels[1]


def course(train: Tensor, labels: Tensor, valid: Tensor, target: Tensor, epochs: int, seed: int) -> dict[str, Any]:
    """Accuracy, what the rule found, and by epoch from the third on the largest share and the effective bands."""
    torch.manual_seed(seed)
    model = network()
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=epochs * len(train) // 32)
    layout = channel_layout(None, 64)
    metric = ChannelDependence(layout.names)
    diagnosis = FailureDiagnosis([rule for rule in standard_rules() if rule.kind == "single_band_reliance"])
    shares, effective = [], []
    for epoch in range(epochs):
        model.train()
        for rows in torch.randperm(len(train)).split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(train[rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()
        metric.reset()
        metric.update(attribute_channels(model, valid[:128], target[:128], bands=layout.bands, null="images"))
        values = {key: float(value) for key, value in metric.compute().items()}
        logged = {f"failures/channels/{key}": value for key, value in values.items()}
        diagnosis.evaluate(Evaluation(epoch, (epoch + 1) * len(train) // 32, logged))
        if epoch >= 2:
            shares.append(round(values["largest_share"], 3))
            effective.append(round(values["effective_channels"], 1))
    accuracy = float((model.eval()(valid).argmax(1) == target).double().mean())
    found = [finding.subject for finding in diagnosis.history]
    return {"accuracy": round(accuracy, 3), "found": found, "largest_share": shares, "effective_bands": effective}


def main() -> None:
    """Train, print, and with ``--json`` write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for seed in range(options.seeds):
        for name, *data in scenes(seed):
            row = {"case": name, "seed": seed} | course(*data, epochs=options.epochs, seed=seed)
            found.append(row)
            print(row, flush=True)
    for one in (True, False):
        rows = [row for row in found if row["case"].startswith("one band") == one]
        fired = sum(bool(row["found"]) for row in rows)
        print(f"{'one band' if one else 'several bands, or all'}: the rule fires in {fired} of {len(rows)} runs")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
