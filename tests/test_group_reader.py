"""Where the groups of images come from, and how they reach the figures of a run."""

import re

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lightning_failures import FactorErrorMonitor, SimplicityBiasMonitor, failure_monitors
from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.observe.dataset_rows import DatasetRows
from lightning_failures.observe.group_reader import GroupReader
from tests.runs import fit, table

IN_ORDER = DatasetRows(DataLoader(range(6), batch_size=3))
SHUFFLED = DatasetRows(DataLoader(range(6), batch_size=3, shuffle=True))


def test_words_of_a_field_become_numbers_that_are_the_same_everywhere():
    one, other = GroupReader("patient"), GroupReader("patient")
    found = one.read({"patient": ["Ann", "Bob", "Ann"]}, 3, IN_ORDER, 0)
    assert found[0] == found[2] != found[1]
    assert found[1] == other.read({"patient": ["Bob"]}, 1, IN_ORDER, 0)[0]
    assert [one.name(int(group)) for group in found] == ["Ann", "Bob", "Ann"]


@pytest.mark.parametrize(
    "values",
    [
        torch.tensor([4, 4, 9]),
        torch.tensor([[4], [4], [9]], dtype=torch.int32),
        torch.tensor([4.0, 4.0, 9.0]),
        np.array([4, 4, 9]),
        [4, 4, 9],
    ],
)
def test_whole_numbers_stay_as_they_are(values):
    assert GroupReader("scanner").read({"scanner": values}, 3, IN_ORDER, 0).tolist() == [4, 4, 9]


def test_a_callable_reads_the_batch():
    assert GroupReader(lambda batch: batch["x"][:, 0]).read({"x": torch.eye(3).long()}, 3, IN_ORDER, 0).tolist() == [
        1,
        0,
        0,
    ]


def test_a_sequence_is_read_by_the_row_of_the_dataset():
    reader = GroupReader([7, 7, 7, 8, 8, 9])
    assert reader.read(None, 3, IN_ORDER, 1).tolist() == [8, 8, 9]
    with pytest.raises(InputError, match="groups by row cannot be joined to the batch"):
        reader.read(None, 3, SHUFFLED, 0)
    with pytest.raises(InputError, match=re.escape("given 2 groups, a dataset of 6 images")):
        GroupReader([7, 7]).read(None, 3, IN_ORDER, 0)


def test_a_mapping_is_read_by_the_id_of_the_image():
    reader = GroupReader({"a.png": "Ann", "b.png": "Bob"}, ids="file")
    found = reader.read({"file": ["b.png", "a.png", "b.png"]}, 3, SHUFFLED, 0)
    assert [reader.name(int(group)) for group in found] == ["Bob", "Ann", "Bob"]
    with pytest.raises(InputError, match=r"no group; given 1 of 2 images, such as 'c.png'.*such as 'a.png'"):
        reader.read({"file": ["a.png", "c.png"]}, 2, SHUFFLED, 0)
    with pytest.raises(InputError, match="groups go by id, and no ids were named"):
        GroupReader({"a.png": "Ann"})


def test_file_names_that_are_spelt_otherwise_are_found_and_those_that_fit_two_are_refused():
    reader = GroupReader({"cat/1.png": "Ann", "dog/1.png": "Bob", "dog/2.png": "Eve"}, ids="file")
    for _ in range(2):
        found = reader.read({"file": ["/data/dog/1.PNG", "2", "cat/1.png"]}, 3, SHUFFLED, 0)
        assert [reader.name(int(group)) for group in found] == ["Bob", "Eve", "Ann"]
    with pytest.raises(InputError, match=r"ids=.* given 1.png, which may be cat/1.png or dog/1.png"):
        reader.read({"file": ["1.png"]}, 1, SHUFFLED, 0)


def test_a_file_of_one_column_goes_by_row_and_one_of_two_by_id(tmp_path):
    pytest.importorskip("pandas")
    rows, ids, wide = tmp_path / "rows.csv", tmp_path / "ids.csv", tmp_path / "wide.csv"
    rows.write_text("slide\nS1\nS1\nS2\nS2\nS3\nS3\n")
    ids.write_text("file,slide\na.png,S1\nb.png,S2\n")
    wide.write_text("file,slide,age\na.png,S1,4\n")
    reader = GroupReader(rows)
    assert [reader.name(int(group)) for group in reader.read(None, 3, IN_ORDER, 1)] == ["S2", "S3", "S3"]
    reader = GroupReader(str(ids), ids="file")
    assert reader.name(int(reader.read({"file": ["b.png"]}, 1, SHUFFLED, 0)[0])) == "S2"
    with pytest.raises(InputError, match=r"not known which column holds the groups; given .*columns file, slide, age"):
        GroupReader(wide)


@pytest.mark.parametrize("missing", [None, "", float("nan")])
def test_an_image_without_a_group_is_an_error(missing):
    with pytest.raises(InputError, match="an image has no group"):
        GroupReader("patient").read({"patient": ["Ann", missing]}, 2, IN_ORDER, 0)


def test_what_is_not_one_group_for_each_image_is_an_error():
    with pytest.raises(InputError, match="groups are not one word or whole number for each image"):
        GroupReader("x").read({"x": torch.rand(3)}, 3, IN_ORDER, 0)
    with pytest.raises(InputError, match="groups are not one for each image; given 'Ann'"):
        GroupReader("x").read({"x": "Ann"}, 3, IN_ORDER, 0)
    with pytest.raises(InputError, match="there is not one group for each image; given 2 groups for 3 images"):
        GroupReader("x").read({"x": [1, 2]}, 3, IN_ORDER, 0)
    with pytest.raises(UnknownNameError, match="the field 'patient' is not there"):
        GroupReader("patient").read({"x": [1, 2]}, 2, IN_ORDER, 0)


def test_a_run_counts_groups_where_they_are_named():
    groups = [row // 5 for row in range(30)]
    plain = FactorErrorMonitor(table(), on_error="raise")
    counted = FactorErrorMonitor(table(), groups=groups, name="grouped", on_error="raise")
    run, _ = fit([plain, counted])
    logged = run.callback_metrics
    assert logged["failures/grouped/groups/all"] == 6
    assert logged["failures/grouped/error/dark"] == logged["failures/factors/error/dark"]
    assert logged["failures/grouped/difference_low/dark"] != logged["failures/factors/difference_low/dark"]
    assert "failures/factors/groups/all" not in logged


def test_all_monitors_that_give_intervals_count_the_groups_of_one_argument():
    groups = [row // 5 for row in range(30)]
    callbacks = failure_monitors(factors=table(), groups=groups, on_error="raise")
    run, _ = fit(callbacks, epochs=3)
    logged = run.callback_metrics
    assert logged["failures/factors/groups/all"] == 6
    assert logged["failures/simplicity/groups/all"] == 6
    simplicity = next(each for each in callbacks if isinstance(each, SimplicityBiasMonitor))
    assert simplicity.examining.batch.groups.unique().tolist() == [0, 1, 2, 3, 4, 5]


def test_groups_by_id_reach_all_monitors_through_one_argument():
    ids = {str(label): f"group {label}" for label in range(3)}
    callbacks = failure_monitors(groups=ids, ids="1", on_error="raise")  # here the label stands for a file name
    run, _ = fit(callbacks, epochs=2)
    assert run.callback_metrics["failures/simplicity/groups/all"] == 3
    assert run.callback_metrics["failures/groups/groups/all"] == 3
