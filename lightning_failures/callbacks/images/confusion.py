"""Which classes a model takes for which others, as a picture."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from lightning_failures.reporting.figure_style import COLOURS, canvas, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["confusion_figure"]

WHOLE = 12  # classes up to which the whole matrix is drawn; of more, those with most errors
CELL = 0.25  # inches


def confusion_figure(counts: Tensor, names: Sequence[str]) -> "Figure | None":
    """The share of each class's images that is predicted as each class, one row per given class.

    Args:
        counts: images by given class (rows) and predicted class (columns); (c c), whole numbers.
        names: of the classes.

    Returns:
        None without an image. Of more than twelve classes the twelve are drawn that errors begin or end at most often:
        those whose images are wrong, and those that they are taken for; all other predictions are one last column.
    """
    counts = counts.double()
    total, errors = counts.sum(1), counts.sum(1) - counts.diagonal()
    if not float(total.sum()):
        return None
    taken_for = counts.sum(0) - counts.diagonal()
    order = (errors + taken_for).sort(descending=True, stable=True).indices[:WHOLE].sort().values.tolist()
    some = len(names) > WHOLE
    kept = counts[order][:, order]
    if some:
        kept = kept.new_zeros(len(order), len(order) + 1)
        kept[:, :-1] = counts[order][:, order]
        kept[:, -1] = total[order] - kept[:, :-1].sum(1)
    share = kept / total[order].clamp(min=1)[:, None]
    heads = [short(names[place], 14) for place in order]
    wrong = float(errors.sum() / total.sum())
    title = f"{wrong:.0%} of {int(total.sum()):,} images are predicted as another class" + (
        f"; of {len(names)} classes the {len(order)} that are confused most" if some else ""
    )
    size = CELL * (len(order) + some)
    width = max(3.4, size + 1.6)
    said = [line for part in (title, "Per cent of each row") for line in textwrap.wrap(part, int(width / 0.072))]
    with canvas(width, max(size, 1.0) + 1.15 + 0.14 * len(said)) as figure:
        from matplotlib.colors import LinearSegmentedColormap

        axes = figure.add_subplot()
        shades = LinearSegmentedColormap.from_list("share", [COLOURS["paper"], COLOURS["first"]])
        axes.imshow(share.numpy(), cmap=shades, vmin=0, vmax=1, aspect="equal")
        for row, values in enumerate(share.tolist()):
            for column, value in enumerate(values):
                if value >= 0.005:
                    colour = COLOURS["paper"] if value > 0.6 else COLOURS["ink"]
                    weight = "bold" if row != column and value >= 0.1 else "normal"
                    axes.text(
                        column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=6.5, color=colour,
                        fontweight=weight,
                    )  # fmt: skip
        ends = [f"{name} ({int(total[place]):,})" for name, place in zip(heads, order, strict=True)]
        axes.set_xticks(range(len(heads) + some), [*heads, *(["others"] if some else [])], rotation=45, ha="right")
        axes.set_yticks(range(len(heads)), ends)
        axes.tick_params(length=0, labelsize=7)
        axes.set(xlabel="predicted class", ylabel="given class (images)")
        figure.suptitle("\n".join(said), x=0.02, ha="left", fontsize=8.5)
    return figure
