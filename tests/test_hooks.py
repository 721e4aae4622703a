"""The recorder of calls: what it keeps, in which order, and that its hooks come off."""

import copy
import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from lightning_failures import failure_monitors
from lightning_failures.observe import CallRecorder
from tests.runs import Classifier, fit, hooks_on, table

TABLES = ("_forward_hooks", "_forward_hooks_with_kwargs")


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, *, x: Tensor) -> dict[str, Tensor]:
        features = self.first(x)
        return {"features": features, "logits": self.second(features)}


def modules(net: Outer) -> dict[str, nn.Module]:
    return {"outer": net, "first": net.first, "second": net.second}


def own_tables(net: nn.Module) -> bool:
    tables = [module.__dict__[name] for module in net.modules() for name in TABLES]
    return all(type(table) is OrderedDict for table in tables)


def saved_and_loaded(net: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def test_calls_are_recorded_as_they_end_with_the_logits_beside_the_first_output() -> None:
    net, x = Outer(), torch.randn(5, 3)
    with CallRecorder(modules(net)) as recorder:
        output = net(x=x)
        assert [call.name for call in recorder.calls] == ["first", "second", "outer"]
        first, _, outer = recorder.calls
        assert torch.equal(outer.input, x)
        assert torch.equal(outer.output, output["features"])
        assert torch.equal(outer.logits, output["logits"])
        assert torch.equal(first.output, first.logits)
        assert not any(tensor.requires_grad for call in recorder.calls for tensor in call[1:4])
    assert hooks_on(net) == 0
    assert recorder.calls == []


def test_only_the_first_calls_keep_their_tensors_where_that_is_asked_for() -> None:
    net = Outer()
    with CallRecorder(modules(net), keep=1) as recorder:
        net(x=torch.randn(5, 3))
        assert [call.input is None for call in recorder.calls] == [False, True, True]
        assert [call.name for call in recorder.calls] == ["first", "second", "outer"]
    with CallRecorder(modules(net), keep=0) as recorder:
        net(x=torch.randn(5, 3))
        assert all((call.input, call.output, call.logits) == (None, None, None) for call in recorder.calls)
        assert len(recorder.calls) == 3


def test_hooks_come_off_after_an_error_and_nothing_is_recorded_while_paused() -> None:
    net = Outer()

    def paused_and_then_of_a_wrong_size() -> None:
        with CallRecorder(modules(net)) as recorder:
            with recorder.paused():
                net(x=torch.randn(5, 3))
            assert recorder.calls == []
            net(x=torch.randn(5, 7))

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        paused_and_then_of_a_wrong_size()
    assert hooks_on(net) == 0


# -- what others do with a module that is listened to

COPIES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "torch.save": saved_and_loaded,
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "copy.deepcopy": copy.deepcopy,
    "torch.jit.script": torch.jit.script,
}

#: torch deprecates scripts, by one class of warning or another; users' old code makes some
deprecated = pytest.mark.filterwarnings("ignore:.*torch.jit")


@deprecated
@pytest.mark.parametrize("name", COPIES)
def test_a_copy_of_a_module_that_is_listened_to_gives_the_same_and_holds_no_hook(name: str) -> None:
    net, x = Classifier().net.eval(), torch.rand(2, 6, 5, 5)
    with CallRecorder(dict(net.named_modules())) as recorder, CallRecorder({"6": net[6]}):
        expected = net(x)
        count = len(recorder.calls)
        assert hooks_on(net) == 9
        copied = COPIES[name](net)
        assert torch.equal(copied(x), expected)
        assert len(recorder.calls) == count == 8
    assert hooks_on(copied) == 0
    assert isinstance(copied, torch.jit.ScriptModule) or own_tables(copied)
    assert own_tables(net)


def test_what_is_saved_of_a_module_that_is_listened_to_loads_without_this_package() -> None:
    net, file = Classifier().net, io.BytesIO()
    with CallRecorder(dict(net.named_modules())):
        torch.save(net, file)
        assert b"lightning_failures" not in pickle.dumps(net)
        assert b"lightning_failures" not in file.getvalue()


def test_a_module_that_is_listened_to_is_traced_by_torch_fx_as_any_other() -> None:
    net, x = Classifier().net.eval(), torch.rand(2, 6, 5, 5)
    expected = torch.fx.symbolic_trace(net).code
    with CallRecorder(dict(net.named_modules())) as recorder:
        traced = torch.fx.symbolic_trace(net)
        assert recorder.calls == []
        assert traced.code == expected
        assert torch.equal(traced(x), net(x))
    assert hooks_on(traced) == 0


def test_a_module_that_is_listened_to_is_exported_as_any_other() -> None:
    net, x = Classifier().net.eval(), torch.rand(2, 6, 5, 5)
    with CallRecorder(dict(net.named_modules())) as recorder:
        exported = torch.export.export(net, (x,)).module()
        assert recorder.calls == []
        assert torch.equal(exported(x), net(x))


class Copying(L.Callback):
    """Somebody's callback that copies the network while it is validated."""

    def __init__(self, copied: Callable[[nn.Module], nn.Module]) -> None:
        self.copied = copied
        self.networks: list[nn.Module] = []

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.networks.append(self.copied(pl_module.net))

    def on_validation_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        self.networks.append(self.copied(pl_module.net))


@deprecated
@pytest.mark.parametrize(("name", "place"), [*((name, 0) for name in COPIES), ("torch.save", 9)])
def test_anybody_may_copy_the_network_in_a_run_that_is_watched(name: str, place: int) -> None:
    alone, (_, plain) = Copying(COPIES[name]), fit([])
    monitors = failure_monitors(factors=table(), budget=1e9, on_error="raise")
    run, module = fit([*monitors[:place], alone, *monitors[place:]])
    for one, other in zip(plain.state_dict().values(), module.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert run.callback_metrics["failures/collapse/effective_rank/penultimate"] >= 1
    assert len(alone.networks) == 3 + 2 * 5  # a sanity check of two batches, two evaluations of four
    assert all(hooks_on(net) == 0 for net in alone.networks)
    assert own_tables(module)


def exported(net: nn.Module) -> nn.Module:
    return torch.export.export(net, (torch.rand(2, 6, 5, 5),)).module()


def traced(net: nn.Module) -> nn.Module:
    return torch.jit.trace(net, torch.rand(2, 6, 5, 5))


class Exporting(L.Callback):
    """Somebody's callback that exports the network as it is validated, and sees that it gives the same."""

    def __init__(self, made: Callable[[nn.Module], nn.Module]) -> None:
        self.made, self.same = made, 0

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == 0:
            with torch.random.fork_rng():
                self.same += torch.allclose(self.made(pl_module.net)(batch[0][:2]), pl_module.net(batch[0][:2]))


@deprecated
@pytest.mark.parametrize("made", [exported, traced])
def test_anybody_may_export_the_network_in_a_run_that_is_watched(made: Callable[[nn.Module], nn.Module]) -> None:
    alone, _ = fit(failure_monitors(factors=table(), budget=1e9, on_error="raise"))
    other, monitors = Exporting(made), failure_monitors(factors=table(), budget=1e9, on_error="raise")
    run, module = fit([other, *monitors])
    assert other.same == 3
    assert own_tables(module)
    key = "failures/collapse/effective_rank/penultimate"
    assert torch.equal(run.callback_metrics[key], alone.callback_metrics[key])


class Calling(L.Callback):
    """Somebody's callback that runs the network before and after each step."""

    def on_validation_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, *_: Any) -> None:
        pl_module.net(batch[0])

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        pl_module.net(batch[0][:1].flip(1))


@pytest.mark.parametrize("place", [0, 9])
def test_calls_that_other_callbacks_make_between_the_steps_are_not_taken_for_the_step(place: int) -> None:
    alone, _ = fit(failure_monitors(factors=table(), budget=1e9, on_error="raise"))
    monitors = failure_monitors(factors=table(), budget=1e9, on_error="raise")
    run, _ = fit([*monitors[:place], Calling(), *monitors[place:]])
    for name in ("accuracy", "effective_rank/penultimate"):
        key = f"failures/collapse/{name}"
        assert torch.equal(run.callback_metrics[key], alone.callback_metrics[key])


# -- users' own hooks


def test_hooks_of_the_users_are_called_before_ours_and_can_come_and_go_while_we_listen() -> None:
    net, x, said = nn.Linear(3, 2), torch.randn(5, 3), []
    before = net.register_forward_hook(lambda *_: said.append("before"))
    with CallRecorder({"net": net}) as recorder:
        net(x)
        before.remove()
        doubled = net.register_forward_hook(lambda _, args, kwargs, output: 2 * output, with_kwargs=True)
        first = net.register_forward_hook(lambda *_: said.append("first"), prepend=True)
        output = net(x)
        assert torch.equal(recorder.calls[-1].output, output)
        assert torch.equal(output, 2 * recorder.calls[0].output)
        assert [len(net.__dict__[name]) for name in TABLES] == [2, 1]
    assert said == ["before", "first"]
    assert own_tables(net)
    with CallRecorder({"net": net}):
        assert torch.equal(net(x), output)
    first.remove()
    doubled.remove()
    assert [len(net.__dict__[name]) for name in TABLES] == [0, 0]
    net(x)
    assert said == ["before", "first", "first"]


def test_a_copied_handle_takes_off_the_hook_of_the_copy() -> None:
    net = nn.Linear(3, 2)
    net.handle = net.register_forward_hook(print)
    with CallRecorder({"net": net}):
        copies = [copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    for copied in copies:
        assert hooks_on(copied) == 1
        copied.handle.remove()
        assert hooks_on(copied) == 0
    assert hooks_on(net) == 1


def test_tables_behave_as_the_users_own_in_everything_else() -> None:
    net = nn.Linear(3, 2)
    with CallRecorder({"net": net}):
        hooks = net._forward_hooks
        assert bool(hooks)
        assert (len(hooks), list(hooks), list(hooks.keys()), list(hooks.values())) == (0, [], [], [])
        net.register_forward_hook(print)
        (key,) = hooks
        assert hooks[key] is print
        assert copy.copy(hooks) == {key: print}
        assert hooks.pop(key) is print
        assert hooks.pop(key, None) is None
        net.register_forward_hook(print)
        hooks.clear()
        assert hooks_on(net) == 1
    assert hooks_on(net) == 0
