"""How many more errors a model makes on the same images when one thing is changed, live, without any annotation."""

from collections.abc import Callable, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.callbacks.factors.terms import PERTURBED
from lightning_failures.callbacks.monitor import Monitor, MonitorOptions
from lightning_failures.callbacks.reference_examination import ReferenceExamination
from lightning_failures.functional.moments import finite_images
from lightning_failures.interventions.changes import Change, Denormalize, raw_units
from lightning_failures.interventions.perturbations import PERTURBATIONS, perturbations
from lightning_failures.metrics.paired import PairedErrorRatio
from lightning_failures.observe.batch_fields import Field
from lightning_failures.observe.group_reader import GroupReader, GroupSource
from lightning_failures.observe.observation import Observation
from lightning_failures.observe.rerun import check_rerun, rerun

__all__ = ["PerturbationMonitor"]

#: Statistics of :class:`.PairedErrorRatio` against the clean images, and their names.
STATISTICS = {
    "risk_ratio": "perturbed_ratio",
    "risk_ratio_low": "perturbed_low",
    "risk_ratio_high": "perturbed_high",
    "mcnemar_p": "perturbed_mcnemar_p",
}
_WHERE = "PerturbationMonitor"


class PerturbationMonitor(Monitor):
    """Logs ``failures/factors/perturbed_ratio/<name>``: errors on changed images over those on the clean ones.

    Args:
        names: some of :data:`.PERTURBATIONS`; None: all.
        denormalize: ``(mean, std)`` that standardised the inputs, each a number or one for each channel, or a callable
            such as ``lambda x: x * std + mean``; None: the inputs are raw.
        images: size of the reference batch that is changed; None: all images of the evaluation, which costs one more
            evaluation a name, whatever the budget.
        every_n_epochs: cadence.
        groups: which images belong together, so that intervals and tests count groups, ``perturbed_groups`` of them;
            see :class:`.GroupReader`. None: images are independent.
        ids: path or callable into the batch that gives each image's id, where groups go by id.
        options: see :class:`.Monitor`.

    Raises:
        InputError: a name that stands twice, a size of the reference batch below 2, or a cadence below 1.
        UnknownNameError: a name that is none of them.

    Example:
        >>> monitor = PerturbationMonitor(["darker", "blur"], denormalize=(0.5, 0.25), images=128)
        >>> monitor.key("perturbed_ratio/darker")
        'failures/factors/perturbed_ratio/darker'
    """

    noun = "factors"
    watches = "errors on changed images"
    tasks = ("multiclass", "binary")
    terms = PERTURBED
    examining: ReferenceExamination
    held_out = ("*",)

    def __init__(
        self,
        names: Sequence[str] | None = None,
        denormalize: Denormalize | None = None,
        *,
        images: int | None = 256,
        every_n_epochs: int = 1,
        groups: GroupSource | None = None,
        ids: Field | None = None,
        **options: Unpack[MonitorOptions],
    ) -> None:
        super().__init__(**options)
        self.examining = ReferenceExamination(
            _WHERE, self.title, self.budget, images=images or 2, every_n_epochs=every_n_epochs
        )
        self.names = tuple(PERTURBATIONS if names is None else names)
        perturbations(self.names, where=_WHERE)  # a wrong name is an error here, not at the first evaluation
        self.denormalize = denormalize
        self.whole = images is None
        self.reader = None if groups is None else GroupReader(groups, ids, _WHERE)
        self.metric = PairedErrorRatio(list(self.names))
        self._changes: dict[str, Change] | None = None
        self._checked = False

    def begin(self, evaluation: EvaluationContext) -> None:
        """Reset the counts."""
        self.metric.to(evaluation.device).reset()
        self.examining.begin(evaluation, self.ranks.first)

    def glance(self, seen: Observation) -> None:
        """See before any training that there are logits, so that their absence is said at once."""
        self.probe.require_logits(seen, _WHERE)

    def update(self, evaluation: EvaluationContext, seen: Observation, batch_idx: int) -> None:
        """Keep images for the reference batch, or change the whole batch now."""
        targets = seen.require_targets(_WHERE)
        logits = self.probe.require_logits(seen, _WHERE)
        groups = None
        if self.reader is not None:
            groups = evaluation.read(self.reader, seen, batch_idx)
        if not self.whole:
            self.examining.keep(seen, logits, None, groups)
        elif self.examining.refusal is None and self.examining.turned:
            inputs = seen.require_inputs(_WHERE)
            with self.probe.paused():
                model = rerun(evaluation.module, self.probe.runnable(evaluation.module), evaluation.precision)
                if not self._checked:
                    check_rerun(model, inputs, logits, evaluation.module)
                    self._checked = True
                self._compare(model, inputs, logits, targets, groups)

    def conclude(self, evaluation: EvaluationContext) -> None:
        """Change the images of the reference batch."""
        self.examining.run(
            evaluation,
            self.probe.runnable(evaluation.module),
            self._examine,
            1 + len(self.names),
            self.pace(evaluation),
        )

    def _examine(self, model: Callable[[Tensor], Tensor], inputs: Tensor) -> None:
        """One forward pass of the clean images, and one per name."""
        targets = self.examining.targets
        if targets is not None and not self.whole:
            self._compare(model, inputs, model(inputs), targets.to(inputs.device), self.examining.groups)

    def _compare(
        self,
        model: Callable[[Tensor], Tensor],
        inputs: Tensor,
        clean: Tensor,
        target: Tensor,
        groups: Tensor | None,
    ) -> None:
        if self._changes is None:
            self._changes = perturbations(self.names, raw_units(self.denormalize, inputs, _WHERE), _WHERE)
        for column, change in enumerate(self._changes.values()):
            # each name is a factor that all of its own changed images carry
            carried = torch.zeros(len(target), len(self.names), dtype=torch.bool, device=target.device)
            carried[:, column] = True
            known = (target >= 0) & finite_images(inputs)
            self.metric.update(model(change(inputs)), clean, target, carried, known, groups=groups)

    @property
    def refusal(self) -> str | None:
        """Why the model cannot be run on the changed images."""
        return self.examining.refusal

    def describe(self) -> Any:
        """Nothing to agree on: the metric does not depend on the batches."""
        return ()

    def build(self, description: Any) -> None:
        """Nothing to make."""

    def compute(self, evaluation: EvaluationContext) -> dict[str, Tensor]:
        """Ratios of errors by name."""
        paired = self.metric.compute()
        sources = {f"{ours}/{name}": f"{theirs}/{name}" for theirs, ours in STATISTICS.items() for name in self.names}
        reasons = self.examining.reasons(self.metric.undefined)
        self.undefined = {key: reasons[source] for key, source in sources.items() if source in reasons}
        values = {key: paired[source] for key, source in sources.items()}
        return values | ({"perturbed_groups": paired["groups/all"]} if "groups/all" in paired else {})
