import ast
import inspect
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import lightning_failures as lf

SOURCE = Path(lf.__file__)

HEAVY = (
    "torch",
    "lightning",
    "torchmetrics",
    "wandb",
    "timm",
    "kornia",
    "matplotlib",
    "pandas",
    "rich",
    "jsonargparse",
)


@pytest.mark.parametrize("name", lf.__all__)
def test_every_public_name_is_there(name):
    value = getattr(lf, name)
    assert value.__name__ == name
    assert value.__doc__


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'lightning_failures' has no attribute 'Wizard'"):
        _ = lf.Wizard


def test_a_name_that_is_spelt_wrongly_is_told_with_the_one_that_may_be_meant():
    script = "import lightning_failures as lf; lf.failure_monitor"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.rstrip().endswith("Did you mean: 'failure_monitors'?")


def test_importing_the_package_loads_nothing_heavy():
    script = f"import sys, lightning_failures; print([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_dir_lists_the_public_names():
    assert set(lf.__all__) <= set(dir(lf))


def test_what_type_checkers_see_is_what_is_loaded() -> None:
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    seen = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name  # a name that is imported as itself is public to every checker
            seen[alias.name] = node.module
    assert seen == {name: f"lightning_failures.{home}" for name, home in lf._HOME.items()}
    assert sorted(seen) == lf.__all__


@pytest.mark.slow
def test_a_type_checker_knows_the_signatures_and_refuses_what_is_not_there(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    user = tmp_path / "train.py"
    user.write_text(
        "import lightning_failures as lf\n"
        "reveal_type(lf.failure_monitors)\n"
        "lf.failure_monitors(no_such_option=3)\n"
        "lf.no_such_name\n"
        "lf.failure_monitors(budget=0.1)\n"
    )
    # follow-imports=silent reads the package's types without reporting on it; strict, as careful users run it
    cache = request.config.cache.mkdir("mypy")  # half a minute without it
    options = ["--strict", "--follow-imports=silent", "--config-file=", "--cache-dir", str(cache)]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(user)],
        capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"MYPYPATH": str(SOURCE.parents[1])},
    )  # fmt: skip
    lines = [line.split(": ", 1) for line in done.stdout.splitlines() if line.startswith("train.py:")]
    told = {place: said for place, said in lines if not said.startswith('note: "')}
    assert list(told) == ["train.py:2", "train.py:3", "train.py:4"], done.stdout + done.stderr
    for name, parameter in inspect.signature(lf.failure_monitors).parameters.items():
        assert f"{name}: " in told["train.py:2"]
        assert parameter.kind is parameter.KEYWORD_ONLY
    assert told["train.py:2"].endswith('-> list[lightning.pytorch.callbacks.callback.Callback]"')
    assert told["train.py:3"] == (
        'error: Unexpected keyword argument "no_such_option" for "failure_monitors"  [call-arg]'
    )
    assert told["train.py:4"] == 'error: Module has no attribute "no_such_name"  [attr-defined]'
