"""Contents that are exchanged in a run: which is named, the search for the part, and what is left without it."""

import pytest
import torch
from torch import nn

from lightning_failures import SimplicityBiasMonitor
from lightning_failures.callbacks.simplicity import without as without_module
from lightning_failures.callbacks.simplicity.contents import Refinement, cells, neighbours, unexplained
from lightning_failures.callbacks.simplicity.without import (
    Judged,
    Reading,
    TrainingSample,
    WithoutContents,
)
from lightning_failures.interventions import exchange_channels, exchanges
from tests.test_simplicity_monitor import EAGER, nearest, watch


def draw(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


# -- which content is named


def test_the_poorest_content_that_leads_is_left_and_those_that_hold_it_are_not():
    shares = {"level": (0.1, 0.8), "colour": (0.9, 0.0), "channel_statistics": (0.95, 0.0), "texture": (1.0, 0.0)}
    found = unexplained(shares)
    assert found["colour"] == 0.9
    assert max(found["channel_statistics"], found["texture"]) < 0.2


def test_of_contents_that_are_as_poor_the_one_that_carries_most_is_left():
    found = unexplained({"total_absorbance": (0.6, 0.1), "level": (0.5, 0.1)})
    assert found == pytest.approx({"total_absorbance": 0.6, "level": 0.0})


def test_a_channel_is_poorer_than_the_statistics_of_all():
    shares = {"channel 5": (0.5, 0.1), "channel_statistics": (0.6, 0.1)}
    assert unexplained(shares) == pytest.approx({"channel 5": 0.5, "channel_statistics": 0.1})


def test_a_pattern_counts_beyond_what_the_statistics_of_channels_carry():
    assert unexplained({"low_frequencies": (0.8, 0.05)})["low_frequencies"] == pytest.approx(0.6)
    mixed = {"channel_statistics": (0.2, 0.5), "channel 1": (0.25, 0.5), "low_frequencies": (0.84, 0.01)}
    assert unexplained(mixed)["low_frequencies"] == pytest.approx(0.84 - 0.2 - 0.2 - 0.25)


def test_a_texture_that_leaves_hardly_a_prediction_as_it_was_carries_all_of_its_share():
    assert unexplained({"texture": (0.5, 0.1)})["texture"] == pytest.approx(0.5)
    assert unexplained({"texture": (0.5, 0.2)})["texture"] == pytest.approx(0.3)
    assert unexplained({"texture": (0.5, 0.1), "level": (0.1, 0.8)})["texture"] == pytest.approx(0.4)


# -- the search


def test_a_search_goes_into_the_part_that_leads_and_names_the_finer_one():
    search = Refinement({"left": ["a", "b"], "right": ["c", "d"]})
    assert search.parts == ("left", "right")
    search.learn({"left": (0.1, 0.8), "right": (0.7, 0.1)})
    assert search.searching
    assert search.parts == ("c", "d")
    search.learn({"c": (0.0, 1.0), "d": (0.6, 0.2)})
    assert not search.searching
    assert search.led == ("d",)
    again = Refinement({"left": ["a", "b"], "right": ["c", "d"]})
    again.load_state_dict(search.state_dict())
    assert (again.parts, again.led) == (search.parts, search.led)


def test_a_part_of_which_no_finer_one_leads_is_not_looked_into_again():
    search = Refinement({"left": ["a", "b"], "right": []})
    search.learn({"left": (0.7, 0.1), "right": (0.1, 0.9)})
    search.learn({"a": (0.3, 0.5), "b": (0.3, 0.5)})
    assert not search.searching
    assert search.led == ()
    search.learn({"left": (0.7, 0.1), "right": (0.1, 0.9)})
    assert search.parts == ("left", "right")
    search.learn({"left": (0.1, 0.9), "right": (0.6, 0.1)})
    assert search.led == ("right",)  # as fine as can be


@pytest.mark.parametrize("channels", [5, 16, 64, 200])
def test_groups_of_neighbours_hold_every_channel_once(channels):
    groups, members = neighbours([str(k) for k in range(channels)])
    assert sum(members[group].int() for group in groups).tolist() == [1] * channels
    assert len(groups) + max(map(len, groups.values())) <= 2 * channels**0.5 + 2
    singles = [part for group, parts in groups.items() for part in (parts or [group])]
    assert [members[part].nonzero().item() for part in singles] == list(range(channels))


def test_small_images_have_quarters_and_no_sixteenths():
    parts, _ = cells(3, 9)
    assert set(map(len, parts.values())) == {0}


# -- what is left without a content


def labelled(n=600, seed=0):
    """Three channels: a bright quadrant of the first is the label; and the level of the last, which is too."""
    labels = torch.arange(n) % 4
    images = 0.3 * draw(n, 3, 8, 8, seed=seed)
    for k in range(4):
        row, column = 4 * (k // 2), 4 * (k % 2)
        images[labels == k, 0, row : row + 4, column : column + 4] += 0.5
    images[:, 2] += 0.5 * labels[:, None, None]
    return images, labels


def read(*given):
    reading = Reading(*given)
    while not reading.done:
        reading.step()
    return reading.judged


def test_without_a_cue_the_rest_is_read_and_without_all_there_is_nothing_is():
    images, labels = labelled()
    last = exchange_channels(torch.tensor([False, False, True]))
    left = read(last, images, labels, 4)
    assert left.right > 0.9 * left.images
    both = exchange_channels(torch.tensor([True, False, True]))
    nothing = read(both, images, labels, 4)
    assert nothing.images == left.images == 200
    assert nothing.right < 0.4 * nothing.images


def test_what_rounding_leaves_of_a_level_is_not_read():
    labels = torch.arange(600) % 4
    images = draw(600, 1, 8, 8) + 1000.0 * labels[:, None, None, None]
    level = exchanges({"level": "level"}, images, None)[0]["level"]
    left = read(level, images, labels, 4)
    assert left.right < 0.4 * left.images


@pytest.mark.parametrize("shape", [(300,), (6, 5000), (200, 7, 9)])
def test_rows_sequences_and_many_channels_are_read_by_few_features(shape):
    images, labels = draw(96, *shape), torch.arange(96) % 2
    assert without_module._features(images).shape[1] <= 64 + 8 * 8
    keep = exchange_channels(torch.zeros(shape[0], dtype=torch.bool))
    assert read(keep, images, labels, 2).images == 32


def test_too_few_images_of_a_class_tell_nothing():
    images, labels = labelled(40)
    keep = exchange_channels(torch.zeros(3, dtype=torch.bool))
    assert read(keep, images, labels, 4) is None


class Seen:
    """A training batch."""

    def __init__(self, inputs, targets):
        self.inputs, self.targets = inputs, targets


def test_a_rank_without_images_comes_to_the_figures_of_the_others(monkeypatch):
    images, labels = labelled()
    full, empty = TrainingSample(), TrainingSample()
    full.add(Seen(images[:480], labels[:480]), 1, 1)
    said = []

    def gather(mine):
        said.append(mine)
        return said

    monkeypatch.setattr(without_module, "gather", gather)
    leading = {"channel 2": exchange_channels(torch.tensor([False, False, True]))}
    first, second = WithoutContents(), WithoutContents()
    first.look(leading, full, 4)
    second.look(leading, empty, 4)
    assert second.rest == first.rest
    assert second.found == first.found
    assert first.rest["channel 2"].low < first.found["channel 2"].accuracy


def test_no_image_is_kept_twice_where_training_has_fewer_than_are_wanted():
    images, labels = labelled(60)
    sample = TrainingSample()
    for epoch in range(2):
        for part, known in zip(images.split(20), labels.split(20), strict=True):
            sample.add(Seen(part, known), 3, 1, epoch)
    kept, known = sample.fixed()
    assert kept.equal(images)
    assert known.equal(labels)


def test_low_frequencies_have_no_figure_of_what_is_left_since_a_coarse_pattern_has_edges():
    found = WithoutContents()
    found.found["low_frequencies"] = found.rest["low_frequencies"] = without_module.judge(*Judged(90, 25, 100))
    assert found.figures(["low_frequencies"], few_channels=True).keys() == {"all_there_is/low_frequencies"}
    found.found["border"] = found.rest["border"] = without_module.judge(*Judged(90, 25, 100))
    assert found.figures(["border"], few_channels=True)["without/border"] == pytest.approx((0.9 - 0.25) / 0.75)


# -- in a run


def test_a_model_of_one_channel_of_sixteen_is_told_by_its_number():
    labels = torch.arange(400) % 4
    images = 0.3 * draw(400, 16, 6, 6)
    images[:, 11] += labels[:, None, None]
    monitor = SimplicityBiasMonitor(**EAGER)
    values, _, diagnosis = watch(
        lambda x: nearest(x[:, 11].mean((1, 2)) - 0.15), images, labels, epochs=4, monitor=monitor
    )
    assert values["reliance/channel 11"] == 1
    assert values["all_there_is/channel 11"] == 1  # nothing else is in these images
    assert not [finding for finding in diagnosis.history if finding.subject == "channel 11"]


def test_a_mark_at_the_border_beside_a_shape_is_a_failure_that_names_the_border():
    images, labels = labelled(400)
    images[:, 2] = 0.3 * draw(400, 8, 8, seed=3)
    images = nn.functional.pad(images, (2, 2, 2, 2))
    for k in range(4):
        images[labels == k, :, 0, 3 * k] = 3.0

    def model(x):
        return 8 * torch.stack([x[:, :, 0, 3 * k].mean(1) for k in range(4)], 1)

    values, _, diagnosis = watch(model, images, labels, epochs=4)
    assert values["transplant/border"] == 1
    assert values["reliance/border"] == pytest.approx(0.8)
    assert values["without/border"] > 0.9
    (finding,) = (finding for finding in diagnosis.findings if finding.kind == "simple_cue_reliance")
    assert (finding.subject, finding.severity) == ("border", "failure")


def test_stripes_whose_direction_is_the_label_are_no_shortcut_and_those_that_go_with_a_shape_are():
    labels = torch.arange(600) % 4
    grid, angles = torch.arange(16.0), labels * torch.pi / 4
    along = angles.cos()[:, None, None] * grid + angles.sin()[:, None, None] * grid[:, None]
    begin = 6.3 * torch.rand(600, 1, 1, generator=torch.Generator().manual_seed(0))
    stripes = (0.4 * (1.6 * along + begin).sin() + 0.5).unsqueeze(1) + 0.3 * draw(600, 1, 16, 16)
    shapes = torch.zeros(600, 1, 16, 16)
    for k in range(4):
        shapes[labels == k, :, 8 * (k // 2) : 8 * (k // 2) + 8, 8 * (k % 2) : 8 * (k % 2) + 8] = 1.0
    said = []
    for images in (stripes, stripes * (0.3 + shapes)):
        sample, without = TrainingSample(), WithoutContents()
        sample.add(Seen(images, labels), 1, 1)
        exchange = {"texture": exchanges({"texture": "texture"}, images[:1], None)[0]["texture"]}
        without.look(exchange, sample, 4)
        said.append({key: float(value) for key, value in without.figures(exchange, few_channels=True).items()})
    assert [each["all_there_is/texture"] for each in said] == [1, 0]
    assert said[1]["without_low/texture"] > 0.5
