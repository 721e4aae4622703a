"""The pictures of the simplicity monitor: what they need of each evaluation, drawn while drawing is cheap."""

import math
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from lightning_failures.callbacks.budget import DRAWING, Budget
from lightning_failures.callbacks.simplicity.figures import FIGURES, SimplicityCourse
from lightning_failures.callbacks.simplicity.simple_models import SimpleReference
from lightning_failures.callbacks.simplicity.simple_rows import SimpleRows
from lightning_failures.records.finding import Evidence
from lightning_failures.reporting.loggers import log_figure, log_table
from lightning_failures.spectrum.axes import spectral_axis

__all__ = ["SimplicityPictures"]

COLUMNS = ("reach", "explained", "explained_adjusted")
POINTS, A_BATCH = 600, 32  # rows of an evaluation that the scatter shows, and of one batch


class SimplicityPictures:
    """Keeps a few rows of an evaluation on rank zero, and logs one picture after the other.

    Args:
        wavelengths: place of each channel on the axis; (b). None: the channels' numbers.
        unit: ``"nm"``, ``"um"`` or ``"cm-1"``.
        where: the public name to put into an error.
    """

    def __init__(self, wavelengths: Any, unit: str | None, where: str) -> None:
        axis = None if wavelengths is None else spectral_axis(wavelengths, unit, where=where)
        self.course = SimplicityCourse(None if axis is None else axis.values.tolist(), axis and axis.unit)
        self.budget = Budget(DRAWING)
        self._rows: list[tuple[dict[str, Tensor], Tensor, Tensor]] = []
        self._kept = POINTS
        self._next = 0
        self._stale: list[str] = []

    def begin(self, trainer: Trainer) -> None:
        """Forget the rows of the last evaluation."""
        drawn = trainer.is_global_zero and trainer.loggers and trainer.state.fn == "fit"
        self._rows, self._kept = [], 0 if drawn else POINTS

    def keep(self, rows: SimpleRows) -> None:
        """Keep some rows of one batch, where pictures are drawn; no device synchronisation."""
        count = min(A_BATCH, POINTS - self._kept)
        if count > 0 and rows.logits is not None and rows.cues:
            cues = {name: values[:count] for name, values in rows.cues.items()}
            self._rows.append((cues, rows.logits[:count].detach(), rows.target[:count]))
            self._kept += len(self._rows[-1][1])

    def draw(self, trainer: Trainer, values: Mapping[str, float], fixed: SimpleReference) -> None:
        """Add an evaluation, log the ladder as a table, a row a rung, and the five pictures in turn as time allows."""
        rows: list[list[Evidence]] = [
            [trainer.current_epoch, name, *(values.get(f"{key}/{name}", math.nan) for key in COLUMNS)]
            for name in fixed.names
        ]
        step = trainer.global_step
        log_table(trainer.loggers, "failures/simplicity/table", ["epoch", "rung", *COLUMNS], rows, step)
        self.course.add(trainer.current_epoch, values, fixed.names, fixed.image[:, :4].T.tolist())
        self.course.rings = [] if fixed.rings is None else fixed.rings.tolist()
        worst = self.course.worst_cue
        if self._rows and worst is not None:
            cue = torch.cat([cues[worst] for cues, _, _ in self._rows]).cpu()
            logits, labels = (torch.cat([part[k] for part in self._rows]).cpu() for k in (1, 2))  # type: ignore[misc]
            self.course.points = {"cue": cue.tolist(), "logits": logits.double().tolist(), "labels": labels.tolist()}
        if not trainer.loggers or find_spec("matplotlib") is None:
            return
        names = list(FIGURES)
        self._stale = names[self._next :] + names[: self._next]
        while self._stale and self.budget.allows:
            self._next = (names.index(self._stale[0]) + 1) % len(names)
            self._draw(trainer, self._stale.pop(0))

    def finish(self, trainer: Trainer) -> None:
        """Draw of the last evaluation what there was no time for before."""
        while self._stale:
            self._draw(trainer, self._stale.pop(0))

    def _draw(self, trainer: Trainer, name: str) -> None:
        with self.budget.spend():
            figure = FIGURES[name](self.course)
            if figure is not None:
                log_figure(trainer.loggers, f"failures/simplicity/{name}", figure, trainer.global_step)
