"""One key has one owner: a second monitor of a kind has a name of its own, its keys, its state and its rules."""

import math

import pytest
import torch
from lightning.pytorch import Callback

from lightning_failures import (
    ChannelAttributionMonitor,
    CollapseMonitor,
    FactorErrorMonitor,
    FactorTable,
    FailureDiagnosis,
    PerturbationMonitor,
    failure_monitors,
    standard_rules,
)
from lightning_failures.callbacks.findings import rules_under_name
from lightning_failures.callbacks.monitor import monitors_of
from lightning_failures.errors import InputError
from lightning_failures.records import Evaluation, Rule, find_term
from tests.runs import Classifier, dataset, fit, loaders, table, trainer

FACTORS, SCANNER = "failures/factors/", "failures/scanner/"


class Started(Callback):
    """Whether a run came as far as its first hook."""

    yes = False

    def on_fit_start(self, *_):
        self.yes = True

    def on_sanity_check_start(self, *_):
        self.yes = True


def scanners(images=30):
    """Two scanners; which one took an image says nothing of its class."""
    inputs = dataset(images, seed=1).tensors[0]
    old = (inputs.sum((1, 2, 3)) * 10).long() % 4 == 0
    return FactorTable(("old", "new"), torch.stack([old, ~old], 1))


def under(values, prefix):
    return {key.removeprefix(prefix): float(value) for key, value in values.items() if key.startswith(prefix)}


# -- who owns a key


def test_every_key_that_a_run_with_all_monitors_logs_has_one_owner_and_in_it_one_term():
    monitors = [
        *failure_monitors(factors=table(), layers=["net.0", "penultimate"], budget=1e9, on_error="raise"),
        FactorErrorMonitor(scanners(), name="scanner", on_error="raise"),
        PerturbationMonitor(["darker"], budget=1e9, on_error="raise"),
    ]
    run, _ = fit(monitors)
    watching = monitors_of(run)
    keys = {key for key in run.callback_metrics if key.startswith("failures/")}
    short = {key for key in keys if key.count("/") == 1} | {"failures/scanner/worst_factor"}
    owners = {
        monitor.short_key(term.short): monitor.title for monitor in watching for term in monitor.terms if term.short
    }
    assert short - set(owners) == {"failures/findings"}  # of the diagnosis
    assert owners["failures/worst_factor"] == "FactorErrorMonitor"
    assert owners["failures/scanner/worst_factor"] == "FactorErrorMonitor (scanner)"
    logged = [key.split("/", 2)[1:] for key in keys - short]
    nouns = {"factors", "scanner", "collapse", "simplicity", "channels", "training", "causes", "data", "properties"}
    assert {name for name, _ in logged} == nouns
    for name, statistic in logged:
        terms = [find_term(monitor.terms, statistic) for monitor in watching if monitor.name == name]
        assert len([term for term in terms if term is not None]) == 1, (name, statistic)


def test_two_factor_monitors_without_names_are_refused_before_anything_runs():
    started = Started()
    with pytest.raises(InputError) as error:
        fit([started, FactorErrorMonitor(table()), FactorErrorMonitor(scanners())])
    assert str(error.value) == (
        "FactorErrorMonitor: two monitors of the Trainer log the same keys; given FactorErrorMonitor and "
        "FactorErrorMonitor, both with failures/factors/error_ratio/*. Give one of them a name of its own, which "
        "becomes part of its keys: FactorErrorMonitor(..., name='factors_2')."
    )
    assert not started.yes


def test_two_monitors_with_one_name_are_refused():
    with pytest.raises(InputError, match=r"both with failures/scanner/error_ratio/\*\. Give one of them a name"):
        fit([FactorErrorMonitor(table(), name="scanner"), FactorErrorMonitor(scanners(), name="scanner")])


@pytest.mark.parametrize("first", [True, False])
def test_a_name_that_is_the_noun_of_another_monitor_is_refused(first):
    named = FactorErrorMonitor(table(), name="collapse")
    started = Started()
    with pytest.raises(InputError, match="both with failures/collapse/"):
        fit([started, *((named, CollapseMonitor()) if first else (CollapseMonitor(), named))])
    assert not started.yes


@pytest.mark.parametrize("name", ["", "a/b", "*", 'a "b"', " a"])
def test_a_name_that_cannot_stand_in_a_key_is_refused(name):
    with pytest.raises(InputError) as error:
        FactorErrorMonitor(table(), name=name)
    assert str(error.value) == (
        f"FactorErrorMonitor: the name of a monitor cannot stand in a key; given {name!r}. "
        'Use a word without /, * and ", such as name="scanners".'
    )


def test_a_name_logs_the_values_of_its_own_monitor_and_not_the_mean_of_both():
    pair = [
        FactorErrorMonitor(table(), on_error="raise"),
        FactorErrorMonitor(scanners(), name="scanner", on_error="raise"),
    ]
    both, _ = fit(pair)
    (one, _), (other, _) = fit([FactorErrorMonitor(table())]), fit([FactorErrorMonitor(scanners())])
    for prefix, alone in ((FACTORS, one), (SCANNER, other)):
        logged, expected = under(both.callback_metrics, prefix), under(alone.callback_metrics, FACTORS)
        if prefix == SCANNER:
            expected["worst_factor"] = alone.callback_metrics["failures/worst_factor"]
        assert set(logged) == set(expected)
        for key, value in expected.items():
            assert logged[key] == pytest.approx(value, abs=0, nan_ok=True), key
    ratios = [under(both.callback_metrics, prefix)["error_ratio/worst"] for prefix in (FACTORS, SCANNER)]
    assert all(map(math.isfinite, ratios))
    assert ratios[0] != ratios[1]


def test_perturbations_and_factors_share_their_keys_without_a_conflict():
    changed = PerturbationMonitor(["blur"], budget=1e9, on_error="raise")
    run, _ = fit([FactorErrorMonitor(table(), on_error="raise"), changed])
    logged = under(run.callback_metrics, FACTORS)
    assert {"error_ratio/dark", "perturbed_ratio/blur"} <= set(logged)


# -- what a checkpoint keeps


def test_a_resumed_run_gives_each_of_two_monitors_its_own_state(tmp_path):
    def pair():
        options = {"budget": 1e9, "on_error": "raise"}
        return [ChannelAttributionMonitor(**options), ChannelAttributionMonitor(bands=2, name="halves", **options)]

    run, _ = fit(pair(), epochs=1)
    run.save_checkpoint(tmp_path / "run.ckpt")
    every, halves = pair()
    assert every.state_key != halves.state_key
    again = trainer([every, halves], epochs=2)
    again.fit(Classifier(), *loaders(), ckpt_path=tmp_path / "run.ckpt", weights_only=True)
    assert [(profile.epoch, len(profile.change)) for profile in every.course.profiles] == [(0, 6), (1, 6)]
    assert [(profile.epoch, len(profile.change)) for profile in halves.course.profiles] == [(0, 3), (1, 3)]


def test_a_monitor_without_a_name_keeps_the_state_key_that_it_had():
    assert CollapseMonitor().state_key == "CollapseMonitor"
    assert CollapseMonitor(name="collapse").state_key == "CollapseMonitor"
    assert "scanner" in CollapseMonitor(name="scanner").state_key


def test_a_checkpoint_knows_a_factor_monitor_by_its_name_and_its_factors():
    key = FactorErrorMonitor(table()).state_key
    assert FactorErrorMonitor(table(), name="factors").state_key == key
    others = FactorErrorMonitor(table(), name="scanner"), FactorErrorMonitor(scanners()), FactorErrorMonitor("factors")
    assert len({key, *(each.state_key for each in others)}) == 4


# -- rules


def bad(prefix, subject="old", odds=4.0):
    statistics = {"odds_low": odds, "p_value": 0.001, "error": 0.75, "error_without": 0.1, "images": 40}
    statistics |= {"error_difference": 0.65, "difference_low": 0.5, "difference_high": 0.8}
    return {f"{prefix}{key}/{subject}": value for key, value in statistics.items()}


def diagnosed(rules, *monitors):
    diagnosis = FailureDiagnosis(rules, announce="nothing")
    run = trainer([*monitors, diagnosis])
    for stage in ("validate", "fit"):  # each stage sets the callbacks up anew
        diagnosis.setup(run, Classifier(), stage)
    return diagnosis


def test_the_rules_of_a_noun_reach_a_named_monitor_once_and_those_of_others_do_not():
    plain = FailureDiagnosis().rules
    diagnosis = diagnosed(None, FactorErrorMonitor(table()), FactorErrorMonitor(scanners(), name="scanner"))
    copies = diagnosis.rules[len(plain) :]
    assert diagnosis.rules[: len(plain)] == plain
    assert [rule.name for rule in copies] == [
        "factor_failure (scanner)",
        "mean_error_failure (scanner)",
        "factor_spillover (scanner)",
    ]
    assert [rule.kind for rule in copies] == ["factor_failure", "factor_failure", "factor_spillover"]
    for rule in copies:
        (source,) = (each for each in plain if each.name == rule.name.removesuffix(" (scanner)"))
        assert {text.replace(SCANNER, FACTORS) for text in (*rule.when, *rule.clear)} == {*source.when, *source.clear}
        assert {text.replace(SCANNER, FACTORS) for text in rule.plain_when} == {*source.plain_when}
        assert not any(FACTORS in text for text in (*rule.when, *rule.clear, *rule.plain_when, *rule.evidence.values()))
        assert (rule.warmup, rule.persistence, rule.severity) == (source.warmup, source.persistence, source.severity)


def test_without_a_named_monitor_the_rules_are_as_they_were():
    assert diagnosed(None, FactorErrorMonitor(table())).rules == FailureDiagnosis().rules


def test_changed_rules_are_copied_as_changed_silenced_ones_not_at_all_and_a_copy_can_be_given_by_hand():
    scanner = FactorErrorMonitor(scanners(), name="scanner")
    diagnosis = diagnosed(
        [
            "standard",
            {"name": "factor_failure", "persistence": 7, "when": ["failures/factors/odds_low/* > 3.1415926535"]},
            {"name": "mean_error_failure", "silence": True},
            {"name": "factor_spillover", "silence": True},
        ],
        scanner,
    )
    copies = [rule for rule in diagnosis.rules if "scanner" in rule.name]
    assert [(rule.name, rule.persistence) for rule in copies] == [("factor_failure (scanner)", 7)]
    assert copies[0].when == ("failures/scanner/odds_low/* > 3.1415926535",)
    own = Rule(kind="own_rule", name="factor_failure (scanner)", when=f"{SCANNER}low/* > 9", message="{subject}")
    diagnosis = diagnosed(["factor_failure", own], scanner)
    assert [rule.name for rule in diagnosis.rules] == ["factor_failure", "factor_failure (scanner)"]
    assert diagnosis.rules[1] is own


def test_only_keys_of_the_noun_itself_are_moved():
    rule = Rule(
        kind="own_rule",
        when=[
            "failures/factors/low/* > failures/factors/error/all + 1",
            "failures/factors_2/low/* > 1",
            "val_loss > 1",
        ],
        message="{subject} {loss}",
        evidence={"loss": "val_loss"},
    )
    (copy,) = rules_under_name([rule, *standard_rules()[:1]], "factors", "a{b}")
    assert copy.when == (
        "failures/a{b}/low/* > failures/a{b}/error/all + 1",
        "failures/factors_2/low/* > 1",
        "val_loss > 1",
    )
    assert copy.message.format(subject="dark", loss=2.0) == "dark 2.0 Logged under failures/a{b}/."


@pytest.mark.parametrize("name", ["size < 16", "50%", "9.4 T", "a = b", "%41"])
def test_a_rule_reads_the_keys_of_a_monitor_whatever_its_name_holds(name):
    monitor = FactorErrorMonitor(scanners(), name=name)
    diagnosis = diagnosed(["factor_failure"], monitor)
    for epoch in range(5):
        diagnosis.evaluate(Evaluation(epoch, 100 * epoch, bad(monitor.key("error/all").removesuffix("error/all"))))
    (finding,) = diagnosis.history
    assert (finding.rule, finding.subject) == (f"factor_failure ({name})", "old")
    assert finding.message.endswith(f" Logged under failures/{name}/.")


def test_a_finding_of_a_named_monitor_says_its_keys_and_is_cleared_apart():
    diagnosis = diagnosed(
        ["factor_failure"], FactorErrorMonitor(table()), FactorErrorMonitor(scanners(), name="scanner")
    )
    for epoch in range(5):
        diagnosis.evaluate(Evaluation(epoch, 100 * epoch, bad(SCANNER) | bad(FACTORS, odds=0.5)))
    (finding,) = diagnosis.history
    assert (finding.kind, finding.subject, finding.rule) == ("factor_failure", "old", "factor_failure (scanner)")
    assert finding.message == (
        "Wrong on 75% of 40 images marked old, and on 10% of the others: a difference of 65% (95% interval 50% to 80%)."
        " Logged under failures/scanner/."
    )
    assert finding.criterion == (
        "failures/scanner/odds_low/old = 4 > 1.2, failures/scanner/p_value/old = 0.001 < 0.01, failures/scanner/odds_lo"
        "w/old = 4 > 2, failures/scanner/difference_low/old = 0.5 > 0.2, at 3 evaluations in a row"
    )
    for epoch in range(5, 8):
        diagnosis.evaluate(Evaluation(epoch, 100 * epoch, bad(SCANNER, odds=1.0) | bad(FACTORS)))
    assert [(each.rule, each.standing) for each in diagnosis.history] == [
        ("factor_failure (scanner)", False),
        ("factor_failure", True),
    ]


def test_a_planted_bad_factor_of_a_named_monitor_is_found_in_a_run():
    class Fails(Classifier):
        """Right on the images of the new scanner, wrong on those of the old one."""

        def validation_step(self, batch, _):
            images, labels = batch
            wrong = (images.sum((1, 2, 3)) * 10).long() % 4 == 0
            answers = torch.where(wrong, (labels + 1) % 3, labels)
            return {"logits": 5.0 * torch.nn.functional.one_hot(answers, 3).float()}

    pair = (
        FactorErrorMonitor(table(), on_error="raise"),
        FactorErrorMonitor(scanners(), name="scanner", on_error="raise"),
    )
    at_once = [{"name": "factor_failure", "warmup_steps": 0}]  # what fails does so before any step
    diagnosis = FailureDiagnosis(at_once, announce="nothing", on_error="raise")
    fit([*pair, diagnosis], Fails(), epochs=5)
    assert [(each.kind, each.subject, each.rule) for each in diagnosis.findings] == [
        ("factor_failure", "old", "factor_failure (scanner)")
    ]
    assert "failures/scanner/odds_low/old" in diagnosis.findings[0].criterion


def test_two_monitors_of_a_kind_that_step_aside_are_two_findings():
    missing = [FactorErrorMonitor(["nowhere"]), FactorErrorMonitor(["nowhere"], name="scanner")]
    diagnosis = FailureDiagnosis(announce="nothing", on_error="raise")
    with pytest.warns(match="stepped aside, training goes on"):
        fit([*missing, diagnosis], epochs=1)
    assert [(each.kind, each.subject) for each in diagnosis.history] == [
        ("monitor_error", "FactorErrorMonitor"),
        ("monitor_error", "FactorErrorMonitor (scanner)"),
    ]


# -- from a file


def test_a_name_can_be_written_in_yaml():
    jsonargparse = pytest.importorskip("jsonargparse")
    import yaml

    text = """
    - class_path: lightning_failures.FactorErrorMonitor
      init_args: {factors: [dark]}
    - class_path: lightning_failures.FactorErrorMonitor
      init_args: {factors: [old, new], name: scanner}
    """
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--callbacks", type=list[Callback])
    config = parser.parse_object({"callbacks": yaml.safe_load(text)})
    made = (getattr(parser, "instantiate", None) or parser.instantiate_classes)(config).callbacks
    assert [each.key("error_ratio/worst") for each in made] == [
        "failures/factors/error_ratio/worst",
        "failures/scanner/error_ratio/worst",
    ]
