"""The ``audit`` command: what data invite a network to do, before any is trained."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning_failures.commands.options import read_wavelengths
from lightning_failures.commands.out_folder import make_out_folder
from lightning_failures.errors import InputError, MissingPackageError
from lightning_failures.records.strict_json import write_json

if TYPE_CHECKING:
    from lightning_failures.audit.data_audit import DataAudit
    from lightning_failures.commands.audit_sources import Source

__all__ = ["audit"]

WHERE = "audit"
_Preprocessing = Literal["raw", "standardised"]


def audit(
    data: list[str],
    preprocessing: Sequence[_Preprocessing] | None = None,
    wavelengths: Path | None = None,
    unit: Literal["nm", "um", "cm-1"] | None = None,
    channel_axis: int | None = None,
    groups: str | None = None,
    steps: int = 200,
    seed: int = 0,
    json: Path | None = None,
    out: Path | None = None,
) -> int:
    """Say, before any training, what images invite a network to do wrong.

    Without a network, and in seconds: how much all images share, along how many directions they differ and where the
    labels can be read, and what each of a ladder of simple models reaches. Then a small network is trained for some
    seconds on the images as given, standardised, and with a part of their information alone or taken away. Several data
    sets, or preprocessings, stand side by side.

    Args:
        data: indian-pines; planted-CASE; a file .npz of arrays images (n b h w) and labels (n), and validation_images
            and validation_labels where there are some; or module:function that gives a DataLoader, or a pair of them
            for training and validation. Several are compared.
        preprocessing: the images as they are, which is the default, or each channel to mean 0 and deviation 1, or both.
        wavelengths: text file of one number per channel.
        unit: of the wavelengths.
        channel_axis: axis of the channels in the images of a file or a function, counted from 0 for the images; without
            it axis 1, or the next where axis 1 has a length of one.
        groups: which images belong together, such as those of one study, patient, slide or scanner: the name of an
            array of a file .npz (and validation_NAME where there is validation), or a path into the batches of a
            function, such as meta.study or 2. The label is then read of each group that was not seen.
        steps: of training of the small network; 0 trains none.
        seed: of splits, samples and the network.
        json: file for a summary that programs can read.
        out: folder for a page and a figure, audit.html and audit.png.

    Returns:
        The exit code, 0.

    Raises:
        InputError: data that cannot be read or used.
        UnknownNameError: data that are not there.
        MissingPackageError: a package that is needed is not installed.

    Example:
        lightning-failures audit indian-pines --preprocessing raw standardised --out audit
        lightning-failures audit infrared.npz --groups study --json audit.json
        lightning-failures audit my_package.data:loaders
    """
    if steps < 0 or not 0 <= seed < 2**32:
        given = f"--steps {steps} --seed {seed}"
        raise InputError(WHERE, "steps or seed is out of range", given, "Pass 0 or more of each.")
    if out is not None:
        _check_packages()
        make_out_folder(WHERE, out)
    from rich.console import Console

    console = Console(highlight=False)
    with console.status("Loading"):
        from lightning_failures.audit.console import print_audits
        from lightning_failures.commands.audit_sources import read_source
    places = None if wavelengths is None else read_wavelengths(WHERE, wavelengths)
    audits = []
    for name in data:
        for scaling in dict.fromkeys(preprocessing or ("raw",)):
            with console.status(f"Auditing {name}, {scaling}"):
                source = read_source(WHERE, name, scaling, seed, channel_axis, groups)
                audits.append(_audit(source, places, unit, steps, seed))
    _rename(audits)
    print_audits(console, audits)
    if json is not None:
        write_json(WHERE, json, _summary(audits, seed))
    if out is not None:
        from lightning_failures.audit.page import write_audit

        page = write_audit(out, audits, where=WHERE)
        console.print(f"[bold]Page:[/bold] {page}", soft_wrap=True)
    return 0


def _audit(source: "Source", places: list[float] | None, unit: str | None, steps: int, seed: int) -> "DataAudit":
    from lightning_failures.audit.audit import audit_data

    return audit_data(
        source.train,
        0.3 if source.validation is None else source.validation,
        wavelengths=source.wavelengths if places is None else places,
        unit=unit or source.unit,
        inputs=source.inputs,
        channel_axis=source.channel_axis,
        groups=source.groups,
        steps=steps,
        seed=seed,
        name=source.name,
    )


def _rename(audits: "list[DataAudit]") -> None:
    """Number data of one name."""
    from dataclasses import replace

    names = [audit.name for audit in audits]
    for place, name in enumerate(names):
        if names.count(name) > 1:
            audits[place] = replace(audits[place], name=f"{name} {names[: place + 1].count(name)}")


def _summary(audits: "Sequence[DataAudit]", seed: int) -> dict[str, Any]:
    from lightning_failures.audit.sentences import compare, facts

    return {
        "seed": seed,
        "audits": [audit.to_dict() | {"facts": facts(audit)} for audit in audits],
        "comparison": compare(audits) if len(audits) > 1 else [],
    }


def _check_packages() -> None:
    """What the page needs, before anything that takes time."""
    if missing := [name for name in ("jinja2", "matplotlib") if find_spec(name) is None]:
        fix = f"Run pip install {' '.join(missing)}, or leave --out away."
        raise MissingPackageError(WHERE, "the page needs packages", f"no {', '.join(missing)}", fix)
