"""The house stands as its plan says: what imports what, and the picture of it."""

import importlib.util
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lightning_failures"


@pytest.fixture(scope="module")
def house() -> ModuleType:
    pytest.importorskip("grimp")
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("house", ROOT / "docs" / "house.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["house"] = module  # where dataclasses look their own types up
    spec.loader.exec_module(module)
    return module


def graph(**options: Any) -> Any:
    return pytest.importorskip("grimp").build_graph("lightning_failures", cache_dir=None, **options)


def test_the_import_contracts_hold() -> None:
    pytest.importorskip("importlinter")
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run([sys.executable, "-c", program, "--no-cache"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_modules_import_each_other_in_a_circle_not_even_for_types() -> None:
    modules = graph()
    imports = {name: modules.find_modules_directly_imported_by(name) for name in modules.modules}
    assert len(list(TopologicalSorter(imports).static_order())) == len(imports) > 100  # CycleError names the circle


@pytest.mark.parametrize(
    ("floor", "known"),
    [
        ("functional", {"torch", "einops", "scipy"}),
        ("metrics", {"torch", "einops", "torchmetrics", "matplotlib"}),  # matplotlib in `metric.plot()` alone
        ("records", set()),
    ],
)
def test_the_lowest_floors_know_a_few_packages_only(floor: str, known: set[str]) -> None:
    modules = graph(include_external_packages=True)
    inside = {f"lightning_failures.{floor}"} | modules.find_descendants(f"lightning_failures.{floor}")
    used = set().union(*(modules.find_modules_directly_imported_by(name) for name in inside))
    outside = {name.split(".")[0] for name in used} - {"lightning_failures"} - set(sys.stdlib_module_names)
    assert outside <= known


def test_the_picture_shows_every_folder_with_its_files_and_lines(house: ModuleType, tmp_path: Path) -> None:
    house.main(["--out", str(tmp_path)])
    assert (tmp_path / "house.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "house.svg").read_text(encoding="utf-8")
    told = [text.get_text() for text in house.draw(*house.read_house()).axes[0].texts]
    for folder in (path.parent for path in PACKAGE.glob("*/__init__.py")):
        files = list(folder.rglob("*.py"))
        lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)
        assert told[told.index(folder.name) + 1] == f"{len(files)} files, {lines:,} lines"


def test_every_import_between_folders_can_be_read_off_the_arrows(house: ModuleType) -> None:
    for rooms in house.read_house():
        drawn = rooms.drawn
        assert all(rooms.level[a] < rooms.level[b] for a, b in drawn - rooms.upwards)
        reached = {room: {room} for room in rooms.level}
        for room in sorted(rooms.level, key=lambda name: -rooms.level[name]):
            for below in (b for a, b in drawn - rooms.upwards if a == room):
                reached[room] |= reached[below]
        assert all(b in reached[a] for a, b in rooms.arrows - rooms.upwards)


def test_an_arrow_that_a_longer_way_says_is_left_out_and_one_that_goes_up_is_kept_apart(house: ModuleType) -> None:
    floors = tuple((house.Room(name, 1, 1),) for name in ("high", "middle", "low"))
    arrows = {("high", "middle"), ("middle", "low"), ("high", "low"), ("low", "high")}
    rooms = house.House(floors, frozenset(arrows))
    assert rooms.upwards == {("low", "high")}
    assert rooms.drawn == arrows - {("high", "low")}
