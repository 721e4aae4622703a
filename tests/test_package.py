import subprocess
import sys

import pytest

import lightning_failures as lf

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


def test_importing_the_package_loads_nothing_heavy():
    script = f"import sys, lightning_failures; print([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_dir_lists_the_public_names():
    assert set(lf.__all__) <= set(dir(lf))
