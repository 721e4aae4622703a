"""Pictures of a run from its record, for papers and the report: its accuracy and its interchange by epoch."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_failures.errors import InputError
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.figures import Line, by_epoch, points, position
from lightning_failures.reporting.sentences import accuracy_key
from lightning_failures.reporting.shortfall import chance_key

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["accuracy_figure", "accuracy_limits", "interchange_figure"]

_HERE = "failures/simplicity/"


def accuracy_limits(records: Sequence[RunRecord]) -> tuple[float, float]:
    """Limits of the accuracy axis that suit all of some runs, so that their figures can be compared."""
    keys = {accuracy_key(record) for record in records} | {f"{_HERE}reference_accuracy"}
    values = [value for record in records for key in keys if key for value in record.series(key)[1]]
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    of_chance = [(record, key) for record in records if (key := chance_key(record)) is not None]
    chance = min((value for record, key in of_chance for value in record.series(key)[1]), default=math.nan)
    if low - chance < high - low:  # near enough to be shown without pressing the rest together
        low = min(low, chance)
    margin = max(0.02, 0.1 * (high - low))
    return max(0.0, math.floor((low - margin) * 20) / 20), min(1.0, math.ceil((high + margin) * 20) / 20)


def accuracy_figure(record: RunRecord, limits: tuple[float, float] | None = None) -> "Figure":
    """Validation accuracy of the network by epoch, against the closed-form linear reference on the same images.

    The bars (a band, where there are many evaluations) are the paired 95% interval of the difference, drawn around the
    network: where they stay clear of the reference, the difference is more than chance. Without a monitor of simplicity
    the accuracy stands alone.

    Args:
        record: the run.
        limits: of the accuracy axis; those of this run by default.

    Raises:
        InputError: no accuracy was logged.
    """
    key = accuracy_key(record)
    if key is None:
        raise InputError("accuracy_figure", "no accuracy was logged", f"run {record.name!r}", "Log val_acc.")
    low, high = _around_network(record, key)
    lines = [
        Line("network", key, "first", "o", "-", low, high),
        Line("linear reference", f"{_HERE}reference_accuracy", "second", "D", "--"),
        Line("chance", chance_key(record) or "", "soft", "", ":"),
    ]
    return by_epoch(record, _logged(record, lines), limits or accuracy_limits([record]), "accuracy")


def interchange_figure(record: RunRecord) -> "Figure":
    """By epoch, whose prediction comes out when a donor image takes the receiver's one main coordinate.

    Near 1 for the receiver: one number per image decides. Near 1 for the donor: the rest of the image decides.

    Args:
        record: the run.

    Raises:
        InputError: no interchange was logged.
    """
    own, donor = f"{_HERE}own/1", f"{_HERE}donor/1"
    if own not in record.last_values():
        raise InputError(
            "interchange_figure", "no interchange was logged", f"run {record.name!r}", "Add a SimplicityBiasMonitor."
        )
    low, high = (dict(zip(*points(record, f"{_HERE}own_{end}/1"), strict=True)) for end in ("low", "high"))
    lines = [
        Line("one direction decides", own, "second", "o", "-", low, high),
        Line("the rest decides", donor, "first", "D", "--"),
    ]
    return by_epoch(record, _logged(record, lines), (0.0, 1.0), "share of image pairs")


def _logged(record: RunRecord, lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if line.key in record.last_values()]


def _around_network(record: RunRecord, key: str) -> tuple[dict[int, float], dict[int, float]]:
    """The interval of the paired difference, whichever way it was taken, around the network's accuracy."""
    counted, low, high = position(record), {}, {}
    names = [f"{_HERE}{name}" for name in ("reference_accuracy", "difference", "low", "high")]
    for evaluation in record.evaluations:
        network, best, difference, lower, upper = (evaluation.values.get(name, math.nan) for name in (key, *names))
        half = (difference - lower, upper - difference)
        down, up = half if abs(network - best - difference) < abs(best - network - difference) else half[::-1]
        where = getattr(evaluation, counted)
        low[where], high[where] = network - down, network + up
    return low, high
