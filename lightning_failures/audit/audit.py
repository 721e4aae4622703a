"""The audit of data before a model is trained: what they invite a network to do, in figures."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import hypot, isfinite
from typing import Any

import torch

from lightning_failures.audit.accuracies import (
    MORE_STEPS,
    accuracy,
    content_trial,
    difference,
    directions_right,
    longer_trial,
    mean_spectrum_sums,
    rungs_right,
    small_networks_right,
    spread_of,
    trial_accuracy,
    trial_difference,
)
from lightning_failures.audit.contents import ContentsRight, contents_right
from lightning_failures.audit.copies import NO_NEAR_COPIES
from lightning_failures.audit.data_audit import ContentReading, DataAudit, linear_rung, without_view
from lightning_failures.audit.data_sums import BatchLayout, DataSums, holds_loaders
from lightning_failures.audit.groups import GroupAudit, feature_of
from lightning_failures.audit.inputs import InputDifference, SeenInputs, input_difference
from lightning_failures.audit.labels import label_names
from lightning_failures.audit.risks import find_risks
from lightning_failures.errors import InputError
from lightning_failures.functional.estimate import add_sums, jackknife
from lightning_failures.functional.label_directions import directions_for_variance, half_slowdown, label_directions
from lightning_failures.functional.ladder import best_channel
from lightning_failures.functional.moments import ClassMoments, Moments, covariance, mean, offset_ratio, spectrum
from lightning_failures.functional.spectra import effective_rank, top1_share
from lightning_failures.interventions.changes import Denormalize
from lightning_failures.observe.batch_fields import Field
from lightning_failures.observe.group_reader import GroupReader, GroupSource
from lightning_failures.spectrum.axes import Axis, channel_names, unit_of

__all__ = ["audit_data"]

FEWEST = 20  # training images, and held-out ones


def audit_data(
    loader: Iterable[Any],
    validation: Iterable[Any] | float = 0.3,
    *,
    wavelengths: Any = None,
    unit: str | None = None,
    inputs: Field | None = None,
    targets: Field | None = None,
    denormalize: Denormalize | None = None,
    cues: Mapping[str, Field] | None = None,
    groups: GroupSource | None = None,
    ids: Field | None = None,
    ignore_index: int | None = None,
    channel_axis: int | None = None,
    steps: int = 200,
    seed: int = 0,
    name: str = "data",
) -> DataAudit:
    """Say, before any training, what images invite a network to do.

    One pass over the data sums their spectra and the features of every rung of the ladder of simple models, keeps a
    bounded sample, and a number of 64 bits of each image, by which copies are found: images on both sides of the
    split, more than once on one, or under several labels; near copies in a sample of both sides. Then: how much all
    images share against how they differ; variance and label information along each principal direction of the mean
    spectra; the accuracy of each rung; and that of a small network with batch norm, trained for some seconds on the
    images as given, standardised, and with a part of their information alone or taken away; where it reads nothing, it
    is trained for 400 steps more before that is said. Each content of the images (level, colour, texture, border, one
    channel, ...) is looked at alone, and the images without it, by linear models; where a poor one gives nearly all,
    the small network is trained without the smallest such, and without those without which a linear model reads
    nothing. Held-out batches are compared with training batches channel by channel. What may go wrong in training is
    named only where a figure shows it. Torch's random state stays as it is, and the same data in other batches give the
    same figures.

    Args:
        loader: training batches in any form that a step takes: tuples, mappings, dataclasses. No list of loaders.
        validation: held-out batches; or the share of the loader's images to hold out, drawn at random. Images that
            belong together (of one patient, or patches that overlap) must be on one side: pass batches then.
        wavelengths: place of each channel; (b), any sequence of numbers.
        unit: ``"nm"``, ``"um"`` or ``"cm-1"``.
        inputs: path of the images (n b h w), or spectra (n b), in a batch, or a callable; None: found.
        targets: path of the class labels, one per image (n) or per pixel (n h w), negative where unknown; None: found.
        denormalize: gives raw units back, for the total absorbance, the level and the colour of normalised inputs:
            ``(mean, std)`` that standardised them, each a number or one for each channel, or a callable of images.
        cues: name -> path of further cues in the batch, one number per image (n) or several (n k), such as a category
            one-hot.
        groups: which images belong together, such as those of one study, patient, slide or scanner: a path or callable
            into the batch, or one for each row of the dataset; see :class:`.GroupReader`. A linear model then reads the
            label of each group that it has not seen, beside one for which groups are mixed.
        ids: path or callable into the batch that gives each image's id, where groups go by id.
        ignore_index: a label that is left out.
        channel_axis: axis of the channels in the inputs; None: 1, or the next where axis 1 has a length of one, as 1-D
            and 3-D convolutions take spectra.
        steps: of training of the small network; 0: none is trained.
        seed: of the split, the sample, and the network.
        name: of the data.

    Convention:
        Accuracies are of held-out images, with Wilson's interval; differences are paired. Those of the small network
        are means over three trainings on images as given and standardised, and of one on each other view; their
        intervals hold the spread between trainings too, on other views that on standardised images. Intervals of the
        other figures are jackknifed over 8 random groups of images. All take images (or pixels) as independent. Images
        that hold NaN or infinity are left out, and ``notes`` counts them.

    Raises:
        InputError: inputs or labels that cannot be used, one class only, constant images, or too few.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> labels = torch.randint(2, (400,), generator=generator)
        >>> images = torch.randn(400, 3, 4, 4, generator=generator) + labels[:, None, None, None]
        >>> audit = audit_data([(images, labels)], steps=0)
        >>> audit.rungs["mean_color"].value > 0.9, [risk.kind for risk in audit.risks]
        (True, ['one_number_cue'])
    """
    started = time.perf_counter()
    reader = None if groups is None else GroupReader(groups, ids, "audit_data")
    data = DataSums(
        BatchLayout(inputs, targets, denormalize, cues or {}, ignore_index, seed, "audit_data", channel_axis, reader)
    )
    inputs_differ = _read(data, loader, validation)
    axis = _axis(wavelengths, unit, data.shape[0])
    names = channel_names(data.shape[0], axis)
    parts = mean_spectrum_sums(data)
    sums, pixels, notes = add_sums(parts), add_sums(data.pixel_sums), _notes(data)
    constant = _check(data, sums, pixels)
    if constant:
        notes["constant channels"] = ", ".join(names[channel] for channel in constant[:8]) + ", ..." * (
            len(constant) > 8
        )

    info = label_directions(sums)
    main = directions_for_variance(info)
    rungs = rungs_right(data, notes)
    first, without = directions_right(data, sums, info, main)
    trials = small_networks_right(data, info.directions[:, 0] if main else None, steps, seed, notes)
    linear = rungs[linear_rung(data.shape[0])]
    differences = {"linear - main directions": difference(linear, first[main])} if main else {}
    contents = contents_right(data.train.rows, data.held_images.rows, data.classes, data.shape)
    for why in dict.fromkeys(contents.left_out.values()):
        lacking = [kind.replace("_", " ") for kind, said in contents.left_out.items() if said == why]
        notes[f"not looked at alone, {', '.join(lacking)}"] = why
    right = {view: [run.right for run in runs] for view, runs in trials.items()}
    in_batches = {view: [run.batch_right for run in runs] for view, runs in trials.items()}
    spreads = spread_of(right) if right else {}
    reached = {view: trial_accuracy(rights, spreads[view]) for view, rights in right.items()}
    batch_spreads = spread_of(in_batches) if in_batches else {}
    if trials:
        given, standard = right["as_given"], right["standardised"]
        reaches = [spreads[view].reach(reached[view].value, len(right[view])) for view in ("as_given", "standardised")]
        differences["standardised - as given"] = trial_difference(standard, given, hypot(*reaches))
        # both samples of held-out images stand in the order of their priorities
        some = linear[: len(standard[0])]
        differences["linear - standardised"] = trial_difference([some], standard, reaches[1])
    figures = {
        "offset_ratio": jackknife(offset_ratio, data.pixel_sums),
        "effective_rank": jackknife(lambda part: effective_rank(spectrum(covariance(part))), data.pixel_sums),
        "image_effective_rank": jackknife(lambda part: effective_rank(spectrum(covariance(part.all))), parts),
        "top1_share": jackknife(lambda part: top1_share(spectrum(covariance(part.all))), parts),
        "half_slowdown": jackknife(lambda part: half_slowdown(label_directions(part)), parts),
    }
    if not isfinite(figures["half_slowdown"].value):
        notes["half_slowdown"] = "the mean spectra say no more of the labels than of shuffled ones"
    known, copies = data.held.rows[""], data.copies.find()
    if not isfinite(copies.near.value):
        notes["near copies"] = NO_NEAR_COPIES
    audit = DataAudit(
        name=name,
        images=data.images,
        unit="pixels" if data.by_pixel else "images",
        train=int(sums.counts.sum()),
        held=len(known),
        classes=int((sums.counts > 0).sum()),
        shape=data.shape,
        channels=names,
        cues=tuple(cues or ()),
        chance=accuracy(known == known.bincount().argmax()),
        figures=figures,
        rungs={rung: accuracy(right) for rung, right in rungs.items()},
        trials=reached,
        batch_trials={view: trial_accuracy(rights, batch_spreads[view]) for view, rights in in_batches.items()},
        differences=differences,
        directions=info,
        main=main,
        first={number: accuracy(right) for number, right in first.items()},
        without={number: accuracy(right) for number, right in without.items()},
        mean=mean(pixels),
        deviation=covariance(pixels).diagonal().clamp(min=0).sqrt(),
        axis=axis,
        best_channel=names[int(best_channel(sums))],
        copies=copies,
        notes=notes,
        seconds=0.0,
        inputs=inputs_differ,
        contents=_readings(contents, names),
        whole=accuracy(contents.whole),
        groups=None if reader is None else _groups(data, reader, isinstance(validation, float | int)),
    )
    if trials:
        tried = [kind for kind in contents.without if _subject(kind, names) in audit.open_contents]
        rest = {
            without_view(_subject(kind, names)): trial_accuracy(
                [content_trial(data, kind, steps, seed).right], spreads["standardised"]
            )
            for kind in tried
        }
        audit = replace(audit, trials=audit.trials | rest)
        trial = trials["standardised"][0]
        if not audit.reads:
            trial = longer_trial(data, steps + MORE_STEPS, seed)
            audit = replace(audit, longer=accuracy(trial.right), longer_steps=steps + MORE_STEPS)
        audit = replace(audit, labels=label_names(trial.scores, data.held_images.rows["target"]))
    return replace(audit, risks=find_risks(audit), seconds=time.perf_counter() - started)


def _groups(data: DataSums, reader: GroupReader, split: bool) -> GroupAudit:
    """What is read of groups that were not seen."""
    names = {group: reader.name(group) for group in data.groups.groups}
    return data.groups.audit(names, feature_of(data.widths, data.shape[0]), split)


def _readings(contents: ContentsRight, names: Sequence[str]) -> dict[str, ContentReading]:
    return {
        _subject(kind, names): ContentReading(
            accuracy(alone), accuracy(contents.without[kind]) if kind in contents.without else None
        )
        for kind, alone in contents.alone.items()
    }


def _subject(kind: str, names: Sequence[str]) -> str:
    """A content as runs call it: a channel by its name."""
    if not kind.startswith("channel "):
        return kind
    name = names[int(kind.removeprefix("channel "))]
    return name if name.startswith("channel") else f"channel {name}"


def _read(data: DataSums, loader: Iterable[Any], validation: Iterable[Any] | float) -> InputDifference | None:
    """Read all batches; how the inputs of two loaders differ, where there are two."""
    where = data.layout.where
    for argument, given in (("loader", loader), ("validation", validation)):
        if holds_loaders(given):
            said = f"a {type(given).__name__} of {len(given)} for {argument}"  # type: ignore[arg-type]
            fix = "Write audit_data(train, validation); of several loaders audit one after the other."
            raise InputError(where, "loaders stand in a list", said, fix)
    seen = SeenInputs(), SeenInputs()
    if isinstance(validation, float | int):
        if not 0 < validation < 1:
            fix = "Pass 0.3, say, or batches of images to hold out."
            raise InputError(where, "the share to hold out is no share", f"validation={validation}", fix)
        data.read(loader, validation)
    else:
        data.read(loader, 0.0, seen[0])
        data.read(validation, 1.0, seen[1])
    if not data.images:
        raise InputError(
            where, "there is no data", "a loader without batches", "Pass one that gives images and labels."
        )
    return input_difference(*seen)


def _check(data: DataSums, sums: ClassMoments, pixels: Moments) -> list[int]:
    """The channels that are constant; an error where nothing can be said."""
    where, seen, held = data.layout.where, int(sums.counts.sum()), len(data.held)
    left = " and ".join(f"{number:,} {why}" for why, number in data.left_out.items() if number)
    said = f"{seen} training and {held} held-out images" + f"; {left}" * bool(left)
    if min(seen, held) < FEWEST:
        fix = f"Pass {FEWEST} labelled images of each or more."
        raise InputError(where, "there are too few images", said, fix)
    if int((sums.counts > 0).sum()) < 2:
        fix = "Pass images of two classes or more; batches that are sorted by class need all of them."
        raise InputError(where, "all training images are of one class", said, fix)
    deviation = covariance(pixels).diagonal().clamp(min=0).sqrt()
    constant = deviation <= 1e-6 * mean(pixels).abs()
    if bool(constant.all()):
        given, fix = f"{len(constant)} channels", "Check how the images are read."
        raise InputError(where, "the images are constant", given, fix)
    return constant.nonzero().flatten().tolist()


def _axis(wavelengths: Any, unit: str | None, channels: int) -> Axis | None:
    """Where the channels lie; unlike for bands, their order is of no account."""
    if wavelengths is None:
        return None
    values = torch.as_tensor(wavelengths, dtype=torch.float64).flatten()
    if len(values) != channels or not bool(values.isfinite().all()):
        given, fix = f"{len(values)} wavelengths for {channels} channels", "Give one finite number per channel."
        raise InputError("audit_data", "wavelengths and channels differ in number", given, fix)
    return Axis(values, None if unit is None else unit_of(unit, "audit_data"))


def _notes(data: DataSums) -> dict[str, str]:
    reasons = {"not finite": "hold NaN or infinity", "unlabelled": "have no label"}
    rows = "pixels" if data.by_pixel else "images"
    return {why: f"{number:,} {rows} {reasons[why]}" for why, number in data.left_out.items() if number}
