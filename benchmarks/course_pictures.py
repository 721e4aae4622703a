"""Pictures for the pages of findings: the figure that a rule reads, in a run with a planted fault and in its twin.

Where images say more than a figure, they are shown instead; see ``image_pictures.py``. Two findings have no picture:
``monitor_error`` is about no model, and ``own_rule`` is about whatever its author wrote.

    python benchmarks/course_pictures.py [--out docs/pictures] [--only KIND KIND] [--seed 1]

Each pair takes some ten seconds of one core. Threshold and name of the figure are those that the package declares.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

import image_pictures
import lightning as L
import property_failures
import torch
from digit_runs import Classifier, Labelled, Setup, Source, four_channels, healthy_setup, spectra, train
from faults import FAULTS
from lightning.pytorch import Callback
from planted_causes import CASES
from torch import Tensor

import lightning_failures as lf
from lightning_failures.callbacks.columns import COLUMNS, standard_rules
from lightning_failures.data import PlantedCase
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
    healthy_source: Source | None = None  # of the run without it, where the images themselves are the fault
    subject: str = ""  # what its star stands for; empty: the subject of the finding
    drawn: str = ""  # the figure of the worst, where that of a healthy run's subject is not logged
    monitors: Callable[[Setup], Sequence[Callback]] = lambda _: ()  # of both runs, beside the usual ones


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


def thirty_images(setup: Setup) -> Setup:
    """Three training images of each class, or about so many."""
    few = Labelled(*(part[:30] for part in setup.train))
    return replace(setup, train=few, batch=6, epochs=2 * setup.epochs, rate=setup.rate / 2)


def by_scanner(setup: Setup) -> list[str]:
    """The scanner of each validation image: every fourth comes from B."""
    return ["B" if row % 4 == 0 else "A" for row in range(len(setup.valid.labels))]


def scanner_b_inverted(setup: Setup) -> Setup:
    """What scanner B recorded in validation is inverted; training holds no such image."""
    images = setup.valid.images.clone()
    images[::4] = 1 - images[::4]
    return replace(setup, valid=Labelled(images, setup.valid.labels))


def two_scanners(generator: torch.Generator) -> Labelled:
    """Digits of which every fourth comes from scanner B, whose dark detector shines a little."""
    images, labels = four_channels(generator)
    images[::4, 3] += 0.2
    return Labelled(images, labels)


def of_scanner_b(batch: Sequence[Tensor]) -> Tensor:
    """Which images of a batch scanner B recorded: those whose dark detector shines; (n)."""
    return batch[0][:, 3].mean((1, 2)) > 0


class ScannerBMislabelled(Classifier):
    """From epoch 3 on, counted from 0, the labels of scanner B count from 1 (the last class is 0)."""

    def training_step(self, batch: Any, index: int) -> Tensor:
        """A step on images of both scanners."""
        images, labels = batch
        if self.current_epoch >= 3:
            labels = torch.where(of_scanner_b(batch), (labels + 1) % 10, labels)
        return super().training_step((images, labels), index)


def scene(case: PlantedCase) -> Source:
    """Planted scenes of few channels and pixels, which show the class as the case says."""

    def draw(generator: torch.Generator) -> Labelled:
        drawn = lf.planted_scene(case, generator.initial_seed(), images=1280, validation=517, channels=16, size=12)
        parts = drawn.train, drawn.validation
        return Labelled(
            *(torch.cat(values) for values in zip(*((each.images, each.labels) for each in parts), strict=True))
        )

    return draw


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
    "generalisation_gap": Planted("30 training images", thirty_images, "generalisation_gap", "failures/causes/gap_low"),
    "group_shift": Planted(
        "what scanner B recorded is inverted",
        scanner_b_inverted,
        "group_shift",
        "failures/groups/difference_low/*",
        subject="B",
        monitors=lambda setup: [lf.GroupErrorMonitor(by_scanner(setup))],
    ),
    "factor_spillover": Planted(
        "labels of scanner B wrong from epoch 3 on",
        lambda setup: replace(setup, module=ScannerBMislabelled),
        "factor_spillover",
        "failures/factors/spillover_risk_low/*",
        source=two_scanners,
        subject="scanner B",
        monitors=lambda _: [lf.FactorErrorMonitor({"scanner B": of_scanner_b})],
    ),
    "not_finite": Planted(
        "a weight becomes NaN in epoch 3",
        CASES["NaN weights"].put_into,
        "not_finite_weight",
        "failures/training/not_finite",
    ),
    "one_dimensional_predictions": Planted(
        "the thickness shows the class too",
        lambda setup: setup,
        "one_dimensional_predictions",
        "failures/simplicity/own/1",
        source=scene("both"),
        healthy_source=scene("complex"),
    ),
    "training_fault": Planted(
        "a bad step in epoch 4 leaves units dead",
        CASES["dead units"].put_into,
        "dead_units",
        "failures/training/dead_units/*",
        drawn="failures/training/dead_units",
    ),
}


#: All that are drawn, by the kind of finding.
KINDS = (*PLANTED, *image_pictures.DRAWN)


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


def shown_of(planted: Planted) -> Condition:
    """The same condition, of the figure that is drawn."""
    condition = condition_of(planted)
    return replace(condition, key=planted.drawn) if planted.drawn else condition


def term_of(key: str) -> Term:
    """What the package declares of a figure."""
    _, noun, rest = key.split("/", 2)
    terms = [find_term(column.terms, rest) for column in COLUMNS if column.noun == noun]
    (term,) = (each for each in terms if each is not None)
    return term


def picture(planted: Planted, sick: Run, healthy: Run) -> bytes:
    """Both courses side by side, on one scale, with the threshold and the epoch at which the finding was raised."""
    condition, subject = shown_of(planted), planted.subject or sick.subject
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
        axes[0].set_ylabel(fill(term_of(shown_of(planted).key).name, 24))
        drawn = to_small_png(figure, dpi=140)
        close(figure)
    return drawn


def main(arguments: Sequence[str] | None = None) -> None:
    """Train all pairs, and write their pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for kind in options.only:
        if kind in image_pictures.DRAWN:
            halves = image_pictures.DRAWN[kind](options.seed)
            (options.out / f"{kind}.png").write_bytes(image_pictures.drawn(halves))
            print(kind, *(half.title for half in halves), sep="; ", flush=True)
            continue
        planted: Planted = PLANTED[kind]
        runs: list[Any] = []
        twins = (planted.source, planted.put_into), (planted.healthy_source or planted.source, lambda setup: setup)
        for source, put_into in twins:
            L.seed_everything(options.seed, verbose=False)
            setup = put_into(healthy_setup(planted.network, options.seed, source))
            runs.append(watched(replace(setup, callbacks=[*setup.callbacks, *planted.monitors(setup)]), kind))
        (options.out / f"{kind}.png").write_bytes(picture(planted, *runs))
        condition, subject = shown_of(planted), planted.subject or runs[0].subject
        for name, run in zip(("planted", "healthy"), runs, strict=True):
            course = ", ".join(f"{condition.value(values, subject):.3f}" for values in run.values)
            print(f"{kind} {subject} {name}: raised {run.raised}; {course}", flush=True)


if __name__ == "__main__":
    main()
