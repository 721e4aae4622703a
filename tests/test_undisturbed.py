"""A model that is run again is left as it was: whatever its forward changes, draws from, logs and tells others of."""

import copy
import itertools
import pickle
import queue
import random
import time
from collections import Counter, OrderedDict, defaultdict, deque
from contextlib import nullcontext
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.classification import MulticlassAccuracy

from lightning_failures import attribute_channels, failure_monitors
from lightning_failures.errors import DiscoveryError
from lightning_failures.observe import CallRecorder, check_rerun, listenable, rerun, undisturbed
from tests.runs import CHANNELS, CLASSES, Classifier, fit, hooks_on, table

CPU = torch.device("cpu")


class Slotted:
    __slots__ = ("count", "last")

    def __init__(self):
        self.count, self.last = 0, torch.zeros(1)


class Remembering(nn.Module):
    """A network whose forward changes all that one can change."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * 25, CLASSES))
        self.register_buffer("queue", torch.zeros(4, CLASSES))
        self.largest = torch.zeros(())  # as an observer of a quantised network keeps it
        self.count, self.recent, self.past = 0, deque(maxlen=3), [[0]]
        self.seen, self.shapes, self.by_name = set(), Counter(), defaultdict(list)
        self.ordered = OrderedDict(first=1, second=2)
        self.helper, self.slotted, self.waiting = SimpleNamespace(calls=[], total=0.0), Slotted(), queue.Queue()
        self.array, self.pair = np.zeros(3), (torch.zeros(2), [0])
        self.same = self.past
        self.numbers = itertools.count()
        self.generator = torch.Generator().manual_seed(3)
        self.numpy, self.older, self.python = np.random.default_rng(3), np.random.RandomState(3), random.Random(3)
        self.accuracy = MulticlassAccuracy(CLASSES)
        self.hidden = [nn.BatchNorm1d(CLASSES)]  # a list, so no submodule of it

    def forward(self, x):
        logits = self.net(x)
        values = logits.detach()
        self.queue[self.count % 4] = values[0]
        self.largest.copy_(torch.maximum(self.largest, values.max()))
        self.count += 1
        self.recent.append(self.count)
        self.past[0].append(values)
        self.seen.add(self.count)
        self.shapes[tuple(x.shape)] += 1
        self.by_name[f"call {self.count}"].append(self.count)
        self.ordered.move_to_end("first")
        self.ordered["new"] = self.count
        self.helper.calls.append(values)
        self.helper.total += float(values.sum())
        self.slotted.count, self.slotted.last = self.slotted.count + 1, values[0]
        self.waiting.put(self.count)
        self.array += 1
        self.pair[0].add_(1)
        self.pair[1].append(self.count)
        self.new = values
        next(self.numbers)
        torch.rand((), generator=self.generator)
        self.numpy.random(), self.older.rand(), self.python.random()
        torch.rand(()), np.random.rand(), random.random()
        self.accuracy.update(values, values.argmax(1))
        self.hidden[0](values)
        return logits


def state(net):
    """All that the network holds, and the three global random states, in one comparable form."""

    def plain(value):
        if isinstance(value, torch.Tensor):
            return value.detach().tolist()
        if isinstance(value, nn.Module):
            return {key: plain(held) for key, held in vars(value).items() if "hooks" not in key and not callable(held)}
        if isinstance(value, torch.Generator):
            return value.get_state().tolist()
        if isinstance(value, np.random.RandomState):
            return str(value.get_state())
        if isinstance(value, np.random.Generator):
            return str(value.bit_generator.state)
        if isinstance(value, random.Random):
            return value.getstate()
        if isinstance(value, queue.Queue):
            return list(value.queue)
        if isinstance(value, Slotted):
            return value.count, plain(value.last)
        if isinstance(value, SimpleNamespace):
            return plain(vars(value))
        if isinstance(value, dict):
            return [(str(key), plain(held)) for key, held in value.items()]
        if isinstance(value, list | tuple | deque | set | np.ndarray):
            return [plain(held) for held in value]
        return repr(value)

    worlds = torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()
    return plain(net), worlds


RUNS = {
    "a rerun": lambda net, x: rerun(net, None)(x),
    "an attribution": lambda net, x: attribute_channels(
        net, x, torch.zeros(len(x), dtype=int), method="integrated_gradients"
    ),
    "a failure": lambda net, x: rerun(net, None)(x[:, :2]),
}


@pytest.mark.parametrize("name", RUNS)
def test_whatever_a_forward_changes_is_put_back(name):
    net, x = Remembering(), torch.rand(5, CHANNELS, 5, 5)
    net(x)
    held = {key: value for key, value in vars(net).items() if key != "_parameters"}
    before = state(net)
    with pytest.raises(RuntimeError) if name == "a failure" else nullcontext():
        RUNS[name](net, x)
    assert state(net) == before
    assert all(vars(net)[key] is value for key, value in held.items())
    assert net.same is net.past
    net(x)
    assert state(net) != before


def test_a_forward_sees_what_it_left_behind_within_one_context():
    net, x = Remembering(), torch.rand(5, CHANNELS, 5, 5)
    with undisturbed(net, CPU), torch.no_grad():
        net(x)
        rerun(net, None)(x)
        assert (net.count, len(net.past[0]), net.same is net.past) == (2, 3, True)
    assert (net.count, net.past, hasattr(net, "new")) == (0, [[0]], False)


@pytest.mark.parametrize("held", [(i for i in range(9)), enumerate("ab"), iter({1: 2}.items())])
def test_a_forward_that_takes_from_an_iterator_is_not_run_again(held):
    class Taking(nn.Module):
        def __init__(self):
            super().__init__()
            self.stream = held

        def forward(self, x):
            next(self.stream)
            return x

    net = Taking()
    with pytest.raises(DiscoveryError) as error:
        check_rerun(rerun(net, None), torch.rand(2, 3), torch.rand(2, 3), net)
    assert str(error.value) == (
        "rerun: the module cannot be run again, since its state could not be put back; given a forward that uses a "
        f"{type(held).__name__}. Keep what changes in buffers, attributes or lists, and take nothing from iterators "
        "or files in forward."
    )
    assert net.stream is held
    next(net.stream)  # nothing was taken


def test_a_file_that_forward_writes_to_stays_as_it_is(tmp_path):
    class Writing(nn.Linear):
        def forward(self, x):
            self.file.write("called")
            return super().forward(x)

    net = Writing(3, 2)
    stopped = pytest.raises(DiscoveryError, match="a forward that uses 'write' of a TextIOWrapper")
    with open(tmp_path / "calls.txt", "w") as net.file, stopped:
        rerun(net, None)(torch.rand(2, 3))
    assert (tmp_path / "calls.txt").read_text() == ""


class Scripted(nn.Module):
    def __init__(self):
        super().__init__()
        self.count = 0
        self.past: list[int] = [1]
        self.largest = torch.zeros(())

    def forward(self, x: torch.Tensor):
        self.count += 1
        self.past.append(self.count)
        self.largest += x.max()
        return x


class Listing(nn.Module):
    def __init__(self):
        super().__init__()
        self.past: list[torch.Tensor] = [torch.zeros(1)]

    def forward(self, x: torch.Tensor):
        self.past.append(x)
        return x


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_what_a_script_holds_is_put_back_or_the_script_is_not_run_again():
    net, x = torch.jit.script(Scripted()), torch.rand(4, 3)
    net(x)
    before = (net.count, net.past, net.largest.item())
    assert torch.equal(rerun(net, None)(x), x)
    assert (net.count, net.past, net.largest.item()) == before == (1, [1, 1], x.max().item())
    with pytest.raises(DiscoveryError, match=r"a script that holds more than numbers in 'past'"):
        rerun(nn.Sequential(torch.jit.script(Listing())), None)(x)


# -- hooks on the module


def test_hooks_that_others_put_on_a_module_do_not_fire_in_a_rerun():
    net, x, calls = Classifier().net, torch.rand(2, CHANNELS, 5, 5), []
    for child in (net, net[0]):
        child.register_forward_hook(lambda *_: calls.append("after"))
        child.register_forward_pre_hook(lambda *_: calls.append("before"))
        child.register_full_backward_hook(lambda *_: calls.append("backward"))
    tables = [dict(child._forward_hooks) for child in net.modules()]
    everywhere = nn.modules.module.register_module_forward_hook(lambda *_: calls.append("any"))
    try:
        rerun(net, None)(x)
    finally:
        everywhere.remove()
    assert calls == []
    assert [dict(child._forward_hooks) for child in net.modules()] == tables
    net(x)
    assert calls == ["before", "before", "after", "after"]


@pytest.mark.parametrize("compiled", [False, True])
def test_our_own_hooks_record_nothing_of_a_rerun_and_are_there_again_afterwards(compiled):
    net, x = Classifier().net.eval(), torch.rand(2, CHANNELS, 5, 5)
    if compiled:
        net.compile(backend="eager")
    with CallRecorder(listenable(net)) as recorder:
        net(x)
        before = len(recorder.calls)
        with undisturbed(net, CPU), CallRecorder({"inside": net}) as inside:
            net(x)
            assert len(inside.calls) == 1
        assert len(recorder.calls) == before == (1 if compiled else 8)
        net(x)
        assert len(recorder.calls) == 2 * before
    assert hooks_on(net) == 0


def test_hooks_that_belong_to_a_module_fire_in_a_rerun_and_what_they_change_is_put_back():
    class Collecting(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.found, self.calls = nn.Linear(4, 4), {}, 0
            self.body.register_forward_hook(self.collect)
            self.body.register_forward_hook(lambda *_: self.tell())

        def tell(self):
            self.calls += 1

        def collect(self, _, __, output):
            self.found["body"] = output

        def forward(self, x):
            self.body(x)
            return self.found["body"] + self.calls

    net, x = Collecting(), torch.rand(3, 4)
    expected = net.body(x) + 1
    net.found.clear()
    net.calls = 0
    assert torch.equal(rerun(net, None)(x), expected)
    assert (net.found, net.calls) == ({}, 0)


def test_a_hook_of_others_that_changes_the_logits_is_said_where_they_do_not_come_again():
    net, x = Classifier().net.eval(), torch.rand(2, CHANNELS, 5, 5)
    net[-1].register_forward_hook(lambda _, __, output: 2 * output + 3)
    with pytest.raises(DiscoveryError) as error:
        check_rerun(rerun(net, None), x, net(x).detach(), net)
    assert ", while hooks of others on '6' are not called. Bind hooks that change what a module gives to it" in str(
        error.value
    )

    class Bound(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net
            net[-1]._forward_hooks.clear()
            net[-1].register_forward_hook(self.change)

        def change(self, _, __, output):
            return 2 * output + 3

        def forward(self, x):
            return self.net(x)

    bound = Bound().eval()
    check_rerun(rerun(bound, None), x, bound(x).detach(), bound)


# -- runs


class Felt(Classifier):
    """Everything in its network is felt, and its forward logs."""

    def __init__(self):
        super().__init__()
        self.net = Remembering()
        self.logged = 0

    def forward(self, x):
        logits = self.net(x)
        self.log("mean_logit", logits.mean())
        self.log_dict({"largest_logit": logits.max()})
        return logits

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("val_loss", self.training_step(batch, _))


def seeded(make):
    L.seed_everything(5, verbose=False)
    return make()


class Counting(L.Callback):
    """Somebody's hooks, which count how often the layers are called."""

    def __init__(self):
        self.calls = 0

    def count(self, *_):
        self.calls += 1

    def on_fit_start(self, trainer, pl_module):
        for module in pl_module.modules():
            module.register_forward_hook(self.count)


def test_a_run_whose_module_remembers_everything_is_the_same_with_all_monitors():
    plain, counted = Counting(), Counting()
    alone, before = fit([plain], seeded(Felt))
    worlds = random.getstate(), str(np.random.get_state()), torch.get_rng_state()
    monitors = failure_monitors(factors=table(), budget=1e9, on_error="raise")
    run, after = fit([counted, *monitors], seeded(Felt))
    assert state(after.net)[0] == state(before.net)[0]
    assert (random.getstate(), str(np.random.get_state())) == worlds[:2]
    assert torch.equal(torch.get_rng_state(), worlds[2])
    assert counted.calls == plain.calls > 0
    for key, value in alone.callback_metrics.items():
        assert torch.equal(run.callback_metrics[key], value)
    assert monitors[-1].record.not_watched == {}
    assert "failures/channels/largest_change" in run.callback_metrics


def test_a_module_that_cannot_be_put_back_is_said_not_to_be_examined_and_trains_on():
    class Streaming(Felt):
        def __init__(self):
            super().__init__()
            self.stream = (index for index in range(10_000))

        def forward(self, x):
            self.drawn = next(self.stream)
            return self.net(x)

        def training_step(self, batch, _):
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def validation_step(self, batch, _):
            self(batch[0])

    def entered_by_forward(monitors):
        for monitor in monitors[:-1]:
            monitor.probe.inputs = lambda batch: batch[0].clone()  # not what the network takes, but as good
        return monitors

    _, before = fit([], seeded(Streaming))
    monitors = entered_by_forward(failure_monitors(budget=1e9, on_error="raise"))
    _, after = fit(monitors, seeded(Streaming))
    assert after.drawn == before.drawn
    assert state(after.net)[0] == state(before.net)[0]
    left_out = monitors[-1].record.not_watched
    rerun = ["what decides the predictions", "which bands the predictions depend on", "why it fails"]
    assert list(left_out) == rerun
    assert all("its state could not be put back" in why for why in left_out.values())


def test_a_rerun_of_a_network_of_300_modules_costs_a_few_milliseconds_more_than_its_forward():
    blocks = [nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.LayerNorm(8), nn.Dropout(0.1)) for _ in range(75)]
    net, x = nn.Sequential(*blocks), torch.rand(2, 8)
    took = []
    for _ in range(20):
        start = time.perf_counter()
        with undisturbed(net, CPU):
            pass
        took.append(time.perf_counter() - start)
    assert min(took) < 0.05
    assert rerun(net, None)(x).shape == (2, 8)


def test_copies_of_a_module_made_within_are_whole():
    net = Remembering()
    with undisturbed(net, CPU):
        net.numbers = None
        assert isinstance(copy.deepcopy(net.net), nn.Sequential)
        assert pickle.loads(pickle.dumps(net.net))[1].weight.shape == (CLASSES, CHANNELS * 25)
