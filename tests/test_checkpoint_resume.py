"""GatedCheckpoint resumed, and beside other callbacks."""

import json

import pytest
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from tests.gates import WORST, fit, gate, names, script, written

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


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
