"""Which submodules are watched, by name or by glob, and how their outputs become one row per image."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from fnmatch import fnmatchcase
from typing import Literal

from einops import rearrange
from torch import Tensor, nn

from lightning_failures.errors import InputError, UnknownNameError, few

__all__ = ["FEATURE_INFO", "PENULTIMATE", "Pooling", "find_layers", "pool", "pooling_of"]

#: Name of the features that enter the classifier head.
PENULTIMATE = "penultimate"

#: Stands for the layers that a timm model lists in its ``feature_info``.
FEATURE_INFO = "feature_info"

#: How positions are pooled: the mean of maps and tokens, the class token, the mean of maps whose last axis is d, or
#: maps not at all, for models that say something about every pixel.
Pooling = Literal["mean", "class token", "channels last", "none"]

_CLASS_TOKENS = ("cls_token", "class_token")


def find_layers(modules: Mapping[str, nn.Module], wanted: Sequence[str], where: str = "find_layers") -> dict[str, bool]:
    """The layers that some names and globs stand for, in the module's own order.

    A glob stands for every submodule whose last parts match it, part by part: ``"layer*"`` finds ``net.layer1`` and
    not ``net.layer1.0``, and ``"blocks.*"`` the blocks of a transformer. ``"feature_info"`` stands for the stages
    that a timm model lists. ``"penultimate"`` is the input of the classifier head.

    Args:
        modules: the submodules that there are, by name.
        wanted: names and globs.
        where: the public name to put into an error.

    Returns:
        Name -> whether it was named exactly, so that its absence from a step is an error.

    Raises:
        UnknownNameError: a name or a glob finds nothing.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
        >>> find_layers(dict(net.named_children()), ["[12]", "0"])
        {'0': True, '1': False, '2': False}
    """
    exact = {name for name in wanted if name in modules or name == PENULTIMATE}
    found, unknown = set(exact), []
    for name in wanted:
        if name in exact:
            continue
        matches = _stages(modules) if name == FEATURE_INFO else [known for known in modules if _fits(known, name)]
        found.update(matches)
        if not matches:
            unknown.append(name)
    if unknown:
        near = sorted(modules, key=lambda known: -SequenceMatcher(None, known, unknown[0]).ratio())
        raise UnknownNameError(
            where,
            f"no submodule is called {', '.join(map(repr, unknown))}",
            f"a module with {few(near) or 'no submodules'}",
            "Name submodules as module.named_modules() lists them.",
        )
    return {name: name in exact for name in [*modules, PENULTIMATE] if name in found}


def pooling_of(modules: Mapping[str, nn.Module], name: str) -> Pooling:
    """How the outputs of a layer are pooled.

    By the class token where the model around the layer has one and, as timm says it, uses it; over the leading axes
    where it says that its maps end with the channels; else by the mean over positions.

    Args:
        modules: the submodules that there are, by name, with the outermost as ``""``.
        name: the layer's.
    """
    parts = name.split(".")
    for end in range(len(parts) - 1, -1, -1):
        owner = modules.get(".".join(parts[:end]))
        if getattr(owner, "output_fmt", None) == "NHWC":
            return "channels last"
        holders = (owner, getattr(owner, "embeddings", None))
        if any(isinstance(getattr(holder, token, None), Tensor) for holder in holders for token in _CLASS_TOKENS):
            use = getattr(owner, "global_pool", "token")
            return "class token" if use in ("token", "") or isinstance(use, nn.Module) else "mean"
    return "mean"


def pool(value: Tensor, images: int, name: str, how: Pooling = "mean", where: str = "pool") -> Tensor:
    """One row per image and view: maps (n d h w) and tokens (n t d) are averaged over their positions.

    Args:
        value: a layer's output; its first axis holds the images, or several views of all of them after each other.
        images: number of images n.
        name: the layer's, for an error.
        how: see :data:`Pooling`.
        where: the public name to put into an error.

    Raises:
        InputError: the layer gives other rows than those of the images.
    """
    if value.ndim < 2 or not images or not len(value) or len(value) % images:
        raise InputError(
            where,
            f"the layer {name!r} does not give one row per image",
            f"{tuple(value.shape)} for {images} images",
            "Name a layer whose output keeps the images on its first axis.",
        )
    if value.ndim == 2 or (value.ndim == 4 and how == "none"):
        return value
    if value.ndim == 3:
        return value[:, 0] if how == "class token" else value.float().mean(1)
    axes = "n ... d -> n d (...)" if how == "channels last" else "n d ... -> n d (...)"
    return rearrange(value.float(), axes).mean(2)


def _fits(name: str, glob: str) -> bool:
    parts, wanted = name.split("."), glob.split(".")
    return len(parts) >= len(wanted) and all(map(fnmatchcase, parts[-len(wanted) :], wanted))


def _stages(modules: Mapping[str, nn.Module]) -> Iterable[str]:
    for name, module in modules.items():
        listed = getattr(module, "feature_info", None) or ()
        stages = [entry.get("module") for entry in listed if isinstance(entry, Mapping)]
        names = [f"{name}.{stage}" for stage in stages]
        if names and all(stage in modules for stage in names):
            return names
    return ()
