"""The monitors in a Trainer of Hugging Face's transformers, which is neither imported nor changed for good."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Real
from typing import Any, Literal

from lightning.pytorch import Callback

from lightning_failures.callbacks.watch.batches import WatchedEvaluation
from lightning_failures.callbacks.watch.watch import Watch
from lightning_failures.errors import InputError

__all__ = ["HuggingFaceWatch"]

WHERE = "HuggingFaceWatch"

#: What is watched: its callbacks are told of no batch, so that its own methods are.
METHODS = ("train", "training_step", "evaluate", "evaluation_loop", "prediction_step")

#: Callbacks that print what is logged, one line per evaluation.
_PRINT = ("PrinterCallback", "ProgressCallback", "NotebookProgressCallback")


class HuggingFaceWatch(Watch):
    """Watches the next ``train()`` of a ``transformers.Trainer``: its steps, evaluations and metrics.

    Batches are read as the Trainer gives them to its model, labels included, and so are its metrics, such as
    ``eval_accuracy``. Figures go to whatever the Trainer reports to, tables and pictures to ``failures`` in its
    ``output_dir``; ``evaluate()`` returns them too, so that ``metric_for_best_model="failures/..."`` may name one. Of
    several evaluation sets the first is watched. A rule with ``action: stop`` ends the training. Once that is over, or
    has raised, the Trainer has its own methods alone again.

    Args:
        trainer: not trained yet; its model is watched.
        callbacks: see :class:`.Watch`.

    Raises:
        InputError: what is no such Trainer, or one that makes its model anew; what :class:`.Watch` refuses.
    """

    def __init__(self, trainer: Any, callbacks: Sequence[Callback] | None = None) -> None:
        missing = [name for name in (*METHODS, "model", "state", "control") if not hasattr(trainer, name)]
        if missing:
            given = f"a {type(trainer).__name__} without {missing[0]}"
            raise InputError(WHERE, "this is no Trainer of Hugging Face", given, "Pass a transformers.Trainer.")
        if getattr(trainer, "model_init", None) is not None:
            fix = "Give it the model itself: Trainer(model=...)."
            raise InputError(WHERE, "the Trainer makes its model anew when it trains", "model_init=...", fix)
        precision = getattr(trainer, "compute_loss_context_manager", None)
        super().__init__(trainer.model, callbacks, loggers=[_Reports(trainer)], precision=precision)
        self._followed = trainer
        self._prefix: str | None = None  # of the metrics of the evaluation set that is watched
        self._now: WatchedEvaluation | None = None
        self._before = {name: vars(trainer).get(name) for name in METHODS}  # what somebody else put there
        for name in METHODS:
            setattr(trainer, name, partial(getattr(self, f"_around_{name}"), getattr(trainer, name)))

    def close(self) -> None:
        """End the run, where it has not ended by itself, and give the Trainer its own methods back."""
        super().close()
        self._let_go()

    def _let_go(self) -> None:
        for name, method in self._before.items():
            vars(self._followed).pop(name, None)
            if method is not None:
                setattr(self._followed, name, method)

    def _around_train(self, train: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            with self:
                return train(*arguments, **options)
        finally:
            self._let_go()

    def _around_training_step(
        self, step: Callable[..., Any], model: Any, inputs: Any, *arguments: Any, **options: Any
    ) -> Any:
        with self.training_step(inputs):
            return step(model, inputs, *arguments, **options)

    def _around_evaluate(self, evaluate: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        before = self.values
        metrics = evaluate(*arguments, **options)
        if self.values is not before:
            ours = {f"{self._prefix}_{key}": value for key, value in _ours(self.values).items()}
            metrics = {**metrics, **ours}
        return metrics

    def _around_evaluation_loop(
        self, loop: Callable[..., Any], dataloader: Any, description: str, *arguments: Any, **options: Any
    ) -> Any:
        prefix = options.get("metric_key_prefix", "eval")
        if description == "Prediction" or self._prefix not in (None, prefix):
            return loop(dataloader, description, *arguments, **options)
        self._prefix = prefix
        state = self._followed.state
        epoch = max(math.ceil(state.epoch or 0) - 1, 0)  # which is 1 at the end of the first
        stage: Literal["fit", "test"] = "fit" if getattr(self._followed, "is_in_train", True) else "test"
        try:
            with self.evaluation(dataloader, epoch=epoch, step=state.global_step, stage=stage) as self._now:
                output = loop(dataloader, description, *arguments, **options)
                self.log({key: value for key, value in output.metrics.items() if isinstance(value, Real)})
        finally:
            self._now = None
        if self.should_stop:
            self._followed.control.should_training_stop = True
        return output

    def _around_prediction_step(
        self, step: Callable[..., Any], model: Any, inputs: Any, *arguments: Any, **options: Any
    ) -> Any:
        if self._now is None:
            return step(model, inputs, *arguments, **options)
        with self._now.step(inputs):
            return step(model, inputs, *arguments, **options)


class _Reports:
    """What the Trainer reports to, as a logger; the terminal is left out, where each evaluation would fill a page."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    @property
    def log_dir(self) -> str:
        """Where tables and pictures go."""
        return str(self.trainer.args.output_dir)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Hand figures on; those of the Trainer's own it logs itself."""
        trainer, ours = self.trainer, _ours(metrics)
        logs = {f"eval_{key}": value for key, value in ours.items()}
        for callback in trainer.callback_handler.callbacks if logs else ():
            if type(callback).__name__ not in _PRINT:
                callback.on_log(trainer.args, trainer.state, trainer.control, model=trainer.model, logs=dict(logs))


def _ours(values: Mapping[str, float]) -> dict[str, float]:
    return {key: value for key, value in values.items() if key.startswith("failures/")}
