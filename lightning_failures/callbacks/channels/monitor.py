"""What in the spectrum a model depends on, live."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, Unpack, get_args

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_failures.attribution.attribution import Method
from lightning_failures.attribution.null_models import Null, check_null
from lightning_failures.attribution.task import WINDOW, check_inputs
from lightning_failures.callbacks.channels.course import ChannelCourse, Profile
from lightning_failures.callbacks.channels.examination import ChannelExamination, How, empty_course
from lightning_failures.callbacks.channels.pictures import ChannelPictures
from lightning_failures.callbacks.monitor import MonitorOptions
from lightning_failures.callbacks.reference_monitor import ReferenceMonitor, inputs_of
from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.metrics.channels import ChannelSignal
from lightning_failures.observe.observation import Observation
from lightning_failures.spectrum.axes import spectral_axis
from lightning_failures.spectrum.bands import BandsLike
from lightning_failures.spectrum.layout import Layout, channel_layout

__all__ = ["ChannelAttributionMonitor"]

_WHERE = "ChannelAttributionMonitor"
MOST_VALUES = 2**27  # of the reference batch on a rank: half a GiB in float32
MOST_CHANNELS = 4096  # the table of their covariance then takes an eighth of a GiB


class ChannelAttributionMonitor(ReferenceMonitor):
    """Logs, under ``failures/channels/``, what the model loses on a fixed batch without each band of channels.

    ``change/<band>`` is the rise of the cross-entropy in nats, ``error/<band>`` its standard error, ``share/<band>``
    its size over the sum of sizes: read the share beside the change. ``floor`` is the largest rise of a model that
    knows nothing, the same with its last layer's weights shuffled; where no change passes it, shares and their
    summaries are nan. ``spearman`` and ``jensen_shannon`` compare with the evaluation before. More than 32 bands have
    no scalars of their own, but all are in the table ``failures/channels/table``, in the heat map
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
        method: see :func:`.attribute_channels`. ``"ablation"`` costs a forward a
            band; ``"shapley"`` shares out what bands hold together, at 8 times the cost.
        baseline: what a band is replaced by: ``"mean"``, ``"zero"``, a number or a tensor.
        null: ``"head"``, ``"channels"``, or None for no floor but rounding.
        target: the class whose score counts: ``"true"``, which is the predicted one where there are no labels, or
            ``"predicted"``.
        channel_axis: axis of the channels.
        images: most images of the reference batch, over all ranks.
        budget: share of the run's time that extra passes may take.
        every_n_epochs: cadence at evaluations.
        every_n_steps: also every so many training steps, once the reference batch is there; None: not.
        options: see :class:`.Monitor`.

    Raises:
        InputError: wavelengths that are not strictly monotone, bands that do not fit them, a cadence below 1.
        UnknownNameError: no such method, target, null, unit, set of bands or band.
    """

    noun = "channels"

    def __init__(
        self,
        wavelengths: Any = None,
        unit: str | None = None,
        bands: BandsLike = None,
        method: Method = "ablation",
        *,
        baseline: str | float | Tensor = "mean",
        null: Null | None = "head",
        target: Literal["true", "predicted"] = "true",
        channel_axis: int = 1,
        images: int = 128,
        budget: float = 0.05,
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        **options: Unpack[MonitorOptions],
    ) -> None:
        super().__init__(images=images, budget=budget, every_n_epochs=every_n_epochs, **options)
        _check(method, target, null)
        if every_n_steps is not None and every_n_steps < 1:
            given = f"every_n_steps={every_n_steps}"
            raise InputError(_WHERE, "there is no such cadence", given, "Pass 1 or more, or None.")
        self.wavelengths, self.unit, self.bands = wavelengths, unit, bands
        self.how = How(method, null, channel_axis)
        self.baseline, self.target, self.every_n_steps = baseline, target, every_n_steps
        self.layout: Layout | None = None
        self.examination: ChannelExamination | None = None
        self.course: ChannelCourse | None = None
        self.pictures = ChannelPictures()
        self._base = baseline
        self._agreed = self._examined = self._fitting = False
        self._at = (0, 0)
        self._last_step = -1
        if wavelengths is not None:
            self.layout = self._lay_out(len(spectral_axis(wavelengths, unit, where=_WHERE).values))

    def _lay_out(self, channels: int, shape: tuple[int, ...] = ()) -> Layout:
        around = WINDOW if self.how.method == "window_conditional_permutation" else None
        return channel_layout(
            self.bands, channels, self.wavelengths, self.unit, around=around, shape=shape, where=_WHERE
        )

    # -- the reference batch

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clocks of the budget and of the pictures."""
        super().on_fit_start(trainer, pl_module)
        self.pictures.restart()

    def begin(self, trainer: Trainer, module: LightningModule) -> None:
        """Decide, together, whether this evaluation is examined; reset the sums."""
        super().begin(trainer, module)
        self._reset(trainer, module)
        self._fitting = trainer.state.fn == "fit"

    def _reset(self, trainer: Trainer, module: LightningModule) -> None:
        self._module, self._precision = module, trainer.precision_plugin.forward_context
        self._at = (trainer.current_epoch, trainer.global_step)
        self._examined = False
        if self.examination is not None:
            self.examination.reset(module.device)

    def glance(self, seen: Observation) -> None:
        """Look at the channels before any training, so that what does not fit is said at once."""
        self._look(inputs_of(seen, _WHERE))

    def update(self, seen: Observation, batch_idx: int) -> None:
        """Keep images for the reference batch."""
        inputs = inputs_of(seen, _WHERE)
        self._look(inputs)
        if self._batch is not None and not self._batch.complete and len(inputs):
            size = inputs[0].numel() + self.probe.require_logits(seen, _WHERE)[0].numel()
            self._batch.restrict(max(2, MOST_VALUES // size))
        self.keep(seen, _WHERE)

    def _look(self, inputs: Tensor) -> None:
        axis = check_inputs(inputs[:1].float(), self.how.channel_axis, "ablation", None, 1, _WHERE)
        channels = inputs.shape[axis]
        if channels > MOST_CHANNELS:
            given = f"{channels} on axis {axis} of inputs {tuple(inputs.shape)}, at most {MOST_CHANNELS}"
            fix = "Name the axis of the channels, channel_axis=..., or leave this monitor out."
            raise InputError(_WHERE, "there are more channels than a spectrum has", given, fix)
        if self.layout is None or self.layout.num_channels != channels:
            self.layout = self._lay_out(channels, tuple(inputs.shape))

    # -- an examination

    def _finish(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.world_size > 1 and not (self._retired or trainer.sanity_checking):
            self._agree(module)
        super()._finish(trainer, module)

    def _agree(self, module: LightningModule) -> None:
        """One baseline for all ranks: the mean over the reference images of all."""
        means = isinstance(self.baseline, str) and self.baseline == "mean"
        if not (self._due and means) or self._agreed or self._batch is None:
            return
        with self.guarded():
            if self.failure is None:
                self._batch.fix()
        kept = self._batch.inputs
        description = self.together(None if self.failure or kept is None else self._describe())
        if self._retired or description is None:
            return
        self._agreed = True
        with self.guarded():
            signal = ChannelSignal(description[0].num_channels, 1).to(module.device)
            if kept is not None:
                signal.update(kept, torch.zeros(len(kept), 1), self.how.channel_axis)
            self._base = signal.spectra().mean

    def conclude(self, trainer: Trainer, module: LightningModule) -> None:
        """Examine the model, or keep the reason why not."""
        super().conclude(trainer, module)
        if not self._examined:
            self.undefined = self.reasons({"largest_change": "the reference batch is empty"})

    def examine(self, model: Callable[[Tensor], Tensor], inputs: Tensor) -> None:
        """Replace the bands of the reference batch."""
        assert self._batch is not None
        self.build(self._describe())
        assert self.examination is not None
        entry = self.probe.entry
        net = self._module if entry is None else self._module.get_submodule(entry)
        targets = self._batch.targets if self.target == "true" else None
        self.examination.run(net, inputs, targets, max(2, self._classes), self._base, self._precision)
        self._examined = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Examine between evaluations, at the cadence of steps."""
        step = trainer.global_step
        if self._retired or self.every_n_steps is None or step % self.every_n_steps or step == self._last_step:
            return
        if self.examination is None:  # no evaluation has brought a reference batch yet
            return
        self._last_step = step
        allowed = self.together(self.failure is None and self.budget.allows)
        if self._retired or not allowed:
            return
        with self.guarded(), self.probe.paused(), self.budget.spend():
            self._reset(trainer, pl_module)
            self._fitting = True
            if self._batch is not None and self._batch.inputs is not None and self._runs_again:
                self.examine(lambda images: images, self._batch.inputs.to(pl_module.device))
        description = self.together(None if self.failure else self.describe())
        if self._retired or description is None:
            return
        with self.guarded():
            values = self.compute()
            logged = {f"failures/{self.noun}/{name}": float(value) for name, value in values.items()}
            for logger in trainer.loggers:
                logger.log_metrics(logged, step=step)
            if trainer.is_global_zero:
                self.publish(trainer, values)

    # -- what is logged

    @property
    def _classes(self) -> int:
        assert self._batch is not None
        assert self._batch.logits is not None
        return self._batch.logits.shape[1] if self._batch.logits.ndim > 1 else 1

    def _describe(self) -> tuple[Layout, int]:
        assert self.layout is not None
        return self.layout, self._classes

    def describe(self) -> Any:
        """Bands, axis and number of logits, where the model was examined."""
        return self._describe() if self._examined else None

    def build(self, description: tuple[Layout, int]) -> None:
        """Make the metrics, and begin the course where none was resumed."""
        self.layout, classes = description
        if self.examination is None:
            self.examination = ChannelExamination(self.layout, classes, self.how)
            fresh = empty_course(self.layout, self.how.method)
            if self.course is None or (self.course.names, self.course.method) != (fresh.names, fresh.method):
                self.course = fresh

    def compute(self) -> dict[str, Tensor]:
        """Changes and shares by band, their concentration, and how stable they are."""
        assert self.layout is not None
        assert self.examination is not None
        assert self.course is not None
        before = self.course.profiles[-1] if self.course.profiles else None
        self._shown = self.course if self._fitting else empty_course(self.layout, self.how.method)
        self._shown.profiles.append(Profile(*self._at))
        values, self.undefined = self.examination.compute(self._shown, before)
        return values

    def publish(self, trainer: Trainer, values: Mapping[str, Tensor]) -> None:
        """Log the table and, as time allows, the pictures."""
        self.pictures.log(trainer.loggers, self._shown, trainer.global_step)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last evaluation, where there was no time for it before."""
        if not self._idle and self.course is not None and trainer.is_global_zero:
            with self.guarded():
                self.pictures.draw(trainer.loggers, self.course, trainer.global_step)

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
