"""What the pictures of the simplicity monitor need of each evaluation."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.callbacks.simplicity.figures import SimplicityCourse
from lightning_failures.callbacks.simplicity.simple_models import SimpleReference
from lightning_failures.callbacks.simplicity.simple_rows import SimpleRows
from lightning_failures.records.finding import Evidence
from lightning_failures.reporting.loggers import log_table
from lightning_failures.spectrum.axes import spectral_axis

__all__ = ["SimplicityPictures"]

COLUMNS = ("reach", "explained", "explained_adjusted")
POINTS, A_BATCH = 600, 32  # rows of an evaluation that the scatter shows, and of one batch


class SimplicityPictures:
    """Keeps a few rows of an evaluation on rank zero, and the course of the run.

    Args:
        wavelengths: place of each channel on the axis; (b). None: the channels' numbers.
        unit: ``"nm"``, ``"um"`` or ``"cm-1"``.
        where: the public name to put into an error.
    """

    def __init__(self, wavelengths: Any, unit: str | None, where: str) -> None:
        axis = None if wavelengths is None else spectral_axis(wavelengths, unit, where=where)
        self.course = SimplicityCourse(None if axis is None else axis.values.tolist(), axis and axis.unit)
        self._rows: list[tuple[dict[str, Tensor], Tensor, Tensor]] = []
        self._kept = POINTS

    def begin(self, evaluation: EvaluationContext) -> None:
        """Forget the rows of the last evaluation."""
        trainer = evaluation.trainer
        drawn = trainer.is_global_zero and trainer.loggers and evaluation.fitting
        self._rows, self._kept = [], 0 if drawn else POINTS

    def keep(self, rows: SimpleRows) -> None:
        """Keep some rows of one batch, where pictures are drawn; no device synchronisation."""
        count = min(A_BATCH, POINTS - self._kept)
        if count > 0 and rows.logits is not None and rows.cues:
            cues = {name: values[:count] for name, values in rows.cues.items()}
            self._rows.append((cues, rows.logits[:count].detach(), rows.target[:count]))
            self._kept += len(self._rows[-1][1])

    def add(self, evaluation: EvaluationContext, values: Mapping[str, float], fixed: SimpleReference, key: str) -> None:
        """Add an evaluation to the course, and log the ladder as a table, a row a rung."""
        rows: list[list[Evidence]] = [
            [evaluation.epoch, name, *(values.get(f"{key}/{name}", math.nan) for key in COLUMNS)]
            for name in fixed.names
        ]
        log_table(evaluation.trainer.loggers, key, ["epoch", "rung", *COLUMNS], rows, evaluation.step)
        self.course.add(evaluation.epoch, values, fixed.names, fixed.image[:, :4].T.tolist())
        self.course.rings = [] if fixed.rings is None else fixed.rings.tolist()
        worst = self.course.worst_cue
        if self._rows and worst is not None:
            cue = torch.cat([cues[worst] for cues, _, _ in self._rows]).cpu()
            logits, labels = (torch.cat([part[k] for part in self._rows]).cpu() for k in (1, 2))  # type: ignore[misc]
            self.course.points = {"cue": cue.tolist(), "logits": logits.double().tolist(), "labels": labels.tolist()}
