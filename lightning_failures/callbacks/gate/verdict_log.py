"""All verdicts of a run: beside its checkpoints, in the summary of a W&B run, and in the metadata of its artifacts."""

import os
from collections.abc import Sequence
from typing import Any

from lightning.pytorch.loggers import Logger

from lightning_failures.callbacks.gate.verdict import Verdict
from lightning_failures.records.strict_json import to_text
from lightning_failures.reporting.loggers import annotate_models, log_summary

__all__ = ["VERDICT_KEY", "VerdictLog"]

#: Where a checkpoint, and its artifact's metadata, bear the verdict: ``torch.load(path)["failures_verdict"]``.
VERDICT_KEY = "failures_verdict"


class VerdictLog:
    """Verdicts in the order of training, as plain data.

    Args:
        constraints: as they were written.
    """

    def __init__(self, constraints: Sequence[str]) -> None:
        self.constraints = list(constraints)
        self.name = "gate.json"
        self.verdicts: list[dict[str, Any]] = []
        self.saved: dict[str, dict[str, Any]] = {}  # by the name of the file; W&B's artifacts look here

    def add(self, verdict: Verdict) -> None:
        """Keep the verdict on one evaluation."""
        self.verdicts.append(verdict.to_dict())

    def of_file(self, path: str, verdict: Verdict | None, step: int, loggers: Sequence[Logger]) -> dict[str, Any]:
        """What a file that is being saved bears: the verdict on its weights, or that there is none."""
        if verdict is not None and verdict.step == step:
            said = verdict.to_dict()
        else:
            said = {"step": step, "feasible": None, "why": "no evaluation was judged at this step"}
        self.saved[os.path.basename(path)] = said
        annotate_models(loggers, VERDICT_KEY, self.saved)
        return said

    def write(self, files: Any, folder: str, best: str, loggers: Sequence[Logger]) -> None:
        """Write ``gate.json``, strict JSON, and the summary of the run.

        Args:
            files: the file system of the checkpoints, as fsspec has it.
            folder: where the checkpoints lie.
            best: path of the best checkpoint; may be empty.
            loggers: those of the trainer.
        """
        data = {"constraints": self.constraints, "best": os.path.basename(best) or None, "evaluations": self.verdicts}
        files.makedirs(folder, exist_ok=True)
        with files.open(os.path.join(folder, self.name), "w") as file:
            file.write(to_text(data, indent=1))
        last = self.verdicts[-1]
        passed = sum(verdict["feasible"] for verdict in self.verdicts)
        prefix = "failures/gate/"
        log_summary(
            loggers,
            {
                f"{prefix}feasible": int(last["feasible"]),
                f"{prefix}why": last["why"],
                f"{prefix}passed": passed,
                f"{prefix}rejected": len(self.verdicts) - passed,
                f"{prefix}best": os.path.basename(best),
            },
        )
