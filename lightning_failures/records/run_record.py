"""The record of one run: what was logged at each evaluation, what was found, what was undefined and why."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lightning_failures.errors import InputError
from lightning_failures.records.finding import SEVERITIES, Finding
from lightning_failures.records.picture import Picture
from lightning_failures.records.strict_json import strict, write_json

__all__ = ["Evaluation", "RunRecord", "read_records", "write_records"]


@dataclass(frozen=True)
class Evaluation:
    """What was logged at one evaluation.

    Args:
        epoch: Lightning's epoch, counted from 0.
        step: the global step.
        values: by logged key; nan where a value is undefined.

    Example:
        >>> Evaluation(0, 10, {"failures/factors/error/all": 0.3, "val_acc": 0.7}).statistics("factors")
        {'error/all': 0.3}
    """

    epoch: int
    step: int
    values: dict[str, float]

    def statistics(self, name: str) -> dict[str, float]:
        """What one monitor logged, by the part of its keys behind ``failures/<name>/``."""
        return _statistics(self.values, name)


@dataclass
class RunRecord:
    """All evaluations and findings of one run, as plain data.

    Args:
        name: the run's name, for example the arm of a comparison.
        evaluations: in the order of training.
        findings: all, raised and cleared.
        undefined: why a value is nan, by logged key.
        seconds: duration of the training, monitors included.
        monitor_seconds: the part of it that the monitors took, and the diagnosis.
        seconds_by_monitor: the same by the name of each, the most first.
        budget: share of the run's own time that they were allowed; None: no limit, or several budgets.
        columns: the noun of each monitor, by the monitor's name, the second part of its keys; a record of an earlier
            version has none, and its monitors are called as their nouns.
        not_watched: what the monitors could not watch, and why; empty in a record of an earlier version.
        no_validation: why the evaluations are of training batches; empty where they are of validation.
        evaluated: ``"test"`` or ``"validation"``: on which images a model was evaluated without being trained, as by
            ``trainer.test()``; empty for a training.
        pictures: of images, drawn at the end of the run beside the findings that they show.
        started: when the run began, in the time of its place, as ISO 8601 has it: ``"2026-11-27T09:41:07+01:00"``.
        seed: of the run, where ``seed_everything`` set one.
        commit: of the repository that the user's code lies in, ``"-dirty"`` behind it where files had been changed;
            empty outside of one.
        versions: of the packages that matter, by name.

    An earlier version wrote none of the last four.

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
    columns: dict[str, str] = field(default_factory=dict)
    not_watched: dict[str, str] = field(default_factory=dict)
    no_validation: str = ""
    evaluated: str = ""
    pictures: list[Picture] = field(default_factory=list)
    seconds_by_monitor: dict[str, float] = field(default_factory=dict)
    budget: float | None = None
    started: str = ""
    seed: int | None = None
    commit: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        """Epochs up to the last evaluation."""
        return 1 + max((evaluation.epoch for evaluation in self.evaluations), default=-1)

    @property
    def standing(self) -> list[Finding]:
        """The findings that still hold, the most severe first."""
        return sorted((f for f in self.findings if f.standing), key=lambda f: -SEVERITIES.index(f.severity))

    @property
    def monitor_share(self) -> float | None:
        """What the monitors took over the training's own time, which is all but theirs; None if that is not known."""
        return None if self.own_seconds is None else (self.monitor_seconds or 0.0) / self.own_seconds

    @property
    def own_seconds(self) -> float | None:
        """The training's own time, without that of the monitors, in seconds; None if that is not known."""
        if self.seconds is None or self.monitor_seconds is None or self.seconds <= self.monitor_seconds:
            return None
        return self.seconds - self.monitor_seconds

    @property
    def shares_by_monitor(self) -> dict[str, float]:
        """What each monitor took over the training's own time, the most first; empty where they are not known."""
        own = self.own_seconds
        return {} if own is None else {name: each / own for name, each in self.seconds_by_monitor.items()}

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """Epochs and values of a key, at those evaluations that logged it."""
        pairs = [(e.epoch, e.values[key]) for e in self.evaluations if key in e.values]
        return [epoch for epoch, _ in pairs], [value for _, value in pairs]

    def last(self, key: str) -> float:
        """The value of a key at the last evaluation that logged it; nan if none did."""
        return next((e.values[key] for e in reversed(self.evaluations) if key in e.values), math.nan)

    def last_values(self) -> dict[str, float]:
        """The last value of every key."""
        values: dict[str, float] = {}
        for evaluation in self.evaluations:
            values.update(evaluation.values)  # at each evaluation of a long run: faster than key by key
        return values

    def statistics(self, name: str) -> dict[str, float]:
        """The last values of what one monitor logged, by the part of its keys behind ``failures/<name>/``."""
        return _statistics(self.last_values(), name)

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

    def names_of(self, noun: str) -> list[str]:
        """The names under which monitors of a noun logged, the noun itself first.

        Example:
            >>> RunRecord("raw", columns={"scanner": "factors", "collapse": "collapse"}).names_of("factors")
            ['factors', 'scanner']
        """
        return [name for name, its in ({noun: noun} | self.columns).items() if its == noun]

    def seen_by(self, name: str, noun: str) -> "RunRecord":
        """The run as one monitor saw it: what it logged stands under its noun, whatever its name.

        What draws or tells something of a noun then works for each of its monitors.

        Args:
            name: of the monitor.
            noun: its noun.

        Example:
            >>> run = RunRecord("raw", [Evaluation(0, 10, {"failures/scanner/error/all": 0.3, "val_acc": 0.7})])
            >>> run.seen_by("scanner", "factors").last_values()
            {'failures/factors/error/all': 0.3, 'val_acc': 0.7}
        """
        if name == noun:
            return self
        own, others = f"failures/{name}/", f"failures/{noun}/"

        def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
            kept = {key: value for key, value in values.items() if not key.startswith(others)}
            return {others + key.removeprefix(own) if key.startswith(own) else key: kept[key] for key in kept}

        evaluations = [replace(each, values=renamed(each.values)) for each in self.evaluations]
        return replace(self, evaluations=evaluations, undefined=renamed(self.undefined))

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
            dict(data.get("columns", {})),
            dict(data.get("not_watched", {})),
            data.get("no_validation", ""),
            data.get("evaluated", ""),
            [Picture.from_dict(picture) for picture in data.get("pictures", [])],
            dict(data.get("seconds_by_monitor", {})),
            data.get("budget"),
            data.get("started", ""),
            data.get("seed"),
            data.get("commit", ""),
            dict(data.get("versions", {})),
        )


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


def _statistics(values: Mapping[str, float], name: str) -> dict[str, float]:
    before = f"failures/{name}/"
    return {key.removeprefix(before): value for key, value in values.items() if key.startswith(before)}


def _number(value: float | str | None) -> float:
    return math.nan if value is None else float(value)
