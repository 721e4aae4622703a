"""The budget leaves evaluations out, but none by which somebody decides; and no old figure stands for a new one."""

import math

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from lightning_failures import CollapseMonitor, GatedCheckpoint, GatedEarlyStopping, failure_monitors
from lightning_failures.callbacks.asked_keys import asked_keys
from tests.runs import Classifier, fit, table, trainer

EPOCHS = 4
RANK, KEPT = "failures/collapse/effective_rank/penultimate", "failures/kept"


class Kept(Callback):
    """What ``callback_metrics`` holds after each evaluation."""

    def __init__(self, *keys):
        self.keys, self.rows = keys, []

    def on_validation_end(self, trainer, module):
        if not trainer.sanity_checking:
            self.rows.append([float(trainer.callback_metrics.get(key, math.inf)) for key in self.keys])


@pytest.fixture
def run(monkeypatch):
    """A run whose budget suffices for the first evaluation and the last."""

    def start(*others, module=None, **options):
        callbacks = failure_monitors(on_error="raise", **options)
        budget, evaluations = callbacks[-1].budget, []

        def watches(step, *, last=False):
            if step not in evaluations:
                evaluations.append(step)
            return len(evaluations) == 1 or last

        monkeypatch.setattr(budget, "watches", watches)
        callbacks[-1].announce = "nothing"
        saves = any(isinstance(other, ModelCheckpoint) for other in others)
        fit([*callbacks, *others], module, epochs=EPOCHS, enable_checkpointing=saves)
        return callbacks[-1].record

    return start


def defined(record, start):
    return [any(key.startswith(start) for key in each.values) for each in record.evaluations]


def test_where_nobody_decides_by_them_figures_wait_and_an_old_one_is_not_there_for_a_new_one(run):
    kept = Kept(RANK, KEPT)
    record = run(kept)
    ranks, shares = zip(*kept.rows, strict=True)
    assert [math.isfinite(each) for each in ranks] == [True, False, False, True]
    assert all(math.isnan(each) for each in ranks[1:3])
    assert not any(math.isfinite(each) for each in shares[1:3])
    assert defined(record, "failures/collapse/") == [True, False, False, True]
    assert defined(record, "val_loss") == [True] * EPOCHS


@pytest.mark.parametrize(
    "decides",
    [
        lambda folder: ModelCheckpoint(folder, monitor=RANK, mode="max"),
        lambda folder: EarlyStopping(RANK, mode="max", patience=9),
        lambda folder: GatedCheckpoint(f"{RANK} > 0", dirpath=folder),
        lambda folder: GatedCheckpoint(
            "val_loss < 100", monitor="val_loss", tie_breaks=[f"max {RANK}"], dirpath=folder
        ),
        lambda folder: GatedEarlyStopping("failures/collapse/effective_rank/* > 0"),
        lambda folder: GatedEarlyStopping("failures/*/effective_rank/* > 0"),
    ],
)
def test_what_a_checkpoint_a_stop_or_a_gate_decides_by_is_there_at_every_evaluation(run, decides, tmp_path):
    kept = Kept(RANK)
    record = run(kept, decides(tmp_path))
    assert all(math.isfinite(rank) for (rank,) in kept.rows)
    assert len(kept.rows) == EPOCHS
    assert defined(record, "failures/collapse/") == [True] * EPOCHS


def test_what_a_schedule_of_the_learning_rate_goes_by_is_there_at_every_evaluation(run):
    class Scheduled(Classifier):
        def configure_optimizers(self):
            optimizer = super().configure_optimizers()
            schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max")
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": RANK}}

    assert defined(run(module=Scheduled()), "failures/collapse/") == [True] * EPOCHS


def test_factors_that_a_user_has_named_are_watched_at_every_evaluation(run):
    record = run(factors=table())
    assert defined(record, "failures/factors/") == [True] * EPOCHS
    assert defined(record, "failures/collapse/") == [True, False, False, True]


def test_a_callback_of_anybody_else_may_have_any_attribute(tmp_path):
    class Other(Callback):
        monitor, constraints, orders = 3, 5, "none"

    callbacks = [Other(), CollapseMonitor(), ModelCheckpoint(tmp_path, monitor="val_loss")]
    assert asked_keys(trainer(callbacks, enable_checkpointing=True)) == {"val_loss"}
