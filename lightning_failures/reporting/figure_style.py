"""Where figures are drawn: one style, no global state, and SVG whose colours follow the page."""

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

from lightning_failures.errors import MissingPackageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "canvas", "close", "share_glyphs", "short", "to_png", "to_small_png", "to_svg"]

#: Okabe and Ito's colours, which stay apart for colour-blind readers; each has its own shade on a dark page.
COLOURS = {
    "ink": "#1a1d21",
    "soft": "#5b636d",
    "line": "#d3d8de",
    "paper": "#fdfdfc",
    "first": "#0072b2",
    "second": "#d55e00",
    "third": "#00805f",
}

_STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "text.parse_math": False,  # a class name may hold a dollar sign
    "text.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["soft"],
    "axes.facecolor": "none",
    "axes.labelcolor": COLOURS["ink"],
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "figure.facecolor": COLOURS["paper"],
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "lightning-failures",
    "xtick.color": COLOURS["soft"],
    "ytick.color": COLOURS["soft"],
    "xtick.labelcolor": COLOURS["ink"],
    "ytick.labelcolor": COLOURS["ink"],
}


@contextmanager
def canvas(width: float, height: float) -> Iterator["Figure"]:
    """A figure of some inches on the Agg canvas, to be drawn within; the caller's own style comes back after it."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError(
            "reporting", "figures need matplotlib", "no matplotlib", "Run pip install matplotlib."
        ) from error
    with _style():
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def to_png(figure: "Figure", dpi: int = 200) -> bytes:
    """The figure as a PNG file."""
    buffer = BytesIO()
    with _style():
        figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def to_small_png(figure: "Figure", dpi: int = 110) -> bytes:
    """The figure as a PNG file of 256 colours, a third of the size, to stand in a page among others."""
    from PIL import Image

    small = BytesIO()
    drawn = Image.open(BytesIO(to_png(figure, dpi))).convert("RGB")
    drawn.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(small, format="png", optimize=True)
    return small.getvalue()


def to_svg(figure: "Figure", name: str, label: str) -> str:
    """The figure as an ``<svg>`` element for a page.

    Its colours are the page's custom properties (``--ink``, ``--first``, ...), so that it follows a dark page; its ids
    start with ``name``, so that several fit on one page; ``label`` is what a screen reader says.
    """
    buffer = StringIO()
    with _style():
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->\s*|<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    for colour, value in COLOURS.items():
        text = re.sub(value, f"var(--{colour})", text, flags=re.IGNORECASE)
    text = re.sub(r'((?<= id=")|(?<=href="#)|(?<=url\(#))', f"{name}-", text)
    text = _smaller(text.replace("xlink:href", "href"))
    opening = text[: text.index(">") + 1]
    box = re.search(r'viewBox="[^"]*"', opening)
    width = figure.get_size_inches()[0]
    size = f'{box[0] if box else ""} style="max-width: {width * 1.35:.2f}in"'
    return f'<svg {size} role="img" aria-label="{escape(label)}">' + text[len(opening) :].strip()


_GLYPH = re.compile(r'<path id="(?:[^"]*-)?(DejaVu[^"]*)" d="[^"]*"[^>]*/>')
_GLYPHS = "<!-- glyphs -->"


def share_glyphs(page: str) -> str:
    """A page on which each letter of its figures is drawn once, where ``<!-- glyphs -->`` stands, for all of them.

    Args:
        page: with figures of :func:`to_svg`.
    """
    shapes: dict[str, str] = {}

    def once(found: re.Match[str]) -> str:
        shapes.setdefault(found[1], re.sub(r'id="[^"]*"', f'id="{found[1]}"', found[0], count=1))
        return ""

    page = _GLYPH.sub(once, page).replace("<defs></defs>", "")
    page = re.sub(r'href="#[^"]*-(DejaVu[^"]*)"', r'href="#\1"', page)
    hidden = '<svg width="0" height="0" style="position: absolute" aria-hidden="true"><defs>'
    return page.replace(_GLYPHS, f"{hidden}{''.join(shapes.values())}</defs></svg>" if shapes else "", 1)


def _smaller(svg: str) -> str:
    """The same picture without what no browser needs: white space, names that nothing refers to, digits below 0.01."""
    used = set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', svg))
    wanted = {name for pair in used for name in pair if name}
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in wanted else "", svg)
    svg = re.sub(r"\b([1-9]\d*\.\d\d)\d+", r"\1", svg)
    return re.sub(r">\s+<", "><", re.sub(r"\s+", " ", svg))


def close(figure: "Figure") -> None:
    """Free a figure, whoever made it."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:  # a figure of the user's own may be registered there
        pyplot.close(figure)
    figure.clear()


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)  # type: ignore[arg-type]  # matplotlib types every key
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # drawn as a box; the table has the name
        yield


def short(name: str, length: int) -> str:
    """A name that fits, with its middle left out.

    Example:
        >>> short("photographed at night", 12)
        'photog…night'
    """
    name = " ".join(name.split())
    tail = (length - 1) // 2
    return name if len(name) <= length else f"{name[: length - 1 - tail]}…{name[-tail:]}"
