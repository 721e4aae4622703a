"""The monitors on two and three gloo processes of a real Trainer, with uneven shards and with one that is empty."""

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import (
    CollapseMonitor,
    FactorErrorMonitor,
    FactorTable,
    FailureDiagnosis,
    SimplicityBiasMonitor,
    failure_monitors,
)
from tests.processes import strategy
from tests.runs import Classifier, dataset, table

pytestmark = pytest.mark.slow


class FailsOnRankOne(CollapseMonitor):
    """Breaks at its third batch, on the second process only."""

    def update(self, evaluation, seen, batch_idx):
        if torch.distributed.get_rank() == 1 and batch_idx == 2:
            raise ArithmeticError("a fault of one rank")
        super().update(evaluation, seen, batch_idx)


class Outcome(L.Callback):
    """Brings back what the first process knows."""

    def __init__(self, path):
        self.path = path

    def on_fit_end(self, trainer, pl_module):
        if trainer.is_global_zero:
            hooks = sum(len(child._forward_hooks.items()) for child in pl_module.modules())
            failures = [getattr(callback, "failure", None) for callback in trainer.callbacks]
            torch.save({"epoch": trainer.current_epoch, "hooks": hooks, "failures": failures}, self.path)


def trainer(devices, callbacks, **options):
    return L.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy=strategy(devices),
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def monitors(factors):
    layers = CollapseMonitor(
        ["net.0", "penultimate"], factors=factors, by_class=True, similarity=True, detail="full", on_error="raise"
    )
    return [FactorErrorMonitor(factors, detail="full", on_error="raise"), layers]


def validated(devices, factors, *columns, held=37):
    L.seed_everything(3, verbose=False)
    module = Classifier()
    run = trainer(devices, monitors(factors))
    images = TensorDataset(*dataset(held, seed=1).tensors, *columns)
    return run.validate(module, DataLoader(images, batch_size=4), verbose=False)[0]


@pytest.mark.parametrize("place", ["table", "batch"])
def test_two_processes_with_an_uneven_shard_log_the_figures_of_one(place):
    given = (table(37),) if place == "table" else (["bright", "dark"], table(37).values)
    alike(validated(1, *given), validated(2, *given), 37)


@pytest.mark.parametrize("held", [37, 2], ids=["uneven", "one of them sees nothing but padding"])
def test_three_processes_log_the_figures_of_one(held):
    given = (FactorTable(("bright", "dark"), table(37).values[:held] if held > 2 else torch.eye(2).bool()),)
    alike(validated(1, *given, held=held), validated(3, *given, held=held), held)


def alike(one, several, images):
    assert one["failures/factors/images/all"] == several["failures/factors/images/all"] == images
    ours = {key for key in one if key.startswith("failures/")}
    assert ours == {key for key in several if key.startswith("failures/")}
    for key in sorted(ours):
        assert several[key] == pytest.approx(one[key], rel=1e-6, abs=1e-9, nan_ok=True), key


def test_a_monitor_that_fails_on_one_rank_steps_aside_on_all_and_training_goes_on(tmp_path):
    L.seed_everything(3, verbose=False)
    outcome = Outcome(tmp_path / "outcome.pt")
    layers = CollapseMonitor(["net.0", "penultimate"], every_n_steps=2, on_error="raise")
    callbacks = [
        FailsOnRankOne(name="fails"),
        layers,
        SimplicityBiasMonitor(on_error="raise"),
        FailureDiagnosis(),
        outcome,
    ]
    run = trainer(2, callbacks, max_epochs=2)
    run.fit(Classifier(), DataLoader(dataset(), batch_size=8), DataLoader(dataset(37, seed=1), batch_size=4))
    seen = torch.load(outcome.path)
    assert (seen["epoch"], seen["hooks"]) == (2, 0)
    assert seen["failures"][0] == "it stepped aside on another rank: ArithmeticError: a fault of one rank"
    assert seen["failures"][1] is None
    assert "failures/simplicity/difference" in run.callback_metrics
    assert run.callback_metrics["failures/collapse/images/net.0"] == 37
    assert run.callback_metrics["failures/collapse/kept/net.0"] > 0
    assert run.callback_metrics["failures/collapse/probe_accuracy/net.0"] > 0


class Validates(Classifier):
    """A validation step that does nothing."""

    def validation_step(self, batch, _):
        pass


class Kept(L.Callback):
    """Brings back what the first process logged."""

    def __init__(self, path):
        self.path = path

    def on_fit_end(self, trainer, pl_module):
        if trainer.is_global_zero:
            (diagnosis,) = (each for each in trainer.callbacks if isinstance(each, FailureDiagnosis))
            torch.save((diagnosis.record.no_validation, diagnosis.record.last_values()), self.path)


@pytest.mark.parametrize("sanity", [0, 2])
def test_two_processes_that_validate_nothing_agree_and_are_watched_on_training_batches(tmp_path, sanity):
    callbacks = failure_monitors(budget=1e9, on_error="raise")
    run = trainer(2, [*callbacks, Kept(tmp_path / "kept.pt")], max_epochs=3, num_sanity_val_steps=sanity)
    run.fit(Validates(), DataLoader(dataset(49), batch_size=4, shuffle=True), DataLoader(dataset(9), batch_size=4))
    why, values = torch.load(tmp_path / "kept.pt")
    assert why == "validation_step runs no layer that is watched and returns nothing"
    # of 7 batches on each rank the last two, 4 + 1 images; one of them is there twice, so that both ranks have as many
    assert values["failures/collapse/images/penultimate"] == 9
    assert values["failures/simplicity/images"] == 9
    assert values["failures/collapse/training_loss"] > 0
    assert values["failures/channels/largest_change"] == values["failures/channels/largest_change"]
