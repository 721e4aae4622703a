"""Differential diagnosis: the causes that could bring a finding, tested in their order."""

import math
from dataclasses import replace

from lightning_failures.callbacks.causes.case import INAPPLICABLE, Case, CauseTest, Tested
from lightning_failures.callbacks.causes.class_imbalance import CLASS_IMBALANCE_CAUSE
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
    CLASS_IMBALANCE_CAUSE,
    LEAKAGE,
    FROZEN_PARAMETERS,
    LEARNING_RATE_HIGH,
    DEAD_UNITS,
    LEARNING_RATE_LOW,
    NO_SIGNAL,
    UNFINISHED_TRAINING,
    LABEL_NOISE,
    SHORTCUT,
    OVERFITTING,
)


def diagnose(finding: Finding, record: RunRecord, advice: str = "") -> Finding:
    """The finding with the cause that explains it, those that were tested and do not, and those that could not be.

    Of the causes that hold, the one that closes the largest share of the gap when it is undone counts; where none of
    them can be undone on the spot, the first in the order of testing, and then only where every experiment before it
    was made. Without one the finding keeps the cause that it had while that cannot be tested.

    Args:
        finding: that stands.
        record: of the run so far, from whose figures the causes are tested.
        advice: of the rule that raised it, for a finding without a cause.
    """
    case = Case(finding, record)
    holding: dict[str, Tested] = {}
    excluded, untested, open_experiment = [], [], False
    for each in CAUSE_TESTS:
        result = each.test(case) if finding.kind in each.explains else INAPPLICABLE
        if result is None:
            untested.append(each.name)
            open_experiment = open_experiment or each.undoes
        elif result.holds and (not open_experiment or not math.isnan(result.share)):
            holding[each.name] = result
        elif result.holds:
            untested.append(each.name)  # an earlier cause may be what it looks like
        elif result.applies:
            excluded.append(each.name)
    finding = replace(finding, excluded=excluded, untested=untested)
    if not holding:
        if finding.cause is None or finding.cause in untested:
            return finding
        return replace(finding, cause=None, why="", advice=advice, experiment={})
    name = max(holding, key=lambda each: holding[each].share if not math.isnan(holding[each].share) else -1.0)
    best = holding[name]
    experiment = {key: value for key, value in best.experiment.items() if not key.startswith("gain_low")}
    return replace(finding, cause=name, why=best.why, advice=best.advice, experiment=experiment)
