import json
import math

import pytest

from lightning_failures.callbacks.collapse import LayerCourse, layer_figure
from lightning_failures.callbacks.collapse.figures import DECADES
from lightning_failures.errors import InputError
from lightning_failures.reporting.figure_style import to_png

pytest.importorskip("matplotlib")


def course(layers=("stem", "body", "penultimate"), epochs=4, accuracy=math.nan):
    found = LayerCourse()
    for epoch in range(epochs):
        values = {f"effective_rank/{name}": 2.0 + epoch for name in layers}
        values |= {f"images/{name}": 100.0 for name in layers} | {f"probe_accuracy/{name}": accuracy for name in layers}
        spectra = {name: [math.exp(-place * (1 + epoch)) for place in range(16)] for name in layers}
        found.add(epoch, values, spectra, "body")
    return found


def texts(figure):
    return {text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text"))}


def test_ranks_are_shares_of_the_features_or_of_the_images_where_these_are_fewer():
    found = LayerCourse()
    found.add(0, {"effective_rank/a": 3.0, "images/a": 7.0}, {"a": [1.0] * 60})
    found.add(1, {"effective_rank/a": 3.0, "images/a": 700.0}, {"a": [1.0] * 60})
    assert found.layers["a"]["share"] == [0.5, 0.05]


def test_every_layer_has_its_row_and_its_spectrum_and_the_one_that_loses_information_is_named():
    said = texts(layer_figure(course(accuracy=0.5)))
    assert {"stem", "body", "penultimate", "effective rank (share)", "probe accuracy, drops at body"} <= said
    assert "probe accuracy, drops at body" not in texts(layer_figure(course()))


@pytest.mark.parametrize(("layers", "epochs"), [(1, 1), (2, 1), (9, 3), (30, 40)])
def test_any_number_of_layers_and_evaluations_is_drawn(layers, epochs):
    drawn = course([f"net.layer{i}" for i in range(layers)], epochs, accuracy=0.3)
    assert to_png(layer_figure(drawn), dpi=40).startswith(b"\x89PNG")


def test_a_layer_without_variance_and_one_that_came_later_are_drawn():
    found = course(("stem",))
    found.add(4, {}, {"stem": [0.0, 0.0], "late": [2.0]})
    assert all(math.isnan(value) for value in found.layers["stem"]["spectrum"][-1])
    assert to_png(layer_figure(found), dpi=40)


def test_what_rounding_leaves_of_an_eigenvalue_is_cut_at_six_decades():
    found = LayerCourse()
    found.add(0, {}, {"a": [1.0, 1e-3, 1e-20]})
    spectrum = found.layers["a"]["spectrum"][0]
    assert (spectrum[0], spectrum[-1]) == (0.0, -float(DECADES))
    assert -3.0 in spectrum


def test_the_course_survives_a_resume_in_plain_containers():
    found = course()
    again = LayerCourse.from_state(json.loads(json.dumps(found.state_dict(), allow_nan=True)))
    again.add(4, {}, {"stem": [1.0]})
    assert (len(again.epochs), len(found.epochs)) == (5, 4)
    assert again.layers["stem"]["share"][:4] == found.layers["stem"]["share"]


def test_nothing_to_draw_is_an_error():
    with pytest.raises(InputError) as error:
        layer_figure(LayerCourse())
    assert str(error.value) == "layer_figure: there is nothing to draw; given no evaluation. Add one first."
