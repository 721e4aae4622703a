"""The examination of a model on a fixed reference batch: kept once, run again at a cadence and within a budget."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightning_failures.callbacks.budget import LAST, last_limit
from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.callbacks.ration import Ration, progress
from lightning_failures.errors import DiscoveryError, InputError
from lightning_failures.observe.entry import Runnable
from lightning_failures.observe.observation import Observation
from lightning_failures.observe.reference_batch import ReferenceBatch
from lightning_failures.observe.rerun import by_chance, check_rerun, rerun
from lightning_failures.observe.sharded_weights import refuse_sharded
from lightning_failures.observe.undisturbed import undisturbed

__all__ = ["BRAKED", "NO_TIME", "SPENT", "ReferenceExamination"]

#: Why an evaluation is not examined.
SPENT = "the budget of extra forward passes was spent"
BRAKED = "the extra work took far longer than its share of the run's time, so the clock stopped it"
NO_TIME = "the last examination of the run had no time left for it"
NOT_FINITE = "every image of the reference batch holds NaN or infinity"
FEWEST = 32  # images of an examination, where the reference batch has as many
UNCHECKED = (
    "no submodule takes the inputs and gives the logits, and without a validation there are no logits that a rerun of "
    "the module's own forward could be held against"
)


class ReferenceExamination:
    """Keeps a reference batch from the first evaluation of a ``fit``, and runs the model on it at later ones.

    An evaluation outside of a ``fit`` has a batch of its own.

    Whether an evaluation is examined is one decision of all ranks: every ``every_n_epochs``, and while the extra
    forward passes are fewer than ``budget`` of the run's own, see :class:`.Ration`: they are counted, so that a run on
    a slow machine examines the same evaluations as one on a fast machine. An evaluation outside of a ``fit``, and what
    the last one of a run left, are examined whatever the budget, for some seconds at most, see :func:`.last_limit`.

    The module is run again as the step ran it, checked once against the logits that the step gave. Where training
    batches stand in for validation, it is run only where a submodule took the inputs and gave the logits: dropout and
    the optimizer's step leave nothing to check by.

    An examination takes as many images of the reference batch, evenly spread, as fit into what is left; with fewer than
    32 it waits for a later evaluation. Images that hold NaN or infinity are never examined, :attr:`left_out`.

    Args:
        where: the public name that was called, for errors.
        images: size of the reference batch, over all ranks; 2 or more.
        budget: extra forward passes over those of the run itself; 0.05 is five percent.
        every_n_epochs: cadence; 1 or more.
        by_chance: whether a module is examined too that is validated in training mode, in which its logits do not come
            again and cannot be checked.

    Raises:
        InputError: a size or a cadence that is too small.
    """

    def __init__(
        self,
        where: str,
        *,
        images: int = 256,
        budget: float = 0.05,
        every_n_epochs: int = 1,
        by_chance: bool = False,
    ) -> None:
        for name, value, least in (("images", images, 2), ("every_n_epochs", every_n_epochs, 1)):
            if value < least:
                raise InputError(where, f"{name} is too small", f"{name}={value}", f"Pass {least} or more.")
        self.where, self.images, self.every_n_epochs = where, images, every_n_epochs
        self._by_chance = by_chance
        self.budget = Ration(budget)
        self.batch: ReferenceBatch | None = None
        self.due = False  #: whether this evaluation is examined; the same on all ranks
        self.why_not: str | None = None  #: why it is not
        self.examined = False  #: whether it was, on this rank
        self.seconds: float | None = None  #: that this examination may take; None: it goes by the budget
        self.refusal: str | None = None  #: why the module cannot be run again at all
        self._checked = False
        self._taken: Tensor | None = None  # rows of the batch that are examined
        self._of_fit: ReferenceBatch | None = None  # while another evaluation has a batch of its own
        self._last = False
        self._logits_now = False  # whether its logits are those of this evaluation
        self._in_training_mode = False  # while it was evaluated

    def begin(self, evaluation: EvaluationContext, agree: Callable[[Any], Any], ready: bool = True) -> None:
        """Decide, together, whether this evaluation is examined.

        Args:
            evaluation: that begins.
            agree: what all ranks agree on, of what each of them says.
            ready: whether there is something to examine; the same on all ranks.
        """
        turn = not evaluation.fitting or evaluation.epoch % self.every_n_epochs == 0
        self.why_not = None if turn else f"examined every {self.every_n_epochs} epochs"
        self.examined, self._last, self._in_training_mode = False, False, evaluation.module.training
        self.seconds = None if evaluation.fitting else LAST
        refused = agree(self._refused(evaluation) or "")
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

    def _refused(self, evaluation: EvaluationContext) -> str | None:
        """Why there is nothing left for an evaluation; None where there is."""
        if not evaluation.fitting:
            return None
        done = progress(evaluation.trainer)
        self.budget.own, self.budget.expected = evaluation.own, evaluation.own / done if done > 0 else math.inf
        if self.budget.braked:
            return BRAKED
        return None if self.budget.allows else SPENT

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

    def begin_last(self, taken: float) -> None:
        """Examine what was last evaluated, at the end of a run, whatever the budget.

        Args:
            taken: seconds that all monitors took so far.
        """
        self._last, self._logits_now, self.due, self.why_not = True, False, True, None
        self.seconds = last_limit(self.budget.clock.elapsed, taken)

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
        examine: Callable[[Callable[[Tensor], Tensor], Tensor], None],
        passes: float,
        pace: float | None,
    ) -> None:
        """Examine the model, where that is due; and see at the first evaluation whether it can be run again.

        Args:
            evaluation: that ends.
            model: from inputs to logits, see :meth:`.Probe.runnable`.
            examine: extra work, given a function from inputs to logits, without gradients, and this rank's part of the
                reference batch on the module's device; (n b h w).
            passes: how often it runs each image.
            pace: seconds that a pass of an image takes; None: not known.
        """
        if self.batch is None or not self.batch.kept:
            return
        images = None
        passes += not self._checked
        if self.due:
            images = self._fitting(self.batch.kept, passes, pace)
            if images is None:
                self.why_not = SPENT if self.seconds is None else NO_TIME
        examined = images is not None
        if images is None:
            if self._checked or not self._logits_now or evaluation.training or self.refusal is not None:
                return
            # while its logits are those of this evaluation, so that the end of the run can be examined
            images, passes = min(FEWEST, self.batch.kept), 1.0
        with self.budget.spend(passes * images):
            self.batch.fix()
            if self.batch.inputs is None or self.batch.logits is None:
                return
            self._taken = torch.linspace(0, len(self.batch.inputs) - 1, images).round().long()
            inputs = self.inputs(evaluation.device)
            again = rerun(evaluation.module, model, evaluation.precision)
            if evaluation.training or not (self._checked or self._logits_now):
                self.refusal = None if isinstance(model, Runnable) and model.known else UNCHECKED
            elif self._last:
                pass  # checked at an evaluation
            elif self._by_chance and by_chance(evaluation.module):
                self._checked = True
            elif not self._checked:
                self._checked = True
                try:
                    logits = self.batch.logits[self._taken].to(evaluation.device)
                    check_rerun(again, inputs, logits, evaluation.module, model)
                except DiscoveryError as error:
                    self.refusal = str(error)
            if self.refusal is None and examined:
                self._examine(evaluation, again, examine)

    def _examine(
        self,
        evaluation: EvaluationContext,
        model: Callable[[Tensor], Tensor],
        examine: Callable[[Callable[[Tensor], Tensor], Tensor], None],
    ) -> None:
        """Examine the finite ones of the images that were taken."""
        assert self.batch is not None
        assert self.batch.finite is not None
        assert self._taken is not None
        self._taken = self._taken[self.batch.finite[self._taken]]
        if not len(self._taken):
            self.why_not = NOT_FINITE
            return
        with self.alone(evaluation):
            examine(model, self.inputs(evaluation.device))
        self.examined = True

    def alone(self, evaluation: EvaluationContext) -> AbstractContextManager[None]:
        """What an examination runs in: nothing of the module is changed, and nobody else's hook is called."""
        evaluating = evaluation.training or (self._last and not self._in_training_mode)
        mode: Literal["eval", "own"] = "eval" if evaluating else "own"
        return undisturbed(evaluation.module, evaluation.device, mode=mode, hooks="own")

    def _fitting(self, images: int, passes: float, pace: float | None) -> int | None:
        """How many of so many images can be examined; None where they are too few."""
        least = min(FEWEST, images)
        if self.seconds is None:
            most = max(self.budget.turn / passes, min(self.budget.left / passes, least))
        else:
            most = self.seconds / (pace * passes) if pace else math.inf
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
