import math

import pytest

from lightning_failures.callbacks.simplicity import (
    FIGURES,
    SimplicityCourse,
    cue_figure,
    dimension_figure,
    ladder_figure,
)
from lightning_failures.reporting.figure_style import to_png

pytest.importorskip("matplotlib")

RUNGS = ["total_absorbance", "scanner", "first_component", "mean_spectrum", "low_frequencies"]


def course(wavelengths=None, unit=None):
    found = SimplicityCourse(wavelengths, unit)
    values = {"model_accuracy": 0.91, "chance": 0.26, "reliance/total_absorbance": 0.9, "reliance/scanner": 0.1}
    values |= {"eta2/total_absorbance": 0.94, "eta2_within/total_absorbance": 0.8}
    values |= {f"reach/{name}": 0.2 * place for place, name in enumerate(RUNGS)}
    values |= {f"explained_adjusted/{name}": 1.1 - 0.4 * place for place, name in enumerate(RUNGS)}
    values["reach/scanner"] = math.nan
    for key in ("own", "pixel_own"):
        values |= {f"{key}/{rank}": 0.9 - 0.05 * rank for rank in (1, 2, 4, 8)}
        values |= {f"{key}_{end}/{rank}": 0.9 - 0.05 * rank for rank in (1, 2, 4, 8) for end in ("low", "high")}
    found.add(3, values, RUNGS, [[0.1 * k, 0.5, -0.2] for k in range(4)])
    found.cues = ["total_absorbance", "scanner"]
    found.points = {"cue": [1.0, 2.0, 3.0], "logits": [[1.0, 0.0], [0.0, 1.0], [2.0, 0.5]], "labels": [0, 1, 0]}
    return found


def texts(figure):
    return {text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text"))}


def test_the_ladder_names_every_rung_its_reach_and_what_it_explains():
    said = texts(ladder_figure(course()))
    assert {"total absorbance", "scanner", "linear in the mean spectrum", "undefined"} <= said
    assert {"network", "chance in training"} <= said
    assert {"0.60", "1.10", "0.70"} <= said


def test_directions_are_drawn_over_the_wavelengths_where_these_fit():
    known, other, none = (dimension_figure(course(axis)) for axis in ([400.0, 500.0, 900.0], [1.0, 2.0], None))
    assert list(known.axes[1].lines[-1].get_xdata()) == [400.0, 500.0, 900.0]
    assert known.axes[1].get_xlabel() == "wavelength or wavenumber"
    infrared = dimension_figure(course([900.0, 1200.0, 1800.0], "cm-1")).axes[1]
    assert infrared.get_xlabel() == "wavenumber (cm⁻¹)"
    assert infrared.get_xlim()[0] > infrared.get_xlim()[1]
    assert [list(figure.axes[1].lines[-1].get_xdata()) for figure in (other, none)] == [[0, 1, 2]] * 2
    assert list(known.axes[0].lines[0].get_ydata()) == pytest.approx([0.85, 0.8, 0.7, 0.5])


def test_images_of_one_channel_have_no_picture_of_directions():
    found = course()
    found.directions = [[1.0]]
    assert dimension_figure(found) is None


def test_the_scatter_is_of_the_cue_on_which_predictions_rest_most():
    found = course()
    assert found.worst_cue == "total_absorbance"
    figure = cue_figure(found)
    assert figure.axes[0].get_xlabel() == "total absorbance"
    assert "94% of the logits' variance goes with it, 80% within a class" in texts(figure)
    assert sorted(figure.axes[0].lines[0].get_ydata()) == [-0.5, 0.5, 0.75]


def test_the_scatter_has_the_names_of_classes_where_they_are_known():
    found = course()
    assert {"class 0", "class 1"} <= texts(cue_figure(found))
    found.class_names = ["oats", "corn"]
    assert {"oats", "corn"} <= texts(cue_figure(found))


def test_of_a_cue_that_hardly_any_prediction_rests_on_there_is_no_picture():
    found = course()
    found.latest["reliance/total_absorbance"] = found.latest["reliance/scanner"] = 0.09
    assert cue_figure(found) is None


@pytest.mark.parametrize("name", FIGURES)
def test_every_picture_draws_and_is_nothing_before_there_is_anything(name):
    assert to_png(FIGURES[name](course()), dpi=40).startswith(b"\x89PNG")
    assert FIGURES[name](SimplicityCourse()) is None


def test_a_course_keeps_what_was_last_known_and_goes_on_from_its_state():
    found = course()
    found.add(4, {"own/1": math.nan, "model_accuracy": 0.95}, RUNGS, [])
    assert found.by_rank("own") == ([1, 2, 4, 8], pytest.approx([0.85, 0.8, 0.7, 0.5]))
    again = SimplicityCourse()
    again.load_state_dict(found.state_dict())
    assert (again.epoch, again.get("model_accuracy")) == (4, 0.95)
