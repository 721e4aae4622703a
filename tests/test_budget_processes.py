"""Each process has a clock of its own; what is watched and examined is one decision of all."""

import math
import time

import lightning as L
import pytest
import torch
from lightning.pytorch import Callback
from torch.utils.data import DataLoader

from lightning_failures import failure_monitors
from lightning_failures.callbacks import budget as module
from tests.processes import strategy
from tests.runs import Classifier, dataset, hooks_on

EPOCHS = 4


class Hurried:
    """A clock that jumps ahead at each look on one of the processes, as if the machine were busy there alone."""

    def __init__(self, rank, jump):
        self.rank, self.jump, self.ahead = rank, jump, 0.0

    def __call__(self):
        here = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        self.ahead += self.jump if here == self.rank else 0.0
        return time.perf_counter() + self.ahead


class Kept(Callback):
    """Which figures stand in ``callback_metrics`` after each evaluation, on every process."""

    def __init__(self, path):
        self.path, self.rows = path, []

    def on_validation_end(self, trainer, module):
        if not trainer.sanity_checking:
            values = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("failures/")}
            self.rows.append({key for key, value in values.items() if not math.isnan(value)})

    def on_fit_end(self, trainer, module):
        torch.save({"rows": self.rows, "hooks": hooks_on(module)}, f"{self.path}.{trainer.global_rank}")


@pytest.mark.slow
@pytest.mark.parametrize("hurried", [0, 1])
def test_processes_whose_clocks_differ_watch_and_examine_the_same_evaluations(hurried, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHORT", 0.0)
    monitors = failure_monitors(on_error="raise")
    budget = monitors[-1].budget
    budget.clock = Hurried(hurried, 0.05)
    budget.restart()
    monitors[-1].announce = "nothing"
    L.seed_everything(3, verbose=False)
    run = L.Trainer(
        accelerator="cpu",
        devices=2,
        strategy=strategy(2),
        max_epochs=EPOCHS,
        callbacks=[*monitors, Kept(tmp_path / "kept")],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    run.fit(Classifier(), DataLoader(dataset(), batch_size=8), DataLoader(dataset(37, seed=1), batch_size=4))
    one, other = (torch.load(f"{tmp_path / 'kept'}.{rank}") for rank in (0, 1))
    assert one == other
    assert one["hooks"] == 0
    watched = ["failures/collapse/accuracy" in row for row in one["rows"]]
    assert len(watched) == EPOCHS
    assert watched[0]
    assert watched[-1]
    assert all(watched) == (hurried == 1)  # the first process decides for all
