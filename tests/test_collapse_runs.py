"""Runs that collapse and runs that do not, on scikit-learn's digits: the monitor tells them apart, in time."""

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import CollapseMonitor, FailureDiagnosis
from tests.runs import trainer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits():
    """1200 images to train on and 597 to evaluate."""
    images, labels = pytest.importorskip("sklearn.datasets").load_digits(return_X_y=True)
    images = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images, labels = images[order], torch.tensor(labels)[order]
    return TensorDataset(images[:1200], labels[:1200]), TensorDataset(images[1200:], labels[1200:])


def normed(*layers):
    return [part for layer in layers for part in (layer, nn.BatchNorm1d(layer.out_features), nn.ReLU())]


class Siamese(L.LightningModule):
    """SimSiam (Chen and He 2021) on two shifted, noisy views; without its stop-gradient it collapses."""

    def __init__(self, stop_gradient):
        super().__init__()
        self.stop_gradient = stop_gradient
        self.encoder = nn.Sequential(nn.Flatten(), *normed(nn.Linear(64, 128), nn.Linear(128, 64)))
        self.projector = nn.Sequential(*normed(nn.Linear(64, 64)), nn.Linear(64, 64), nn.BatchNorm1d(64, affine=False))
        self.predictor = nn.Sequential(*normed(nn.Linear(64, 16)), nn.Linear(16, 64))

    def view(self, images):
        shift = torch.randint(-1, 2, (2,)).tolist()
        moved = torch.roll(images, shift, (2, 3)) * (1 + 0.3 * torch.randn(len(images), 1, 1, 1))
        return moved + 0.2 * torch.randn_like(moved)

    def loss(self, images):
        targets = [self.projector(self.encoder(self.view(images))) for _ in range(2)]
        predictions = [self.predictor(target) for target in targets]
        if self.stop_gradient:
            targets = [target.detach() for target in targets]
        pairs = zip(predictions, reversed(targets), strict=True)
        return -sum(functional.cosine_similarity(*pair).mean() for pair in pairs) / 2

    def training_step(self, batch, _):
        return self.loss(batch[0])

    def validation_step(self, batch, _):
        self.log("val_loss", self.loss(batch[0]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


class NeighbourAccuracy(L.Callback):
    """Accuracy of the five nearest neighbours in the encoder's features, which the module itself never computes."""

    def __init__(self, train, val):
        self.train, self.val = train.tensors, val.tensors
        self.by_step = {}

    def on_validation_end(self, trainer, pl_module):
        with torch.no_grad():
            ours, theirs = (functional.normalize(pl_module.encoder(part[0])) for part in (self.val, self.train))
        nearest = self.train[1][(ours @ theirs.T).topk(5).indices].mode(1).values
        self.by_step[trainer.global_step] = float((nearest == self.val[1]).double().mean())


def self_supervised(digits, stop_gradient):
    L.seed_everything(0, verbose=False)
    train, val = digits
    accuracy, diagnosis = NeighbourAccuracy(train, val), FailureDiagnosis(announce="nothing", on_error="raise")
    run = trainer([CollapseMonitor(["encoder", "projector"], on_error="raise"), diagnosis, accuracy], epochs=16)
    loaders = DataLoader(train, batch_size=200, shuffle=True), DataLoader(val, batch_size=597)
    run.fit(Siamese(stop_gradient), *loaders)
    return diagnosis.history, accuracy.by_step, float(run.callback_metrics["val_loss"])


def test_a_self_supervised_run_with_stop_gradient_is_silent(digits):
    history, accuracy, _ = self_supervised(digits, stop_gradient=True)
    assert history == []
    assert min(accuracy.values()) > 0.88


def test_without_stop_gradient_the_collapse_is_found_before_the_accuracy_falls_and_while_the_loss_looks_well(
    digits, record_property
):
    history, accuracy, loss = self_supervised(digits, stop_gradient=False)
    first = history[0]
    assert first.kind == "representation_collapse"
    assert first.standing
    fallen = min(step for step, value in accuracy.items() if value < accuracy[0] - 0.05)
    record_property("lead_in_steps", fallen - first.step)
    assert fallen - first.step >= 6
    assert accuracy[first.step] > accuracy[0] - 0.05
    assert loss < -0.4


class Digits(L.LightningModule):
    """An ordinary classifier; a learning rate of 0.1 kills its units."""

    def __init__(self, rate):
        super().__init__()
        self.rate = rate
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1, stride=2), nn.ReLU(), nn.Flatten())
        self.tail = nn.Sequential(nn.Linear(512, 64), nn.ReLU())
        self.head = nn.Linear(64, 10)

    def loss(self, batch):
        return functional.cross_entropy(self.head(self.tail(self.body(self.stem(batch[0])))), batch[1])

    def training_step(self, batch, _):
        return self.loss(batch)

    def validation_step(self, batch, _):
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.rate)


def supervised(digits, rate, epochs):
    L.seed_everything(1, verbose=False)
    diagnosis = FailureDiagnosis(announce="nothing", on_error="raise")
    run = trainer([CollapseMonitor(["stem", "penultimate"], on_error="raise"), diagnosis], epochs=epochs)
    run.fit(Digits(rate), *(DataLoader(part, batch_size=100, shuffle=part is digits[0]) for part in digits))
    return diagnosis.history, {
        key.removeprefix("failures/collapse/"): float(v) for key, v in run.callback_metrics.items()
    }


def test_a_healthy_supervised_run_is_silent_though_neural_collapse_sets_in(digits):
    history, values = supervised(digits, rate=0.003, epochs=10)
    assert history == []
    assert values["accuracy"] > 0.95
    assert values["kept/penultimate"] > 0.5
    assert values["probe_accuracy/penultimate"] > values["probe_accuracy/stem"] + 0.05


def test_a_supervised_run_whose_units_die_is_found_by_its_features(digits):
    history, values = supervised(digits, rate=0.3, epochs=7)
    assert values["accuracy"] < 0.2
    kinds = {finding.kind for finding in history}
    assert "representation_collapse" in kinds
    assert kinds <= {"representation_collapse", "class_collapse"}  # a dead network may be sure of one class, or of none
    assert values["dormant_share/penultimate"] > 0.9
