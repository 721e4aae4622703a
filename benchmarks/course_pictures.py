"""Pictures for the pages of findings: the figure that a rule reads, in a run with a planted fault and in its twin.

    python benchmarks/course_pictures.py [--out docs/pictures] [--only KIND KIND] [--seed 1]

Each pair takes some ten seconds of one core. Threshold and name of the figure are those that the package declares.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

import lightning as L
import property_failures
import torch
from digit_runs import Labelled, Setup, Source, four_channels, healthy_setup, spectra, train
from faults import FAULTS
from lightning.pytorch import Callback
from planted_causes import CASES

from lightning_failures.callbacks.columns import COLUMNS, standard_rules
from lightning_failures.records.condition import Condition
from lightning_failures.records.term import Term, find_term
from lightning_failures.reporting.figure_style import COLOURS, canvas, close, to_small_png

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"


class Planted(NamedTuple):
    """A fault, and the figure in which it shows."""

    words: str  # what was planted
    put_into: Callable[[Setup], Setup]
    rule: str
    key: str  # as the rule has it
    network: str = "cnn"
    source: Source = four_channels
    subject: str = ""  # what its star stands for; empty: the subject of the finding


def darkened(setup: Setup) -> Setup:
    """Every tenth validation image has a third of its light."""
    tenth, images = torch.arange(len(setup.valid.labels)) % 10 == 0, setup.valid.images.clone()
    images[tenth] = property_failures.darkened(images[tenth])
    return replace(setup, valid=Labelled(images, setup.valid.labels))


def one_channel(setup: Setup) -> Setup:
    """All channels but one are those of another image, on both sides: one tells the class, and nothing else does."""

    def others(part: Labelled) -> Labelled:
        images = part.images.roll(1, 0)
        images[:, 5] = part.images[:, 5]
        return Labelled(images, part.labels)

    return replace(setup, train=others(setup.train), valid=others(setup.valid))


#: By the kind of finding.
PLANTED = {
    "class_collapse": Planted(
        "channels in another order in validation",
        FAULTS["channel order"].put_into,
        "class_collapse",
        "failures/collapse/class_share",
        "resnet10t",
    ),
    "representation_collapse": Planted(
        "learning rate times 20",
        CASES["learning rate times 20"].put_into,
        "representation_collapse",
        "failures/collapse/kept/*",
    ),
    "no_learning": Planted(
        "labels shuffled", CASES["labels shuffled"].put_into, "no_learning", "failures/causes/validation_low"
    ),
    "factor_failure": Planted(
        "every tenth validation image dark",
        darkened,
        "property_failure",
        "failures/properties/difference_low/*",
        subject="dark",
    ),
    "single_band_reliance": Planted(
        "one channel tells the class",
        one_channel,
        "single_band_reliance",
        "failures/channels/share/*",
        source=spectra,
    ),
}


class Course(Callback):
    """What was logged after each epoch."""

    def __init__(self) -> None:
        self.values: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note it."""
        self.values.append({key: float(value) for key, value in trainer.callback_metrics.items()})


class Run(NamedTuple):
    """One course, and the first finding of the kind that stood at the end."""

    values: list[dict[str, float]]
    raised: int | None = None
    subject: str = ""


def watched(setup: Setup, kind: str) -> Run:
    """Train, and keep the course."""
    course = Course()
    record = train(replace(setup, callbacks=[*setup.callbacks, course]), budget=0.5)  # all is examined, in each epoch
    stood = [each for each in record["findings"] if each["kind"] == kind and each["cleared"] is None]
    if not stood:
        return Run(course.values)
    first = min(stood, key=lambda each: int(each["epoch"]))
    return Run(course.values, first["epoch"], first["subject"])


def condition_of(planted: Planted) -> Condition:
    """The condition of the rule that reads the figure."""
    (rule,) = (rule for rule in standard_rules() if rule.name == planted.rule)
    read = [Condition.parse(each) for each in rule.when]
    return next(each for each in read if each.key == planted.key)


def term_of(key: str) -> Term:
    """What the package declares of a figure."""
    _, noun, rest = key.split("/", 2)
    terms = [find_term(column.terms, rest) for column in COLUMNS if column.noun == noun]
    (term,) = (each for each in terms if each is not None)
    return term


def picture(planted: Planted, sick: Run, healthy: Run) -> bytes:
    """Both courses side by side, on one scale, with the threshold and the epoch at which the finding was raised."""
    condition, subject = condition_of(planted), planted.subject or sick.subject
    runs = {f"Planted: {planted.words}": (sick, "second"), "The same run without it": (healthy, "first")}
    with canvas(7.2, 2.5) as figure:
        axes = figure.subplots(1, 2, sharey=True)
        for axis, (title, (run, colour)) in zip(axes, runs.items(), strict=True):
            shown = [condition.value(values, subject) for values in run.values]
            bound = [condition.limit(values, subject) for values in run.values]
            axis.plot(range(len(shown)), shown, color=COLOURS[colour], marker="o")
            axis.plot(range(len(bound)), bound, color=COLOURS["ink"], linestyle="--", linewidth=1)
            if run.raised is not None:
                axis.axvline(run.raised, color=COLOURS[colour], linewidth=1, linestyle=":")
            axis.set_title(title, fontsize=8.5)
            axis.set_xlabel("epoch")
            axis.grid(axis="y")
        axes[0].set_ylabel(fill(term_of(planted.key).name, 24))
        drawn = to_small_png(figure, dpi=140)
        close(figure)
    return drawn


def main(arguments: Sequence[str] | None = None) -> None:
    """Train all pairs, and write their pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--only", nargs="+", choices=PLANTED, default=list(PLANTED))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for kind in options.only:
        planted: Planted = PLANTED[kind]
        runs: list[Any] = []
        for put_into in (planted.put_into, lambda setup: setup):
            L.seed_everything(options.seed, verbose=False)
            runs.append(watched(put_into(healthy_setup(planted.network, options.seed, planted.source)), kind))
        (options.out / f"{kind}.png").write_bytes(picture(planted, *runs))
        condition, subject = condition_of(planted), planted.subject or runs[0].subject
        for name, run in zip(("planted", "healthy"), runs, strict=True):
            course = ", ".join(f"{condition.value(values, subject):.3f}" for values in run.values)
            print(f"{kind} {subject} {name}: raised {run.raised}; {course}", flush=True)


if __name__ == "__main__":
    main()
