"""The base of monitors that run the model again on a fixed reference batch."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Unpack

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_failures.callbacks.budget import Budget
from lightning_failures.callbacks.monitor import Monitor, MonitorOptions
from lightning_failures.errors import DiscoveryError, InputError
from lightning_failures.observe.observation import Observation
from lightning_failures.observe.reference_batch import ReferenceBatch
from lightning_failures.observe.rerun import check_rerun, rerun

__all__ = ["TOO_LONG", "ReferenceMonitor", "inputs_of"]

TOO_LONG = "the time budget was spent"


class ReferenceMonitor(Monitor):
    """Keeps a reference batch from the first evaluation, and examines the model on it at later ones.

    Whether an evaluation is examined is one decision of all ranks: every ``every_n_epochs``, and while the extra work
    has taken less than ``budget`` of the run's time. The module is run again as the step ran it, checked once against
    the logits that the step gave.

    Args:
        images: size of the reference batch, over all ranks.
        budget: share of the run's time that extra forward passes may take.
        every_n_epochs: cadence.
        options: see :class:`.Monitor`.
    """

    def __init__(
        self, *, images: int = 256, budget: float = 0.05, every_n_epochs: int = 1, **options: Unpack[MonitorOptions]
    ) -> None:
        super().__init__(**options)
        for name, value, least in (("images", images, 2), ("every_n_epochs", every_n_epochs, 1)):
            if value < least:
                given = f"{name}={value}"
                raise InputError(type(self).__name__, f"{name} is too small", given, f"Pass {least} or more.")
        self.images = images
        self.budget = Budget(budget)
        self.every_n_epochs = every_n_epochs
        self.why_not: str | None = None
        self._batch: ReferenceBatch | None = None
        self._runs_again, self._checked = True, False
        self._due = False

    @abstractmethod
    def examine(self, model: Callable[[Tensor], Tensor], inputs: Tensor) -> None:
        """Extra work on the reference batch.

        Args:
            model: from inputs to logits, without gradients.
            inputs: this rank's part of the reference batch, on the module's device; (n b h w).
        """

    @property
    def ready(self) -> bool:
        """Whether there is something to examine; the same on all ranks."""
        return True

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the budget's clock."""
        self.budget.restart()

    def begin(self, trainer: Trainer, module: LightningModule) -> None:
        """Decide, together, whether this evaluation is examined."""
        turn = trainer.state.fn != "fit" or trainer.current_epoch % self.every_n_epochs == 0
        self.why_not = None if turn else f"examined every {self.every_n_epochs} epochs"
        allowed = bool(self.together(self.budget.allows))
        if turn and not allowed:
            self.why_not = TOO_LONG
        self._due = turn and allowed and self.ready
        if self._batch is None:
            self._batch = ReferenceBatch(-(-self.images // trainer.world_size))
        if self._due and not self._batch.complete:
            batches = trainer.num_test_batches if trainer.testing else trainer.num_val_batches
            self._batch.begin(batches[0] if isinstance(batches, list) else batches)

    def keep(self, seen: Observation, where: str) -> None:
        """Keep some images of one batch, where the reference batch is not complete yet."""
        if self._due and self._batch is not None:
            self._batch.add(inputs_of(seen, where), self.probe.require_logits(seen, where), seen.targets)

    def conclude(self, trainer: Trainer, module: LightningModule) -> None:
        """Examine the model on the reference batch."""
        if not self._due or self._batch is None:
            return
        with self.budget.spend():
            self._batch.fix()
            if self._batch.inputs is None or self._batch.logits is None:
                return
            inputs = self._batch.inputs.to(module.device)
            model = rerun(module, self.probe.entry, trainer.precision_plugin.forward_context)
            if not self._checked:
                self._checked = True
                self._check(model, inputs, self._batch.logits.to(module.device))
            if self._runs_again:
                self.examine(model, inputs)

    def _check(self, model: Callable[[Tensor], Tensor], inputs: Tensor, logits: Tensor) -> None:
        try:
            check_rerun(model, inputs, logits)
        except DiscoveryError as error:
            self._runs_again, self._refusal = False, str(error)

    _refusal: str | None = None

    def reasons(self, undefined: dict[str, str]) -> dict[str, str]:
        """The reasons of a metric of this examination, or why it did not take place."""
        why = self._refusal or self.why_not
        return undefined if why is None else dict.fromkeys(undefined, why)


def inputs_of(seen: Observation, where: str) -> Tensor:
    """The inputs of a batch, or the error that says what to name."""
    if seen.inputs is None:
        raise DiscoveryError(
            where,
            "no inputs were found",
            "a batch without a float or uint8 tensor of two or more axes",
            "Name the field that holds them: inputs='image'.",
        )
    return seen.inputs
