"""The command line: help that is quick, one clear line for what is wrong, exit codes."""

import json
import platform
import shlex
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import pytest

from lightning_failures.cli import COMMANDS, main
from lightning_failures.commands.options import add_options, read_docstring, read_example
from lightning_failures.version import __version__


def leave(arguments: Sequence[str]) -> int | str | None:
    """The exit code of a call that leaves the process."""
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    return raised.value.code


def test_help_lists_the_commands_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave(["--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name, text in COMMANDS.items():
        assert f"{name} {text}" in shown
        assert callable(getattr(import_module(f"lightning_failures.commands.{name}"), name))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_tells_every_option_its_meaning_and_its_default(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave([command, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    function = getattr(import_module(f"lightning_failures.commands.{command}"), command)
    paragraphs, texts = read_docstring(function.__doc__.replace("\n    ", "\n"))
    for text in (*paragraphs, *(text.removesuffix(".") for text in texts.values())):
        assert text in shown
    lines = read_example(function.__doc__.replace("\n    ", "\n"))
    assert lines
    assert all(line.startswith(f"lightning-failures {command}") for line in lines)
    assert shown.endswith("for example: " + " ".join(" ".join(lines).split()))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_a_command_are_read_by_its_parser(command: str) -> None:
    function = getattr(import_module(f"lightning_failures.commands.{command}"), command)
    for line in read_example(function.__doc__.replace("\n    ", "\n")):
        parser = ArgumentParser(exit_on_error=False)
        add_options(parser, function)
        parser.parse_args(shlex.split(line)[2:])  # an argument that does not exist would leave


def test_the_json_of_a_command_goes_to_standard_output_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert "class_collapse" in {rule["name"] for rule in json.loads(out)}
    assert "class_collapse" in err
    assert main(["rules", "--rules", "none.yaml", "--json", "-"]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_writes_json_to_a_file_and_where_none_is_named_to_standard_output(command: str) -> None:
    function = getattr(import_module(f"lightning_failures.commands.{command}"), command)
    parser = ArgumentParser()
    add_options(parser, function)
    needed = [f"x{place}" for place, action in enumerate(parser._actions) if not action.option_strings]
    given = parser.parse_args(["scene"] if command == "demo" else needed)
    assert given.json is None
    for words, path in (["--json"], "-"), (["--json", "-"], "-"), (["--json", "a/b.json"], "a/b.json"):
        said = parser.parse_args([*(["scene"] if command == "demo" else needed), *words])
        assert said.json == Path(path)


def test_the_environment_names_versions_and_devices_and_nothing_private(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["environment", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert said["lightning-failures"] == __version__
    assert said["torch"] == version("torch")
    assert said["python"].startswith(platform.python_version())
    assert said["devices"].startswith("cpu, ")
    assert err.splitlines() == [f"{name:<{max(map(len, said))}}  {value}" for name, value in said.items()]
    assert all(private not in out for private in (platform.node(), str(Path.home()), str(Path.cwd()), sys.prefix))


def test_a_package_that_is_not_installed_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = import_module("lightning_failures.commands.environment")
    monkeypatch.setattr(module, "PACKAGES", ("torch", "no-such-package"))
    assert main(["environment"]) == 0
    assert "no-such-package     not installed" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("module", ["lightning_failures", "lightning_failures.cli"])
def test_the_command_line_runs_as_a_module(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{__version__}\n"
    done = subprocess.run([sys.executable, "-m", module, "nothing"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("lightning-failures: error: argument COMMAND: invalid choice: 'nothing'")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["demo", "--help"], ["demo", "--epochs", "0"]])
def test_help_and_wrong_arguments_do_not_wait_for_torch(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom lightning_failures.cli import main\n"
        f"try:\n    main({arguments})\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'lightning', 'numpy', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            [],
            "lightning-failures: error: the following arguments are required: COMMAND (see lightning-failures --help)",
        ),
        (
            ["demo", "--epochs", "six"],
            "lightning-failures demo: error: argument --epochs: invalid int value: 'six' "
            "(see lightning-failures demo --help)",
        ),
        (
            ["demo", "scene", "--ep", "6"],
            "lightning-failures: error: unrecognized arguments: --ep 6; '--epochs' may be meant "
            "(see lightning-failures --help)",
        ),
        (
            ["rules", "--jsn=rules.json"],
            "lightning-failures: error: unrecognized arguments: --jsn=rules.json; '--json' may be meant "
            "(see lightning-failures --help)",
        ),
    ],
)
def test_arguments_that_do_not_exist_are_told_in_one_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave(arguments) == 2
    assert capsys.readouterr().err == line + "\n"


def test_what_a_demo_cannot_show_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave(["demo", "sonar"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lightning-failures demo: error: argument case: invalid choice: 'sonar' (choose from ")
    assert all(case in line for case in ("scene", "infrared"))


def test_choices_are_told_where_an_argument_is_none_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave(["demo", "--arm", "cooked"]) == 2
    (line,) = capsys.readouterr().err.splitlines()  # Python's own words differ between versions
    assert line.startswith("lightning-failures demo: error: argument --arm: invalid choice: 'cooked' (choose from ")
    assert all(arm in line for arm in ("both", "raw", "standardised"))


def test_a_command_that_is_spelt_wrongly_is_told_with_the_one_that_may_be_meant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert leave(["adit", "images.npz"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("; 'audit' may be meant (see lightning-failures --help)")


def test_what_a_command_cannot_use_is_one_line_without_a_trace(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--epochs", "0"]) == 2
    assert capsys.readouterr() == (
        "",
        "lightning-failures: error: demo: nothing to train; given --epochs 0. Pass 1 or more; 6 show the failure.\n",
    )


def test_ctrl_c_ends_with_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(epochs: int = 6) -> int:
        """Be interrupted.

        Args:
            epochs: none.
        """
        raise KeyboardInterrupt

    monkeypatch.setattr(import_module("lightning_failures.commands.demo"), "demo", interrupted)
    assert main(["demo"]) == 130
    assert capsys.readouterr() == ("", "lightning-failures demo: stopped\n")


def everything(
    files: list[Path],
    names: Sequence[str] = ("a",),
    kind: Literal["top", "multi"] = "top",
    levels: Literal[1, 2] = 1,
    share: float = 0.5,
    keep_all: bool = False,
    plot: Path | None = None,
) -> int:
    """Do it.

    At 100 % of what ``there`` is.

    Args:
        files: what to
            read.
        names: names of 100 %.
        kind: which kind.
        levels: how many.
        share: of all.
        keep_all: keep them all.
        plot: a figure.

    Returns:
        Nothing that help should show.
    """
    return 0


def test_a_signature_becomes_options_of_its_types() -> None:
    parser = ArgumentParser()
    add_options(parser, everything)
    options = vars(parser.parse_args(["a.csv", "b.csv"]))
    assert options.pop("files") == [Path("a.csv"), Path("b.csv")]
    assert options == {
        "names": ("a",), "kind": "top", "levels": 1, "share": 0.5, "keep_all": False, "plot": None
    }  # fmt: skip
    line = "a.csv --names x y --kind multi --levels 2 --share 0.25 --keep-all --plot b.png"
    assert vars(parser.parse_args(line.split())) == {
        "files": [Path("a.csv")],
        "names": ["x", "y"],
        "kind": "multi",
        "levels": 2,
        "share": 0.25,
        "keep_all": True,
        "plot": Path("b.png"),
    }


def test_help_shows_the_docstring_and_the_defaults_that_say_something() -> None:
    parser = ArgumentParser(prog="it")
    add_options(parser, everything)
    shown = " ".join(parser.format_help().split())
    assert "Do it. positional" in shown
    assert "what to read options" in shown
    assert "names of 100 % (default: ('a',))" in shown
    assert "--keep-all keep them all --plot PATH a figure" in shown
    assert shown.endswith("At 100 % of what there is.")


def test_a_parameter_that_the_docstring_leaves_out_is_an_error_of_ours() -> None:
    def silent(epochs: int = 6) -> int:
        """Do it."""
        return epochs

    with pytest.raises(KeyError, match="epochs"):
        add_options(ArgumentParser(), silent)


def test_the_console_script_is_the_same_main() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlib.metadata import entry_points;"
         "(script,) = entry_points(group='console_scripts', name='lightning-failures');"
         "from lightning_failures.cli import main; print(script.load() is main)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "True\n"
