"""What people see of a run's findings: the terminal, alerts, the progress bar, and pictures with findings marked."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lightning.pytorch import Trainer

from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.callbacks.findings.progress import ProgressNotes
from lightning_failures.callbacks.picture import Pictures
from lightning_failures.records.finding import SEVERITIES, Finding
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.column import views
from lightning_failures.reporting.console import print_finding, print_notice, print_verdict
from lightning_failures.reporting.loggers import log_alert
from lightning_failures.reporting.sentences import alert, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Announced", "Announcer"]

#: How much is printed.
Announced = Literal["verdict", "findings", "nothing"]

_UNKNOWN, _CLEARED = -2, -1  # below the place of every severity


class Announcer:
    """Tells of each finding when it is raised, when its severity rises and when it is cleared; on rank zero.

    Args:
        announce: what is printed: ``"verdict"``: findings, and the verdict at the end; ``"findings"``; ``"nothing"``.
    """

    def __init__(self, announce: Announced) -> None:
        self.announce = announce
        self.notes = ProgressNotes()
        self.pictures = Pictures()
        self._said: list[int] = []  # of each finding, how severe it was when it was last told of

    def resume(self, record: RunRecord) -> None:
        """Take what the record of a run holds as told."""
        self._said = [_height(finding) for finding in record.findings]

    def tell(self, trainer: Trainer, record: RunRecord) -> None:
        """Tell of the findings that were raised, became more severe or were cleared since the last call; draw those."""
        known = [*self._said, *[_UNKNOWN] * (len(record.findings) - len(self._said))]
        changed = [
            (finding, said)
            for finding, said in zip(record.findings, known, strict=True)
            if (now := _height(finding)) > said or (now == _CLEARED and said != _CLEARED)
        ]
        for finding, said in changed:
            if self.announce != "nothing" and finding.standing and said >= 0:
                text = f"{title(finding)}, before a {SEVERITIES[said]}. {finding.latest or finding.message}"
                print_notice(trainer.current_epoch, finding.severity, text)
            elif self.announce != "nothing":
                print_finding(finding)
            if finding.standing:
                name = f"{finding.kind} {finding.subject}".strip()
                level = "info" if finding.severity == "watch" else finding.severity
                log_alert(trainer.loggers, name, alert(finding), level)
        if changed:
            self.pictures.draw(trainer, _pictures(record))
        self.resume(record)

    def tell_stop(self, trainer: Trainer, record: RunRecord) -> None:
        """Say why the run stops."""
        if self.announce != "nothing":
            standing = [finding for finding in record.findings if finding.standing]
            names = ", ".join(f"{f.rule} {f.subject}".strip() for f in standing) or "another process"
            print_notice(trainer.current_epoch, "stopped", f"The run stops: {names}.")

    def draw_last(self, trainer: Trainer, record: RunRecord) -> None:
        """Draw the pictures of the whole run."""
        self.pictures.draw(trainer, _pictures(record))
        self.pictures.finish(trainer)

    def tell_verdict(self, record: RunRecord, report: Path | None) -> None:
        """Say the verdict, and where the report lies."""
        if self.announce == "verdict":
            print_verdict([record], COLUMNS, report=report)


def _height(finding: Finding) -> int:
    """How severe a finding is: the place of its severity, below all of them where it was cleared."""
    return SEVERITIES.index(finding.severity) if finding.standing else _CLEARED


def _pictures(record: RunRecord) -> "dict[str, Callable[[], Figure]]":
    """The pictures in which findings are marked, of the monitors of this run: logged key -> what draws it."""
    found: dict[str, Callable[[], Figure]] = {}
    for column in COLUMNS:
        for name, (seen,) in views(column, [record]):
            watched = record.columns.get(name or column.noun) == column.noun
            for chart in column.charts if watched else ():
                (make,) = chart.of([seen])
                if chart.marks_findings and make is not None:
                    found[f"failures/{name or column.noun}/{chart.name}"] = make
    return found
