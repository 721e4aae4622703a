"""Whether features and predictions collapse, live."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Unpack, get_args

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_failures.callbacks.collapse.figures import LayerCourse, layer_figure
from lightning_failures.callbacks.collapse.layers import TrainingWindow, WatchedLayers
from lightning_failures.callbacks.collapse.parts import CollapseParts, Description
from lightning_failures.callbacks.collapse.rules import RULES
from lightning_failures.callbacks.collapse.run_best import RunBest, measures
from lightning_failures.callbacks.collapse.terms import TERMS
from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.callbacks.monitor import Monitor, MonitorOptions
from lightning_failures.errors import FailuresWarning
from lightning_failures.functional.kept import filled
from lightning_failures.metrics.labels import LabelRow
from lightning_failures.observe.factor_reader import FactorReader, FactorSource
from lightning_failures.observe.observation import Observation
from lightning_failures.observe.pixels import rows_of
from lightning_failures.observe.task import Kind
from lightning_failures.records.validation_keys import users_accuracy
from lightning_failures.reporting.loggers import log_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CollapseMonitor"]

#: Difference of two accuracies from which they are not those of the same predictions; averages over classes differ by
#: less on classes that are not much rarer than others.
APART = 0.1


#: Errors of labels, in :class:`.LabelErrors`.
LABEL_ERRORS = ("error", "balanced_error", "missed", "false_alarm")


class CollapseMonitor(Monitor):
    """Logs ranks of each layer's features, ``failures/collapse/effective_rank/<layer>``, and of the centred logits.

    *Before training*: ``initial/<statistic>/<layer>`` is of the untrained network, from the batches of the sanity
    check. Without one, it is from the first training batch and compared with nothing, since dropout and batch norm work
    differently there; a run that goes on from a checkpoint of other callbacks has none. ``kept/<layer>`` is what a
    layer still has of the most that it had, then or at any evaluation; see :class:`.RunBest`. It is what the rule
    ``representation_collapse`` looks at. A network that sees two views may begin collapsed, so that of its layers at
    most ``filled/<layer>`` counts as kept; see :func:`.filled`.

    *Labels*: with them, neural collapse of the penultimate layer, and ``probe_accuracy/<layer>`` of closed-form linear
    models of the layers: that of the penultimate layer well above ``accuracy`` says that the head wastes what its
    features hold, and of two or more layers :attr:`information_lost` names the one where information is lost. A layer
    of more than 1024 features that is watched alone gets none. Without labels, what needs them is left out, which is
    said once in the log.

    *Two views*: a layer that a step calls k times, as self-supervised steps do, counts all of its rows; name it, since
    the input of a classifier head that is called twice is an error. Two views give LiDAR too.

    *Several labels per image*: ``label_error/<label>``, ``label_balanced_error/<label>``, ``label_missed/<label>`` and
    ``label_false_alarm/<label>``, by the place of the label, ``label_balanced_error/worst`` and
    ``labels_never_given``; see :class:`.LabelErrors`. A rare label that the network never gives is how predictions
    collapse there. The table ``failures/collapse/labels`` holds the 20 worst labels. Of more than 100 labels it alone
    and the figures of all together are logged.

    *Segmentation*: logits (n c h w) with one label per pixel are read at 16 pixels of each image, the same ones in
    every evaluation of the same batches; ``images`` then counts pixels.

    Args:
        layers: names and globs of submodules (``"layer*"``), ``"feature_info"`` for the stages of a timm model,
            ``"penultimate"`` for the input of the classifier head; see
            :func:`.find_layers`. Maps and tokens are pooled to one row per image. None:
            the penultimate layer.
        factors: also log the dimensions of the images with each factor, ``factor_dimension/<factor>``; see
            :class:`.FactorErrorMonitor`.
        by_class: also log the dimensions of each class, ``class_dimension/<class>``, of the penultimate layer. With or
            without factors, a group that fills few dimensions is one that the network knows by a single cue.
        similarity: also log how alike the layers are, ``cka/<layer>~<later layer>``; the sums take 8 D^2 bytes for D
            features in all layers together.
        every_n_steps: also log the spectra of training features, ``failures/collapse/train/<statistic>/<layer>``,
            every so many training batches, from the last 8 of them; None: not.
        options: see :class:`.Monitor`.

    Example:
        >>> monitor = CollapseMonitor(["net.layer*", "penultimate"], similarity=True)
        >>> monitor.key("kept/net.layer4"), monitor.key("cka/net.layer3~net.layer4")
        ('failures/collapse/kept/net.layer4', 'failures/collapse/cka/net.layer3~net.layer4')
    """

    noun = "collapse"
    watches = "collapse of features and predictions"
    tasks = get_args(Kind)
    terms = TERMS
    rules = RULES
    not_replayed: ClassVar[Mapping[str, str]] = {
        "initial/*/*": "it needs the network before training; not replayed",
        "train/*/*": "it needs batches of training steps; not replayed",
    }
    held_out = ("accuracy", "probe_accuracy/*", *(f"label_{each}/*" for each in LABEL_ERRORS))

    def __init__(
        self,
        layers: str | Sequence[str] | None = None,
        *,
        factors: FactorSource | None = None,
        by_class: bool = False,
        similarity: bool = False,
        every_n_steps: int | None = None,
        **options: Unpack[MonitorOptions],
    ) -> None:
        super().__init__(**options)
        if layers is not None:
            self.probe.listen_also(layers, type(self).__name__)
        reader = None if factors is None else FactorReader(factors, where=type(self).__name__)
        self.parts = CollapseParts(reader, by_class=by_class, similarity=similarity)
        self.untrained: WatchedLayers | None = WatchedLayers()  # None as soon as it is known, or cannot be any more
        self.window = TrainingWindow(every_n_steps)
        self.best, self.course = RunBest(), LayerCourse()
        self._losses = torch.zeros(2)  # sum and number, of the training batches of an evaluation

    @property
    def unserved(self) -> str | None:
        """Why there is nothing to watch: neither classes nor features of each image."""
        probe = self.probe
        if not probe.settled or probe.classes is not None or probe.labels is not None:
            return None
        if probe.features or probe.hidden is not None:
            return None
        why = "" if probe.task.why is None else f"; {probe.task.why}"
        return f"no layer is known whose features to watch, name one as layers='net.body'{why}"

    @property
    def information_lost(self) -> str | None:
        """The layer whose probe is less accurate than that of the layer before, by the most; None where none is."""
        return None if self.parts.probes is None else self.parts.probes.lost

    @property
    def not_watched(self) -> dict[str, str]:
        """Also what a run without logits, without labels, or with compiled layers leaves out."""
        hidden = {} if self.probe.hidden is None else {"collapse of the features": self.probe.hidden}
        task, left_out = self.probe.task, self.parts.not_watched | hidden
        if self.probe.labels is not None:
            left_out = hidden
        elif self.probe.settled and not task.classifies:
            left_out = {"collapse of the predictions": f"{task.words} does not put an image into one class"} | hidden
        return super().not_watched or {self._named(what): why for what, why in left_out.items()}

    # -- the untrained network, and training

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a run; one that replays checkpoints never sees the untrained network, unless that was saved."""
        super().on_fit_start(trainer, pl_module)
        if self.replayed and trainer.global_step > 0:
            self.untrained = None

    def glance(self, seen: Observation) -> None:
        """Add a batch of the sanity check to the untrained network's."""
        if self.untrained is not None:
            self.untrained.update(seen, rows_of(seen).features)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute and log; after the sanity check, keep the untrained network's statistics."""
        if trainer.sanity_checking:
            self._know_untrained(trainer, compare=True)
        super().on_validation_epoch_end(trainer, pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Begin to listen where this batch is looked at."""
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        if trainer.global_step > 0:
            self.untrained = None
        if self._looks:
            with self.guard():
                self.probe.attach(pl_module, self)
                self.probe.new_batch()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the batch's features and its loss, and log the features at the cadence."""
        self._learn(trainer, pl_module, outputs, batch)
        if self.training.taking and not self.idle:
            with self.guard():
                self._add_loss(outputs, trainer.accumulate_grad_batches)
        if self._looks and self.probe.discovered:
            with self.guard():
                seen = self.probe.observe_features(batch)
                rows = rows_of(seen).features
                if self.untrained is not None and not seen.empty:
                    self.untrained.update(seen, rows)
                if self.window.open and not seen.empty:
                    self.window.layers.update(seen, rows)
        if self._looks and not self.training.taking:
            self.probe.detach(self)
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self._know_untrained(trainer, compare=False)
        if self.window.step():
            self._log_training(EvaluationContext.of(trainer, pl_module))

    def _add_loss(self, outputs: Any, accumulated: int) -> None:
        """Add what a training step gave as its loss, which Lightning divides by the batches that are accumulated."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor) and loss.numel() == 1:
            now = loss.detach().reshape(()).float() * accumulated
            self._losses = self._losses.to(now.device) + torch.stack([now, torch.ones_like(now)])

    @property
    def _looks(self) -> bool:
        """Whether the training batch that comes is looked at: the first one of an untrained network, or in a window."""
        return not self.idle and (self.untrained is not None or self.window.open)

    def _know_untrained(self, trainer: Trainer, *, compare: bool) -> None:
        if self.untrained is None:
            return
        layers, self.untrained = self.untrained, None
        shapes = self.ranks.first(None if self.failure else layers.shapes or None)
        if self.ranks.retired or not shapes:
            return
        with self.guard():
            layers.build(shapes)
            values = {key: float(value) for key, value in layers.compute().items()}
            if compare and trainer.global_step > 0:  # of a network that was trained without this monitor
                for layer in shapes:
                    self.best.remember(layer, values)
            else:
                self.best.start(values, compare)

    def _log_training(self, now: EvaluationContext) -> None:
        shapes = self.ranks.first(None if self.failure else self.window.layers.shapes or None)
        if self.ranks.retired or not shapes:
            return
        with self.guard():
            values = {f"train/{key}": value for key, value in self.window.close(shapes).items()}
            self.log_values(now, values, now=True)

    # -- an evaluation

    def begin(self, evaluation: EvaluationContext) -> None:
        """Reset the sums."""
        self.parts.reset()
        self._losses = torch.zeros(2, device=evaluation.device)

    def update(self, evaluation: EvaluationContext, seen: Observation, batch_idx: int) -> None:
        """Add the features and logits of one batch."""
        self.parts.update(evaluation, seen, batch_idx, self.probe.head)

    def conclude(self, evaluation: EvaluationContext) -> None:
        """Keep the classifier's weight as it was evaluated."""
        self.parts.conclude(evaluation.module)

    def describe(self) -> Description | None:
        """Shape of each layer, the number of classes, whether there are labels, the head and the factors."""
        return self.parts.describe(self.probe.head)

    def build(self, description: Description) -> None:
        """Make the parts that are not there yet."""
        self.parts.build(description)

    def compute(self, evaluation: EvaluationContext) -> dict[str, Tensor]:
        """Ranks by layer, those of the predictions, and what was kept of the run's best."""
        values = self.parts.compute(evaluation.module)
        self.undefined = dict(self.parts.undefined)
        if evaluation.training:
            losses: Tensor = evaluation.trainer.strategy.reduce(self._losses, reduce_op="sum")
            values["training_loss"] = losses[0] / losses[1]
            if not losses[1]:
                self.undefined["training_loss"] = "the training step gave no loss of one number"
        return values | self._compare(values, remember=evaluation.fitting)

    def _compare(self, values: Mapping[str, Tensor], *, remember: bool) -> dict[str, Tensor]:
        plain = {key: float(value) for key, value in values.items()}
        layers = list(self.parts.layers.shapes)
        needed = plain.get("label_effective_rank", math.nan)
        if self.probe.task.kind == "regression":  # of one number all features may lie on one line, in one direction
            plain, needed = {key: each for key, each in plain.items() if not key.startswith("mean_cosine/")}, 1.0
        compared = self.best.compare(layers, plain, needed)
        compared = self._with_filled(compared, plain)
        undefined = {key: key.split("/", 1)[1] for key, value in compared.items() if math.isnan(value)}
        self.undefined |= {key: self.best.why(layer) for key, layer in undefined.items()}
        for layer in layers if remember else ():
            self.best.remember(layer, plain)
        compared |= {f"initial/{key}": value for key, value in self.best.initial.items()}
        return {key: torch.tensor(value, dtype=torch.float64) for key, value in compared.items()}

    def _with_filled(self, compared: dict[str, float], plain: Mapping[str, float]) -> dict[str, float]:
        """What is compared, with what layers of two views fill, which is the most that they kept."""
        shapes = self.parts.layers.shapes
        twice = [layer for layer, shape in shapes.items() if shape.views == 2 and not shape.pixels]
        shares = filled(*measures(twice, plain), torch.tensor([shapes[layer].width for layer in twice]))
        for layer, share in zip(twice, shares.tolist(), strict=True):
            kept = compared[f"kept/{layer}"]
            compared |= {f"filled/{layer}": share, f"kept/{layer}": share if math.isnan(kept) else min(kept, share)}
        return compared

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hold logits that were found by shapes alone against the accuracy that the module logs itself."""
        if not (trainer.sanity_checking or self.ranks.retired):
            self._doubt(trainer)
        super().on_validation_end(trainer, pl_module)

    def _doubt(self, trainer: Trainer) -> None:
        """Watch classes no more, where the module's own accuracy is another one; every rank takes part."""
        key, mine = users_accuracy(trainer.callback_metrics), self.values.get("accuracy")
        why, guessed = None, not (self.idle or self.probe.sure) and self.probe.classes is not None
        if guessed and key is not None and mine is not None:
            theirs = float(trainer.callback_metrics[key])
            if abs(float(mine) - theirs) > APART:
                why = f"logits found by their shape have the accuracy {float(mine):.3f}, and {key} is {theirs:.3f}"
        why = self.ranks.first(why)
        if why is not None:
            self.probe.doubt(why)
            fix = "Name the logits: logits='net.head', or return them from the step as 'logits'."
            rank_zero_warn(f"lightning-failures watches no classes any more: {why}.\n{fix}", category=FailuresWarning)

    def draw(
        self, evaluation: EvaluationContext, values: Mapping[str, float]
    ) -> "Mapping[str, Callable[[], Figure | None]]":
        """The layers over the evaluations, where there are several to be compared."""
        if not evaluation.fitting:
            return {}
        self.course.add(evaluation.epoch, values, self.parts.layers.eigenvalues, self.information_lost)
        return {"layers": lambda: layer_figure(self.course)} if len(self.course.layers) > 1 else {}

    def publish(self, evaluation: EvaluationContext, values: Mapping[str, Tensor]) -> None:
        """Log the table of the worst labels, where an image has several."""
        if self.parts.labels is None or evaluation.training:
            return
        rows: list[list[Any]] = [[evaluation.epoch, *row] for row in self.parts.labels.rows]
        head = ["epoch", *LabelRow._fields]
        log_table(evaluation.trainer.loggers, f"failures/{self.name}/labels", head, rows, evaluation.logged_step)

    # -- resume

    def state_dict(self) -> dict[str, Any]:
        """What the layers had, the course of the layers, and the main subspace; plain containers."""
        return {"best": self.best.state_dict(), "course": self.course.state_dict(), "subspace": self.parts.subspace}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint stood."""
        self.best.load_state_dict(state_dict["best"])
        self.course = LayerCourse.from_state(state_dict["course"])
        self.parts.subspace = state_dict["subspace"]
        self.untrained = None
