"""The planted benchmark: which indicators tell a model that leans on the thickness from one that does not.

    python benchmarks/planted.py --seeds 0 1 2 3 4 --architectures cnn resnet10t vit --json planted.json

Trains each architecture on each case and prints one line a run: accuracy; the truth, which is the share of predictions
that follow when an image is scaled to another's total absorbance; the interchange on principal directions, at image and
at pixel level; the variance of the logits that the total absorbance explains, over all images and within the labels;
the share of the model's information that it explains; and the accuracy on mean spectra alone. Compared with the logits,
the total absorbance is the one before any normalisation; elsewhere that of the inputs, which normalisation makes
constant.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from typing import get_args

import torch
from torch import Tensor, nn

from lightning_failures import CueExplainedVariance, DecisionDimension, ExplainedBySimple, interchange, planted_scene
from lightning_failures.data import PlantedCase, PlantedScene
from lightning_failures.functional import (
    covariance,
    cue_edges,
    ladder_features,
    lowest_rung,
    moments,
    principal_directions,
)
from lightning_failures.interventions import (
    predict_changed,
    predict_transplants,
    raw_units,
    retention_changes,
    total_absorbance_swap,
)
from lightning_failures.metrics import CueSwap, Ladder, Retention
from lightning_failures.observe import donor_rows, undisturbed

RANKS = (1, 2, 4, 8)


class Standardise(nn.Module):
    """Each channel to mean 0 and deviation 1 over the training images, so that a model takes raw units."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.mean, self.deviation = images.mean((0, 2, 3))[:, None, None], images.std((0, 2, 3))[:, None, None]

    def forward(self, images: Tensor) -> Tensor:
        """Images (n b h w) in units of the deviation."""
        return (images - self.mean) / self.deviation


def make(architecture: str, channels: int, classes: int, size: int) -> nn.Module:
    """A small network of each kind."""
    if architecture == "resnet10t":
        import timm

        network: nn.Module = timm.create_model("resnet10t", in_chans=channels, num_classes=classes)
        return network
    if architecture == "vit":
        from timm.models.vision_transformer import VisionTransformer

        return VisionTransformer(
            img_size=size, patch_size=4, in_chans=channels, num_classes=classes, embed_dim=96, depth=4, num_heads=4
        )
    return nn.Sequential(
        nn.Conv2d(channels, 32, 1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, classes),
    )


class Indicators:
    """Everything that is measured on one scene: directions and ladder are fitted once, on its training images."""

    def __init__(self, scene: PlantedScene) -> None:
        self.scene = scene
        train, valid = scene.train.images, scene.validation
        features = ladder_features(train, raw=train)
        ladder = Ladder(scene.classes, {name: rows.shape[1] for name, rows in features.items()})
        ladder.update(features, scene.train.labels)
        valid_features = ladder_features(valid.images, raw=valid.images)
        self.rungs = {name: rung.predict(valid_features) for name, rung in ladder.rungs().items()}
        self.edges = cue_edges(scene.train.total_absorbance)
        some = train[:256].movedim(1, -1).flatten(0, 2)
        self.by_pixel = principal_directions(covariance(moments(some)))[:, : max(RANKS)]
        self.by_image = principal_directions(covariance(moments(train.mean((2, 3)))))[:, : max(RANKS)]

    def reach(self) -> dict[str, float]:
        """What each rung of the ladder reaches on the labels."""
        labels = self.scene.validation.labels
        return {name: float(preds.eq(labels).double().mean()) for name, preds in self.rungs.items()}

    def measure(self, model: nn.Module) -> dict[str, float | str | None]:
        """Every indicator of one model, by name."""
        part, classes = self.scene.validation, self.scene.classes
        images, labels = part.images, part.labels
        with undisturbed(model, images.device), torch.no_grad():
            logits = torch.cat([model(chunk) for chunk in torch.split(images, 128)])
        preds = logits.argmax(1)
        donors = donor_rows(preds)
        values: dict[str, float | str | None] = {}
        for level, directions in (("image", self.by_image), ("pixel", self.by_pixel)):
            swapped = interchange(model, images, images[donors], directions, level, RANKS)  # type: ignore[arg-type]
            dimension = DecisionDimension(RANKS)
            dimension.update(preds, preds[donors], swapped)
            values |= {f"{level}_{name}": float(value) for name, value in dimension.compute().items()}
        values["truth"] = self._truth(model, images, preds, donors)

        explained_variance = CueExplainedVariance(self.edges, classes)
        explained_variance.update(logits, part.total_absorbance, labels)
        values |= {name: float(value) for name, value in explained_variance.compute().items()}
        shares: dict[str, Tensor] = {}
        for name, simple_preds in self.rungs.items():
            explained = ExplainedBySimple(classes)
            explained.update(preds, simple_preds, labels)
            shares[name] = explained.compute()["explained_adjusted"]
        values |= {f"explained_{name}": float(share) for name, share in shares.items()}
        values["lowest_rung"] = lowest_rung(shares)

        changes = retention_changes(raw_units(None, images))
        retention = Retention(list(changes), classes)
        retention.update(preds, predict_changed(model, images, changes), labels)
        return values | {name: float(value) for name, value in retention.compute().items()}

    def _truth(self, model: nn.Module, images: Tensor, preds: Tensor, donors: Tensor) -> float:
        if self.scene.case in ("normalised", "control"):  # scaling an image is undone by the normalisation
            return 0.0
        swap = CueSwap(["total_absorbance"])
        swaps = {"total_absorbance": total_absorbance_swap(raw_units(None, images))}
        swap.update(preds, preds[donors], predict_transplants(model, images, images[donors], swaps))
        return float(swap.compute()["swap_own/total_absorbance"])


def fit(model: nn.Module, scene: PlantedScene, epochs: int, rate: float) -> None:
    """Train by AdamW on one cycle of the learning rate."""
    loader = scene.data_module().train_dataloader()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * len(loader))
    model.train()
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
            schedule.step()


def line(run: Mapping[str, object]) -> str:
    """One run in one row of the table."""
    numbers = ["accuracy", "truth", "image_own/1", "image_donor/1", *(f"pixel_own/{rank}" for rank in RANKS)]
    numbers += ["eta2", "eta2_within", "explained_total_absorbance", "changed_accuracy/mean_spectrum"]
    cells = [f"{run[name]:6.2f}" for name in numbers]
    return f"{run['case']:<11}{run['architecture']:<10}{run['seed']:>4} " + " ".join(cells) + f"  {run['lowest_rung']}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cases = get_args(PlantedCase)
    parser.add_argument("--cases", nargs="+", choices=cases, default=list(cases))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--architectures", nargs="+", choices=["cnn", "resnet10t", "vit"], default=["cnn"])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rate", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument("--images", type=int, default=1536)
    parser.add_argument("--json", help="write all indicators of all runs to this file")
    options = parser.parse_args(arguments)

    names = ["acc", "truth", "own/1", "don/1", *(f"pix/{rank}" for rank in RANKS), "eta2", "within", "mu/I", "mean"]
    print(f"{'case':<11}{'network':<10}seed " + " ".join(f"{name:>6}" for name in names) + "  lowest rung")
    runs: list[dict[str, object]] = []
    for seed in options.seeds:
        for case in options.cases:
            scene = planted_scene(case, seed, images=options.images)
            indicators = Indicators(scene)
            for architecture in options.architectures:
                torch.manual_seed(seed)
                started = time.perf_counter()
                b, h = scene.train.images.shape[1:3]
                network = make(architecture, b, scene.classes, h)
                model = nn.Sequential(Standardise(scene.train.images), network)
                fit(model, scene, options.epochs, options.rate)
                run = {"case": case, "architecture": architecture, "seed": seed, **indicators.measure(model)}
                runs.append(run | {"reach": indicators.reach(), "seconds": time.perf_counter() - started})
                print(line(run), flush=True)
                if options.json:
                    with open(options.json, "w") as file:
                        json.dump(runs, file, indent=1)


if __name__ == "__main__":
    main()
