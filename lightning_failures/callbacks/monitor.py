"""The base of every monitor: observe, update, compute, log; a guest that steps aside when it fails."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypedDict, get_args

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from lightning_failures.callbacks.asked_keys import asked_keys
from lightning_failures.callbacks.both_names import TheirCallback
from lightning_failures.callbacks.budget import SHARE, Budget
from lightning_failures.callbacks.error_guard import ErrorGuard, warn_of
from lightning_failures.callbacks.evaluated_weights import evaluated_weights, final_weights
from lightning_failures.callbacks.evaluation_context import EvaluationContext, progress
from lightning_failures.callbacks.logged_step import curve_axis
from lightning_failures.callbacks.picture import Pictures
from lightning_failures.callbacks.ranks import Agreement
from lightning_failures.callbacks.reference_examination import ReferenceExamination
from lightning_failures.callbacks.training_evaluation import HELD_OUT, TrainingEvaluation
from lightning_failures.errors import FailuresWarning, InputError
from lightning_failures.observe.batch_fields import Field
from lightning_failures.observe.observation import Observation
from lightning_failures.observe.probe import Probe
from lightning_failures.observe.task import CLASSIFIES, Kind
from lightning_failures.records.finding import Finding
from lightning_failures.records.headlines import curves, worst_of
from lightning_failures.records.keys import escape, match_key
from lightning_failures.records.rule import Rule
from lightning_failures.records.term import Term, find_term
from lightning_failures.reporting.loggers import define_curves, flush, log_scalars

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["NOT_REPLAYED", "Detail", "Monitor", "MonitorOptions", "monitors_of"]

#: Why a figure that only steps of training tell is nan in a replay of checkpoints.
NOT_REPLAYED = "it needs training; not replayed"

#: How many of its figures a monitor logs as curves.
Detail = Literal["headline", "full"]


class MonitorOptions(TypedDict, total=False):
    """Options that every monitor takes; see :class:`Monitor`."""

    inputs: Field | None
    targets: Field | None
    logits: Field | None
    task: Kind | None
    ignore_index: int | None
    channel_axis: int | None
    probe: Probe | None
    budget: Budget | float | None
    name: str | None
    detail: Detail
    on_error: Literal["warn", "raise"]


class Monitor(Callback, TheirCallback):
    """Watches the first evaluation loader of ``fit``, ``validate`` and ``test`` and logs under ``failures/<name>/``.

    A ``fit`` that validates nothing is watched on the last batches of each training epoch, see
    :class:`.TrainingEvaluation`; what needs images that the model was not trained on, :attr:`held_out`, is nan there.

    A subclass declares its :attr:`terms` and :attr:`rules`. It says which metrics it holds (:meth:`describe`,
    :meth:`build`), feeds them (:meth:`update`) and computes a flat dict of scalars (:meth:`compute`). Work of a rank's
    own, such as extra forward passes, belongs into :meth:`conclude`, which runs before the ranks agree that all of them
    are well; collectives belong into :meth:`compute`, which runs on every rank or on none.

    Args:
        inputs: path (``"image"``, ``"0"``) or callable into the batch; None: found by name and shape.
        targets: path or callable into the batch, or into a dict that the step returns; None: found.
        logits: name of the submodule that gives them, or a field of what the step returns; None: what the step returns
            under a usual name, else what the loss is given.
        task: what the module is trained for, one of :data:`.Kind`; None: found, from what the loss is given.
        ignore_index: label that counts nowhere; None: the one that the loss leaves out.
        channel_axis: axis of the channels in the inputs; None: found, see :meth:`.InputView.of`.
        probe: a probe shared with other monitors, in place of the six above.
        budget: share of the run's own time that the monitor may take, at least 0, or a :class:`.Budget` shared with
            other monitors; None: no limit.
        name: second part of the logged keys, where one Trainer has two monitors of a kind; None: its noun.
        detail: ``"headline"``: the few figures that a run is told by become curves of the logger, see
            :class:`.Term`; ``"full"``: every figure does. Gates, rules and the record reach every figure either way.
        on_error: ``"warn"``: an error of this monitor warns once, with its cause, and the monitor steps aside while
            training goes on; ``"raise"``: it stops the run.

    Raises:
        InputError: a name that cannot stand in a key, or no such detail; in ``setup``, keys that another monitor of
            the Trainer logs too.
    """

    noun: ClassVar[str]

    #: Tasks that it serves.
    tasks: ClassVar[tuple[Kind, ...]] = CLASSIFIES

    #: What it watches, in the words of the verdict, where that is said not to be watched.
    watches: ClassVar[str] = "what a monitor of yours watches"

    #: What each logged figure means; keys are those of :meth:`compute`.
    terms: ClassVar[tuple[Term, ...]] = ()

    #: Whether every evaluation is watched, whatever the budget: of those whose subject a user has named.
    always: ClassVar[bool] = False

    #: How many parts it has of the time for examinations, where others have one.
    portion: ClassVar[float] = 1.0

    #: Keys of the figures, with a star, that training images cannot tell; ``"*"``: none of them can be told there.
    held_out: ClassVar[tuple[str, ...]] = ()

    #: Keys of the figures, with a star, that are nan in a replay of checkpoints, ``"*"`` for all -> why.
    not_replayed: ClassVar[Mapping[str, str]] = {}

    #: Whether it takes no more of a training step than its batch, so that a replay may show it training images.
    reads_batches: ClassVar[bool] = False

    #: What counts as a failure; keys begin with ``failures/<noun>/``.
    rules: ClassVar[tuple[Rule, ...]] = ()

    #: Its work beyond what passes by, where it has any.
    examining: ReferenceExamination | None = None

    def __init__(
        self,
        *,
        inputs: Field | None = None,
        targets: Field | None = None,
        logits: Field | None = None,
        task: Kind | None = None,
        ignore_index: int | None = None,
        channel_axis: int | None = None,
        probe: Probe | None = None,
        budget: Budget | float | None = SHARE,
        name: str | None = None,
        detail: Detail = "headline",
        on_error: Literal["warn", "raise"] = "warn",
    ) -> None:
        if detail not in get_args(Detail):
            fix = f"Use {' or '.join(map(repr, get_args(Detail)))}."
            raise InputError(type(self).__name__, "there is no such detail", repr(detail), fix)
        self.detail = detail
        self.name = self.noun if name is None else _checked(type(self).__name__, name)
        self.probe = probe or Probe(
            inputs=inputs,
            targets=targets,
            logits=logits,
            task=task,
            ignore_index=ignore_index,
            channel_axis=channel_axis,
            where=type(self).__name__,
        )
        self.budget = Budget.of(budget)
        self.guard = ErrorGuard(self.title, on_error, self._stop_listening, warn="later", budget=self.budget)
        self.ranks = Agreement(self.guard)
        self.pictures = Pictures(self.title, self.budget)
        self._keys: dict[str, str] = {}  # statistic -> logged key
        self._defined: set[str] = set()  # logged keys that were no nan at least once
        self.values: dict[str, Tensor] = {}
        self.undefined: dict[str, str] = {}
        self.training = TrainingEvaluation()
        self.replayed = False  #: whether the run is a replay of checkpoints, without a training step
        self.completed: dict[str, float] = {}  #: logged key -> value, that the last examination of a run brought
        self._last: tuple[int, bool] | None = None  # epoch of the last evaluation, and whether on training batches
        self._pace: float | None = None  # seconds per image of the quickest step that was watched
        self._evaluation: EvaluationContext | None = None
        self._left_out = False  # whether the budget has the present evaluation left out
        self.old: frozenset[str] = frozenset()  #: keys that are nan because it has, and hold nothing of this evaluation
        self._checked = False
        self._learning = object()  # listens to the first training batch
        self._concluded = False
        self._step_began = 0.0

    @property
    def title(self) -> str:
        """Its class, with its name where that is its own."""
        return type(self).__name__ + ("" if self.name == self.noun else f" ({self.name})")

    @property
    def failure(self) -> str | None:
        """Why it stepped aside; None while it watches."""
        return self.guard.failure

    @property
    def not_watched(self) -> dict[str, str]:
        """What of :attr:`watches` could not be watched so far, and why; empty where all of it is."""
        why = self.failure or (HELD_OUT if self._needs_validation else self.unserved or self.refusal)
        why = why or (NOT_REPLAYED if self.replayed and NOT_REPLAYED in self.not_replayed.values() else None)
        if why is not None:
            return {self._named(self.watches): why}
        unfinished = {self._named(f"{self.watches} {self.unfinished}"): self.budget.why} if self.unfinished else {}
        return unfinished | ({} if self.examining is None else self.examining.left_out)

    @property
    def unfinished(self) -> str:
        """What the last examination of a run had no time for, in words; empty where it is complete."""
        examining = self.examining
        late = examining is not None and examining.final and examining.left_over
        return "at the end of the run" if late else ""

    @property
    def _needs_validation(self) -> bool:
        """Whether nothing is watched, since nothing is validated."""
        return self.training.why is not None and "*" in self.held_out

    @property
    def refusal(self) -> str | None:
        """Why the module does not let itself be examined, though the monitor did not step aside; None where it does."""
        return None

    @property
    def unserved(self) -> str | None:
        """Why it does not serve the module's task; None where it does, or where the task is not known yet."""
        task = self.probe.task
        if not self.probe.settled or task.kind in self.tasks:
            return None
        return f"it needs classes, and this is {task.words}" + (f": {task.why}" if task.why else "")

    def _named(self, watched: str) -> str:
        """What is watched, with the monitor's name where that is its own."""
        return watched if self.name == self.noun else f"{watched} ({self.name})"

    @property
    def idle(self) -> bool:
        """Whether it has stepped aside."""
        return self.ranks.retired or self.guard.failure is not None

    @property
    def state_key(self) -> str:
        """One per name, so that two monitors of a kind are resumed separately."""
        return super().state_key if self.name == self.noun else self._generate_state_key(name=self.name)

    # -- what a subclass says

    def describe(self) -> Any:
        """What :meth:`build` needs, plain and equal on all ranks; None before the first batch."""
        raise NotImplementedError

    def build(self, description: Any) -> None:
        """Make the metrics, where they are not there yet; also called on a rank that saw no batch."""
        raise NotImplementedError

    def begin(self, evaluation: EvaluationContext) -> None:
        """Start an evaluation: reset the metrics."""

    def update(self, evaluation: EvaluationContext, seen: Observation, batch_idx: int) -> None:
        """Add one batch of an image or more, without a device synchronisation."""
        raise NotImplementedError

    def check(self) -> None:
        """See, once it is settled what the module is trained for, that there are the logits that the monitor needs."""
        if not set(self.tasks) - set(CLASSIFIES) and self.unserved is None and self.probe.classes is None:
            raise self.probe.no_logits(type(self).__name__)

    def glance(self, seen: Observation) -> None:
        """One batch of the sanity check, which the module saw before any training."""

    def unexamined(self, evaluation: EvaluationContext) -> tuple[str, ...]:
        """Parts of its examination that the last evaluation of a run left, on this rank; none where it is complete."""
        return ("all",) if self.examining is not None and self.examining.left_over else ()

    def begin_last(self, evaluation: EvaluationContext, parts: tuple[str, ...]) -> None:
        """Before the last examination of a run: plan what is left; the same on all ranks.

        Args:
            evaluation: the last one.
            parts: of :meth:`unexamined`, on the first rank that has some.
        """
        assert self.examining is not None
        self.examining.begin_last()

    def conclude(self, evaluation: EvaluationContext) -> None:
        """End an evaluation on this rank: extra work that needs no other rank, with the weights that were evaluated."""

    def compute(self, evaluation: EvaluationContext) -> dict[str, Tensor]:
        """Statistic -> value, from sums reduced over all ranks; fills :attr:`undefined`."""
        raise NotImplementedError

    def publish(self, evaluation: EvaluationContext, values: Mapping[str, Tensor]) -> None:
        """Log tables, which are no scalars; on rank zero."""

    def draw(
        self, evaluation: EvaluationContext, values: Mapping[str, float]
    ) -> "Mapping[str, Callable[[], Figure | None]]":
        """Pictures of an evaluation, the most telling first: key -> what draws it; on rank zero."""
        return {}

    def evidence(self, finding: Finding) -> "Mapping[str, Callable[[], Figure | None]]":
        """Pictures of images in which a finding is seen, at the end of a run: caption -> what draws it; on rank zero.

        Only what the record has no figures for: the report draws its charts itself.
        """
        return {}

    def carriers(self, finding: Finding) -> Tensor | None:
        """Which images of the last evaluation, in the order seen by this rank, a finding of it speaks of; (n), bool.

        None: it speaks of all of them, or it is not known.
        """
        return None

    # -- Lightning's hooks

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See that each logged key has one owner."""
        for one, other in combinations(monitors_of(trainer), 2):
            if self in (one, other) and (shared := _shared_key(one, other)) is not None:
                kinds = f"{type(one).__name__} and {type(other).__name__}, both with failures/{one.name}/{shared}"
                name = f"{type(other).__name__}(..., name='{other.noun}_2')"
                fix = f"Give one of them a name of its own, which becomes part of its keys: {name}."
                raise InputError(type(self).__name__, "two monitors of the Trainer log the same keys", kinds, fix)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a run."""
        self.budget.restart()
        self.pictures.restart()
        self.training = TrainingEvaluation()
        self.replayed = getattr(trainer, "replays", False)
        self.completed, self._last = {}, None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find out whether anything is validated, and say so where nothing is."""
        if self.training.begin(trainer):
            self._say_no_validation(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Examine what the last evaluation left, with what is left of the budget."""
        if self.examining is not None and self._last is not None and not self.ranks.retired:
            self._examine_last(trainer, pl_module)
        self.budget.end(self.title)

    def _examine_last(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self._last is not None
        self._left_out = False
        epoch, training = self._last
        make = partial(EvaluationContext.of_training, batches=0) if training else EvaluationContext.of
        evaluation = replace(make(trainer, pl_module), epoch=epoch)
        mine = () if self.failure or self.unserved else self.unexamined(evaluation)
        left = self.ranks.first(mine or None)
        if self.ranks.retired or not left:
            return
        before = {key: float(value) for key, value in self.values.items()}
        self.begin_last(evaluation, left)
        with self.guard(), final_weights(trainer, pl_module, self):
            if mine and self.failure is None:
                with self.probe.paused():
                    self.conclude(evaluation)
        description = self.ranks.first(None if self.failure else self.describe())
        if self.ranks.retired or description is None:
            return
        with self.guard():
            self.build(description)
            self.values = self._told_by(evaluation, self.compute(evaluation))
            # counts too: 0 images before, and not nan
            new = {
                key: value
                for key, value in self.values.items()
                if float(value) != before.get(key, math.nan) and not math.isnan(float(value))
            }
            self.completed = {self.key(key): float(value) for key, value in new.items()}
            self.log_values(evaluation, new, now=True)
            if trainer.is_global_zero:
                self.show(evaluation, self.values)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw of the last evaluation what there was no time for before."""
        if not self.idle:
            with self.guard():
                self.pictures.finish(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Say what made monitors step aside since the batch before; listen where training batches are looked at."""
        self._warn(trainer)
        if self.training.step(trainer, batch_idx) and not self._needs_validation:
            self._begin(EvaluationContext.of_training(trainer, pl_module, self.training.batches))
        if self._listens:
            with self.guard():
                self.probe.attach(pl_module, self._learning)
                self.probe.new_batch()
        if self.training.taking and self._evaluation is not None and not self.idle:
            with self.guard():
                self.probe.attach(pl_module, self)
                self.probe.new_batch()
        self._step_began = self.budget.clock()

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Stop listening to the losses of a training step."""
        if self._listens:
            with self.guard():
                self.probe.before_backward(loss)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Learn from the first batch what the module is trained for; update, where training batches are watched."""
        self._learn(trainer, pl_module, outputs, batch)
        if self.probe.settled and not self._checked and not self.idle:
            self._checked = True
            with self.guard():
                self.check()
        if self.training.taking:
            self._see(trainer, pl_module, outputs, batch, batch_idx, 0)
            self.probe.detach(self)
        self.probe.detach(self._learning)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute and log, where training batches are watched."""
        if self._on_training(trainer):
            self.training.taking = False
            if self._evaluation is not None:
                self._evaluation = replace(self._evaluation, step=trainer.global_step)
            self._finish(trainer)
            self._stop_listening()

    def _learn(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any) -> None:
        """Look at the first training batch, where it still has to show what the module is trained for."""
        if self._listens:
            with self.guard():
                self.probe.observe(module, outputs, batch)
                self._tell(trainer)
            self.probe.learned = True

    @property
    def _listens(self) -> bool:
        """Whether the first training batch still has to show what the module is trained for."""
        return not (self.idle or self.probe.settled or self.probe.learned)

    def _tell(self, trainer: Trainer) -> None:
        """Say once what the monitors of this probe watch and what they do not, where that is settled."""
        if not self.probe.settled or self.probe.watched:
            return
        mine = [monitor for monitor in monitors_of(trainer) if monitor.probe is self.probe]
        for monitor in mine:
            why = monitor.unserved
            self.probe.watched[monitor.title] = monitor.watches if why is None else f"nothing: {why}"
        watched = [monitor.watches for monitor in mine if monitor.unserved is None]
        left_out = [f"{monitor.watches} ({monitor.unserved})" for monitor in mine if monitor.unserved is not None]
        text = f"lightning-failures watches {', '.join(watched) or 'nothing'}"
        rank_zero_info(f"{text}; it does not watch {', '.join(left_out)}" if left_out else text)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to listen."""
        if trainer.state.fn != "fit":
            self.budget.restart()
        if not self._on_training(trainer):
            self._start(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to listen."""
        self.budget.restart()
        self._start(trainer, pl_module)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Forget the calls of the last step."""
        if not self._on_training(trainer):
            self.probe.new_batch()
        self._step_began = self.budget.clock()

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Forget the calls of the last step."""
        self.probe.new_batch()
        self._step_began = self.budget.clock()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Observe the batch and update."""
        if not self._on_training(trainer):
            self._see(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Observe the batch and update."""
        self._see(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute and log."""
        if not self._on_training(trainer):
            self._finish(trainer)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute and log."""
        self._finish(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the hooks off, and say what made monitors step aside, or that the step does nothing."""
        if self._on_training(trainer):
            return
        self._stop_listening()
        self._warn(trainer)
        flush(trainer.loggers)
        if trainer.state.fn == "fit" and self.training.listens and not self.ranks.retired:
            silent = self.ranks.first(self.training.silent)
            if not self.ranks.retired and self.training.hear(silent):
                self._say_no_validation(trainer)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the hooks off, and say what made monitors step aside."""
        self._stop_listening()
        self._warn(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take the hooks off: after an exception nothing else is called."""
        self._stop_listening()
        self._warn(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Say what made monitors step aside at the end, and leave figures that pass to another process in one piece."""
        self._warn(trainer)
        flush(trainer.loggers, last=True)
        _share_storage(trainer, f"failures/{self.name}/")

    def _warn(self, trainer: Trainer) -> None:
        """Warn of what stepped aside since the last time, after hooks in which all monitors work on the same batch."""
        if self.guard.cause is not None:
            warn_of(monitor.guard for monitor in monitors_of(trainer))

    def _on_training(self, trainer: Trainer) -> bool:
        """Whether training batches are watched in place of those of validation."""
        return self.training.why is not None and trainer.state.fn == "fit"

    def _say_no_validation(self, trainer: Trainer) -> None:
        """Say once for all monitors of the run what is watched though nothing is evaluated."""
        if monitors_of(trainer)[0] is self:
            rank_zero_warn(
                f"lightning-failures: nothing is evaluated, since {self.training.why}: collapse and what decides the "
                "predictions are watched on training batches, errors and whatever needs other images are not.\n"
                "Give the Trainer a validation loader, and the module a validation_step that runs the network.",
                category=FailuresWarning,
            )

    # -- one evaluation

    def _stop_listening(self) -> None:
        self.probe.detach(self)
        self.probe.detach(self._learning)
        self._evaluation = None

    def _start(self, trainer: Trainer, module: LightningModule) -> None:
        self._begin(EvaluationContext.of(trainer, module))
        if self.ranks.retired or self._left_out:
            return
        with self.guard():
            if not self.idle:  # the sanity check's first batch shows where everything is, before any training step
                self.probe.attach(module, self)

    def _begin(self, evaluation: EvaluationContext) -> None:
        """Begin an evaluation, or the sanity check."""
        if self.ranks.retired:
            return
        counts = evaluation.fitting and not evaluation.trainer.sanity_checking
        self.old, self._left_out = frozenset(), counts and not self._watches(evaluation)
        if self._left_out:
            self._evaluation, self.values, self.undefined = None, {}, {}
        if self._left_out or self.ranks.retired:
            return
        with self.guard():
            self._evaluation, self._concluded = evaluation, False
            if not evaluation.trainer.sanity_checking:
                self.values, self.undefined = {}, {}
                if self.examining is not None:
                    examines = self.unserved is None and self.examining.refusal is None
                    self.budget.expect(self.title, examines, self.portion)
                self.begin(evaluation)

    def _watches(self, evaluation: EvaluationContext) -> bool:
        """Whether an evaluation of a ``fit`` is watched: as the budget has it, or since someone decides by it."""
        done = progress(evaluation.trainer)
        self.budget.foresee(done)
        watched = bool(self.ranks.first(self.budget.watches(evaluation.step, last=done >= 1.0)))
        own_loop = not hasattr(evaluation.trainer, "fit_loop")  # which may decide by whatever it reads
        return watched or self.always or own_loop or any(map(self._is_mine, asked_keys(evaluation.trainer)))

    def _is_mine(self, asked: str) -> bool:
        """Whether a key, with or without stars, is one of this monitor's."""
        folder = f"failures/{self.name}/"
        short = (self.short_key(term.short) for term in self.terms if term.short)
        return asked.startswith((folder, "*", "failures/*")) or any(match_key(asked, key) is not None for key in short)

    def _forget_old(self, trainer: Trainer) -> None:
        """Put nan in the place of what an earlier evaluation left in ``callback_metrics``."""
        mine = {*self._keys.values(), *(self.short_key(term.short) for term in self.terms if term.short)}
        self.old = frozenset(mine & trainer.callback_metrics.keys())
        trainer.callback_metrics.update(dict.fromkeys(self.old, torch.tensor(torch.nan)))

    def _see(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int
    ) -> None:
        evaluation = self._evaluation
        if self.idle or dataloader_idx != 0 or evaluation is None:
            return
        if self._silent(evaluation, outputs):
            return
        took = self.budget.clock() - self._step_began
        with self.guard():
            seen = self.probe.observe(module, outputs, batch, final=not trainer.sanity_checking)
            self._tell(trainer)
            if self.unserved is not None or not self.probe.discovered:
                return
            if evaluation.world_size > 1 and evaluation.rows.known:
                seen = seen.select(evaluation.rows.of(batch_idx).keep)
            if seen.empty:  # as on a rank that saw no batch
                return
            self._pace = min(self._pace or math.inf, took / max(1, seen.batch_images))
            if trainer.sanity_checking:
                self.glance(seen)
                return
            self.update(evaluation, seen, batch_idx)
            # Now, since callbacks may take averaged weights back before our turn at the end; processes end together
            if evaluation.world_size == 1 and not evaluation.training and batch_idx + 1 == evaluation.batches:
                self._conclude(evaluation)

    def _silent(self, evaluation: EvaluationContext, outputs: Any) -> bool:
        """Whether validation steps were found to do nothing so far, while that is not known."""
        if self.training.listens and evaluation.fitting:
            self.training.note(not self.probe.heard and outputs is None)
            return bool(self.training.silent)
        return False

    def _conclude(self, evaluation: EvaluationContext) -> None:
        with self.probe.paused():
            self.conclude(evaluation)
        self._concluded = True

    def _finish(self, trainer: Trainer) -> None:
        if self._left_out:
            self._forget_old(trainer)
        if self.ranks.retired or trainer.sanity_checking or self._left_out:
            return
        evaluation = self._evaluation
        if evaluation is not None and evaluation.fitting:
            self._last = evaluation.epoch, evaluation.training
        served = self.failure is None and self.unserved is None
        if served and evaluation is not None and not self._concluded:
            with self.guard(), evaluated_weights(trainer, evaluation.module, self):
                self._conclude(evaluation)
        description = self.ranks.first(None if self.failure else self.describe())
        if self.ranks.retired or description is None or evaluation is None:
            return
        with self.guard():
            self.build(description)
            self.values = self._told_by(evaluation, self.compute(evaluation))
            self.log_values(evaluation, self.values)
            if trainer.is_global_zero:
                self.show(evaluation, self.values)

    def pace(self, evaluation: EvaluationContext) -> float | None:
        """Seconds that the run's own steps take for an image; None where none was watched."""
        # of the first monitor, whose hook is not kept waiting by those of others
        return min((each._pace for each in monitors_of(evaluation.trainer) if each._pace), default=None)

    def _told_by(self, evaluation: EvaluationContext, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """The values, without those that a replay, or the images of the evaluation, cannot tell."""
        withheld: dict[str, str] = {}
        if self.replayed:
            withheld = {key: why for key in values if (why := self.why_not_replayed(key)) is not None}
        if evaluation.training:
            held_out = [key for key in values if any(match_key(each, key) is not None for each in self.held_out)]
            withheld |= dict.fromkeys(held_out, HELD_OUT)
        self.undefined |= withheld
        return values | {key: values[key].new_full((), torch.nan, dtype=torch.float64) for key in withheld}

    def why_not_replayed(self, statistic: str) -> str | None:
        """Why a figure is nan in a replay of checkpoints; None where it is not for that."""
        found = (why for key, why in self.not_replayed.items() if key == "*" or match_key(key, statistic) is not None)
        return next(found, None)

    # -- what is logged

    def key(self, statistic: str) -> str:
        """The logged key of one of this monitor's statistics; a name in it is escaped here, once.

        Raises:
            InputError: no term of the monitor explains it.
        """
        if statistic in self._keys:  # some hundred of them, at every evaluation
            return self._keys[statistic]
        term = find_term(self.terms, statistic)
        if term is None:
            fix = "Declare it in the monitor's terms: key, name, meaning, range and direction."
            raise InputError(type(self).__name__, "a logged figure without a term", repr(statistic), fix)
        family = term.key.removesuffix("*")
        name = statistic.removeprefix(family)
        key = f"failures/{self.name}/{family}{escape(name, type(self).__name__) if name else ''}"
        self._keys[statistic] = key
        return key

    def log_values(self, evaluation: EvaluationContext, values: Mapping[str, Tensor], *, now: bool = False) -> None:
        """Log scalars, the only way in which a monitor does; every rank must call it.

        All of them stand in ``trainer.callback_metrics``, where gates and rules find them. The loggers get those that
        :attr:`detail` asks for, each from the first evaluation on at which it is not nan.

        Args:
            evaluation: that they belong to.
            values: statistic -> value; (), equal on all ranks.
            now: send them to the loggers at once, as between evaluations, where ``self.log`` of a module waits for the
                end of its epoch.
        """
        plain = dict(zip(values, _as_floats(values), strict=True))
        logged = {self.key(statistic): value.float() for statistic, value in values.items()}
        short = {self.short_key(name): value for name, value in worst_of(self.terms, plain).items()}
        where = next(iter(logged.values()), torch.empty(0))
        logged |= {key: where.new_tensor(value) for key, value in short.items()}
        shown = set(plain) if self.detail == "full" else curves(self.terms, plain)
        known = {self.key(statistic): plain[statistic] for statistic in plain if statistic in shown} | short
        new = {key for key, value in known.items() if not math.isnan(value)} - self._defined
        self._defined |= new
        trainer = evaluation.trainer
        define_curves(trainer.loggers, sorted(new), curve_axis(trainer))
        curve = {key for key in known if key in self._defined}
        if now:
            log_scalars(evaluation.trainer.loggers, {key: known[key] for key in curve}, evaluation.logged_step)
            evaluation.trainer.callback_metrics.update(logged)
            return
        details = {key: value for key, value in logged.items() if key not in curve}
        evaluation.trainer.callback_metrics.update(details)  # not by log_dict, which may not become a curve later on
        evaluation.module.log_dict(
            {key: value for key, value in logged.items() if key in curve},
            sync_dist=evaluation.distributed,  # equal on all ranks already; Lightning warns without
            batch_size=1,
        )

    def short_key(self, name: str) -> str:
        """The logged key of a short name."""
        return f"failures/{name}" if self.name == self.noun else f"failures/{self.name}/{name}"

    def show(self, evaluation: EvaluationContext, values: Mapping[str, Tensor]) -> None:
        """Log what is no scalar: tables, and pictures as time allows; on rank zero."""
        self.publish(evaluation, values)
        pictures = self.draw(evaluation, {key: float(value) for key, value in values.items()})
        named = {f"failures/{self.name}/{key}": make for key, make in pictures.items()}
        self.pictures.draw(evaluation.trainer, named)


def _as_floats(values: Mapping[str, Tensor]) -> list[float]:
    """The values as numbers, with one wait for a device at most."""
    if not values:
        return []
    device = next(iter(values.values())).device
    together: list[float] = torch.stack(
        [value.detach().to(device, torch.float64) for value in values.values()]
    ).tolist()
    return together


def _share_storage(trainer: Trainer, start: str) -> None:
    """Make the figures whose keys start so parts of one tensor.

    A launcher of processes sends ``callback_metrics`` through a pipe that it reads only when they have ended: above 64
    KiB they wait for ever. Tensors of one storage take a third of what they take apart.
    """
    metrics = trainer.callback_metrics
    keys = [key for key in metrics if key.startswith(start)]
    if keys:
        together = torch.stack([metrics[key] for key in keys])
        metrics.update(zip(keys, together.unbind(), strict=True))


def monitors_of(trainer: Trainer) -> list[Monitor]:
    """The monitors among a trainer's callbacks."""
    return [callback for callback in trainer.callbacks if isinstance(callback, Monitor)]  # type: ignore[attr-defined]


def _checked(where: str, name: str) -> str:
    if not isinstance(name, str) or not name or any(character in name for character in '/*"') or name != name.strip():
        fix = 'Use a word without /, * and ", such as name="scanners".'
        raise InputError(where, "the name of a monitor cannot stand in a key", repr(name), fix)
    return name


def _shared_key(one: Monitor, other: Monitor) -> str | None:
    """A statistic that both log under the same key; None where there is none."""
    if one.name != other.name:
        return None
    if one.noun != other.noun:  # the rules of the one would read the figures of the other
        return next((term.key for term in (*one.terms, *other.terms)), "*")
    for mine in one.terms:
        for theirs in other.terms:
            if mine.matches(theirs.key) or theirs.matches(mine.key):
                return max(mine.key, theirs.key, key=len)
    return None
