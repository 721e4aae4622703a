"""All monitors that fit, in one call."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Callback

from lightning_failures.audit.data_audit import DataAudit
from lightning_failures.callbacks.budget import SHARE, Budget
from lightning_failures.callbacks.causes.monitor import CauseMonitor
from lightning_failures.callbacks.channels.monitor import ChannelAttributionMonitor
from lightning_failures.callbacks.collapse.monitor import CollapseMonitor
from lightning_failures.callbacks.data.monitor import DataMonitor
from lightning_failures.callbacks.factors.monitor import FactorErrorMonitor
from lightning_failures.callbacks.findings.diagnosis import FailureDiagnosis
from lightning_failures.callbacks.findings.rulebook import RuleSource
from lightning_failures.callbacks.findings.webhook import Notify
from lightning_failures.callbacks.groups.monitor import GroupErrorMonitor
from lightning_failures.callbacks.images.monitor import FailingImagesMonitor
from lightning_failures.callbacks.monitor import Detail, Monitor, MonitorOptions
from lightning_failures.callbacks.properties.monitor import PropertyErrorMonitor
from lightning_failures.callbacks.simplicity.monitor import SimplicityBiasMonitor
from lightning_failures.callbacks.slices.monitor import SliceMonitor
from lightning_failures.callbacks.training.monitor import TrainingMonitor
from lightning_failures.errors import UnknownNameError
from lightning_failures.interventions.changes import Denormalize
from lightning_failures.observe.batch_fields import Field
from lightning_failures.observe.factor_reader import FactorSource
from lightning_failures.observe.group_reader import GroupSource
from lightning_failures.observe.probe import Probe
from lightning_failures.observe.task import Kind
from lightning_failures.spectrum.bands import BandsLike

__all__ = ["failure_monitors"]

_NOUNS = {
    "factors",
    "groups",
    "properties",
    "collapse",
    "simplicity",
    "channels",
    "training",
    "causes",
    "data",
    "images",
}


def failure_monitors(
    *,
    factors: FactorSource | None = None,
    groups: GroupSource | None = None,
    ids: Field | None = None,
    wavelengths: Any = None,
    unit: str | None = None,
    bands: BandsLike = None,
    layers: str | Sequence[str] | None = None,
    cues: Mapping[str, Field] | None = None,
    denormalize: Denormalize | None = None,
    audit: DataAudit | str | Path | None = None,
    class_names: Sequence[str] | None = None,
    inputs: Field | None = None,
    targets: Field | None = None,
    logits: Field | None = None,
    task: Kind | None = None,
    ignore_index: int | None = None,
    channel_axis: int | None = None,
    slices: bool = False,
    without: Sequence[str] = (),
    rules: RuleSource | None = None,
    report_dir: str | Path | None = None,
    notify: Notify | None = None,
    budget: float | None = SHARE,
    detail: Detail = "headline",
    on_error: Literal["warn", "raise"] = "warn",
) -> list[Callback]:
    """All monitors that fit: one monitor per noun, of the factors where there are any, with a
    :class:`.FailureDiagnosis`.

    Works without arguments on an image classifier. They share one probe, so that the model is looked into once. A
    second monitor of a kind stands before them in the Trainer's list and has a name of its own, which becomes part of
    its keys; the diagnosis gives it the rules of its kind.

    Args:
        factors: see :class:`.FactorErrorMonitor` and :class:`.CauseMonitor`; None: only those that every image has,
            such as dark, blurred or noisy, see :class:`.PropertyErrorMonitor`.
        groups: which images belong together, such as those of one patient, slide, scanner or field: a path or callable
            into the batch, or one for each row of the dataset; see :class:`.GroupReader`. Images of one group are no
            independent draws, so intervals and tests of factors, of the linear model and of transplants then count
            groups; :class:`.GroupErrorMonitor` says which of them fail, and :class:`.CauseMonitor` why. None: images
            are independent.
        ids: path or callable into the batch that gives each image's id, such as its file name, where factors or groups
            go by id; None: they do not, or file names are found.
        wavelengths: place of each channel on the axis, strictly monotone; (C). None: channels by number.
        unit: of the wavelengths: ``"nm"``, ``"um"`` or ``"cm-1"``; None: not said.
        bands: groups of channels whose part in the decisions is watched; see :class:`.ChannelAttributionMonitor`.
        layers: names and globs of the layers whose features are watched; None: the input of the classifier head.
        cues: simple cues of your own, such as a scanner's index; see :class:`.SimplicityBiasMonitor`.
        denormalize: how raw units follow from the inputs: ``(mean, std)`` that standardised them, each a number or one
            for each channel, or a callable such as ``lambda x: x * std + mean``; None: the inputs are raw.
        audit: of the same data, made before training: what :func:`.audit_data` returned, or the file that
            ``lightning-failures audit DATA --json FILE`` wrote. What it read without a content tells whether leaning on
            that is a bias, and what it read from the content alone is said beside; None: the run tries it itself.
        class_names: of all classes, in their order, for pictures and tables; None: found in the dataset.
        inputs: path or callable into the batch; None: found.
        targets: path or callable into the batch; None: found.
        logits: submodule or field of the step's output; None: found.
        task: what the module is trained for, such as ``"regression"``; see :data:`.Kind`. None: found from the loss.
        ignore_index: label that counts nowhere; None: the one that the loss leaves out.
        channel_axis: axis of the channels in the inputs; None: found, see :meth:`.InputView.of`.
        slices: whether groups of images that nobody named are looked for, see :class:`.SliceMonitor`. Not by default:
            in healthy runs it names the confusions of classes that a network goes through while it learns.
        without: monitors to leave out: ``"factors"``, ``"groups"``, ``"properties"``, ``"collapse"``, ``"simplicity"``,
            ``"channels"``, ``"training"``, ``"causes"``, ``"data"``, ``"images"``.
        rules: what counts as a failure; see :class:`.FailureDiagnosis`. None: the standard rules.
        report_dir: folder for ``findings.json``, ``records.json`` and ``report.html``; None: none is written.
        notify: an address, or a callable, that is told of each finding; see :class:`.FailureDiagnosis`. None: none.
        budget: share of the run's own time that all of them together may take, at least 0; None: no limit, so that
            every evaluation is examined in full, whatever the machine. 0.03 is three percent of any run longer than a
            minute, the first and the last examination, logging and pictures included; a shorter run is allowed 3% of a
            minute. What it does not suffice for waits for a later evaluation, the cheapest and most telling part first,
            and the verdict says what was not examined, and what the monitors took. See :class:`.Budget`.
        detail: ``"headline"``: at most 40 curves in the logger, of which up to 12 have short names such as
            ``failures/accuracy``, ``failures/kept`` and ``failures/leans_on``; ``"full"``: a curve for every figure, of
            which there are some hundred. Gates, rules, ``records.json`` and the report have every figure either way.
        on_error: ``"warn"``: a monitor that fails warns once and steps aside; ``"raise"``: it stops the run. The
            diagnosis always warns.

    Returns:
        Callbacks for ``Trainer(callbacks=...)``, in the order in which they must stand.

    Raises:
        InputError: wavelengths, bands, factors, rules, an audit or a budget that cannot be used; of the callback that
            refuses it.
        UnknownNameError: no such unit, set of bands, band, task, monitor or standard rule.

    Example:
        >>> for callback in failure_monitors():
        ...     print(type(callback).__name__)
        CollapseMonitor
        SimplicityBiasMonitor
        ChannelAttributionMonitor
        TrainingMonitor
        CauseMonitor
        DataMonitor
        PropertyErrorMonitor
        FailingImagesMonitor
        FailureDiagnosis

        Factors of the images, and those of the scanners under ``failures/scanner/``:

        >>> scanners = FactorErrorMonitor(["old", "new"], name="scanner")
        >>> callbacks = [scanners, *failure_monitors(factors=["dark", "blurred"])]
        >>> [callback.key("error_ratio/worst") for callback in callbacks[:2]]
        ['failures/scanner/error_ratio/worst', 'failures/factors/error_ratio/worst']
    """
    left_out = {without} if isinstance(without, str) else set(without)
    if unknown := left_out - _NOUNS:
        given, fix = ", ".join(map(repr, sorted(unknown))), f"Choose from {', '.join(map(repr, sorted(_NOUNS)))}."
        raise UnknownNameError("failure_monitors(without=...)", "there is no such monitor", given, fix)
    probe = Probe(
        inputs=inputs,
        targets=targets,
        logits=logits,
        task=task,
        ignore_index=ignore_index,
        channel_axis=channel_axis,
        where="failure_monitors",
    )
    shared = Budget(budget)
    options: MonitorOptions = {"probe": probe, "budget": shared, "detail": detail, "on_error": on_error}
    monitors: list[Monitor] = (
        [] if factors is None else [FactorErrorMonitor(factors, groups=groups, ids=ids, **options)]
    )
    monitors += [] if groups is None else [GroupErrorMonitor(groups, ids=ids, **options)]
    monitors += [
        CollapseMonitor(layers, **options),
        SimplicityBiasMonitor(
            cues,
            denormalize=denormalize,
            wavelengths=wavelengths,
            unit=unit,
            audit=audit,
            groups=groups,
            ids=ids,
            class_names=class_names,
            **options,
        ),
        ChannelAttributionMonitor(wavelengths, unit, bands, **options),
        TrainingMonitor(**options),
        CauseMonitor(factors, groups=groups, ids=ids, **options),
        DataMonitor(**options),
        PropertyErrorMonitor(groups=groups, ids=ids, **options),
        *([SliceMonitor(factors, groups=groups, ids=ids, class_names=class_names, **options)] if slices else []),
        FailingImagesMonitor(class_names, wavelengths=wavelengths, unit=unit, denormalize=denormalize, **options),
    ]
    return [
        *(each for each in monitors if each.noun not in left_out),
        FailureDiagnosis(rules, report_dir, notify=notify, budget=shared),
    ]
