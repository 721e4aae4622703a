"""Differential diagnosis: the causes that could bring a finding, tested in their order."""

import math
from dataclasses import replace

from lightning_failures.callbacks.causes.case import Case, CauseTest
from lightning_failures.callbacks.causes.dead_units import DEAD_UNITS
from lightning_failures.callbacks.causes.evaluation_mode import EVALUATION_MODE
from lightning_failures.callbacks.causes.frozen_parameters import FROZEN_PARAMETERS
from lightning_failures.callbacks.causes.input_mismatch import INPUT_MISMATCH
from lightning_failures.callbacks.causes.label_mismatch import LABEL_MISMATCH
from lightning_failures.callbacks.causes.label_noise import LABEL_NOISE
from lightning_failures.callbacks.causes.leakage import LEAKAGE
from lightning_failures.callbacks.causes.learning_rate import LEARNING_RATE_HIGH, LEARNING_RATE_LOW
from lightning_failures.callbacks.causes.no_signal import NO_SIGNAL
from lightning_failures.callbacks.causes.not_finite import NOT_FINITE
from lightning_failures.callbacks.causes.overfitting import OVERFITTING
from lightning_failures.callbacks.causes.shortcut import SHORTCUT
from lightning_failures.callbacks.causes.unfinished_training import UNFINISHED_TRAINING
from lightning_failures.records.finding import Finding
from lightning_failures.records.run_record import RunRecord

__all__ = ["CAUSE_TESTS", "diagnose"]

#: In the order of testing, that of :data:`.CAUSES`.
CAUSE_TESTS: tuple[CauseTest, ...] = (
    NOT_FINITE,
    INPUT_MISMATCH,
    LABEL_MISMATCH,
    EVALUATION_MODE,
    LEAKAGE,
    DEAD_UNITS,
    FROZEN_PARAMETERS,
    LEARNING_RATE_HIGH,
    LEARNING_RATE_LOW,
    NO_SIGNAL,
    UNFINISHED_TRAINING,
    LABEL_NOISE,
    SHORTCUT,
    OVERFITTING,
)


def diagnose(finding: Finding, record: RunRecord) -> Finding:
    """The finding with the cause that explains it, and those that were tested and do not.

    Of the causes that hold, the one that closes the largest share of the gap when it is undone counts; where none of
    them can be undone on the spot, the first in the order of testing. Without one the finding keeps what it had.

    Args:
        finding: that stands.
        record: of the run so far, from whose figures the causes are tested.
    """
    case = Case(finding, record)
    tested = {each.name: each.test(case) for each in CAUSE_TESTS if finding.kind in each.explains}
    known = {name: result for name, result in tested.items() if result is not None}
    holding = [name for name, result in known.items() if result.holds]
    excluded = tuple(name for name, result in known.items() if not result.holds)
    if not holding:
        return replace(finding, excluded=excluded) if finding.cause is None else finding
    name = max(holding, key=lambda each: known[each].share if not math.isnan(known[each].share) else -1.0)
    best = known[name]
    experiment = {key: value for key, value in best.experiment.items() if key != "gain_low"}
    return replace(finding, cause=name, why=best.why, advice=best.advice, excluded=excluded, experiment=experiment)
