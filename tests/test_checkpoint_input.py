"""What GatedCheckpoint is given that it cannot use."""

import pytest

from lightning_failures import GatedCheckpoint
from lightning_failures.errors import FailuresWarning, InputError
from tests.gates import CONSTRAINT, WORST, fit, gate, names, script, trainer

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


def test_a_key_that_is_never_logged_is_told_after_the_first_evaluation_with_the_nearest(tmp_path):
    with pytest.warns(FailuresWarning) as caught:
        fit(gate(tmp_path, "failures/factors/error_ratio/wrost <= 1.5"), tmp_path, script([3, 2], [1, 1]))
    assert [str(each.message) for each in caught if each.category is FailuresWarning] == [
        "GatedCheckpoint: 'failures/factors/error_ratio/wrost' was not logged; the nearest that were: "
        "'val_loss', 'failures/factors/error_ratio/worst'."
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
        (
            {"monitor": "val_acc", "tie_breaks": ["min failures/factors/high/*"]},
            "an order by many keys; given 'min failures/factors/high/*'. Name one key without a star.",
        ),
    ],
)
def test_what_would_evade_the_gate_is_refused(options, text):
    with pytest.raises(InputError) as error:
        GatedCheckpoint(CONSTRAINT, **options)
    assert str(error.value) == f"GatedCheckpoint: {text}"
