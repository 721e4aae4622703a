"""What the losses of a step are given: it is heard, nothing is changed, and nothing stays."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lightning_failures.observe import LossListener, Passage, same_memory, trace_back, why_deaf

LABELS = torch.tensor([0, 2, 1, 1])


def modes() -> int:
    return torch._C._len_torch_function_stack()


def test_losses_are_heard_by_whatever_they_are_called() -> None:
    listener, scores = LossListener(), torch.randn(4, 3)
    listener.start()
    nn.CrossEntropyLoss(ignore_index=1)(scores, LABELS)
    F.nll_loss(scores.log_softmax(1), target=LABELS)
    F.binary_cross_entropy_with_logits(scores[:, 0], (LABELS > 0).float())
    nn.MSELoss()(scores[:, 1], torch.rand(4))
    listener.stop()
    assert [(call.function, call.ignore_index) for call in listener.calls] == [
        ("cross_entropy", 1),
        ("nll_loss", -100),
        ("binary_cross_entropy_with_logits", None),
        ("mse_loss", None),
    ]
    assert all(not call.input.requires_grad for call in listener.calls)
    listener.forget()
    assert (listener.calls, len(listener.passages)) == ([], 0)


def test_values_and_gradients_are_bitwise_those_without_it() -> None:
    weights = torch.randn(3, 5, requires_grad=True)

    def step() -> tuple[Tensor, Tensor]:
        loss = F.cross_entropy((torch.ones(4, 5) @ weights.T).half().float(), LABELS)
        (gradient,) = torch.autograd.grad(loss, weights)
        return loss.detach(), gradient

    plain, listener = step(), LossListener()
    listener.start()
    heard = step()
    listener.stop()
    assert all(torch.equal(one, other) for one, other in zip(plain, heard, strict=True))
    assert len(listener.calls) == 1


def test_an_error_of_the_step_is_its_own_and_nothing_stays() -> None:
    listener, before = LossListener(), modes()
    listener.start()
    with pytest.raises(RuntimeError, match="expand"):
        torch.ones(2).expand(3)
    listener.stop()
    listener.stop()
    assert modes() == before
    F.mse_loss(torch.ones(2), torch.ones(2))
    assert listener.calls == []


def test_a_mode_that_somebody_entered_in_the_step_is_left_where_it_is() -> None:
    class Theirs(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            seen.append(getattr(func, "__name__", ""))
            return func(*args, **(kwargs or {}))

    seen: list[str] = []
    listener, theirs, before = LossListener(), Theirs(), modes()
    listener.start()
    theirs.__enter__()
    listener.stop()
    assert modes() == before + 1
    torch.ones(2).sum()
    theirs.__exit__(None, None, None)
    assert "sum" in seen
    assert modes() == before


def test_a_fault_of_its_own_does_not_reach_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> None:
        raise KeyError("ours")

    monkeypatch.setattr(LossListener, "_note", fault)
    listener = LossListener()
    listener.start()
    assert float(torch.ones(2).sum()) == 2
    listener.stop()
    assert isinstance(listener.error, KeyError)


@pytest.mark.parametrize(
    ("steps", "change"),
    [
        (("cast",), lambda scores: scores.half().float()),
        (("shape",), lambda scores: scores.T.reshape(4, 3)),
        (("rows",), lambda scores: scores[torch.tensor([True, False, True, True])]),
        (("softmax",), lambda scores: scores.softmax(dim=1)),
        (("softmax",), lambda scores: F.log_softmax(scores, -1)),
        (("sigmoid",), torch.sigmoid),
        (("classes",), lambda scores: scores.argmax(1)),
        (("classes",), lambda scores: scores.max(dim=1).indices),
    ],
)
def test_a_tensor_is_followed_back_through_what_was_done_to_it(steps, change) -> None:  # type: ignore[no-untyped-def]
    listener, scores = LossListener(), torch.randn(4, 3)
    listener.start()
    after = change(scores)
    listener.stop()
    assert any(same_memory(origin, scores) for origin in trace_back(after, listener.passages, steps))
    assert not any(same_memory(origin, scores) for origin in trace_back(after, listener.passages, ()))


def test_labels_put_into_columns_are_followed_back() -> None:
    listener = LossListener()
    listener.start()
    columns = F.one_hot(LABELS, 3).float()
    scattered = torch.zeros(4, 3).scatter_(1, LABELS[:, None], 1.0)
    listener.stop()
    for after in (columns, scattered):
        origins = trace_back(after, listener.passages, ("cast", "shape", "one hot", "rows"))
        assert any(same_memory(origin, LABELS) for origin in origins)


def test_a_softmax_over_another_axis_is_not_one_of_classes() -> None:
    listener, weights = LossListener(), torch.randn(2, 4, 3, 3)
    listener.start()
    weights.softmax(-1)
    weights.argmax(2)
    listener.stop()
    assert len(listener.passages) == 0


def test_same_memory_is_the_same_numbers_in_the_same_order() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    assert same_memory(x, x.view(6))
    assert same_memory(x, x.detach())
    assert not same_memory(x, x.clone())
    assert not same_memory(x, x.T)
    assert not same_memory(x[:0], x[:0])
    assert not same_memory(x, None)


def test_what_listening_would_be_felt_by_is_not_listened_to() -> None:
    attention = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    assert why_deaf(nn.Sequential(nn.Linear(3, 2))) is None
    assert why_deaf(attention.train()) is None
    assert why_deaf(attention.eval()) == "it has attention layers with a fast path in evaluation mode"
    net = nn.Sequential(nn.Linear(3, 2))
    net[0].compile(backend="eager")
    assert why_deaf(net) == "a function was compiled"


def test_thousands_of_functions_are_followed_back_in_no_time() -> None:
    listener, scores = LossListener(), torch.randn(4, 3)
    listener.start()
    after = scores
    for _ in range(5000):
        after = after.clone()
    F.cross_entropy(after, LABELS)
    listener.stop()
    origins = trace_back(listener.calls[0].input, listener.passages, ("cast",))
    assert len(origins) == 5001
    for _ in range(5000):  # views of one memory are one tensor
        listener.passages.add(Passage("cast", after.detach(), after.detach()))
    assert len(trace_back(after, listener.passages, ("cast",))) == 5001
    assert origins[-1].data_ptr() == scores.data_ptr()


def test_several_listeners_hear_the_step_alone_and_not_each_other() -> None:
    listeners = [LossListener() for _ in range(5)]
    for listener in listeners:
        listener.start()
    F.cross_entropy(torch.randn(4, 3).float(), LABELS)
    LossListener.stop_all()
    torch.ones(3).float()
    assert modes() == 0
    assert [(len(each.calls), len(each.passages)) for each in listeners] == [(1, 1)] * 5


def test_what_runs_between_steps_is_not_heard() -> None:
    listener = LossListener(lambda: True)
    listener.start()
    F.cross_entropy(torch.randn(4, 3), LABELS)
    listener.stop()
    assert listener.calls == []
