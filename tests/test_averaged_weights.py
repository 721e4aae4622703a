"""Callbacks that average weights: what is examined again is what was evaluated, and the averaging is left alone."""

import copy
import itertools

import lightning as L
import pytest
import torch
from lightning.pytorch import callbacks as theirs
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from lightning_failures import ChannelAttributionMonitor, attribute_channels, failure_monitors
from tests.runs import Classifier, dataset, fit, hooks_on, loaders, table


class Unknown(IterableDataset):
    """Images whose number nobody knows."""

    def __init__(self, data):
        self.data = data

    def __iter__(self):
        return (self.data[place] for place in range(len(self.data)))


class Watched(Classifier):
    """Keeps its network as each validation ran it."""

    def __init__(self):
        super().__init__()
        self.evaluated = []

    def validation_step(self, batch, index):
        if index == 0 and not self.trainer.sanity_checking:
            self.evaluated.append(copy.deepcopy(self.net))
        super().validation_step(batch, index)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.5)


class OwnAveraging(L.Callback):
    """Somebody's own moving average, which is evaluated."""

    def on_fit_start(self, trainer, pl_module):
        self.average = [parameter.detach().clone() for parameter in pl_module.parameters()]

    def on_train_batch_end(self, trainer, pl_module, *_):
        for average, parameter in zip(self.average, pl_module.parameters(), strict=True):
            average.lerp_(parameter.detach(), 0.1)

    def swap(self, pl_module):
        for average, parameter in zip(self.average, pl_module.parameters(), strict=True):
            kept = parameter.detach().clone()
            parameter.data.copy_(average)
            average.copy_(kept)

    def on_validation_epoch_start(self, trainer, pl_module):
        self.swap(pl_module)

    def on_validation_epoch_end(self, trainer, pl_module):
        self.swap(pl_module)


AVERAGING = {
    "WeightAveraging": lambda: theirs.WeightAveraging(),
    "EMAWeightAveraging": lambda: theirs.EMAWeightAveraging(decay=0.9),
    "StochasticWeightAveraging": lambda: theirs.StochasticWeightAveraging(swa_lrs=0.1, swa_epoch_start=1),
    "OwnAveraging": OwnAveraging,
}


def run(callbacks, unknown=False):
    L.seed_everything(5, verbose=False)
    train, validation = loaders()
    if unknown:
        validation = DataLoader(Unknown(dataset(30, seed=1)), batch_size=8)
    trained, module = fit(callbacks, Watched(), data=(train, validation), epochs=3)
    return trained.callback_metrics, module


def assert_the_same(module, other):
    for one, another in zip(module.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(one, another)


since_2_6 = pytest.mark.skipif(not hasattr(theirs, "EMAWeightAveraging"), reason="this Lightning has none")
CASES = [(*case, False) for case in itertools.product(AVERAGING, (0, 9)) if case != ("WeightAveraging", 9)]
CASES += [("EMAWeightAveraging", 0, True), ("EMAWeightAveraging", 9, True)]
CASES = [
    pytest.param(*case, marks=since_2_6 if case[0] in ("WeightAveraging", "EMAWeightAveraging") else ())
    for case in CASES
]


@pytest.mark.filterwarnings("ignore:.*IterableDataset.*", "ignore:.*recommended to set.*", "ignore:.*scheduler.*")
@pytest.mark.parametrize(("name", "place", "unknown"), CASES)
def test_what_is_examined_is_what_was_evaluated(name, place, unknown):
    make = AVERAGING[name]
    _, alone = run([make()], unknown)
    monitors = failure_monitors(factors=None if unknown else table(), budget=1e9, on_error="raise")
    found, module = run([*monitors[:place], make(), *monitors[place:]], unknown)
    assert_the_same(alone, module)
    assert hooks_on(module) == 0
    assert set(monitors[-1].record.not_watched) == ({"the images that fail, to look at"} if unknown else set())
    evaluated = module.evaluated[-1].eval()
    if name != "StochasticWeightAveraging":  # which puts its weights in for good, at the end
        assert not torch.equal(evaluated[0].weight, next(iter(module.evaluated[-2].parameters())))
    (channels,) = [monitor for monitor in monitors if isinstance(monitor, ChannelAttributionMonitor)]
    inputs, labels = dataset(30, seed=1).tensors
    kept = channels.examining.batch.inputs
    assert len(kept) == 30
    expected = attribute_channels(evaluated, inputs, labels)
    assert channels.course.profiles[-1].change == pytest.approx(expected.values.tolist(), rel=1e-3, abs=1e-6)
    accuracy = (evaluated(inputs).argmax(1) == labels).float().mean()
    assert float(found["failures/collapse/accuracy"]) == pytest.approx(float(accuracy))


@since_2_6
def test_the_geometry_of_the_classes_takes_the_classifier_that_was_evaluated():
    figures = []
    for place in (0, 9):
        monitors = failure_monitors(budget=1e9, on_error="raise")
        found, _ = run([*monitors[:place], theirs.EMAWeightAveraging(decay=0.9), *monitors[place:]])
        figures.append({key: float(value) for key, value in found.items() if key.startswith("failures/collapse/")})
    assert figures[0] == pytest.approx(figures[1], nan_ok=True)
    assert "failures/collapse/nc3/penultimate" in figures[0]


@since_2_6
def test_a_network_is_validated_and_tested_after_a_run_with_averaged_weights():
    monitors = failure_monitors(budget=1e9, on_error="raise")
    L.seed_everything(5, verbose=False)
    trained, module = fit([theirs.EMAWeightAveraging(decay=0.9), *monitors], Watched())
    before = {name: value.clone() for name, value in module.state_dict().items()}
    trained.validate(module, loaders()[1], verbose=False)
    trained.test(module, loaders()[1], verbose=False)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert isinstance(module.net, nn.Sequential)
    assert monitors[-1].record.not_watched == {}
