"""What a bug report needs to know of a machine: versions and devices, and nothing private."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lightning_failures.records.strict_json import write_json
from lightning_failures.version import __version__

__all__ = ["environment"]

WHERE = "environment"
#: Packages whose version may matter: those that are needed, then those that are optional.
PACKAGES = (
    *("torch", "lightning", "pytorch-lightning", "torchmetrics", "einops", "kornia", "scipy", "numpy", "rich"),
    *("wandb", "wandb-workspaces", "tensorboard", "matplotlib", "pandas", "jinja2", "timm"),
    *("jsonargparse", "transformers"),
)


def environment(json: Path | None = None) -> int:
    """Print versions and devices, to be pasted into a bug report.

    It holds no paths, no names of users or machines, and no environment variables.

    Args:
        json: file for the same that programs can read.

    Returns:
        The exit code, 0.

    Raises:
        InputError: the file cannot be written.

    Example:
        lightning-failures environment
        lightning-failures environment --json -
    """
    from rich.console import Console

    said = {**_versions(), **_devices()}
    if json is not None:
        write_json(WHERE, json, said)
    console, width = Console(highlight=False), max(map(len, said))
    for name, value in said.items():
        console.print(f"{name:<{width}}  {value}", soft_wrap=True, markup=False)
    return 0


def _versions() -> Mapping[str, str]:
    found = {
        "lightning-failures": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _devices() -> Mapping[str, str]:
    """What torch finds to compute on."""
    try:
        import torch
    except ImportError as error:  # an installation that is broken is worth a report, too
        return {"devices": f"torch cannot be imported: {type(error).__name__}"}
    devices = [f"cpu, {torch.get_num_threads()} threads"]
    if torch.cuda.is_available():
        devices += [f"cuda {torch.cuda.get_device_name(place)}" for place in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return {"devices": "; ".join(devices), "cuda of torch": torch.version.cuda or "none"}
