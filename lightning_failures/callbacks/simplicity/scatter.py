"""A few samples of an evaluation, for the scatter of the logits over a cue."""

from typing import Any

import torch
from torch import Tensor

from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.callbacks.simplicity.samples import Samples

__all__ = ["CueScatter"]

POINTS, A_BATCH = 600, 32  # samples of an evaluation that are kept, and of one batch


class CueScatter:
    """Keeps up to 600 samples of an evaluation on rank zero, where there is a logger to draw for."""

    def __init__(self) -> None:
        self._kept: list[tuple[dict[str, Tensor], Tensor, Tensor]] = []
        self._room = 0

    def begin(self, evaluation: EvaluationContext) -> None:
        """Forget the samples of the last evaluation."""
        trainer = evaluation.trainer
        drawn = trainer.is_global_zero and trainer.loggers and evaluation.fitting
        self._kept, self._room = [], POINTS if drawn else 0

    def keep(self, samples: Samples) -> None:
        """Keep some samples of one batch; no device synchronisation."""
        count = min(A_BATCH, self._room)
        if count > 0 and samples.logits is not None and samples.cues:
            cues = {name: values[:count] for name, values in samples.cues.items()}
            self._kept.append((cues, samples.logits[:count].detach(), samples.target[:count]))
            self._room -= len(self._kept[-1][1])

    def points(self, cue: str | None) -> dict[str, list[Any]]:
        """Values of a cue, with logits and labels, one per sample; nothing without samples or without a cue."""
        if not self._kept or cue is None:
            return {}
        values = torch.cat([cues[cue] for cues, _, _ in self._kept]).cpu()
        logits = torch.cat([part for _, part, _ in self._kept]).cpu()
        labels = torch.cat([part for _, _, part in self._kept]).cpu()
        return {"cue": values.tolist(), "logits": logits.double().tolist(), "labels": labels.tolist()}
