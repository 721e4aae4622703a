"""What ``make release-check`` looks for in the files of a release: ``python tests/release_files.py dist``."""

import re
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: What users of the wheel need besides its modules.
NEEDED = ("py.typed", "reporting/report.html", "reporting/page.css", "audit/audit.html")


def versions(root: Path = ROOT) -> dict[str, str]:
    """The version, as each file that says it does."""
    places = {
        "lightning_failures/version.py": r'__version__ = "([^"]+)"',
        "CITATION.cff": r"(?m)^version: (\S+)",
        "CHANGELOG.md": r"(?m)^## (\S+)",
    }
    return {name: re.findall(form, (root / name).read_text(encoding="utf-8"))[0] for name, form in places.items()}


def problems(dist: Path, version: str) -> list[str]:
    """What is wrong with the wheel and the source archive of a folder.

    Args:
        dist: the folder, which holds nothing else.
        version: that they should be of.
    """
    stem = f"lightning_failures-{version}"
    expected = {f"{stem}-py3-none-any.whl", f"{stem}.tar.gz"}
    if (there := {path.name for path in dist.iterdir()}) != expected:
        return [f"{dist} holds {', '.join(sorted(there)) or 'nothing'}, and not {', '.join(sorted(expected))}"]
    with zipfile.ZipFile(dist / f"{stem}-py3-none-any.whl") as archive:
        wheel = archive.namelist()
    with tarfile.open(dist / f"{stem}.tar.gz") as archive:
        source = archive.getnames()
    found = [
        f"the wheel lacks {name}" for name in NEEDED if not any(each == f"lightning_failures/{name}" for each in wheel)
    ]
    found += ["the wheel lacks the licence"] if not any(name.endswith("/LICENSE") for name in wheel) else []
    tops = {name.split("/")[0] for name in wheel} - {"lightning_failures", f"{stem}.dist-info"}
    found += [f"the wheel installs {', '.join(sorted(tops))} too"] if tops else []
    found += [
        f"the source archive lacks {name}"
        for name in ("CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md", "pyproject.toml")
        if f"{stem}/{name}" not in source
    ]
    return found


if __name__ == "__main__":
    said = versions()
    wrong = problems(Path(sys.argv[1]), said["lightning_failures/version.py"])
    wrong += [f"not one version: {said}"] if len(set(said.values())) > 1 else []
    sys.exit("\n".join(wrong) or None)
