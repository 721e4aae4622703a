"""Networks whose last layer is pruned or parametrised, and modules that are validated in training mode."""

import copy

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelPruning
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from lightning_failures import ChannelAttributionMonitor, attribute_channels, failure_monitors
from tests.runs import Classifier, dataset, fit, hooks_on, loaders, table

LAST = {
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.3),
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "the old weight_norm": nn.utils.weight_norm,
    "the old spectral_norm": nn.utils.spectral_norm,
}

old = pytest.mark.filterwarnings("ignore:.*weight_norm.*", "ignore:.*spectral_norm.*")


def seeded(make):
    L.seed_everything(5, verbose=False)
    return make()


def parametrised(change):
    module = Classifier()
    change(module.net[-1])
    return module


def plain(net):
    """The same network, whose last layer holds the weight that it computes."""
    net = net.eval()
    net(dataset(2).tensors[0])
    *body, last = net
    layer = nn.Linear(last.in_features, last.out_features)
    layer.weight.data, layer.bias.data = last.weight.detach().clone(), last.bias.detach().clone()
    return nn.Sequential(*body, layer).eval()


@old
@pytest.mark.parametrize("name", LAST)
def test_a_last_layer_whose_weight_is_computed_is_attributed_like_one_that_holds_it(name):
    net, (inputs, labels) = seeded(lambda: parametrised(LAST[name])).net.eval(), dataset(30, seed=1).tensors
    before = {key: value.clone() for key, value in net.state_dict().items()}
    found = attribute_channels(net, inputs, labels, null="head")
    expected = attribute_channels(plain(net), inputs, labels, null="head")
    torch.testing.assert_close(found.values, expected.values)
    torch.testing.assert_close(found.floor, expected.floor)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert parametrize.is_parametrized(net[-1]) or len(net[-1]._forward_pre_hooks) == 1


@old
@pytest.mark.parametrize("name", ["pruned", "spectral_norm", "the old weight_norm"])
def test_a_run_with_a_parametrised_last_layer_is_watched_whole_and_left_as_it_was(name):
    _, alone = fit([], seeded(lambda: parametrised(LAST[name])))
    monitors = failure_monitors(factors=table(), budget=1e9, on_error="raise")
    hooks = hooks_on(alone)
    run, module = fit(monitors, seeded(lambda: parametrised(LAST[name])))
    for one, other in zip(alone.state_dict().values(), module.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert hooks_on(module) == hooks
    assert monitors[-1].record.not_watched == {}
    assert monitors[0].probe.head == "net.6"
    inputs, labels = dataset(30, seed=1).tensors
    accuracy = (plain(module.net)(inputs).argmax(1) == labels).float().mean()
    assert float(run.callback_metrics["failures/collapse/accuracy"]) == pytest.approx(float(accuracy))


@pytest.mark.parametrize("place", [0, 9])
def test_a_run_that_prunes_as_it_goes_is_watched_whole_and_prunes_the_same(place):
    def pruning():
        return ModelPruning("l1_unstructured", amount=0.3, make_pruning_permanent=False)

    _, alone = fit([pruning()], seeded(Classifier), epochs=3)
    monitors = failure_monitors(factors=table(), budget=1e9, on_error="raise")
    run, module = fit([*monitors[:place], pruning(), *monitors[place:]], seeded(Classifier), epochs=3)
    assert hasattr(module.net[6], "weight_orig")
    for one, other in zip(alone.state_dict().values(), module.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert monitors[-1].record.not_watched == {}
    assert "failures/channels/largest_change" in run.callback_metrics


# -- validated in training mode


class Training(Classifier):
    """Goes into training mode while it is validated, and counts what it gets right itself."""

    def validation_step(self, batch, index):
        self.train()
        if index == 0:
            self.right = 0
        logits = self.net(batch[0])
        self.right += int((logits.argmax(1) == batch[1]).sum())


class Early(Training):
    """Goes into training mode before."""

    def on_validation_start(self):
        self.train()


class Certain(Early):
    """Has nothing that training mode changes."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))


@pytest.mark.parametrize("kind", [Training, Early, Certain])
def test_a_module_in_training_mode_is_watched_as_its_step_ran_it_or_said_not_to_be_examined(kind):
    _, alone = fit([], seeded(kind))
    monitors = failure_monitors(factors=table(), budget=1e9, on_error="raise")
    run, module = fit(monitors, seeded(kind))
    for one, other in zip(alone.state_dict().values(), module.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert (module.right, module.training) == (alone.right, alone.training)
    assert float(run.callback_metrics["failures/collapse/accuracy"]) == pytest.approx(module.right / 30)
    left_out = monitors[-1].record.not_watched
    if kind is Certain:
        assert left_out == {}
        inputs, labels = dataset(30, seed=1).tensors
        expected = attribute_channels(copy.deepcopy(module.net).eval(), inputs, labels)
        (channels,) = [monitor for monitor in monitors if isinstance(monitor, ChannelAttributionMonitor)]
        assert channels.course.profiles[-1].change == pytest.approx(expected.values.tolist(), rel=1e-3, abs=1e-6)
    else:
        assert list(left_out) == ["what decides the predictions", "which bands the predictions depend on"]
        assert set(left_out.values()) == {
            "rerun: the module is in training mode, in which an image does not give the same logits again; given "
            "'net.1', 'net.3'. Leave the module in evaluation mode while it is validated."
        }


def test_a_run_in_training_mode_is_validated_alone_too():
    monitors = failure_monitors(factors=table(), budget=1e9, on_error="raise")
    run, module = fit(monitors, seeded(Certain))
    run.validate(module, loaders()[1], verbose=False)
    assert monitors[-1].record.not_watched == {}
