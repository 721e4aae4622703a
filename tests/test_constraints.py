import math

import pytest

from lightning_failures.callbacks.gate import measure, read_constraints
from lightning_failures.errors import InputError


def outcome(constraint, values, fresh=None):
    (found,) = measure(read_constraints("Gate", constraint), values, fresh)
    return found


@pytest.mark.parametrize(
    ("constraint", "value", "state", "excess"),
    [
        ("a <= 1.5", 1.5, "holds", 0.0),
        ("a <= 1.5", 1.75, "violated", 0.25),
        ("a < 1.5", 1.5, "violated", 0.0),
        ("a < 1.5", 1.25, "holds", -0.25),
        ("a >= 0.5", 0.5, "holds", 0.0),
        ("a >= 0.5", 0.25, "violated", 0.25),
        ("a > 0.5", 0.5, "violated", 0.0),
        ("a > 0.5", 0.75, "holds", -0.25),
        ("a <= 1.5", math.inf, "violated", math.inf),
        ("a >= 1.5", math.inf, "holds", -math.inf),
    ],
)
def test_a_constraint_holds_or_says_by_how_much_it_does_not(constraint, value, state, excess):
    found = outcome(constraint, {"a": value})
    assert (found.state, found.excess) == (state, excess)


def test_what_is_not_there_never_passes():
    assert outcome("a <= 1", {}).why == "a has not been logged"
    assert outcome("a <= 1", {"a": math.nan}).why == "a is nan"
    assert outcome("a <= 1", {"a": 0.0}, fresh=set()).why == "a was not logged at this evaluation"
    assert outcome("a <= b", {"a": 0.0, "b": 1.0}, fresh={"a"}).why == "b was not logged at this evaluation"
    assert outcome("a <= b", {"a": 0.0}).why == "b has not been logged"
    assert outcome("high/* <= 2", {"low/dark": 1.0}).why == "high/* has not been logged"


def test_why_names_value_bound_and_excess():
    assert outcome("a <= 1.5", {"a": 1.93}).why == "a = 1.93 violates <= 1.5 by 0.43"
    assert outcome("a >= b - 0.1", {"a": 0.5, "b": 0.8}).why == "a = 0.5 violates >= b - 0.1 (now 0.7) by 0.2"
    assert outcome("a < 1", {"a": 1.0}).why == "a = 1 violates < 1 by equality"
    assert outcome("a < 2", {"a": 1.0}).why == ""


def test_a_star_asks_it_of_every_name_and_tells_the_worst():
    found = outcome("high/* <= 2", {"high/dark": 2.5, "high/blur": 4.0, "high/bright": 1.0, "other": 9.0})
    assert (found.key, found.excess) == ("high/blur", 2.0)
    assert outcome("high/* <= 5", {"high/dark": 2.5, "high/blur": 4.0}).state == "holds"
    assert outcome("high/* <= 5", {"high/dark": 2.5, "high/blur": math.nan}).why == "high/blur is nan"


def test_a_star_does_not_ask_it_of_totals():
    assert outcome("ratio/* <= 2", {"ratio/dark": 1.0, "ratio/worst": 9.0}).state == "holds"
    assert outcome("ratio/worst <= 2", {"ratio/dark": 1.0, "ratio/worst": 9.0}).state == "violated"


def test_two_stars_ask_it_of_every_pair_of_names():
    found = outcome("failures/*/high/* <= 2", {"failures/a/high/x": 1.0, "failures/b/high/y%2Fz": 3.0, "failures/c": 9})
    assert found.why == 'failures/b/high/"y/z" = 3 violates <= 2 by 1'
    assert outcome("failures/*/high/* <= 2", {"failures/c": 9.0}).why == "failures/*/high/* has not been logged"


def test_excesses_of_different_units_add_up_as_shares_of_their_bounds():
    assert outcome("a <= 100", {"a": 150.0}).relative == 0.5
    assert outcome("a <= -4", {"a": -3.0}).relative == 0.25
    assert outcome("a <= 0", {"a": 0.3}).relative == 0.3


@pytest.mark.parametrize(
    "pair",
    [
        ("a <= 1", "a > 1"),
        ("a < 1", "a >= 1"),
        ("a <= 1", "a >= 1.1"),
        ("a > 2", "a < 2"),
        ("a <= b", "a > b + 0.1"),
        ("a < b", "b < a"),
        ("x/* <= 1", "x/dark > 2"),
        ("x/dark > 2", "x/* <= 1"),
        ("x/d* <= 1", "x/* > 2"),
        ("x/size[1] <= 1", "x/size[1] > 2"),
    ],
)
def test_constraints_that_contradict_each_other_are_refused(pair):
    with pytest.raises(InputError) as error:
        read_constraints("Gate", pair)
    assert str(error.value) == (
        f"Gate: no value can keep both constraints; given '{pair[0]}' and '{pair[1]}'. Mend or leave out one of them."
    )


@pytest.mark.parametrize(
    "pair",
    [
        ("a <= 1", "a >= 1"),
        ("a <= 1", "a >= 0"),
        ("a <= 1", "a <= 0"),
        ("a <= 1", "b > 2"),
        ("a <= b", "b <= a"),
        ("x/* <= 1", "x/dark/low > 2"),
        ("a <= b + 1", "a > 5"),
        ("x/* <= 1", "x/worst > 2"),
        ("x/*a <= 1", "x/b* > 2"),
    ],
)
def test_constraints_that_can_be_kept_together_are_not(pair):
    assert [str(each) for each in read_constraints("Gate", pair)] == list(pair)


def test_a_value_below_itself_is_refused():
    with pytest.raises(InputError, match=r"no value can keep the constraint; given 'a < a'"):
        read_constraints("Gate", ["a < a"])


def test_what_is_no_list_of_constraints_is_refused():
    with pytest.raises(InputError) as error:
        read_constraints("GatedCheckpoint", 2)
    assert str(error.value) == (
        "GatedCheckpoint: these are no constraints; given 2 of type int. Pass one such as 'val_loss <= 2', or a list."
    )


def test_no_constraint_is_refused():
    with pytest.raises(InputError) as error:
        read_constraints("GatedCheckpoint", [])
    assert str(error.value) == (
        "GatedCheckpoint: no constraint; given none. Pass one such as 'failures/factors/error_ratio/worst <= 1.5'."
    )


def test_bad_syntax_names_the_caller_and_the_position():
    with pytest.raises(InputError) as error:
        read_constraints("GatedCheckpoint", ["val_acc = 0.5"])
    assert str(error.value).startswith(
        "GatedCheckpoint: '=' is no comparison at position 9; given 'val_acc = 0.5'. Write KEY <= BOUND with one of"
    )
