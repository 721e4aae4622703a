"""The oldest packages that pyproject.toml allows: python tests/lowest.py [--installed] [EXTRA,EXTRA].

Prints constraints for pip: of each package that is needed, or that an extra needs, the lower bound and nothing else.
With ``--installed`` it looks whether they are what is installed, and fails where they are not. ``make lowest`` does
both.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["lowest", "main", "not_installed"]

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
_BOUND = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?>=(?P<bound>[0-9.]+)")


def lowest(project: Mapping[str, Any], extras: Iterable[str] = ()) -> dict[str, str]:
    """The lower bound of each package that is needed; what has none is left out.

    Args:
        project: the table ``project`` of pyproject.toml.
        extras: whose packages count too.

    Raises:
        KeyError: no such extra.
    """
    needed = list(project["dependencies"])
    for extra in extras:
        needed += project["optional-dependencies"][extra]
    found = filter(None, map(_BOUND.match, needed))
    return {each["name"]: each["bound"] for each in found}


def not_installed(bounds: Mapping[str, str]) -> list[str]:
    """What is installed otherwise: one sentence for each package."""
    wrong = []
    for name, bound in bounds.items():
        try:
            there = version(name)
        except PackageNotFoundError:
            wrong.append(f"{name} is not installed, and {bound} is the lower bound.")
            continue
        if _parts(there) != _parts(bound):
            wrong.append(f"{name} is {there}, and {bound} is the lower bound.")
    return wrong


def _parts(said: str) -> list[int]:
    """``"2.6.0+cu124"`` as ``[2, 6]``: zeros at the end and what stands behind a plus say nothing."""
    parts = [int(part) for part in said.partition("+")[0].split(".")]
    while parts and parts[-1] == 0:
        parts.pop()
    return parts


def main(arguments: Sequence[str]) -> int:
    """Print the constraints, or hold them against what is installed; returns the exit code."""
    extras = [extra for each in arguments if each != "--installed" for extra in each.split(",")]
    bounds = lowest(tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"], extras)
    if "--installed" not in arguments:
        sys.stdout.writelines(f"{name}=={bound}\n" for name, bound in bounds.items())
        return 0
    wrong = not_installed(bounds)
    sys.stderr.writelines(f"{each}\n" for each in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
