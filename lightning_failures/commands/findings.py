"""The findings of a run, for scripts and agents."""

import sys
from typing import Literal

from lightning_failures.errors import InputError
from lightning_failures.records.strict_json import to_text

__all__ = ["findings"]

WHERE = "findings"


def findings(
    run: str | None = None,
    /,
    severity: Literal["watch", "warning", "failure"] = "watch",
    standing: bool = False,
    json: bool = False,
    schema: bool = False,
) -> int:
    """List what was found in a run, one line for each finding; or print it as JSON.

    The JSON is that of findings.json, and satisfies the schema that --schema prints.

    Args:
        run: folder that FailureDiagnosis(report_dir=...) or the demo wrote, or its records.json; FOLDER:NAME is one run
            of several.
        severity: the mildest that is listed.
        standing: leave out what was cleared.
        json: print JSON to standard output, and nothing else.
        schema: print the JSON schema of findings.json, and nothing else; needs no run.

    Returns:
        The exit code, 0.

    Raises:
        InputError: the folder holds no records of a run, or a log that tells no findings.
        UnknownNameError: no run has that name.

    Example:
        lightning-failures findings failures --severity warning --standing
        lightning-failures findings failures --json
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
        raise InputError(WHERE, "no run was named", "nothing", "Name a folder with records.json, or pass --schema.")
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
    if json:
        sys.stdout.write(to_text(findings_data(records, WHERE), indent=2))
        return 0
    for record in records:
        for each in record.findings:
            word = each.severity if each.standing else "cleared"
            message = " ".join((each.latest or each.message).split())
            sys.stdout.write(f"{record.name} {word} {title(each)}, {when(each, record)}. {message}\n")
    return 0
