import math

import pytest

from lightning_failures.errors import InputError
from lightning_failures.records import Condition, Order


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
        ("f/size<16 <=", "no bound at position 13"),
        ("< 1", "no key at position 1"),
        ("a == 1", "'==' is no comparison at position 3"),
        ("a = 1", "'=' is no comparison at position 3"),
        ("a <> 1", "'<>' is no comparison at position 3"),
        ("a != 1", "'!=' is no comparison at position 3"),
        ("a => 1", "'=>' is no comparison at position 3"),
        ("0.5 <= a", "a number, 0.5, where the key belongs, at position 1"),
        ("a <= nan", "a bound that is not finite, nan, at position 6"),
        ("a <= b + inf", "an offset that is no number, inf, at position 10"),
        ("a < c + b", "an offset that is no number, b, at position 9"),
        ("a < ???", "a bound that is neither a number nor a key, ???, at position 5"),
        ("a < 5x", "a bound that is neither a number nor a key, 5x, at position 5"),
        ("a < -b", "a bound that is neither a number nor a key, -b, at position 5"),
        ("a < None", "a bound that is neither a number nor a key, None, at position 5"),
        ("50% < a", "a number, 50%, where the key belongs, at position 1"),
        ("a =<1", "'=<' is no comparison at position 3"),
    ],
)
def test_what_is_no_condition_says_at_which_position_and_how_one_is_written(text, wrong):
    with pytest.raises(InputError) as error:
        Condition.parse(text)
    assert str(error.value) == f"Condition: {wrong}; given {text!r}. {FORM}"


@pytest.mark.parametrize(
    ("text", "wrong", "fix"),
    [
        ("a <= 50%", "a percentage, 50%, at position 6", "Write 0.5."),
        ("a <= 2.5 %", "a percentage, 2.5 %, at position 6", "Write 0.025."),
        ("a > b + 10%", "a percentage, 10%, at position 9", "Write 0.1."),
        ("a <= 0,5", "a number with a comma, 0,5, at position 6", "Write 0.5."),
        ("a <= -,5", "a number with a comma, -,5, at position 6", "Write -0.5."),
        ("a > b - 0,25", "a number with a comma, 0,25, at position 9", "Write 0.25."),
        ("a <= 1,000", "a number with a comma, 1,000, at position 6", "Write 1000 or 1."),
        (
            "f/size<16<=2",
            "a second comparison '<=' at position 10",
            "Put white space on both sides of the one that compares, or quotes around the name: "
            "KEY/'size<16' <= BOUND.",
        ),
        (
            "f/size < 16 <= 2",
            "a second comparison '<=' at position 13",
            "Put quotes around the name that holds a comparison: KEY/'size < 16' <= BOUND.",
        ),
        (
            "low < high/*",
            "more stars in the bound than in the key at position 7",
            "Put a star into the key for each: a star of the bound stands for the same name as that of the key.",
        ),
        (
            "low/* < */high/*",
            "more stars in the bound than in the key at position 9",
            "Put a star into the key for each: a star of the bound stands for the same name as that of the key.",
        ),
    ],
)
def test_what_is_often_meant_says_how_it_is_written(text, wrong, fix):
    with pytest.raises(InputError) as error:
        Condition.parse(text)
    assert str(error.value) == f"Condition: {wrong}; given {text!r}. {fix}"


@pytest.mark.parametrize(
    ("text", "key", "comparison"),
    [
        ("val_acc>=0.5", "val_acc", ">="),
        ("val_acc>= 0.5", "val_acc", ">="),
        ("val_acc <0.5", "val_acc", "<"),
        ("f/size<16 <= 2", "f/size<16", "<="),
        ("f/scanner=A <= 2", "f/scanner=A", "<="),
        ("f/a!=b\t>\n2", "f/a!=b", ">"),
        ("f/a + b <= 2", "f/a + b", "<="),
        ('f/"a <= b"<=2', "f/a <= b", "<="),
        ("f/'a <= b'<=2", "f/a <= b", "<="),
        ("f/'size<16'<2", "f/size<16", "<"),
        ('f/"scanner=A"<2', "f/scanner=A", "<"),
        (r"f/size\<16<2", "f/size<16", "<"),
        (r"f/16\<\=size\<32 <2", "f/16<=size<32", "<"),
        (r"f/scanner\=A>2", "f/scanner=A", ">"),
        (r'f/"the \"best\" <" < 2', "f/the %22best%22 <", "<"),
        (r"f/'it\'s <' < 2", "f/it's <", "<"),
        ("f/O'Brien's < 2", "f/O'Brien's", "<"),
        ("f/'90s < 2", "f/'90s", "<"),
        ('"failures/factors/high/size<16"<2', "failures/factors/high/size<16", "<"),
        ("'failures/factors/high/size < 16' > 2", "failures/factors/high/size < 16", ">"),
        ('"failures/*/high/*" <= 2', "failures/*/high/*", "<="),
        (' f/"a ""<= 3"" b" > 2 ', "f/a %22<= 3%22 b", ">"),
    ],
)
def test_the_comparison_is_the_one_with_white_space_around_it(text, key, comparison):
    condition = Condition.parse(text)
    assert (condition.key, condition.comparison) == (key, comparison)


def test_a_bound_may_be_a_quoted_name_and_a_name_with_a_plus():
    assert Condition.parse('a < f/"b + 1" + 2').limit({"f/b + 1": 3.0}) == 5.0
    assert Condition.parse("a < f/b + c + 2").limit({"f/b + c": 3.0}) == 5.0
    assert Condition.parse('a < "3d"').limit({"3d": 3.0}) == 3.0


def test_a_condition_that_is_no_text_is_an_error():
    with pytest.raises(InputError) as error:
        Condition.parse(1.5, "Gate")
    assert str(error.value) == f"Gate: a condition is a text, not a float; given 1.5. {FORM}"


def test_an_order_names_a_key_as_a_condition_does():
    assert Order.parse('min  high/"CD8+/CD4-"', "Gate") == ("min", "high/CD8+%2FCD4-")
    with pytest.raises(InputError, match=r"^Gate: an empty name at position 7; given 'max a/'"):
        Order.parse("max a/", "Gate")


def test_a_missing_or_undefined_value_fulfils_nothing():
    for text in ("a <= 1", "a > 1", "a < b", "b > a"):
        assert not Condition.parse(text).holds({"b": 0.0})
        assert not Condition.parse(text).holds({"a": math.nan, "b": 0.0})


def test_a_star_stands_for_one_name_and_not_for_a_path():
    condition = Condition.parse("f/*/low > 1")
    assert condition.subjects({"f/dark/low": 1.0, "f/a/b/low": 1.0, "f/low": 1.0, "g/dark/low": 1.0}) == ["dark"]
