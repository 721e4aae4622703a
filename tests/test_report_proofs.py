"""The picture that proves a finding: every standard rule has one, drawn of what its column declares that it logs."""

import dataclasses
import math

import pytest

from lightning_failures import Finding, Rule
from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.records import Evaluation, Picture, RunRecord
from lightning_failures.records.keys import escape, fill_key
from lightning_failures.records.term import find_term
from lightning_failures.reporting.column import Drawing
from lightning_failures.reporting.proof import Trace, Traces, column_of, picture_of, proof_of, traces
from tests.records import ONE_DIMENSIONAL, UNTAPPED, failing, healthy

pytest.importorskip("matplotlib")

RULES = [(column, rule) for column in COLUMNS for rule in column.rules]
DECLARED = [(column, proof) for column in COLUMNS for proof in column.proofs]
#: Of these a sentence says all that a picture would show.
WITHOUT = {
    "validated_in_training_mode", "inputs_differ", "channels_faulty", "factor_channels_faulty", "group_channels_faulty",
}  # fmt: skip
DARK = "dark & \N{EM DASH} CD8+/CD4-"


def keys_of(column):
    """All keys that a column declares, a star as one name."""
    return [f"failures/{column.noun}/{term.key}".replace("*", escape(DARK)) for term in column.terms]


def logged(rule, subject, epochs=4):
    """A run in which all is logged that columns declare, and a finding of a rule."""
    keys = {key for column in COLUMNS for key in keys_of(column)}
    keys |= {fill_key(key, subject) for condition in rule.conditions for key in condition.keys("")}
    keys |= {fill_key(key, subject) for key in rule.evidence_keys.values()}
    run = RunRecord("run", [Evaluation(e, 50 * e + 50, dict.fromkeys(keys, 0.1 + 0.1 * e)) for e in range(epochs)])
    values = run.evaluations[-1].values
    finding = Finding(
        kind=rule.kind,
        subject=DARK if rule.stars else "",
        epoch=1,
        step=100,
        evidence={"share": 0.3},
        message="It fails.",
        rule=rule.name,
        criterion=rule.criterion(values, subject),
    )
    run.findings = [finding]
    return run, finding


@pytest.mark.parametrize(("column", "rule"), RULES, ids=[rule.name for _, rule in RULES])
def test_every_standard_rule_has_a_picture_that_proves_it(column, rule):
    run, finding = logged(rule, escape(DARK) if rule.stars else "")
    assert column_of(finding, COLUMNS) == (column, rule.name)
    shown = proof_of(finding, run, COLUMNS)
    if rule.name in WITHOUT:
        assert shown is None
        return
    assert isinstance(shown, Drawing)
    assert shown.caption.endswith(".")
    assert "{" not in shown.caption + shown.label
    assert "run" in shown.label
    figure = shown.draw()
    assert figure.axes[0].get_xlabel() or figure.axes[0].get_ylabel()


@pytest.mark.parametrize(("column", "proof"), DECLARED, ids=["+".join(proof.rules) for _, proof in DECLARED])
def test_a_proof_is_of_rules_of_its_column_and_of_figures_that_are_declared(column, proof):
    assert set(proof.rules) <= {rule.name for rule in column.rules}
    if isinstance(proof.of, Traces):
        for each in proof.of.quantities:
            for key in each.keys:
                noun, _, rest = key.removeprefix("failures/").partition("/")
                owner = next(other for other in COLUMNS if other.noun == noun)
                assert find_term(owner.terms, rest.replace("*", "dark")) is not None, key


def test_no_rule_has_two_proofs():
    named = [rule for _, proof in DECLARED for rule in proof.rules]
    assert len(named) == len(set(named))


def of(rule, criterion, subject=""):
    return Finding(
        kind="own_rule", subject=subject, epoch=1, step=2, evidence={"a": 1}, message="It is.", rule=rule,
        criterion=criterion,
    )  # fmt: skip


def test_a_rule_of_ones_own_is_proven_by_its_indicator_against_its_threshold():
    run = RunRecord("run", [Evaluation(e, e, {"val_loss": 1.0 + e, "limit": 0.5 * e}) for e in range(4)])
    rule = Rule(kind="own_rule", when="val_loss > limit + 0.25", message="{val_loss:.1f}", name="loss")
    shown = proof_of(of("loss", rule.criterion(run.evaluations[-1].values, "")), run, COLUMNS)
    assert isinstance(shown, Drawing)
    assert shown.caption == "val_loss, by evaluation. Dotted: the threshold of the rule loss; it holds above that."
    assert shown.label == "Val_loss of run. At the end: this run 4, threshold 1.75."
    lines = {tuple(line.get_ydata()) for line in shown.draw().axes[0].lines}
    assert {(1.0, 2.0, 3.0, 4.0), (0.25, 0.75, 1.25, 1.75)} <= lines


@pytest.mark.parametrize("criterion", ["", "it looked odd", "a = 1 > b > 2", "gone = 3 > 2, at 1 evaluation"])
def test_a_criterion_that_cannot_be_drawn_shows_nothing(criterion):
    run = RunRecord("run", [Evaluation(0, 1, {"a": 1.0, "nan": math.nan})])
    assert proof_of(of("odd", criterion), run, COLUMNS) is None


def test_a_line_goes_on_over_evaluations_that_measured_nothing():
    run = RunRecord("run", [Evaluation(e, e, {"a": float(e), "b": math.nan if e == 1 else 2.0}) for e in range(3)])
    shown = traces("size", "Sizes.", Trace("a", "a"), Trace("b", "b"))(run, of("x", ""))
    assert shown is not None
    lines = [tuple(line.get_xdata()) for line in shown.draw().axes[0].lines]
    assert lines[:2] == [(0, 1, 2), (0, 2)]


def test_what_was_measured_once_stands_with_its_interval():
    values = {"share/dark": 0.4, "low/dark": 0.3, "high/dark": 0.5, "share/bright": 0.9}
    run = RunRecord("run", [Evaluation(0, 1, values)])
    make = traces("share", "Of {subject}.", Trace("{subject}", "share/*", "low/*", "high/*"), whole=True)
    shown = make(run, of("x", "", "dark"))
    assert shown is not None
    assert shown.caption == "Of dark."
    (axes,) = shown.draw().axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["dark"]
    assert (0.3, 0.5) in {tuple(line.get_xdata()) for line in axes.lines}
    assert axes.get_xlim() == (0.0, 1.0)


def test_images_of_the_run_come_before_a_curve_where_the_column_says_so():
    cue = Finding(
        kind="simple_cue_reliance", subject="colour", epoch=1, step=2, evidence={"share": 1}, message="It leans.",
        rule="simple_cue_reliance",
    )  # fmt: skip
    picture = Picture("simple_cue_reliance", "colour", "Images.", "aGk=")
    values = {"failures/simplicity/transplant/colour": 0.9, "failures/simplicity/transplant_own/colour": 0.1}
    run = RunRecord("run", [Evaluation(0, 1, values)], [cue], pictures=[picture])
    assert proof_of(cue, run, COLUMNS) == picture
    curve = proof_of(cue, dataclasses.replace(run, pictures=[]), COLUMNS)
    assert isinstance(curve, Drawing)
    assert curve.caption.startswith("Images that are given the colour of another one")


def test_a_finding_of_a_named_monitor_is_proven_by_what_that_one_logged():
    values = {f"failures/{name}/error{which}/dark": share for name, share in (("factors", 0.1), ("scanner", 0.7))
              for which in ("", "_without")}  # fmt: skip
    run = RunRecord("run", [Evaluation(0, 1, values)], columns={"factors": "factors", "scanner": "factors"})
    named = Finding(
        kind="factor_failure", subject="dark", epoch=0, step=1, evidence={"error": 0.7}, message="It fails.",
        rule="factor_failure (scanner)",
    )  # fmt: skip
    shown = proof_of(named, run, COLUMNS)
    assert isinstance(shown, Drawing)
    assert "dark 0.7" in shown.label


def test_a_run_without_a_finding_shows_its_accuracy_against_the_reference():
    shown = picture_of(healthy(), COLUMNS)
    assert shown is not None
    assert "against 0.80 of a linear model" in shown.label or "linear" in shown.caption
    assert picture_of(RunRecord("empty"), COLUMNS) is None


def test_the_verdicts_picture_marks_the_one_finding_that_it_proves():
    for finding, others in ((UNTAPPED, ONE_DIMENSIONAL), (ONE_DIMENSIONAL, UNTAPPED)):
        shown = proof_of(finding, failing(), COLUMNS)
        assert isinstance(shown, Drawing)
        notes = shown.draw().get_supxlabel()
        assert others.kind.split("_")[0] not in notes.lower()
        assert notes.startswith("1 ")
        assert "2 " not in notes.replace("epoch 2", "")
