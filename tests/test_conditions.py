import math

import pytest

from lightning_failures.callbacks.conditions import Condition
from lightning_failures.errors import InputError


@pytest.mark.parametrize(
    "text",
    ["a/b <= 1.5", "a/b > -0.25", "accuracy > chance + 0.1", "accuracy >= chance - 0.1", "x < y", "low/* > high/*"],
)
def test_a_condition_reads_back_as_it_was_written(text):
    assert str(Condition.parse(text)) == text


@pytest.mark.parametrize("text", ["", "a", "a <", "< 1", "a == 1", "a < 1 < 2", "a = 1", "a <> 1"])
def test_what_is_no_condition_says_how_one_is_written(text):
    with pytest.raises(InputError) as error:
        Condition.parse(text)
    assert str(error.value) == (
        f"Condition: this is not a condition; given {text!r}. "
        "Write KEY < BOUND with one of <, <=, >, >=; a bound is a number, a key, or a key + or - a number."
    )


def test_an_offset_that_is_no_number_is_an_error():
    with pytest.raises(InputError, match=r"the bound's offset 'b' is not a number; given 'a < c \+ b'"):
        Condition.parse("a < c + b")


def test_a_missing_or_undefined_value_fulfils_nothing():
    for text in ("a <= 1", "a > 1", "a < b", "b > a"):
        assert not Condition.parse(text).holds({"b": 0.0})
        assert not Condition.parse(text).holds({"a": math.nan, "b": 0.0})


def test_a_star_stands_for_one_name_and_not_for_a_path():
    condition = Condition.parse("f/*/low > 1")
    assert condition.subjects({"f/dark/low": 1.0, "f/a/b/low": 1.0, "f/low": 1.0, "g/dark/low": 1.0}) == ["dark"]
