"""The recorder of calls: what it keeps, in which order, and that its hooks come off."""

import pytest
import torch
from torch import Tensor, nn

from lightning_failures.observe import CallRecorder


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, *, x: Tensor) -> dict[str, Tensor]:
        features = self.first(x)
        return {"features": features, "logits": self.second(features)}


def modules(net: Outer) -> dict[str, nn.Module]:
    return {"outer": net, "first": net.first, "second": net.second}


def hooks_on(net: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in net.modules())


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
