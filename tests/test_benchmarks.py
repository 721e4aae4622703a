import doctest
import importlib
import json
import sys

import pytest
import torch
from statsmodels.stats.proportion import proportion_confint

from lightning_failures.records import CAUSES, FINDING_KINDS, SEVERITIES
from tests.benchmark_records import finding, record_of


def record(case, *findings, **fields):
    return record_of(case, *findings, **{"seed": 1, "accuracy": 0.5} | fields)


def row_of(page, *begins):
    (row,) = (line for line in page.splitlines() if line.startswith("| " + " | ".join(begins) + " |"))
    return [cell.strip() for cell in row.strip("|").split(" | ")]


# -- what a finding is worth


@pytest.mark.parametrize(
    ("said", "detected", "cause_right", "severity_right"),
    [
        pytest.param([], False, False, False, id="nothing"),
        pytest.param([{}], True, False, False, id="a symptom without a cause"),
        pytest.param([{"cause": "input_mismatch"}], True, True, True, id="the cause"),
        pytest.param([{"cause": "input_mismatch", "severity": "warning"}], True, True, False, id="too mild"),
        pytest.param([{"cause": "input_mismatch", "severity": "watch"}], False, False, False, id="watched only"),
        pytest.param([{"cause": "input_mismatch", "cleared": 5}], False, False, False, id="cleared"),
        pytest.param([{"cause": "overfitting"}], True, False, False, id="another cause"),
        pytest.param([{"cause": "overfitting"}, {"cause": "input_mismatch"}], True, False, True, id="both"),
        pytest.param([{"cause": "no_signal"}, {"cause": "input_mismatch"}], True, True, True, id="true as well"),
        pytest.param([{}, {"cause": "input_mismatch"}], True, True, True, id="the cause beside a symptom"),
        pytest.param(
            [{"kind": "simple_cue_reliance"}, {"cause": "input_mismatch"}], True, False, True, id="a kind that claims"
        ),
        pytest.param([{"kind": "monitor_error", "severity": "warning"}], False, False, False, id="a monitor's error"),
    ],
)
def test_a_failing_run_is_judged_by_what_stands(benchmark, said, detected, cause_right, severity_right):
    judgement = benchmark("judgement")
    truth = judgement.Truth(("input_mismatch",), least="failure", also=("no_signal",))
    judged = judgement.judge(truth, [finding(**fields) for fields in said])
    assert (judged.detected, judged.cause_right, judged.severity_right) == (detected, cause_right, severity_right)


def test_a_kind_that_says_what_is_wrong_must_be_about_the_right_subject(benchmark):
    judgement = benchmark("judgement")
    truth = judgement.Truth((), ("factor_failure",), ("turned",))
    right, wrong = (finding("factor_failure", subject=subject) for subject in ("turned", "null"))
    assert judgement.judge(truth, [right]).cause_right
    both = judgement.judge(truth, [right, wrong])
    assert not both.cause_right
    assert both.alarms == ("factor_failure null",)
    assert not judgement.judge(truth, [finding("factor_failure", subject="turned", cause="no_signal")]).cause_right


def test_in_a_healthy_run_all_that_stands_is_a_false_alarm_unless_it_is_true(benchmark):
    judgement = benchmark("judgement")
    said = [
        finding("class_collapse", cleared=6),
        finding("untapped_information", severity="watch"),
        finding("generalisation_gap", severity="warning", cause="label_noise"),
        finding("monitor_error", subject="CollapseMonitor", severity="warning"),
    ]
    judged = judgement.judge(judgement.Truth(also=("label_noise",)), said)
    assert judged.alarms == ("monitor_error CollapseMonitor",)
    assert judged.passing == ("class_collapse",)
    assert not judged.severity_right
    assert len(judgement.judge(judgement.HEALTHY, said).alarms) == 2


def test_epoch_step_and_lead_are_those_of_the_first_finding_that_is_right(benchmark):
    judgement = benchmark("judgement")
    truth = judgement.Truth(("overfitting",))
    said = [
        finding(epoch=2, step=40),
        finding(epoch=7, step=140, cause="overfitting", lead=-3, metric="val_loss"),
        finding("generalisation_gap", epoch=4, step=80, cause="overfitting", lead=1, metric="val_loss"),
    ]
    judged = judgement.judge(truth, said)
    assert (judged.epoch, judged.step, judged.lead) == (4, 80, 1)


def test_every_truth_names_causes_kinds_and_severities_that_exist(benchmark):
    truths = dict(benchmark("given_cases").TRUTHS)
    truths |= {name: fault.truth for name, fault in benchmark("faults").FAULTS.items()}
    truths |= {name: case.truth for name, case in benchmark("planted_causes").CASES.items()}
    for truth in truths.values():
        assert set(truth.causes) | set(truth.also) <= set(CAUSES)
        assert set(truth.kinds) <= set(FINDING_KINDS)
        assert truth.least in SEVERITIES
    assert len(benchmark("faults").FAULTS) == 14
    claims = benchmark("judgement").CLAIMS
    assert set(claims) <= set(FINDING_KINDS)
    assert set(claims.values()) <= set(CAUSES)
    assert benchmark("given_cases").ANY_NETWORK.issubset(benchmark("given_cases").TRUTHS)


# -- arithmetic


@pytest.mark.parametrize(("right", "seen"), [(0, 5), (3, 5), (95, 100), (60, 60)])
def test_a_share_has_the_interval_of_an_independent_library(benchmark, right, seen):
    low, high = proportion_confint(right, seen, method="wilson")
    expected = f"{right} of {seen}: {right / seen:.0%} ({low:.0%} to {high:.0%})"
    assert benchmark("shares").share([True] * right + [False] * (seen - right)) == expected


def test_a_bar_in_a_cell_does_not_end_the_cell(benchmark):
    assert benchmark("shares").table(["a"], [["x|y"]]) == "| a |\n|---|\n| x\\|y |"


def test_the_examples_of_the_benchmarks_run(benchmark):
    for name in ("judgement", "shares"):
        failed, tried = doctest.testmod(benchmark(name))
        assert (failed, tried > 0) == (0, True)


# -- a folder of runs


def test_runs_that_are_done_are_not_done_again_and_those_that_broke_off_are(benchmark, tmp_path):
    runs = benchmark("run_folder")
    plan = [runs.Planned("scaled", "cnn", seed) for seed in (1, 2, 3)]
    done = []

    def work(planned):
        done.append(planned.seed)
        if planned.seed == 2 and done.count(2) == 1:
            raise ValueError("out of luck")
        return {"findings": [], "accuracy": planned.seed / 10}

    first = list(runs.RunFolder(tmp_path).fill(plan[:2], work))
    assert "ValueError: out of luck" in first[1]["crash"]
    list(runs.RunFolder(tmp_path).fill(plan, work))
    assert done == [1, 2, 2, 3]
    folder = runs.RunFolder(tmp_path)
    assert folder.missing(plan) == []
    assert [one["accuracy"] for one in folder.records(plan)] == [0.1, 0.2, 0.3]
    assert {path.name for path in tmp_path.iterdir()} == {f"scaled-cnn-{seed}.json" for seed in (1, 2, 3)}


@pytest.mark.slow
def test_several_processes_do_the_runs_that_one_does(benchmark, tmp_path, monkeypatch):
    (tmp_path / "tiny_work.py").write_text("def work(planned): return {'accuracy': planned.seed / 10}")
    monkeypatch.syspath_prepend(str(tmp_path))
    runs, same_record = benchmark("run_folder"), importlib.import_module("tiny_work").work
    plan = [runs.Planned("scaled", "cnn", seed) for seed in (1, 2, 3)]
    list(runs.RunFolder(tmp_path / "out").fill(plan, same_record, processes=2))
    assert [one["accuracy"] for one in runs.RunFolder(tmp_path / "out").records(plan)] == [0.1, 0.2, 0.3]


# -- pages


def test_the_page_of_causes_counts_by_case_and_says_which_runs_are_wrong(benchmark):
    causes = benchmark("causes")
    truth = benchmark("judgement").Truth
    truths = {"scaled": truth(("input_mismatch",)), "plain": truth()}
    gap = finding("generalisation_gap", cause="input_mismatch", lead=2, metric="val_loss")
    records = [
        record("scaled", gap),
        record("scaled", finding(), seed=4),
        record("plain"),
        record("plain", finding("class_collapse"), seed=4),
        record("plain", seed=5, crash="Traceback\nValueError: out of luck"),
        record("heard of by nobody"),
    ]
    page = causes.page(records, truths, set_on=[1])
    assert row_of(page, "scaled", "cnn", "2 of 2")[3:] == [
        "1 of 2", "1 of 2", "3", "2", "0.50",
        "class_collapse (1); generalisation_gap because of input_mismatch (1)",
    ]  # fmt: skip
    assert row_of(page, "plain", "cnn", "2")[3] == "class_collapse (1)"
    assert row_of(page, "all")[1:3] == ["2 of 2: 100% (34% to 100%)", "1 of 2: 50% (9% to 91%)"]
    assert row_of(page, "other seeds")[2:5:2] == ["0 of 1: 0% (0% to 79%)", "1 of 1: 100% (21% to 100%)"]
    assert row_of(page, "scaled", "cnn", "4")[3] == "class_collapse"
    assert "count nowhere: heard of by nobody." in page
    assert "Runs that broke off, and count nowhere: plain (cnn, seed 5)." in page


def test_the_page_of_faults_tells_steps_and_what_the_metric_hides(benchmark):
    page = benchmark("fault_injection").page(
        [
            record("stale optimizer", finding("training_fault", step=21), steps=200, true_accuracy=0.1),
            record("copied images", finding("class_collapse"), true_accuracy=0.4),
            record("spectra, SGD", network="resnet10t"),
        ]
    )
    assert row_of(page, "stale optimizer", "cnn")[2:8] == ["1 of 1", "1 of 1", "1 of 1", "3", "21", "0.50 for 0.10"]
    assert row_of(page, "copied images", "cnn")[2:4] == ["1 of 1", "0 of 1"]
    assert row_of(page, "cause right") == ["cause right", "1 of 2: 50% (9% to 91%)"]
    assert row_of(page, "spectra, SGD", "resnet10t", "1")[3] == ""


def test_there_are_sixty_healthy_runs_and_every_fault_in_every_network_and_seed(benchmark):
    faults = benchmark("fault_injection")
    plan = faults.plan(["cnn", "resnet10t"], [1, 2, 3, 4, 5], [*faults.FAULTS, *faults.HEALTHY_RUNS])
    assert len(set(plan)) == len(plan) == 14 * 2 * 5 + 60
    assert sum(planned.case in faults.HEALTHY_RUNS for planned in plan) == 60


# -- the faults


@pytest.fixture
def setup(benchmark):
    torch.manual_seed(0)
    return benchmark("digit_runs").healthy_setup("cnn", 1)


def prepared_validation(benchmark, setup):
    return benchmark("digit_runs").prepared(setup.valid.images, setup.valid_by)


@pytest.mark.parametrize("name", ["channel order", "statistics off by 1,000", "empty channel"])
def test_a_fault_of_the_inputs_leaves_training_and_the_true_validation_as_they_were(benchmark, setup, name):
    faulty = benchmark("faults").FAULTS[name].put_into(setup)
    assert torch.equal(prepared_validation(benchmark, setup), setup.true_valid.images)
    assert not torch.allclose(prepared_validation(benchmark, faulty), setup.true_valid.images, atol=0.1)
    assert torch.equal(faulty.train.images, setup.train.images)
    assert torch.equal(faulty.valid.labels, setup.true_valid.labels)


def test_copied_images_stand_on_both_sides_and_no_others_do(benchmark, setup):
    def both(setup):
        train = {image.numpy().tobytes() for image in setup.train.images}
        return sum(image.numpy().tobytes() in train for image in setup.valid.images)

    faulty = benchmark("faults").FAULTS["copied images"].put_into(setup)
    assert (both(setup), both(faulty)) == (0, len(setup.valid.labels) // 2)


def test_permuted_channels_keep_means_and_deviations(benchmark, setup):
    permuted = benchmark("planted_causes").CASES["channels permuted"].put_into(setup)
    images = prepared_validation(benchmark, permuted)
    assert images.mean((0, 2, 3)).abs().max() < 0.1
    assert (images.std((0, 2, 3)) - 1).abs().max() < 0.1
    assert not torch.allclose(images, setup.true_valid.images, atol=0.1)


# -- the commands


CASES = """
import json
from types import SimpleNamespace
import torch
from torch import nn

def make(seed):
    return SimpleNamespace(net=nn.Identity(), train=(torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])))

CASES = {"val_scaled": make, "dose": make}

def run(name, make, seed, out):
    made = make(seed)
    (out / "own.json").write_text(json.dumps({"seed": seed}))
    message = {
        "kind": "generalisation_gap", "subject": type(made.net).__name__, "epoch": 1, "step": 21, "severity": "failure",
        "evidence": {"accuracy": 0.2}, "message": "It fails.", "cause": "input_mismatch",
    }
    return {"messages": [message] * (name == "val_scaled"), "metric": [{"epoch": 0}, {"val_acc": 0.25}], "crash": ""}
"""


def test_cases_of_a_folder_of_ones_own_run_in_their_own_network_and_in_others(benchmark, tmp_path, monkeypatch, capsys):
    (tmp_path / "cases.py").write_text(CASES)
    monkeypatch.delitem(sys.modules, "cases", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    page = tmp_path / "causes.md"
    arguments = ["--cases", str(tmp_path), "--out", str(tmp_path / "out"), "--seeds", "1", "2", "--page", str(page)]
    causes = benchmark("causes")
    causes.main([*arguments, "--networks", "cnn"])
    monkeypatch.delitem(sys.modules, "cases")
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 6
    assert "generalisation_gap Sequential because of input_mismatch, failure, 1" in "\n".join(said)
    text = page.read_text()
    assert row_of(text, "val_scaled", "as given")[2:4] == ["2 of 2", "2 of 2"]
    assert row_of(text, "val_scaled", "cnn")[2:4] == ["2 of 2", "2 of 2"]
    assert row_of(text, "dose", "as given", "2")[3:] == ["", "", "0.25"]
    assert str(tmp_path) not in text
    causes.main(arguments)
    assert capsys.readouterr().out == ""
    assert sorted(json.loads(one.read_text())["seed"] for one in (tmp_path / "out").iterdir()) == [1, 1, 1, 2, 2, 2]
    monkeypatch.delitem(sys.modules, "cases")


def test_a_case_that_does_not_exist_is_refused_with_those_that_do(benchmark, tmp_path, capsys):
    with pytest.raises(SystemExit):
        benchmark("causes").main(["--out", str(tmp_path), "--only", "gremlins", "healthy"])
    assert "there is no case gremlins; choose from validation scaled otherwise, " in capsys.readouterr().err


@pytest.mark.slow
def test_a_planted_case_and_a_fault_run_from_end_to_end(benchmark, tmp_path):
    for command, case in (("causes", "NaN weights"), ("fault_injection", "no zero_grad")):
        page, out = tmp_path / f"{command}.md", tmp_path / command
        chosen = ["--only", case, "--networks", "cnn", "--seeds", "1"]
        benchmark(command).main(["--out", str(out), "--page", str(page), *chosen])
        (one,) = (json.loads(path.read_text()) for path in out.iterdir())
        assert one["accuracy"] < 0.2  # the plant did its work
        assert "crash" not in one
        assert row_of(page.read_text(), case, "cnn", "1 of 1")
