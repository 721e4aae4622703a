"""The examination of a model on a fixed reference batch: kept once, run again at a cadence and within a budget."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightning_failures.callbacks.budget import EXAMINED, Budget
from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.errors import DiscoveryError, InputError
from lightning_failures.observe.entry import Runnable
from lightning_failures.observe.observation import Observation
from lightning_failures.observe.reference_batch import ReferenceBatch
from lightning_failures.observe.rerun import by_chance, check_rerun, rerun
from lightning_failures.observe.sharded_weights import refuse_sharded
from lightning_failures.observe.undisturbed import undisturbed

__all__ = ["TOO_LONG", "ReferenceExamination"]

TOO_LONG = "the time budget was spent"
FEWEST = 32  # images of an examination, where the reference batch has as many
UNCHECKED = (
    "no submodule takes the inputs and gives the logits, and without a validation there are no logits that a rerun of "
    "the module's own forward could be held against"
)


class ReferenceExamination:
    """Keeps a reference batch from the first evaluation, and runs the model on it at later ones.

    Whether an evaluation is examined is one decision of all ranks: every ``every_n_epochs``, and while the extra work
    has taken less than ``budget`` of the run's time. The module is run again as the step ran it, checked once against
    the logits that the step gave. Where training batches stand in for validation, it is run in evaluation mode, and
    only where a submodule took the inputs and gave the logits: dropout and the optimizer's step leave nothing to check
    by.

    An examination takes as many images of the reference batch, evenly spread, as fit into the time that there is, going
    by how long the run's own steps take; with fewer than 32 it waits for a later evaluation.

    Args:
        where: the public name that was called, for errors.
        images: size of the reference batch, over all ranks; 2 or more.
        budget: share of the run's time that extra forward passes may take.
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
        self.budget = Budget(budget, EXAMINED)
        self.batch: ReferenceBatch | None = None
        self.due = False  #: whether this evaluation is examined; the same on all ranks
        self.why_not: str | None = None  #: why it is not
        self.refusal: str | None = None  #: why the module cannot be run again at all
        self._checked = False
        self._taken: Tensor | None = None  # rows of the batch that are examined

    def begin(self, evaluation: EvaluationContext, agree: Callable[[Any], Any], ready: bool = True) -> None:
        """Decide, together, whether this evaluation is examined.

        Args:
            evaluation: that begins.
            agree: what all ranks agree on, of what each of them says.
            ready: whether there is something to examine; the same on all ranks.
        """
        turn = not evaluation.fitting or evaluation.epoch % self.every_n_epochs == 0
        self.why_not = None if turn else f"examined every {self.every_n_epochs} epochs"
        allowed = bool(agree(self.budget.allows))
        if turn and not allowed:
            self.why_not = TOO_LONG
        try:
            refuse_sharded(evaluation.module)
        except DiscoveryError as error:
            self.refusal = str(error)
        self.due = turn and allowed and ready and self.refusal is None
        if self.batch is None:
            self.batch = ReferenceBatch(self.share(evaluation))
        if self.due and not self.batch.complete:
            self.batch.begin(evaluation.batches)

    def share(self, evaluation: EvaluationContext) -> int:
        """Images of the reference batch on each rank."""
        return -(-self.images // evaluation.world_size)

    def keep(self, seen: Observation, logits: Tensor) -> None:
        """Keep some images of one batch, where the reference batch is not complete yet."""
        if self.due and self.batch is not None:
            self.batch.add(seen.require_inputs(self.where), logits, seen.targets)

    def run(
        self,
        evaluation: EvaluationContext,
        model: nn.Module,
        examine: Callable[[Callable[[Tensor], Tensor], Tensor], None],
        passes: float,
        pace: float | None,
    ) -> None:
        """Examine the model, where that is due.

        Args:
            evaluation: that ends.
            model: from inputs to logits, see :meth:`.Probe.runnable`.
            examine: extra work, given a function from inputs to logits, without gradients, and this rank's part of the
                reference batch on the module's device; (n b h w).
            passes: how often it runs each image.
            pace: seconds that a pass of an image takes; None: not known.
        """
        if not self.due or self.batch is None:
            return
        with self.budget.spend():
            self.batch.fix()
            if self.batch.inputs is None or self.batch.logits is None:
                return
            if not self._fits(passes + (not self._checked), pace):
                self.why_not = TOO_LONG
                return
            inputs = self.inputs(evaluation.device)
            again = rerun(evaluation.module, model, evaluation.precision)
            if evaluation.training:
                self.refusal = None if isinstance(model, Runnable) and model.known else UNCHECKED
            elif self._by_chance and by_chance(evaluation.module):
                self._checked = True
            elif not self._checked:
                self._checked = True
                try:
                    logits = self.batch.logits[self._taken].to(evaluation.device)
                    check_rerun(again, inputs, logits, evaluation.module, model)
                except DiscoveryError as error:
                    self.refusal = str(error)
            if self.refusal is None:
                with self.alone(evaluation):
                    examine(again, inputs)

    def alone(self, evaluation: EvaluationContext) -> AbstractContextManager[None]:
        """What an examination runs in: nothing of the module is changed, and nobody else's hook is called."""
        mode: Literal["eval", "own"] = "eval" if evaluation.training else "own"
        return undisturbed(evaluation.module, evaluation.device, mode=mode, hooks="own")

    def _fits(self, passes: float, pace: float | None) -> bool:
        """Choose the images that there is time for; whether they are enough."""
        assert self.batch is not None
        assert self.batch.inputs is not None
        images = most = len(self.batch.inputs)
        if pace:
            most = int(min(images, self.budget.turn / (pace * passes)))
        self._taken = torch.linspace(0, images - 1, most).round().long()
        return most >= min(FEWEST, images)

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

    def reasons(self, undefined: dict[str, str]) -> dict[str, str]:
        """The reasons of a metric of this examination, or why it did not take place."""
        why = self.refusal or self.why_not
        return undefined if why is None else dict.fromkeys(undefined, why)
