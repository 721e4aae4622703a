"""The monitors in any training loop: every pair of two settings of precision, accumulation, cadence, loaders and more.

Each run is trained without and with the monitors. The weights must be bitwise the same, and the figures those that the
module itself counts in its validation steps.
"""

from itertools import combinations, product
from random import Random

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import CombinedLoader
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from lightning_failures import failure_monitors
from tests.runs import CHANNELS, Classifier, dataset, hooks_on

AXES = {
    "precision": ("32-true", "bf16-mixed", "bf16-true", "64-true"),
    "accumulate": (1, 4),  # four: the last step of an epoch of six batches has two
    "cadence": ("epoch", "half an epoch", "four batches across epochs", "every other epoch"),
    "sanity": (0, 2),
    "loaders": ("one", "two", "without a length", "combined", "empty last batch"),
    "loggers": ("none", "csv", "tensorboard and csv"),
    "strategy": ("auto", "ddp"),
}
CADENCE = {
    "epoch": {},
    "half an epoch": {"val_check_interval": 0.5},
    "four batches across epochs": {"val_check_interval": 4, "check_val_every_n_epoch": None},
    "every other epoch": {"check_val_every_n_epoch": 2},
}


#: Settings that Lightning refuses together: it must know where half an epoch is.
REFUSED = {(("cadence", "half an epoch"), ("loaders", "without a length"))}


def every_pair():
    together = ((one, other) for one, other in combinations(AXES, 2))
    pairs = {((a, x), (b, y)) for a, b in together for x, y in product(AXES[a], AXES[b])}
    return pairs - REFUSED


def pairs_of(run):
    return set(combinations(run.items(), 2))


def pairwise():
    """Few runs in which any two settings of two axes meet: of many drawn ones, each time that which adds most pairs."""
    draw, missing, chosen = Random(0), every_pair(), []
    while missing:
        drawn = [{axis: draw.choice(values) for axis, values in AXES.items()} for _ in range(400)]
        chosen.append(max(drawn, key=lambda run: (not pairs_of(run) & REFUSED, len(pairs_of(run) & missing))))
        missing -= pairs_of(chosen[-1])
    return chosen


RUNS = pairwise()


class Endless(IterableDataset):
    """Images whose number nobody knows before they have been seen."""

    def __init__(self, images):
        self.images = images

    def __iter__(self):
        return iter(self.images)


class Counting(Classifier):
    """Counts its own right predictions on the first loader, evaluation by evaluation."""

    def __init__(self):
        super().__init__()
        self.counted = []

    def on_validation_epoch_start(self):
        self.right = self.seen = 0

    def loss(self, batch):
        inputs, labels = batch.values() if isinstance(batch, dict) else batch
        logits = self.net(inputs.to(self.net[0].weight.dtype))
        return nn.functional.cross_entropy(logits, labels), logits, labels

    def training_step(self, batch, _):
        return self.loss(batch["first"] if isinstance(batch, dict) and "first" in batch else batch)[0]

    def validation_step(self, batch, _, dataloader_idx=0):
        if len(batch[0]) == 0:
            self.net(batch[0].to(self.net[0].weight.dtype))
            return
        loss, logits, labels = self.loss(batch)
        if dataloader_idx == 0:
            self.right += int((logits.argmax(1) == labels).sum())
            self.seen += len(labels)
        self.log("val_loss", loss, sync_dist=True)

    def on_validation_epoch_end(self):
        if not self.trainer.sanity_checking:
            self.counted.append((self.right, self.seen))


def loaders(kind):
    train, held, other = dataset(48), dataset(30, seed=1), dataset(20, seed=2)
    if kind == "two":
        return DataLoader(train, 8, shuffle=True), [DataLoader(held, 8), DataLoader(other, 8)]
    if kind == "without a length":
        return DataLoader(Endless(train), 8), DataLoader(Endless(held), 8)
    if kind == "combined":
        both = {"first": DataLoader(train, 8, shuffle=True), "second": DataLoader(other, 8)}
        held = CombinedLoader([DataLoader(held, 8), DataLoader(other, 8)], "sequential")
        return CombinedLoader(both, "max_size_cycle"), held
    if kind == "empty last batch":
        rows = [*torch.arange(30).split(8), torch.arange(0)]
        return DataLoader(train, 8, shuffle=True), DataLoader(held, batch_sampler=rows, collate_fn=stack)
    return DataLoader(train, 8, shuffle=True), DataLoader(held, 8)


def stack(rows):
    if not rows:
        return torch.zeros(0, CHANNELS, 5, 5), torch.zeros(0, dtype=torch.int64)
    return torch.utils.data.default_collate(rows)


def loggers(kind, folder):
    made = {"csv": CSVLogger(folder, name="csv"), "tensorboard": TensorBoardLogger(folder, name="board")}
    return [logger for name, logger in made.items() if name in kind]


def train(run, callbacks, folder):
    L.seed_everything(7, verbose=False)
    module = Counting()
    trainer = L.Trainer(
        max_epochs=2,
        accelerator="cpu",
        devices=1,
        precision=run["precision"],
        accumulate_grad_batches=run["accumulate"],
        num_sanity_val_steps=run["sanity"],
        strategy=run["strategy"],
        logger=loggers(run["loggers"], folder),
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **CADENCE[run["cadence"]],
    )
    trainer.fit(module, *loaders(run["loaders"]))
    return trainer, module


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """What a strategy of several processes sets up for its one process is gone after the test; no picture is drawn."""
    monkeypatch.setattr("lightning_failures.callbacks.picture.find_spec", lambda name: None)
    for name in ("MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("run", RUNS, ids=lambda run: ", ".join(map(str, run.values())))
def test_any_two_settings_of_a_loop_give_right_figures_and_untouched_weights(run, tmp_path):
    _, bare = train(run, [], tmp_path / "bare")
    monitors = failure_monitors(on_error="raise")
    monitors[-1].announce = "nothing"
    trainer, module = train(run, monitors, tmp_path / "watched")
    for (name, plain), watched in zip(bare.state_dict().items(), module.state_dict().values(), strict=True):
        assert torch.equal(plain, watched), name
    assert module.counted == bare.counted
    assert hooks_on(module) == 0
    evaluations = monitors[-1].record.evaluations
    assert len(evaluations) == len(module.counted) > 0
    for evaluation, (right, seen) in zip(evaluations, module.counted, strict=True):
        assert evaluation.values["failures/collapse/images"] == seen == 30
        for key in ("collapse/accuracy", "simplicity/model_accuracy"):
            accuracy = evaluation.values[f"failures/{key}"]
            assert accuracy == pytest.approx(right / seen) or (accuracy != accuracy and key.startswith("simplicity")), (
                key
            )
    for key in ("collapse/accuracy", "simplicity/model_accuracy"):  # by the last evaluation there are simple models
        assert float(trainer.callback_metrics[f"failures/{key}"]) == pytest.approx(right / seen)


def test_the_runs_are_few_and_hold_every_pair():
    assert set().union(*map(pairs_of, RUNS)) == every_pair()
    assert len(RUNS) <= 25
