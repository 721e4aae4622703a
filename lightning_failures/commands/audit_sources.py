"""Where the ``audit`` command takes its data from: known scenes, files of arrays, and functions that give loaders."""

import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from einops import rearrange, reduce
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures.audit.data_sums import holds_loaders
from lightning_failures.data.indian_pines import load_indian_pines
from lightning_failures.data.planted import PlantedCase, planted_scene
from lightning_failures.errors import InputError, UnknownNameError

__all__ = ["Preprocessing", "Source", "read_source"]

Preprocessing = Literal["raw", "standardised"]
BATCH = 256
KNOWN = "Name indian-pines, planted-CASE, a file of arrays .npz, or module:function that gives a DataLoader."


class Source(NamedTuple):
    """Data to be audited."""

    name: str
    train: Iterable[Any]
    validation: Iterable[Any] | None  # None: hold out a share of the former
    wavelengths: Tensor | None
    unit: str | None
    inputs: Callable[[Any], Tensor] | None = None  # None: found in the batch
    channel_axis: int | None = None  # None: found
    groups: Callable[[Any], Any] | str | None = None  # None: nobody said which images belong together


def read_source(
    where: str,
    name: str,
    preprocessing: Preprocessing,
    seed: int,
    channel_axis: int | None = None,
    groups: str | None = None,
) -> Source:
    """Data by their name.

    Args:
        where: the command, for errors.
        name: ``indian-pines``; ``planted-`` and a case; a file ``.npz``; or ``module:function``.
        preprocessing: ``"standardised"``: each channel to mean 0 and deviation 1 over the training images.
        seed: of the split of a scene.
        channel_axis: axis of the channels in a file's arrays, or in what a function's loader gives; None: found.
        groups: name of a file's array, or path into a function's batches, that says which images belong together.

    Raises:
        UnknownNameError: there are no such data.
        InputError: a file or what a function gave cannot be used.
    """
    if groups is not None and not (name.endswith(".npz") or ":" in name):
        fix = "Leave --groups away, or audit a file of arrays or a function of your own."
        raise InputError(where, "these data have no groups", f"{name} --groups {groups}", fix)
    if name == "indian-pines":
        scene = load_indian_pines(preprocessing, seed=seed)
        loaders = DataLoader(scene.train, BATCH), DataLoader(scene.validation, BATCH)
        return Source(f"{name} {preprocessing}", *loaders, scene.wavelengths, "nm")
    if name.startswith("planted-"):
        case = name.removeprefix("planted-")
        if case not in get_args(PlantedCase):
            cases = ", ".join(get_args(PlantedCase))
            raise UnknownNameError(where, "no such case", case, f"Choose among {cases}.")
        planted = planted_scene(case, seed)  # type: ignore[arg-type]
        loaders = DataLoader(planted.train, BATCH), DataLoader(planted.validation, BATCH)
        source = Source(name, *loaders, planted.wavenumbers, "cm-1")
    elif name.endswith(".npz"):
        source = _read_arrays(where, Path(name), channel_axis, groups)
    elif ":" in name:
        source = _call(where, name)._replace(channel_axis=channel_axis, groups=groups)
    else:
        raise UnknownNameError(where, "no such data", name, KNOWN)
    if preprocessing == "raw":
        return source
    inputs = _standardiser(where, source.train, source.channel_axis)
    first = None if source.channel_axis is None else 1  # where what is standardised has its channels
    return source._replace(name=f"{source.name} standardised", inputs=inputs, channel_axis=first)


def _read_arrays(where: str, path: Path, channel_axis: int | None, groups: str | None) -> Source:
    import numpy as np

    try:
        with np.load(path) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError) as error:
        given = f"{path}: {getattr(error, 'strerror', None) or error}"
        fix = "Write numpy.savez(file, images=..., labels=...)."
        raise InputError(where, "the file cannot be read", given, fix) from error
    if lacking := {"images", "labels"} - found.keys():
        given = f"{path} with {', '.join(found) or 'nothing'}"
        fix = "Name the arrays images (n b h w) and labels (n); validation_images and validation_labels may follow."
        raise UnknownNameError(where, f"arrays are missing: {', '.join(sorted(lacking))}", given, fix)
    train = _loader(where, path, found["images"], found["labels"], channel_axis, _words(where, path, found, groups))
    validation = None
    if {"validation_images", "validation_labels"} <= found.keys():
        held = found["validation_images"], found["validation_labels"]
        named = None if groups is None else f"validation_{groups}"
        validation = _loader(where, path, *held, channel_axis, _words(where, path, found, named))
    wavelengths = torch.as_tensor(found["wavelengths"]) if "wavelengths" in found else None
    at = None if groups is None else "2"
    return Source(path.stem, train, validation, wavelengths, None, channel_axis=channel_axis, groups=at)


def _words(where: str, path: Path, found: dict[str, Any], name: str | None) -> list[str] | None:
    """What groups are called, one for each image; None where no array of them is named."""
    if name is None:
        return None
    if name not in found:
        given, fix = f"{path} with {', '.join(found)}", "Name an array with a word or a number for each image."
        raise UnknownNameError(where, f"the groups {name!r} are missing", given, fix)
    return [str(word) for word in found[name].tolist()]


def _loader(
    where: str, path: Path, images: Any, labels: Any, channel_axis: int | None, groups: list[str] | None = None
) -> "DataLoader[Any]":
    if images.dtype.kind not in "fiu" or labels.dtype.kind not in "iu" or len(images) != len(labels):
        given = f"{path}: images {images.shape} {images.dtype}, labels {labels.shape} {labels.dtype}"
        fix = "Write numbers (n b h w) and whole numbers (n)."
        raise InputError(where, "images and labels cannot be used", given, fix)
    tensor = torch.from_numpy(images)
    if tensor.ndim == 3 and channel_axis is None and min(tensor.shape[1:]) > 1:  # grey images, and no spectra
        tensor = rearrange(tensor, "n h w -> n 1 h w")
    if tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.float()
    classes = torch.from_numpy(labels.astype("int64"))
    if groups is None:
        return DataLoader(TensorDataset(tensor, classes), BATCH)
    if len(groups) != len(labels):
        given = f"{path}: {len(groups)} groups for {len(labels)} images"
        raise InputError(where, "there is not one group for each image", given, "Write one for each image.")
    return DataLoader(list(zip(tensor, classes, groups, strict=True)), BATCH)  # type: ignore[arg-type]


def _call(where: str, name: str) -> Source:
    module, _, function = name.partition(":")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        give = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise UnknownNameError(where, "no such function", f"{name}: {error}", KNOWN) from error
    given = give()
    pair = isinstance(given, tuple | list) and len(given) == 2 and (isinstance(given, tuple) or holds_loaders(given))
    train, validation = given if pair else (given, None)
    for loader in (train, validation):
        if loader is not None and not isinstance(loader, Iterable):
            fix = "Return a DataLoader, or a pair of them for training and validation."
            raise InputError(where, f"{name} gave no loader", type(loader).__name__, fix)
    return Source(function, train, validation, None, None)


def _standardiser(where: str, loader: Iterable[Any], channel_axis: int | None) -> Callable[[Any], Tensor]:
    """A callable that reads the images of a batch, each channel with mean 0 and deviation 1 over the loader's."""
    from lightning_failures.functional.estimate import add_sums
    from lightning_failures.functional.moments import Moments, covariance, mean, moments
    from lightning_failures.observe.batch_fields import discover_inputs, read_field
    from lightning_failures.observe.input_view import InputView

    def images_of(batch: Any) -> Tensor:
        path = discover_inputs(batch)
        if path is None:
            raise InputError(where, "no images were found", type(batch).__name__, "Give batches of (images, labels).")
        images: Tensor = read_field(batch, path, where)
        return InputView.of(tuple(images.shape), channel_axis, f"{where}(channel_axis=...)").read(images).float()

    sums: Moments | None = None
    with torch.random.fork_rng(devices=[]):
        for batch in loader:
            images = images_of(batch)
            rows = reduce(images, "n b ... -> n b", "mean")
            squares = reduce(images.double().square(), "n b ... -> n b", "mean")
            more = Moments(*moments(rows)[:2], torch.diag(squares.sum(0)))
            sums = more if sums is None else add_sums([sums, more])
    if sums is None:
        raise InputError(where, "there is no data", "a loader without batches", "Give one with images and labels.")
    variance = covariance(sums).diagonal().clamp(min=0) * (sums.count - 1) / sums.count  # of pixels, n below
    centre, deviation = mean(sums), variance.sqrt()
    scale = torch.where(deviation > 0, 1 / deviation, 0.0)

    def standardised(batch: Any) -> Tensor:
        images = images_of(batch)
        shape = (-1, *[1] * (images.ndim - 2))
        return (images - centre.to(images).reshape(shape)) * scale.to(images).reshape(shape)

    return standardised
