"""What the losses of one step are given, heard without changing the module or a value."""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lightning_failures.observe.compiled import is_compiled

__all__ = ["LossCall", "LossListener", "Passage", "Trail", "same_memory", "trace_back", "why_deaf"]

#: Losses that are listened to; all take an input and a target first.
LOSSES: Mapping[Any, str] = {
    getattr(functional, name): name
    for name in (
        "cross_entropy",
        "nll_loss",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "multilabel_margin_loss",
        "multilabel_soft_margin_loss",
        "multi_margin_loss",
        "mse_loss",
        "l1_loss",
        "smooth_l1_loss",
        "huber_loss",
        "gaussian_nll_loss",
        "poisson_nll_loss",
        "kl_div",
    )
}

#: What a function does to the tensor that it is given first, as far as it is followed: its numbers in another type, in
#: another shape or order, some of its rows, scores as probabilities, classes of the largest scores, classes as columns.
Step = Literal["cast", "shape", "rows", "softmax", "sigmoid", "classes", "one hot"]

_STEPS: Mapping[str, Step] = {
    **dict.fromkeys(("float", "double", "half", "bfloat16", "long", "int", "bool", "to", "type", "type_as"), "cast"),
    **dict.fromkeys(("contiguous", "clone", "detach", "cpu", "cuda"), "cast"),
    **dict.fromkeys(("view", "view_as", "reshape", "reshape_as", "flatten", "squeeze", "unsqueeze"), "shape"),
    **dict.fromkeys(("permute", "transpose", "movedim", "moveaxis", "swapaxes", "ravel"), "shape"),
    **dict.fromkeys(("__getitem__", "masked_select", "index_select"), "rows"),
    **dict.fromkeys(("softmax", "log_softmax"), "softmax"),
    **dict.fromkeys(("sigmoid", "logsigmoid"), "sigmoid"),
    **dict.fromkeys(("argmax", "max", "topk"), "classes"),
    "one_hot": "one hot",
}


class LossCall(NamedTuple):
    """One call of a loss."""

    function: str  # its name in torch.nn.functional, or that of a module's class
    input: Tensor  # detached
    target: Tensor  # detached
    ignore_index: int | None  # None: the loss has none


class Passage(NamedTuple):
    """A function on the way from a submodule, or from the batch, to a loss."""

    step: Step
    before: Tensor
    after: Tensor


class Trail:
    """Passages in the order in which they were heard, found by where the numbers that they gave stand in memory."""

    def __init__(self) -> None:
        self._all: list[Passage] = []
        self._by_address: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Passage]:
        return iter(self._all)

    def add(self, passage: Passage) -> None:
        """Add the next one."""
        self._by_address.setdefault(passage.after.data_ptr(), []).append(len(self._all))
        self._all.append(passage)

    def into(self, tensor: Tensor) -> Iterator[Passage]:
        """The passages that gave a tensor."""
        for place in self._by_address.get(tensor.data_ptr(), ()):
            if same_memory(self._all[place].after, tensor):
                yield self._all[place]


class LossListener(TorchFunctionMode):
    """Notes what the losses of :mod:`torch.nn.functional` are given, by whatever module or function they are called.

    Every function runs as it would without; what it raises is raised. :meth:`start` and :meth:`stop` may stand in two
    hooks around a step; ``stop`` takes off this mode alone, also where somebody has put another one above it since.

    Several may listen to one step, as those of monitors with a probe each: :meth:`stop_all` takes them all off, so that
    none hears what monitors do after it.

    Args:
        between_steps: whether what runs now is no part of a step, such as a callback's work; None: it never is.

    Example:
        >>> listener, logits, labels = LossListener(), torch.zeros(2, 3), torch.tensor([0, 2])
        >>> listener.start()
        >>> _ = nn.CrossEntropyLoss(ignore_index=255)(logits, labels)
        >>> listener.stop()
        >>> [(call.function, call.ignore_index, call.target is labels) for call in listener.calls]
        [('cross_entropy', 255, False)]
        >>> same_memory(listener.calls[0].target, labels)
        True
    """

    _all: ClassVar[list["LossListener"]] = []

    def __init__(self, between_steps: Callable[[], bool] | None = None) -> None:
        super().__init__()
        self.between_steps = between_steps
        self.calls: list[LossCall] = []
        self.passages = Trail()
        self.error: Exception | None = None  #: of our own, for who looks at what was heard
        self._listening = False

    def start(self) -> None:
        """Begin to listen, and forget what was heard before."""
        self.stop()
        self.forget()
        self.__enter__()  # type: ignore[no-untyped-call]
        self._listening = True
        self._all.append(self)

    @classmethod
    def stop_all(cls) -> None:
        """Stop every listener that listens; what each heard is kept."""
        for listener in list(cls._all):
            listener.stop()

    def stop(self) -> None:
        """Stop listening; what was heard is kept. Calling it twice does no harm."""
        if not self._listening:
            return
        self._listening = False
        self._all.remove(self)
        above: list[TorchFunctionMode] = []
        while torch._C._len_torch_function_stack():
            mode = torch._C._pop_torch_function_stack()
            if mode is self:
                break
            above.append(mode)
        for mode in reversed(above):
            torch._C._push_on_torch_function_stack(mode)

    def forget(self) -> None:
        """Let go of all tensors."""
        self.calls, self.passages, self.error = [], Trail(), None

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run the function as it is, and note it where it is a loss or on the way to one."""
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if self._listening and not (self.between_steps is not None and self.between_steps()):
            try:
                with torch._C.DisableTorchFunction():  # other listeners must not hear us
                    self._note(func, args, kwargs, output)
            except Exception as error:  # a guest's fault must not stop somebody's step
                self.error = self.error or error
        return output

    def _note(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        if func in LOSSES:
            bound = inspect.signature(func).bind(*args, **kwargs).arguments
            given, target = bound.get("input"), bound.get("target")
            if isinstance(given, Tensor) and isinstance(target, Tensor):
                ignored = bound.get("ignore_index", -100) if LOSSES[func] in ("cross_entropy", "nll_loss") else None
                self.calls.append(LossCall(LOSSES[func], given.detach(), target.detach(), ignored))
            return
        name: str = getattr(func, "__name__", "")
        first = args[0] if args and isinstance(args[0], Tensor) else kwargs.get("input")
        if name in ("scatter", "scatter_") and isinstance(output, Tensor):  # classes put into columns
            first = kwargs.get("index", args[2] if len(args) > 2 else None)
            if isinstance(first, Tensor):
                self.passages.add(Passage("one hot", first.detach(), output.detach()))
            return
        if not isinstance(first, Tensor):
            return
        step: Step | None = "shape" if _is_transposition(func) else _STEPS.get(name)
        if step in ("softmax", "classes") and not _over_classes(name, args, kwargs, first):
            return
        after = output if isinstance(output, Tensor) else getattr(output, "indices", None)
        if step is not None and isinstance(after, Tensor):
            self.passages.add(Passage(step, first.detach(), after.detach()))


def same_memory(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether both are the same numbers in the same order in memory, in whatever shape; reads no values.

    A tensor that holds its numbers in another order than its shape, such as a transposed one, is the same only as one
    of its own shape.
    """
    if one is None or other is None or one.dtype != other.dtype or one.numel() != other.numel() or not one.numel():
        return False
    alike = one.shape == other.shape and one.stride() == other.stride()
    if not alike and not (one.is_contiguous() and other.is_contiguous()):
        return False
    return one.data_ptr() == other.data_ptr() != 0


def trace_back(tensor: Tensor, passages: Trail, steps: Sequence[Step]) -> list[Tensor]:
    """A tensor and those that it was made from by some steps, the last one first.

    Args:
        tensor: where to begin.
        passages: what was heard.
        steps: that are followed.
    """
    found, seen = [tensor], {_view_of(tensor)}
    for known in found:  # which grows
        for passage in passages.into(known):
            if passage.step in steps and (view := _view_of(passage.before)) not in seen:
                seen.add(view)
                found.append(passage.before)
    return found


def _view_of(tensor: Tensor) -> tuple[Any, ...]:
    """What tells a tensor from others that stand in the same memory."""
    return tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


def why_deaf(module: nn.Module) -> str | None:
    """Why the losses of a module's next step cannot be listened to without being felt; None: they can.

    A mode enters the graphs that ``torch.compile`` makes, and it turns off the fast path that transformer layers take
    in evaluation mode, whose results differ in the last digits.
    """
    if _something_is_compiled(module):
        return "a function was compiled"
    fast = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)
    if any(isinstance(child, fast) and not child.training for child in module.modules()):
        return "it has attention layers with a fast path in evaluation mode"
    if any(isinstance(child, torch.jit.ScriptModule) for child in module.modules()):
        return "it has scripted submodules"
    return None


def _something_is_compiled(module: nn.Module) -> bool:
    if any(map(is_compiled, module.modules())):
        return True
    if "torch._dynamo" not in sys.modules:  # else nothing can have been compiled, and its import takes seconds
        return False
    try:
        from torch._dynamo.eval_frame import cached_backends
    except ImportError:  # where it cannot be known, nothing is listened to
        return True
    # what keeps a function out of the compiler is a backend there too, but none that can be called
    return any(map(callable, cached_backends.values()))


def _is_transposition(func: Any) -> bool:
    """Whether a function reads a property such as ``tensor.T``."""
    return any(getattr(func, "__self__", None) is each for each in (Tensor.T, Tensor.mT))


def _over_classes(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], scores: Tensor) -> bool:
    """Whether a function works along axis 1, that of the classes; of rows the last one is the same."""
    place = 2 if name == "topk" else 1
    axis = kwargs.get("dim", kwargs.get("axis", args[place] if len(args) > place else None))
    if name == "topk" and axis is None:
        axis = -1
    return isinstance(axis, int) and axis in (1, 1 - scores.ndim)
