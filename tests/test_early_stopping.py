import math

import pytest
from lightning.pytorch.callbacks import EarlyStopping

from lightning_failures import GatedEarlyStopping
from lightning_failures.errors import FailuresWarning, InputError
from tests.gates import WORST, fit, gate, load, names, script

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


def stopped(tmp_path, worst, patience=2, **options):
    """The epochs that ran before it stopped, and the callback."""
    callback = GatedEarlyStopping(f"{WORST} <= 1.5", patience, **options)
    lines = [{"val_loss": 1.0} | ({} if value is None else {WORST: value}) for value in worst]
    run, _ = fit(callback, tmp_path, lines, enable_checkpointing=False)
    return run.current_epoch, callback


def test_a_run_stops_when_a_constraint_is_violated_several_times_in_a_row(tmp_path, capsys):
    epochs, callback = stopped(tmp_path, [1.0, 2.0, 1.0, 2.0, 1.75, 1.0, 1.0])
    assert (epochs, callback.stopped_epoch) == (5, 4)
    assert callback.reason == f"{WORST} = 1.75 violates <= 1.5 by 0.25, after 2 evaluations in a row"
    assert f"epoch 4 stopped The run stops: {callback.reason}." in capsys.readouterr().out.splitlines()


def test_an_evaluation_that_says_nothing_neither_counts_nor_clears(tmp_path):
    assert stopped(tmp_path, [2.0, math.nan, None, 2.0, 1.0, 1.0])[0] == 4
    assert stopped(tmp_path, [math.nan, None, math.nan, 1.0])[0] == 4


def test_a_warm_up_does_not_count(tmp_path):
    assert stopped(tmp_path, [2.0, 2.0, 2.0, 2.0, 1.0], warmup=2)[0] == 4


def test_each_constraint_is_counted_apart(tmp_path):
    callback = GatedEarlyStopping(["a <= 1", "b <= 1"], 2)
    lines = [{"a": 2.0, "b": 0.0}, {"a": 0.0, "b": 2.0}, {"a": 2.0, "b": 2.0}, {"a": 0.0, "b": 0.0}]
    run, _ = fit(callback, tmp_path, lines, enable_checkpointing=False)
    assert (run.current_epoch, callback.reason) == (3, "b = 2 violates <= 1 by 1, after 2 evaluations in a row")


def test_it_stands_beside_early_stopping_and_a_gate(tmp_path):
    callback = GatedEarlyStopping(f"{WORST} <= 1.5", 2)
    improving = script([6, 5, 4, 3, 2, 1], [1, 1, 2, 2, 1, 1])
    run, _ = fit(gate(tmp_path), tmp_path, improving, callbacks=[EarlyStopping("val_loss", patience=2), callback])
    assert run.current_epoch == 4
    assert names(tmp_path) == ["epoch=1-step=8.ckpt"]


def test_a_resumed_run_goes_on_counting(tmp_path):
    lines = script([1] * 5, [1.0, 2.0, 2.0, 2.0, 1.0])
    options = {"save_last": True}
    fit(gate(tmp_path, **options), tmp_path, lines, callbacks=[GatedEarlyStopping(f"{WORST} <= 1.5", 3)], max_epochs=3)
    last = tmp_path / "kept" / "last.ckpt"
    (key,) = (key for key in load(last)["callbacks"] if key.startswith("GatedEarlyStopping"))
    assert load(last)["callbacks"][key]["streaks"] == [2]
    again = GatedEarlyStopping(f"{WORST} <= 1.5", 3)
    run, _ = fit(gate(tmp_path, **options), tmp_path, lines, ckpt_path=last, callbacks=[again])
    assert (run.current_epoch, again.stopped_epoch) == (4, 3)


def test_a_key_that_is_never_logged_is_told(tmp_path):
    with pytest.warns(
        FailuresWarning,
        match=r"^GatedEarlyStopping: 'val_los' was not logged; the nearest that were: 'val_loss', 'fail",
    ):
        fit(GatedEarlyStopping("val_los <= 1"), tmp_path, script([1], [1]), enable_checkpointing=False)


def test_a_patience_of_none_is_refused():
    with pytest.raises(InputError) as error:
        GatedEarlyStopping("a <= 1", 0)
    assert str(error.value) == (
        "GatedEarlyStopping: a patience below 1 or a warm-up below 0; given patience=0, warmup=0. "
        "Count evaluations, then epochs."
    )


def test_a_key_is_told_of_at_the_first_evaluation_that_logged_anything(tmp_path):
    with pytest.warns(FailuresWarning) as caught:
        fit(GatedEarlyStopping("val_los <= 1"), tmp_path, [{}, {"val_loss": 1.0}, {}], enable_checkpointing=False)
    assert [str(each.message) for each in caught if each.category is FailuresWarning] == [
        "GatedEarlyStopping: 'val_los' was not logged; the nearest that was: 'val_loss'."
    ]


@pytest.mark.parametrize("options", [{"patience": 2.5}, {"patience": "3"}, {"patience": True}, {"warmup": None}])
def test_a_patience_that_is_no_whole_number_is_refused(options):
    with pytest.raises(
        InputError, match=r"^GatedEarlyStopping: a patience or a warm-up that is no whole number; given"
    ):
        GatedEarlyStopping("a <= 1", **options)


def test_bad_syntax_names_the_class_and_the_position():
    with pytest.raises(InputError, match=r"^GatedEarlyStopping: no comparison at position 9; given 'val_loss'"):
        GatedEarlyStopping("val_loss")
