"""Findings and records of runs, as the benchmarks write them."""

from typing import Any

from lightning_failures import Finding

__all__ = ["finding", "record_of"]


def finding(kind: str = "class_collapse", severity: str = "failure", **fields: Any) -> Finding:
    """A finding of a run."""
    plain = {"subject": "", "epoch": 3, "step": 60, "evidence": {"accuracy": 0.1}, "message": "It fails."}
    return Finding(kind=kind, severity=severity, **plain | fields)


def record_of(case: str, *findings: Finding, network: str = "cnn", **fields: Any) -> dict[str, Any]:
    """What a run of a case leaves in its file."""
    told = [each.to_dict() for each in findings]
    return {"case": case, "network": network, "findings": told, **fields}
