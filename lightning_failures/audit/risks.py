"""What a network is likely to do wrong on some data, said only where a figure shows it."""

from collections.abc import Sequence
from math import isfinite
from typing import Literal

import torch
from torch import Tensor

from lightning_failures.audit.data_audit import DataAudit, Risk
from lightning_failures.errors import few
from lightning_failures.functional.estimate import Estimate
from lightning_failures.functional.proportions import wilson

__all__ = ["ONE_NUMBER", "find_risks"]

OFFSET, NAMED = 3.0, 1.5  # mean over deviation, from which it is a risk untried, and the cause of one that was seen
MEASURED = 0.05  # of accuracy, that a trial must show beyond its interval
GAP = 0.1  # of accuracy, that directions of small variance must add beyond their interval
FEWEST_SCORED = 20  # images of a group from which its accuracy is spoken of
EMPTY = 0.5  # share of images whose channel is 0 everywhere, from which it counts as not filled
SAME = 0.9  # of the difference between two sets of channels, that another order must take away
SHIFT, RATIO = 0.5, 0.6  # deviations between two means, and powers of two between two deviations; twice is grave
MOST, HALF = 0.75, 0.5  # of what can be reached above chance
#: Share of the held-out images that is not what it seems. 1% moves an accuracy by up to a point, about what runs differ
#: by from seed to seed; 10% by more than what architectures are chosen for.
SOME, MANY = 0.01, 0.1

#: Rungs of one number per image.
ONE_NUMBER = ("grey_level", "total_absorbance", "first_component", "best_channel", "mean_intensity")
#: Rung -> the view that takes it away.
WITHOUT = {"total_absorbance": "without_total", "first_component": "without_first_component"}


def find_risks(audit: DataAudit) -> tuple[Risk, ...]:
    """The risks of audited data, gravest first.

    Args:
        audit: its figures.
    """
    rules = (
        _inputs,
        _groups,
        _shared_groups,
        _labels,
        _leakage,
        _near_copies,
        _contradictions,
        _repeats,
        _unread,
        _offset,
        _small_directions,
        _one_number,
    )
    found = [rule(audit) for rule in rules]
    return tuple(sorted((risk for risk in found if risk), key=lambda risk: risk.severity))


def _leakage(audit: DataAudit) -> Risk | None:
    """Held-out images that are training images."""
    copies = audit.copies
    if not copies.share.value >= SOME:
        return None
    drawn = " when the split is drawn at random, as here" if copies.split else ""
    message = (
        f"{copies.leaked:,} of {copies.held:,} held-out images ({_said(copies.share)}) stand among the training images "
        f"too, byte for byte{drawn}: {_pairs(copies.rows['leaked'], copies.leaked)}. A network that knows its "
        "training images by heart has these right, and the accuracy tells less of new ones."
    )
    advice = (
        "Take them out of one side; find out where they came in twice: files, exports, augmentation before the split."
    )
    return Risk("leakage", _grave(copies.share.value), message, advice, {"leakage": copies.share})


def _groups(audit: DataAudit) -> Risk | None:
    """What is read where groups are mixed is not read of a group that was not seen.

    On infrared spectra of five polymers, in five tables of four published studies, a linear model has 0.93 where tables
    are mixed, and 0.00 to 0.80 of a table that it has not seen. Groups that differ in nothing lose less than 0.01 (five
    draws); of groups that differ along a direction which says nothing of the label, however far, nothing is said.
    """
    found = audit.groups
    if found is None or found.worst is None:
        return None
    whole = -found.difference.high if isfinite(found.difference.high) else -1.0
    hit = [one for one in found.left_out if one.scored >= FEWEST_SCORED and -one.difference.high > GAP]
    if not (whole > GAP or hit):
        return None
    worst = max(hit, key=lambda one: one.mixed.value - one.accuracy.value) if hit else found.worst
    unit, low = audit.unit, min(one.accuracy.value for one in found.left_out if one.scored)
    alone, mixed = worst.accuracy, worst.mixed
    message = (
        f"A linear model reads the label of {mixed.value:.0%} of the {unit} of {worst.name} where groups are mixed, "
        f"and of {alone.value:.0%} ({alone.low:.0%} to {alone.high:.0%}) where it has seen no {unit[:-1]} of that "
        f"group. Over all {found.number} groups it is {found.mixed.value:.0%} against {found.accuracy.value:.0%}, and "
        f"{low:.0%} in the worst. A split that mixes groups promises an accuracy that a new group will not have."
    )
    advice = "Split by group, so that validation holds whole groups, and choose models by that accuracy."
    scaled = [one for one in found.left_out if one.other_scale]
    if scaled:
        one = scaled[0]
        message += (
            f" The inputs of {one.name} are on another scale: their mean is {one.level:.3g}, that of the others "
            f"{one.others:.3g}."
        )
        advice = f"First bring {one.name} to the scale of the others, or scale each {unit[:-1]} by itself. {advice}"
    else:
        advice += " Scale each image by itself, or train on more groups and on changes such as theirs."
    grave = whole > 2 * GAP or any(-one.difference.high > 2 * GAP for one in hit)
    evidence = {"unseen": worst.accuracy, "mixed": worst.mixed, "difference": worst.difference}
    return Risk("group_shift", "high" if grave else "moderate", message, advice, evidence)


def _shared_groups(audit: DataAudit) -> Risk | None:
    """Groups whose images stand on both sides of the split that was given."""
    found = audit.groups
    if found is None or not found.both or found.held is None:
        return None
    message = (
        f"{found.both} of the {found.held} groups among the held-out {audit.unit} also have {audit.unit} in training: "
        "the accuracy on them tells of groups that are known already."
    )
    advice = "Hold out whole groups, unless new images will always come from groups that training has seen."
    return Risk("groups_on_both_sides", "moderate", message, advice, {})


def _near_copies(audit: DataAudit) -> Risk | None:
    """Held-out images that are nearly a training image.

    Share of near copies and of such by chance, of splits without any: 0.000 and 0.000 on 8 x 8 digits (three seeds),
    on planted scenes, and on patches of Indian Pines split by blocks; below 0.01 where the same patches, which
    overlap, are split at random. On independent rows of two numbers 0.88 and 0.90: nearness tells nothing there, and
    no risk is named.
    """
    copies = audit.copies
    if not copies.excess.low > SOME:
        return None
    rows = _pairs(copies.rows["near"], None)
    message = (
        f"Of the {'other ' * (copies.leaked > 0)}held-out images {_said(copies.near)} are nearly a training image: a "
        f"quarter or less as far from it as from the tenth nearest ({rows}). By chance, measured on training images of "
        f"other classes, {_said(copies.by_chance)} would be."
    )
    advice = (
        "Look at these pairs. Frames of one video, crops that overlap, the same object or file saved again belong on "
        "one side: split by where they come from."
    )
    evidence = {"near": copies.near, "by_chance": copies.by_chance, "excess": copies.excess}
    return Risk("near_copies", _grave(copies.excess.low), message, advice, evidence)


def _contradictions(audit: DataAudit) -> Risk | None:
    """Images that stand in the data under several labels."""
    copies = audit.copies
    held = _share_of(copies.contradicting, copies.held)
    train = _share_of(copies.train_contradicting, copies.train)
    worst = max((share.value for share in (held, train) if isfinite(share.value)), default=0.0)
    if worst < SOME:
        return None
    message = (
        f"{copies.contradicting:,} of {copies.held:,} held-out images and {copies.train_contradicting:,} of "
        f"{copies.train:,} training images stand in the data once more under another label. No network can have both "
        "right."
    )
    advice = "Find out which label is right, or whether an image may have several; then keep one of each."
    evidence = {"held_out": held, "training": train}
    return Risk("contradicting_labels", _grave(worst), message, advice, evidence)


def _repeats(audit: DataAudit) -> Risk | None:
    """Held-out images that occur more than once among themselves.

    Never a high risk: copies chosen without regard to the network leave an accuracy as it is, and where half of the
    images are copies, intervals are narrower by a third.
    """
    copies = audit.copies
    share = _share_of(copies.repeated, copies.held)
    if not share.value >= SOME:
        return None
    message = (
        f"{copies.repeated:,} of {copies.held:,} held-out images are equal to an earlier one. They count twice, and "
        "intervals come out narrower than they should."
    )
    advice = "Keep one of each; where a loader repeats images to fill up a batch, leave that off for validation."
    return Risk("repeated_images", "moderate", message, advice, {"repeated": share})


def _grave(share: float) -> Literal["high", "moderate"]:
    return "high" if share >= MANY else "moderate"


def _share_of(some: int, of: int) -> Estimate:
    low, high = wilson(torch.tensor(some), torch.tensor(of))
    return Estimate(some / of if of else torch.nan, float(low), float(high))


def _pairs(rows: Sequence[tuple[int, int]], of: int | None, most: int = 3) -> str:
    """The first few pairs of rows: "held-out row 3 is training row 17, 4 is 9, and more"."""
    (first, source), *others = rows[:most]
    said = [f"held-out row {first} is training row {source}", *(f"{one} is {other}" for one, other in others)]
    return ", ".join(said) + ", and more" * ((len(rows) if of is None else of) > most)


def _offset(audit: DataAudit) -> Risk | None:
    """Inputs on which batch norm's running statistics, or the optimiser, fail though standardised ones work.

    On raw radiance of Indian Pines whose mean spectrum alone was multiplied, 200 steps of the small network, two seeds:

    =======================  ===  ===  ===  ===  ===  ===  ===
    mean over deviation        0    1    2    3    4    5    7
    =======================  ===  ===  ===  ===  ===  ===  ===
    accuracy                 0.77  0.75  0.59  0.52  0.31  0.25  0.27
    with batch statistics    0.78  0.82  0.80  0.82  0.81  0.80  0.80
    =======================  ===  ===  ===  ===  ===  ===  ===

    A resnet10t, four epochs of 2,000 such patches: 0.34 on raw radiance (0.68 with batch statistics), 0.70 with nothing
    but the mean spectrum subtracted, 0.73 standardised.
    """
    offset, gain = audit.figures["offset_ratio"], audit.differences.get("standardised - as given")
    shared = offset.value**2 / (1 + offset.value**2)
    told = (
        f"The mean of all pixels is {offset.value:.2g} times as long as their deviation: {shared:.1%} of what a first "
        "layer sees is the same in every image."
    )
    advice = (
        "Standardise each channel with the mean and deviation of the training images, or at least subtract the mean."
    )
    if gain is None:
        if not offset.low > OFFSET:
            return None
        return Risk(
            "offset_inputs", "moderate", f"{told} No network was tried on it.", advice, {"offset_ratio": offset}
        )
    if not gain.low > MEASURED:
        return None
    given, batch, standard = audit.trials["as_given"], audit.batch_trials["as_given"], audit.trials["standardised"]
    evidence = {"as_given": given, "as_given_batch_statistics": batch, "standardised": standard, "gain": gain}
    trial = (
        f"A small network ends at {_said(given)} on these inputs, and at {_said(standard)} on standardised channels."
    )
    if batch.low > given.high:
        trial += (
            f" With each batch's own statistics it has {_said(batch)}: it learned, but the running statistics of its "
            "batch norm do not keep up, and it fails in evaluation."
        )
    linear = audit.rungs[audit.linear]
    trial += f" A linear model of the mean spectra, in closed form, has {_said(linear)} either way."
    if offset.value > NAMED:
        return Risk("offset_inputs", "high", f"{told} {trial}", advice, {"offset_ratio": offset, **evidence})
    return Risk("unscaled_inputs", "high", f"The channels differ in mean or scale. {trial}", advice, evidence)


def _small_directions(audit: DataAudit) -> Risk | None:
    """What labels can be read from lies where variance is small, and a small network does not get there."""
    gap, short = (audit.differences.get(f"linear - {other}") for other in ("main directions", "standardised"))
    if gap is None or not gap.low > GAP or (short is not None and not short.low > MEASURED):
        return None
    linear, first, slow = audit.rungs[audit.linear], audit.first[audit.main], audit.figures["half_slowdown"]
    hold = f"{audit.main} of {len(audit.channels)} directions hold" if audit.main > 1 else "One direction holds"
    message = (
        f"{hold} 95% of the variance of the mean spectra, and a linear model of these has {_said(first)}; of all "
        f"directions it has {_said(linear)}. Half of what it uses lies where the variance is {slow.value:,.0f} times "
        "smaller than along the main direction, and gradient descent learns that as much more slowly."
    )
    evidence = {"linear": linear, "main_directions": first, "half_slowdown": slow}
    if short is not None:
        message += f" A small network has {_said(audit.trials['standardised'])} after a short training."
        evidence["small_network"] = audit.trials["standardised"]
    advice = "Decorrelate the channels (project onto principal directions, and scale each), or train much longer."
    return Risk("label_in_small_directions", "high" if short else "moderate", message, advice, evidence)


def _one_number(audit: DataAudit) -> Risk | None:
    """One number per image gives most of what can be reached."""
    chance, best = audit.chance.value, audit.best
    most, half = (chance + share * (best.value - chance) for share in (MOST, HALF))
    if not best.low > audit.chance.high:
        return None
    names = (*audit.cues, *ONE_NUMBER)
    name = next((name for name in names if name in audit.rungs and audit.rungs[name].low > most), None)
    if name is None:
        return None
    cue = audit.rungs[name]
    called = name.replace("_", " ") + (f" ({audit.best_channel})" if name == "best_channel" else "")
    message = f"One number per image, the {called}, gives {_said(cue)} of the {_said(best)} that anything tried has."
    evidence = {name: cue, "best": best}
    rest = audit.trials.get(WITHOUT.get(name, "without_first_component"))
    advice = f"Check that the {called} is what you want the model to use; if not, remove it from the images."
    if rest is None:
        return Risk("one_number_cue", "moderate", message, advice, evidence)
    evidence["without"] = rest
    if rest.low > half:
        message += (
            f" Without it a small network still has {_said(rest)}: more is there, which a network may never look for."
        )
        return Risk("one_number_cue", "high", message, advice, evidence)
    message += f" Without it a small network has {_said(rest)}: little else was found."
    return Risk("one_number_cue", "moderate", message, advice, evidence)


def _labels(audit: DataAudit) -> Risk | None:
    """Held-out labels that stand for other classes than those of training."""
    found = audit.labels
    if found is None or not found.gain.low > GAP:
        return None
    named = f"{found.renamed} of {audit.classes} classes"
    how = named if found.shift is None else f"{named}, each label {found.shift} higher"
    message = (
        f"Held-out labels stand for other classes than those of training ({how}): a small network that was trained on "
        f"training labels is right on {_said(found.before)} of the held-out images as they are labelled, and on "
        f"{_said(found.after)} with each predicted class as the label that it fits best, found on one half of the "
        "images and judged on the other."
    )
    advice = (
        "Give both data sets one list of classes in one order: compare class_to_idx, a label that is counted from 1, "
        "and folders that one of them lacks."
    )
    return Risk("label_mismatch", "high", message, advice, {"before": found.before, "after": found.after})


def _unread(audit: DataAudit) -> Risk | None:
    """Nothing that was tried reads the labels, under whatever names."""
    if audit.reads or _labels(audit) is not None:
        return None
    message = (
        f"Nothing that was tried reads the labels: the best has {_said(audit.best)}, and always naming the most "
        f"frequent class {_said(audit.chance)}."
    )
    evidence = {"best": audit.best, "chance": audit.chance}
    longer, steps = audit.longer, audit.longer_steps
    if longer is None:
        advice = "Let a small network be trained on them, steps=200, before you conclude anything of the labels."
        return Risk("nothing_reads_labels", "moderate", f"{message} No network was tried.", advice, evidence)
    evidence["longer"] = longer
    if longer.low > audit.chance.high:
        message += f" But that were not enough steps to tell: after {steps} a small network has {_said(longer)}."
        return Risk("too_few_steps", "moderate", message, f"Pass steps={steps} or more.", evidence)
    message += f" After {steps} steps a small network has {_said(longer)}, and no more."
    advice = "Check that labels and images belong together; then train longer, or on larger images."
    return Risk("nothing_reads_labels", "high", message, advice, evidence)


def _inputs(audit: DataAudit) -> Risk | None:
    """Validation images that hold something else in a channel than training images."""
    found = audit.inputs
    if found is None:
        return None
    names, match, told = audit.channels, found.match, found.comparison
    lost = (found.validation.empty > EMPTY) & (found.train.empty < 1 - EMPTY)
    if bool(lost.any()):
        channels = few(names[place] for place in lost.nonzero().flatten().tolist())
        message = f"Validation images have nothing but 0 in {channels}; training images do not."
        return Risk("input_mismatch", "high", message, "Look at how validation images are read.", {})
    moved = match.order != torch.arange(len(names))
    if float(match.gain) > SAME and float(match.matched) < float(match.distance) / 10 and bool(moved.any()):
        message = (
            "The channels of validation images stand in another order than those of training images: put into the "
            f"order {_listed(match.order.tolist())}, they hold the same, but for "
            f"{1 - float(match.gain):.0%} of the difference."
        )
        advice = f"Read both alike; validation images in the order of training are images[:, {match.order.tolist()[:8]}"
        advice += "]." if len(names) <= 8 else " ...]."
        return Risk("input_mismatch", "high", message, advice, {})
    shift, ratio = told.shift, told.ratio.log2().abs()
    sure = torch.maximum(told.ratio_low.log2(), -told.ratio_high.log2())
    apart = torch.maximum(told.shift_low, -told.shift_high)
    differs = (apart > SHIFT) | (sure > RATIO)
    if not bool(differs.any()):
        return None
    worst = (shift.abs() + ratio).nan_to_num(0.0).where(differs, torch.zeros_like(shift)).argsort(descending=True)
    place = int(worst[0])
    own, other, number = found.train, found.validation, int(differs.sum())
    message = (
        f"Validation images differ from training images in {number} of {len(names)} channels"
        f"{', most' if number > 1 else ''}: in {names[place]} they have mean {other.mean[place]:.3g} and deviation "
        f"{other.deviation[place]:.3g}, training images {own.mean[place]:.3g} and {own.deviation[place]:.3g}."
    )
    advice = "Prepare validation images as training images are prepared, with the same mean and deviation"
    if bool(told.scale[place].isfinite()):
        advice += f": here, multiply {names[place]} by {told.scale[place]:.3g} and add {told.offset[place]:.3g}"
    evidence = {
        f"shift of {names[place]}": _estimate(told.shift, told.shift_low, told.shift_high, place),
        f"ratio of {names[place]}": _estimate(told.ratio, told.ratio_low, told.ratio_high, place),
    }
    grave = bool((apart > 2 * SHIFT).any() | (sure > 2 * RATIO).any())
    return Risk("input_mismatch", "high" if grave else "moderate", message, f"{advice}.", evidence)


def _listed(order: list[int]) -> str:
    return ", ".join(map(str, order[:8])) + ", ..." * (len(order) > 8)


def _estimate(value: Tensor, low: Tensor, high: Tensor, place: int) -> Estimate:
    return Estimate(float(value[place]), float(low[place]), float(high[place]))


def _said(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"
