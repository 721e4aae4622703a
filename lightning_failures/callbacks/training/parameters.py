"""The parameters of a module: which of them are trained, who holds them, and a few numbers of each, read quickly."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

__all__ = ["Membership", "WatchedParameters", "common_name", "norms", "sample"]

#: Numbers that are read of each tensor: so many neighbours at so many places, since neighbours cost one look at memory.
NEIGHBOURS, PLACES = 16, 16
SAMPLED = NEIGHBOURS * PLACES


class Membership(NamedTuple):
    """Which parameters are trained and who holds them; by their places in the module's own order."""

    trained: frozenset[int]  # require a gradient
    held: frozenset[int] | None  # an optimizer holds them; None: no optimizer is known
    strangers: tuple[Tensor, ...]  # what an optimizer holds and the module does not


class WatchedParameters:
    """A module's parameters as they were when the training began, with what tells whether each has moved since.

    Left out are tensors that hold no plain real numbers: lazy ones, sparse ones, empty and complex ones.

    Args:
        module: that is trained.

    Example:
        >>> net = nn.Linear(3, 2)
        >>> watched = WatchedParameters(net)
        >>> with torch.no_grad():
        ...     _ = net.bias.add_(1)
        >>> watched.names, watched.moved(watched.read())
        (('weight', 'bias'), [False, True])
    """

    def __init__(self, module: nn.Module) -> None:
        named = [(name, weight) for name, weight in module.named_parameters() if _is_plain(weight)]
        self.names = tuple(name for name, _ in named)
        self.weights = tuple(weight for _, weight in named)
        self.sizes = tuple(weight.numel() for weight in self.weights)
        self.start = self.read()
        self._norms = norms(self.weights)
        self._moved = [False] * len(named)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def device(self) -> torch.device:
        """Where the first of them is."""
        return self.weights[0].device

    def read(self) -> Tensor:
        """Numbers of each parameter; (t s), float32."""
        return sample(self.weights)

    def is_of(self, module: nn.Module) -> bool:
        """Whether these are the parameters that a module has now."""
        now = [weight for weight in module.parameters() if _is_plain(weight)]
        return len(now) == len(self) and all(one is other for one, other in zip(now, self.weights, strict=True))

    def moved(self, now: Tensor) -> list[bool]:
        """Whether each has moved since the beginning: by what was read of it, and by all of it where that is the same.

        Args:
            now: what :meth:`read` gives now; (t s).
        """
        differ = (now != self.start).any(1).tolist()
        self._moved = [one or other for one, other in zip(self._moved, differ, strict=True)]
        still = [place for place, moved in enumerate(self._moved) if not moved]
        if still:
            before = self._norms[:, still]
            changed = (norms([self.weights[place] for place in still]) != before).any(0).tolist()
            for place, moved in zip(still, changed, strict=True):
                self._moved[place] = moved
        return list(self._moved)

    def membership(self, optimizers: Iterable[Optimizer] | None) -> Membership:
        """Which are trained, and which of them an optimizer holds.

        Args:
            optimizers: of the run; None: not known.
        """
        trained = frozenset(place for place, weight in enumerate(self.weights) if weight.requires_grad)
        given = [tensor for each in optimizers or () for group in each.param_groups for tensor in group["params"]]
        if not given:
            return Membership(trained, None, ())
        places = {id(weight): place for place, weight in enumerate(self.weights)}
        held = frozenset(places[id(tensor)] for tensor in given if id(tensor) in places)
        return Membership(trained, held, tuple(tensor for tensor in given if id(tensor) not in places))

    def share(self, places: Iterable[int], among: Iterable[int]) -> float:
        """Share of the numbers of some parameters among those of others; nan among none."""
        total = sum(self.sizes[place] for place in among)
        return sum(self.sizes[place] for place in places) / total if total else float("nan")


def sample(tensors: Sequence[Tensor]) -> Tensor:
    """Up to 256 numbers of each tensor, the same places at each call, with zeros where it has fewer; (t 256), float32.

    They are 16 runs of 16 neighbours, evenly spread: enough for a root mean square to within a few hundredths, and read
    in a small part of the time that all of a large tensor takes.

    Args:
        tensors: of any shapes and real types.
    """
    if not tensors:
        return torch.zeros(0, SAMPLED)
    home = tensors[0].device
    return torch.stack([_few(tensor.detach()).to(home) for tensor in tensors])


def _few(tensor: Tensor) -> Tensor:
    numbers = tensor.numel()
    if numbers <= SAMPLED:
        return nn.functional.pad(tensor.reshape(-1).float(), (0, SAMPLED - numbers))
    lasting = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    if not (tensor.is_contiguous() or lasting):
        tensor = tensor.contiguous()
    spread = tensor.as_strided((PLACES, NEIGHBOURS), (numbers // PLACES, 1), tensor.storage_offset())
    return spread.reshape(-1).float()


def norms(tensors: Sequence[Tensor]) -> Tensor:
    """Sum of sizes and root of the sum of squares of each tensor, in float64 on the CPU; (2 t).

    Two numbers that hardly ever stay the same where any number of the tensor changes.
    """
    if not tensors:
        return torch.zeros(2, 0, dtype=torch.float64)
    plain = [tensor.detach() for tensor in tensors]
    each = [[torch.linalg.vector_norm(tensor, order, dtype=_wide(tensor)) for tensor in plain] for order in (1, 2)]
    home = plain[0].device
    return torch.stack([torch.stack([one.to(home) for one in row]) for row in each]).cpu().double()


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.float32 if tensor.device.type == "mps" else torch.float64


def common_name(names: Sequence[str]) -> str:
    """The deepest module that holds all of some parameters; the parameter itself where there is one.

    Example:
        >>> common_name(["net.body.0.weight", "net.body.1.weight"]), common_name(["net.0.bias"])
        ('net.body', 'net.0.bias')
    """
    if len(names) == 1:
        return names[0]
    together: list[str] = []
    for parts in zip(*(name.split(".") for name in names), strict=False):
        if len(set(parts)) > 1:
            break
        together.append(parts[0])
    return ".".join(together) or "the whole module"


def _is_plain(weight: Tensor) -> bool:
    """Whether it holds real numbers that can be read in place."""
    return (
        not is_lazy(weight)
        and weight.layout == torch.strided
        and weight.is_floating_point()
        and weight.numel() > 0
        and weight.device.type != "meta"
    )
