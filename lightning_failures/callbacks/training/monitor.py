"""Whether the training step does what it is meant to do, live."""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Unpack, get_args

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.callbacks.monitor import NOT_REPLAYED, Monitor, MonitorOptions
from lightning_failures.callbacks.ranks import gather
from lightning_failures.callbacks.training.gradients import LeftOver, UnitGradients
from lightning_failures.callbacks.training.losses import LossCourse, LossStream
from lightning_failures.callbacks.training.origin import Origin, inputs_finite, locate, locate_gradient
from lightning_failures.callbacks.training.parameters import Membership, WatchedParameters, common_name, sample
from lightning_failures.callbacks.training.rules import RULES
from lightning_failures.callbacks.training.terms import TERMS
from lightning_failures.callbacks.training.updates import UpdateSums, distances, update_ratios, update_sums
from lightning_failures.errors import DiscoveryError, FailuresError, InputError
from lightning_failures.functional.duplicate_units import duplicate_units
from lightning_failures.observe.observation import Observation
from lightning_failures.observe.sharded_weights import refuse_sharded
from lightning_failures.observe.task import Kind

__all__ = ["TrainingMonitor"]

#: Of how many steps one is looked at in a short epoch, and every how many where nobody knows how many there are.
ONE_IN = 8
ANEW = 64

#: Losses after which they are read, so that a long epoch keeps few tensors.
READ_AFTER = 512

#: Share of dead or duplicate units from which a layer has a figure of its own.
STANDS_OUT = 0.1

#: Units and inputs by which duplicates are looked for, and inputs from which on they are.
MOST_UNITS, MOST_INPUTS, FEWEST_INPUTS = 128, 64, 32

#: Whose inputs are not finite.
TRAINING, VALIDATION = "training", "validation"

#: Figures that come from losses, gradients, updates or the optimizer of training steps.
OF_STEPS = (
    *("loss", "loss*", "distance/median", "learning_rate", "frozen", "never_moved", "never_moved/*"),
    "never_moved_weights",
    *("update_ratio/median", "update_ratio/smallest", "update_ratio/largest", "without_gradient"),
    *("without_gradient/*", "not_in_optimizer", "not_in_optimizer/*", "stale_parameters", "gradient_survives"),
    *("dead_units", "dead_units/*", "dead_outputs"),
)

NO_LOOK = "no training step was looked at since the evaluation before"


class TrainingMonitor(Monitor):
    """Logs, under ``failures/training/``, whether the training step itself is sound, whatever the task.

    *Not finite*: ``not_finite`` is the share of losses, or of evaluated images, that are not finite; where the first
    such number came from is one of ``not_finite_input/training``, ``not_finite_weight/<parameter>``,
    ``not_finite_activation/<layer>``, ``not_finite_loss/loss`` and ``not_finite_gradient/<parameter>``, with the step.
    On a CPU it is found at once, before the weights are spoilt. On an accelerator nobody waits for the device: the step
    and what broke first are known at the next evaluation, the layer often is not.

    *Updates*: ``update_ratio/median`` is the root mean square of an update over that of the weight;
    ``distance/median`` says how far the weights have come since the run began.

    *Parameters*: those that never moved though they were to, ``never_moved``; that never got a gradient,
    ``without_gradient``; that no optimizer holds, ``not_in_optimizer``; what an optimizer holds though the module has
    it no more, ``stale_parameters``. ``gradient_survives`` says how often a backward pass began with the gradient of
    the step before, as where ``zero_grad`` is forgotten.

    *Units*: ``dead_units/<layer>`` is the share of a layer's units whose bias got a gradient of exactly 0 at every
    step that was looked at, ``duplicate_units/<layer>`` that of the pairs of units whose weights point the same way;
    without a name it is the largest, and layers with a tenth or more have a figure of their own. ``dead_outputs`` is
    that share of the outputs of the last linear layer.

    *Loss*: its mean, its course over the last third of the run and its scatter, from what the step returned.

    Of an epoch a few steps are looked at, evenly spread. Weights are read by a sample of 256 numbers each. A module
    whose weights are spread over processes is watched by its losses and logits alone.

    Args:
        looks: most steps of an epoch that are looked at, one in eight of a short one; 1 or more.
        options: see :class:`.Monitor`.

    Raises:
        InputError: fewer than one look.

    Example:
        >>> TrainingMonitor(looks=4).key("update_ratio/median")
        'failures/training/update_ratio/median'
    """

    noun = "training"
    watches = "faults of the training step"
    tasks = get_args(Kind)
    terms = TERMS
    rules = RULES
    not_replayed: ClassVar[Mapping[str, str]] = dict.fromkeys(OF_STEPS, NOT_REPLAYED)

    def __init__(self, looks: int = 8, **options: Unpack[MonitorOptions]) -> None:
        super().__init__(**options)
        if looks < 1:
            raise InputError("TrainingMonitor", "looks is too small", f"looks={looks}", "Pass 1 or more.")
        self.looks = looks
        self.course = LossCourse()
        self.origin: Origin | None = None  #: of the first number that was not finite
        self._restart()

    def _restart(self) -> None:
        self.parameters: WatchedParameters | None = None
        self._refusal: str | None = None
        self._stream, self._inputs, self._gradients = LossStream(), LossStream(), LossStream()
        self._losses = [0.0, 0.0, 0.0]  # finite ones, their sum, and all since the evaluation before
        self._updates: UpdateSums | None = None
        self._matrices: list[int] = []  # parameters whose updates are looked at
        self._with_gradient: set[int] = set()
        self.left_over = LeftOver()
        self.units: UnitGradients | None = None
        self._stood_out: set[str] = set()  # figures of layers that stood out once
        self._told = False  # whether an optimizer's step was told of in the look
        self._strangers: set[int] = set()  # what got a gradient though only an optimizer holds it
        self._due: frozenset[int] = frozenset()
        self._before: tuple[int, Tensor] | None = None  # the step at which a look began, and the weights then
        self._batch: Any = None
        self._step = 0  # the global step at which the batch began
        self._loss: Tensor | None = None  # of the last backward pass of the batch
        self._sound = False  # whether its gradient was looked at, and is finite
        self._witnesses: dict[int, Tensor] = {}  # of each optimizer, the first parameter with a gradient
        self._foreign: dict[int, list[Tensor]] = {}  # of each optimizer, what the module does not have
        self._scales = False
        self._at_evaluation: dict[str, float] = {}
        self._counts, self._images = torch.zeros(2), 0  # broken scores and inputs, of so many images
        self._last: Any = None  # a batch of the evaluation whose logits may not be finite

    # -- the run

    @property
    def refusal(self) -> str | None:
        """Why the weights are not looked at."""
        return self._refusal

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a run."""
        super().on_fit_start(trainer, pl_module)
        self._restart()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep what the weights are before any step."""
        super().on_train_start(trainer, pl_module)
        if not self.idle:
            with self.guard():
                self._know(pl_module)
                # a scaler, as in mixed precision of 16 bits, leaves out the steps whose gradients overflow
                self._scales = getattr(trainer.precision_plugin, "scaler", None) is not None

    def _know(self, module: LightningModule) -> None:
        """Take the parameters as they are now for those that training begins with."""
        try:
            refuse_sharded(module)
        except DiscoveryError as error:
            self._refusal = str(error)
            return
        self.parameters = WatchedParameters(module)
        weights = self.parameters.weights
        self._matrices = [place for place, weight in enumerate(weights) if weight.ndim > 1] or [*range(len(weights))]
        self._updates, self._with_gradient = None, set()
        self.units = UnitGradients(self.parameters.names, weights)

    # -- a training step

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Read some of each weight where the step that comes is looked at."""
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        self._batch, self._step, self._loss, self._sound = batch, trainer.global_step, None, False
        if batch_idx == 0:
            self._due = due(trainer.num_training_batches, self.looks) | ({0} if self._step == 0 else set())
        if self._before is None and self._is_due(batch_idx) and not self.idle and self.parameters:
            with self.guard():
                self._before, self._told = (self._step, self._read()), False

    def _is_due(self, batch_idx: int) -> bool:
        return batch_idx in self._due if self._due else batch_idx % ANEW == 0

    def _read(self) -> Tensor:
        assert self.parameters is not None
        return sample([self.parameters.weights[place] for place in self._matrices])

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Keep the loss until the step is made, and see what is left of the gradients of the step before."""
        super().on_before_backward(trainer, pl_module, loss)
        if self.idle:
            return
        self._loss = loss
        if self.left_over.watching or not self.left_over.heard:
            with self.guard():
                self.left_over.backward_begins()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """See whether loss and gradient are finite, and in a step that is looked at who has one.

        On a CPU what is not is looked into at once: the weights are still those that gave it.
        """
        if self.idle:
            return
        if self._seeks:
            self._check_gradient(trainer, pl_module, optimizer)
        looked_at = self._before is not None
        if looked_at or self.left_over.watching:
            with self.guard():
                self.left_over.step_begins(optimizer, looked_at=looked_at)
                if looked_at:
                    self._note_gradients(optimizer)

    def _check_gradient(self, trainer: Trainer, module: LightningModule, optimizer: Optimizer) -> None:
        """See whether the gradient of the first layer is finite: to it all goes on that is not in a backward pass."""
        witness = self._witnesses.get(id(optimizer))
        if witness is None or witness.grad is None:
            witness = _first_with_gradient(optimizer)
        if witness is None or witness.grad is None or self._scales:
            return
        self._witnesses[id(optimizer)] = witness
        total = witness.grad.sum()
        if total.device.type != "cpu":
            self._gradients.add(total, self._step)
        elif _finite_now(total):
            self._sound = True
        else:
            with self.guard():
                if self._loss is not None and _finite_now(self._loss):
                    self.origin = locate_gradient(module, self._step)
                else:
                    self._locate(trainer, module, self._batch, TRAINING)

    def _note_gradients(self, optimizer: Optimizer | None) -> None:
        """Note which parameters have a gradient at all, and which units."""
        self._told = True
        if self.units is not None:
            self.units.look()
        if self.parameters is not None:
            weights = self.parameters.weights
            missing = set(range(len(weights))) - self._with_gradient
            self._with_gradient.update(place for place in missing if weights[place].grad is not None)
        if optimizer is None or self.parameters is None:
            return
        if id(optimizer) not in self._foreign:
            self._foreign[id(optimizer)] = list(self.parameters.membership([optimizer]).strangers)
        self._strangers.update(id(tensor) for tensor in self._foreign[id(optimizer)] if tensor.grad is not None)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss, and add what the step did to the weights where it is looked at."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self._batch = self._loss = None
        if self.idle:
            return
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor) and loss.numel() == 1:
            self._stream.add(loss, self._step)
            if loss.device.type != "cpu":
                with self.guard():
                    total = inputs_finite(batch)
                    if total is not None:
                        self._inputs.add(total, self._step)
            elif not self._sound and self._seeks and not _finite_now(loss):  # else read later, with those of others
                with self.guard():
                    self._locate(trainer, pl_module, batch, TRAINING)
        if len(self._stream) >= READ_AFTER:
            with self.guard():
                self._drain(trainer)
        ended = self._before is not None and trainer.global_step > self._before[0]
        if ended or self.left_over.watching:
            with self.guard():
                self._look(ended)

    def _look(self, ended: bool) -> None:
        """Where a look has ended, add what the steps since it began did."""
        assert self.parameters is not None
        moved = False
        if ended and self._before is not None:
            if not self._told:
                self._note_gradients(None)
            after = self._read()
            sums = update_sums(self._before[1], after)
            self._updates = sums if self._updates is None else self._updates.plus(sums)
            moved = not self.left_over.heard and not torch.equal(self._before[1], after)
            self._before = None
        self.left_over.step_ends(self.parameters.weights, looked_at=moved)

    def _learn(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any) -> None:
        """Look at the first training batch as others do; what is not found there is not needed here."""
        if self._listens:
            with suppress(FailuresError):
                self.probe.observe(module, outputs, batch)
            self._tell(trainer)
            self.probe.learned = True

    # -- what is not finite

    @property
    def _seeks(self) -> bool:
        """Whether nothing of the training was found yet that is not finite."""
        return self.origin is None or self.origin.name == VALIDATION

    def _locate(self, trainer: Trainer, module: LightningModule, batch: Any, whose: str) -> None:
        """Find the origin of a number that is not finite in a step with this batch."""
        evaluation = EvaluationContext.of(trainer, module)
        inputs = None
        with suppress(FailuresError):
            inputs = self.probe.read_batch(batch).inputs if self.probe.discovered else None

        def run() -> None:
            assert inputs is not None
            self.probe.runnable(module)(inputs.clone())

        # batch norm over all processes would wait for those whose losses are finite
        alone = trainer.world_size == 1 or not module.training
        with self.probe.paused():
            again = run if inputs is not None and alone else None
            step = self._step if whose == TRAINING else trainer.global_step
            self.origin = locate(module, batch, step, evaluation, again, whose)

    def _drain(self, trainer: Trainer) -> None:
        """Read the losses since the last time."""
        losses, scale = self._stream.read(), trainer.accumulate_grad_batches
        for step, loss in losses:
            self._losses[2] += 1
            if math.isfinite(loss):
                self._losses[0] += 1
                self._losses[1] += loss * scale  # Lightning divides it by the batches that are accumulated
            elif self._seeks:
                self.origin = self._late(step)
            self.course.add(loss * scale)
        self._inputs.read()
        self._gradients.read()

    def _late(self, step: int) -> Origin:
        """The origin of a loss that was not finite, found out after the step; on an accelerator."""
        inputs = (each for each, total in self._inputs.read() if not math.isfinite(total))
        gradients = (each for each, total in self._gradients.read() if not math.isfinite(total))
        broken, torn = next(inputs, math.inf), next(gradients, math.inf)
        if broken <= min(step, torn):
            return Origin(int(broken), "input", TRAINING)
        return Origin(int(torn), "gradient", "the whole module") if torn < step else Origin(step, "loss", "loss")

    # -- an evaluation

    def begin(self, evaluation: EvaluationContext) -> None:
        """Read the weights as training left them: callbacks may put averaged ones in their place after this."""
        self._counts, self._images = torch.zeros(2, device=evaluation.device), 0
        self._last = None
        self._at_evaluation = {}
        if evaluation.fitting and not evaluation.training:
            self._read_weights(evaluation)

    def _see(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int
    ) -> None:
        """Count what is not finite, also of a batch that the probe cannot read."""
        evaluation = self._evaluation
        if self.idle or dataloader_idx != 0 or evaluation is None or self._silent(evaluation, outputs):
            return
        with self.guard():
            seen = Observation(batch)
            with suppress(FailuresError):
                seen = self.probe.observe(module, outputs, batch, final=not trainer.sanity_checking)
                self._tell(trainer)
            if not trainer.sanity_checking and seen.images and not evaluation.training:
                self.update(evaluation, seen, batch_idx)
            if evaluation.world_size == 1 and not evaluation.training and batch_idx + 1 == evaluation.batches:
                self._conclude(evaluation)

    def update(self, evaluation: EvaluationContext, seen: Observation, batch_idx: int) -> None:
        """Count images whose logits or inputs are not finite."""
        scores = _broken_rows(seen.logits if seen.logits is not None else seen.errors)
        inputs = _broken_rows(seen.inputs)
        self._images += seen.images
        for place, broken in enumerate((scores, inputs)):
            if broken is not None:
                self._counts[place] += broken
        if self.origin is None and scores is not None:
            self._last = seen.batch  # of a device that would have to be waited for, the last one

    def conclude(self, evaluation: EvaluationContext) -> None:
        """Find out where logits that are not finite came from."""
        if evaluation.training:
            self._read_weights(evaluation)
        self._drain(evaluation.trainer)
        if self.origin is None and self._last is not None and float(self._counts[0]) > 0:
            self._locate(evaluation.trainer, evaluation.module, self._last, VALIDATION)
        self._last = None

    def _read_weights(self, evaluation: EvaluationContext) -> None:
        """What the parameters are by now."""
        if self._refusal is not None:
            return
        if self.parameters is None or not self.parameters.is_of(evaluation.module):
            self._know(evaluation.module)
        if self.parameters is None or not len(self.parameters):
            return
        optimizers = getattr(evaluation.trainer, "optimizers", None)  # a loop by hand tells of none
        self._at_evaluation = self._describe_parameters(self.parameters, optimizers, evaluation.step)

    def _describe_parameters(
        self, parameters: WatchedParameters, optimizers: Sequence[Optimizer] | None, step: int
    ) -> dict[str, float]:
        now = self._read()
        membership = parameters.membership(optimizers)
        moved = parameters.moved()
        values = self._membership_figures(parameters, membership, moved)
        trained = torch.tensor([place in membership.trained for place in self._matrices], device=now.device)
        far = distances(parameters.start[self._matrices], now)
        known = far[trained & far.isfinite()]
        values["distance/median"] = float(known.median()) if len(known) else math.nan
        rates = [float(group["lr"]) for each in optimizers or () for group in each.param_groups if "lr" in group]
        values["learning_rate"] = max(rates, default=math.nan)
        values |= self._update_figures(moved) | self._unit_figures(parameters)
        values["gradient_survives"] = self.left_over.share()
        if self._seeks and not bool(now.isfinite().all()):
            place = int((~now.isfinite()).any(1).nonzero()[0])
            self.origin = Origin(step, "weight", parameters.names[self._matrices[place]])
        return values

    def _membership_figures(
        self, parameters: WatchedParameters, membership: Membership, moved: Sequence[bool]
    ) -> dict[str, float]:
        """Shares of the numbers that nobody moves, and how many tensors they are under a name of their own."""
        trained, held, everything = membership.trained, membership.held, range(len(parameters))
        still = [place for place in sorted(trained) if not moved[place]]
        values = {
            "frozen": parameters.share(set(everything) - trained, everything),
            "never_moved": parameters.share(still, trained),
            "never_moved_weights": math.nan,
            "without_gradient": math.nan,
            "not_in_optimizer": math.nan,
            "stale_parameters": math.nan,
        }
        got = self._with_gradient
        named: dict[str, Iterable[int]] = {}
        if got:
            named["never_moved"] = [place for place in still if place in got and (held is None or place in held)]
            values["never_moved_weights"] = float(len({*named["never_moved"]} & {*self._matrices}))
            idle = [place for place in sorted(trained) if place not in got and (held is None or place in held)]
            values["without_gradient"], named["without_gradient"] = parameters.share(idle, trained), idle
        if held is not None:
            outside = trained - held
            values["not_in_optimizer"] = parameters.share(outside, trained)
            named["not_in_optimizer"] = sorted(outside & got)
            stale = [tensor for tensor in membership.strangers if id(tensor) not in self._strangers]
            values["stale_parameters"] = float(len(stale)) if got else math.nan
        for statistic, places in named.items():
            if names := [parameters.names[place] for place in places]:
                values[f"{statistic}/{common_name(names)}"] = float(len(names))
        return values

    def _update_figures(self, moved: Sequence[bool]) -> dict[str, float]:
        """The update of each weight over the weight, since the evaluation before."""
        values = dict.fromkeys(("update_ratio/median", "update_ratio/smallest", "update_ratio/largest"), math.nan)
        if self._updates is None:
            return values
        ratios = update_ratios(self._updates).tolist()
        pairs = zip(self._matrices, ratios, strict=True)
        known = [each for place, each in pairs if moved[place] and math.isfinite(each)]
        self._updates = None
        if known:
            sizes = torch.tensor(known)
            values = dict(zip(values, map(float, (sizes.median(), sizes.min(), sizes.max())), strict=True))
        return values

    def _unit_figures(self, parameters: WatchedParameters) -> dict[str, float]:
        """Units without a gradient and units that are alike, in the worst layer and in those that stand out."""
        found = {
            "dead_units": {} if self.units is None else dict(self.units.dead()),
            "duplicate_units": {
                _layer(parameters.names[place]): float(duplicate_units(_some(parameters.weights[place])))
                for place in self._matrices
                if _compares(parameters.weights[place])
            },
        }
        values: dict[str, float] = {}
        for statistic, shares in found.items():
            known = {layer: share for layer, share in shares.items() if math.isfinite(share)}
            values[statistic] = max(known.values(), default=math.nan)
            if statistic == "dead_units":
                values["dead_outputs"] = known.get(self.probe.head or "", math.nan)
            for layer, share in known.items():
                key = f"{statistic}/{layer}"
                if share >= STANDS_OUT or key in self._stood_out:  # one that stood out is followed from then on
                    self._stood_out.add(key)
                    values[key] = share
        return values

    def describe(self) -> Any:
        """There is always something to be told."""
        return True

    def build(self, description: Any) -> None:
        """Nothing has to be made first."""

    def compute(self, evaluation: EvaluationContext) -> dict[str, Tensor]:
        """What broke first on any process, and the figures of losses, updates and parameters."""
        course = self.course.figures() if evaluation.fitting else {}
        sums = (*self._losses, *self._counts.tolist(), self._images)
        told = gather((self.origin, sums, course | self._at_evaluation))
        self.origin = Origin.earliest(origin for origin, *_ in told)
        finite, total, losses, logits, inputs, images = (sum(each[1][place] for each in told) for place in range(6))
        shares = {
            "loss_not_finite": 1 - finite / losses if losses else math.nan,
            "logits_not_finite": logits / images if images else math.nan,
            "inputs_not_finite": inputs / images if images else math.nan,
        }
        broken = [shares[key] for key in ("loss_not_finite", "logits_not_finite") if not math.isnan(shares[key])]
        values = _means([each[2] for each in told]) | {"not_finite": max(broken, default=math.nan)}
        if max(*broken, inputs, 0) > 0:
            values |= shares
        if evaluation.fitting:
            values["loss"] = total / finite if finite else math.nan
            first = values["loss_initial"]
            values["loss_ratio"] = values["loss"] / first if first > 0 else math.nan
            self._losses = [0.0, 0.0, 0.0]
        if self.origin is not None:
            values[self.origin.statistic] = float(self.origin.step)
            if values["not_finite"] == 0:  # it is over: what comes next has an origin of its own
                self.origin = None
        self.undefined = {key: why_nan(key) for key, value in values.items() if math.isnan(value)}
        return {key: torch.tensor(value, dtype=torch.float64) for key, value in values.items()}

    # -- resume

    def state_dict(self) -> dict[str, Any]:
        """The course of the losses and what broke first; plain containers."""
        return {"course": self.course.state_dict(), "origin": None if self.origin is None else tuple(self.origin)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint stood."""
        self.course = LossCourse.from_state(state_dict["course"])
        self.origin = None if state_dict["origin"] is None else Origin(*state_dict["origin"])


def due(batches: float, looks: int) -> frozenset[int]:
    """The batches of an epoch that are looked at: one in eight and ``looks`` at most, evenly spread; none unknown.

    Example:
        >>> sorted(due(21, 8)), sorted(due(100, 4)), sorted(due(3, 8)), sorted(due(math.inf, 8))
        ([3, 10, 17], [12, 37, 62, 87], [1], [])
    """
    if not math.isfinite(batches):
        return frozenset()
    count = min(looks, math.ceil(batches / ONE_IN))
    return frozenset(int((place + 0.5) * batches / count) for place in range(count))


def why_nan(key: str) -> str:
    """Why a figure is nan."""
    if key.startswith(("loss_slope", "loss_straightness", "loss_noise")):
        return "the last third of the run is of fewer than eight finite losses"
    if key == "loss_ratio":
        return "the first losses are not above 0, or there is no finite one since"
    if key.startswith("loss") or key == "not_finite":
        return "the training step returned no finite loss of one number"
    if key.startswith(("logits", "inputs")):
        return "no batch of the evaluation could be read"
    if key in ("learning_rate", "not_in_optimizer"):
        return "no optimizer is known"
    if key == "duplicate_units":
        return "no layer has two units with 32 inputs or more"
    return NO_LOOK


def _layer(name: str) -> str:
    """The layer that a parameter is of."""
    return name.rpartition(".")[0] or name


def _compares(weight: Tensor) -> bool:
    """Whether units of a weight can be compared: the few weights of small units are alike by chance."""
    return weight.ndim > 1 and len(weight) > 1 and weight[0].numel() >= FEWEST_INPUTS


def _some(weight: Tensor) -> Tensor:
    """Some inputs of some units; (d q)."""
    rows = weight.detach()[:MOST_UNITS].flatten(1)
    return rows[:, :: max(1, rows.shape[1] // MOST_INPUTS)][:, :MOST_INPUTS]


def _finite_now(value: Tensor) -> bool:
    """Whether a number is finite, where it is there to be read; True where a device would have to be waited for."""
    return value.device.type != "cpu" or value.numel() != 1 or math.isfinite(value.detach().item())


def _first_with_gradient(optimizer: Optimizer) -> Tensor | None:
    """The first parameter that has a gradient which can be added up."""
    tensors = (tensor for group in optimizer.param_groups for tensor in group["params"])
    known = (each for each in tensors if each.grad is not None and each.grad.layout == torch.strided)
    return next(known, None)


def _broken_rows(values: Tensor | None) -> Tensor | None:
    """How many rows hold a number that is not finite; (), None where it is known at once that none does."""
    if values is None or not values.is_floating_point():
        return None
    values = values.detach()
    if values.device.type == "cpu" and math.isfinite(values.sum(dtype=torch.float32).item()):
        return None
    return (~values.reshape(len(values), -1).sum(1, dtype=torch.float32).isfinite()).sum().float()


def _means(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each figure over the processes that know it; nan where none does."""
    values: dict[str, list[float]] = {}
    for each in figures:
        for key, value in each.items():
            values.setdefault(key, []).append(value)
    known = {key: [value for value in each if not math.isnan(value)] for key, each in values.items()}
    return {key: sum(each) / len(each) if each else math.nan for key, each in known.items()}
