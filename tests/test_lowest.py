"""What `make lowest` installs: the lower bounds of pyproject.toml."""

import tomllib
from importlib.metadata import version

import pytest

from tests.lowest import PYPROJECT, lowest, main, not_installed

PROJECT = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]


def test_the_lower_bound_of_each_package_is_what_is_installed_and_nothing_else(capsys):
    assert main(["report,wandb"]) == 0
    constraints = capsys.readouterr().out.splitlines()
    assert "torch==2.6" in constraints
    assert "lightning==2.5" in constraints  # and not what it excludes
    assert {"matplotlib==3.8", "wandb==0.20"} <= set(constraints)
    assert not any(line.startswith("timm") for line in constraints)  # of an extra that was not asked for


@pytest.mark.parametrize("extra", [extra for extra in PROJECT["optional-dependencies"] if extra not in ("all", "dev")])
def test_every_package_that_a_user_needs_has_a_lower_bound(extra):
    needed = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra]]
    assert len(lowest(PROJECT, [extra])) == len(needed)


def test_what_is_installed_otherwise_is_said():
    there = version("einops")
    assert not_installed({"einops": there}) == []
    assert not_installed({"einops": f"{there}.0"}) == []
    assert not_installed({"einops": "0.1", "no-such-package": "1"}) == [
        f"einops is {there}, and 0.1 is the lower bound.",
        "no-such-package is not installed, and 1 is the lower bound.",
    ]
