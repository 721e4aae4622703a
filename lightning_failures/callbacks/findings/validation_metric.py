"""When a run's own validation metric turns, and how long before a finding was raised."""

import dataclasses
import math
from collections.abc import Iterable
from typing import NamedTuple

from lightning_failures.records.finding import Finding
from lightning_failures.records.kind import MONITOR_ERROR
from lightning_failures.records.run_record import RunRecord
from lightning_failures.records.validation_keys import measured_accuracy, users_accuracy, users_loss

__all__ = ["ValidationMetric", "find_metric", "turning_epoch", "with_lead"]

#: Evaluations without a new best after which a metric has turned; one alone is noise.
TURNED = 2


class ValidationMetric(NamedTuple):
    """A logged key, and which of its values is better."""

    key: str
    lower_is_better: bool


def find_metric(keys: Iterable[str]) -> ValidationMetric | None:
    """The validation metric among logged keys: a loss, else an accuracy, the user's own before a monitor's.

    Example:
        >>> find_metric(["val_acc", "val/loss"])
        ValidationMetric(key='val/loss', lower_is_better=True)
    """
    logged = list(keys)
    loss = users_loss(logged)
    if loss is not None:
        return ValidationMetric(loss, lower_is_better=True)
    accuracy = users_accuracy(logged) or measured_accuracy(logged)
    return None if accuracy is None else ValidationMetric(accuracy, lower_is_better=False)


def turning_epoch(record: RunRecord, metric: ValidationMetric) -> int | None:
    """The epoch of the first evaluation after the last best; None while two evaluations have not passed since.

    A metric that stays at its best has not turned, be it a constant accuracy of 1.00.

    Example:
        >>> from lightning_failures.records.run_record import Evaluation
        >>> losses = [3.0, 2.0, 2.5, 2.2]
        >>> run = RunRecord("raw", [Evaluation(i, 10 * i, {"val_loss": loss}) for i, loss in enumerate(losses)])
        >>> turning_epoch(run, ValidationMetric("val_loss", True))
        2
    """
    epochs, values = record.series(metric.key)
    signed = [value if metric.lower_is_better else -value for value in values]
    known = [place for place, value in enumerate(signed) if not math.isnan(value)]
    if not known:
        return None
    best = min(known, key=lambda place: (signed[place], -place))
    return epochs[best + 1] if len(values) - best > TURNED else None


def with_lead(finding: Finding, record: RunRecord, metric: ValidationMetric | None) -> Finding:
    """The same finding with its lead over the metric, as far as it is known."""
    if metric is None or finding.kind == MONITOR_ERROR:
        return finding
    turned = turning_epoch(record, metric)
    lead = None if turned is None else turned - finding.epoch
    if (finding.metric, finding.lead) == (metric.key, lead):
        return finding
    return dataclasses.replace(finding, metric=metric.key, lead=lead)
