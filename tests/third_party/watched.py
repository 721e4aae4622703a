"""One published module trained bare and with the monitors, and what came of it."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from lightning_failures import failure_monitors
from lightning_failures.errors import FailuresWarning
from lightning_failures.records import RunRecord

EPOCHS = 2


@dataclass
class Watched:
    """What a run with the monitors left behind, beside a run without."""

    module: Any  # as it is after the run with the monitors
    repeats: bool  # whether two runs without monitors end in the same weights
    same: bool  # whether the run with monitors ends in those weights too
    hooks: int  # left on the module
    epochs: int  # that the run with the monitors went through
    figures: dict[str, float]  # logged at the last evaluation, ours under failures/
    record: RunRecord
    found: str  # what the monitors say that they watch
    warned: list[str]

    @property
    def ours(self) -> dict[str, float]:
        """The figures of the monitors that are defined."""
        return {k.removeprefix("failures/"): v for k, v in self.figures.items() if k.startswith("failures/") and v == v}

    def rows(self, layer: str, *inputs: Any) -> Tensor:
        """What enters one of the module's layers when it is run on some inputs."""
        entered: list[Tensor] = []
        hook = self.module.get_submodule(layer).register_forward_pre_hook(lambda _, args: entered.append(args[0]))
        try:
            with torch.no_grad():
                self.module.eval()(*inputs)
        finally:
            hook.remove()
        return entered[-1]

    def report(self) -> str:
        """What was watched, for somebody who reads the output of the tests."""
        lines = [self.found or "nothing found"]
        lines += [f"not watched: {what}: {why}" for what, why in self.record.not_watched.items()]
        lines += [f"finding: {f.severity} {f.kind} {f.subject}: {f.message}" for f in self.record.findings]
        lines += [f"warned: {text}" for text in self.warned]
        lines += [f"{key} = {value:.4g}" for key, value in sorted(self.ours.items())]
        return "\n".join(lines)


def hooks_on(module: nn.Module) -> int:
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(child, name)) for child in module.modules() for name in names)


def watch(
    make: Callable[[], Any], loaders: Callable[[], tuple[Any, ...]], trainer: type = L.Trainer, **options: Any
) -> Watched:
    """Train what ``make`` makes three times: without the monitors, once more, and with them and no argument."""

    def train(callbacks: list[Any]) -> tuple[Any, Any]:
        L.seed_everything(5, verbose=False)
        module = make()
        run = trainer(
            max_epochs=EPOCHS,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=callbacks,
            **options,
        )
        run.fit(module, *loaders())
        return run, module

    _, bare = train([])
    _, again = train([])
    monitors = failure_monitors(budget=1e9)
    diagnosis = monitors[-1]
    diagnosis.announce = "nothing"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run, module = train(monitors[:])  # a Trainer adds what other packages register to the list that it is given
    return Watched(
        module,
        repeats=_equal(bare, again),
        same=_equal(bare, module),
        hooks=hooks_on(module) - hooks_on(bare),
        epochs=run.current_epoch,
        figures={key: float(value) for key, value in run.callback_metrics.items()},
        record=diagnosis.record,
        found=monitors[0].probe.found,
        warned=[str(warning.message) for warning in caught if issubclass(warning.category, FailuresWarning)],
    )


def _equal(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(_same(mine[key], theirs[key]) for key in mine)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(torch.nan_to_num(one.double()), torch.nan_to_num(other.double()))
    return True  # a module's own state that is no tensor


def undisturbed(watched: Watched) -> None:
    """The run ended, nothing stays on the module, and its weights are those of the run without monitors."""
    assert watched.epochs == EPOCHS
    assert watched.hooks == 0
    if watched.repeats:
        assert watched.same


#: Figures that are the share of right predictions, by whichever monitor.
ACCURACIES = ("collapse/accuracy", "simplicity/model_accuracy")

#: What only a prediction of classes has.
OF_CLASSES = (*ACCURACIES, "collapse/logit_effective_rank", "collapse/effective_classes", "collapse/nc1/penultimate")

#: The effective rank of a layer's features.
RANK = "collapse/effective_rank/"


def right_or_unwatched(watched: Watched, accuracy: float) -> None:
    """Each accuracy that was logged is the module's own; where none was, the record says what is not watched."""
    logged = {key: watched.ours[key] for key in ACCURACIES if key in watched.ours}
    for key, value in logged.items():
        assert value == pytest.approx(accuracy, abs=1e-6), (key, watched.report())
    assert logged or watched.record.not_watched, watched.report()


def no_classes(watched: Watched) -> None:
    """The module predicts no classes: nothing is said of them, and what is left out is said."""
    said = [key for key in OF_CLASSES if key in watched.ours]
    assert not said, (said, watched.report())
    assert watched.record.not_watched, watched.report()


def features_or_unwatched(watched: Watched, rows: Tensor | None) -> None:
    """The features are those that enter the head, by their effective rank; without a head there are none.

    Args:
        watched: the run.
        rows: the features that enter the head, of the validation data; (n d). None: the module has no head.
    """
    logged = {key: value for key, value in watched.ours.items() if key.startswith(RANK)}
    if rows is None:
        assert not logged, watched.report()
        return
    values = torch.linalg.eigvalsh(torch.cov(rows.double().T)).clamp(min=0)
    shares = values[values > 0] / values.sum()
    expected = float(torch.exp(-(shares * shares.log()).sum()))
    for key, value in logged.items():
        assert value == pytest.approx(expected, rel=1e-3), (key, watched.report())
    assert logged or watched.record.not_watched, watched.report()
