from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch

from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.observe import discover_inputs, discover_targets, read_field
from lightning_failures.observe.batch_fields import labels_of

IMAGES = torch.rand(4, 3, 8, 8)
LABELS = torch.tensor([0, 1, 2, 0])


@dataclass
class Batch:
    image: torch.Tensor
    label: torch.Tensor


Pair = namedtuple("Pair", ["x", "y"])


@pytest.mark.parametrize(
    ("batch", "inputs", "targets"),
    [
        ((IMAGES, LABELS), "0", "1"),
        ([IMAGES, LABELS, torch.arange(4)], "0", "1"),
        ((torch.arange(4), IMAGES, {"label": LABELS}), "1", "2.label"),
        ({"image": IMAGES, "label": LABELS}, "image", "label"),
        (
            {"mask_weight": IMAGES, "pixel_values": IMAGES, "index": torch.arange(4), "labels": LABELS},
            "pixel_values",
            "labels",
        ),
        ({"data": {"img": IMAGES}, "meta": {"scanner": LABELS, "target": LABELS}}, "data.img", "meta.target"),
        (Batch(IMAGES, LABELS), "image", "label"),
        (Pair(IMAGES, LABELS), "x", "y"),
        ((torch.randint(0, 255, (4, 3, 8, 8), dtype=torch.uint8), LABELS), "0", "1"),
        ((torch.rand(4, 7), LABELS), "0", "1"),
        ((IMAGES, torch.zeros(4, 8, 8, dtype=torch.long)), "0", "1"),
        (([IMAGES, IMAGES], LABELS), "0.0", "1"),
    ],
)
def test_inputs_and_targets_are_found_in_any_kind_of_batch(batch, inputs, targets):
    assert discover_inputs(batch) == inputs
    assert discover_targets(batch, 4, inputs) == targets


def test_a_bare_tensor_is_a_batch_without_targets():
    assert discover_inputs(IMAGES) == ""
    assert discover_targets(IMAGES, 4, "") is None


def test_float_targets_and_targets_of_another_length_are_not_taken_for_labels():
    assert discover_targets((IMAGES, torch.rand(4), torch.arange(5)), 4, "0") is None


def test_a_field_is_read_by_path_position_or_callable():
    batch = {"meta": [{"scanner": 7}]}
    assert read_field(batch, "meta.0.scanner") == 7
    assert read_field([1, 2], 1) == 2
    assert read_field(batch, lambda b: len(b["meta"])) == 1
    assert read_field(batch, "") is batch


def test_a_path_that_leads_nowhere_says_what_is_there():
    with pytest.raises(UnknownNameError) as error:
        read_field({"image": 1, "label": 2}, "lable", "Probe(targets=...)")
    assert str(error.value) == (
        "Probe(targets=...): the field 'lable' is not there; given a dict with 'image', 'label'. "
        "Name a path of fields or positions, such as 'image' or '0', or pass a callable that takes the batch."
    )


def test_targets_that_are_no_labels_say_what_they_are():
    with pytest.raises(InputError) as error:
        labels_of(torch.rand(4, 2), "Probe(targets=...)")
    assert str(error.value) == (
        "Probe(targets=...): targets are not integer class labels; given (4, 2) torch.float32. "
        "Name a field that holds them: targets='label'."
    )
