"""The report as people meet it: its contrast, and how it behaves in a browser."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.reporting.report import write_report
from tests.browser import CHROMIUM, browser
from tests.records import EXPLAINED, failing, healthy

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

CSS = (Path(__file__).parents[1] / "lightning_failures" / "reporting" / "page.css").read_text(encoding="utf-8")
#: What is read, and on what: text of 4.5 to 1, parts of pictures of 3 to 1 (WCAG 2.2, success criteria 1.4.3, 1.4.11).
TEXT = ("ink", "soft", "failing", "warned", "watch", "clear", "unknown", "first", "second", "third")
PARTS = ("first", "second", "third", "soft", "ink")
in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


def palette(dark):
    """Colours of the page, by name; dark ones stand in the rule for a dark theme."""
    light, night = re.findall(r":root \{([^}]*)\}", CSS)[:2]
    found = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", light))
    return found | (dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", night)) if dark else {})


def luminance(colour):
    """Relative luminance, as WCAG 2.2 defines it."""
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["paper", "shade"])
def test_all_words_can_be_read_on_their_ground(dark, ground):
    colours = palette(dark)
    faint = {name: contrast(colours[name], colours[ground]) for name in TEXT}
    assert {name: value for name, value in faint.items() if value < 4.5} == {}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_parts_of_pictures_stand_out_from_the_page_and_from_empty_bars(dark):
    colours = palette(dark)
    for name in PARTS:
        assert contrast(colours[name], colours["paper"]) >= 3, name
    parts = [[int(colours[name][place : place + 2], 16) for place in (1, 3, 5)] for name in ("line", "paper")]
    track = "#" + "".join(f"{sum(pair) // 2:02x}" for pair in zip(*parts, strict=True))  # a line at half its strength
    for name in ("first", "second"):
        assert contrast(colours[name], track) >= 3, name


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    explained = failing(name="explained")
    explained.findings = [EXPLAINED, *explained.findings]
    return write_report(tmp_path_factory.mktemp("report"), [explained, healthy()], COLUMNS, "Two arms")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@in_chromium
def test_the_verdict_and_its_picture_are_seen_first(page, chromium):
    chromium.open(page, width=1280, height=900)
    says = chromium.run("document.querySelector('.says').textContent")
    assert says == (
        "Predictions fall on 1.8 effective classes where the labels have 10.0, "
        "because validation inputs are not prepared as those of training."
    )
    ends = "[...document.querySelectorAll('.says, .proof svg')].slice(0, 2).map(e => e.getBoundingClientRect().bottom)"
    assert all(0 < bottom <= 900 for bottom in chromium.run(ends))
    order = "[...document.querySelectorAll('main h2')].map(e => e.textContent)"
    assert chromium.run(order) == [
        "explained", "standardised", "The runs side by side", "Evidence", "All figures, and what they mean",
    ]  # fmt: skip
    assert chromium.run("document.querySelectorAll('details[open]').length") == 0


@in_chromium
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 320])
def test_nothing_is_wider_than_a_phone_open_or_folded(page, chromium, width, dark):
    chromium.open(page, width=width, height=844, dark=dark)
    for _ in range(2):
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert chromium.run("innerWidth") == width
        assert chromium.run(wide) == 0
        chromium.run("document.querySelectorAll('details').forEach(each => each.open = true)")


@in_chromium
def test_parts_are_opened_by_keyboard_and_the_focus_is_seen(page, chromium):
    chromium.open(page, width=1280)
    chromium.press("Tab", 9)
    assert chromium.run("document.activeElement.className") == "skip"
    assert chromium.run("document.activeElement.getBoundingClientRect().left") >= 0
    chromium.press("Enter", 13, "\r")
    assert chromium.run("document.activeElement.id") == "verdict"
    chromium.press("Tab", 9)
    focused = "document.activeElement.tagName"
    assert chromium.run(focused) == "SUMMARY"
    assert chromium.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    for expected in (True, False):
        chromium.press("Enter", 13, "\r")
        assert chromium.run("document.activeElement.parentElement.open") is expected
    chromium.press(" ", 32, " ")
    assert chromium.run("document.activeElement.parentElement.open") is True


@in_chromium
def test_on_paper_the_evidence_is_open_and_the_list_of_figures_left_out(page, chromium):
    chromium.open(page, width=700, media="print")
    shown = "e => e.checkVisibility({contentVisibilityAuto: true}) && e.getBoundingClientRect().height > 0"
    assert chromium.run(f"[...document.querySelectorAll('details:not(.reference *) figure')].every({shown})") is True
    assert chromium.run("getComputedStyle(document.querySelector('.reference')).display") == "none"


@in_chromium
def test_the_page_in_the_browser_has_one_main_heading_landmarks_and_names(page, chromium):
    chromium.open(page, width=1280)
    count = "selector => document.querySelectorAll(selector).length"
    for selector in ("h1", "main", "body > header", "body > footer"):
        assert chromium.run(f"({count})('{selector}')") == 1, selector
    levels = chromium.run("[...document.querySelectorAll('h1, h2, h3, h4, h5')].map(e => Number(e.tagName[1]))")
    assert all(after <= before + 1 for before, after in pairwise(levels))
    named = "[...document.querySelectorAll('main section')].every(e => "
    named += "document.getElementById(e.getAttribute('aria-labelledby')))"
    assert chromium.run(named) is True
    assert chromium.run("[...document.images].every(e => e.alt)") is True
    assert chromium.run("performance.getEntriesByType('resource').length") == 0
