"""The record of one run: what was logged at each evaluation, what was found, what was undefined and why."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lightning_failures.errors import InputError
from lightning_failures.records.finding import Finding
from lightning_failures.records.keys import RESERVED, unescape
from lightning_failures.records.strict_json import strict, write_json

__all__ = ["Evaluation", "FactorRow", "RunRecord", "factor_rows", "read_records", "write_records"]

FACTORS = "failures/factors/"


@dataclass(frozen=True)
class Evaluation:
    """What was logged at one evaluation.

    Args:
        epoch: Lightning's epoch, counted from 0.
        step: the global step.
        values: by logged key; nan where a value is undefined.
    """

    epoch: int
    step: int
    values: dict[str, float]


@dataclass
class RunRecord:
    """All evaluations and findings of one run, as plain data.

    Args:
        name: the run's name, for example the arm of a comparison.
        evaluations: in the order of training.
        findings: all, raised and cleared.
        undefined: why a value is nan, by logged key.
        seconds: duration of the training, monitors included.
        monitor_seconds: the part of it that the monitors took.

    Example:
        >>> run = RunRecord("raw", [Evaluation(0, 10, {"val_acc": 0.3}), Evaluation(1, 20, {"val_acc": 0.5})])
        >>> run.series("val_acc")
        ([0, 1], [0.3, 0.5])
        >>> run.last("val_acc")
        0.5
    """

    name: str
    evaluations: list[Evaluation] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    undefined: dict[str, str] = field(default_factory=dict)
    seconds: float | None = None
    monitor_seconds: float | None = None

    @property
    def epochs(self) -> int:
        """Epochs up to the last evaluation."""
        return 1 + max((evaluation.epoch for evaluation in self.evaluations), default=-1)

    @property
    def standing(self) -> list[Finding]:
        """The findings that still hold, failures first."""
        return sorted((f for f in self.findings if f.standing), key=lambda finding: finding.severity != "failure")

    @property
    def monitor_share(self) -> float | None:
        """Share of the training's time that the monitors took; None if either is not known."""
        if not self.seconds or self.monitor_seconds is None:
            return None
        return self.monitor_seconds / self.seconds

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """Epochs and values of a key, at those evaluations that logged it."""
        pairs = [(e.epoch, e.values[key]) for e in self.evaluations if key in e.values]
        return [epoch for epoch, _ in pairs], [value for _, value in pairs]

    def last(self, key: str) -> float:
        """The value of a key at the last evaluation that logged it; nan if none did."""
        return next((e.values[key] for e in reversed(self.evaluations) if key in e.values), math.nan)

    def last_values(self) -> dict[str, float]:
        """The last value of every key."""
        return {key: value for evaluation in self.evaluations for key, value in evaluation.values.items()}

    def matching(self, pattern: str) -> dict[str, float]:
        """Last values of the keys that match a pattern with one ``*``, by what the star stands for.

        Example:
            >>> run = RunRecord("raw", [Evaluation(0, 10, {"failures/collapse/rankme/net.fc": 9.0, "val_acc": 0.3})])
            >>> run.matching("failures/collapse/rankme/*")
            {'net.fc': 9.0}
        """
        before, star, after = pattern.partition("*")
        if not star:
            raise InputError("RunRecord.matching", "no star", repr(pattern), "Put one * where the name stands.")
        return {
            key[len(before) : len(key) - len(after)]: value
            for key, value in self.last_values().items()
            if key.startswith(before) and key.endswith(after) and len(key) > len(before) + len(after)
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain containers that strict JSON accepts; nan becomes None, an infinity its name."""
        plain = asdict(self)
        for evaluation in plain["evaluations"]:
            evaluation["values"] = {key: strict(float(value)) for key, value in evaluation["values"].items()}
        return plain | {"findings": [finding.to_dict() for finding in self.findings]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "RunRecord":
        """The record of :meth:`to_dict`."""
        evaluations = [
            Evaluation(e["epoch"], e["step"], {key: _number(value) for key, value in e["values"].items()})
            for e in data["evaluations"]
        ]
        findings = [Finding.from_dict(finding) for finding in data["findings"]]
        return cls(
            data["name"],
            evaluations,
            findings,
            dict(data["undefined"]),
            data.get("seconds"),
            data.get("monitor_seconds"),
        )


class FactorRow(NamedTuple):
    """One factor at one evaluation; a figure that was not logged is nan."""

    name: str
    ratio: float  # error rate on the images that carry the factor, over the error rate on all
    low: float  # 95% interval
    high: float
    p_value: float
    images: float  # that carry the factor
    errors: float  # misclassified images among them

    @property
    def differs(self) -> bool:
        """Whether the interval excludes 1."""
        return self.low > 1 or self.high < 1


def factor_rows(values: Mapping[str, float]) -> list[FactorRow]:
    """The factors among logged values, highest error ratio first, undefined ones last.

    Args:
        values: by logged key, for example ``Evaluation.values`` or ``RunRecord.last_values()``.

    Example:
        >>> factor_rows({"failures/factors/error_ratio/dark": 2.0, "failures/factors/images/dark": 40.0})[0].ratio
        2.0
    """
    columns: dict[str, dict[str, float]] = {}
    for key, value in values.items():
        statistic, _, name = key.removeprefix(FACTORS).partition("/")
        if key.startswith(FACTORS) and name:
            columns.setdefault(statistic, {})[name] = value
    ratios = columns.get("error_ratio", {})
    counted = columns.get("images") or {name: math.nan for name in ratios if name not in RESERVED}
    statistics = ("error_ratio", "low", "high", "p_value", "images", "errors")
    rows = [
        FactorRow(unescape(name), *(columns.get(statistic, {}).get(name, math.nan) for statistic in statistics))
        for name in counted
        if name in ratios
    ]
    return sorted(rows, key=lambda row: (math.isnan(row.ratio), -row.ratio, row.name))


def write_records(path: str | Path, records: Iterable[RunRecord], where: str = "write_records") -> Path:
    """Write whole records as strict JSON, from which :func:`read_records` restores them.

    Args:
        path: the file.
        records: of one run or more.
        where: the public name to put into an error.

    Raises:
        InputError: the file cannot be written.
    """
    return write_json(where, path, [record.to_dict() for record in records], indent=1)


def read_records(path: str | Path) -> list[RunRecord]:
    """The records of :func:`write_records`."""
    data: Sequence[Mapping[str, Any]] = json.loads(Path(path).read_text(encoding="utf-8"))
    return [RunRecord.from_dict(record) for record in data]


def _number(value: float | str | None) -> float:
    return math.nan if value is None else float(value)
