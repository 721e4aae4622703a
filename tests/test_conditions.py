import math

import pytest

from lightning_failures.errors import InputError
from lightning_failures.records import Condition


@pytest.mark.parametrize(
    "text",
    ["a/b <= 1.5", "a/b > -0.25", "accuracy > chance + 0.1", "accuracy >= chance - 0.1", "x < y", "low/* > high/*"],
)
def test_a_condition_reads_back_as_it_was_written(text):
    assert str(Condition.parse(text)) == text


FORM = "Write KEY <= BOUND with one of <, <=, >, >=; a bound is a number, a key, or a key + or - a number."


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "no comparison at position 1"),
        ("val_loss 1.5", "no comparison at position 13"),
        ("a <", "no bound at position 4"),
        ("< 1", "no key at position 1"),
        ("a == 1", "'==' is no comparison at position 3"),
        ("a = 1", "'=' is no comparison at position 3"),
        ("a <> 1", "'<>' is no comparison at position 3"),
        ("a != 1", "'!=' is no comparison at position 3"),
        ("a => 1", "'=>' is no comparison at position 3"),
        ("a < 1 < 2", "a second comparison '<' at position 7"),
        ("0.5 <= a", "a number, 0.5, where the key belongs, at position 1"),
        ("a <= nan", "a bound that is not finite, nan, at position 6"),
        ("a <= b + inf", "an offset that is no number, inf, at position 10"),
        ("a < c + b", "an offset that is no number, b, at position 9"),
    ],
)
def test_what_is_no_condition_says_at_which_position_and_how_one_is_written(text, wrong):
    with pytest.raises(InputError) as error:
        Condition.parse(text)
    assert str(error.value) == f"Condition: {wrong}; given {text!r}. {FORM}"


def test_a_condition_that_is_no_text_is_an_error():
    with pytest.raises(InputError) as error:
        Condition.parse(1.5, "Gate")
    assert str(error.value) == f"Gate: a condition is a text, not a float; given 1.5. {FORM}"


def test_a_missing_or_undefined_value_fulfils_nothing():
    for text in ("a <= 1", "a > 1", "a < b", "b > a"):
        assert not Condition.parse(text).holds({"b": 0.0})
        assert not Condition.parse(text).holds({"a": math.nan, "b": 0.0})


def test_a_star_stands_for_one_name_and_not_for_a_path():
    condition = Condition.parse("f/*/low > 1")
    assert condition.subjects({"f/dark/low": 1.0, "f/a/b/low": 1.0, "f/low": 1.0, "g/dark/low": 1.0}) == ["dark"]
