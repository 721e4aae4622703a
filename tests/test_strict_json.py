"""One writer of JSON, which every program can read, and what it says where a file cannot be written."""

import json
import math
from pathlib import Path

import pytest

from lightning_failures.errors import InputError
from lightning_failures.records import to_text, write_file, write_json


def test_what_is_not_finite_is_written_at_any_depth_so_that_strict_readers_take_it() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = to_text({"a": [math.nan, (math.inf, -math.inf)], "b": {"c": 0.5, "d": None, "e": "nan"}})
    assert json.loads(text, parse_constant=refuse) == {
        "a": [None, ["inf", "-inf"]],
        "b": {"c": 0.5, "d": None, "e": "nan"},
    }


def test_a_file_is_written_with_its_folders_and_a_line_break_at_its_end(tmp_path: Path) -> None:
    path = write_json("here", tmp_path / "deep" / "file.json", {"name": "ä", "loss": 1.0})
    assert path.read_text(encoding="utf-8") == '{\n  "name": "\\u00e4",\n  "loss": 1.0\n}\n'


def test_a_file_that_cannot_be_written_is_one_sentence_and_not_a_trace(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    for write in (write_json, write_file):
        with pytest.raises(InputError) as caught:
            write("audit", tmp_path / "taken" / "file.json", "text")
        (start, end) = (
            f"audit: a file cannot be written; given {tmp_path / 'taken' / 'file.json'}: ",
            ". Name another.",
        )
        assert str(caught.value).startswith(start)
        assert str(caught.value).endswith(end)


def test_data_that_json_cannot_hold_leave_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text("before")
    with pytest.raises(TypeError):
        write_json("here", path, {"path": path})
    assert path.read_text() == "before"
