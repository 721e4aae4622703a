import warnings

import pytest
import torch
from torch import nn

from lightning_failures import CollapseMonitor, Probe, failure_monitors
from lightning_failures.errors import DiscoveryError, FailuresWarning, InputError, UnknownNameError
from lightning_failures.observe import PENULTIMATE
from tests.runs import CLASSES, Classifier, fit, trainer

IMAGES, LABELS = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        return self.head(self.body(x))


class Module(nn.Module):
    """Stands for a LightningModule: only its submodules and its step matter to the probe."""

    def __init__(self):
        super().__init__()
        self.net = Net()
        self.loss = nn.CrossEntropyLoss()


def hooks_on(module):
    return sum(len(child._forward_hooks.items()) for child in module.modules())


def watch(module, step, batch=(IMAGES, LABELS), **names):
    """Two batches through one probe, as Lightning's hooks drive it."""
    probe, user = Probe(**names), object()
    probe.attach(module, user)
    for _ in range(2):
        probe.new_batch()
        seen = probe.observe(module, step(module, batch), batch)
    probe.detach(user)
    return probe, seen


def loss_only(module, batch):
    return module.loss(module.net(batch[0]), batch[1])


def test_the_head_is_found_by_its_call_and_its_input_is_the_penultimate_layer():
    module = Module()
    probe, seen = watch(module, loss_only)
    torch.testing.assert_close(seen.logits, module.net(IMAGES).detach())
    torch.testing.assert_close(seen.features[PENULTIMATE], module.net.body(IMAGES).detach())
    assert torch.equal(seen.targets, LABELS)
    assert torch.equal(seen.inputs, IMAGES)
    assert probe.entry is not None
    assert probe.entry.name == "net"
    assert probe.classes == 5
    assert probe.found == (
        "lightning-failures found inputs = batch['0'] (4, 3, 8, 8), targets = batch['1'], "
        "task = classification by cross_entropy, 5 classes, logits = output of net.head (4, 5), "
        "features = penultimate (4, 6)"
    )


def test_logits_that_the_step_returns_are_preferred_and_the_head_still_gives_the_features():
    module = Module()

    def step(module, batch):
        return {"loss": torch.tensor(0.0), "logits": 2 * module.net(batch[0])}

    probe, seen = watch(module, step)
    torch.testing.assert_close(seen.logits, 2 * module.net(IMAGES).detach())
    torch.testing.assert_close(seen.features[PENULTIMATE], module.net.body(IMAGES).detach())
    assert "logits = step output['logits']" in probe.found


def test_a_step_that_calls_backbone_and_head_apart_is_observed():
    module = Module()
    probe, seen = watch(module, lambda m, b: m.loss(m.net.head(m.net.body(b[0])), b[1]))
    torch.testing.assert_close(seen.logits, module.net(IMAGES).detach())
    assert probe.entry is None


def test_named_layers_are_pooled_over_their_positions():
    module = Module()
    _, seen = watch(module, loss_only, layers=["net.body.0"])
    torch.testing.assert_close(seen.features["net.body.0"], module.net.body[0](IMAGES).mean((2, 3)).detach())
    assert list(seen.features) == ["net.body.0"]


def test_every_name_can_be_given():
    module = Module()
    batch = {"a": IMAGES, "b": torch.rand(4, 3, 8, 8), "c": LABELS, "d": LABELS + 1}
    _, seen = watch(module, lambda m, b: m.net(b["b"]).sum(), batch, inputs="b", targets="d", logits="net.head")
    assert torch.equal(seen.inputs, batch["b"])
    assert torch.equal(seen.targets, batch["d"])
    torch.testing.assert_close(seen.logits, module.net(batch["b"]).detach())


def test_logits_may_be_named_as_a_field_of_the_output_or_as_a_callable():
    module = Module()

    def step(module, batch):
        return {"raw": module.net(batch[0]), "y": LABELS + 2}

    _, by_name = watch(module, step, logits="raw", targets="y", batch=[IMAGES])
    _, by_callable = watch(module, step, logits=lambda outputs: outputs["raw"])
    torch.testing.assert_close(by_name.logits, by_callable.logits)
    assert torch.equal(by_name.targets, LABELS + 2)


def test_hooks_are_few_after_the_first_batch_and_gone_after_the_last_user():
    module, probe = Module(), Probe()
    one, other = object(), object()
    probe.attach(module, one)
    probe.attach(module, other)
    assert hooks_on(module) > 2
    probe.observe(module, loss_only(module, (IMAGES, LABELS)), (IMAGES, LABELS))
    assert hooks_on(module) == 1
    probe.detach(one)
    assert hooks_on(module) == 1
    probe.detach(other)
    assert hooks_on(module) == 0


def test_our_own_forward_passes_are_not_recorded():
    module, probe, user = Module(), Probe(), object()
    probe.attach(module, user)
    outputs = loss_only(module, (IMAGES, LABELS))
    with probe.paused():
        module.net(IMAGES)
    probe.observe(module, outputs, (IMAGES, LABELS))
    assert probe.discovered
    probe.detach(user)


def test_outputs_and_gradients_are_those_of_the_untouched_module():
    module, probe, user = Module(), Probe(), object()
    plain = torch.autograd.grad(loss_only(module, (IMAGES, LABELS)), list(module.parameters()))
    probe.attach(module, user)
    watched = torch.autograd.grad(loss_only(module, (IMAGES, LABELS)), list(module.parameters()))
    probe.detach(user)
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))


def test_a_head_that_is_called_twice_in_one_step_says_what_to_name():
    module = Module()
    with pytest.raises(DiscoveryError) as error:
        watch(module, lambda m, b: m.net(b[0]) + m.net(b[0].flip(3)), logits="net.head")
    assert str(error.value).startswith(
        "Probe: the layer 'net.head' was called 2 times in one step; given calls of net."
    )
    assert str(error.value).endswith(
        "Name a layer that is called once, or return the logits from the step and name their field: logits='logits'."
    )


def test_a_module_without_a_head_has_no_logits_and_the_error_says_what_to_name():
    module = nn.ModuleDict({"conv": nn.Conv2d(3, 1, 8)})
    probe, seen = watch(module, lambda m, b: m["conv"](b[0]).sum())
    assert seen.logits is None
    with pytest.raises(DiscoveryError) as error:
        probe.require_logits(seen, "CollapseMonitor")
    assert str(error.value) == (
        "CollapseMonitor: no logits were found; given no loss of labels was heard, and no layer's output fits the "
        "labels. "
        "Return them as 'logits', or name their layer: logits='net.head'."
    )


def test_an_unknown_layer_names_the_nearest_that_there_are():
    with pytest.raises(UnknownNameError) as error:
        Probe(layers=["net.neck"]).attach(Module(), object())
    assert str(error.value) == (
        "Probe(layers=...): no submodule is called 'net.neck'; given a module with net.head, net, net.body "
        "and 4 more. Name submodules as module.named_modules() lists them."
    )


def test_targets_of_another_length_than_the_logits_are_an_error():
    module = Module()
    with pytest.raises(InputError) as error:
        watch(module, lambda m, b: m.net(b["x"]), {"x": IMAGES, "t": torch.arange(3)}, targets="t")
    assert str(error.value) == (
        "Probe: targets and logits differ in length; given targets (3,), logits (4, 5). "
        "Name the fields that belong together: targets='label', logits='net.head'."
    )


def test_script_modules_refuse_hooks_and_are_left_alone():
    module = Module()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch deprecates it; users' old modules hold some
        module.net.head = torch.jit.trace(module.net.head, torch.rand(2, 6))
    probe, seen = watch(module, lambda m, b: {"logits": m.net(b[0])})
    assert seen.logits.shape == (4, 5)
    assert probe.discovered


def test_logits_that_were_found_by_shape_are_held_against_the_modules_own_accuracy():
    class Two(Classifier):
        """Its loss is one of its own; a second head of as many columns, on other features, comes last."""

        def __init__(self):
            super().__init__()
            self.other = nn.Sequential(nn.Flatten(), nn.Linear(150, CLASSES))

        def training_step(self, batch, _):
            scores, other = self.net(batch[0]), self.other(batch[0])
            likely = (scores - scores.logsumexp(1, keepdim=True)).gather(1, batch[1][:, None])
            return -likely.mean() + 1e-3 * other.square().mean()

        def validation_step(self, batch, _):
            scores, _ = self.net(batch[0]), self.other(batch[0])
            self.log("val_acc", 1.0 + 0 * scores.mean())

    monitors = failure_monitors(on_error="raise")
    with pytest.warns(
        FailuresWarning, match=r"watches no classes any more: logits found by their shape .* val_acc is 1"
    ):
        fit(monitors, Two(), epochs=3)
    assert not monitors[0].probe.task.classifies
    assert (
        "it needs classes, and this is a task that is not known"
        in monitors[1].not_watched["what decides the predictions"]
    )
    assert [finding for finding in monitors[-1].history if finding.kind != "monitor_error"] == []


@pytest.mark.parametrize("settled", [False, True])
def test_a_rank_that_saw_no_batch_takes_part_when_logits_are_doubted(settled, monkeypatch):
    monitor, asked = CollapseMonitor(), []
    monitor.probe.settled = settled
    monkeypatch.setattr(monitor.ranks, "first", asked.append)
    run = trainer([monitor])
    monitor.on_validation_end(run, Classifier())
    assert asked == [None]
