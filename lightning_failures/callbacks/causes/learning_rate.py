"""A learning rate that is too large, or too small, told from how far each step moves the weights."""

import math

from lightning_failures.callbacks.causes.case import EXCLUDED, INAPPLICABLE, Case, CauseTest, Tested
from lightning_failures.callbacks.causes.dead_units import DEAD
from lightning_failures.callbacks.causes.kinds import LEARNS
from lightning_failures.callbacks.causes.no_signal import NO_SIGNAL
from lightning_failures.records.kind import REPRESENTATION_COLLAPSE, TRAINING_FAULT

__all__ = ["LEARNING_RATE_HIGH", "LEARNING_RATE_LOW"]

#: Size of an update over that of the weight; about 0.001 is usual (Karpathy, "A recipe for training neural networks").
#: In the first epoch healthy runs come to 0.05, and later to 0.03.
HIGH, USUAL, LOW = 0.05, 1e-3, 1e-4

#: Training loss over that of the first steps above which nothing was learnt, and the share of dead units of a layer at
#: the first evaluation, below which they died later.
NEVER_FELL, ALIVE = 0.9, 0.5

#: Accuracy on training images, judged as in training, from which steps were not too large to learn.
LEARNT = 0.8

#: Gap between training and validation images, at the lower end of its interval, from which training images are learnt
#: one by one where labels have no signal. Steps too large keep a network from both.
BY_HEART = 0.1

#: Spread of the losses from step to step, below which a loss that falls in a straight line is that of steps too small,
#: where they are below the usual size: a tenth of the right rate gave 0.002 to 0.005 on digits, the right one 0.1 to
#: 0.5. With labels that nothing foretells, 0.005 too, in steps of twice the usual size.
SMOOTH = 0.01

#: Distance from the start over the weights' own size, below which next to nothing was learnt.
NEAR = 0.05


def _high(case: Case) -> Tested | None:
    if case.value("training/gradient_survives") > 0.5:
        return INAPPLICABLE  # steps are too large since gradients add up, whatever the rate
    if case.value("causes/reached") >= LEARNT or _learns_by_heart(case):
        return EXCLUDED
    largest, noise = case.value("training/update_ratio/largest"), case.value("training/loss_noise")
    if math.isnan(largest):
        return None
    epochs, course = case.record.series("failures/training/update_ratio/largest")
    later = [value for epoch, value in zip(epochs, course, strict=True) if epoch > 0 and not math.isnan(value)]
    most = max(later, default=math.nan)
    if not most > HIGH:
        return _killed(case) or EXCLUDED
    return Tested(
        True,
        f"After the first epoch, steps moved weights by up to {most:.2g} of their size, where about 0.001 is usual; "
        f"losses spread by {noise:.0%} from step to step.",
        "Lower the learning rate tenfold, or warm it up; clip gradients.",
        {"update_ratio": most},
    )


def _learns_by_heart(case: Case) -> bool:
    """Whether training images are learnt though nothing was found that tells their labels."""
    signal = NO_SIGNAL.test(case)
    return signal is not None and signal.holds and case.value("causes/gap_low") > BY_HEART


def _killed(case: Case) -> Tested | None:
    """Where the training loss never fell while units died one after the other; None where that is not so."""
    _, dead = case.record.series("failures/training/dead_units")
    _, ratios = case.record.series("failures/training/loss_ratio")
    known = [[value for value in course if not math.isnan(value)] for course in (dead, ratios)]
    if not all(known) or min(known[1]) < NEVER_FELL or known[0][0] > ALIVE or known[0][-1] < DEAD:
        return None
    return Tested(
        True,
        f"The training loss never fell, and the share of dead units in the worst layer rose from {known[0][0]:.0%} to "
        f"{known[0][-1]:.0%} meanwhile: steps too large push units to where no image reaches them.",
        "Lower the learning rate tenfold, or warm it up; clip gradients.",
        {"dead_units_first": known[0][0], "dead_units": known[0][-1], "loss_ratio": min(known[1])},
    )


def _low(case: Case) -> Tested | None:
    median, distance = case.value("training/update_ratio/median"), case.value("training/distance/median")
    straight, slope_high = case.value("training/loss_straightness"), case.value("training/loss_slope_high")
    noise = case.value("training/loss_noise")
    if case.finding.kind == TRAINING_FAULT and case.finding.rule != "never_moved":
        return INAPPLICABLE
    if math.isnan(median):
        return None
    falls = slope_high < 0 and straight > 0.5
    went = f"over the whole run they went {distance:.1%} of their size"
    advice = "Raise the learning rate tenfold, or train for many more steps; look whether a schedule ends too early."
    experiment = {"update_ratio": median, "distance": distance}
    if median < LOW and (falls or distance < NEAR):
        also = ", and the training loss still falls in a straight line" if falls else ""
        why = f"A step moves the weights by {median:.1g} of their size, where about 0.001 is usual; {went}{also}."
        return Tested(True, why, advice, experiment)
    if falls and noise < SMOOTH and median < USUAL:
        why = (
            f"The training loss still falls in a straight line, and it spreads by no more than {noise:.1%} from step "
            f"to step: steps are so small that each changes next to nothing. A step moves the weights by {median:.1g} "
            f"of their size; {went}."
        )
        return Tested(True, why, advice, experiment | {"loss_noise": noise})
    return EXCLUDED


LEARNING_RATE_HIGH = CauseTest("learning_rate_high", (*LEARNS, REPRESENTATION_COLLAPSE, TRAINING_FAULT), _high)
LEARNING_RATE_LOW = CauseTest("learning_rate_low", (*LEARNS, TRAINING_FAULT), _low)
