import dataclasses
import math
import random
import re
from collections.abc import Callable
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest

from lightning_failures.callbacks.factors import FactorRow, factor_figure
from lightning_failures.callbacks.simplicity import accuracy_figure, accuracy_limits, interchange_figure
from lightning_failures.errors import InputError
from lightning_failures.records import Evaluation, RunRecord
from lightning_failures.reporting.figure_style import COLOURS, close, short, to_png, to_svg
from lightning_failures.reporting.shortfall import shortfall
from tests.records import FACTORS, UNTAPPED, failing, healthy, values

mpl = pytest.importorskip("matplotlib")

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONG = "photographed_through_a_dirty_window_at_night_from_a_moving_train"


def sixteen() -> RunRecord:
    draw = random.Random(0)
    factors = {"rare class": (3.0, 2.0, 30.0, 0.01, 40, 9), "never wrong": (0.0, 0.0, 0.4, 0.01, 40, 0)}
    for i in range(14):
        ratio, spread = math.exp(draw.gauss(0, 0.6)), draw.uniform(0.05, 0.9)
        name = f"{LONG}_{i}" if i % 5 == 0 else f"factor {i}"
        factors[name] = (ratio, ratio * math.exp(-2 * spread), ratio * math.exp(2 * spread), 0.01, 31_000 + i, 20)
    return RunRecord("sixteen", [Evaluation(0, 1, values(0.5, 0.6, 0.3, factors=factors))])


def three() -> RunRecord:
    factors = {name: FACTORS[name] for name in ("rare class", "bright", "dark")}
    return RunRecord("three", [Evaluation(0, 1, values(0.5, 0.6, 0.3, factors=factors))])


def gaps() -> RunRecord:
    record = failing()
    for evaluation in record.evaluations[1:3]:
        evaluation.values.update(dict.fromkeys(evaluation.values, math.nan))
    return record


def several_a_epoch() -> RunRecord:
    evaluations = [Evaluation(i // 4, 11 * (i + 1), values(0.3 + 0.02 * i, 0.6, 0.5)) for i in range(8)]
    return RunRecord("quarters", evaluations, [UNTAPPED])


CASES: dict[str, Callable[[], "Figure"]] = {
    "accuracy, 1 epoch": lambda: accuracy_figure(failing(1)),
    "accuracy, 6 epochs": lambda: accuracy_figure(failing()),
    "accuracy, 200 epochs": lambda: accuracy_figure(failing(200)),
    "accuracy of a healthy run": lambda: accuracy_figure(healthy()),
    "accuracy with gaps": lambda: accuracy_figure(gaps()),
    "accuracy, several evaluations an epoch": lambda: accuracy_figure(several_a_epoch()),
    "accuracy without a reference": lambda: accuracy_figure(RunRecord("a", [Evaluation(0, 1, {"val_acc": 0.5})])),
    "accuracy that is undefined": lambda: accuracy_figure(RunRecord("a", [Evaluation(0, 1, {"val_acc": math.nan})])),
    "interchange, 1 epoch": lambda: interchange_figure(failing(1)),
    "interchange, 6 epochs": lambda: interchange_figure(failing()),
    "interchange, 200 epochs": lambda: interchange_figure(healthy(200)),
    "3 factors": lambda: factor_figure(three()),
    "16 factors": lambda: factor_figure(sixteen()),
    "two arms": lambda: factor_figure(failing(), healthy()),
    "rows without counts": lambda: factor_figure([FactorRow("dark", 2.0, 1.5, 2.5, *[math.nan] * 3)]),
    "undefined factors only": lambda: factor_figure([FactorRow("dark", *[math.nan] * 4, 0, 0)]),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_of_a_figure_is_cut_off_and_no_two_texts_overlap(case: str) -> None:
    figure = CASES[case]()
    canvas: Any = figure.canvas
    canvas.draw()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= width
    assert box.y1 <= height
    axes = figure.axes[0]
    labels = [*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label, axes.yaxis.label]
    boxes = [(text.get_text(), text.get_window_extent()) for text in labels if text.get_text().strip()]
    overlapping = [(a, b) for (a, one), (b, two) in combinations(boxes, 2) if one.padded(-1).overlaps(two.padded(-1))]
    assert overlapping == []


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    import matplotlib.pyplot as plt

    before, open_figures = dict(mpl.rcParams), plt.get_fignums()
    with mpl.rc_context({"savefig.bbox": "tight", "font.size": 30}):
        large = to_png(accuracy_figure(failing()), 50)
    assert large == to_png(accuracy_figure(failing()), 50)
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == open_figures


def test_names_with_dollars_markup_and_unknown_letters_are_drawn_as_they_stand() -> None:
    names = ["$x_1", "a $5 note", "_private", "<script>", "--> & ]]>", "叶片"]
    rows = [FactorRow(name, 2.0, 1.5, 2.5, 0.01, 40, 20) for name in names]
    figure = factor_figure(rows, rows, names=["_a", "$b"])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == sorted(names)
    assert [text.get_text().strip() for text in figure.axes[0].get_legend().get_texts()] == ["_a", "$b"]
    assert "<script" not in to_svg(figure, "f", "<script>")
    assert to_png(figure).startswith(b"\x89PNG")


def test_a_filled_mark_means_that_the_interval_excludes_one() -> None:
    sure, unsure = FactorRow("sure", 2.0, 1.5, 2.5, 0.01, 40, 20), FactorRow("unsure", 1.2, 0.8, 1.6, 0.3, 40, 12)
    marks = [line for line in factor_figure([sure, unsure]).axes[0].lines if line.get_marker() == "o"]
    assert [mark.get_markerfacecolor() for mark in marks] == [COLOURS["first"], COLOURS["paper"]]


def test_arms_differ_in_mark_as_well_as_in_colour() -> None:
    axes = factor_figure(failing(), healthy()).axes[0]
    assert {line.get_marker() for line in axes.lines} >= {"o", "s"}


def test_the_difference_is_drawn_around_the_network_whichever_way_it_was_taken() -> None:
    from matplotlib.collections import LineCollection

    def bars(sign: int) -> list[tuple[float, float]]:
        logged = {"model_accuracy": 0.5, "reference_accuracy": 0.8, "difference": sign * 0.3}
        logged |= {"low": 0.26, "high": 0.32} if sign == 1 else {"low": -0.32, "high": -0.26}
        record = RunRecord("raw", [Evaluation(0, 1, {f"failures/simplicity/{k}": v for k, v in logged.items()})])
        axes = accuracy_figure(record).axes[0]
        lines = [line for bars in axes.collections if isinstance(bars, LineCollection) for line in bars.get_segments()]
        return [(round(float(line[0][1]), 6), round(float(line[1][1]), 6)) for line in lines if len(line)]

    assert bars(1) == bars(-1) == [(0.48, 0.54)]


def test_accuracy_axes_of_two_arms_can_be_compared() -> None:
    limits = accuracy_limits([failing(), healthy()])
    assert limits == (0.15, 0.9)
    assert accuracy_figure(failing(), limits).axes[0].get_ylim() == limits


def test_words_and_chart_have_one_chance_that_of_the_images_that_the_accuracy_is_of() -> None:
    logged = {
        **{f"failures/collapse/{name}": value for name, value in (("accuracy", 0.21), ("chance", 0.22))},
        **{f"failures/simplicity/{name}": value for name, value in (("model_accuracy", 0.21), ("chance", 0.25))},
    }
    record = RunRecord("run", [Evaluation(epoch, epoch, logged) for epoch in range(3)])
    short = shortfall(record)
    assert short is not None
    assert short.figures == "no better than chance, 0.22"
    drawn = [text.get_text() for text in accuracy_figure(record).axes[0].texts]
    assert "chance 0.22" in drawn
    assert accuracy_limits([record]) == pytest.approx((0.15, 0.25), abs=0.05)


def test_notes_number_the_findings_in_the_order_of_time() -> None:
    figure = accuracy_figure(failing())
    notes = figure.get_supxlabel().split("\n")
    assert notes[0] == "1  Class collapse, epoch 1, cleared at epoch 3"
    assert notes[2] == "3  Untapped information (linear reference), epoch 3"


@pytest.mark.parametrize("length", range(14, 25))
def test_no_line_of_a_note_begins_with_the_number_of_an_epoch(length: int) -> None:
    record = failing()
    named = [dataclasses.replace(record.findings[0], subject=letter * length) for letter in "ab"]
    notes = accuracy_figure(dataclasses.replace(record, findings=named)).get_supxlabel().split("\n")
    assert notes[0].startswith("1  Untapped information (aaa")
    assert not any(line.strip()[0].isdigit() for line in notes[1:])


def test_an_svg_takes_its_colours_from_the_page_and_its_ids_are_its_own() -> None:
    svg = to_svg(accuracy_figure(failing()), "accuracy0", 'Accuracy of "raw" & co')
    assert svg.startswith("<svg viewBox=")
    assert 'aria-label="Accuracy of &quot;raw&quot; &amp; co"' in svg
    assert re.findall(r"#[0-9a-fA-F]{6}\b", svg) == []
    assert set(re.findall(r"var\(--(\w+)\)", svg)) <= set(COLOURS)
    ids = re.findall(r' id="([^"]*)"', svg)
    assert all(name.startswith("accuracy0-") for name in ids)
    assert len(set(ids)) == len(ids)
    assert set(re.findall(r'href="#([^"]*)"', svg)) <= set(ids)
    assert "http" not in svg


def test_a_closed_figure_is_gone_from_pyplot_too() -> None:
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    figure = plt.figure()
    close(figure)
    assert plt.get_fignums() == before
    assert figure.axes == []


def test_long_names_keep_both_ends() -> None:
    assert short(f"{LONG}_5", 20) == "photograph…g_train_5"
    assert len(short(LONG, 20)) == 20
    assert short("two\n lines", 20) == "two lines"


@pytest.mark.parametrize(
    ("draw", "text"),
    [
        (
            lambda: accuracy_figure(RunRecord("raw")),
            "accuracy_figure: no accuracy was logged; given run 'raw'. Log val_acc.",
        ),
        (
            lambda: interchange_figure(RunRecord("raw")),
            "interchange_figure: no interchange was logged; given run 'raw'. Add a SimplicityBiasMonitor.",
        ),
        (
            lambda: factor_figure(RunRecord("raw")),
            "factor_figure: nothing that can be drawn; given 1 arms with 0 factors. "
            "Pass one to three runs with factors.",
        ),
    ],
)
def test_a_figure_without_data_says_what_is_missing(draw: Callable[[], "Figure"], text: str) -> None:
    with pytest.raises(InputError) as caught:
        draw()
    assert str(caught.value) == text
