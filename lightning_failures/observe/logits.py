"""Which part of an output holds the logits, be it of a model's forward, of a submodule or of a step."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from lightning_failures.errors import DiscoveryError, few

__all__ = ["LOGIT_NAMES", "find_logits", "logits_of", "named_logits"]

#: Usual names of a field that holds logits, the surest first.
LOGIT_NAMES = ("logits", "logit", "scores", "y_hat", "preds", "pred", "predictions", "output", "outputs", "out")


def named_logits(output: Any) -> Iterator[tuple[str, Tensor]]:
    """Fields of an output that hold floats under a usual name of logits, the surest name first.

    Args:
        output: a mapping, dataclass, named tuple or any object with fields; nothing else has names.

    Example:
        >>> import torch
        >>> [name for name, _ in named_logits({"features": torch.ones(2, 8), "y_hat": torch.ones(2, 3)})]
        ['y_hat']
    """
    for name in () if isinstance(output, Tensor) else LOGIT_NAMES:
        value = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(value, Tensor) and value.is_floating_point() and value.ndim:
            yield name, value


def find_logits(output: Any) -> Tensor | None:
    """The logits in an output, in any order of its fields; None where it holds no floats but single numbers.

    The output itself where it is a tensor; else the field with the surest usual name, see :data:`LOGIT_NAMES`; else the
    first float tensor of a sequence or mapping, whose items are looked into in the same way. What is found by its place
    alone is a guess: compare it with logits that are known, or use :func:`logits_of`.

    Example:
        >>> import torch
        >>> features, logits = torch.ones(2, 8), torch.zeros(2, 3)
        >>> outputs = (logits, (logits, features), {"features": features, "logits": logits})
        >>> all(find_logits(output) is logits for output in outputs)
        True
    """
    if isinstance(output, Tensor):
        return output
    named = next(named_logits(output), None)
    if named is not None:
        return named[1]
    items = output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple | list) else ()
    floats = (found for found in map(find_logits, items) if found is not None and found.is_floating_point())
    return next((found for found in floats if found.ndim), None)


def logits_of(output: Any, where: str = "logits_of") -> Tensor:
    """The logits in what a model returns, as :func:`find_logits` finds them.

    Args:
        output: what the model returned.
        where: the public name to put into an error.

    Raises:
        DiscoveryError: there are none, or a mapping has several tensors and none of them under a usual name.
    """
    found = find_logits(output)
    nameless = isinstance(output, Mapping) and next(named_logits(output), None) is None
    if found is None or (nameless and sum(isinstance(value, Tensor) for value in output.values()) > 1):
        raise DiscoveryError(
            where,
            "the model returns no logits",
            f"a {type(output).__name__}" + (f" with {few(map(str, output))}" if isinstance(output, Mapping) else ""),
            "Pass a module whose forward returns the logits, or a mapping with the key 'logits'.",
        )
    return found
