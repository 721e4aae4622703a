"""Runs whose reports stand in the gallery: digits in colour, which tells the class or does not.

    python benchmarks/gallery.py shortcut --out shortcut
    python benchmarks/gallery.py healthy --out healthy

Handwritten digits of scikit-learn, 32 x 32. In ``shortcut`` the colour of the ink goes with the digit in 95 of 100
images, of training and of validation; in ``healthy`` the same images have any colour. Nothing else differs.
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import lightning as L
import torch
from digit_runs import Classifier, Labelled, Setup, Statistics, healthy_setup, prepared, quiet_trainer
from planted_contents import in_colour
from real_images import digits
from torch.utils.data import DataLoader, TensorDataset

import lightning_failures as lf

TOGETHER = 0.95  # share of the images whose colour goes with the digit


def coloured(case: Literal["shortcut", "healthy"], generator: torch.Generator) -> Labelled:
    """Digits in colour."""
    ink, labels = digits(Path(), generator)
    cue = torch.randint(10, labels.shape, generator=generator)
    if case == "shortcut":
        cue = torch.where(torch.rand(labels.shape, generator=generator) < TOGETHER, labels, cue)
    return Labelled(in_colour(ink, cue), labels)


def watched(setup: Setup, folder: Path) -> list[lf.Finding]:
    """Train under all monitors, as a user has them, and write the report; the findings that stand at the end."""
    by: Statistics = setup.train_by
    raw = tuple(each[:, None, None] for each in by)
    monitors = lf.failure_monitors(report_dir=folder, class_names=list("0123456789"), denormalize=raw, budget=0.25)
    trainer = quiet_trainer(setup.epochs, monitors)
    train, valid = (TensorDataset(prepared(part.images, by), part.labels) for part in (setup.train, setup.valid))
    trainer.fit(Classifier(setup), DataLoader(train, setup.batch, shuffle=True), DataLoader(valid, 128))
    (diagnosis,) = (each for each in monitors if isinstance(each, lf.FailureDiagnosis))
    return [each for each in diagnosis.history if each.standing]


def main(arguments: Sequence[str] | None = None) -> None:
    """Make one report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=("shortcut", "healthy"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    L.seed_everything(options.seed, verbose=False)
    setup = healthy_setup("resnet10t", options.seed, lambda generator: coloured(options.case, generator))
    for finding in watched(replace(setup, schedule="one_cycle", epochs=12), options.out):
        print(f"{finding.severity} {finding.kind} {finding.subject}: {finding.message}")
    print(f"Report: {options.out / 'report.html'}")


if __name__ == "__main__":
    main()
