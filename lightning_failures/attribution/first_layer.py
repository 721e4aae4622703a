"""Replacing channels through the cached output of the first layer, which is linear in them, or the plain way.

Replacing the channels G changes the first layer's output by layer(x'_G - x_G) alone, with the columns of G of its
weight, so that only the rest of the network has to run again. The way is taken where the model shows that it may be:
one convolution or linear layer takes the whole input, once, and nothing else reads it.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from lightning_failures.attribution.replacement import Baseline
from lightning_failures.observe.hooks import CallRecorder, first_tensor
from lightning_failures.observe.logits import logits_of

__all__ = ["ChannelInput", "Stem", "StemInput", "channel_input", "find_stem", "forward_replaced"]


class Stem(NamedTuple):
    """The first layer of a model: a convolution, a linear layer, or a linear patch embedding."""

    name: str
    layer: nn.Module
    axis: int  # of its input, along which its features lie
    owner: Tensor  # (features) int64, the channel of the inputs that each of its features comes from
    layout: torch.memory_format = torch.preserve_format  # of what it hands on


class ChannelInput:
    """The plain way: a model's inputs, some of whose channels are replaced before the whole model runs.

    Args:
        model: gives the logits; in ``eval``.
        inputs: images; any shape, images first.
        axis: axis of the channels.
    """

    copies = 1  #: how many states one forward may take; 1, since nothing is known of how the images of a batch interact

    def __init__(self, model: nn.Module, inputs: Tensor, axis: int) -> None:
        self.model, self.inputs, self.axis = model, inputs, axis
        self.start = inputs

    def replace(self, state: Tensor, channels: Tensor, values: Tensor) -> Tensor:
        """The state with some channels given values.

        Args:
            state: :attr:`start`, or what an earlier call returned.
            channels: which; (k), int64; as the inputs have them in ``state``.
            values: what they become, as ``inputs.index_select(axis, channels)``.
        """
        return state.index_copy(self.axis, channels, values)

    def restore(self, state: Tensor, channels: Tensor, values: Tensor) -> Tensor:
        """The state with some channels, which hold ``values``, as the inputs have them."""
        return state.index_copy(self.axis, channels, self.inputs.index_select(self.axis, channels))

    def logits(self, states: list[Tensor]) -> list[Tensor]:
        """Logits of all images in each state; at most :attr:`copies` states."""
        return [logits_of(self.model(state.clone())) for state in states]  # a model may write to its input


class StemInput(ChannelInput):
    """The fast way: states are outputs of the first layer, in float32 or finer, and only the rest of the model runs.

    Args:
        model: gives the logits; in ``eval``.
        inputs: images; any shape, images first.
        axis: axis of the channels.
        stem: the first layer.
        copies: how many states one forward takes.
    """

    def __init__(self, model: nn.Module, inputs: Tensor, axis: int, stem: Stem, copies: int = 1) -> None:
        super().__init__(model, inputs, axis)
        self.stem, self.copies = stem, copies
        self.owner = stem.owner.to(inputs.device)
        shown = inputs.clone()  # a model may write to its input
        self.read, self.dtype = self._reach(shown)
        self.direct = self.read.data_ptr() == shown.data_ptr() and torch.equal(self.read, inputs)
        self.start = self._apply(self.read, slice(None), bias=True)

    def replace(self, state: Tensor, channels: Tensor, values: Tensor) -> Tensor:
        """The state with some channels given values."""
        return state + self._shift(channels, values)

    def restore(self, state: Tensor, channels: Tensor, values: Tensor) -> Tensor:
        """The state with some channels, which hold ``values``, as the inputs have them."""
        return state - self._shift(channels, values)

    def logits(self, states: list[Tensor], placeholder: float = 0.0) -> list[Tensor]:
        """Logits of all images in each state; the model is shown an input of one constant, that nothing reads."""
        output = torch.cat(states).to(self.dtype, memory_format=self.stem.layout)
        shape = (len(states) * len(self.inputs), *self.inputs.shape[1:])
        with forward_replaced(self.stem.layer, lambda *_, **__: output):
            logits = logits_of(self.model(self.inputs.new_full((), placeholder).expand(shape)))
        return list(logits.split(len(self.inputs)))

    def _shift(self, channels: Tensor, values: Tensor) -> Tensor:
        """Change of the first layer's output on giving the channels their values."""
        if self.direct:
            return self._apply(values.to(self.start) - self.read.index_select(self.axis, channels), channels)
        read, _ = self._reach(self.inputs.index_copy(self.axis, channels, values))
        features = torch.isin(self.owner, channels).nonzero().flatten()
        pair = (part.index_select(self.stem.axis, features).to(self.start) for part in (read, self.read))
        return self._apply(next(pair) - next(pair), features)

    def _apply(self, features: Tensor, which: Any, bias: bool = False) -> Tensor:
        """The first layer on some of its features, in float32 or finer whatever the precision of the rest."""
        layer = self.stem.layer
        weight = layer.get_parameter("weight").detach()[:, which]
        wide = torch.promote_types(weight.dtype, torch.float32)
        part = copy.copy(layer)  # its own class, and so its own padding
        table: dict[str, Any] = part.__dict__
        given = layer._parameters.get("bias") if bias else None
        table["_parameters"] = {"weight": weight.to(wide), "bias": None if given is None else given.detach().to(wide)}
        with torch.autocast(features.device.type, enabled=False):
            return part.forward(features.to(wide))  # type: ignore[no-any-return]

    def _reach(self, inputs: Tensor) -> tuple[Tensor, torch.dtype]:
        """What the first layer reads, and the dtype of what it gives."""
        read = _read_by(self.stem.layer, self.model, inputs)
        if torch.is_autocast_enabled(read.device.type):
            return read, torch.get_autocast_dtype(read.device.type)
        return read, self.stem.layer.get_parameter("weight").dtype


def channel_input(
    model: nn.Module, inputs: Tensor, axis: int, stem: Stem | None, chunk_size: int
) -> ChannelInput | StemInput:
    """The fast way through a stem, or the plain way where there is none."""
    if stem is None:
        return ChannelInput(model, inputs, axis)
    return StemInput(model, inputs, axis, stem, max(1, chunk_size // len(inputs)))


def find_stem(
    model: nn.Module, inputs: Tensor, replacement: Tensor, axis: int, chunk_size: int
) -> tuple[Stem | None, str]:
    """Find the first layer and check on these inputs that its cached output gives what the whole model gives.

    Args:
        model: gives the logits; in ``eval``, under ``no_grad``.
        inputs: images; any shape, images first.
        replacement: other inputs of the same shape, every second channel of which is put in for the check.
        axis: axis of the channels.
        chunk_size: the most images in one forward.

    Returns:
        The stem, or None, and in words which way is taken and why.
    """
    stem, plain, why = _propose(model, inputs, axis)
    if stem is None or plain is None:
        return None, f"the plain way: {why}"
    channels = torch.arange(0, inputs.shape[axis], 2, device=inputs.device)
    values = Baseline(replacement, axis)(slice(None), channels)
    try:
        unread, fast = _try(model, inputs, axis, stem, chunk_size, channels, values)
    except _FAILURES:  # as where channels_last meets a view
        stem = stem._replace(layout=torch.preserve_format)
        try:
            unread, fast = _try(model, inputs, axis, stem, chunk_size, channels, values)
        except _FAILURES as error:
            said = next(iter(str(error).splitlines()), type(error).__name__)
            return None, f"the plain way: {stem.name!r} cannot be cached ({said})"
    if not _agree(unread, plain, plain.abs().max(), inputs):
        return None, f"the plain way: not only {stem.name!r} reads the inputs"
    (slow,) = ChannelInput(model, inputs, axis).logits([inputs.index_copy(axis, channels, values)])
    if not _agree(fast, slow, (slow - plain).abs().max(), inputs):
        return None, f"the plain way: {stem.name!r} is not linear in the channels"
    return stem, f"cached output of {stem.name!r}, checked against the plain way"


_FAILURES = (RuntimeError, ValueError, IndexError, TypeError, AttributeError, NotImplementedError)


def _try(
    model: nn.Module, inputs: Tensor, axis: int, stem: Stem, chunk_size: int, channels: Tensor, values: Tensor
) -> list[Tensor]:
    """Logits with nothing and with some channels replaced, while the model is shown nothing but nan."""
    trial = StemInput(model, inputs, axis, stem, max(1, chunk_size // len(inputs)))
    states = [trial.start, trial.replace(trial.start, channels, values)]
    if trial.copies > 1:
        return trial.logits(states, placeholder=torch.nan)
    return [trial.logits([state], placeholder=torch.nan)[0] for state in states]


def _propose(model: nn.Module, inputs: Tensor, axis: int) -> tuple[Stem | None, Tensor | None, str]:
    """The first layer that runs, if it has the form of a stem; the logits of the inputs; or why not."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    if any(hasattr(parameter, "device_mesh") for parameter in model.parameters()):
        return None, None, "the parameters are sharded"
    layers = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
    with CallRecorder(layers, keep=1) as recorder:
        logits = logits_of(model(inputs.clone()))
        calls = list(recorder.calls)
    if not calls:
        return None, logits, "no convolution or linear layer was seen to run"
    name, read = calls[0].name, calls[0].input
    layer, channels = layers[name], inputs.shape[axis]
    weight = layer._parameters.get("weight")
    along = -1 if isinstance(layer, nn.Linear) else 1
    if sum(call.name == name for call in calls) > 1:
        return None, logits, f"{name!r} runs more than once"
    if weight is None or nn.utils.parametrize.is_parametrized(layer):
        return None, logits, f"the weight of {name!r} is computed from others"
    if getattr(layer, "groups", 1) != 1:
        return None, logits, f"{name!r} is a grouped convolution"
    if read is None or len(read) != len(inputs):
        return None, logits, f"{name!r} does not take one row per image"
    if weight.shape[1] % channels:
        return None, logits, f"{name!r} takes {weight.shape[1]} features of {channels} channels"
    owner = torch.arange(channels) if weight.shape[1] == channels else _owners(layer, model, inputs, axis, along)
    if owner is None:
        return None, logits, f"{name!r} does not take the channels as they are"
    # A third less time for a ResNet on a CPU
    image = isinstance(layer, nn.Conv2d) and inputs.device.type == "cpu"
    return Stem(name, layer, along, owner, torch.channels_last if image else torch.preserve_format), logits, ""


def _owners(layer: nn.Module, model: nn.Module, inputs: Tensor, axis: int, along: int) -> Tensor | None:
    """The channel that each feature of a patch embedding comes from: the model is shown each channel's number."""
    channels = inputs.shape[axis]
    shape = [1] * inputs.ndim
    shape[axis] = channels
    numbers = torch.arange(channels, device=inputs.device).to(inputs.dtype).view(shape).expand_as(inputs)
    read = rearrange(_read_by(layer, model, numbers.clone()).movedim(along, -1), "... c -> (...) c")
    same = bool((read == read[0]).all() & (read[0] == read[0].round()).all() & (read[0] >= 0).all())
    return read[0].long().cpu() if same and int(read[0].max()) < channels else None


class _Reached(BaseException):
    """The first layer was reached; no ``except Exception`` of a model catches it."""

    def __init__(self, read: Tensor) -> None:
        super().__init__()
        self.read = read


def _read_by(layer: nn.Module, model: nn.Module, inputs: Tensor) -> Tensor:
    """What a layer reads on these inputs; the model does not run on."""

    def stop(*args: Any, **kwargs: Any) -> Tensor:
        read = first_tensor((*args, *kwargs.values()))
        assert read is not None
        raise _Reached(read)

    with forward_replaced(layer, stop):
        try:
            model(inputs)
        except _Reached as reached:
            return reached.read
    raise RuntimeError("the layer did not run")


@contextmanager
def forward_replaced(layer: nn.Module, forward: Callable[..., Tensor]) -> Iterator[None]:
    """Another forward of one module, its hooks as they are."""
    before = layer.__dict__.get("forward")
    layer.__dict__["forward"] = forward
    try:
        yield
    finally:
        if before is None:
            del layer.__dict__["forward"]
        else:
            layer.__dict__["forward"] = before


def _agree(fast: Tensor, plain: Tensor, scale: Tensor, inputs: Tensor) -> bool:
    """Whether two ways gave the same, as far as the precision allows."""
    fine = plain.dtype in (torch.float32, torch.float64) and inputs.device.type == "cpu"  # elsewhere: TF32
    tolerance = (1e-3 if fine else 5e-2) * scale + 64 * torch.finfo(plain.dtype).eps * plain.abs().max()
    return fast.shape == plain.shape and bool((fast - plain).abs().max() <= tolerance)
