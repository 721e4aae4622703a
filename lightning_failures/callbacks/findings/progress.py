"""What the columns say of an evaluation, and the newest finding, in whatever progress bar the Trainer has."""

import shutil
from collections.abc import Iterable
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.records.finding import Finding
from lightning_failures.records.kind import KINDS, OWN_RULE
from lightning_failures.records.run_record import RunRecord

__all__ = ["ProgressNotes"]

WIDTH = 14  # Lightning's rich bar breaks the line after each item that does not fit beside the bar
BAR, NUMBER = 60, 8  # columns of a bar with its epoch, count and times; of a number with what parts it from the next
UNKNOWN = 160  # columns where no terminal says how many it has, as in a notebook

FINDING, WATCH = "finding", "watch"


class ProgressNotes:
    """Adds a few items to the bar's own; they change at evaluations alone, so that nothing flickers in between.

    Lightning asks its bar for what it shows at every refresh, and takes text from nobody else: ``self.log`` knows
    numbers only. The bar's ``get_metrics`` is therefore asked through this while the run lasts.
    """

    def __init__(self) -> None:
        self.items: dict[str, str] = {}
        self._bar: Any = None

    def attach(self, trainer: Trainer) -> None:
        """Stand between the trainer's bar and what it shows; without a bar, do nothing."""
        self._bar = trainer.progress_bar_callback
        if self._bar is None:
            return
        ask = self._bar.get_metrics

        def get_metrics(trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
            theirs = ask(trainer, pl_module)
            return {**theirs, **self._fitting(theirs)}

        self._bar.get_metrics = get_metrics

    def detach(self) -> None:
        """Leave the bar as it was."""
        if self._bar is not None:
            vars(self._bar).pop("get_metrics", None)
        self._bar = None

    def _fitting(self, theirs: Iterable[str]) -> dict[str, str]:
        """What fits beside the bar and the user's own items: the finding in any case, then one item after the other."""
        room = shutil.get_terminal_size((UNKNOWN, 24)).columns - BAR - sum(len(name) + NUMBER for name in theirs)
        shown = set()
        for name in sorted(self.items, key=lambda name: name not in (FINDING, WATCH)):
            room -= len(name) + len(self.items[name]) + 3
            if room >= 0 or name == FINDING:
                shown.add(name)
        return {name: text for name, text in self.items.items() if name in shown}

    def update(self, record: RunRecord) -> None:
        """Say what holds after an evaluation."""
        evaluation = record.evaluations[-1]
        for column in COLUMNS:
            for name in record.names_of(column.noun):
                note = column.progress(evaluation.statistics(name))
                if note is not None:
                    item = note.item if name == column.noun else f"{note.item} {name}"
                    self.items[item] = f"{_short(note.subject)} {note.value}"
        standing = [finding for finding in record.findings if finding.standing]
        wrong = [finding for finding in standing if finding.severity != "watch"]
        self.items[FINDING] = _short(_word(wrong[-1])) if wrong else "none"
        self.items.pop(WATCH, None)
        if len(standing) > len(wrong):
            self.items[WATCH] = _short(_word([f for f in standing if f.severity == "watch"][-1]))


def _word(finding: Finding) -> str:
    """What is found, in two words at most."""
    return finding.rule if finding.kind == OWN_RULE else KINDS[finding.kind].word or finding.subject


def _short(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
