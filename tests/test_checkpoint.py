"""GatedCheckpoint on real, tiny Lightning runs whose logged values are scripted."""

import math
import re

import pytest
from lightning.pytorch.profilers import AdvancedProfiler

from lightning_failures import FailureDiagnosis, GatedEarlyStopping
from lightning_failures.records import escape
from tests.gates import CONSTRAINT, WORST, Scripted, fit, gate, load, loaders, names, script, trainer, written

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


def test_the_best_loss_that_violates_is_not_kept(tmp_path):
    callback = gate(tmp_path)
    run, _ = fit(callback, tmp_path, script([3, 2, 0.1, 1.5, 1.9], [1.0, 1.4, 1.6, 1.5, 1.2]))
    assert names(tmp_path) == ["epoch=3-step=16.ckpt"]
    assert float(callback.best_model_score) == 1.5
    kept = load(callback.best_model_path)
    assert kept["state_dict"]["weight"].item() == 16
    assert run.checkpoint_callback is callback


def test_why_an_evaluation_was_rejected_and_by_how_much_is_printed_and_written(tmp_path, capsys):
    fit(gate(tmp_path), tmp_path, script([3, 0.1], [1.0, 1.93]))
    said = [line for line in capsys.readouterr().out.splitlines() if "rejected" in line]
    assert said == [f"epoch 1 rejected Checkpoint of step 8: {WORST} = 1.93 violates <= 1.5 by 0.43."]
    log = written(tmp_path)
    assert log["constraints"] == [CONSTRAINT]
    assert log["best"] == "epoch=0-step=4.ckpt"
    first, second = log["evaluations"]
    assert (first["feasible"], first["why"]) == (True, "")
    assert (second["epoch"], second["step"], second["feasible"]) == (1, 8, False)
    assert second["why"] == f"{WORST} = 1.93 violates <= 1.5 by 0.43"
    assert second["violation"] == pytest.approx(0.43 / 1.5)


@pytest.mark.parametrize("save_weights_only", [False, True])
def test_the_verdict_travels_in_the_checkpoint(tmp_path, save_weights_only):
    callback = gate(tmp_path, save_last=True, save_weights_only=save_weights_only)
    _, module = fit(callback, tmp_path, script([3, 0.1], [1.0, 2.0]))
    kept, last = load(callback.best_model_path)["failures_verdict"], load(callback.last_model_path)["failures_verdict"]
    assert (kept["epoch"], kept["feasible"]) == (0, True)
    assert (last["epoch"], last["feasible"], last["why"]) == (1, False, f"{WORST} = 2 violates <= 1.5 by 0.5")
    assert "on_save_checkpoint" not in vars(module)


def test_the_best_k_that_pass_are_kept(tmp_path):
    losses, worst = [5, 1, 4, 2, 3, 0.5], [1.0, 9.0, 1.0, 1.0, 1.0, 9.0]
    callback = gate(tmp_path, save_top_k=2, filename="{epoch}")
    fit(callback, tmp_path, script(losses, worst))
    assert names(tmp_path) == ["epoch=3.ckpt", "epoch=4.ckpt"]
    assert {float(score) for score in callback.best_k_models.values()} == {2.0, 3.0}
    assert callback.best_model_path.endswith("epoch=3.ckpt")


def test_of_all_checkpoints_only_those_that_pass_are_kept(tmp_path):
    fit(gate(tmp_path, save_top_k=-1, filename="{epoch}"), tmp_path, script([3, 2, 1], [1.0, 2.0, 1.0]))
    assert names(tmp_path) == ["epoch=0.ckpt", "epoch=2.ckpt"]


def test_without_a_monitor_the_newest_that_passes_is_kept(tmp_path):
    callback = gate(tmp_path, monitor=None, filename="{epoch}")
    fit(callback, tmp_path, script([3, 2, 1], [1.0, 1.0, 2.0]))
    assert names(tmp_path) == ["epoch=1.ckpt"]
    assert callback.best_model_path.endswith("epoch=1.ckpt")


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_smaller_or_a_larger_monitor_is_better(tmp_path, mode):
    callback = gate(tmp_path, mode=mode, filename="{epoch}")
    fit(callback, tmp_path, script([2, 1, 3, 9], [1, 1, 1, 2]))
    assert names(tmp_path) == [{"min": "epoch=1.ckpt", "max": "epoch=2.ckpt"}[mode]]


def test_constraints_stand_on_upper_and_lower_bounds_alike(tmp_path):
    low, high = "failures/factors/low/texture", "failures/factors/high/texture"
    lines = [{"val_loss": 9 - i, low: a, high: b} for i, (a, b) in enumerate([(1.0, 2.0), (0.2, 1.9), (0.9, 2.1)])]
    fit(gate(tmp_path, [f"{high} <= 2", f"{low} > 0.5"], filename="{epoch}"), tmp_path, lines)
    assert names(tmp_path) == ["epoch=0.ckpt"]
    assert [each["why"] for each in written(tmp_path)["evaluations"]] == [
        "",
        f"{low} = 0.2 violates > 0.5 by 0.3",
        f"{high} = 2.1 violates <= 2 by 0.1",
    ]


def test_nan_is_rejected_and_so_is_what_is_missing(tmp_path):
    lines = [{"val_loss": 3.0, WORST: math.nan}, {"val_loss": 2.0}, {WORST: 1.0}, {"val_loss": math.nan, WORST: 1.0}]
    callback = gate(tmp_path)
    fit(callback, tmp_path, lines)
    assert [each["why"] for each in written(tmp_path)["evaluations"]] == [
        f"{WORST} is nan",
        f"{WORST} was not logged at this evaluation",
        "val_loss was not logged at this evaluation",
        "val_loss is nan",
    ]
    assert names(tmp_path) == []
    assert callback.best_model_path == ""


def test_a_value_that_is_logged_every_other_epoch_does_not_pass_in_between(tmp_path):
    lines = [{"val_loss": 9.0 - i} | ({WORST: 1.0} if i % 2 == 0 else {}) for i in range(4)]
    fit(gate(tmp_path, filename="{epoch}", save_top_k=-1), tmp_path, lines)
    assert names(tmp_path) == ["epoch=0.ckpt", "epoch=2.ckpt"]
    assert written(tmp_path)["evaluations"][3]["why"] == f"{WORST} was not logged at this evaluation"


@pytest.mark.parametrize("save_on_train_epoch_end", [None, True, False])
@pytest.mark.parametrize("every_n_epochs", [1, 2])
def test_saving_at_the_end_of_an_epoch_or_of_the_validation_is_gated_alike(
    tmp_path, save_on_train_epoch_end, every_n_epochs
):
    callback = gate(
        tmp_path, save_on_train_epoch_end=save_on_train_epoch_end, every_n_epochs=every_n_epochs, filename="{epoch}"
    )
    fit(callback, tmp_path, script([4, 3, 2, 1], [1, 1, 1, 2]))
    assert names(tmp_path) == [{1: "epoch=2.ckpt", 2: "epoch=1.ckpt"}[every_n_epochs]]


@pytest.mark.parametrize("validate_every", [1, 2])
def test_a_validation_that_did_not_run_leaves_nothing_to_pass(tmp_path, validate_every):
    callback = gate(tmp_path, save_on_train_epoch_end=True, save_top_k=-1, filename="{epoch}")
    fit(callback, tmp_path, script([4, 3, 2, 1], [1, 1, 1, 1]), check_val_every_n_epoch=validate_every)
    assert names(tmp_path) == [f"epoch={i}.ckpt" for i in range(4) if (i + 1) % validate_every == 0]


def test_several_validations_an_epoch_are_gated_one_by_one(tmp_path):
    callback = gate(tmp_path, filename="{step}")
    fit(callback, tmp_path, script([4, 3, 2, 1], [1, 1, 2, 1.2]), max_epochs=2, val_check_interval=0.5)
    assert names(tmp_path) == ["step=8.ckpt"]
    assert [each["step"] for each in written(tmp_path)["evaluations"]] == [2, 4, 6, 8]
    assert [each["feasible"] for each in written(tmp_path)["evaluations"]] == [True, True, False, True]


def test_a_checkpoint_due_at_a_training_step_is_decided_at_the_next_evaluation(tmp_path):
    callback = gate(tmp_path, every_n_train_steps=3, save_top_k=-1, save_last=True, filename="{step}")
    fit(callback, tmp_path, script([4, 3, 2, 1], [1, 2, 1, 1]))
    # due at steps 3, 6, 9, 12 and 15; evaluated at 4, 8, 12 and 16
    assert [each["step"] for each in written(tmp_path)["evaluations"]] == [4, 8, 12, 16]
    assert names(tmp_path) == ["last.ckpt", "step=12.ckpt", "step=16.ckpt", "step=4.ckpt"]


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
def test_what_the_training_logs_can_be_constrained_without_any_validation(tmp_path):
    class Training(Scripted):
        def training_step(self, batch, batch_idx):
            self.log("train_loss", self.script[self.trainer.current_epoch]["train_loss"], on_step=False, on_epoch=True)
            return super().training_step(batch, batch_idx)

    callback = gate(tmp_path, "train_loss <= 2", monitor="train_loss", filename="{epoch}")
    module = Training([{"train_loss": value} for value in (3.0, 1.0, 1.5)])
    trainer([callback], tmp_path, max_epochs=3).fit(module, loaders()[0])
    assert names(tmp_path) == ["epoch=1.ckpt"]
    assert [each["feasible"] for each in written(tmp_path)["evaluations"]] == [False, True, True]


@pytest.mark.parametrize("constraint", ["failures/factors/high/* <= 2", 'failures/factors/high/"CD8+/CD4-" <= 2'])
def test_a_factor_whose_name_holds_a_slash_is_seen(tmp_path, constraint):
    high = f"failures/factors/high/{escape('CD8+/CD4-')}"
    lines = [{"val_loss": 2.0, high: 1.5}, {"val_loss": 1.0, high: 4.72, "failures/factors/high/other": 1.0}]
    fit(gate(tmp_path, constraint, filename="{epoch}"), tmp_path, lines)
    assert names(tmp_path) == ["epoch=0.ckpt"]
    assert (
        written(tmp_path)["evaluations"][1]["why"] == 'failures/factors/high/"CD8+/CD4-" = 4.72 violates <= 2 by 2.72'
    )


def test_the_states_of_callbacks_can_be_file_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    many = [f"failures/factors/high/factor number {i} <= 2" for i in range(30)]
    lines = [{"val_loss": 1.0} | {f"failures/factors/high/factor number {i}": 1.0 for i in range(30)}]
    rest = [GatedEarlyStopping(many), FailureDiagnosis([], name="a/run " * 60, announce="nothing")]
    profiler = AdvancedProfiler(tmp_path / "profile", filename="profile", dump_stats=True)
    fit(gate(tmp_path, many), tmp_path, lines, callbacks=rest, profiler=profiler)
    written = " ".join(path.name for path in (tmp_path / "profile").rglob("*.prof"))
    for callback in ("GatedCheckpoint", "GatedEarlyStopping", "FailureDiagnosis"):
        assert re.search(rf"{callback}-[0-9a-f]{{8}}\.", written), callback


def test_another_configuration_has_another_state(tmp_path):
    different = [
        gate(tmp_path),
        gate(tmp_path, f"{WORST} <= 1.6"),
        gate(tmp_path, tie_breaks=["max epoch"]),
        gate(tmp_path, mode="max"),
        gate(tmp_path, on_infeasible="least_violation"),
        gate(tmp_path, every_n_epochs=2),
        GatedEarlyStopping(CONSTRAINT),
        GatedEarlyStopping(f"{WORST} <= 1.6"),
        FailureDiagnosis(),
        FailureDiagnosis(name="other"),
    ]
    assert len({callback.state_key for callback in different}) == len(different)
    assert gate(tmp_path).state_key == gate(tmp_path).state_key


def test_last_stays_fresh_although_the_gate_rejects(tmp_path):
    callback = gate(tmp_path, save_last=True)
    fit(callback, tmp_path, script([3, 2, 1], [1, 2, 2]))
    assert names(tmp_path) == ["epoch=0-step=4.ckpt", "last.ckpt"]
    assert load(tmp_path / "kept" / "last.ckpt")["state_dict"]["weight"].item() == 12


@pytest.mark.parametrize("interval", [1.0, 0.5])
def test_last_stays_fresh_between_epochs_that_are_due(tmp_path, interval):
    callback = gate(tmp_path, save_last=True, every_n_epochs=2)
    fit(callback, tmp_path, script([3, 2, 1] * 2, [1] * 6), max_epochs=3, val_check_interval=interval)
    assert load(tmp_path / "kept" / "last.ckpt")["state_dict"]["weight"].item() == 12


def test_ties_are_broken_in_the_order_that_was_given(tmp_path):
    lines = [
        {"acc": acc, "val_loss": loss, WORST: 1.0} for acc, loss in [(0.5, 3.0), (0.8, 2.0), (0.8, 1.0), (0.8, 1.0)]
    ]
    callback = gate(tmp_path, monitor="acc", mode="max", tie_breaks=["min val_loss"], filename="{epoch}", save_top_k=2)
    fit(callback, tmp_path, lines)
    assert names(tmp_path) == ["epoch=2.ckpt", "epoch=3.ckpt"]
    assert callback.best_model_path.endswith("epoch=2.ckpt")
    assert callback.kth_best_model_path.endswith("epoch=3.ckpt")


def test_the_latest_wins_a_tie_where_it_is_asked_for(tmp_path):
    lines = [{"acc": 1.0, WORST: 1.0} for _ in range(3)]
    first = gate(tmp_path / "first", monitor="acc", mode="max", filename="{epoch}")
    fit(first, tmp_path / "first", lines)
    latest = gate(tmp_path / "latest", monitor="acc", mode="max", tie_breaks=["max epoch"], filename="{epoch}")
    fit(latest, tmp_path / "latest", lines)
    assert (names(tmp_path / "first"), names(tmp_path / "latest")) == (["epoch=0.ckpt"], ["epoch=2.ckpt"])


def test_nothing_feasible_saves_nothing_and_says_so_at_the_end(tmp_path, capsys):
    callback = gate(tmp_path)
    fit(callback, tmp_path, script([2, 1], [3, 2]))
    assert names(tmp_path) == []
    assert callback.best_model_path == ""
    assert capsys.readouterr().out.splitlines()[-1] == (
        "epoch 1 rejected Nothing passed the gate in 2 evaluations, so no best one was saved. "
        "on_infeasible='least_violation' keeps the one that violates least."
    )


def test_the_least_violation_stands_in_until_one_passes(tmp_path):
    callback = gate(tmp_path, on_infeasible="least_violation", filename="{epoch}")
    run, module = fit(callback, tmp_path, script([1, 2, 3, 4], [4, 2, 3, 9]))
    assert names(tmp_path) == ["infeasible-epoch=1.ckpt"]
    assert load(callback.best_model_path)["failures_verdict"]["feasible"] is False
    run.validate(module, loaders()[1], ckpt_path="best", verbose=False)
    assert module.weight.item() == 8
    passing = gate(tmp_path / "passing", on_infeasible="least_violation", filename="{epoch}")
    fit(passing, tmp_path / "passing", script([1, 2, 3], [4, 1.2, 1.6]))
    assert names(tmp_path / "passing") == ["epoch=1.ckpt"]


def test_the_violations_of_several_constraints_are_shares_of_their_bounds(tmp_path):
    lines = [{"val_loss": 1.0, "a": 150.0, "b": 0.1}, {"val_loss": 1.0, "a": 101.0, "b": 0.15}]
    callback = gate(tmp_path, ["a <= 100", "b <= 0.1"], on_infeasible="least_violation", filename="{epoch}")
    fit(callback, tmp_path, lines)  # half above one bound; a hundredth above it and half above the other
    assert names(tmp_path) == ["infeasible-epoch=0.ckpt"]
