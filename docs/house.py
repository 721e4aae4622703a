"""Draw the house: ``python docs/house.py`` writes ``house.svg`` and ``house.png`` beside this file.

Rooms are the folders of the package, floors stand in the order of its import contracts, and an arrow says that one room
imports another. An arrow is left out where a longer way says the same, so that all arrows together hold every import.
One that goes upwards breaks a contract, and is drawn in orange.
"""

import argparse
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from lightning_failures.reporting.figure_style import COLOURS, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "lightning_failures"
INNER = "callbacks"  # the room whose own rooms are drawn too

# in inches: a room, between two rooms, an arrow that passes a floor
WIDTH, HEIGHT, GAP, AISLE = 1.55, 0.46, 0.16, 0.02
RISE = 0.36  # between two floors, where the arrows run
MARGIN, TITLE = 0.14, 0.42  # of a room that holds rooms

Arrow = tuple[str, str]


@dataclass(frozen=True)
class Room:
    """A folder or a file of the package."""

    name: str
    files: int
    lines: int


@dataclass(frozen=True)
class House:
    """Rooms by floor, the highest first, and which room imports which."""

    floors: tuple[tuple[Room, ...], ...]
    arrows: frozenset[Arrow]

    @property
    def level(self) -> dict[str, int]:
        """Floor of each room, counted from the top."""
        return {room.name: number for number, floor in enumerate(self.floors) for room in floor}

    @property
    def upwards(self) -> frozenset[Arrow]:
        """Arrows that go up, or to the side."""
        return frozenset((a, b) for a, b in self.arrows if self.level[b] <= self.level[a])

    @property
    def drawn(self) -> frozenset[Arrow]:
        """The arrows without those that a longer way down says too."""
        down = self.arrows - self.upwards
        return frozenset(arrow for arrow in down if not _reaches(down - {arrow}, *arrow)) | self.upwards


def read_house(root: Path = ROOT) -> tuple[House, House]:
    """The package, and the callbacks in it, from the imports in its files and the contracts in ``pyproject.toml``."""
    import grimp

    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    graph = grimp.build_graph(PACKAGE)
    pairs = [(a, b) for a in graph.modules for b in graph.find_modules_directly_imported_by(a)]
    houses = []
    for name, place in (("floors", PACKAGE), ("callbacks", f"{PACKAGE}.{INNER}")):
        (contract,) = (contract for contract in contracts if contract.get("id") == name)
        folder = root.joinpath(*place.split("."))
        floors = tuple(tuple(_room(folder, room) for room in re.split(r"\s*[|:]\s*", x)) for x in contract["layers"])
        known = {room.name for floor in floors for room in floor}
        ends = ((_child(place, a), _child(place, b)) for a, b in pairs)
        houses.append(House(floors, frozenset((a, b) for a, b in ends if a != b and {a, b} <= known)))
    return houses[0], houses[1]


def draw(house: House, inner: House) -> "Figure":
    """The house with the rooms of the callbacks inside their floor."""
    small, (wide, high) = _place(inner, {})
    size = (wide + 2 * MARGIN, high + MARGIN + TITLE)
    places, (width, height) = _place(house, {INNER: size})
    with canvas(width + 0.3, height + 0.75) as figure:
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(-0.15, width + 0.15)
        axes.set_ylim(-height - 0.6, 0.15)
        x, y, _ = places[INNER, 0]
        _draw_rooms(axes, house, places, {INNER: size})
        left, top = x - wide / 2, y + size[1] / 2 - TITLE
        shifted = {spot: (left + dx, top + dy, floor) for spot, (dx, dy, floor) in small.items()}
        _draw_rooms(axes, inner, shifted, {})
        broken = sorted({*house.upwards, *inner.upwards})
        told = "An arrow says that a room imports another; one that a longer way says too is left out."
        lines = [told, f"Orange arrows break a contract: {', '.join(f'{a} imports {b}' for a, b in broken)}."]
        axes.text(0, -height - 0.25, "\n".join(lines[: 1 + bool(broken)]), fontsize=7, color=COLOURS["soft"], va="top")
    return figure


def _room(folder: Path, name: str) -> Room:
    whole = folder / name
    files = sorted(whole.rglob("*.py")) if whole.is_dir() else [whole.with_suffix(".py")]
    return Room(name, len(files), sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files))


def _child(place: str, module: str) -> str:
    """The room of a place that a module lies in; empty where it lies in none."""
    inside = module.removeprefix(place + ".")
    return "" if inside == module else inside.split(".")[0]


def _reaches(arrows: Iterable[Arrow], start: str, end: str) -> bool:
    rooms, found = [start], {start}
    while rooms:
        here = rooms.pop()
        new = {b for a, b in arrows if a == here} - found
        rooms, found = [*rooms, *new], found | new
    return end in found


# -- where the rooms stand: an arrow over several floors holds an aisle on each, and rooms are put in the order in which
# fewest arrows cross (Sugiyama, Tagawa and Toda, IEEE Transactions on Systems, Man, and Cybernetics 11, 1981)

Spot = tuple[Any, int]  # a room with 0, or an arrow with the floor that it passes
Place = tuple[float, float, float]  # its middle, and the height of its floor; inches


def _place(house: House, sizes: Mapping[str, tuple[float, float]]) -> tuple[dict[Spot, Place], tuple[float, float]]:
    """The place of each room and aisle, from the upper left corner, and the width and height of all."""
    rows: list[list[Spot]] = [[(room.name, 0) for room in floor] for floor in house.floors]
    for arrow in sorted(house.drawn - house.upwards):
        for number in range(house.level[arrow[0]] + 1, house.level[arrow[1]]):
            rows[number].append((arrow, number))
    links = [pair for arrow in house.drawn - house.upwards for pair in _steps(house, arrow)]
    best, fewest = rows, float("inf")
    for seed in range(60):
        order = [Random(seed).sample(row, len(row)) for row in rows]
        for sweep in range(8):
            _sort(order, links, down=sweep % 2 == 0)
            cost = _cost(order, links)
            if cost < fewest:
                best, fewest = [list(row) for row in order], cost
    width = {spot: sizes.get(spot[0], (WIDTH, 0))[0] if spot[1] == 0 else AISLE for row in best for spot in row}
    x = _straighten(best, links, width)
    left = min(x[spot] - width[spot] / 2 for row in best for spot in row)
    places, y = {}, 0.0
    for row in best:
        height = max(sizes.get(spot[0], (0, HEIGHT))[1] if spot[1] == 0 else 0 for spot in row)
        places |= {spot: (x[spot] - left, -y - height / 2, height) for spot in row}
        y += height + RISE
    right = max(places[spot][0] + width[spot] / 2 for row in best for spot in row)
    return places, (right, y - RISE)


def _steps(house: House, arrow: Arrow) -> list[tuple[Spot, Spot]]:
    """An arrow, floor by floor."""
    first, last = house.level[arrow[0]], house.level[arrow[1]]
    way: list[Spot] = [(arrow[0], 0), *((arrow, number) for number in range(first + 1, last)), (arrow[1], 0)]
    return list(pairwise(way))


def _sort(order: list[list[Spot]], links: Sequence[tuple[Spot, Spot]], *, down: bool) -> None:
    """Each row by the middle of what it is linked with in the row before."""
    for number in range(1, len(order)) if down else range(len(order) - 2, -1, -1):
        before = {spot: place for place, spot in enumerate(order[number - 1 if down else number + 1])}
        pairs = [(b, a) if down else (a, b) for a, b in links]
        middle = {}
        for place, spot in enumerate(order[number]):
            found = [before[other] for own, other in pairs if own == spot and other in before]
            middle[spot] = sum(found) / len(found) if found else place
        order[number].sort(key=lambda spot: middle[spot])


def _cost(order: Sequence[Sequence[Spot]], links: Sequence[tuple[Spot, Spot]]) -> float:
    """Arrows that cross; then how far they lead aside."""
    place = {spot: (number, at - len(row) / 2) for number, row in enumerate(order) for at, spot in enumerate(row)}
    ends = [(place[a][0], place[a][1], place[b][1]) for a, b in links]
    cross = sum(
        one[0] == other[0] and (one[1] - other[1]) * (one[2] - other[2]) < 0
        for number, one in enumerate(ends)
        for other in ends[:number]
    )
    return cross + 0.01 * sum(abs(a - b) for _, a, b in ends)


def _straighten(
    order: Sequence[Sequence[Spot]], links: Sequence[tuple[Spot, Spot]], width: Mapping[Spot, float]
) -> dict[Spot, float]:
    """Where each spot stands: as near as can be to what it is linked with, without overlap and in order."""
    x = {spot: float(number) for row in order for number, spot in enumerate(row)}
    near: dict[Spot, list[tuple[Spot, float]]] = {spot: [] for row in order for spot in row}
    for a, b in links:
        strength = (1.0, 2.0, 8.0)[(a[1] > 0) + (b[1] > 0)]  # a long arrow is to run straight
        near[a].append((b, strength))
        near[b].append((a, strength))
    for _ in range(400):
        for row in order:
            total = [sum(strength for _, strength in near[spot]) or 0.01 for spot in row]
            wish = [
                sum(strength * x[other] for other, strength in near[spot]) / all_of if near[spot] else x[spot]
                for spot, all_of in zip(row, total, strict=True)
            ]
            x |= zip(row, _without_overlap(wish, total, [width[spot] for spot in row]), strict=True)
    return x


def _without_overlap(wish: Sequence[float], strength: Sequence[float], width: Sequence[float]) -> list[float]:
    """The places nearest to those wished for that keep the order and the gaps (pool adjacent violators)."""
    offsets = [0.0]
    for one, other in pairwise(width):
        offsets.append(offsets[-1] + (one + other) / 2 + GAP)
    pools: list[tuple[float, float, int]] = []  # strength times place, strength, members
    for place, weight, offset in zip(wish, strength, offsets, strict=True):
        pools.append((weight * (place - offset), weight, 1))
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            last, before = pools.pop(), pools.pop()
            pools.append((last[0] + before[0], last[1] + before[1], last[2] + before[2]))
    start = [moment / weight for moment, weight, members in pools for _ in range(members)]
    return [one + offset for one, offset in zip(start, offsets, strict=True)]


# -- ink


def _draw_rooms(
    axes: "Axes", house: House, places: Mapping[Spot, Place], sizes: Mapping[str, tuple[float, float]]
) -> None:
    from matplotlib.patches import FancyBboxPatch

    for room in (room for floor in house.floors for room in floor):
        x, y, _ = places[room.name, 0]
        width, height = sizes.get(room.name, (WIDTH, HEIGHT))
        holds = room.name in sizes
        axes.add_patch(
            FancyBboxPatch(
                (x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0,rounding_size=0.06",
                facecolor="#eef3f7" if holds else "white", edgecolor=COLOURS["soft"], linewidth=0.8,
                zorder=1 if holds else 3,
            )
        )  # fmt: skip
        said = f"{room.files} file{'s' * (room.files != 1)}, {room.lines:,} lines"
        middle = y + height / 2 - TITLE / 2 if holds else y
        style: dict[str, Any] = {"ha": "center", "zorder": 4}
        axes.text(x, middle + 0.02, room.name, va="bottom", fontsize=8, fontweight="bold", **style)
        axes.text(x, middle - 0.015, said, va="top", fontsize=6.5, color=COLOURS["soft"], **style)
    for arrow in sorted(house.drawn):
        _draw_arrow(axes, house, places, sizes, arrow)


def _draw_arrow(
    axes: "Axes", house: House, places: Mapping[Spot, Place], sizes: Mapping[str, tuple[float, float]], arrow: Arrow
) -> None:
    """A curve through its aisles, from the foot of a room to the head of another."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    up = arrow in house.upwards
    way = [places[spot] for spot in ([(arrow[0], 0), (arrow[1], 0)] if up else _spots(house, arrow))]
    half = [sizes.get(room, (WIDTH, HEIGHT))[1] / 2 for room in arrow]
    start = (way[0][0] + _port(house, places, arrow, 0), way[0][1] - half[0])
    end = (way[-1][0] + _port(house, places, arrow, 1), way[-1][1] + half[1])
    points, codes, at = [start], [Curve.MOVETO], start
    stops = [*(stop for x, y, high in way[1:-1] for stop in ((x, y + high / 2), (x, y - high / 2))), end]
    for number, stop in enumerate(stops):
        bend = 0.5 * (at[1] - stop[1])
        straight = number % 2 == 1 and stop != end
        points += [stop] if straight else [(at[0], at[1] - bend), (stop[0], stop[1] + bend), stop]
        codes += [Curve.LINETO] if straight else [Curve.CURVE4] * 3
        at = stop
    axes.add_patch(
        FancyArrowPatch(
            path=Curve(points, codes), arrowstyle="-|>", mutation_scale=6, linewidth=0.8, zorder=2 + 3 * up,
            color=COLOURS["second"] if up else COLOURS["first"], shrinkA=0, shrinkB=0,
        )
    )  # fmt: skip


def _spots(house: House, arrow: Arrow) -> list[Spot]:
    steps = _steps(house, arrow)
    return [steps[0][0], *(b for _, b in steps)]


def _port(house: House, places: Mapping[Spot, Place], arrow: Arrow, end: int) -> float:
    """How far from the middle of a room an arrow leaves (0) or arrives (1), so that arrows of one room do not meet."""
    mine = [other for other in house.drawn - house.upwards if other[end] == arrow[end]]
    if arrow not in mine:
        return 0.5 * WIDTH * (0.8 if end else -0.8)

    def beside(other: Arrow) -> float:
        spots = _spots(house, other)
        return float(places[spots[1] if end == 0 else spots[-2]][0])

    mine.sort(key=beside)
    return (mine.index(arrow) - (len(mine) - 1) / 2) * min(0.16, 0.8 * WIDTH / len(mine))


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the package and write both files."""
    parser = argparse.ArgumentParser(description="Draw the package's folders and their imports.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of house.svg and house.png")
    out: Path = parser.parse_args(arguments).out
    figure = draw(*read_house())
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "house.png", dpi=150)
    figure.savefig(out / "house.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
