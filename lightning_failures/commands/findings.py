"""The findings of a run, for scripts and agents."""

import sys
from pathlib import Path
from typing import Literal

from lightning_failures.errors import InputError
from lightning_failures.records.strict_json import to_text, write_json

__all__ = ["findings"]

WHERE = "findings"


def findings(
    run: str | None = None,
    /,
    severity: Literal["watch", "warning", "failure"] = "watch",
    standing: bool = False,
    json: Path | None = None,
    schema: bool = False,
) -> int:
    """List what was found in a run, one line for each finding, or as JSON.

    The JSON is that of findings.json, and satisfies the schema that --schema prints.

    Args:
        run: folder that FailureDiagnosis(report_dir=...) or the demo wrote, or its records.json; FOLDER:NAME is one run
            of several.
        severity: the mildest that is listed.
        standing: leave out what was cleared.
        json: file for the same that programs can read.
        schema: print the JSON schema of findings.json, and nothing else; needs no run.

    Returns:
        The exit code, 0.

    Raises:
        InputError: no records of a run, a log that tells no findings, or a file that cannot be written.
        UnknownNameError: no run has that name.

    Example:
        lightning-failures findings failures --severity warning --standing
        lightning-failures findings failures --json -
    """
    if schema:
        from lightning_failures.commands.finding_schema import finding_schema

        sys.stdout.write(to_text(finding_schema(), indent=2))
        return 0
    from lightning_failures.records.finding import SEVERITIES
    from lightning_failures.reporting.logged_runs import read_runs
    from lightning_failures.reporting.report import findings_data
    from lightning_failures.reporting.sentences import title, when

    if run is None:
        fix = "Name a folder with records.json, before any --json; or pass --schema."
        raise InputError(WHERE, "no run was named", "nothing", fix)
    runs = read_runs(WHERE, run)
    silent = [each.record.name for each in runs if not each.tells_findings]
    if silent:
        fix = "Name a folder that FailureDiagnosis(report_dir=...) wrote."
        raise InputError(WHERE, "logs hold figures and no findings", ", ".join(silent), fix)
    records = [each.record for each in runs]
    for record in records:
        record.findings = [
            each
            for each in record.findings
            if SEVERITIES.index(each.severity) >= SEVERITIES.index(severity) and (each.standing or not standing)
        ]
    if json is not None:
        write_json(WHERE, json, findings_data(records, WHERE))
    for record in records:
        for each in record.findings:
            word = each.severity if each.standing else "cleared"
            message = " ".join((each.latest or each.message).split())
            sys.stdout.write(f"{record.name} {word} {title(each)}, {when(each, record)}. {message}\n")
    return 0
