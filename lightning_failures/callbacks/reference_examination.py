"""The examination of a model on a fixed reference batch: kept once, run again at a cadence and within a budget."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightning_failures.callbacks.budget import Budget
from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.errors import DiscoveryError, InputError
from lightning_failures.observe.entry import Runnable
from lightning_failures.observe.observation import Observation
from lightning_failures.observe.reference_batch import ReferenceBatch
from lightning_failures.observe.rerun import by_chance, check_rerun, rerun
from lightning_failures.observe.sharded_weights import refuse_sharded
from lightning_failures.observe.undisturbed import undisturbed

__all__ = ["ALONE", "ReferenceExamination"]

#: Seconds that each monitor may examine an evaluation outside of a ``fit``, which has no training to go by.
ALONE = 5.0

#: Part of its turn that an examination takes before the end of a run, so that later ones find something too; and of one
#: so early that no rule counts it.
OF_TURN, OF_EARLY_TURN = 0.5, 0.1

#: How much longer than a pass of the run's own steps one of an examination is expected to take until one was timed.
UNTRIED = 1.5

NOT_FINITE = "every image of the reference batch holds NaN or infinity"
FEWEST = 32  # images of an examination, where the reference batch has as many
CHECKED = 8  # images that are run to see whether their logits come again
UNCHECKED = (
    "no submodule takes the inputs and gives the logits, and without a validation there are no logits that a rerun of "
    "the module's own forward could be held against"
)

#: Extra work on a model and this rank's part of the reference batch; see :meth:`ReferenceExamination.run`.
Examine = Callable[[Callable[[Tensor], Tensor], Tensor], float | None]


class ReferenceExamination:
    """Keeps a reference batch from the first evaluation of a ``fit``, and runs the model on it at later ones.

    An evaluation outside of a ``fit`` has a batch of its own.

    Whether an evaluation is examined is one decision of all ranks: every ``every_n_epochs``, and while its turn of the
    :class:`.Budget` is not spent. How many images it takes follows from what a pass of an image takes, as the steps of
    the run and the examinations so far had it. Before the end of a run it takes half of its turn; what the last
    evaluation left has all of it. An evaluation outside of a ``fit`` is examined for five seconds at most.

    The module is run again as the step ran it, checked once against the logits that the step gave. Where training
    batches stand in for validation, it is run only where a submodule took the inputs and gave the logits: dropout and
    the optimizer's step leave nothing to check by.

    An examination takes as many images of the reference batch, evenly spread, as fit into what is left; with fewer than
    32 it waits for a later evaluation. Images that hold NaN or infinity are never examined, :attr:`left_out`.

    Args:
        where: the public name that was called, for errors.
        name: of the monitor, to which the time is charged.
        images: size of the reference batch, over all ranks; 2 or more.
        budget: says how long an examination may take.
        every_n_epochs: cadence; 1 or more.
        by_chance: whether a module is examined too that is validated in training mode, in which its logits do not come
            again and cannot be checked.

    Raises:
        InputError: a size or a cadence that is too small.
    """

    def __init__(
        self,
        where: str,
        name: str,
        budget: Budget,
        *,
        images: int = 256,
        every_n_epochs: int = 1,
        by_chance: bool = False,
    ) -> None:
        for option, value, least in (("images", images, 2), ("every_n_epochs", every_n_epochs, 1)):
            if value < least:
                raise InputError(where, f"{option} is too small", f"{option}={value}", f"Pass {least} or more.")
        self.where, self.images, self.every_n_epochs = where, images, every_n_epochs
        self.name, self.budget = name, budget
        self._by_chance = by_chance
        self.batch: ReferenceBatch | None = None
        self.turned = False  #: whether the cadence has come to this evaluation
        self.due = False  #: whether this evaluation is examined; the same on all ranks
        self.why_not: str | None = None  #: why it is not
        self.examined = False  #: whether it was, on this rank
        self.seconds = math.inf  #: that this examination may take
        self.final = False  #: whether none comes after it: at the end of a run, or outside of a ``fit``
        self.refusal: str | None = None  #: why the module cannot be run again at all
        self._checked = False
        self._taken: Tensor | None = None  # rows of the batch that are examined
        self._of_fit: ReferenceBatch | None = None  # while another evaluation has a batch of its own
        self._last = self._early = False
        self._pass = 0.0  # seconds that a pass of an image took in the last examination
        self._logits_now = False  # whether its logits are those of this evaluation
        self._in_training_mode = False  # while it was evaluated

    def begin(
        self, evaluation: EvaluationContext, agree: Callable[[Any], Any], ready: bool = True, early: bool = False
    ) -> None:
        """Decide, together, whether this evaluation is examined.

        Args:
            evaluation: that begins.
            agree: what all ranks agree on, of what each of them says.
            ready: whether there is something to examine; the same on all ranks.
            early: whether no rule counts this evaluation yet, so that later ones are worth more.
        """
        self.turned = turn = not evaluation.fitting or evaluation.epoch % self.every_n_epochs == 0
        self.why_not = None if turn else f"examined every {self.every_n_epochs} epochs"
        self.examined, self._last, self._in_training_mode = False, False, evaluation.module.training
        self._early, self.final = early and evaluation.fitting, not evaluation.fitting
        refused = agree("" if self.final or self.budget.turn(self.name) > 0 else self.budget.why)
        if turn and refused:
            self.why_not = refused
        try:
            refuse_sharded(evaluation.module)
        except DiscoveryError as error:
            self.refusal = str(error)
        self.due = turn and not refused and ready and self.refusal is None
        if evaluation.fitting:
            self.batch, self._of_fit = self._of_fit or self.batch, None
        elif self.batch is not None:  # what is found of test images is of these, and not of those of validation
            self._of_fit, self.batch = self._of_fit or self.batch, None
        if self.batch is None:
            self.batch = ReferenceBatch(self.share(evaluation))
        self._logits_now = not self.batch.complete
        if self._logits_now:
            self.batch.begin(evaluation.batches)

    def turn(self, pace: float | None = None) -> float:
        """Forward passes of an image that this examination may take.

        Args:
            pace: seconds that one takes in the run's own steps; None: not known.
        """
        one = self._pass_takes(pace)
        return self._of_turn * self._allowed() / one if one else math.inf

    @property
    def _of_turn(self) -> float:
        """Part of its turn that this examination takes."""
        return 1.0 if self.final else OF_EARLY_TURN if self._early else OF_TURN

    def _pass_takes(self, pace: float | None) -> float:
        """Seconds that a forward pass of an image is expected to take; 0 where that is not known."""
        return max(self._pass, pace or 0.0) if self._pass else UNTRIED * (pace or 0.0)

    def _allowed(self, least: float = 0.0) -> float:
        """Seconds that are left for it; with fewer than the least it finds nothing."""
        if self.final and not self._last:
            return ALONE
        return self.budget.turn(self.name, last=self._last, least=least)

    @property
    def left_over(self) -> bool:
        """Whether the last evaluation was not examined, though it can be."""
        possible = self.refusal is None and self.why_not != NOT_FINITE
        return not self.examined and possible and self.batch is not None and self.batch.kept > 0

    @property
    def left_out(self) -> dict[str, str]:
        """Images of this rank's reference batch that are never examined, in words, and why; empty without any."""
        finite = None if self.batch is None else self.batch.finite
        if finite is None or bool(finite.all()):
            return {}
        return {f"{int((~finite).sum())} of {len(finite)} images of the reference batch": "NaN or infinity in them"}

    def begin_last(self) -> None:
        """Examine what was last evaluated, at the end of a run, with all that is left."""
        self._last, self.final, self._early = True, True, False
        self._logits_now, self.due, self.why_not = False, True, None

    def share(self, evaluation: EvaluationContext) -> int:
        """Images of the reference batch on each rank."""
        return -(-self.images // evaluation.world_size)

    def keep(
        self, seen: Observation, logits: Tensor, factors: Tensor | None = None, groups: Tensor | None = None
    ) -> None:
        """Keep some images of one batch, where the reference batch is not complete yet.

        Args:
            seen: the batch.
            logits: that the step gave.
            factors: which of them each image carries; (n f), bool.
            groups: which images belong together; (n), int64.
        """
        if self.batch is not None and self.refusal is None:
            self.batch.add(seen.require_inputs(self.where), logits, seen.targets, factors, groups)

    def run(
        self,
        evaluation: EvaluationContext,
        model: nn.Module,
        examine: Examine,
        passes: float,
        pace: float | None,
    ) -> None:
        """Examine the model, where that is due; and see at the first evaluation whether it can be run again.

        Args:
            evaluation: that ends.
            model: from inputs to logits, see :meth:`.Probe.runnable`.
            examine: extra work, given a function from inputs to logits, without gradients, and this rank's part of the
                reference batch on the module's device; (n b h w). It gives how often it ran each image, or None: as
                often as was said.
            passes: how often it is going to run each image.
            pace: seconds that a pass of an image takes; None: not known.
        """
        if self.batch is None or not self.batch.kept:
            return
        images = self._fitting(self.batch.kept, passes, pace) if self.due else None
        if self.due and images is None:
            self.why_not = self.budget.why
        examined = images is not None
        if images is None:
            images = min(CHECKED, self.batch.kept)
            known = self._checked or not self._logits_now or evaluation.training or self.refusal is not None
            if known or images > self.turn(pace) / OF_TURN:
                return
            # while its logits are those of this evaluation, so that the end of the run can be examined
        with self.budget.pause():
            _wait_for(evaluation.device)
        with self.budget.spend(self.name, "examination"):
            before = self.budget.seconds(self.name, "examination")
            done = self._run(evaluation, model, examine if examined else None, images)
            _wait_for(evaluation.device)
            if self.examined:
                took = self.budget.seconds(self.name, "examination") - before
                self._pass = took / (images * max(1.0, passes if done is None else done))

    def _run(
        self,
        evaluation: EvaluationContext,
        model: nn.Module,
        examine: Examine | None,
        images: int,
    ) -> float | None:
        """Check some images where that is to be done, and examine so many; see ``examine`` of :meth:`run`."""
        assert self.batch is not None
        self.batch.fix()
        if self.batch.inputs is None or self.batch.logits is None:
            return None
        self._taken = torch.linspace(0, len(self.batch.inputs) - 1, images).round().long()
        again = rerun(evaluation.module, model, evaluation.precision)
        if evaluation.training or not (self._checked or self._logits_now):
            self.refusal = None if isinstance(model, Runnable) and model.known else UNCHECKED
        elif not (self._last or self._checked):  # at the end, what was not checked at an evaluation is not examined
            self._checked = True
            if not (self._by_chance and by_chance(evaluation.module)):
                self._check(evaluation, again, model)
        if self.refusal is None and examine is not None:
            return self._examine(evaluation, again, examine)
        return None

    def _check(self, evaluation: EvaluationContext, again: Callable[[Tensor], Tensor], model: nn.Module) -> None:
        """See whether the logits of some images come again."""
        assert self._taken is not None
        assert self.batch is not None
        assert self.batch.logits is not None
        taken, self._taken = self._taken, self._taken[:: -(-len(self._taken) // CHECKED)]
        logits = self.batch.logits[self._taken].to(evaluation.device)
        try:
            check_rerun(again, self.inputs(evaluation.device), logits, evaluation.module, model)
        except DiscoveryError as error:
            self.refusal = str(error)
        self._taken = taken

    def _examine(
        self,
        evaluation: EvaluationContext,
        model: Callable[[Tensor], Tensor],
        examine: Examine,
    ) -> float | None:
        """Examine the finite ones of the images that were taken."""
        assert self.batch is not None
        assert self.batch.finite is not None
        assert self._taken is not None
        self._taken = self._taken[self.batch.finite[self._taken]]
        if not len(self._taken):
            self.why_not = NOT_FINITE
            return None
        with self.alone(evaluation):
            done = examine(model, self.inputs(evaluation.device))
        self.examined = True
        return done

    def alone(self, evaluation: EvaluationContext) -> AbstractContextManager[None]:
        """What an examination runs in: nothing of the module is changed, and nobody else's hook is called."""
        evaluating = evaluation.training or (self._last and not self._in_training_mode)
        mode: Literal["eval", "own"] = "eval" if evaluating else "own"
        return undisturbed(evaluation.module, evaluation.device, mode=mode, hooks="own")

    def _fitting(self, images: int, passes: float, pace: float | None) -> int | None:
        """How many of so many images can be examined; None where they are too few."""
        least, one = min(FEWEST, images), self._pass_takes(pace)
        allowed = self._allowed(least * passes * one)
        turn = self._of_turn * allowed / (passes * one) if one else math.inf
        whole = turn / OF_TURN if not (self.final or self._early) else turn
        most = max(turn, min(whole, least))
        self.seconds = allowed * (1.0 if self.final or most > turn else OF_TURN)
        return None if most < least else int(min(images, most))

    def inputs(self, device: torch.device) -> Tensor:
        """This rank's images of the reference batch that are examined; (n b h w)."""
        assert self.batch is not None
        assert self.batch.inputs is not None
        return (self.batch.inputs if self._taken is None else self.batch.inputs[self._taken]).to(device)

    @property
    def targets(self) -> Tensor | None:
        """Their labels, on the CPU; None where there are none."""
        targets = None if self.batch is None else self.batch.targets
        return targets if targets is None or self._taken is None else targets[self._taken]

    @property
    def factors(self) -> Tensor | None:
        """Which factors they carry, on the CPU; (n f), bool; None where nobody said."""
        factors = None if self.batch is None else self.batch.factors
        return factors if factors is None or self._taken is None else factors[self._taken]

    @property
    def groups(self) -> Tensor | None:
        """Which of them belong together, on the CPU; (n), int64; None where nobody said."""
        groups = None if self.batch is None else self.batch.groups
        return groups if groups is None or self._taken is None else groups[self._taken]

    def reasons(self, undefined: dict[str, str]) -> dict[str, str]:
        """The reasons of a metric of this examination, or why it did not take place."""
        why = self.refusal or self.why_not
        return undefined if why is None else dict.fromkeys(undefined, why)


def _wait_for(device: torch.device) -> None:
    """Until a device is done, so that what is timed is what was asked for; once at an evaluation's end."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
