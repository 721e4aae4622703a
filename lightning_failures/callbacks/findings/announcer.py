"""What people see of a run's findings: the terminal, alerts, the progress bar, and pictures with findings marked."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lightning.pytorch import Trainer

from lightning_failures.callbacks.budget import Budget
from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.callbacks.findings.logged import COUNT, HEAD, TABLE, table_row
from lightning_failures.callbacks.findings.logged import Event as Became
from lightning_failures.callbacks.findings.progress import ProgressNotes
from lightning_failures.callbacks.findings.webhook import Event, Webhook
from lightning_failures.callbacks.logged_step import logged_step
from lightning_failures.callbacks.picture import Pictures
from lightning_failures.records.finding import SEVERITIES, Finding
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.column import views
from lightning_failures.reporting.console import print_finding, print_notice, print_verdict
from lightning_failures.reporting.explanation import why
from lightning_failures.reporting.loggers import log_alert, log_table
from lightning_failures.reporting.sentences import alert, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Announced", "Announcer"]

#: How much is printed.
Announced = Literal["verdict", "findings", "nothing"]

_UNKNOWN, _CLEARED = -2, -1  # below the place of every severity


class Announcer:
    """Tells of each finding when it is raised, explained, more severe, or cleared; on rank zero.

    Args:
        announce: what is printed: ``"verdict"``: findings, and the verdict at the end; ``"findings"``; ``"nothing"``.
        webhook: what else is told of each finding; None: nothing.
        pictures: draws those in which findings are marked; None: without a limit.
    """

    def __init__(self, announce: Announced, webhook: Webhook | None = None, pictures: Pictures | None = None) -> None:
        self.announce = announce
        self.webhook = webhook
        self.notes = ProgressNotes()
        self.pictures = pictures or Pictures("FailureDiagnosis", Budget(None))
        self._said: list[Finding] = []  # as they were when they were last told of

    def resume(self, record: RunRecord) -> None:
        """Take what the record of a run holds as told."""
        self._said = list(record.findings)

    def tell(self, trainer: Trainer, record: RunRecord) -> None:
        """Tell of what was raised, explained, became more severe or was cleared since the last call; draw if any."""
        known = [*self._said, *[None] * (len(record.findings) - len(self._said))]
        became: list[tuple[Finding, Became]] = []
        for finding, said in zip(record.findings, known, strict=True):
            if said is None or finding.standing is not said.standing:
                became.append((finding, "raised" if finding.standing else "cleared"))
                self._tell_of(trainer, finding)
                self._notify("new" if finding.standing else "cleared", finding, record)
            elif finding.standing and SEVERITIES.index(finding.severity) > SEVERITIES.index(said.severity):
                became.append((finding, "worse"))
                self._tell_severity(trainer, finding, said.severity)
                self._notify("worse", finding, record)
            elif finding.standing and finding.cause not in (None, said.cause):
                became.append((finding, "explained"))
                self._tell_cause(trainer, finding)
        if became:
            rows = [table_row(finding, event, trainer.current_epoch) for finding, event in became]
            log_table(trainer.loggers, f"{COUNT.key}/{TABLE.key}", HEAD, rows, logged_step(trainer))
        if any(event != "explained" for _, event in became):
            self.pictures.draw(trainer, _pictures(record))
        self.resume(record)

    def _notify(self, event: Event, finding: Finding, record: RunRecord) -> None:
        if self.webhook is not None:
            self.webhook.send(event, finding, record.name)

    def _tell_of(self, trainer: Trainer, finding: Finding) -> None:
        """Tell of a finding that was raised or cleared."""
        if self.announce != "nothing":
            print_finding(finding)
        if finding.standing:
            log_alert(trainer.loggers, title(finding), alert(finding), _level(finding), logged_step(trainer))

    def _tell_severity(self, trainer: Trainer, finding: Finding, before: str) -> None:
        """Tell of a finding that is more severe than before."""
        if self.announce != "nothing":
            text = f"{title(finding)}, before a {before}. {finding.latest or finding.message}"
            print_notice(trainer.current_epoch, finding.severity, text)
        log_alert(trainer.loggers, title(finding), alert(finding), _level(finding), logged_step(trainer))

    def _tell_cause(self, trainer: Trainer, finding: Finding) -> None:
        """Tell of the cause of a finding that was raised before."""
        if self.announce != "nothing":
            print_notice(trainer.current_epoch, "explained", f"{title(finding)}. {why(finding)}")
        log_alert(trainer.loggers, title(finding), alert(finding), "info", logged_step(trainer))

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

    def close(self) -> None:
        """Let what is still under way arrive, for a few seconds at most."""
        if self.webhook is not None:
            self.webhook.close()

    def tell_verdict(self, record: RunRecord, report: Path | None) -> None:
        """Say the verdict, and where the report lies."""
        if self.announce == "verdict":
            print_verdict([record], COLUMNS, report=report)


def _level(finding: Finding) -> str:
    return "info" if finding.severity == "watch" else finding.severity


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
