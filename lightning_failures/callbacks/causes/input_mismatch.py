"""Inputs that are not prepared as those of training, or as those of other images: another scale, another order."""

import math
from collections.abc import Mapping

from lightning_failures.callbacks.causes.case import (
    EXCLUDED,
    INAPPLICABLE,
    Case,
    CauseTest,
    Tested,
    experiment_of,
    experiment_on,
    gained,
    mends,
)
from lightning_failures.callbacks.causes.experiments import CONSTANT_CHANNELS, LEAST_GAP
from lightning_failures.callbacks.causes.inputs_by_kind import CONSTANT, TURNED
from lightning_failures.callbacks.causes.kinds import EVALUATED, OF_ONE_KIND
from lightning_failures.callbacks.causes.orientation import ORIENTATIONS
from lightning_failures.metrics.group_errors import NOT_IN_TRAINING
from lightning_failures.records.finding import Evidence
from lightning_failures.records.keys import escape
from lightning_failures.records.kind import FACTOR_SPILLOVER, GROUP_SHIFT

__all__ = ["INPUT_MISMATCH"]


def _test(case: Case) -> Tested | None:
    whole = _of_all(case)
    if case.finding.kind not in OF_ONE_KIND or not case.finding.subject:
        return whole
    family = "group" if case.finding.kind == GROUP_SHIFT else "factor"
    name = case.finding.subject.removesuffix(NOT_IN_TRAINING) if family == "group" else case.finding.subject
    if not case.logged(f"causes/{family}_channels/{escape(name)}"):
        return whole
    both = (_of_images(case, family, name), whole)
    holding = [each for each in both if each is not None and each.holds]
    if holding:
        return max(holding, key=lambda each: each.share)
    if None in both:
        return None
    return INAPPLICABLE if INAPPLICABLE in both else EXCLUDED


def _of_images(case: Case, family: str, name: str) -> Tested | None:
    """The images of a factor or of a group beside the others."""
    key = escape(name)

    def figure(of: str) -> float:
        return case.value(f"causes/{family}_{of}/{key}")

    spills = family == "factor" and case.value(f"factors/spillover/{key}") >= 1
    if case.finding.kind == FACTOR_SPILLOVER or spills:
        return INAPPLICABLE  # the same images were right at an earlier epoch
    differ, faulty = figure("channels"), figure("faulty")
    if math.isnan(differ):
        return None
    if not differ and math.isnan(figure("constant_channel")):
        return INAPPLICABLE if faulty > 0 else EXCLUDED  # of a fault that cannot be undone nobody knows what it does
    made = experiment_on(case, family, key)
    if not made:
        return None  # there was no time for the experiment
    if not mends(made):
        return INAPPLICABLE if faulty > 0 else EXCLUDED
    which, undone = f"images {'marked' if family == 'factor' else 'of'} {name}", figure("undone")
    if undone == CONSTANT:
        channel, value = figure("constant_channel"), figure("constant_value")
        return _constant(which, "the other images", channel, value, float(made["own"] or 0), made)
    told = f"the accuracy on the same images {gained(made, 'the gap to the other images')}"
    if undone == 1:
        return Tested(
            True,
            f"In {which}, {figure('moved'):.0f} channels are like other channels of the other images; put back in that "
            f"order, {told}.",
            f"Read the channels of {which} in the same order as those of the other images.",
            made,
        )
    channel = figure("channel")
    turned, upside_down = "With", ""
    if undone == TURNED:
        turned = "Turned upside down, with"
        upside_down = f"What is large in {which} is small in the others, as in absorbance beside transmittance. "
    return Tested(
        True,
        f"In {_channels(differ)} {which} are on another scale than the others. Most of all in channel {channel:.0f} "
        f"(counted from 0): their mean is {abs(figure('shift')):.2f} standard deviations of the others "
        f"{'lower' if figure('shift') < 0 else 'higher'}, and their deviation is {figure('ratio'):.2f} times as large. "
        f"{turned} the others' mean and deviation, {told}.",
        f"{upside_down}Bring {which} to the scale of the others, in training and in validation: in channel "
        f"{channel:.0f}, multiply by {figure('scale'):.4g} and add {figure('offset'):.4g}.",
        made,
    )


def _of_all(case: Case) -> Tested | None:
    """All validation images beside those of training."""
    differ, moved, tried, constant, faulty = (
        case.value(f"causes/channels_{key}") for key in ("differ", "moved", "tried", "constant", "faulty")
    )
    if math.isnan(differ):
        return None
    found = {"input_scale": differ, "channel_order": moved, "order_and_scale": tried, CONSTANT_CHANNELS: constant}
    made = {name: experiment_of(case, name) for name, channels in found.items() if channels > 0}
    if not all(made.values()):
        return None  # there was no time for an experiment
    trials = {name: experiment_of(case, name) for name in ("input_turned", "orientation")}
    made |= {name: each for name, each in trials.items() if each}  # which no statistic of the inputs calls for
    if not any(mends(each) for each in made.values()):
        if (differ > 0 or moved > 0) and case.value("causes/gap_low") > LEAST_GAP:
            return None  # inputs differ and so do accuracies, though what was undone does not mend these
        return INAPPLICABLE if faulty > 0 else EXCLUDED  # of a fault that cannot be undone nobody knows what it does
    name = max((name for name, each in made.items() if mends(each)), key=lambda name: float(made[name]["share"] or 0))
    best = made[name]
    if name == CONSTANT_CHANNELS:
        channel, value = case.value("causes/constant_channel"), case.value("causes/constant_value")
        accuracy = case.value("causes/validation_accuracy")
        return _constant("validation images", "training images", channel, value, accuracy, best)
    told = f"the accuracy on the same validation images {gained(best)}"
    if name == "channel_order":
        return Tested(
            True,
            f"{moved:.0f} channels of validation are like other channels of training; put back in that order, {told}.",
            "Read the channels in the same order for training and validation: RGB against BGR, or files sorted anew.",
            best,
        )
    if name == "order_and_scale":
        return Tested(
            True,
            "Channels of validation stand in another order than those of training, and were scaled in that order: put "
            f"back ({tried:.0f} of them), and on the scale of training, {told}.",
            "Read the channels in the same order for training and validation before anything else is done to them: RGB "
            "against BGR, or files sorted anew.",
            best,
        )
    if name == "orientation":
        words = ORIENTATIONS[int(case.value("causes/orientation"))].words
        return Tested(
            True,
            f"Validation images are {words}, beside those of training: put back, {told}.",
            "Read both with the same rows and columns: look at how the array is laid out, at the order of its axes, "
            "and at flips and turns in the transform of validation.",
            best,
        )
    channel, shift, ratio = (case.value(f"causes/input_{key}") for key in ("channel", "shift", "ratio"))
    if name == "input_turned":
        by, plus = -case.value("causes/input_scale"), case.value("causes/input_turned_offset")
        return Tested(
            True,
            f"In {_channels(differ)} what is large in validation images is small in those of training. Most of all in "
            f"channel {channel:.0f} (counted from 0): its mean is {abs(shift):.2f} standard deviations of training "
            f"{'lower' if shift < 0 else 'higher'}, and its own deviation is {ratio:.2f} times as large. Turned upside "
            f"down, with training's mean and deviation, {told}.",
            "Read both alike: an image and its negative, ink on paper and light on black, absorbance and "
            f"transmittance. To bring channel {channel:.0f} of what the validation loader gives to that of training, "
            f"multiply it by {by:.4g} and add {plus:.4g}.",
            best,
        )
    by, plus = case.value("causes/input_scale"), case.value("causes/input_offset")
    return Tested(
        True,
        f"In {_channels(differ)} validation images are on another scale than training images. Most of all channel "
        f"{channel:.0f} (counted from 0): its mean is {abs(shift):.2f} standard deviations of training "
        f"{'lower' if shift < 0 else 'higher'}, and its own deviation is {ratio:.2f} times as large. With training's "
        f"mean and deviation, {told}.",
        "Use one transform with one set of statistics, those of the training images, for both loaders. To bring "
        f"channel {channel:.0f} of what the validation loader gives to the scale of training, multiply it by {by:.4g} "
        f"and add {plus:.4g}.",
        best,
    )


def _constant(
    where: str, into: str, channel: float, value: float, accuracy: float, made: Mapping[str, Evidence]
) -> Tested:
    """A channel that has one value in some images, put into others."""
    spoilt, low, high, sound = (
        float(made.get(key, math.nan) or 0) for key in ("before", "before_low", "before_high", "after")
    )
    interval = "" if math.isnan(low) else f" (95% interval {low:.2f} to {high:.2f})"
    return Tested(
        True,
        f"Channel {channel:.0f} is {value + 0.0:.4g} everywhere in {where}, and varies in {into}. With the same put "
        f"into {into}, the accuracy on them falls from {sound:.2f} to {spoilt:.2f}{interval}; on {where} it is "
        f"{accuracy:.2f}.",
        f"Read channel {channel:.0f} of {where} as that of {into}: look for a file that lacks it, a mask that covers "
        "all of it, or a value that it was filled with.",
        made,
    )


def _channels(number: float) -> str:
    return "1 channel" if number == 1 else f"{number:.0f} channels"


INPUT_MISMATCH = CauseTest("input_mismatch", EVALUATED, _test, undoes=True)
