"""What in the spectrum a model depends on, live."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Unpack, get_args

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_failures.attribution.attribution import Method
from lightning_failures.attribution.null_models import Null, check_null
from lightning_failures.attribution.task import WINDOW, check_inputs
from lightning_failures.callbacks.channels.course import TABLE_COLUMNS, BandProfile, ChannelCourse
from lightning_failures.callbacks.channels.examination import ChannelExamination, How
from lightning_failures.callbacks.channels.figures import course_pictures
from lightning_failures.callbacks.channels.rules import RULES
from lightning_failures.callbacks.channels.terms import TERMS
from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.callbacks.monitor import Monitor, MonitorOptions
from lightning_failures.callbacks.ranks import gather
from lightning_failures.callbacks.reference_examination import ReferenceExamination
from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.metrics.channels import ChannelSignal
from lightning_failures.observe.observation import Observation
from lightning_failures.reporting.loggers import log_table
from lightning_failures.spectrum.axes import spectral_axis
from lightning_failures.spectrum.bands import BandsLike
from lightning_failures.spectrum.layout import Layout, channel_layout

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ChannelAttributionMonitor"]

_WHERE = "ChannelAttributionMonitor"
MOST_VALUES = 2**27  # of the reference batch on a rank: half a GiB in float32
MOST_CHANNELS = 4096  # the table of their covariance then takes an eighth of a GiB


class ChannelAttributionMonitor(Monitor):
    """Logs, under ``failures/channels/``, what the model loses on a fixed batch without each band of channels.

    ``change/<band>`` is the rise of the cross-entropy in nats, ``error/<band>`` its standard error, ``share/<band>``
    its size over the sum of sizes: read the share beside the change. ``floor`` is the size of change that means
    nothing: the rise that the chance of the images gives some band, and at least 0.05 nats; where no rise passes it,
    shares and their summaries are nan: ``largest_share``, ``effective_channels`` (1 over the sum of squared shares)
    and, on an axis, ``centroid``. ``spearman`` and ``jensen_shannon`` compare with the evaluation before. More than 32
    bands have no scalars of their own, but all are in the table ``failures/channels/table``, in the heat map
    ``failures/channels/course`` (evaluation by axis) and in the profile over the mean spectrum
    ``failures/channels/profile``; Shapley values as bars in ``failures/channels/shapley``.

    The reference batch is kept from the first evaluation and is the same ever after, as is what the bands are replaced
    by; of large images fewer are kept. Under distributed training each rank works on its own images, and the sums are
    reduced once; methods that shuffle images shuffle those of a rank.

    The first convolution of a pretrained ``timm`` model repeats its weights over the channels, so that profiles by
    channel begin with a period of 3: the profile shows that of the first evaluation as well.

    Args:
        wavelengths: place of each channel on the axis, strictly monotone; (C). None: channels by number.
        unit: ``"nm"``, ``"um"`` or ``"cm-1"``, which is drawn descending.
        bands: ``{"Amide I": (1600, 1700), ...}``, names of known sets, or a width; see
            :func:`.resolve_bands`. None: at most 20 bands of neighbours, which take the
            whole axis; for windows, one of 5 channels around each.
        method: see :func:`.attribute_channels`. ``"ablation"`` costs a forward per
            band; ``"shapley"`` shares out what bands hold together, at 8 times the cost.
        baseline: what a band is replaced by: ``"mean"``, ``"zero"``, a number or a tensor.
        null: what a change must pass, see :func:`.attribute_channels`: ``"images"``, ``"head"``, ``"channels"``, or
            None for no floor but rounding.
        target: the class whose score counts: ``"true"``, which is the predicted one where there are no labels, or
            ``"predicted"``.
        images: most images of the reference batch, over all ranks.
        every_n_epochs: cadence at evaluations.
        every_n_steps: also every so many training steps, once the reference batch is there; None: not.
        options: see :class:`.Monitor`.

    Raises:
        InputError: wavelengths that are not strictly monotone, bands that do not fit them, a cadence below 1, fewer
            than two images.
        UnknownNameError: no such method, target, null, unit, set of bands or band.

    Example:
        >>> monitor = ChannelAttributionMonitor([1000.0, 1100.0, 1200.0], "cm-1", {"low": (900, 1150)}, budget=0.02)
        >>> monitor.key("share/low")
        'failures/channels/share/low'
    """

    noun = "channels"
    watches = "which bands the predictions depend on"
    terms = TERMS
    rules = RULES
    examining: ReferenceExamination

    def __init__(
        self,
        wavelengths: Any = None,
        unit: str | None = None,
        bands: BandsLike = None,
        method: Method = "ablation",
        *,
        baseline: str | float | Tensor = "mean",
        null: Null | None = "images",
        target: Literal["true", "predicted"] = "true",
        images: int = 128,
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        **options: Unpack[MonitorOptions],
    ) -> None:
        super().__init__(**options)
        self.examining = ReferenceExamination(
            _WHERE, self.title, self.budget, images=images, every_n_epochs=every_n_epochs
        )
        _check(method, target, null)
        if every_n_steps is not None and every_n_steps < 1:
            given = f"every_n_steps={every_n_steps}"
            raise InputError(_WHERE, "there is no such cadence", given, "Pass 1 or more, or None.")
        self.how = How(method, null, baseline, target, 1)  # the probe puts the channels there
        self.every_n_steps = every_n_steps
        around = WINDOW if method == "window_conditional_permutation" else None
        self._lay_out = partial(channel_layout, bands, wavelengths=wavelengths, unit=unit, around=around, where=_WHERE)
        self.layout: Layout | None = None
        if wavelengths is not None:  # so that what does not fit is said at once
            self.layout = self._lay_out(len(spectral_axis(wavelengths, unit, where=_WHERE).values))
        self.examination: ChannelExamination | None = None
        self.course: ChannelCourse | None = None  #: of the evaluations of a ``fit``
        self._shown: ChannelCourse | None = None  # that one, or one of a single evaluation outside a fit
        self._examined = False  # whether the model was examined at this evaluation
        self._last_step = -1  # some steps have several batches

    # -- the reference batch

    def begin(self, evaluation: EvaluationContext) -> None:
        """Decide, together, whether this evaluation is examined; reset the sums."""
        early = not RULES[0].counts(evaluation.epoch, evaluation.step)
        self.examining.begin(evaluation, self.ranks.first, early=early)
        self._reset(evaluation)

    def _reset(self, evaluation: EvaluationContext) -> None:
        self._examined = False
        if self.examination is not None:
            self.examination.reset(evaluation.device)

    def glance(self, seen: Observation) -> None:
        """Look at channels and logits before any training, so that what does not fit is said at once."""
        self.probe.require_logits(seen, _WHERE)
        self._look(seen.require_inputs(_WHERE))

    def update(self, evaluation: EvaluationContext, seen: Observation, batch_idx: int) -> None:
        """Keep images for the reference batch."""
        inputs, logits = seen.require_inputs(_WHERE), self.probe.require_logits(seen, _WHERE)
        self._look(inputs)
        batch = self.examining.batch
        if batch is not None and not batch.complete and len(inputs):
            batch.restrict(max(2, MOST_VALUES // (inputs[0].numel() + logits[0].numel())))
        self.examining.keep(seen, logits)

    def _look(self, inputs: Tensor) -> None:
        axis = check_inputs(inputs[:1].float(), self.how.channel_axis, "ablation", None, 1, _WHERE)
        channels = inputs.shape[axis]
        if channels > MOST_CHANNELS:
            given = f"{channels} on axis {axis} of inputs {tuple(inputs.shape)}, at most {MOST_CHANNELS}"
            fix = "Name the axis of the channels, channel_axis=..., or leave this monitor out."
            raise InputError(_WHERE, "there are more channels than a spectrum has", given, fix)
        if self.layout is None or self.layout.num_channels != channels:
            self.layout = self._lay_out(channels, shape=tuple(inputs.shape))

    # -- an examination

    def unexamined(self, evaluation: EvaluationContext) -> tuple[str, ...]:
        """The examination, where there was none at this evaluation, nor at its step."""
        examined = self.course is not None and [each.step for each in self.course.profiles[-1:]] == [evaluation.step]
        return () if examined else super().unexamined(evaluation)

    def begin_last(self, evaluation: EvaluationContext, parts: tuple[str, ...]) -> None:
        """Reset the sums, and agree on the baseline."""
        super().begin_last(evaluation, parts)
        self._reset(evaluation)
        self._agree(evaluation.trainer, evaluation.module)

    def _finish(self, trainer: Trainer) -> None:
        """Agree on the baseline, compute and log."""
        self._agree(trainer, trainer.lightning_module)
        super()._finish(trainer)

    def _agree(self, trainer: Trainer, module: LightningModule) -> None:
        """One baseline for all ranks: the mean over the reference images of all."""
        if trainer.world_size == 1 or self.ranks.retired or trainer.sanity_checking or self._left_out:
            return
        means, batch = isinstance(self.how.baseline, str) and self.how.baseline == "mean", self.examining.batch
        if not (self.examining.due and means) or batch is None:
            return
        with self.guard():
            if self.failure is None:
                batch.fix()
        kept = batch.inputs
        description = self.ranks.first(None if self.failure or kept is None else self._describe())
        if self.ranks.retired or description is None:
            return
        with self.guard():
            signal = ChannelSignal(description[0].num_channels, 1).to(module.device)
            if kept is not None:
                signal.update(kept, torch.zeros(len(kept), 1), self.how.channel_axis)
            self.how = self.how._replace(baseline=signal.spectra().mean)

    def conclude(self, evaluation: EvaluationContext) -> None:
        """Examine the model, or keep the reason why not."""
        passes = 2.0 if self.layout is None else self.how.passes(len(self.layout.names))
        self.examining.run(
            evaluation,
            self.probe.runnable(evaluation.module),
            lambda _, inputs: self.examine(evaluation, inputs),
            passes,
            self.pace(evaluation),
        )
        if not self._examined:
            self.undefined = self.examining.reasons({"largest_change": "the reference batch is empty"})

    def examine(self, evaluation: EvaluationContext, inputs: Tensor) -> None:
        """Replace the bands of the reference batch.

        Args:
            evaluation: that takes place.
            inputs: this rank's part of the batch, on the module's device; (n C h w).
        """
        self.build(self._describe())
        assert self.examination is not None
        net = self.probe.runnable(evaluation.module)
        self.examination.run(net, inputs, self.examining.targets, evaluation.precision)
        self._examined = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Examine between evaluations, at the cadence of steps."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        step = trainer.global_step
        if self.ranks.retired or self.every_n_steps is None or step % self.every_n_steps or step == self._last_step:
            return
        if self.examination is None:  # no evaluation has brought a reference batch yet
            return
        self._last_step = step
        kept, now = self.examining.batch, EvaluationContext.of(trainer, pl_module)
        passes = 0.0 if self.layout is None else self.how.passes(len(self.layout.names))
        images = 0 if kept is None or kept.inputs is None else len(self.examining.inputs(torch.device("cpu")))
        allowed = self.failure is None and passes * images <= self.examining.turn(self.pace(now))
        if not all(gather(allowed)):
            return
        with self.guard(), self.probe.paused(), self.budget.spend(self.title, "examination"):
            self._reset(now)
            if images and self.examining.refusal is None:
                with self.examining.alone(now):
                    self.examine(now, self.examining.inputs(pl_module.device))
        description = self.ranks.first(None if self.failure else self.describe())
        if self.ranks.retired or description is None:
            return
        with self.guard():
            values = self.compute(now)
            self.log_values(now, values, now=True)
            if trainer.is_global_zero:
                self.show(now, values)

    @property
    def refusal(self) -> str | None:
        """Why the model cannot be run again, or why it never was."""
        examined = self.course is not None and self.course.profiles
        return self.examining.refusal or (None if examined else self.examining.why_not)

    # -- what is logged

    def _describe(self) -> tuple[Layout, int]:
        batch = self.examining.batch
        assert self.layout is not None
        assert batch is not None
        assert batch.logits is not None
        return self.layout, batch.logits.shape[1] if batch.logits.ndim > 1 else 1

    def describe(self) -> Any:
        """Bands, axis and number of logits, where the model was examined."""
        return self._describe() if self._examined else None

    def build(self, description: tuple[Layout, int]) -> None:
        """Make the metrics, and begin the course where none was resumed."""
        self.layout, classes = description
        if self.examination is None:
            self.examination = ChannelExamination(self.layout, classes, self.how)
            fresh = ChannelCourse.of(self.layout, self.how.method)
            if self.course is None or (self.course.names, self.course.method) != (fresh.names, fresh.method):
                self.course = fresh

    def compute(self, evaluation: EvaluationContext) -> dict[str, Tensor]:
        """Changes and shares by band, their concentration, and how stable they are."""
        assert self.layout is not None
        assert self.examination is not None
        assert self.course is not None
        before = self.course.profiles[-1] if self.course.profiles else None
        self._shown = self.course if evaluation.fitting else ChannelCourse.of(self.layout, self.how.method)
        self._shown.profiles.append(BandProfile(evaluation.epoch, evaluation.step))
        values, self.undefined = self.examination.compute(self._shown, before)
        return values

    def publish(self, evaluation: EvaluationContext, values: Mapping[str, Tensor]) -> None:
        """Log a table, one row per band."""
        assert self._shown is not None
        key = f"failures/{self.name}/table"
        log_table(evaluation.trainer.loggers, key, TABLE_COLUMNS, self._shown.table(), evaluation.logged_step)

    def draw(
        self, evaluation: EvaluationContext, values: Mapping[str, float]
    ) -> "Mapping[str, Callable[[], Figure | None]]":
        """The profile, the heat map, and for Shapley values their bars."""
        return {} if self._shown is None else course_pictures(self._shown)

    # -- resume

    def state_dict(self) -> dict[str, Any]:
        """The course of all evaluations; plain containers."""
        return {} if self.course is None else {"course": self.course.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint stood."""
        if "course" in state_dict:
            self.course = ChannelCourse.from_state(state_dict["course"])


def _check(method: str, target: str, null: str | None) -> None:
    choices: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("method", method, get_args(Method)),
        ("target", target, ("true", "predicted")),
    )
    for name, given, known in choices:
        if given not in known:
            raise UnknownNameError(_WHERE, f"no such {name}", repr(given), f"Choose from {known}.")
    check_null(null, _WHERE)
