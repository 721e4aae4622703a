"""Rules from Python, from dictionaries and from YAML files: added, changed, silenced."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_failures.callbacks.columns import standard_rules
from lightning_failures.errors import InputError, UnknownNameError, meant
from lightning_failures.records.rule import Rule

__all__ = ["RuleSource", "read_rules"]

RuleSource = str | Path | Sequence[str | Mapping[str, Any] | Rule]

FIELDS = tuple(field.name for field in dataclasses.fields(Rule) if field.init)


def read_rules(rules: RuleSource | None = None, where: str = "FailureDiagnosis") -> tuple[Rule, ...]:
    """Rules in the order in which they were given; of two with one name the later counts.

    Args:
        rules: None: the standard rules. A path: a YAML file that holds a list. A list of

            - ``"standard"``: all standard rules, or the name of one of them;
            - a dict with ``name``: changes the rule of that name, given before or standard, field by field;
              a ``persistence`` without ``plain_when`` and ``last_when`` asks for so many evaluations in every case;
              ``silence: true`` leaves it out; with a new name and ``kind``, ``when`` and ``message`` it is a new rule;
            - a :class:`.Rule`.
        where: the public name that was called, for errors.

    Raises:
        InputError: a file that cannot be read or holds no list, something else than a list, an unknown field, a silence
            that is neither true nor false, a new rule that lacks a field, a value that :class:`.Rule` refuses.
        UnknownNameError: no standard rule has that name.

    Example:
        >>> rules = read_rules(["standard", {"name": "factor_spillover", "silence": True}])
        >>> "factor_spillover" in {rule.name for rule in rules}, "factor_failure" in {rule.name for rule in rules}
        (False, True)
        >>> read_rules([{"name": "class_collapse", "persistence": 5}])[0].persistence
        5
    """
    standard = {rule.name: rule for rule in standard_rules()}
    if rules is None:
        return tuple(standard.values())
    if isinstance(rules, str | Path):
        where, rules = f"{where}(rules={str(rules)!r})", _read_file(where, Path(rules))
    if not isinstance(rules, list | tuple):
        given = f"{rules!r} of type {type(rules).__name__}"
        raise InputError(where, "this is no list of rules", given, "Pass a file, or a list: ['standard', {...}].")
    book: dict[str, Rule] = {}
    for entry in rules:
        match entry:
            case Rule():
                book[entry.name] = entry
            case "standard":
                book |= standard
            case str():
                book[entry] = _standard(where, entry, standard)
            case Mapping():
                _change(where, dict(entry), book, standard)
            case _:
                given = f"{entry!r} of type {type(entry).__name__}"
                raise InputError(where, "this is no rule", given, "Pass 'standard', a name, a dict or a Rule.")
    return tuple(book.values())


def _change(where: str, fields: dict[str, Any], book: dict[str, Rule], standard: Mapping[str, Rule]) -> None:
    """Change, silence or add the rule that a dict describes."""
    name = fields.get("name") or fields.get("kind")
    if not isinstance(name, str):
        raise InputError(where, "a rule without a name", str(fields), "Name a standard rule, or yours.")
    base = book.get(name) or standard.get(name)
    silence = fields.pop("silence", False)
    if not isinstance(silence, bool):
        raise InputError(f"Rule({name}).silence", "true or false is needed", repr(silence), "Write it without quotes.")
    if silence:
        if base is None:
            _standard(where, name, standard)
        book.pop(name, None)
        return
    for field in fields:
        if field not in FIELDS:
            fix = f"Use {', '.join(FIELDS)}, or silence."
            wrong = f"rule {name!r} has no field {field!r}{meant(str(field), FIELDS)}"
            raise InputError(where, wrong, repr(fields[field]), fix)
    if base is not None:
        if "persistence" in fields:  # whoever says how many evaluations wants no fewer
            fields = {"plain_when": (), "last_when": ()} | fields
        fields = {field: getattr(base, field) for field in FIELDS} | fields
    missing = [field for field in ("kind", "when", "message") if field not in fields]
    if missing:
        fix = f"Pass {', '.join(missing)}, or name a standard rule{meant(name, standard)}."
        raise InputError(where, f"a new rule {name!r} without {', '.join(missing)}", ", ".join(fields), fix)
    book[name] = Rule(**fields | {"name": name})


def _standard(where: str, name: str, standard: Mapping[str, Rule]) -> Rule:
    if name not in standard:
        fix = f"Use one of {', '.join(standard)}, or 'standard' for all."
        raise UnknownNameError(where, f"no standard rule has this name{meant(name, standard)}", repr(name), fix)
    return standard[name]


def _read_file(where: str, path: Path) -> Sequence[Any]:
    import yaml

    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        given = f"{path}: {error.strerror}"
        raise InputError(where, "the rules cannot be read", given, "Name a YAML file.") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        given = f"{path}: {' '.join(str(error).split())}"
        raise InputError(where, "the rules are no YAML", given, "Mend the file.") from error
    if not isinstance(read, list):
        given = f"{path} with a {type(read).__name__}"
        raise InputError(where, "the file holds no list of rules", given, "Begin each rule with '- '.")
    return read
