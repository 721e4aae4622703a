"""The rules of a noun for a second monitor of it, which logs under a name of its own."""

import dataclasses
import re
from collections.abc import Iterable

from lightning_failures.records.keys import write_key
from lightning_failures.records.rule import Rule

__all__ = ["rules_under_name"]


def rules_under_name(rules: Iterable[Rule], noun: str, name: str) -> tuple[Rule, ...]:
    """Copies of the rules of a noun that read the keys of a named monitor.

    Each is called ``"<rule> (<name>)"``, and its message says under which keys its figures stand, so that findings of
    two monitors on one subject can be told apart. All else is as in the rule that is copied.

    Args:
        rules: of which those are copied that have a condition on a key of the noun.
        noun: second part of the keys that they read.
        name: what stands in its place.

    Example:
        >>> rule = Rule(kind="own_rule", when="failures/factors/low/* > 2", message="{subject}: {low:.1f}.")
        >>> (copy,) = rules_under_name([rule], "factors", "scanner")
        >>> copy.name, copy.when, copy.message
        ('own_rule (scanner)', ('failures/scanner/low/* > 2',), '{subject}: {low:.1f}. Logged under failures/scanner/.')
    """
    copies = []
    start = re.compile(rf"(?<![\w/]){re.escape(f'failures/{noun}/')}")
    owner = write_key(f"failures/{name}")  # in quotes where a condition would read the name as something else
    said = f" Logged under failures/{name}/.".replace("{", "{{").replace("}", "}}")

    def moved(text: str) -> str:
        return start.sub(lambda _: f"{owner}/", text)

    for rule in rules:
        when = tuple(map(moved, rule.when))
        if when != rule.when:
            copies.append(
                dataclasses.replace(
                    rule,
                    name=f"{rule.name} ({name})",
                    when=when,
                    clear=tuple(map(moved, rule.clear)),
                    severe_when={severity: list(map(moved, each)) for severity, each in rule.severe_when.items()},
                    plain_when=tuple(map(moved, rule.plain_when)),
                    last_when=tuple(map(moved, rule.last_when)),
                    evidence={word: moved(key) for word, key in rule.evidence.items()},
                    message=rule.message + said,
                )
            )
    return tuple(copies)
