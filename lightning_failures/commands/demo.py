"""The demo: a network that fails on real data, and the monitors that say so while it trains."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning_failures.commands.out_folder import make_out_folder
from lightning_failures.errors import InputError, MissingPackageError
from lightning_failures.records.strict_json import write_json

if TYPE_CHECKING:
    from lightning_failures.records.run_record import RunRecord

__all__ = ["demo"]

WHERE = "demo"

_Case = Literal["scene", "infrared"]
_Arm = Literal["raw", "standardised", "turned", "more_studies"]
_Logger = Literal["wandb", "csv", "tensorboard"]

#: What each arm trains on, in the order in which they are trained.
_ARMS: dict[_Case, dict[_Arm, str]] = {
    "scene": {
        "raw": "radiance as the sensor gives it",
        "standardised": "each band to mean 0 and deviation 1",
    },
    "infrared": {
        "raw": "spectra as the tables give them",
        "standardised": "each band to mean 0 and deviation 1 of the training spectra",
        "turned": "and the study that is upside down is turned: 100 less each value",
        "more_studies": "and two more studies are trained on",
    },
}
_CURVES = {"wandb": "wandb leet {}/wandb", "csv": "{}/csv", "tensorboard": "tensorboard --logdir {}/tensorboard"}
_PACKAGES: dict[_Case, tuple[str, ...]] = {
    "scene": ("timm", "tensorly", "jinja2", "matplotlib"),
    "infrared": ("pandas", "jinja2", "matplotlib"),
}


def demo(
    case: Literal["scene", "infrared"] = "scene",
    /,
    out: Path = Path("demo"),
    arm: Literal["both", "raw", "standardised", "turned", "more_studies"] = "both",
    epochs: int = 6,
    seed: int = 0,
    logger: _Logger = "wandb",
    json: Path | None = None,
) -> int:
    """Train a small network on real data that make it fail, and watch it with every monitor.

    ``scene``: Indian Pines, as patches of 9 x 9 pixels and 200 bands. The network trains twice: on raw radiance, from
    which it learns little, and on standardised bands; nothing else differs. An arm takes one to three minutes on two
    cores.

    ``infrared``: spectra of five polymers from five studies, of which one is on another scale and nobody says so. The
    network trains four times, and each time one more fault is mended: what remains is found next. The spectra are read
    from the package xpectrass; the error says how to install it.

    No account is needed.

    Args:
        case: what is trained on.
        out: folder for all that is written: findings.json, report.html, and the logs.
        arm: which arm to train; ``both``: all that the case has. ``turned`` and ``more_studies`` are of ``infrared``.
        epochs: passes over the training patches.
        seed: of the split of the scene, the weights and the order of the patches.
        logger: where the curves go; W&B runs offline.
        json: file for a summary that programs can read.

    Returns:
        The exit code, 0.

    Raises:
        InputError: no epoch, a negative seed, an arm that the case does not have, or a folder or a file that cannot be
            made.
        MissingPackageError: a package that the demo needs is not installed.

    Example:
        lightning-failures demo
        lightning-failures demo --arm raw --epochs 3 --logger csv --out demo
    """
    arms: list[_Arm] = list(_ARMS[case]) if arm == "both" else [arm]
    _check(case, arms, out, epochs, seed, logger)
    with _environment(out):
        records = (_train if case == "scene" else _train_polymers)(arms, out, epochs, seed, logger)
    if json is not None:
        write_json(WHERE, json, _summary(records, seed))
    return 0


def _train(arms: Sequence[_Arm], out: Path, epochs: int, seed: int, logger: _Logger) -> "list[RunRecord]":
    """Train one arm on the scene after the other; one verdict and one report for all."""
    from rich.console import Console

    console = Console(highlight=False)
    with console.status("Loading torch and the scene"):
        from lightning_failures.commands.demo_training import train_arm
        from lightning_failures.data.indian_pines import load_indian_pines
    records: list[RunRecord] = []
    for name in arms:
        assert name == "raw" or name == "standardised"
        scene = load_indian_pines(name, seed=seed)
        if not records:
            console.print(
                f"Indian Pines: {len(scene.train)} training and {len(scene.validation)} validation patches of "
                f"{len(scene.wavelengths)} bands, {len(scene.class_names)} classes."
            )
        console.print(f"\n[bold]{name}[/bold], {_ARMS['scene'][name]}")
        records.append(train_arm(name, scene, out, epochs, seed, logger))
    _conclude(records, out, logger)
    return records


def _train_polymers(arms: Sequence[_Arm], out: Path, epochs: int, seed: int, logger: _Logger) -> "list[RunRecord]":
    """The same on the infrared spectra."""
    from rich.console import Console

    console = Console(highlight=False)
    with console.status("Loading torch and the spectra"):
        from lightning_failures.commands.demo_infrared import split_spectra, train_polymers
        from lightning_failures.data.polymers import POLYMERS, STUDIES, load_polymer_spectra

        spectra = load_polymer_spectra()
    console.print(
        f"Polymers: {len(spectra.labels)} infrared spectra of {len(spectra.wavenumbers)} bands in {len(STUDIES)} "
        f"tables of published studies, {len(POLYMERS)} classes."
    )
    records: list[RunRecord] = []
    for name in arms:
        split = split_spectra(spectra, name, seed)
        console.print(
            f"\n[bold]{name}[/bold], {_ARMS['infrared'][name]}: {len(split.train)} training and "
            f"{len(split.validation)} validation spectra"
        )
        records.append(train_polymers(name, spectra, out, epochs, seed, logger))
    _conclude(records, out, logger)
    return records


def _conclude(records: "Sequence[RunRecord]", out: Path, logger: _Logger) -> None:
    """One verdict and one report for all arms."""
    from rich.console import Console

    from lightning_failures.callbacks.columns import COLUMNS
    from lightning_failures.reporting.console import print_verdict
    from lightning_failures.reporting.report import write_report

    print_verdict(records, COLUMNS, report=write_report(out, records, COLUMNS, where=WHERE))
    Console(highlight=False).print(f"[bold]Curves:[/bold] {_CURVES[logger].format(out)}", soft_wrap=True)


@contextmanager
def _environment(out: Path) -> Iterator[None]:
    """Folders of other packages below ``out``, W&B silent, threads that wait; put back afterwards."""
    cache = str(out.absolute() / ".cache")
    folders = ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR", "MPLCONFIGDIR")
    values = dict.fromkeys(folders, cache) | {"WANDB_DIR": str(out.absolute())}
    values |= {"WANDB_SILENT": "true", "WANDB_CONSOLE": "off"}
    if "OMP_WAIT_POLICY" not in os.environ:
        values["OMP_WAIT_POLICY"] = "PASSIVE"  # on cores that others use too, threads that spin are 7 times slower
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _check(case: _Case, arms: Sequence[_Arm], out: Path, epochs: int, seed: int, logger: _Logger) -> None:
    if epochs < 1:
        raise InputError(WHERE, "nothing to train", f"--epochs {epochs}", "Pass 1 or more; 6 show the failure.")
    if not 0 <= seed < 2**32:
        raise InputError(WHERE, "not a seed", f"--seed {seed}", "Pass an integer from 0 to 4294967295.")
    if not set(arms) <= set(_ARMS[case]):
        fix = f"Choose from both, {', '.join(_ARMS[case])}."
        raise InputError(WHERE, f"{case} has no such arm", f"--arm {arms[0]}", fix)
    missing = [name for name in (*_PACKAGES[case], *({logger} - {"csv"})) if find_spec(name) is None]
    if missing:
        fix = f"Run pip install {' '.join(missing)}."
        raise MissingPackageError(WHERE, "packages are missing", f"no {', '.join(missing)}", fix)
    make_out_folder(WHERE, out)


def _summary(records: "Sequence[RunRecord]", seed: int) -> dict[str, Any]:
    """Accuracies by epoch, time and findings of each arm."""
    arms = {
        record.name: {
            "accuracy": record.series("val_acc")[1],
            "linear_accuracy": record.last("failures/simplicity/reference_accuracy"),
            "seconds": record.seconds,
            "monitor_share": record.monitor_share,
            "findings": [finding.to_dict() for finding in record.findings],
        }
        for record in records
    }
    return {"seed": seed, "arms": arms}
