"""What gradients say of a step: whether those of the step before are still there, and which units get none at all."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["LeftOver", "UnitGradients"]

#: Parameters of an optimizer that are looked at, the smallest ones.
WITNESSES = 4


class LeftOver:
    """Whether the gradient of one optimizer step is still there when the next one's is added to it.

    After a step that is looked at, each backward pass up to that optimizer's next step is watched as it begins: at one
    of them at least the gradients must be gone. That holds for several optimizers too, where one's backward pass
    begins with gradients of another, and for gradients that are accumulated over batches, where the first of them
    begins without.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> optimizer, left = torch.optim.SGD([weight], lr=0.1), LeftOver()
        >>> for _ in range(3):
        ...     left.backward_begins()
        ...     weight.sum().backward()
        ...     left.step_begins(optimizer, looked_at=True)
        ...     optimizer.step()
        >>> left.share()
        1.0
    """

    def __init__(self) -> None:
        self._open: dict[int, tuple[list[Tensor], list[Tensor | None]]] = {}  # of an optimizer: what was left of whom
        self._witnesses: dict[int, list[Tensor]] = {}  # of an optimizer
        self._found: list[Tensor] = []
        self.heard = False  #: whether anybody told of a backward pass
        self._kept: tuple[Tensor, Tensor, int] | None = None  # a parameter with its gradient and that one's version

    @property
    def watching(self) -> bool:
        """Whether a step was looked at whose next one has not come yet."""
        return bool(self._open) or self._kept is not None

    def backward_begins(self) -> None:
        """Before a backward pass: look what is left of the gradients of optimizers that have stepped."""
        self.heard = True
        for witnesses, left in self._open.values():
            gradients = [weight.grad for weight in witnesses if weight.grad is not None]
            sizes = [gradient.detach().abs().sum().float() for gradient in gradients]
            left.append(torch.stack(sizes).sum() if sizes else None)

    def step_begins(self, optimizer: Optimizer, *, looked_at: bool) -> None:
        """Before an optimizer's step: the gradients of its step before were left, or were not.

        Args:
            optimizer: that steps.
            looked_at: whether to watch up to its next step.
        """
        _, left = self._open.pop(id(optimizer), ([], []))
        if left:
            sizes = [each for each in left if each is not None]
            gone = len(sizes) < len(left)
            self._found.append(torch.zeros(()) if gone else (torch.stack(sizes).min() > 0).float())
        if looked_at:
            if not self._witnesses.get(id(optimizer)):
                tensors = (tensor for group in optimizer.param_groups for tensor in group["params"])
                self._witnesses[id(optimizer)] = _smallest(tensors)
            if witnesses := self._witnesses[id(optimizer)]:
                self._open[id(optimizer)] = witnesses, []

    def step_ends(self, weights: Sequence[Tensor], *, looked_at: bool) -> None:
        """After a training batch of a loop that tells of no backward pass: look whether one gradient was added to.

        A gradient that is the same tensor as after the step before, and was written to once since, was added to.

        Args:
            weights: of the module.
            looked_at: whether the weights have moved in this batch, so that the next one must begin without gradients.
        """
        if self._kept is not None:
            weight, before, version = self._kept
            self._kept = None
            if weight.grad is not before:
                self._found.append(torch.zeros(()))
            elif before._version == version + 1:
                self._found.append(torch.ones(()))
        if looked_at and not self.heard:
            for weight in _smallest(weights)[:1]:
                assert weight.grad is not None
                self._kept = weight, weight.grad, weight.grad._version

    def share(self) -> float:
        """Share of the steps that began with what was left since the last time; nan where none was looked at."""
        found, self._found = self._found, []
        return float(torch.stack([each.cpu() for each in found]).mean()) if found else float("nan")


def _smallest(weights: Iterable[Tensor]) -> list[Tensor]:
    known = [weight for weight in weights if weight.grad is not None]
    return sorted(known, key=lambda weight: weight.numel())[:WITNESSES]


class UnitGradients:
    """Which units got a gradient in the steps that were looked at, going by the bias of each.

    The gradient of a unit's bias is the sum of what comes back to the unit from all images. It is exactly 0 where
    nothing comes back from any of them, as behind a rectifier that none of them gets past, and hardly ever otherwise.

    Args:
        names: of the parameters of a module.
        weights: themselves, in the same order.

    Example:
        >>> layer = torch.nn.Linear(2, 3)
        >>> units = UnitGradients(["net.0.weight", "net.0.bias"], [layer.weight, layer.bias])
        >>> layer(torch.ones(4, 2))[:, :2].sum().backward()
        >>> units.look()
        >>> {name: round(share, 2) for name, share in units.dead().items()}
        {'net.0': 0.33}
    """

    def __init__(self, names: Sequence[str], weights: Sequence[Tensor]) -> None:
        pairs = [(name, weight) for name, weight in zip(names, weights, strict=True) if name.endswith("bias")]
        self._biases = {name.removesuffix("bias").rstrip("."): each for name, each in pairs if each.ndim == 1}
        self._alive: Tensor | None = None  # (u) bool
        self._known: set[str] = set()  # layers that had a gradient at all

    def look(self) -> None:
        """Note which units have a gradient now."""
        parts = []
        for name, bias in self._biases.items():
            if bias.grad is None or bias.grad.layout != torch.strided:
                parts.append(torch.zeros(len(bias), device=bias.device))
            else:
                self._known.add(name)
                parts.append(bias.grad.detach())
        if self._known:
            home = parts[0].device
            alive = torch.cat([part.to(home) for part in parts]) != 0
            self._alive = alive if self._alive is None else self._alive | alive

    def dead(self) -> Mapping[str, float]:
        """Share of units without any gradient by layer, over the steps since the last time."""
        alive, self._alive = self._alive, None
        known, self._known = self._known, set()
        if alive is None:
            return {}
        parts = alive.cpu().split([len(bias) for bias in self._biases.values()])
        shares = {name: 1 - float(part.float().mean()) for name, part in zip(self._biases, parts, strict=True)}
        return {name: share for name, share in shares.items() if name in known}
