"""What the monitor finds in runs whose truth is planted: detections and false alarms, with their epochs.

    python benchmarks/planted_findings.py --out planted [--seeds 0 1 2 3 4] [--architectures cnn resnet10t vit]
        [--cases complex simple both partial normalised control] [--epochs 8] [--budget 0.2]

Each case, architecture and seed is one run of a Lightning Trainer with a SimplicityBiasMonitor and a FailureDiagnosis,
as a user has them; the true thickness is given as a cue of the user's own. A run that stands in ``--out/runs.jsonl`` is
not done again, so that the table can be made in parts, and by several processes (``--seeds 0 1`` and ``--seeds 2 3``).
The table at the end is of all runs in the folder. With the default budget here every evaluation gets its
interchange and its cue swap; in such short runs the monitor's own default, 0.05, leaves some out, and findings come
later.

Expected: in *complex* no finding; in *simple*, *both* and *partial* (rho = 0.9) a ``simple_cue_reliance`` that names
the total absorbance; in *normalised* (each pixel divided by its mean absorbance) none. What the negative *control*
gives is
reported: its thickness is divided out, but blobs that were not multiplied by it give it away.

*beyond* counts the runs whose accuracy passes that of the total absorbance by 0.03 or more. In *partial* such a network
has learned where the blobs lie and left the thickness behind, as the share of predictions that follow a swapped total
absorbance, *reliance*, shows: no finding is right there.
"""

import argparse
import json
import logging
import time
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import lightning as L
import torch
from digit_runs import quiet_trainer
from judgement import HEALTHY, Truth
from planted import Standardise, make
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import FailureDiagnosis, SimplicityBiasMonitor, planted_scene
from lightning_failures.data import PlantedCase, PlantedImages, PlantedScene
from lightning_failures.records import strict

HERE = "failures/simplicity/"
COURSE = (
    "model_accuracy", "own/1", "donor/1", "pixel_own/1", "reliance/total_absorbance", "reliance/thickness",
    "explained_adjusted/total_absorbance",
    "transplant/total_absorbance", "transplant/level", "decision_dimension", "lowest_rung",
)  # fmt: skip
RATES = {"cnn": 3e-3, "resnet10t": 2e-3, "vit": 1e-3}
EXPECTED = {"complex": False, "simple": True, "both": True, "partial": True, "normalised": False}


class Classifier(L.LightningModule):
    """An ordinary classifier that takes raw units."""

    def __init__(self, scene: PlantedScene, architecture: str) -> None:
        super().__init__()
        images = scene.train.images
        network = make(architecture, images.shape[1], scene.classes, images.shape[2])
        self.net, self.rate = nn.Sequential(Standardise(images), network), RATES[architecture]

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        """Cross-entropy."""
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Any, _: int) -> None:
        """A forward pass."""
        self.net(batch[0])

    def configure_optimizers(self) -> Any:
        """AdamW on one cycle of the learning rate."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.rate)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.rate, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def loader(part: PlantedImages, shuffle: bool) -> DataLoader[tuple[torch.Tensor, ...]]:
    """Images, labels, and the true thickness."""
    return DataLoader(TensorDataset(part.images, part.labels, part.thickness), 64, shuffle=shuffle)


def run(case: PlantedCase, architecture: str, seed: int, epochs: int, budget: float) -> dict[str, Any]:
    """One run; what it found, and the course of the main figures."""
    scene = planted_scene(case, seed)
    L.seed_everything(seed, verbose=False)
    began = time.perf_counter()
    monitor = SimplicityBiasMonitor({"thickness": "2"}, budget=budget, on_error="raise")
    diagnosis = FailureDiagnosis(announce="nothing")
    trainer = quiet_trainer(epochs, [monitor, diagnosis])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
        warnings.filterwarnings("ignore", category=FutureWarning)
        trainer.fit(Classifier(scene, architecture), loader(scene.train, True), loader(scene.validation, False))
    record = diagnosis.record
    return {
        "case": case,
        "architecture": architecture,
        "seed": seed,
        "epochs": epochs,
        "budget": budget,
        "findings": [finding.to_dict() for finding in diagnosis.history],
        "course": {
            name: [strict(evaluation.values.get(HERE + name, float("nan"))) for evaluation in record.evaluations]
            for name in COURSE
        },
        "last": {key: strict(value) for key, value in record.last_values().items()},
        "seconds": time.perf_counter() - began,
        "monitor_share": record.monitor_share,
    }


def table(runs: Sequence[Mapping[str, Any]]) -> str:
    """One row a case and architecture: runs, detections and false alarms of each kind with their epochs."""
    cells: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for one in runs:
        cells[one["case"], one["architecture"]].append(one)
    head = (
        "case",
        "network",
        "runs",
        "expected",
        "as expected",
        "beyond",
        "accuracy",
        "reliance",
        "own/1",
        "findings (epochs)",
    )
    rows = [head]
    for case in get_args(PlantedCase):
        for architecture in RATES:
            done = sorted(cells.get((case, architecture), []), key=lambda one: one["seed"])
            if done:
                rows.append((case, architecture, str(len(done)), *_verdict(case, done)))
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _verdict(case: str, runs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    named: dict[str, list[str]] = defaultdict(list)
    for one in runs:
        for finding in one["findings"]:
            cleared = "" if finding["cleared"] is None else f"-{finding['cleared']}"
            named[f"{finding['kind']} {finding['subject']}".strip()].append(f"{finding['epoch']}{cleared}")
    expected = {True: "total absorbance", False: "none", None: "open"}[EXPECTED.get(case)]
    right = sum(_as_expected(case, one) for one in runs)
    agree = "" if EXPECTED.get(case) is None else f"{right} of {len(runs)}"
    found = "; ".join(f"{name}: {' '.join(epochs)}" for name, epochs in sorted(named.items())) or "none"
    figures = (_range(runs, name) for name in ("model_accuracy", "reliance/total_absorbance", "own/1"))
    return (expected, agree, str(sum(map(beyond, runs))), *figures, found)


def beyond(one: Mapping[str, Any]) -> bool:
    """Whether the accuracy passes that of the total absorbance by 0.03 or more."""
    return any(accuracy >= _reach(one) + 0.03 for accuracy in _course(one, "model_accuracy")[-1:])


def truth_of(one: Mapping[str, Any]) -> Truth | None:
    """What is true of a run, by its case and by what it learned; None: open."""
    expected = EXPECTED.get(one["case"])
    if expected is None:
        return None
    return Truth(("shortcut",)) if expected and not beyond(one) else HEALTHY


def _reach(one: Mapping[str, Any]) -> float:
    """Accuracy of the total absorbance alone; chance where it was divided out."""
    reach = one["last"].get(f"{HERE}reach/total_absorbance")
    return float(one["last"][f"{HERE}chance"] if reach is None else reach)


def _as_expected(case: str, one: Mapping[str, Any]) -> bool:
    standing = [finding for finding in one["findings"] if finding["cleared"] is None]
    if EXPECTED.get(case):
        return ("simple_cue_reliance", "total_absorbance") in {(f["kind"], f["subject"]) for f in standing}
    return not one["findings"]


def _course(one: Mapping[str, Any], name: str) -> list[float]:
    """A figure of those evaluations at which it was examined."""
    return [float(value) for value in one["course"][name] if value is not None]


def _range(runs: Sequence[Mapping[str, Any]], name: str) -> str:
    known = [value for one in runs for value in _course(one, name)[-1:]]
    return f"{min(known):.2f} to {max(known):.2f}" if known else "undefined"


def read(path: Path) -> list[dict[str, Any]]:
    """The runs of a folder."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, and print the table of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cases = get_args(PlantedCase)
    parser.add_argument("--out", type=Path, default=Path("planted"))
    parser.add_argument("--cases", nargs="+", choices=cases, default=list(cases))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--architectures", nargs="+", choices=list(RATES), default=list(RATES))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--budget", type=float, default=0.2, help="share of time for extra forward passes")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "runs.jsonl"
    for seed in options.seeds:
        for architecture in options.architectures:
            for case in options.cases:
                cell = {"case": case, "architecture": architecture, "seed": seed}
                if any(cell.items() <= one.items() for one in read(path)):
                    continue
                done = run(case, architecture, seed, options.epochs, options.budget)
                with path.open("a") as file:
                    file.write(json.dumps(done, allow_nan=False) + "\n")
                found = ", ".join(f"{f['kind']} {f['subject']} {f['epoch']}" for f in done["findings"]) or "none"
                print(f"{case:<11}{architecture:<10}{seed:>3}  {done['seconds']:5.0f} s  {found}", flush=True)
    print(table(read(path)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    main()
