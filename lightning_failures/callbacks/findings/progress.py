"""What the columns say of an evaluation, and the newest finding, in whatever progress bar the Trainer has."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer

from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.records.finding import Finding
from lightning_failures.records.kind import KINDS, OWN_RULE
from lightning_failures.records.run_record import RunRecord

__all__ = ["ProgressNotes"]

WIDTH = 14  # Lightning's rich bar breaks the line after each item that does not fit beside the bar


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
            return {**ask(trainer, pl_module), **self.items}

        self._bar.get_metrics = get_metrics

    def detach(self) -> None:
        """Leave the bar as it was."""
        if self._bar is not None:
            vars(self._bar).pop("get_metrics", None)
        self._bar = None

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
        self.items["finding"] = _short(_word(wrong[-1])) if wrong else "none"
        self.items.pop("watch", None)
        if len(standing) > len(wrong):
            self.items["watch"] = _short(_word([f for f in standing if f.severity == "watch"][-1]))


def _word(finding: Finding) -> str:
    """What is found, in two words at most."""
    return finding.rule if finding.kind == OWN_RULE else KINDS[finding.kind].word or finding.subject


def _short(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
