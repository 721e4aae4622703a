"""Where the first number that is not finite came from: inputs, a weight, a layer's output, the loss, or a gradient."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.observe.batch_fields import tensors_of
from lightning_failures.observe.compiled import listenable
from lightning_failures.observe.hooks import CallRecorder
from lightning_failures.observe.undisturbed import undisturbed

__all__ = ["KINDS", "Origin", "inputs_finite", "locate", "locate_gradient"]

#: What may be first, in the order in which one makes the next one so within a step.
KINDS = ("input", "weight", "activation", "loss", "gradient")


class Origin(NamedTuple):
    """The first number of a run that was not finite.

    Args:
        step: the global step.
        kind: what it was, one of :data:`KINDS`.
        name: of the layer or the parameter; of inputs, whose they were.
    """

    step: int
    kind: str
    name: str

    @property
    def statistic(self) -> str:
        """Under which it is logged."""
        return f"not_finite_{self.kind}/{self.name}"

    @classmethod
    def earliest(cls, origins: "Iterable[Origin | None]") -> "Origin | None":
        """The first of several, as processes tell them."""
        known = [cls(*each) for each in origins if each is not None]
        return min(known, key=lambda each: (each.step, KINDS.index(each.kind)), default=None)


def inputs_finite(batch: Any) -> Tensor | None:
    """A sum over all floating-point numbers of a batch, finite where they all are; None where it has none; ()."""
    sums = [tensor.sum(dtype=torch.float32) for _, tensor in tensors_of(batch) if tensor.is_floating_point()]
    return torch.stack(sums).sum() if sums else None


def locate(
    module: LightningModule,
    batch: Any,
    step: int,
    evaluation: EvaluationContext,
    run: Callable[[], object] | None,
    whose: str,
) -> Origin:
    """Why a step's loss or logits are not finite, before anything has been made of them.

    Args:
        module: the user's, with the weights that the step ran with.
        batch: of the step.
        step: the global step.
        evaluation: says where and with which precision the step ran.
        run: runs the network on the batch again; None: it cannot be.
        whose: the inputs, ``"training"`` or ``"validation"``.
    """
    tensors = [tensor for _, tensor in tensors_of(batch) if tensor.is_floating_point()]
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        return Origin(step, "input", whose)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point() and not bool(tensor.detach().isfinite().all()):
            return Origin(step, "weight", name)
    layer = None if run is None else _first_layer(module, evaluation, run)
    return Origin(step, "loss", "loss") if layer is None else Origin(step, "activation", layer)


def locate_gradient(module: LightningModule, step: int) -> Origin:
    """The gradient that is not finite and stands nearest to the loss, going by the order of the parameters."""
    name = ""
    for each, weight in module.named_parameters():
        if weight.grad is not None and not bool(weight.grad.isfinite().all()):
            name = each
    return Origin(step, "gradient", name or "the whole module")


def _first_layer(module: LightningModule, evaluation: EvaluationContext, run: Callable[[], object]) -> str | None:
    """The innermost layer that was the first to give what is not finite; None where all gave finite numbers."""
    with undisturbed(module, evaluation.device, evaluation.precision, mode="own", hooks="own"), torch.no_grad():
        layers = {name: layer for name, layer in listenable(module).items() if name}
        with CallRecorder(layers) as recorder:
            try:
                run()
            except Exception:  # whatever a forward that was never meant for this may raise
                return None
            for call in recorder.calls:  # the innermost call ends first
                if call.output is not None and not bool(call.output.isfinite().all()):
                    return call.name
    return None
