"""All monitors that fit, in one call."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Callback

from lightning_failures.callbacks.channels.monitor import ChannelAttributionMonitor
from lightning_failures.callbacks.collapse.monitor import CollapseMonitor
from lightning_failures.callbacks.factors.monitor import FactorErrorMonitor
from lightning_failures.callbacks.findings.diagnosis import FailureDiagnosis
from lightning_failures.callbacks.findings.rulebook import RuleSource
from lightning_failures.callbacks.monitor import MonitorOptions
from lightning_failures.callbacks.simplicity.monitor import SimplicityBiasMonitor
from lightning_failures.interventions.changes import Change
from lightning_failures.observe.batch_fields import Field
from lightning_failures.observe.factor_reader import FactorSource
from lightning_failures.observe.probe import Probe
from lightning_failures.spectrum.bands import BandsLike

__all__ = ["failure_monitors"]


def failure_monitors(
    *,
    factors: FactorSource | None = None,
    wavelengths: Any = None,
    unit: str | None = None,
    bands: BandsLike = None,
    layers: str | Sequence[str] | None = None,
    cues: Mapping[str, Field] | None = None,
    denormalize: Change | None = None,
    inputs: Field | None = None,
    targets: Field | None = None,
    logits: Field | None = None,
    rules: RuleSource | None = None,
    report_dir: str | Path | None = None,
    budget: float = 0.05,
    on_error: Literal["warn", "raise"] = "warn",
) -> list[Callback]:
    """All monitors that fit, sharing one probe, with a :class:`FailureDiagnosis` at the end.

    Works without arguments on an image classifier; factors are watched where they are given.

    Args:
        factors: see :class:`.FactorErrorMonitor`; None: no factors.
        wavelengths: place of each channel on the axis; (b). None: channels by number.
        unit: ``"nm"``, ``"um"`` or ``"cm-1"``.
        bands: groups of channels whose part in the decisions is watched; see
            :class:`.ChannelAttributionMonitor`.
        layers: names and globs of the layers whose features are watched; None: the input of the classifier head.
        cues: simple cues of your own, such as a scanner's index; see
            :class:`.SimplicityBiasMonitor`.
        denormalize: from inputs to raw units, one scale and shift a channel; None: the inputs are raw.
        inputs: path or callable into the batch; None: found.
        targets: path or callable into the batch; None: found.
        logits: submodule or field of the step's output; None: found.
        rules: what counts as a failure; see :class:`FailureDiagnosis`.
        report_dir: folder for ``findings.json`` and ``report.html``; None: none is written.
        budget: share of the run's time that extra forward passes may take; half of it is for channels, half for
            simplicity bias. Each has its first examination free.
        on_error: ``"warn"``: a monitor that fails warns once and steps aside; ``"raise"``: it stops the run.

    Returns:
        Callbacks for ``Trainer(callbacks=...)``.

    Example:
        >>> [type(callback).__name__ for callback in failure_monitors()]
        ['CollapseMonitor', 'SimplicityBiasMonitor', 'ChannelAttributionMonitor', 'FailureDiagnosis']
    """
    probe = Probe(inputs=inputs, targets=targets, logits=logits, where="failure_monitors")
    options: MonitorOptions = {"probe": probe, "on_error": on_error}
    return [
        *([] if factors is None else [FactorErrorMonitor(factors, **options)]),
        CollapseMonitor(layers, **options),
        SimplicityBiasMonitor(
            cues, denormalize=denormalize, wavelengths=wavelengths, unit=unit, budget=budget / 2, **options
        ),
        ChannelAttributionMonitor(wavelengths, unit, bands, budget=budget / 2, **options),
        FailureDiagnosis(rules, report_dir),
    ]
