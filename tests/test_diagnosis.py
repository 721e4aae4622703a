"""FailureDiagnosis on real, tiny Lightning runs whose logged values are scripted."""

import subprocess
import sys
import warnings
from io import StringIO
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger

from lightning_failures import FactorErrorMonitor, FailureDiagnosis, GatedCheckpoint, GatedEarlyStopping, Rule
from lightning_failures.errors import FailuresWarning, InputError
from lightning_failures.records import Evaluation, escape
from tests.gates import Scripted, loaders, trainer
from tests.killed_run import CUTS
from tests.runs import fit, table

RULE = {"kind": "own_rule", "name": "high", "when": "a > 1", "clear": "a < 0.5", "message": "a is {a:.1f}."}
FAST = {"warmup": 0, "persistence": 2}


def run(tmp_path, values, *callbacks, **options):
    """One evaluation an epoch, each of which logs a."""
    lines = [value if isinstance(value, dict) else {"a": value} for value in values]
    defaults = {"max_epochs": len(lines), "enable_checkpointing": False}
    fitted = trainer(list(callbacks), tmp_path, **(defaults | options))
    fitted.fit(Scripted(lines), *loaders())
    return fitted


def diagnosis(rule=RULE, **options):
    return FailureDiagnosis([rule | FAST], on_error="raise", **options)


def test_findings_are_raised_and_cleared_in_words(tmp_path, capsys):
    callback = diagnosis()
    run(tmp_path, [2.0, 2.0, 0.8, 0.0, 0.0, 1.5], callback)
    assert [(f.epoch, f.step, f.cleared) for f in callback.history] == [(1, 8, 4)]
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert said == ["epoch 1 failure high. a is 2.0.", "epoch 4 cleared high. Raised at epoch 1."]


def test_a_finding_that_becomes_more_severe_is_told_again_and_may_end_the_run(tmp_path, capsys):
    rule = RULE | {"severity": "watch", "severe_when": {"failure": "a > 5"}}
    callback = diagnosis(rule, action="stop")
    fitted = run(tmp_path, [2.0, 2.0, 6.0, 7.0, 7.0], callback)
    printed = " ".join(capsys.readouterr().out.split())
    assert "epoch 1 watch high. a is 2.0. epoch 3 failure high, before a watch. a is 7.0." in printed
    assert (fitted.current_epoch, [finding.severity for finding in callback.history]) == (4, ["failure"])


def test_nothing_is_raised_without_its_evidence_and_that_is_said_once(tmp_path):
    rule = RULE | {"message": "a is {a} and b {b}.", "evidence": {"a": "a", "b": "b"}}
    callback = diagnosis(rule)
    with pytest.warns(FailuresWarning) as caught:
        run(tmp_path, [2.0, 2.0, 2.0, 2.0, {"a": 2.0, "b": 1.0}], callback)
    assert [str(each.message) for each in caught if each.category is FailuresWarning] == [
        "Rule(high): 'b' was not logged; the nearest that was: 'a'.",
        "Rule(high): it holds, but its evidence was not logged, so nothing is raised; missing b. "
        "Log it, or leave it out of the message.",
    ]
    (finding,) = callback.findings
    assert (finding.epoch, dict(finding.evidence)) == (4, {"a": 2.0, "b": 1.0})


def test_a_stale_value_raises_nothing(tmp_path):
    callback = diagnosis()
    run(tmp_path, [2.0, {"b": 1.0}, {"b": 1.0}], callback)
    assert callback.history == []


class Training(Scripted):
    """Logs the mean of each epoch, or the last step, of the training too, where the script says so."""

    def __init__(self, lines, **options):
        super().__init__(lines)
        self.options = options

    def training_step(self, batch, batch_idx):
        value = self.script[min(self.trainer.current_epoch, len(self.script) - 1)].get("train_loss")
        if value is not None:
            self.log("train_loss", value, **self.options)
        return super().training_step(batch, batch_idx)

    def on_validation_epoch_end(self):
        if not self.trainer.sanity_checking:
            self.log("val_loss", self.script[self.evaluation]["val_loss"])
            self.evaluation += 1


@pytest.mark.parametrize(
    ("options", "spoken"),
    [
        ({}, [0, 1, 4]),
        (
            {"on_step": False, "on_epoch": True},
            [1, 2],
        ),  # an epoch's mean is known after the validation, and counts once
        ({"on_step": True, "on_epoch": True}, [0, 1, 2, 4]),
    ],
)
def test_a_rule_on_the_training_loss_speaks_and_a_gate_agrees_with_it(tmp_path, options, spoken):
    rule = RULE | {"when": "train_loss > 1", "clear": "train_loss < 0", "message": "{train_loss}", "warmup": 0}
    callback = FailureDiagnosis([rule | {"persistence": 1}], on_error="raise")
    lines = [{"val_loss": 1.0} | ({"train_loss": 2.0 + epoch} if epoch in (0, 1, 4) else {}) for epoch in range(5)]
    stopping = GatedEarlyStopping("train_loss <= 1", patience=9)
    judged = []
    judge = stopping._gate.judge
    stopping._gate.judge = lambda trainer: judged.append(judge(trainer)) or judged[-1]
    checkpoint = GatedCheckpoint("train_loss > 1", dirpath=tmp_path / "kept", save_on_train_epoch_end=False)
    fitted = trainer([callback, stopping, checkpoint], tmp_path, max_epochs=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FailuresWarning)  # at the first evaluation it may not be known yet
        fitted.fit(Training(lines, **options), *loaders())
    assert [each.epoch for each in callback.record.evaluations if "train_loss" in each.values] == spoken
    assert [verdict.epoch for verdict, _ in judged if verdict.outcomes[0].state == "violated"] == spoken
    assert [each["epoch"] for each in checkpoint.verdicts.verdicts if each["feasible"]] == spoken
    assert [finding.epoch for finding in callback.findings] == spoken[:1]
    values = [each.values["train_loss"] for each in callback.record.evaluations if "train_loss" in each.values]
    assert values == [verdict.outcomes[0].value for verdict, _ in judged if verdict.outcomes[0].state == "violated"]


def test_a_rule_whose_keys_nobody_logged_is_told_once_with_the_nearest(tmp_path):
    rules = ["standard", RULE | {"when": ["val_los > 1", "vall/* > 2"], "message": "{val_los}", "clear": ()}]
    lines = [{}, {"val_loss": 1.0, "val_acc": 0.5}, {"val_loss": 1.0, "val_acc": 0.5}]
    with pytest.warns(FailuresWarning) as caught:
        run(tmp_path, lines, FailureDiagnosis(rules))
    assert [str(each.message) for each in caught if each.category is FailuresWarning] == [
        "Rule(high): 'val_los' was not logged; the nearest that were: 'val_loss', 'val_acc'. "
        "Nor were 1 more of its keys."
    ]


def test_a_standard_rule_is_told_where_it_was_changed_alone(tmp_path):
    run(tmp_path, [2.0], FailureDiagnosis())  # warnings are errors here
    run(tmp_path, [2.0], FailureDiagnosis([RULE]))
    with pytest.warns(
        FailuresWarning, match=r"^Rule\(class_collapse\): 'failures/collapse/class_share' was not logged"
    ):
        run(tmp_path, [2.0], FailureDiagnosis([{"name": "class_collapse", "persistence": 5}]))


def test_a_finding_names_its_subject_as_people_do():
    rule = {"kind": "own_rule", "name": "pairs", "when": "low/*/* > 1", "clear": "low/*/* < 0", "warmup": 0}
    callback = FailureDiagnosis([rule | {"message": "{subject}", "persistence": 2}])
    for epoch, value in enumerate([2.0, 2.0, 2.0, -1.0, -1.0]):
        values = {"low/CD8+%2FCD4-/%77orst": value, "low/dark/worst": 9.0, "low/a/b": 0.5}
        callback.evaluate(Evaluation(epoch, epoch, values))
    (finding,) = callback.history
    assert (finding.subject, finding.message) == ("CD8+/CD4-, worst", "CD8+/CD4-, worst")
    assert (finding.epoch, finding.cleared) == (1, 4)
    assert finding.criterion == 'low/"CD8+/CD4-"/"worst" = 2 > 1, at 2 evaluations in a row'


@pytest.mark.parametrize(
    "name", ["CD8+/CD4-", "scanner=A", "size<16", "a*b", "50%", "worst", '"quoted"', "odds <= 2 of it"]
)
def test_a_standard_rule_and_a_gate_see_a_factor_whatever_its_name_holds(name):
    key = {statistic: f"failures/factors/{statistic}/{escape(name)}" for statistic in ("odds_low", "p_value", "high")}
    values = {key["odds_low"]: 3.0, key["p_value"]: 0.001, key["high"]: 4.72, "failures/factors/high/other": 1.0}
    others = {
        "error": 1.0,
        "error_without": 0.2,
        "error_difference": 0.8,
        "difference_low": 0.1,
        "difference_high": 1.0,
        "images": 3,
    }
    values |= {f"failures/factors/{statistic}/{escape(name)}": value for statistic, value in others.items()}
    callback = FailureDiagnosis()
    for epoch in range(6):
        callback.evaluate(Evaluation(epoch, 100 * epoch, values))
    (finding,) = callback.findings
    assert (finding.kind, finding.subject) == ("factor_failure", name)
    assert finding.message.startswith(f"Wrong on all 3 images marked {name}, and on 20% of the others")


def test_two_rules_of_one_kind_do_not_clear_each_others_findings():
    one, two = RULE | FAST, RULE | FAST | {"name": "higher", "when": "a > 3", "clear": "a < 2"}
    callback = FailureDiagnosis([one, two])
    for epoch, value in enumerate([4.0, 4.0, 1.5, 1.5]):
        callback.evaluate(Evaluation(epoch, epoch, {"a": value}))
    assert [(f.rule, f.cleared) for f in callback.history] == [("high", None), ("higher", 3)]


@pytest.mark.parametrize("options", [{"action": "stop"}, {}])
def test_a_hopeless_run_is_ended_after_its_evaluation(tmp_path, capsys, options):
    rule = RULE if options else RULE | {"action": "stop"}
    callback = diagnosis(rule, **options)
    fitted = run(tmp_path, [0.0, 2.0, 2.0, 2.0, 2.0], callback)
    assert fitted.current_epoch == 3
    assert "epoch 2 stopped The run stops: high." in capsys.readouterr().out.splitlines()


def test_a_warning_does_not_end_the_run(tmp_path):
    fitted = run(tmp_path, [2.0] * 4, diagnosis(RULE | {"severity": "warning"}, action="stop"))
    assert fitted.current_epoch == 4


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"action": "halt"},
            "Rule: there is no action 'halt'; given halt. Use one of report, stop.",
        ),
        (
            {"when": []},
            "Rule(high): no condition; given when=[]. Pass one such as 'failures/factors/low/* > 1.5'.",
        ),
        (
            {"persistence": 0},
            "Rule(high): a persistence below 1; given 0. Count evaluations in a row.",
        ),
        (
            {"message": "{a:.1q}"},
            "Rule(high): the message cannot be formatted; given '{a:.1q}': Unknown format code 'q' for object of type "
            "'float'. Write it as for str.format.",
        ),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused_at_construction(change, text):
    with pytest.raises(InputError) as error:
        Rule(**RULE | change)
    assert str(error.value) == text


def test_an_action_that_does_not_exist_is_refused():
    with pytest.raises(InputError) as error:
        FailureDiagnosis(action="halt")
    assert str(error.value) == ("FailureDiagnosis: there is no such action; given 'halt'. Use 'report' or 'stop'.")


# -- the progress bar


FACTORS = {"failures/factors/error_ratio/dark": 1.25, "failures/factors/error_ratio/blurred view of it all": 1.932}


def redrawn(text):
    """What the bar of the training showed, one entry a redraw, after the first evaluation."""
    drawn = [line for line in text.replace("\r", "\n").split("\n") if line.startswith(("Epoch 1", "Epoch 2"))]
    assert drawn, text
    return drawn


def test_the_tqdm_bar_shows_the_worst_factor_and_the_newest_finding_at_every_redraw(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    bar = TQDMProgressBar(refresh_rate=1)
    run(tmp_path, [FACTORS | {"a": value} for value in (2.0, 2.0, 2.0)], diagnosis(), bar, enable_progress_bar=True)
    drawn = redrawn(capsys.readouterr().out)
    assert all("worst=blurred view … 1.93" in line for line in drawn if "4/4" not in line or "?it/s" not in line)
    second = [line for line in drawn if line.startswith("Epoch 2")]
    assert all("finding=high" in line for line in second)
    assert "get_metrics" not in vars(bar)


def test_a_narrow_terminal_keeps_its_bar_and_shows_the_finding(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    run(tmp_path, [FACTORS | {"a": 2.0}] * 3, diagnosis(), TQDMProgressBar(refresh_rate=1), enable_progress_bar=True)
    drawn = redrawn(capsys.readouterr().out)
    assert any("finding=high" in line for line in drawn)
    assert not any("worst" in line for line in drawn)


def test_the_rich_bar_shows_them_too(tmp_path, monkeypatch):
    import rich

    monkeypatch.setenv("COLUMNS", "160")
    screen = StringIO()
    monkeypatch.setattr(rich, "_console", None)
    try:
        run(tmp_path, [0.0], RichProgressBar(), enable_progress_bar=True)
    except IndexError:
        pytest.skip("this Lightning's own bar does not run on the installed rich")
    monkeypatch.setattr(rich, "_console", None)
    bar = RichProgressBar(refresh_rate=1, console_kwargs={"file": screen, "force_terminal": True, "width": 160})
    run(tmp_path, [FACTORS | {"a": value} for value in (2.0, 2.0, 2.0)], diagnosis(), bar, enable_progress_bar=True)
    shown = screen.getvalue()
    assert "worst: blurred view … 1.93" in shown
    assert "finding: high" in shown
    assert "get_metrics" not in vars(bar)


def test_without_a_bar_and_after_an_exception_nothing_stays(tmp_path):
    class Broken(Scripted):
        def on_train_epoch_end(self):
            raise ArithmeticError("the user's own")

    bar = TQDMProgressBar()
    fitted = trainer([diagnosis(), bar], tmp_path, enable_progress_bar=True, enable_checkpointing=False)
    with pytest.raises(ArithmeticError):
        fitted.fit(Broken([{"a": 1.0}]), *loaders())
    assert "get_metrics" not in vars(bar)


# -- resume


@pytest.mark.slow
def test_a_run_that_was_killed_in_the_middle_of_an_epoch_raises_the_same_findings_at_the_same_steps(tmp_path):
    script = Path(__file__).resolve().parent / "killed_run.py"
    command = [sys.executable, "-W", "error", "-W", "ignore::FutureWarning", "-W", "ignore::UserWarning"]
    done = subprocess.run(
        [*command, "-m", f"tests.{script.stem}", str(tmp_path)],
        cwd=script.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    whole = torch.load(tmp_path / "whole.pt")
    assert [(finding["rule"], finding["step"]) for finding in whole["findings"]] == [("spread", 9), ("accuracy", 24)]
    for killed, found in CUTS.items():
        resumed = torch.load(tmp_path / f"resumed{killed}.pt")
        assert resumed["began"] == int(found.split("-")[0])
        assert resumed["findings"] == whole["findings"], killed
        assert figures(resumed) == figures(whole), killed
        assert torch.equal(resumed["weight"], whole["weight"])


def figures(outcome):
    return [(each["epoch"], each["step"], each["values"]["val_loss"]) for each in outcome["evaluations"]]


# -- pictures


def test_the_accuracy_is_drawn_when_findings_change_and_at_the_end(tmp_path):
    pytest.importorskip("matplotlib")
    values = [0.0, 2.0, 2.0, 2.0, 2.0]
    lines = [{"a": a, "val_acc": 0.5, "failures/simplicity/reference_accuracy": 0.8} for a in values]
    callback = diagnosis(budget=None)
    callback.record.columns = {"simplicity": "simplicity"}
    fitted = run(tmp_path, lines, callback, logger=CSVLogger(tmp_path, name="", version=""))
    # the first is at the step under which Lightning logs the figures of that evaluation
    pictures = sorted(path.name for path in tmp_path.rglob("*.png"))
    assert pictures == ["accuracy-00000011.png", f"accuracy-{fitted.global_step:08d}.png"]
    assert callback.budget.seconds(purpose="picture") > 0


def test_no_picture_is_drawn_of_what_no_monitor_of_the_run_watches(tmp_path):
    run(tmp_path, [{"a": 2.0, "val_acc": 0.5}] * 3, diagnosis(), logger=CSVLogger(tmp_path, name="", version=""))
    assert list(tmp_path.rglob("*.png")) == []


def test_the_record_remembers_which_noun_a_named_monitor_has():
    callback = FailureDiagnosis(on_error="raise")
    fit([FactorErrorMonitor(table(), name="light", on_error="raise"), callback], epochs=1)
    assert callback.record.columns == {"light": "factors"}


def test_the_bar_calls_a_named_monitor_by_its_name(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    logged = {"failures/light/error_ratio/dark": 1.25, "a": 0.0}
    callback = diagnosis()
    callback.record.columns = {"light": "factors"}
    run(tmp_path, [logged] * 3, callback, TQDMProgressBar(refresh_rate=1), enable_progress_bar=True)
    assert "worst light=dark 1.25" in redrawn(capsys.readouterr().out)[-1]
