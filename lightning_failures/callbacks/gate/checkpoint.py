"""Saves checkpoints of models that do not fail: a ModelCheckpoint with constraints."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from lightning_failures.callbacks.both_names import TheirCheckpoint
from lightning_failures.callbacks.freshness import FIRST_LOADER
from lightning_failures.callbacks.gate.constraints import read_constraints
from lightning_failures.callbacks.gate.evasions import refuse_evasions
from lightning_failures.callbacks.gate.gate import Gate
from lightning_failures.callbacks.gate.verdict import Verdict
from lightning_failures.callbacks.gate.verdict_log import VERDICT_KEY, VerdictLog
from lightning_failures.callbacks.state_key import state_key
from lightning_failures.errors import InputError
from lightning_failures.records.order import Order, rank
from lightning_failures.reporting.console import print_notice

__all__ = ["GatedCheckpoint"]

WHERE = "GatedCheckpoint"


class GatedCheckpoint(ModelCheckpoint, TheirCheckpoint):
    """Keeps the best checkpoints among those that satisfy all constraints.

    An evaluation passes when every constraint, the monitor and the tie-breaks were logged at it, none is nan, and every
    constraint holds on every process; a value that an earlier evaluation left behind does not pass. Why an evaluation
    was rejected, and by how much, is printed, written to ``gate.json`` beside the checkpoints and to the summary of a
    W&B run; each checkpoint bears its verdict under ``"failures_verdict"``, and so does its W&B artifact.
    ``last.ckpt`` is no promise: it is refreshed at every evaluation, rejected or not, so that a run can be resumed.
    It serves the Trainer of ``lightning`` and, where that was imported before, that of ``pytorch_lightning``.

    Args:
        constraints: such as ``"failures/factors/error_ratio/worst <= 1.5"``, with ``<``, ``<=``, ``>``, ``>=``; a bound
            is a number or another key plus or minus a number. A star stands for every name, several for one each:
            ``failures/*/error_ratio/* < 2``. A comparison has white space on both sides, so that names such as
            ``size<16`` and ``scanner=A`` need no quotes; a name in double or single quotes may hold what it likes:
            ``failures/factors/high/"CD8+/CD4-" <= 2``; see :mod:`.keys`. With several validation loaders a plain key
            is that of the first, and ``val_loss/dataloader_idx_1`` that of the second.
        monitor: what the checkpoints that pass are ranked by; None: the newest that passes is kept.
        mode: ``"min"`` or ``"max"``: which monitor is better.
        tie_breaks: further orders, such as ``["min val_loss", "max epoch"]``, each of which decides where all before it
            tie.
        on_infeasible: ``"skip"``: nothing is saved until an evaluation passes; ``"least_violation"``: until then one
            checkpoint is kept whose name begins with ``infeasible-``, that which violates least, as a share of the
            bounds.
        options: all others of :class:`~lightning.pytorch.callbacks.ModelCheckpoint`. ``every_n_train_steps`` and
            ``train_time_interval`` make a checkpoint due, which is decided at the next evaluation.

    Raises:
        InputError: a constraint cannot be read or contradicts another, or an option would evade the gate:
            ``save_top_k=0``, ``save_last="link"``, ``save_on_exception=True``; in ``setup``, a Trainer of
            ``pytorch_lightning``, which was imported only after the gate was made.

    Example:
        >>> gate = GatedCheckpoint("failures/factors/error_ratio/worst <= 1.5", monitor="val_acc", mode="max")
        >>> gate.gate_keys, gate.feasible is None
        (['failures/factors/error_ratio/worst', 'val_acc'], True)
    """

    def __init__(
        self,
        constraints: str | Sequence[str],
        *,
        monitor: str | None = None,
        mode: Literal["min", "max"] = "min",
        tie_breaks: Sequence[str] = (),
        on_infeasible: Literal["skip", "least_violation"] = "skip",
        **options: Any,
    ) -> None:
        refuse_evasions(WHERE, monitor, tie_breaks, on_infeasible, options)
        self.constraints = read_constraints(WHERE, constraints)
        orders = [] if monitor is None else [Order(mode, monitor)]
        self.orders = (*orders, *(Order.parse(text, WHERE) for text in tie_breaks))
        self.on_infeasible = on_infeasible
        super().__init__(monitor=monitor, mode=mode, **options)
        self.verdict: Verdict | None = None
        self.verdicts = VerdictLog([str(each) for each in self.constraints])
        self._gate = Gate(WHERE, self.constraints, [order.key for order in self.orders])
        self._rank: list[float] = []
        self._ranks: dict[str, list[float]] = {}
        self._passed = False
        self._stand_in = ""
        self._stand_in_rank: list[float] = []
        self._due = False
        self._between = False
        self._last_step = -1

    @property
    def gate_keys(self) -> list[str]:
        """The keys that it decides by, with stars; their figures are made at every evaluation, whatever the budget."""
        return self._gate.keys

    @property
    def state_key(self) -> str:
        """One a configuration, constraints included: what other constraints let pass is not resumed."""
        constraints, orders = [str(each) for each in self.constraints], [" ".join(order) for order in self.orders]
        return state_key(self, f"{super().state_key} {constraints} {orders} {self.on_infeasible}")

    @property
    def feasible(self) -> bool | None:
        """Whether the last evaluation passed; None before the first."""
        return None if self.verdict is None else self.verdict.feasible

    # -- Lightning's hooks

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the folder."""
        if self not in trainer.checkpoint_callbacks:
            given = "a Trainer of pytorch_lightning, which was imported after the gate was made"
            fix = "Import pytorch_lightning before you make the gate."
            raise InputError(WHERE, "the Trainer does not know the gate as a checkpoint", given, fix)
        super().setup(trainer, pl_module, stage)
        gates = [each for each in trainer.checkpoint_callbacks if isinstance(each, GatedCheckpoint)]
        place = [each for each in gates if each.dirpath == self.dirpath].index(self)  # gates set up before this one
        self.verdicts.name = f"gate-{place}.json" if place else "gate.json"

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A checkpoint that is due between evaluations waits for the next one."""
        self._between = True
        try:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        finally:
            self._between = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Decide, where checkpoints are saved after validation or one is due."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self._gate.look(trainer)
        due, self._due = self._due or getattr(self, "_defer_save_until_validation", False), False
        self._defer_save_until_validation = False
        if due and not _is_dry(trainer):
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))
        else:
            super().on_validation_end(trainer, pl_module)
        if due:
            self._last_step = -1  # what was saved at the training step does not bear the verdict
        if due or not self._should_save_on_train_epoch_end(trainer):
            self._refresh_last(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Decide, where checkpoints are saved at the end of an epoch."""
        here = self._should_save_on_train_epoch_end(trainer)
        if here:  # elsewhere the epoch's means wait for the next validation
            self._gate.look(trainer)
        super().on_train_epoch_end(trainer, pl_module)
        if here:
            self._refresh_last(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where nothing was kept."""
        parent = getattr(super(), "on_train_end", None)
        if parent is not None and not _is_dry(trainer):
            parent(trainer, pl_module)
        if trainer.is_global_zero and self.verdict is not None and not self.best_model_path:
            times = len(self.verdicts.verdicts)
            text = (
                f"Nothing passed the gate in {times} evaluation{'s' * (times != 1)}, so no best one was saved. "
                "on_infeasible='least_violation' keeps the one that violates least."
            )
            print_notice(self.verdict.epoch, "rejected", text)

    def state_dict(self) -> dict[str, Any]:
        """Plain containers and tensors, which a resume loads with ``weights_only=True``."""
        ours = {
            "ranks": dict(self._ranks),
            "passed": self._passed,
            "stand_in": self._stand_in,
            "stand_in_rank": list(self._stand_in_rank),
            "verdicts": list(self.verdicts.verdicts),
            "due": self._due,
        }
        return super().state_dict() | {"gate": ours}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint stood; with another ``dirpath`` the old one's checkpoints are not ranked."""
        super().load_state_dict(state_dict)
        ours = state_dict["gate"]
        self.verdicts.verdicts = list(ours["verdicts"])
        self._due = ours["due"]
        self._ranks = {path: ours["ranks"][path] for path in self.best_k_models}
        if self.dirpath == state_dict.get("dirpath"):
            self._passed, self._stand_in, self._stand_in_rank = ours["passed"], ours["stand_in"], ours["stand_in_rank"]

    def _monitor_candidates(self, trainer: Trainer) -> dict[str, Tensor]:
        """Lightning's own, and what is ranked by under the name that the gate found it by."""
        candidates = super()._monitor_candidates(trainer)
        wanted = [order.key for order in self.orders if order.key not in candidates]
        names = [(key, name) for key in wanted for name in (key + FIRST_LOADER, key.removesuffix(FIRST_LOADER))]
        return candidates | {key: candidates[name] for key, name in names if name in candidates}

    # -- the gate: every save but that of last.ckpt passes here

    def _save_topk_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        verdict, values = self._gate.judge(trainer)
        if self._between and not verdict.measured:
            self._due = True
            return
        self.verdict = verdict
        self.verdicts.add(verdict)
        if verdict.feasible:
            self._rank, self._passed = rank(self.orders, values), True
            super()._save_topk_checkpoint(trainer, monitor_candidates)
            self._drop_stand_in(trainer)
        else:
            self._gate.warn_of_unknown_keys(trainer, verdict)
            word = "stand-in" if self._save_stand_in(trainer, monitor_candidates, verdict, values) else "rejected"
            if trainer.is_global_zero:
                print_notice(verdict.epoch, word, f"Checkpoint of step {verdict.step:,}: {verdict.why}.")
        if trainer.is_global_zero:
            self.verdicts.write(self._fs, str(self.dirpath), self.best_model_path, trainer.loggers)

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """Whether the evaluation passed and is among the best; the same on all processes."""
        if current is None or not self.feasible:
            return False
        if self.save_top_k == -1 or len(self.best_k_models) < self.save_top_k:
            return True
        return self._rank < max(self._ranks.values())

    def _update_best_and_save(self, current: Tensor, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        """Rank by the monitor and the tie-breaks; Lightning's own knows the monitor alone."""
        full = self.save_top_k == len(self.best_k_models)
        dropped = max(self._ranks, key=self._ranks.__getitem__) if full else None
        if dropped is not None:
            del self.best_k_models[dropped], self._ranks[dropped]
        path = self._get_metric_interpolated_filepath_name(monitor_candidates, trainer, dropped)
        self.best_k_models[path], self._ranks[path] = current, self._rank
        self.current_score = current
        ordered = sorted(self._ranks, key=self._ranks.__getitem__)
        self.best_model_path, self.kth_best_model_path = ordered[0], ordered[-1]
        self.best_model_score = self.best_k_models[ordered[0]]
        self.kth_value = self.best_k_models[ordered[-1]]
        self._save_checkpoint(trainer, path)
        if dropped is not None and self._should_remove_checkpoint(trainer, dropped, path):
            self._remove_checkpoint(trainer, dropped)

    def _save_stand_in(
        self, trainer: Trainer, candidates: dict[str, Tensor], verdict: Verdict, values: dict[str, float]
    ) -> bool:
        """Keep one checkpoint that violates least while none passes; whether this is it."""
        if self.on_infeasible == "skip" or self._passed or not verdict.comparable:
            return False
        standing = [verdict.violation, *rank(self.orders, values)]
        if self._stand_in and not standing < self._stand_in_rank:
            return False
        before, name = self._stand_in, self._get_metric_interpolated_filepath_name(candidates, trainer)
        folder, base = os.path.split(name)
        self._stand_in, self._stand_in_rank = os.path.join(folder, f"infeasible-{base}"), standing
        self.best_model_path = self._stand_in
        self.best_model_score = self.current_score = candidates.get(self.monitor) if self.monitor else None
        self._save_checkpoint(trainer, self._stand_in)
        if before and self._should_remove_checkpoint(trainer, before, self._stand_in):
            self._remove_checkpoint(trainer, before)
        return True

    def _drop_stand_in(self, trainer: Trainer) -> None:
        """Once a checkpoint passes, what stood in for it goes."""
        before, self._stand_in, self._stand_in_rank = self._stand_in, "", []
        if before and self._should_remove_checkpoint(trainer, before, self.best_model_path):
            self._remove_checkpoint(trainer, before)

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        said = self.verdicts.of_file(filepath, self.verdict, trainer.global_step, trainer.loggers)
        with _inscribed(trainer.lightning_module, said):
            super()._save_checkpoint(trainer, filepath)

    def _save_last_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        if self._last_step != trainer.global_step:
            self._last_step = trainer.global_step
            super()._save_last_checkpoint(trainer, monitor_candidates)

    def _refresh_last(self, trainer: Trainer) -> None:
        """Newer versions of Lightning write last.ckpt only beside a checkpoint of the best."""
        if self.save_last and not _is_dry(trainer):
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))


@contextmanager
def _inscribed(module: LightningModule, verdict: dict[str, Any]) -> Iterator[None]:
    """Checkpoints bear the verdict inside; a callback's own hook is not called for those of weights alone."""
    theirs = vars(module).get("on_save_checkpoint")
    call = module.on_save_checkpoint

    def on_save_checkpoint(checkpoint: dict[str, Any]) -> None:
        call(checkpoint)
        checkpoint[VERDICT_KEY] = verdict

    module.on_save_checkpoint = on_save_checkpoint  # type: ignore[method-assign]
    try:
        yield
    finally:
        if theirs is None:
            del module.on_save_checkpoint
        else:
            module.on_save_checkpoint = theirs  # type: ignore[method-assign]


def _is_dry(trainer: Trainer) -> bool:
    return bool(getattr(trainer, "fast_dev_run", False))
