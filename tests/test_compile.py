"""Runs whose modules are compiled: the compiled part is left whole, its figures are right, what is hidden is said."""

from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from lightning_failures import CollapseMonitor, failure_monitors
from lightning_failures.errors import DiscoveryError
from lightning_failures.observe import CallRecorder, listenable, rerun
from tests.runs import CLASSES, Classifier, dataset, fit, hooks_on, loaders, table, trainer


class Forward(Classifier):
    """Its steps call the module itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    validation_step = training_step


class Returning(Forward):
    """Returns its logits, and logs nothing itself: what Lightning can compile whole."""

    def validation_step(self, batch: Any, _: int) -> dict[str, torch.Tensor]:
        logits = self.net(batch[0])
        return {"loss": nn.functional.cross_entropy(logits, batch[1]), "logits": logits}


class Split(Forward):
    """Its head is outside of what is compiled."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        *body, head = self.net
        self.body, self.net = torch.compile(nn.Sequential(*body), **options), nn.Sequential(head)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(self.body(x))


def wrapped(**options: Any) -> L.LightningModule:
    module = Classifier()
    module.net = torch.compile(module.net, **options)
    return module


def in_place(**options: Any) -> L.LightningModule:
    module = Classifier()
    module.net.compile(**options)
    return module


def its_forward(**options: Any) -> L.LightningModule:
    module = Classifier()
    module.net.forward = torch.compile(module.net.forward, **options)
    return module


def itself_in_place(**options: Any) -> L.LightningModule:
    module = Forward()
    module.compile(**options)
    return module


def whole(**options: Any) -> L.LightningModule:
    return torch.compile(Returning(), **options)


def split(**options: Any) -> L.LightningModule:
    return Split(**options)


COMPILED = [wrapped, in_place, its_forward, itself_in_place, whole, split]
Make = Callable[..., L.LightningModule]


def run(make: Make, monitors: list[L.Callback], **options: Any) -> tuple[L.Trainer, L.LightningModule, dict[str, int]]:
    """A run from the same seed, and how much torch compiled in it."""
    torch.compiler.reset()
    counters.clear()
    L.seed_everything(7, verbose=False)
    module = make(**options)
    run = trainer(monitors)
    run.fit(module, *loaders())
    found = {"graphs": counters["stats"]["unique_graphs"], "breaks": sum(counters["graph_break"].values())}
    return run, run.lightning_module, found


@pytest.mark.parametrize("make", COMPILED)
def test_a_compiled_run_is_bitwise_the_same_and_compiles_no_more_while_it_is_watched(make: Make) -> None:
    options = {"backend": "aot_eager", "fullgraph": make is not whole}
    _, alone, before = run(make, [], **options)
    monitors = failure_monitors(factors=table(), budget=1e9, on_error="raise")
    trained, watched, after = run(make, monitors, **options)
    assert before == after
    assert after["graphs"] > 0
    for one, other in zip(alone.state_dict().values(), watched.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert hooks_on(watched) == 0
    figures = trained.callback_metrics
    inputs, labels = dataset(30, seed=1).tensors
    net = nn.Sequential(watched.body, watched.net) if make is split else watched.net
    right = (rerun(net.eval(), None)(inputs).argmax(1) == labels).float().mean()
    assert float(figures["failures/collapse/accuracy"]) == pytest.approx(float(right))
    assert float(figures["failures/factors/images/all"]) == 30
    assert "failures/channels/largest_change" in figures
    assert ("failures/collapse/effective_rank/penultimate" in figures) == (make is split)
    hidden = {} if make is split else {"collapse of the features": monitors[0].probe.hidden}
    assert monitors[-1].record.not_watched == hidden
    assert all("is compiled, and nothing can listen within" in why for why in hidden.values())


def test_with_inductor_weights_are_bitwise_the_same() -> None:
    _, alone, before = run(wrapped, [], fullgraph=True)
    _, watched, after = run(wrapped, failure_monitors(budget=1e9, on_error="raise"), fullgraph=True)
    assert before == after
    for one, other in zip(alone.state_dict().values(), watched.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_a_layer_within_what_is_compiled_cannot_be_named() -> None:
    with pytest.raises(DiscoveryError) as error:
        fit([CollapseMonitor("net._orig_mod.0", on_error="raise")], wrapped(backend="aot_eager"))
    assert str(error.value) == (
        "CollapseMonitor(layers=...): layers lie within a module that is compiled, where nothing can listen; "
        "given 'net._orig_mod.0'. Name others, or compile a part of the module that does not hold them."
    )


def test_of_a_compiled_module_its_own_inputs_and_outputs_are_recorded() -> None:
    net, x = nn.Sequential(nn.Linear(6, 4), nn.ReLU()), torch.rand(2, 6)
    net.compile(backend="aot_eager", fullgraph=True)
    with CallRecorder(listenable(net)) as recorder, CallRecorder({"again": net}) as other:
        output = net(x)
        (call,) = recorder.calls
        assert (call.name, other.calls[0].name) == ("", "again")
        assert torch.equal(call.input, x)
        assert torch.equal(call.output, output)
    assert hasattr(net._compiled_call_impl, "_torchdynamo_orig_callable")  # its own again
    assert torch.equal(net(x), output)
    assert hooks_on(net) == 0


def test_what_is_compiled_is_found_and_what_compiling_is_switched_off_for_is_none_of_it() -> None:
    net = nn.Sequential(*(nn.Sequential(nn.Linear(CLASSES, CLASSES)) for _ in range(5)))
    net[1] = torch.compile(net[1], backend="eager")
    net[2].compile(backend="eager")
    net[3].forward = torch.compile(net[3].forward, backend="eager")
    net[4].forward = torch.compiler.disable(net[4].forward)
    assert list(listenable(net)) == ["", "0", "0.0", "1", "2", "3", "4", "4.0"]
