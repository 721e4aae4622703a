"""A processor whose libraries refuse a batch of nothing, played by torch on the CPU."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.nn.functional import unfold
from torch.overrides import TorchFunctionMode

__all__ = ["REFUSED", "RefusesZeroRows", "ZeroRowsError"]

#: Operations that a library under torch (oneMKL, LAPACK, MAGMA, cuSOLVER, cuDNN, oneDNN) may refuse on no data, or that
#: torch itself does, by name.
REFUSED = re.compile(
    r"fft_(?!r?fftfreq|i?fftshift).+"
    r"|linalg_(?!.*norm|diagonal).+|cholesky.*|p?inverse|qr|svd|lu_.+|det|logdet|slogdet|cdist"
    r"|(nan)?(quantile|median)|mode|kthvalue|histc|multinomial"
    r"|.*(avg|max|lp)_pool\dd.*|interpolate|grid_sample|affine_grid|fold|im2col|col2im|pad"
    r"|conv(_transpose)?\dd|(batch|instance|group|layer)_norm"
)


class ZeroRowsError(RuntimeError):
    """What the libraries raise, in the words of oneMKL."""


class RefusesZeroRows(TorchFunctionMode):
    """Inside, every operation of :data:`REFUSED` raises where a tensor that it is given holds no number."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        refused = REFUSED.fullmatch(name) or func is unfold  # a tensor's own `unfold` is a view
        if refused and any(not tensor.numel() for tensor in _tensors((args, kwargs or {}))):
            raise ZeroRowsError(f"{name}: oneMKL FFT error: Inconsistent configuration parameters")
        return func(*args, **(kwargs or {}))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)
