"""The language of keys: what a name may hold, what a star stands for, and what is refused."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lightning_failures.callbacks.factors import factor_rows
from lightning_failures.callbacks.gate import measure, read_constraints
from lightning_failures.errors import InputError
from lightning_failures.records import (
    RESERVED,
    Condition,
    covers_key,
    escape,
    fill_key,
    match_key,
    parse_key,
    subject_in_words,
    unescape,
    unknown_key,
    write_key,
)

NAMES = ["CD8+/CD4-", "scanner=A", "size<16", "a*b", "50%", "worst", '"quoted"', "at least <= 2 of them", "%2F", " x "]
FORM = 'Join names by single slashes; write a name that holds a slash, a star or a quote as "NAME", its quotes twice.'
HIGH = "failures/factors/high/"

any_name = st.text(min_size=1) | st.text('/*"%2Fa<>= +-\n', min_size=1) | st.sampled_from([*RESERVED, *NAMES])


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("CD8+/CD4-", "CD8+%2FCD4-"),
        ("scanner=A", "scanner=A"),
        ("size<16", "size<16"),
        ("a*b", "a%2Ab"),
        ("50%", "50%"),
        ("50%25", "50%2525"),
        ("worst", "%77orst"),
        ("worst case", "worst case"),
        ('"quoted"', "%22quoted%22"),
        ("two\nlines", "two%0Alines"),
        ("690-760 nm", "690-760 nm"),
        ("net.fc", "net.fc"),
        ("1", "1"),
        ("a~b", "a~b"),
        ("größe", "größe"),
    ],
)
def test_only_what_would_break_a_key_is_escaped(name, segment):
    assert escape(name) == segment
    assert unescape(segment) == name


@given(any_name)
@example("%")
@example("%%2F")
@example("\x85")
def test_an_escaped_name_is_one_segment_and_comes_back(name):
    segment = escape(name)
    assert unescape(segment) == name
    assert not set(segment) & set('/*"\n\r\t\x00')
    assert segment not in RESERVED


def test_an_empty_name_is_refused():
    with pytest.raises(InputError) as error:
        escape("", "FactorErrorMonitor")
    assert str(error.value) == "FactorErrorMonitor: an empty name; given ''. Give it at least one character."


@given(any_name, any_name)
@example("?", "x")
@example("inf", "nan")
def test_a_quoted_name_in_a_condition_finds_exactly_its_key(name, other):
    values = {f"low/{escape(other)}": 9.0, f"low/{escape(name)}": 1.0, "low/worst": 9.0}
    condition = Condition.parse(f"low/{quoted(name)} <= 2")
    assert condition.keys() == [f"low/{escape(name)}"]
    assert condition.holds(values)
    assert Condition.parse(str(condition)) == condition
    bound = Condition.parse(f"x <= {quoted(name)} - 0.5")
    assert bound.limit({escape(name): 1.0}) == 0.5
    assert Condition.parse(str(bound)) == bound


@given(st.text(min_size=1) | st.text("\\\\\"'/*<= ", min_size=1))
@example("\\")
@example("a\\")
@example('\\"')
@example("'a'")
@example("it's")
def test_either_quotes_with_backslashes_hold_any_name(name):
    escaped = name.replace("\\", "\\\\")
    for quote in "\"'":
        text = f"low/{quote}{escaped.replace(quote, chr(92) + quote)}{quote}"
        assert parse_key(text, "Gate") == f"low/{escape(name)}"
        assert Condition.parse(f"{text}<=2").key == f"low/{escape(name)}"
    assert parse_key(write_key(f"low/{escape(name)}"), "Gate") == f"low/{escape(name)}"
    assert Condition.parse(f"{write_key(f'low/{escape(name)}')} <= 2").key == f"low/{escape(name)}"


@given(st.text("ab<>=!/*\"'\\\\", min_size=1))
def test_a_backslash_makes_any_mark_a_part_of_the_name(name):
    text = "".join(f"\\{mark}" if mark in "<>=!/*\"'\\" else mark for mark in name)
    assert parse_key(f"low/{text}", "Gate") == f"low/{''.join(map(escape, name))}"
    assert Condition.parse(f"low/{text}<2").keys() == [f"low/{''.join(map(escape, name))}"]


def test_a_whole_key_of_a_monitor_may_stand_in_quotes():
    assert parse_key('"failures/factors/high/size < 16"', "Gate") == "failures/factors/high/size < 16"
    assert parse_key("'failures/factors/*/\"wet\"'", "Gate") == "failures/factors/*/%22wet%22"
    assert parse_key('"failures/factors/high/worst"', "Gate") == "failures/factors/high/worst"  # the total
    assert (
        parse_key('failures/factors/high/"worst"', "Gate") == "failures/factors/high/%77orst"
    )  # a factor of this name
    assert parse_key('"val/acc"', "Gate") == "val%2Facc"  # a name
    for key in ('"failures//high"', "'failures/'"):
        with pytest.raises(InputError, match="an empty name at position 1"):
            parse_key(key, "Gate")


@given(any_name)
def test_a_star_stands_for_every_name_and_people_read_it_as_it_is(name):
    values = {f"low/{escape(name)}": 1.0, f"low/{escape(name)}/more": 1.0}
    (subject,) = Condition.parse("low/* > 0").subjects(values)
    assert subject_in_words(subject) == name
    assert fill_key("high/*", subject) == f"high/{escape(name)}"


@pytest.mark.parametrize("name", [name for name in NAMES if not set(name) & set('/*"') and name not in RESERVED])
def test_most_names_need_no_quotes(name):
    text = f"{HIGH}{name} <= 2"
    if name in ("at least <= 2 of them", "%2F", " x "):  # a comparison, an escape, and white space at the end
        text = f"{HIGH}{quoted(name)} <= 2"
    assert Condition.parse(text).key == f"{HIGH}{escape(name)}"


@pytest.mark.parametrize("name", NAMES)
def test_a_gate_sees_a_factor_whatever_its_name_holds(name):
    values = {f"{HIGH}{escape(name)}": 4.72, f"{HIGH}other": 1.0}
    for constraint in (f"{HIGH}* <= 2", f"{HIGH}{quoted(name)} <= 2"):
        (outcome,) = measure(read_constraints("Gate", constraint), values)
        assert (outcome.state, outcome.key) == ("violated", f"{HIGH}{escape(name)}")
        assert Condition.parse(outcome.why.replace(" = 4.72 violates ", " ").split(" by ")[0]).holds(
            {f"{HIGH}{escape(name)}": 1.0}
        )


@pytest.mark.parametrize("total", sorted(RESERVED))
def test_a_star_never_stands_for_a_total(total):
    assert match_key("images/*", f"images/{total}") is None
    assert match_key(f"images/{total[:2]}*", f"images/{total}") is None
    assert match_key("images/*", f"images/{total}ly") == f"{total}ly"
    assert match_key("images/*", f"images/{escape(total)}") == escape(total)
    assert match_key("*/images", f"{total}/images") == total  # a statistic; totals come last
    assert match_key(f"*/{total}", f"images/{total}") == "images"


def test_several_stars_stand_for_one_name_each_in_order():
    condition = Condition.parse("failures/*/low/* > failures/*/high/* - 1")
    values = {
        "failures/factors/low/dark": 3.0,
        "failures/factors/high/dark": 3.5,
        "failures/spectra/low/b%2Fc": 1.0,
        "failures/spectra/high/b%2Fc": 3.0,
        "failures/low/dark": 9.0,
    }
    subjects = condition.subjects(values)
    assert subjects == ["factors/dark", "spectra/b%2Fc"]
    assert [condition.holds(values, subject) for subject in subjects] == [True, False]
    assert [subject_in_words(subject) for subject in subjects] == ["factors, dark", "spectra, b/c"]


def test_a_star_stands_for_a_part_of_a_name():
    values = {"rank/net.fc": 1.0, "rank/net.conv": 1.0, "rank/net.": 1.0, "rank/head": 1.0}
    assert Condition.parse("rank/net.* > 0").subjects(values) == ["fc", "conv"]
    assert match_key("rank/l*r*", "rank/layer1") == "aye/1"


def test_a_key_is_matched_to_its_end_and_literally():
    assert match_key("a.c/*", "abc/x") is None
    assert match_key("a/*", "a/b\n") == "b\n"
    assert match_key("a/*/low", "a/b/lower") is None
    assert match_key("plain", "plain") == ""


def test_covering_is_for_every_key():
    assert covers_key("a*/x", "ab/x")
    assert not covers_key("ab*/x", "a*/x")
    assert not covers_key("x/*", "x/*/low")


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("a//b", "an empty name at position 3"),
        ("/a", "an empty name at position 1"),
        ("a/", "an empty name at position 3"),
        ('a/""', "an empty name at position 3"),
        ('a/"b', "an open quote at position 3"),
        ('a/"b""', "text beside a quoted name at position 6"),
        ('a/b"c"', "a quote inside a name at position 4"),
        ('a/"b"c/d', "text beside a quoted name at position 6"),
        ("a/**", "two stars side by side where one stands for a name at position 3"),
        ("  ", "an empty name at position 3"),
    ],
)
def test_what_can_match_no_key_is_refused_with_its_position(key, wrong):
    with pytest.raises(InputError) as error:
        parse_key(key, "Gate")
    assert str(error.value) == f"Gate: {wrong}; given {key!r}. {FORM}"


def test_the_position_is_that_in_the_whole_condition():
    for text, position in (("low//dark <= 1", 5), ("low/dark <= high//dark", 18)):
        with pytest.raises(InputError) as error:
            Condition.parse(text)
        assert str(error.value) == f"Condition: an empty name at position {position}; given {text!r}. {FORM}"


def test_a_key_is_written_with_quotes_only_where_it_needs_them():
    for key in ("val/acc", "failures/factors/high/*", "f/size<16", "f/690-760 nm", "own/1", "x/worst", "u/a%20b"):
        assert write_key(key) == key
    assert write_key("f/%77orst") == 'f/"worst"'
    assert write_key("f/%22q%22") == 'f/"""q"""'
    assert write_key("f/a <= b") == 'f/"a <= b"'
    assert write_key("3d/acc") == '"3d"/acc'


def test_three_keys_may_be_meant_and_the_users_own_come_first():
    monitors = [f"failures/collapse/{key}" for key in ("valid_ac", "valid_acc_", "rank")]
    text = unknown_key("valid_acc", [*monitors, "val_acc", "lr", "train_loss"])
    assert text == (
        "'valid_acc' was not logged; the nearest that were: 'val_acc', 'failures/collapse/valid_acc_', "
        "'failures/collapse/valid_ac'."
    )
    assert len(re.findall("'", unknown_key("x", [f"key{i}" for i in range(50)]))) == 8


def test_the_rows_of_a_table_bear_the_names_as_they_are():
    values = {f"error_ratio/{escape(name)}": 1.0 for name in NAMES}
    totals = {"error_ratio/worst": 2.0, "error_ratio/all": 1.0}
    assert sorted(row.name for row in factor_rows(values | totals)) == sorted(NAMES)
