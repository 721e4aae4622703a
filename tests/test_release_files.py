import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.release_files import NEEDED, ROOT, problems, versions

STEM = "lightning_failures-1.2.3"
WHEEL = (*(f"lightning_failures/{name}" for name in NEEDED), f"{STEM}.dist-info/licenses/LICENSE")
SOURCE = ("CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md", "pyproject.toml")


def release(folder: Path, wheel: tuple[str, ...] = WHEEL, source: tuple[str, ...] = SOURCE) -> Path:
    """A release of empty files."""
    dist = folder / "dist"
    dist.mkdir()
    with zipfile.ZipFile(dist / f"{STEM}-py3-none-any.whl", "w") as archive:
        for name in wheel:
            archive.writestr(name, "")
    with tarfile.open(dist / f"{STEM}.tar.gz", "w:gz") as archive:
        for name in source:
            archive.addfile(tarfile.TarInfo(f"{STEM}/{name}"))
    return dist


def test_a_release_that_holds_all_has_no_problem(tmp_path: Path) -> None:
    assert problems(release(tmp_path), "1.2.3") == []


@pytest.mark.parametrize("missing", WHEEL)
def test_a_file_that_the_wheel_lacks_is_named(missing: str, tmp_path: Path) -> None:
    found = problems(release(tmp_path, wheel=tuple(name for name in WHEEL if name != missing)), "1.2.3")
    assert found == [f"the wheel lacks {missing.removeprefix('lightning_failures/')}"] or missing.endswith("LICENSE")
    assert len(found) == 1


def test_what_the_wheel_installs_beside_the_package_and_what_the_source_lacks_is_named(tmp_path: Path) -> None:
    assert problems(release(tmp_path, (*WHEEL, "tests/runs.py"), SOURCE[1:]), "1.2.3") == [
        "the wheel installs tests too",
        "the source archive lacks CHANGELOG.md",
    ]


def test_files_of_another_version_are_no_release_of_this_one(tmp_path: Path) -> None:
    (found,) = problems(release(tmp_path), "1.2.4")
    assert "and not lightning_failures-1.2.4-py3-none-any.whl" in found


def test_version_changelog_and_citation_say_one_version() -> None:
    assert len(set(versions().values())) == 1


def test_what_a_release_needs_is_in_the_repository() -> None:
    for name in NEEDED:
        assert (ROOT / "lightning_failures" / name).is_file()
