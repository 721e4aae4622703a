"""Error ratios of several models side by side, as the figure of ImageNet-X has them, with their intervals."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from math import isnan
from typing import TYPE_CHECKING

from lightning_failures.errors import InputError
from lightning_failures.reporting.figure_style import COLOURS, canvas, short, to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["check_figure", "compare_figure", "compare_models"]

FORMATS = ("png", "svg", "pdf")
#: Okabe and Ito's colours, which stay apart for colour-blind readers, from dark to light.
MODEL_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
LEVEL = 0.05
PALE = 0.35


def check_figure(where: str, suffix: str, models: Sequence[str]) -> None:
    """Say at once what cannot be drawn.

    Args:
        where: the public name to put into an error.
        suffix: ending of the file, such as ``".png"``.
        models: names of the models.

    Raises:
        InputError: an unknown ending, or more models than colours.
    """
    if suffix.removeprefix(".").lower() not in FORMATS:
        fix = f"Name it .{', .'.join(FORMATS)}."
        raise InputError(where, "figures are not written in this format", suffix or "a name without an ending", fix)
    if len(models) > len(MODEL_COLOURS):
        given, fix = f"{len(models)} models", f"Compare {len(MODEL_COLOURS)} at a time."
        raise InputError(where, "too many models for one figure", given, fix)


def compare_models(models: Mapping[str, Mapping[str, float]], names: Sequence[str], suffix: str = ".png") -> bytes:
    """:func:`compare_figure` as a file.

    Args:
        models: as there.
        names: as there.
        suffix: ending of the file: ``".png"``, ``".svg"`` or ``".pdf"``.
    """
    figure, kind = compare_figure(models, names), suffix.removeprefix(".").lower()
    if kind == "png":
        return to_png(figure, dpi=300)
    buffer = BytesIO()
    figure.savefig(buffer, format=kind)
    return buffer.getvalue()


def compare_figure(models: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> "Figure":
    """Bars of the error ratio of each factor and model from 1, with intervals; factors from the easiest to the hardest.

    Args:
        models: for each model ``error_ratio/F``, ``low/F``, ``high/F``, ``p_value/F``, ``images/F`` of each factor F.
        names: the factors.

    Convention:
        The axis is logarithmic, so that twice and half the errors are equally long. A bar is pale where its p-value is
        not below 0.05. A factor that is undefined has no bar.
    """
    order = sorted(names, key=lambda name: _mean_ratio(models, name))
    colours = dict(zip(models, MODEL_COLOURS, strict=False))
    width = 0.8 / len(models)
    inches = min(10.0, max(3.6, 1.1 + len(order) * (0.22 + 0.12 * len(models))))
    with canvas(inches, 3.0) as figure:
        axes = figure.add_subplot()
        axes.set_yscale("log")
        for position, (model, values) in enumerate(models.items()):
            offset = (position - (len(models) - 1) / 2) * width
            for place, name in enumerate(order):
                ratio, low, high = (values[f"{key}/{name}"] for key in ("error_ratio", "low", "high"))
                if isnan(ratio) or ratio <= 0:
                    continue
                strong = values[f"p_value/{name}"] < LEVEL
                axes.bar(
                    place + offset, ratio - 1, width * 0.92, bottom=1,
                    color=colours[model], alpha=1 if strong else PALE, linewidth=0,
                )  # fmt: skip
                axes.vlines(place + offset, low, high, color=COLOURS["ink"], linewidth=0.8)
        axes.axhline(1, color=COLOURS["ink"], linewidth=0.8)
        _scale(axes, models, order)
        first = next(iter(models.values()))
        for place, name in enumerate(order):
            axes.text(
                place, 1.0, f"{first[f'images/{name}']:,.0f}", transform=axes.get_xaxis_transform(),
                ha="center", va="bottom", fontsize=6, color=COLOURS["soft"],
            )  # fmt: skip
        labels = [short(name.replace("_", " "), 24) for name in order]
        axes.set_xticks(range(len(order)), labels, rotation=35, ha="right", rotation_mode="anchor")
        axes.tick_params(axis="x", length=0)
        axes.set_xlim(-0.6, len(order) - 0.4)
        axes.spines["bottom"].set_visible(False)
        axes.set_ylabel("error ratio (more errors \u2192)")
        axes.annotate(
            "images", (0, 1), xycoords="axes fraction", xytext=(-4, 0), textcoords="offset points",
            ha="right", va="bottom", fontsize=6, color=COLOURS["soft"],
        )  # fmt: skip
        _legend(figure, colours)
        axes.grid(axis="y")
    return figure


def _scale(axes: "Axes", models: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> None:
    """Limits that hold every bar and interval, up to ratios that say no more than "very"; ticks at round ratios."""
    ends = [values[f"{key}/{name}"] for values in models.values() for name in names for key in ("low", "high")]
    ratios = [values[f"error_ratio/{name}"] for values in models.values() for name in names]
    seen = [value for value in (*ends, *ratios) if value > 0]  # nan is not
    low, high = max(0.1, min([0.8, *seen]) / 1.05), min(20.0, max([1.25, *seen]) * 1.05)
    spread = high / low
    scale = (0.5, 0.6, 0.7, 0.8, 1, 1.25, 1.5, 2, 2.5, 3) if spread < 8 else (0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
    ticks = [tick for tick in scale if low <= tick <= high]
    axes.set_ylim(low, high)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks([], minor=True)


def _legend(figure: "Figure", colours: Mapping[str, str]) -> None:
    from matplotlib.patches import Patch

    handles = [*(Patch(color=colour) for colour in colours.values()), Patch(color=COLOURS["soft"], alpha=PALE)]
    labels = [" " + short(model, 30) for model in colours]  # the space keeps a name with a leading underscore
    labels.append(f" p \u2265 {LEVEL:g}")
    figure.legend(
        handles, labels, loc="outside upper left", ncols=4, frameon=False, fontsize=8, handlelength=1, handleheight=1,
        handletextpad=0.3, columnspacing=1.5,
    )  # fmt: skip


def _mean_ratio(models: Mapping[str, Mapping[str, float]], name: str) -> float:
    """Mean over the models where it is defined; below all others where it never is."""
    ratios = [values[f"error_ratio/{name}"] for values in models.values()]
    defined = [ratio for ratio in ratios if not isnan(ratio)]
    return sum(defined) / len(defined) if defined else -1.0
