"""Inputs with the channels on axis 1, whatever axis the module takes them on."""

import pytest
import torch

from lightning_failures.errors import InputError
from lightning_failures.observe import InputView


@pytest.mark.parametrize(
    ("shape", "axis", "seen"),
    [
        ((4, 3, 8, 8), None, (4, 3, 8, 8)),
        ((4, 1, 8, 8), None, (4, 1, 8, 8)),
        ((4, 7), None, (4, 7)),
        ((4, 3, 20), None, (4, 3, 20)),
        ((4, 1, 20), None, (4, 20)),
        ((4, 20, 1), None, (4, 20)),
        ((4, 1, 12, 5, 5), None, (4, 12, 5, 5)),
        ((4, 1, 16000), None, (4, 1, 16000)),
        ((4, 8, 9, 3), -1, (4, 3, 8, 9)),
        ((4, 8, 9, 3), 2, (4, 9, 8, 3)),
        ((4, 1, 12, 5, 5), 2, (4, 12, 5, 5)),
        ((4, 5, 5, 12, 1), 3, (4, 12, 5, 5, 1)),
    ],
)
def test_inputs_are_seen_with_their_channels_first_and_given_back_as_they_were(shape, axis, seen) -> None:  # type: ignore[no-untyped-def]
    view, inputs = InputView.of(shape, axis), torch.rand(shape)
    assert view.read(inputs).shape == seen
    assert torch.equal(view.give(view.read(inputs)), inputs)


def test_an_axis_that_there_is_not_says_which_there_are() -> None:
    with pytest.raises(InputError) as error:
        InputView.of((4, 3, 8, 8), 4, "failure_monitors(channel_axis=...)")
    assert str(error.value) == (
        "failure_monitors(channel_axis=...): inputs have no such axis; given channel_axis=4 for inputs (4, 3, 8, 8). "
        "Choose from 1 to 3; axis 0 holds the images."
    )
