"""What the logits of an output are: one answer for rerunning, for discovery and for attribution."""

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from lightning_failures import ChannelAttributionMonitor, Probe, SimplicityBiasMonitor, attribute_channels, interchange
from lightning_failures.errors import DiscoveryError
from lightning_failures.observe import find_logits, logits_of, named_logits
from tests.runs import Classifier, dataset, fit

LOGITS, FEATURES = torch.rand(4, 3), torch.rand(4, 8)


@dataclass
class Output:
    features: Tensor
    logits: Tensor


class Pair(NamedTuple):
    features: Tensor
    logits: Tensor


#: What a forward may return of its features and its logits.
RETURNS = {
    "features first": lambda features, logits: {"features": features, "logits": logits},
    "logits first": lambda features, logits: {"logits": logits, "features": features},
    "another usual name": lambda features, logits: {"features": features, "y_hat": logits},
    "a dataclass": Output,
    "a named tuple": Pair,
    "an object": lambda features, logits: SimpleNamespace(hidden_states=features, logits=logits),
    "a tuple": lambda features, logits: (logits, features),
    "a tuple that begins with a loss": lambda features, logits: (logits.sum(), logits, features),
    "a list": lambda features, logits: [logits],
    "nested": lambda features, logits: ({"features": features, "logits": logits}, features),
}


@pytest.mark.parametrize("kind", RETURNS)
def test_logits_are_found_in_any_order_of_the_fields(kind: str) -> None:
    output = RETURNS[kind](FEATURES, LOGITS)
    assert find_logits(output) is LOGITS
    assert logits_of(output) is LOGITS


def test_the_surest_name_comes_first_and_holds_floats() -> None:
    output = {
        "preds": torch.ones(4, dtype=torch.int64),
        "scores": FEATURES,
        "logits": LOGITS,
        "logit": torch.tensor(1.0),
    }
    assert [name for name, _ in named_logits(output)] == ["logits", "scores"]


def test_an_output_without_floats_has_no_logits() -> None:
    for output in (None, 3, (), {"labels": torch.ones(4, dtype=torch.int64)}, [torch.tensor(0.5)], "logits"):
        assert find_logits(output) is None


def test_a_mapping_of_several_tensors_without_a_usual_name_is_a_guess_that_is_refused() -> None:
    output = {"embedding": FEATURES, "z": LOGITS}
    assert find_logits(output) is FEATURES
    with pytest.raises(DiscoveryError) as caught:
        logits_of(output, "interchange")
    assert str(caught.value) == (
        "interchange: the model returns no logits; given a dict with embedding, z. "
        "Pass a module whose forward returns the logits, or a mapping with the key 'logits'."
    )
    assert logits_of({"z": LOGITS}) is LOGITS


class Returning(nn.Module):
    """A network that returns its features and its logits together."""

    def __init__(self, net: nn.Sequential, kind: str) -> None:
        super().__init__()
        self.body, self.head, self.kind = net[:-1], net[-1], kind

    def forward(self, x: Tensor) -> Any:
        features = self.body(x)
        return RETURNS[self.kind](features, self.head(features))


class Together(Classifier):
    """The classifier, whose forward returns features and logits."""

    def __init__(self, kind: str, through_forward: bool = False) -> None:
        super().__init__()
        self.net = Returning(self.net, kind)
        self.through_forward = through_forward

    def forward(self, x: Tensor) -> Any:
        return self.net(x)

    def training_step(self, batch: Any, _: int) -> Tensor:
        output = self(batch[0]) if self.through_forward else self.net(batch[0])
        return nn.functional.cross_entropy(find_logits(output), batch[1])

    validation_step = training_step


class Alone(Classifier):
    """The same classifier, whose forward returns its logits alone."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Returning(self.net, "a list")

    def training_step(self, batch: Any, _: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0])[0], batch[1])

    validation_step = training_step


def examined(kind: type[Classifier], *args: Any) -> dict[str, float]:
    """What both monitors log of a run, the same for each kind of module but for what its forward returns."""
    torch.manual_seed(2)  # of some other networks all predictions agree at first, and there is nothing to interchange
    options: dict[str, Any] = {"on_error": "raise", "budget": 100.0}
    watch = [SimplicityBiasMonitor(**options), ChannelAttributionMonitor(**options)]
    values = fit(watch, kind(*args), epochs=1)[0].callback_metrics
    return {key: float(value) for key, value in values.items() if "/own/1" in key or "/change/" in key}


@pytest.fixture(scope="module")
def of_logits_alone() -> dict[str, float]:
    found = examined(Alone)
    assert sum("/own/1" in key for key in found) == 1
    assert sum("/change/" in key for key in found) == 6
    assert all(map(math.isfinite, found.values()))
    return found


@pytest.mark.parametrize("kind", RETURNS)
def test_interchange_and_channels_are_examined_whatever_else_a_forward_returns(
    kind: str, of_logits_alone: dict[str, float]
) -> None:
    assert examined(Together, kind) == of_logits_alone


@pytest.mark.parametrize("kind", ["features first", "a dataclass"])
def test_a_step_that_calls_the_modules_own_forward_is_examined_too(
    kind: str, of_logits_alone: dict[str, float]
) -> None:
    assert examined(Together, kind, True) == of_logits_alone


@pytest.mark.parametrize("logits", [None, "net", "output"])
@pytest.mark.parametrize("kind", ["features first", "another usual name", "a dataclass"])
def test_a_probe_finds_what_gave_the_logits_and_reads_them_there(kind: str, logits: str | None) -> None:
    module = nn.ModuleDict({"net": Returning(Classifier().net, kind).eval()})
    batch = dataset(8)[:8]
    probe, user = Probe(logits=logits), object()
    probe.attach(module, user)
    output = module["net"](batch[0])
    seen = probe.observe(module, {"loss": torch.tensor(0.0), "output": output}, batch)
    probe.detach(user)
    assert torch.equal(seen.logits, find_logits(output))
    assert probe.entry is not None
    assert probe.entry.name == "net"


@pytest.mark.parametrize("kind", RETURNS)
def test_interchange_and_attribution_without_lightning_take_the_same_outputs(kind: str) -> None:
    torch.manual_seed(0)
    model = Returning(Classifier().net, kind).eval()
    plain = nn.Sequential(model.body, model.head).eval()
    inputs, labels = dataset(12).tensors
    found = attribute_channels(model, inputs, labels).values
    assert torch.equal(found, attribute_channels(plain, inputs, labels).values)
    donors, directions = inputs.roll(1, 0), torch.eye(6)[:, :2]
    assert torch.equal(interchange(model, inputs, donors, directions), interchange(plain, inputs, donors, directions))
