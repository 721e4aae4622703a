"""Running the user's model again on inputs of our own, leaving nothing behind."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from lightning_failures.errors import DiscoveryError, few
from lightning_failures.functional.empty_batches import never_empty
from lightning_failures.functional.moments import finite_images
from lightning_failures.observe.entry import Runnable
from lightning_failures.observe.logits import find_logits
from lightning_failures.observe.undisturbed import undisturbed

__all__ = ["by_chance", "check_rerun", "rerun"]


def rerun(
    module: nn.Module,
    model: nn.Module | None = None,
    precision: Callable[[], AbstractContextManager[object]] = nullcontext,
    chunk: int = 64,
) -> Callable[[Tensor], Tensor]:
    """A function from inputs to logits, which are found in what the model returns by :func:`.find_logits`.

    It keeps no graph and runs :func:`.undisturbed`, but in the mode in which the module is: the step whose logits are
    to come again may have run in a mode of the user's own. Hooks that others have put on the module are not called.

    Args:
        module: the user's module, of which nothing may change.
        model: from inputs to logits, such as a :class:`.Runnable` of it; None: the module itself.
        precision: makes the context of mixed precision, for example ``trainer.precision_plugin.forward_context``.
        chunk: images per forward pass, which bounds the memory.
    """
    target = module if model is None else model

    @never_empty
    def run(images: Tensor) -> Tensor:
        with undisturbed(module, images.device, precision, mode="own", hooks="own"), torch.no_grad():
            # copies, since a model may write to its input
            outputs = [find_logits(target(part.clone())) for part in images.split(chunk)]
        tensors = [output.float() for output in outputs if output is not None]
        if not tensors:
            raise _not_the_logits("no tensor")
        return torch.cat(tensors)

    return run


def check_rerun(
    run: Callable[[Tensor], Tensor],
    inputs: Tensor,
    logits: Tensor,
    module: nn.Module,
    model: nn.Module | None = None,
) -> None:
    """Raise where running the model again does not give back the logits of the user's own step.

    Logits that are NaN or infinite come again where they are so again. Images that hold such values are not run, unless
    all of them do.

    Args:
        run: what :func:`rerun` gave.
        inputs: images of which the logits are known; (n b h w).
        logits: what the step gave for them with the weights as they are now; (n c).
        module: the user's, in the mode that the step left it in.
        model: what is run; one that takes more than the inputs is run with other images' share of that as well.

    Raises:
        DiscoveryError: it gives something else, or fails, or is in training mode; or the step gave logits that are not
            finite to images beside others that hold NaN or infinity, and now gives finite ones without these.
    """
    if chance := by_chance(module):
        raise DiscoveryError(
            "rerun",
            "the module is in training mode, in which an image does not give the same logits again",
            few(map(repr, chance)),
            "Leave the module in evaluation mode while it is validated.",
        )
    spoilt = ~finite_images(inputs)
    if bool(spoilt.any()) and not bool(spoilt.all()):
        inputs, logits = inputs[~spoilt], logits[~spoilt]
    try:
        again = run(inputs)
    except DiscoveryError:
        raise
    except Exception as error:  # whatever a forward that was never meant for this may raise
        raise _not_the_logits(f"{type(error).__name__}: {error}") from error
    if again.shape != logits.shape:
        raise _not_the_logits(f"outputs {tuple(again.shape)} against logits {tuple(logits.shape)}", module)
    finite = again.isfinite() & logits.isfinite()
    elsewhere = bool((~finite & ~_alike(again, logits)).any())
    largest = torch.where(finite, logits.abs(), 0.0).max().clamp(min=1)
    # bf16 keeps three digits, and the images come in other batches than the step's
    apart = float(torch.where(finite, (again - logits).abs(), 0.0).max() / largest)
    if isinstance(model, Runnable) and model.entry.takes_more:
        model.shift = 1
        moved = run(inputs)
        model.shift = 0
        if not bool(_alike(moved, again).all()):
            raise _not_the_logits("a forward of more than the images, on which its logits depend")
    if elsewhere and bool(spoilt.any()):
        raise DiscoveryError(
            "rerun",
            "the step's logits do not come again, since there are images that hold NaN or infinity",
            f"{int(spoilt.sum())} such images of {len(spoilt)}",
            "Leave them out of the dataset, or fill them in: torch.isfinite(image).all() tells which they are.",
        )
    if apart > 0.05:
        raise _not_the_logits(f"outputs that are {apart:.2g} of the largest logit apart", module)
    if elsewhere:
        raise _not_the_logits("outputs that are finite where the logits are NaN or infinite, or the other way", module)


def _alike(one: Tensor, other: Tensor) -> Tensor:
    """Where both are the same, NaN in both included."""
    return (one == other) | (one.isnan() & other.isnan())


def by_chance(module: nn.Module) -> list[str]:
    """Names of the submodules that are in training mode and then give an image other logits every time.

    Args:
        module: the user's, as a step left it.

    Example:
        >>> by_chance(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))), by_chance(nn.Dropout(0.5).eval())
        (['1'], [])
    """
    return [name for name, child in module.named_modules() if child.training and _is_by_chance(child)]


def _is_by_chance(module: nn.Module) -> bool:
    """Whether in training mode an image gives other logits by chance, or by the images beside it."""
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    return isinstance(module, nn.modules.batchnorm._BatchNorm)


def _not_the_logits(given: str, module: nn.Module | None = None) -> DiscoveryError:
    fix = "Give the module a forward(inputs) that returns its logits, so that it can be run on changed inputs."
    if module is not None and (hooked := _hooked(module)):
        given += f", while hooks of others on {few(map(repr, hooked))} are not called"
        fix = "Bind hooks that change what a module gives to it: net.register_forward_hook(self.change)."
    return DiscoveryError("rerun", "the module's forward does not give the step's logits back", given, fix)


def _hooked(module: nn.Module) -> list[str]:
    """Submodules that carry forward hooks other than torch's own and ours."""
    hooks = {name: (child._forward_hooks, child._forward_pre_hooks) for name, child in module.named_modules()}
    return [
        name or "itself"
        for name, tables in hooks.items()
        if any(not _is_of_torch(hook) for table in tables for hook in table.values())
    ]


def _is_of_torch(hook: Callable[..., object]) -> bool:
    return (getattr(hook, "__module__", None) or type(hook).__module__).startswith("torch.")
