"""Running the user's model again on inputs of our own, leaving nothing behind."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from lightning_failures.errors import DiscoveryError
from lightning_failures.probes.taps import first_tensor

__all__ = ["rerun"]


def rerun(
    module: nn.Module,
    entry: str | None,
    inputs: Tensor,
    logits: Tensor,
    precision: Callable[[], AbstractContextManager[object]] = nullcontext,
    chunk: int = 64,
) -> Callable[[Tensor], Tensor]:
    """A function from inputs to logits, checked against logits that the user's own step gave.

    It draws from a copy of the random state, keeps no graph and runs uncompiled; the caller has the module in the mode
    that it wants.

    Args:
        module: the user's module.
        entry: name of the submodule that took the inputs and gave the logits; None: the module's own ``forward``.
        inputs: images of which the logits are known; (n b h w).
        logits: what the step gave for them; (n c).
        precision: makes the context of mixed precision, for example ``trainer.precision_plugin.forward_context``.
        chunk: images a forward pass, which bounds the memory.

    Raises:
        DiscoveryError: ``forward`` does not give these logits back.
    """
    target = module if entry is None else module.get_submodule(entry)

    def run(images: Tensor) -> Tensor:
        devices = [images.device] if images.device.type == "cuda" else []
        with (
            torch.no_grad(),
            torch.random.fork_rng(devices),
            precision(),
            torch.compiler.set_stance("force_eager"),
        ):
            outputs = [first_tensor(target(part)) for part in images.split(chunk)]
        if any(output is None for output in outputs):
            raise _not_the_logits(entry, "no tensor")
        return torch.cat([output.float() for output in outputs if output is not None])

    again = run(inputs)
    scale = logits.abs().max().clamp(min=1)
    # bf16 keeps three digits, and the batch is another one than the step's
    if again.shape != logits.shape or bool((again - logits).abs().max() > 0.05 * scale):
        raise _not_the_logits(entry, f"outputs {tuple(again.shape)} against logits {tuple(logits.shape)}")
    return run


def _not_the_logits(entry: str | None, given: str) -> DiscoveryError:
    return DiscoveryError(
        "rerun",
        f"{'forward' if entry is None else entry} does not give the step's logits back",
        given,
        "Give the module a forward(inputs) that returns its logits, so that it can be run on changed inputs.",
    )
