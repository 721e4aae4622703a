"""The rules that raise findings, as a table."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_failures.records.strict_json import write_json

if TYPE_CHECKING:
    from lightning_failures.records.rule import Rule

__all__ = ["rules"]

WHERE = "rules"


def rules(rules: str = "standard", json: Path | None = None) -> int:
    """Print every rule that raises a finding: its thresholds, when it is raised and cleared, and where they come from.

    Args:
        rules: standard for those that come with the package, or a YAML file, as FailureDiagnosis takes it.
        json: file for the same that programs can read.

    Returns:
        The exit code, 0.

    Raises:
        InputError: a file that cannot be read or written, or rules that cannot be used.
        UnknownNameError: the file names a standard rule that does not exist.

    Example:
        lightning-failures rules
        lightning-failures rules --rules rules.yaml --json -
    """
    from lightning_failures.callbacks.findings.rulebook import read_rules
    from lightning_failures.reporting.rule_table import print_rules

    book = read_rules(None if rules == "standard" else rules, WHERE)
    if json is not None:
        write_json(WHERE, json, [_plain(rule) for rule in book])
    print_rules([asdict(rule) for rule in book])
    return 0


def _plain(rule: "Rule") -> dict[str, Any]:
    """What was written of a rule; its conditions, endings and keys are read from that."""
    read = ("conditions", "endings", "plain_conditions", "last_conditions", "evidence_keys", "worse")
    return {key: value for key, value in asdict(rule).items() if key not in read}
