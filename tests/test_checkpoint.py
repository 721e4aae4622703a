"""GatedCheckpoint on real, tiny Lightning runs whose logged values are scripted."""

import json
import math

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures.callbacks.checkpoint import GatedCheckpoint
from lightning_failures.errors import FailuresWarning, InputError

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

CONSTRAINT = "failures/factors/error_ratio/worst <= 1.5"
WORST = "failures/factors/error_ratio/worst"


class Scripted(L.LightningModule):
    """Logs what a script says of each evaluation; its one weight counts the optimizer's steps."""

    def __init__(self, script):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.script = script
        self.evaluation = 0

    def training_step(self, batch, _):
        return -self.weight.sum()  # with a rate of 1 the weight is the number of steps

    def validation_step(self, batch, _):
        pass

    def on_validation_epoch_end(self):
        if self.trainer.sanity_checking:
            return
        for key, value in self.script[self.evaluation].items():
            self.log(key, value, sync_dist=False)
        self.evaluation += 1

    def on_save_checkpoint(self, checkpoint):
        checkpoint["evaluation"] = self.evaluation

    def on_load_checkpoint(self, checkpoint):
        self.evaluation = checkpoint["evaluation"]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def script(losses, worst):
    return [{"val_loss": float(a), WORST: float(b)} for a, b in zip(losses, worst, strict=True)]


def trainer(callbacks, folder, **options):
    defaults = {
        "max_epochs": 1,
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": folder,
    }
    return L.Trainer(callbacks=callbacks, **(defaults | options))


def loaders():
    data = TensorDataset(torch.zeros(4, 1))
    return DataLoader(data, batch_size=1), DataLoader(data, batch_size=4)


def gate(folder, constraints=CONSTRAINT, **options):
    return GatedCheckpoint(constraints, **({"monitor": "val_loss", "dirpath": folder / "kept"} | options))


def fit(callback, folder, lines, ckpt_path=None, callbacks=(), **options):
    module = Scripted(lines)
    defaults = {"max_epochs": len(lines)}
    run = trainer([*callbacks, callback], folder, **(defaults | options))
    run.fit(module, *loaders(), ckpt_path=ckpt_path)
    return run, module


def names(folder):
    return sorted(path.name for path in (folder / "kept").glob("*.ckpt"))


def written(folder):
    return json.loads((folder / "kept" / "gate.json").read_text())


def load(path):
    return torch.load(path, weights_only=True)


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


@pytest.mark.parametrize("options", [{}, {"on_infeasible": "least_violation"}, {"save_top_k": 2}])
def test_a_resumed_run_keeps_what_an_uninterrupted_one_keeps(tmp_path, options):
    losses, worst = [5, 1, 4, 2, 3, 0.5], [3.0, 2.0, 1.6, 1.0, 1.0, 1.2]
    whole = gate(tmp_path / "whole", save_last=True, filename="{epoch}", **options)
    fit(whole, tmp_path / "whole", script(losses, worst))
    for stop in (1, 3, 4):
        folder = tmp_path / f"cut{stop}"
        fit(gate(folder, save_last=True, filename="{epoch}", **options), folder, script(losses, worst), max_epochs=stop)
        again = gate(folder, save_last=True, filename="{epoch}", **options)
        fit(again, folder, script(losses, worst), ckpt_path=folder / "kept" / "last.ckpt")
        assert names(folder) == names(tmp_path / "whole"), stop
        assert written(folder) == written(tmp_path / "whole"), stop
        assert again.best_model_score == whole.best_model_score


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
@pytest.mark.parametrize("max_steps", [3, 6])
def test_a_run_resumed_in_the_middle_of_an_epoch_keeps_what_an_uninterrupted_one_keeps(tmp_path, max_steps):
    lines = script([5, 1, 4, 2, 3, 0.5], [3.0, 1.2, 1.6, 1.0, 1.0, 2.0])
    options = {"save_last": True, "filename": "{step}", "save_top_k": 2, "on_infeasible": "least_violation"}
    common = {"max_epochs": 3, "val_check_interval": 2}
    whole = gate(tmp_path / "whole", **options)
    fit(whole, tmp_path / "whole", lines, **common)
    assert names(tmp_path / "whole") == ["last.ckpt", "step=4.ckpt", "step=8.ckpt"]
    fit(gate(tmp_path / "cut", **options), tmp_path / "cut", lines, **common, max_steps=max_steps)
    fit(gate(tmp_path / "cut", **options), tmp_path / "cut", lines, tmp_path / "cut" / "kept" / "last.ckpt", **common)
    assert names(tmp_path / "cut") == names(tmp_path / "whole")
    assert written(tmp_path / "cut") == written(tmp_path / "whole")


def test_other_constraints_do_not_go_on_with_what_was_kept_under_these(tmp_path):
    lines = script([1, 2], [1.4, 1.0])
    fit(gate(tmp_path, save_last=True), tmp_path, lines, max_epochs=1)
    stricter = gate(tmp_path, f"{WORST} <= 1.2", save_last=True)
    with pytest.warns(UserWarning, match="Be aware that when using `ckpt_path`, callbacks used to create the check"):
        fit(stricter, tmp_path, lines, ckpt_path=tmp_path / "kept" / "last.ckpt")
    assert stricter.best_model_path.endswith("epoch=1-step=8.ckpt")
    assert len(stricter.best_k_models) == 1


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_run_that_goes_on_in_another_folder_keeps_its_own_there(tmp_path):
    lines = script([3, 2, 1], [3.0, 2.0, 2.5])
    fit(gate(tmp_path, save_last=True, on_infeasible="least_violation"), tmp_path, lines, max_epochs=1)
    moved = gate(tmp_path, save_last=True, on_infeasible="least_violation", dirpath=tmp_path / "moved" / "kept")
    fit(moved, tmp_path, lines, ckpt_path=tmp_path / "kept" / "last.ckpt")
    assert names(tmp_path) == ["infeasible-epoch=0-step=4.ckpt", "last.ckpt"]
    assert names(tmp_path / "moved") == ["infeasible-epoch=1-step=8.ckpt", "last.ckpt"]
    assert len(written(tmp_path / "moved")["evaluations"]) == 3


def test_early_stopping_beside_it_stops_as_ever(tmp_path):
    callback = gate(tmp_path)
    stopping = EarlyStopping("val_loss", patience=2)
    run, _ = fit(callback, tmp_path, script([1, 2, 3, 4, 5], [1, 1, 2, 1, 1]), callbacks=[stopping])
    assert run.current_epoch == 3
    assert names(tmp_path) == ["epoch=0-step=4.ckpt"]


def test_a_plain_checkpoint_beside_it_is_not_gated(tmp_path):
    plain = ModelCheckpoint(dirpath=tmp_path / "plain", monitor="val_loss", filename="{epoch}")
    fit(gate(tmp_path, filename="{epoch}"), tmp_path, script([3, 1], [1, 2]), callbacks=[plain])
    assert names(tmp_path) == ["epoch=0.ckpt"]
    assert plain.best_model_path.endswith("epoch=1.ckpt")


def test_two_gates_in_one_folder_write_a_log_each(tmp_path):
    strict = gate(tmp_path, f"{WORST} <= 1.2", filename="strict-{epoch}")
    fit(gate(tmp_path, filename="loose-{epoch}"), tmp_path, script([3, 2], [1.1, 1.4]), callbacks=[strict])
    assert names(tmp_path) == ["loose-epoch=1.ckpt", "strict-epoch=0.ckpt"]
    logs = sorted((tmp_path / "kept").glob("gate*.json"))
    assert [json.loads(log.read_text())["best"] for log in logs] == ["loose-epoch=1.ckpt", "strict-epoch=0.ckpt"]


def test_a_dry_run_saves_nothing(tmp_path):
    fit(gate(tmp_path, save_last=True), tmp_path, script([3], [1]), fast_dev_run=True)
    assert names(tmp_path) == []
    assert not (tmp_path / "kept" / "gate.json").exists()


# -- bad input


def test_a_key_that_is_never_logged_is_told_after_the_first_evaluation_with_the_nearest(tmp_path):
    with pytest.warns(FailuresWarning) as caught:
        fit(gate(tmp_path, "failures/factors/error_ratio/wrost <= 1.5"), tmp_path, script([3, 2], [1, 1]))
    assert [str(each.message) for each in caught if each.category is FailuresWarning] == [
        "GatedCheckpoint: 'failures/factors/error_ratio/wrost' was not logged; the nearest that was is "
        "'failures/factors/error_ratio/worst'. Logged: failures/factors/error_ratio/worst, val_loss."
    ]
    assert names(tmp_path) == []


def test_bad_syntax_is_an_error_at_construction_with_the_position():
    with pytest.raises(InputError) as error:
        GatedCheckpoint(["val_acc >= 0.5", f"{WORST} =< 1.5"])
    assert str(error.value) == (
        f"GatedCheckpoint: '=<' is no comparison at position 36; given '{WORST} =< 1.5'. Write KEY <= BOUND with one "
        "of <, <=, >, >=; a bound is a number, a key, or a key + or - a number."
    )


def test_contradictory_constraints_are_an_error_at_construction():
    with pytest.raises(InputError) as error:
        GatedCheckpoint([f"{WORST} <= 1", f"{WORST} > 2"])
    assert str(error.value) == (
        f"GatedCheckpoint: no value can keep both constraints; given '{WORST} <= 1' and '{WORST} > 2'. "
        "Mend or leave out one of them."
    )


def test_two_gates_of_one_configuration_are_refused(tmp_path):
    with pytest.raises(RuntimeError) as error:
        trainer([gate(tmp_path), gate(tmp_path)], tmp_path)
    assert str(error.value).startswith(
        "Found more than one stateful callback of type `GatedCheckpoint`. In the current configuration, this callback "
        "does not support being saved alongside other instances of the same type."
    )
    trainer([gate(tmp_path), gate(tmp_path, f"{WORST} <= 1.2")], tmp_path)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"save_top_k": 0},
            "nothing would pass the gate; given save_top_k=0. "
            "Leave it out, or use ModelCheckpoint for last.ckpt alone.",
        ),
        (
            {"save_last": "link"},
            "last.ckpt would be a link to the newest that passed, and grow old; given save_last='link'. "
            "Use save_last=True.",
        ),
        (
            {"save_on_exception": True},
            "what is saved on an exception was not judged; given save_on_exception=True. "
            "Add a ModelCheckpoint(save_on_exception=True) with a folder of its own.",
        ),
        (
            {"on_infeasible": "save"},
            "there is no such on_infeasible; given 'save'. Use 'skip' or 'least_violation'.",
        ),
        (
            {"tie_breaks": ["min val_loss"]},
            "nothing that could tie; given monitor=None, tie_breaks=['min val_loss']. Name a monitor.",
        ),
        (
            {"monitor": "val_acc", "tie_breaks": ["val_loss"]},
            "an order that cannot be read; given 'val_loss'. Write 'min KEY' or 'max KEY'.",
        ),
    ],
)
def test_what_would_evade_the_gate_is_refused(options, text):
    with pytest.raises(InputError) as error:
        GatedCheckpoint(CONSTRAINT, **options)
    assert str(error.value) == f"GatedCheckpoint: {text}"
