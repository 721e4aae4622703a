"""The layers of a network over the evaluations of its training: how many dimensions they fill, and with what."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning_failures.errors import InputError
from lightning_failures.reporting.figure_style import COLOURS, canvas, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["LayerCourse", "layer_figure"]

PLACES = 32  # eigenvalues that are kept of a spectrum
MOST_SPECTRA = 6
DECADES = 6  # of eigenvalues that are told apart


class LayerCourse:
    """What the figure needs of each evaluation: rank share, probe accuracy and some eigenvalues of each layer.

    Example:
        >>> course = LayerCourse()
        >>> course.add(0, {"effective_rank/a": 2.0, "images/a": 50.0}, {"a": [3.0, 1.0, 0.0, 0.0]})
        >>> course.layers["a"]["share"]
        [0.5]
    """

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.layers: dict[str, dict[str, list[Any]]] = {}
        self.lost: str | None = None

    def add(
        self,
        epoch: int,
        values: Mapping[str, float],
        eigenvalues: Mapping[str, Sequence[float]],
        lost: str | None = None,
    ) -> None:
        """Add an evaluation.

        Args:
            epoch: of it.
            values: its statistics, ``<statistic>/<layer>``.
            eigenvalues: by layer, in descending order.
            lost: the layer where information is lost.
        """
        self.epochs.append(epoch)
        self.lost = lost
        for name, spectrum in eigenvalues.items():
            course = self.layers.setdefault(name, {"share": [], "accuracy": [], "spectrum": []})
            rank, images = (float(values.get(f"{key}/{name}", math.nan)) for key in ("effective_rank", "images"))
            course["share"].append(rank / max(1.0, min(len(spectrum), images - 1)))
            course["accuracy"].append(float(values.get(f"probe_accuracy/{name}", math.nan)))
            course["spectrum"].append(_decades(spectrum))

    def state_dict(self) -> dict[str, Any]:
        """Plain containers."""
        return {"epochs": list(self.epochs), "layers": {name: dict(c) for name, c in self.layers.items()}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "LayerCourse":
        """What :meth:`state_dict` gave."""
        course = cls()
        course.epochs = list(state["epochs"])
        course.layers = {name: {key: list(part) for key, part in c.items()} for name, c in state["layers"].items()}
        return course


def layer_figure(course: LayerCourse) -> "Figure":
    """Heat maps: rank share of each layer by evaluation, its probe's accuracy where there is one, and log spectra.

    *Rank share*: effective rank over the number of features, or of images where these are fewer, on a scale up to the
    largest. *Spectra*: the eigenvalues over the largest, by their place from the largest on a logarithmic axis, for the
    last 6 layers. Layers stand in the order of the network, its input at the bottom.

    Raises:
        InputError: there was no evaluation yet.
    """
    if not course.layers:
        raise InputError("layer_figure", "there is nothing to draw", "no evaluation", "Add one first.")
    names = list(course.layers)
    probed = any(not math.isnan(value) for name in names for value in course.layers[name]["accuracy"])
    spectra = names[-MOST_SPECTRA:]
    columns = min(2, len(spectra))
    rows = -(-len(spectra) // columns)
    height = max(1.3, 0.5 + 0.18 * len(names))
    with canvas(4.8, height + 0.2 + 1.4 * rows) as figure:
        top, bottom = figure.subfigures(2, 1, height_ratios=[height, 0.2 + 1.4 * rows], squeeze=False)[:, 0]
        for part in (top, bottom):
            part.set_facecolor("none")
        tables = top.subplots(1, 1 + probed, squeeze=False)[0]
        shares = [value for name in names for value in course.layers[name]["share"] if math.isfinite(value)]
        _table(tables[0], course, "share", "effective rank (share)", names, max([0.01, *shares]))
        if probed:
            title = "probe accuracy" + (f", drops at {short(course.lost, 12)}" if course.lost else "")
            _table(tables[1], course, "accuracy", title, names)
            tables[1].set_yticks([])
        bottom.suptitle("Eigenvalues of the features, the largest below", x=0.01, ha="left", fontsize=8)
        grid = bottom.subplots(rows, columns, squeeze=False).flatten()
        for axes, name in zip(grid, spectra, strict=False):
            image = _image(axes, list(zip(*course.layers[name]["spectrum"], strict=True)), (-DECADES, 0.0))
            axes.set_title(short(name, 26), fontsize=7.5)
            axes.set_yticks([])
            _epochs(axes, course)
        for axes in grid[len(spectra) :]:
            axes.set_axis_off()
        bar = bottom.colorbar(image, ax=list(grid), shrink=0.8, pad=0.02)
        bar.set_label("log10 of value / largest", fontsize=7)
        bar.ax.tick_params(labelsize=6.5)
    return figure


def _table(axes: "Axes", course: LayerCourse, key: str, title: str, names: Sequence[str], most: float = 1.0) -> None:
    rows = [course.layers[name][key] for name in names]
    image = _image(axes, rows, (0.0, most))
    axes.set_yticks(range(len(names)), [short(name, 18) for name in names], fontsize=7)
    axes.set_title(title, fontsize=7.5, loc="left")
    _epochs(axes, course)
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.9, pad=0.02)
    bar.ax.tick_params(labelsize=6.5)


def _image(axes: "Axes", rows: Sequence[Sequence[float]], limits: tuple[float, float]) -> Any:
    widest = max(len(row) for row in rows)
    filled = [[math.nan] * (widest - len(row)) + list(row) for row in rows]  # a layer may have come later
    axes.set_facecolor(COLOURS["line"])  # undefined
    return axes.imshow(
        filled, cmap="cividis", vmin=limits[0], vmax=limits[1], aspect="auto", origin="lower", interpolation="nearest"
    )


def _epochs(axes: "Axes", course: LayerCourse) -> None:
    places = sorted({0, len(course.epochs) // 2, len(course.epochs) - 1})
    axes.set_xticks(places, [str(course.epochs[place]) for place in places], fontsize=6.5)
    axes.set_xlabel("epoch", fontsize=7)


def _decades(spectrum: Sequence[float]) -> list[float]:
    """Logarithm of some eigenvalues over the largest, at places on a logarithmic axis; nan where it is 0."""
    size, largest = len(spectrum), spectrum[0]
    places = [round(math.exp(math.log(size) * i / (PLACES - 1))) - 1 for i in range(PLACES)]
    shares = [spectrum[place] / largest if largest > 0 else 0.0 for place in places]
    return [max(math.log10(share), -float(DECADES)) if share > 0 else math.nan for share in shares]
