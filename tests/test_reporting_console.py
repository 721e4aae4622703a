import sys
from io import StringIO
from pathlib import Path
from threading import Thread

import pytest
from rich.console import Console
from rich.live import Live

from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.records import Evaluation, RunRecord
from lightning_failures.reporting.console import print_finding, print_notice, print_verdict
from tests.records import CLEARED, FACTOR, UNTAPPED, failing, healthy


def console(width: int = 80) -> Console:
    return Console(file=StringIO(), width=width, color_system=None)


def text(of: Console) -> str:
    assert isinstance(of.file, StringIO)
    return of.file.getvalue()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_verdict_fits_the_terminal(width: int) -> None:
    out = console(width)
    print_verdict([failing(), healthy()], COLUMNS, out)
    assert max(len(line.rstrip()) for line in text(out).splitlines()) <= min(width, 110)


def test_the_verdict_says_when_how_why_and_what_to_try() -> None:
    out = console(120)
    print_verdict([failing(), healthy()], COLUMNS, out, report=Path("demo/report.html"))
    said = " ".join(text(out).split())
    for sentence in (
        "raw The accuracy, 0.52 after 6 epochs, is below the 0.80 "
        "of a linear model of each channel's mean on the same images.",
        "failure Untapped information: linear reference, since epoch 3 (step 176)",
        UNTAPPED.message,
        f"Try: {UNTAPPED.advice}",
        "cleared Class collapse, from epoch 1 (step 88), cleared at epoch 3",
        "standardised Accuracy 0.82 after 6 epochs",
        "No failure was found in 6 evaluations.",
        "Report: demo/report.html",
    ):
        assert sentence in said


def test_failures_are_said_before_warnings() -> None:
    out = console(120)
    print_verdict([RunRecord("raw", [Evaluation(0, 1, {})], [FACTOR, UNTAPPED])], COLUMNS, out)
    assert text(out).index("Untapped") < text(out).index("rare class")


def test_names_that_look_like_markup_are_printed_as_they_stand() -> None:
    out = console(120)
    print_verdict([RunRecord("[bold]raw[/bold]", [Evaluation(0, 1, {})])], COLUMNS, out, report="[red]x.html")
    assert "[bold]raw[/bold]" in text(out)
    assert "[red]x.html" in text(out)


def test_a_notice_is_one_line_however_long_its_message() -> None:
    out = Console(file=StringIO(), width=80, force_terminal=True, color_system=None)
    print_finding(UNTAPPED, out, run="raw")
    assert text(out).count("\n") == 1
    assert text(out).startswith("raw epoch 3 failure Untapped information: linear reference. The network")
    assert len(text(out).rstrip("\n")) <= 80


def test_a_log_file_keeps_the_whole_sentence() -> None:
    out = console()
    print_finding(FACTOR, out)
    assert text(out) == f"epoch 4 warning Failure on one kind of image: rare class. {FACTOR.message}\n"


def test_a_cleared_finding_says_when_it_was_raised() -> None:
    out = console()
    print_finding(CLEARED, out)
    assert text(out) == "epoch 3 cleared Class collapse. Raised at epoch 1.\n"


def test_a_progress_bar_stays_whole_below_the_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    from tqdm import tqdm

    screen = StringIO()
    monkeypatch.setattr(sys, "stdout", screen)
    with tqdm(total=2, file=screen, ncols=40, leave=True) as bar:
        bar.update(1)
        print_finding(CLEARED)
        print_verdict([healthy()], COLUMNS)
    lines = [line.split("\r")[-1] for line in screen.getvalue().split("\n")]
    assert "epoch 3 cleared Class collapse. Raised at epoch 1." in lines
    assert all("|" not in line for line in lines if "epoch" in line)
    assert "1/2" in lines[-2] + lines[-1]


def test_a_terminal_without_such_letters_gets_a_substitute_instead_of_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    screen = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", screen)
    print_verdict([RunRecord("été", [Evaluation(0, 1, {"val_acc": 0.5})])], COLUMNS)
    screen.flush()
    raw = screen.buffer
    assert isinstance(raw, io.BytesIO)
    assert b"?t?" in raw.getvalue()


def test_a_thread_that_draws_richs_bars_waits_until_a_line_is_written() -> None:
    free: list[bool] = []

    def ask() -> None:
        free.append(live._lock.acquire(blocking=False))
        if free[-1]:
            live._lock.release()

    class Screen(StringIO):
        def write(self, text: str) -> int:
            other = Thread(target=ask)
            other.start()
            other.join()
            return super().write(text)

    screen = Screen()
    live = Live("bar", console=Console(file=screen, force_terminal=True, width=60), auto_refresh=False)
    with live:
        free.clear()
        sys.stdout.write("What others print.\n")
        assert all(free)
        free.clear()
        print_notice(3, "stopped", "The run stops.")
        assert "The run stops." in screen.getvalue()
        assert free
        assert not any(free)
