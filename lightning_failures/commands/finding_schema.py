"""The JSON schema of ``findings.json``, made from the docstrings of a finding and of a run's record."""

import dataclasses
import inspect
import types
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin, get_type_hints

from lightning_failures.commands.options import read_docstring
from lightning_failures.records.cause import CAUSES
from lightning_failures.records.finding import SEVERITIES, Finding
from lightning_failures.records.kind import FINDING_KINDS
from lightning_failures.records.run_record import RunRecord

__all__ = ["finding_schema"]

_TYPES: dict[Any, str] = {str: "string", int: "integer", float: "number", type(None): "null"}
_PLAIN = {"type": ["number", "string", "null"]}  # what strict JSON has of a figure: nan is null, an infinity its name
_OBJECT = {"type": "object"}


def finding_schema() -> dict[str, Any]:
    """The schema, draft 2020-12; fields that it does not name may be added by later versions.

    Example:
        >>> finding_schema()["$defs"]["finding"]["properties"]["severity"]["enum"]
        ['watch', 'warning', 'failure']
    """
    _, texts = read_docstring(inspect.getdoc(Finding) or "")
    hints = get_type_hints(Finding)
    fields = {
        each.name: _schema(hints[each.name]) | {"description": texts[each.name]} for each in dataclasses.fields(Finding)
    }
    for name, known in (("kind", list(FINDING_KINDS)), ("severity", list(SEVERITIES)), ("cause", [*CAUSES, None])):
        fields[name]["enum"] = known
    for name in ("epoch", "step"):
        fields[name]["minimum"] = 0
    fields["evidence"]["minProperties"] = 1
    fields["run"] = {"type": "string", "description": "Name of the run."}
    _, said = read_docstring(inspect.getdoc(RunRecord) or "")
    run: dict[str, Any] = {
        "epochs": {"type": "integer", "minimum": 0, "description": "Epochs up to the last evaluation."},
        "evaluations": {"type": "integer", "minimum": 0, "description": "How many there were."},
        "seconds": {"type": ["number", "null"]},
        "monitor_share": {
            "type": ["number", "null"],
            "description": "What the monitors took over the training's own time, which is all but theirs.",
        },
        "shares_by_monitor": _OBJECT
        | {"additionalProperties": {"type": "number"}, "description": "The same by the name of each, the most first."},
        "budget": {"type": ["number", "null"]},
        "last": _OBJECT | {"additionalProperties": _PLAIN, "description": "The last value of every logged key."},
        "undefined": _OBJECT | {"additionalProperties": {"type": "string"}, "description": "Why a value is null."},
        "not_watched": _OBJECT | {"additionalProperties": {"type": "string"}},
        "no_validation": {"type": "string"},
        "evaluated": {"enum": ["", "test", "validation"]},
        "started": {"type": "string"},
        "seed": {"type": ["integer", "null"]},
        "commit": {"type": "string"},
        "versions": _OBJECT | {"additionalProperties": {"type": "string"}},
    }
    for name, each in run.items():
        each.setdefault("description", said.get(name))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "findings.json of lightning-failures",
        "type": "object",
        "required": ["findings", "runs", "version"],
        "properties": {
            "findings": {"type": "array", "items": {"$ref": "#/$defs/finding"}},
            "runs": _OBJECT | {"additionalProperties": {"$ref": "#/$defs/run"}},
            "version": {"type": "string"},
        },
        "$defs": {
            "finding": _OBJECT | {"required": list(fields), "properties": fields},
            "run": _OBJECT | {"required": list(run), "properties": run},
        },
    }


def _schema(hint: Any) -> dict[str, Any]:
    """The schema of a type of a field."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Mapping:
        return _OBJECT | {"additionalProperties": _PLAIN}
    if origin is Sequence:
        return {"type": "array", "items": _schema(inner[0])}
    if origin is types.UnionType:
        return {"type": [_TYPES[each] for each in inner]}
    return {"type": _TYPES[hint]}
