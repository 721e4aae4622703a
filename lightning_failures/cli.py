"""The command line: ``lightning-failures COMMAND``.

A command is a function of its own name in ``lightning_failures/commands/`` and a line in :data:`COMMANDS`; its
signature is its options, its docstring their help. Only the command that is named is imported, so that help is quick.
"""

import re
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from lightning_failures.commands.options import add_options, call, example_text, flags
from lightning_failures.errors import FailuresError, meant
from lightning_failures.version import __version__

__all__ = ["COMMANDS", "main"]

#: Command -> what it does.
COMMANDS = {
    "audit": "say, before any training, what images invite a network to do wrong",
    "compare": "say whether a change helped, from runs before and after it",
    "dashboard": "lay out what the monitors log as a dashboard on W&B",
    "demo": "train a network on real data that make it fail, and see it found out",
    "environment": "print versions and devices, for a bug report",
    "factors": "tell which kinds of image a model fails on, from files of its predictions",
    "findings": "list what was found in a run, for people, scripts and agents",
    "replay": "say when a failure of a past training began, from its saved checkpoints",
    "report": "say the verdict on a run again, and fail where it does not satisfy constraints",
    "rules": "print every rule that raises a finding, with its thresholds and their sources",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments; None: those of the process.

    Returns:
        The exit code: what the command returns, 0 for success; 2 where it was given what it cannot use; 130 where it
        was stopped by Ctrl-C.

    Raises:
        SystemExit: after ``--help`` and ``--version`` (0), or for arguments that do not exist (2).
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _Parser(
        "lightning-failures",
        description="Says when, how and why a vision model fails, while it trains.",
        epilog=example_text(["lightning-failures demo", "lightning-failures audit --help"]),
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__, help="show the version and exit")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    commands: dict[str, Callable[..., int]] = {}
    for name, text in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=text, allow_abbrev=False)
        if arguments[:1] == [name]:
            commands[name] = getattr(import_module(f"lightning_failures.commands.{name}"), name)
            add_options(subparser, commands[name])
    parsed, unknown = parser.parse_known_args(arguments)
    options = vars(parsed)
    command = options.pop("command")
    if unknown:
        near = meant(unknown[0].partition("=")[0], flags(commands[command]))
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{near}")
    try:
        return _run(commands[command], options)
    except FailuresError as error:
        return _say(f"lightning-failures: error: {error}", 2)
    except KeyboardInterrupt:
        return _say(f"lightning-failures {command}: stopped", 130)


def _run(command: Callable[..., int], options: dict[str, Any]) -> int:
    """Run a command; with ``--json -`` its JSON alone is standard output, and all else goes to standard error."""
    if options.get("json") != Path("-"):
        return call(command, options)
    with TemporaryDirectory() as folder:
        file = Path(folder, "out.json")
        with redirect_stdout(sys.stderr):
            code = call(command, options | {"json": file})
        if file.exists():
            sys.stdout.write(file.read_text(encoding="utf-8"))
    return code


def _say(text: str, code: int) -> int:
    print(text, file=sys.stderr)  # noqa: T201
    return code


class _Parser(ArgumentParser):
    """One line about what is wrong, without the usage above it, and with the choice that may be meant."""

    def error(self, message: str) -> NoReturn:
        if choice := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)$", message):
            message += meant(choice[1], re.findall(r"[\w-]+", choice[2]))
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


if __name__ == "__main__":
    sys.exit(main())
