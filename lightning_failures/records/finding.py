"""A finding: when, how and why a model fails, with its evidence, as plain data."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.records.cause import CAUSES
from lightning_failures.records.kind import FINDING_KINDS
from lightning_failures.records.strict_json import Plain, strict

__all__ = ["SEVERITIES", "Evidence", "Finding"]

#: Mildest first: what is worth watching, what is wrong, and what makes the model unfit for use.
SEVERITIES = ("watch", "warning", "failure")

Evidence = Plain


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One failure of one run, from the evaluation that raised it to the one that cleared it.

    Args:
        kind: what fails, one of :data:`FINDING_KINDS`.
        subject: what it is about: a factor, a layer, a band, a cue; may be empty.
        epoch: Lightning's epoch, counted from 0, at which it was raised.
        step: the global step at which it was raised.
        cleared: the epoch at which it no longer held, or None while it stands.
        severity: ``"watch"``: worth watching, and counted neither as a warning nor as a failure; ``"warning"``; or
            ``"failure"``.
        evidence: the figures that it rests on, by name; never empty.
        message: what happens, in plain words with the figures.
        advice: what to try next.
        rule: name of the rule that raised it.
        criterion: the indicators with their figures and what they were compared with.
        metric: the run's own validation metric, by which a failure would show otherwise; empty where there is none.
        lead: epochs by which it was raised before that metric got worse, negative for after; None: it has not.
        cause: what explains it, one of :data:`.CAUSES`; None: no cause was tested, or none of the tested ones does.
        why: what was tried to test the cause, and what came of it, in plain words with the figures; empty without one.
        excluded: causes that were tested and do not explain it.
        untested: causes that may explain it and are open: a figure that they need is missing, or it tells that there is
            something, and not what undoes it.
        experiment: what undoing the cause gave: the accuracies ``before`` and ``after`` with their 95% intervals
            (``before_low``, ``before_high``, ``after_low``, ``after_high``) and ``share``, the share of the gap that it
            closes, as far as each is known; other figures by their names. Empty without a cause.
        latest: the message with the figures of the last evaluation at which it stood; empty: as ``message``.

    Raises:
        UnknownNameError: the kind, the severity or a cause does not exist.
        InputError: there is no evidence, or some of it is not plain; an epoch or a step is negative.

    Example:
        >>> finding = Finding(
        ...     kind="class_collapse",
        ...     subject="",
        ...     epoch=2,
        ...     step=90,
        ...     evidence={"effective_classes": 1.0, "classes": 16},
        ...     message="All predictions fall on one class.",
        ... )
        >>> finding.standing, finding.with_cleared(5).cleared
        (True, 5)
    """

    kind: str
    subject: str
    epoch: int
    step: int
    cleared: int | None = None
    severity: str = "warning"
    evidence: Mapping[str, Evidence]
    message: str
    advice: str = ""
    rule: str = ""
    criterion: str = ""
    metric: str = ""
    lead: int | None = None
    cause: str | None = None
    why: str = ""
    excluded: Sequence[str] = ()
    untested: Sequence[str] = ()
    experiment: Mapping[str, Evidence] = field(default_factory=dict)
    latest: str = ""

    def __post_init__(self) -> None:
        _one_of("kind", self.kind, FINDING_KINDS)
        _one_of("severity", self.severity, SEVERITIES)
        if not self.evidence:
            raise InputError("Finding", "a finding without evidence", f"{self.kind!r}", "Pass the figures it rests on.")
        if self.epoch < 0 or self.step < 0:
            given = f"epoch {self.epoch}, step {self.step}"
            raise InputError("Finding", "an epoch or a step below 0", given, "Pass those of the trainer.")
        if self.cleared is not None and self.cleared < self.epoch:
            given = f"raised at epoch {self.epoch}, cleared at {self.cleared}"
            raise InputError("Finding", "cleared before it was raised", given, "Pass the epoch of a later evaluation.")
        for name in (*self.excluded, *self.untested, *([] if self.cause is None else [self.cause])):
            _one_of("cause", name, tuple(CAUSES))
        object.__setattr__(self, "excluded", tuple(self.excluded))
        object.__setattr__(self, "untested", tuple(self.untested))
        for figures in ("evidence", "experiment"):
            plain = {str(name): _plain(name, value) for name, value in getattr(self, figures).items()}
            object.__setattr__(self, figures, plain)

    @property
    def standing(self) -> bool:
        """Whether it still holds."""
        return self.cleared is None

    def with_cleared(self, epoch: int) -> "Finding":
        """The same finding, cleared at an epoch."""
        return dataclasses.replace(self, cleared=epoch)

    def to_dict(self) -> dict[str, Any]:
        """Plain containers that strict JSON and ``torch.load(weights_only=True)`` accept; nan becomes None."""
        fields = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        fields["excluded"], fields["untested"] = list(self.excluded), list(self.untested)
        for figures in ("evidence", "experiment"):
            fields[figures] = {name: strict(value) for name, value in fields[figures].items()}
        return fields

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Finding":
        """The finding of :meth:`to_dict`; fields that it does not know, such as ``run``, are left out.

        Raises:
            InputError: a field is missing.
        """
        fields = dataclasses.fields(cls)
        needed = [f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING]
        missing = [name for name in needed if name not in data]
        if missing:
            given = f"{', '.join(map(str, data)) or 'nothing'}"
            raise InputError("Finding.from_dict", f"no {', '.join(missing)}", given, "Pass what to_dict returned.")
        return cls(**{each.name: data[each.name] for each in fields if each.name in data})


def _one_of(field: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise UnknownNameError("Finding", f"unknown {field}", repr(given), f"Use one of {', '.join(known)}.")


def _plain(name: str, value: object) -> Evidence:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):  # a subclass such as numpy.float64 would not load with weights_only=True
        return float(value)
    given = f"{name!r} of type {type(value).__name__}"
    raise InputError("Finding", "evidence that is not a plain number or text", given, "Pass value.item() instead.")
