"""Gradients while validating: they are right, and nothing of the model is changed."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_failures import attribute_channels
from lightning_failures.attribution import input_gradient
from lightning_failures.errors import DiscoveryError
from lightning_failures.observe import logits_of, ordinary, undisturbed, unwrapped

pytestmark = pytest.mark.filterwarnings("ignore:attribute_channels. integrated gradients miss")  # two points are few

CPU = torch.device("cpu")
METHODS = [
    "ablation",
    "shapley",
    "permutation",
    "conditional_permutation",
    "window_conditional_permutation",
    "gradient_x_input",
    "integrated_gradients",
    "expected_gradients",
]


class Counting(nn.Module):
    """A layer that writes to its buffers in eval too, and draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = x.detach().flatten()[:2]
        return x + 0 * torch.randn(())


def network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(6, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        Counting(),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )
    net[1].eval()  # a mixture of modes, as of a frozen layer
    return net


def everything(model: nn.Module) -> dict[str, Any]:
    return {
        "state": {name: (id(value), value.clone()) for name, value in model.state_dict(keep_vars=True).items()},
        "gradients": {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()},
        "wanted": {name: p.requires_grad for name, p in model.named_parameters()},
        "modes": {name: module.training for name, module in model.named_modules()},
        "hooks": {name: len(m._forward_hooks) + len(m._forward_pre_hooks) for name, m in model.named_modules()},
        "attributes": {name: sorted(vars(module)) for name, module in model.named_modules()},
        "random": torch.get_rng_state(),
        "gradient mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    }


def assert_same(before: Any, after: Any, where: str = "") -> None:
    if isinstance(before, dict):
        assert before.keys() == after.keys(), where
        for key in before:
            assert_same(before[key], after[key], f"{where}/{key}")
    elif isinstance(before, tuple):
        for one, other in zip(before, after, strict=True):
            assert_same(one, other, where)
    elif isinstance(before, Tensor):
        assert torch.equal(before, after), where
    else:
        assert before == after, where


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    before = everything(model)
    yield
    assert_same(before, everything(model))


@pytest.mark.parametrize("null", [None, "head", "channels"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_leaves_the_model_bitwise_as_it_was(method: Any, null: Any) -> None:
    model = network()
    inputs, targets = torch.randn(4, 6, 8, 8), torch.tensor([0, 1, 2, 0])
    nn.functional.cross_entropy(model(inputs), targets).backward()
    with unchanged(model):
        attribute_channels(model, inputs, targets, method, draws=2, null=null, chunk_size=3)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_works_inside_any_gradient_mode_with_equal_values(method: Any, context: Callable[[], Any]) -> None:
    model = network()
    inputs, targets = torch.randn(4, 6, 8, 8), torch.tensor([0, 1, 2, 0])
    expected = attribute_channels(model, inputs, targets, method, draws=2).values
    with context():
        made_here, labels = inputs + 0, targets + 0
        with unchanged(model):
            found = attribute_channels(model, made_here, labels, method, draws=2).values
    assert torch.equal(found, expected)


def test_a_model_made_in_inference_mode_can_be_differentiated_and_stays_as_it_was() -> None:
    with torch.inference_mode():
        model = network()
        inputs = torch.randn(2, 6, 8, 8)
        with unchanged(model), undisturbed(model, CPU):
            gradient, _ = input_gradient(model, ordinary(inputs), lambda logits: logits.sum(1))
    assert bool(gradient.any())
    assert all(parameter.is_inference() for parameter in model.parameters())


def test_an_error_inside_leaves_the_model_as_it_was() -> None:
    model = network()

    def fail() -> None:
        model(torch.randn(2, 6, 8, 8))
        raise ZeroDivisionError

    with unchanged(model), pytest.raises(ZeroDivisionError), undisturbed(model, CPU):
        fail()


@pytest.mark.parametrize("mixed", [False, True])
def test_training_goes_on_bitwise_as_without(mixed: bool) -> None:
    def train(watch: bool) -> dict[str, Tensor]:
        model = network().train()
        optimizer = torch.optim.AdamW(model.parameters(), 0.01)
        torch.manual_seed(1)
        for _ in range(3):
            inputs, targets = torch.randn(8, 6, 8, 8), torch.randint(0, 3, (8,))
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                if watch:  # in the middle of a step
                    attribute_channels(model, inputs, targets, "ablation", bands=2, draws=2)
                loss = nn.functional.cross_entropy(model(inputs), targets)
                if watch:  # between forward and backward
                    for method in ("shapley", "integrated_gradients", "permutation"):
                        attribute_channels(model, inputs, targets, method, bands=2, draws=2, null="head")
            loss.backward()
            optimizer.step()
        return copy.deepcopy(model.state_dict())

    assert_same(train(False), train(True))


def test_inputs_and_targets_stay_as_they_were() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.mul_(2))

    inputs, targets = torch.randn(4, 3), torch.tensor([0, 1, 1, 0])
    before = inputs.clone()
    for method in ("ablation", "shapley", "permutation"):
        attribute_channels(InPlace(), inputs, targets, method)
    assert torch.equal(inputs, before)
    assert inputs.grad is None
    assert not inputs.requires_grad


def test_the_gradient_is_that_of_autograd() -> None:
    model = network().eval()
    inputs = torch.randn(3, 6, 8, 8)
    leaf = inputs.clone().requires_grad_()
    model(leaf)[:, 1].sum().backward()
    with undisturbed(model, CPU):
        gradient, scores = input_gradient(model, inputs, lambda logits: logits[:, 1])
    assert torch.allclose(gradient, leaf.grad)
    assert torch.allclose(scores, model(inputs)[:, 1])


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_gradients_are_at_hand_inside_and_the_mode_outside_is_as_it_was(context: Callable[[], Any]) -> None:
    with context():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        with undisturbed(nn.Identity(), CPU):
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before


def test_the_model_runs_in_the_precision_that_is_asked_for_and_fills_no_cache() -> None:
    layer, inputs = nn.Linear(3, 2), torch.randn(4, 3)
    with torch.autocast("cpu", torch.bfloat16), undisturbed(layer, CPU), torch.no_grad():
        assert layer(inputs).dtype == torch.bfloat16
        assert not torch.is_autocast_cache_enabled()
    with undisturbed(layer, CPU, lambda: torch.autocast("cpu", torch.bfloat16)), torch.no_grad():
        assert layer(inputs).dtype == torch.bfloat16
    with undisturbed(layer, CPU), torch.no_grad():
        assert layer(inputs).dtype == torch.float32


def test_a_score_without_the_inputs_has_gradient_zero() -> None:
    bias = torch.ones(2, requires_grad=True)
    with undisturbed(nn.Identity(), CPU):
        gradient, _ = input_gradient(nn.Identity(), torch.ones(2, 3), lambda logits: bias)
    assert not bool(gradient.any())


def test_a_model_that_cuts_the_graph_is_named() -> None:
    class Cut(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach()

    with pytest.raises(DiscoveryError) as caught:
        attribute_channels(Cut(), torch.randn(2, 3), torch.tensor([0, 1]), "gradient_x_input")
    assert str(caught.value) == (
        "attribute_channels: the logits have no gradient by the inputs; "
        "given a model that detaches, or that runs under no_grad itself. "
        "Use method='ablation' or 'permutation', which need none."
    )


def test_logits_are_found_in_what_models_return() -> None:
    class Output:
        logits = torch.ones(2, 3)

    logits = torch.ones(2, 3)
    for output in (logits, (logits, None), [logits], {"logits": logits}, {"out": logits, "aux": None}, Output()):
        assert torch.equal(logits_of(output), logits)


def test_a_model_without_logits_says_what_it_returns() -> None:
    with pytest.raises(DiscoveryError) as caught:
        logits_of({"boxes": 1, "labels": 2}, "interchange")
    assert str(caught.value) == (
        "interchange: the model returns no logits; given a dict with boxes, labels. "
        "Pass a module whose forward returns the logits, or a mapping with the key 'logits'."
    )


def test_wrappers_are_taken_off() -> None:
    net = nn.Linear(2, 2)
    assert unwrapped(nn.DataParallel(net)) is net
    assert unwrapped(net) is net


def test_compiled_models_run_uncompiled() -> None:
    model = network()
    inputs, targets = torch.randn(2, 6, 8, 8), torch.tensor([0, 1])
    ran = []

    def backend(graph: Any, _: Any) -> Any:
        ran.append(graph)
        return graph.forward

    compiled = torch.compile(model, backend=backend)
    expected = attribute_channels(model, inputs, targets).values
    assert torch.equal(attribute_channels(compiled, inputs, targets).values, expected)
    assert not ran
