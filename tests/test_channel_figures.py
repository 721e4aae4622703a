"""Pictures of channels: what is drawn where, on which axis, and what a course keeps."""

import math
from itertools import pairwise

import pytest

pytest.importorskip("matplotlib")

from lightning_failures.callbacks.channels import (
    CHANNELS,
    TABLE_COLUMNS,
    BandProfile,
    ChannelCourse,
    band_bars,
    course_figure,
    course_pictures,
    profile_figure,
    record_bars,
)
from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.errors import InputError
from lightning_failures.records import Evaluation, RunRecord
from lightning_failures.reporting.figure_style import close, to_png
from lightning_failures.reporting.report import write_report


def course(unit="cm-1", named=True, evaluations=3, positions=(1000.0, 1010.0, 1020.0, 1200.0, 1210.0, 1220.0)):
    profiles = [
        BandProfile(epoch, 10 * epoch, [0.5 + epoch, 0.1], [0.1, math.nan], [0.8, 0.2], [0.2, 0.2])
        for epoch in range(evaluations)
    ]
    return ChannelCourse(
        ["Phosphate", "Amide III"], [[0, 1, 2], [3, 4]], list(positions), unit, named=named, profiles=profiles,
        mean=[0.1, 0.2, 0.3, 0.2, 0.2, 0.1], deviation=[0.1] * 6, pattern=[0.5, 0.4, 0.3, math.nan, 0.2, 0.1],
    )  # fmt: skip


def test_cells_end_half_way_to_their_neighbours_and_do_not_cross_a_gap():
    cells = course().cells
    assert cells[0] == (995.0, 1005.0)
    assert cells[2] == (1015.0, 1027.5)
    assert cells[3] == (1192.5, 1205.0)
    assert course(positions=(6.0, 5.0, 4.0, 3.0, 2.0, 1.0)).cells[0] == (5.5, 6.5)
    assert ChannelCourse(["a"], [[0]], [3.0]).cells == [(2.5, 3.5)]


@pytest.mark.parametrize("positions", [[1.0, 2.0, 3.0, 8.0, 13.0, 18.0], [1.0, 2.0, 2.1, 3.0, 3.1, 4.0, 4.1, 5.0, 6.0]])
def test_uneven_axes_and_interleaved_spectrometers_leave_no_gaps(positions):
    cells = ChannelCourse(["a"], [[0]], positions).cells
    assert all(high == pytest.approx(low) for (_, high), (low, _) in pairwise(cells))


def test_a_channel_shows_the_band_whose_middle_is_nearest():
    windows = ChannelCourse(list("abcd"), [[0, 1], [0, 1, 2], [1, 2, 3], [2, 3]], [1.0, 2.0, 3.0, 4.0])
    assert windows.owners == [0, 1, 2, 3]
    assert course().owners == [0, 0, 0, 1, 1, None]


def test_a_course_comes_back_from_plain_containers():
    again = ChannelCourse.from_state(course().state_dict())
    assert repr(again) == repr(course())
    assert [profile.change for profile in again.profiles] == [[0.5, 0.1], [1.5, 0.1], [2.5, 0.1]]
    assert again.extents == course().extents


@pytest.mark.parametrize(("unit", "descends"), [("cm-1", True), ("nm", False), (None, False)])
def test_wavenumbers_descend_and_wavelengths_ascend(unit, descends):
    for draw in (profile_figure, course_figure):
        figure = draw(course(unit))
        axes = figure.axes[-1 if draw is profile_figure else 0]
        axes = next(part for part in figure.axes if part.get_xlabel().startswith(("wave", "axis")))
        left, right = axes.get_xlim()
        assert (left > right) == descends
        assert to_png(figure, 50).startswith(b"\x89PNG")
        close(figure)


def test_the_profile_is_filled_above_the_floor_and_says_where_none_passes():
    shown = course()
    figure = profile_figure(shown)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["Phosphate", "Amide III"]
    assert figure.axes[0].get_title(loc="left") == "What the model loses without each band, epoch 2"
    close(figure)
    shown.profiles[-1].share = [math.nan, math.nan]
    figure = profile_figure(shown)
    assert "None passes the null floor" in figure.axes[0].get_title(loc="left")
    filled, _ = figure.axes[0].collections[:2]
    assert not filled.get_paths()
    close(figure)


def test_images_of_one_band_have_no_profile_to_draw():
    assert course_pictures(ChannelCourse(["a"], [[0]], [0.0], profiles=[BandProfile(0, 1, [0.5])])) == {}


def test_the_heat_map_has_a_row_an_evaluation_on_both_scales():
    figure = course_figure(course())
    left, right = (axes.collections[0].get_array() for axes in figure.axes[:2])
    assert left.shape == right.shape == (3, 7)  # six channels and a gap
    assert float(left[2, 0]) == 2.5
    assert float(right[2, 0]) == 0.8
    close(figure)


def test_bars_under_the_floor_are_hollow():
    figure = band_bars(["a", "b", "c"], [0.5, 0.1, 0.5], [0.1, 0.1, 0.1], floor=[0.2, 0.2, 0.9], total=0.7)
    assert [patch.get_facecolor()[3] for patch in figure.axes[0].patches[:3]] == [1.0, 0.0, 0.0]
    assert figure.axes[0].get_title(loc="left") == "Without each band alone; without all of them 0.7"
    close(figure)


def test_bars_of_a_record_are_those_of_its_last_evaluation():
    values = {"failures/channels/change/a": 0.5, "failures/channels/error/a": 0.1}
    for share, opaque in ((1.0, 1.0), (math.nan, 0.0)):  # hollow where no band passes its floor
        shown = values | {"failures/channels/largest_share": share}
        figure = record_bars(RunRecord("run", [Evaluation(0, 1, shown)]))
        assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["a"]
        assert figure.axes[0].patches[0].get_facecolor()[3] == opaque
        close(figure)


def test_the_bars_are_a_chart_of_the_column_with_a_label_and_a_caption():
    (chart,) = CHANNELS.charts
    record = RunRecord(
        "run", [Evaluation(0, 1, {"failures/channels/change/a": 0.1, "failures/channels/change/b%2A": -0.5})]
    )
    assert chart.label(record) == "What run loses without each band of channels, most without b*."
    assert chart.label(RunRecord("run", [Evaluation(0, 1, {"failures/channels/bands": 40.0})])) is None
    assert chart.caption.startswith(
        "What the model depends on: rise of its cross-entropy without each band of channels"
    )
    figure = chart.draw(record)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["a", "b*"]
    close(figure)


def test_a_course_has_its_heat_map_from_the_second_evaluation_on_and_bars_of_shapley_values():
    assert list(course_pictures(course(evaluations=1))) == ["profile"]
    shown = course()
    shown.method = "shapley"
    pictures = course_pictures(shown)
    assert list(pictures) == ["profile", "course", "shapley"]
    figure = pictures["shapley"]()
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == shown.names
    close(figure)


def test_the_table_has_a_row_a_band_with_its_place_on_the_axis_or_its_channels():
    first = course().table()[0]
    assert dict(zip(TABLE_COLUMNS, first, strict=True)) == {
        "epoch": 2, "band": "Phosphate", "from": 995.0, "to": 1027.5, "channels": 3, "change": 2.5, "error": 0.1,
        "share": 0.8, "pattern": pytest.approx(0.4),
    }  # fmt: skip
    by_number = course()
    by_number.axis = False
    assert by_number.table()[1][:5] == [2, "Amide III", 3, 4, 2]


@pytest.mark.parametrize("many", [1, 3, 1000])
def test_one_channel_and_a_thousand_windows_are_drawn(many):
    positions = [float(channel) for channel in range(many)]
    profiles = [
        BandProfile(epoch, epoch, [0.1] * many, [0.0] * many, [1 / many] * many, [0.0] * many) for epoch in range(2)
    ]
    drawn = ChannelCourse(
        [str(channel) for channel in range(many)], [[channel] for channel in range(many)], positions, axis=False,
        profiles=profiles, mean=[0.0] * many, deviation=[1.0] * many, pattern=[math.nan] * many,
    )  # fmt: skip
    for draw in (profile_figure, course_figure):
        figure = draw(drawn)
        assert to_png(figure, 40)
        close(figure)


@pytest.mark.parametrize("draw", [profile_figure, course_figure])
def test_nothing_to_draw_is_said(draw):
    with pytest.raises(InputError) as error:
        draw(course(evaluations=0))
    assert str(error.value) == f"{draw.__name__}: there is nothing to draw; given no evaluation. Add a profile first."
    with pytest.raises(InputError, match="there is nothing to draw; given no band"):
        band_bars([], [], [])


def test_the_report_shows_the_bands_of_a_run(tmp_path):
    pytest.importorskip("jinja2")
    values = {f"failures/channels/change/{name}": change for name, change in (("400-490 nm", 0.5), ("500-590 nm", 0.1))}
    page = write_report(tmp_path, [RunRecord("run", [Evaluation(0, 1, values)])], COLUMNS).read_text(encoding="utf-8")
    assert 'aria-label="What run loses without each band of channels, most without 400-490 nm."' in page
    assert "What the model depends on: rise of its cross-entropy without each band of channels" in page
