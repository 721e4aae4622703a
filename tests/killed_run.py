"""A run, and the same run killed in the middle of an epoch and resumed; each in a process of its own."""

import os
import signal
import sys
import traceback
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from lightning_failures import CollapseMonitor, FailureDiagnosis

EPOCHS, SAVED_EVERY = 4, 2
#: Where it is killed, and the checkpoint that is there then; an epoch has six steps, and a validation comes after the
#: third and the sixth. A checkpoint that Lightning saved at a step whose validation was still to come, such as "6", is
#: left out: Lightning goes on after that validation without running it.
CUTS = {5: "4", 7: "6-evaluated", 10: "9-evaluated"}
RULES = [
    {"name": "spread", "kind": "own_rule", "when": "failures/collapse/effective_rank/* < 9", "warmup": 0,
     "persistence": 3, "message": "{subject} {effective_rank:.2f}"},
    {"name": "accuracy", "kind": "own_rule", "when": "val_loss < 1.1", "warmup": 0, "persistence": 3,
     "message": "{val_loss:.3f}"},
]  # fmt: skip


class Stateful:
    """Batches in a fixed order, which a checkpoint can go on in."""

    def __init__(self, inputs, labels, size):
        self.batches = list(zip(inputs.split(size), labels.split(size), strict=True))
        self.start = self.next = 0

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        self.next, self.start = self.start, 0
        while self.next < len(self.batches):
            self.next += 1
            yield self.batches[self.next - 1]

    def state_dict(self):
        return {"next": self.next}

    def load_state_dict(self, state):
        self.start = state["next"] % len(self.batches)


class Network(L.LightningModule):
    """A small network with momentum, whose figures depend on every step."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(54, 12), nn.ReLU())
        self.head = nn.Linear(12, 4)

    def forward(self, inputs):
        return self.head(self.net(inputs))

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.2, momentum=0.9)


class Kill(L.Callback):
    """As the machine's power would."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


class Began(L.Callback):
    step = None

    def on_train_batch_start(self, trainer, *_):
        self.step = trainer.global_step if self.step is None else self.step


def train(folder, kill=None, resume=None, result=None):
    L.seed_everything(1, verbose=False)
    labels = torch.arange(48) % 4
    inputs = torch.randn(48, 3, 5, 5) + labels[:, None, None, None]
    diagnosis, began = FailureDiagnosis(RULES, announce="nothing", on_error="raise"), Began()
    everything = {"dirpath": folder, "save_top_k": -1, "auto_insert_metric_name": False}
    saving = [
        ModelCheckpoint(every_n_train_steps=SAVED_EVERY, filename="{step}", **everything),
        ModelCheckpoint(save_on_train_epoch_end=False, filename="{step}-evaluated", **everything),
    ]
    monitors = [CollapseMonitor(on_error="raise"), diagnosis, began]
    run = L.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        devices=1,
        val_check_interval=3,
        num_sanity_val_steps=0,
        callbacks=[*monitors, *([] if kill is None else [Kill(kill)]), *saving],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Network()
    run.fit(module, Stateful(inputs, labels, 8), Stateful(inputs[:16], labels[:16], 16), ckpt_path=resume)
    torch.save(
        {
            "findings": [finding.to_dict() for finding in diagnosis.history],
            "evaluations": diagnosis.record.to_dict()["evaluations"],
            "weight": module.head.weight.detach(),
            "began": began.step,
        },
        result,
    )


def in_a_process_of_its_own(*args, **options):
    """Fork, which need not import everything again; returns how the process ended."""
    child = os.fork()
    if child == 0:
        try:
            train(*args, **options)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    root = Path(sys.argv[1])
    ended = [in_a_process_of_its_own(root / "whole", result=root / "whole.pt")]
    for step, found in CUTS.items():
        folder = root / f"killed{step}"
        killed = in_a_process_of_its_own(folder, kill=step)
        assert killed == -signal.SIGKILL, killed
        newest = max(folder.glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns)
        assert newest.stem == found, newest
        ended.append(in_a_process_of_its_own(folder, resume=newest, result=root / f"resumed{step}.pt"))
    sys.exit(max(ended))
