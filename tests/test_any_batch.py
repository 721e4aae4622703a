"""Batches of any structure, shape, dtype and with numbers that are not finite: no run is stopped, no weight changes."""

import warnings
from collections import namedtuple
from dataclasses import dataclass

import lightning as L
import pytest
import torch
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_failures import failure_monitors
from tests.runs import hooks_on, trainer

ROWS = 18  # of each loader
CLASSES = 3

Pair = namedtuple("Pair", "image label")


@dataclass
class Sample:
    image: Tensor
    label: Tensor


#: How a batch holds inputs and labels, and how a step takes them out again.
STRUCTURES = {
    "tuple": (lambda x, y: (x, y), lambda b: (b[0], b[1])),
    "list": (lambda x, y: [x, y], lambda b: (b[0], b[1])),
    "labels first": (lambda x, y: (y, x), lambda b: (b[1], b[0])),
    "dict": (lambda x, y: {"image": x, "label": y}, lambda b: (b["image"], b["label"])),
    "odd names": (lambda x, y: {"a": x, "b": y}, lambda b: (b["a"], b["b"])),
    "named tuple": (Pair, lambda b: (b.image, b.label)),
    "dataclass": (Sample, lambda b: (b.image, b.label)),
    "nested": (lambda x, y: {"of": (x, {"label": y}), "name": "scan"}, lambda b: (b["of"][0], b["of"][1]["label"])),
    "with an index": (lambda x, y: (x, y, torch.arange(len(x))), lambda b: (b[0], b[1])),
    "with names": (lambda x, y: {"id": [str(i) for i in range(len(x))], "x": x, "y": y}, lambda b: (b["x"], b["y"])),
    "bare": (lambda x, y: x, lambda b: (b, (b.flatten(1)[:, 0].nan_to_num() * 50).long().abs() % CLASSES)),
}  # fmt: skip

#: Shapes of one input.
SHAPES = ((5,), (12,), (1, 9), (4, 7), (1, 6, 6), (3, 6, 5), (6, 5, 5), (2, 4, 4, 3))


@dataclass
class Case:
    structure: str
    shape: tuple[int, ...]
    inputs: torch.dtype
    labels: torch.dtype
    column: bool  # labels (n, 1)
    spoiled: float | None  # what stands in some inputs
    batch: int
    returned: bool  # whether the step returns its logits


cases = st.builds(
    Case,
    st.sampled_from(list(STRUCTURES)),
    st.sampled_from(SHAPES),
    st.sampled_from([torch.float32, torch.float64, torch.float16, torch.uint8]),
    st.sampled_from([torch.int64, torch.int32, torch.uint8]),
    st.booleans(),
    st.sampled_from([None, None, float("nan"), float("inf"), -float("inf")]),
    st.integers(1, 7),
    st.booleans(),
)


class Any(L.LightningModule):
    """Classifies inputs of any shape, and counts its own right predictions."""

    def __init__(self, case):
        super().__init__()
        self.case = case
        width = torch.Size(case.shape).numel()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(width, 6), nn.ReLU(), nn.Linear(6, CLASSES))
        self.right = self.seen = 0

    def forward(self, inputs):
        return self.net(inputs.float().nan_to_num(0, 1, -1))

    def labels(self, batch):
        labels = STRUCTURES[self.case.structure][1](batch)[1]
        return (labels[:, 0] if labels.ndim == 2 else labels).long()

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self(STRUCTURES[self.case.structure][1](batch)[0]), self.labels(batch))

    def on_validation_epoch_start(self):
        self.right = self.seen = 0

    def validation_step(self, batch, _):
        logits = self(STRUCTURES[self.case.structure][1](batch)[0])
        self.right += int((logits.argmax(1) == self.labels(batch)).sum())
        self.seen += len(logits)
        self.log("val_loss", nn.functional.cross_entropy(logits, self.labels(batch)), batch_size=len(logits))
        return {"logits": logits} if self.case.returned else None

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loader(case, draw):
    generator = torch.Generator().manual_seed(draw)
    labels = torch.arange(ROWS) % CLASSES
    inputs = torch.rand(ROWS, *case.shape, generator=generator)
    inputs.flatten(1)[torch.arange(ROWS), labels] += 1
    inputs = (inputs * 100).to(case.inputs) if case.inputs == torch.uint8 else inputs.to(case.inputs)
    if case.spoiled is not None and inputs.is_floating_point():
        inputs.flatten(1)[::5, -1] = case.spoiled
    labels = labels.to(case.labels)[:, None] if case.column else labels.to(case.labels)
    pack = STRUCTURES[case.structure][0]
    rows = list(zip(inputs, labels, strict=True))
    return DataLoader(rows, case.batch, collate_fn=lambda some: pack(*map(torch.stack, zip(*some, strict=True))))


def train(case, callbacks):
    L.seed_everything(3, verbose=False)
    module = Any(case)
    run = trainer(callbacks, epochs=2)
    run.fit(module, loader(case, 0), loader(case, 1))
    return run, module


#: Whose rows are labels of one class each: the share of right predictions is then known.
ACCURACIES = ("failures/collapse/accuracy", "failures/simplicity/model_accuracy")


@seed(0)
@settings(max_examples=40, deadline=None, database=None, phases=[Phase.generate])  # to shrink a failure takes minutes
@given(case=cases)
def test_no_batch_stops_a_run_or_changes_a_weight_and_figures_are_right_or_openly_not_watched(case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, bare = train(case, [])
        monitors = failure_monitors()
        monitors[-1].announce = "nothing"
        run, module = train(case, monitors)
    assert run.current_epoch == 2
    for (name, plain), watched in zip(bare.state_dict().items(), module.state_dict().values(), strict=True):
        assert torch.equal(plain, watched), name
    assert hooks_on(module) == 0
    figures = {key: float(value) for key, value in run.callback_metrics.items()}
    figures = {key: value for key, value in figures.items() if value == value}
    if figures.get("failures/simplicity/images") != ROWS:  # an image that is not finite has no spectrum
        figures.pop("failures/simplicity/model_accuracy", None)
    known = [figures[key] for key in ACCURACIES if key in figures]
    for accuracy in known:
        assert accuracy == pytest.approx(module.right / module.seen), (case, figures)
    assert known or monitors[-1].record.not_watched, case
    assert figures.get("failures/collapse/images", ROWS) == ROWS
