"""The failure bench counts the runs of all benchmarks by what was planted, and fails where a detection is lost."""

import doctest
import json

import pytest

from tests.benchmark_records import finding, record_of


def record(case, *findings, **fields):
    return record_of(case, *findings, **{"seed": 4, "cpu_seconds": 1.0} | fields)


def write(folder, *records):
    folder.mkdir(parents=True, exist_ok=True)
    for one in records:
        (folder / f"{one['case']}-{one['network']}-{one['seed']}.json").write_text(json.dumps(one))


def rows_of(page, heading):
    """The cells of the table under a heading, its own heads first."""
    lines = page.partition(f"## {heading}\n")[2].splitlines()
    start = next(number for number, each in enumerate(lines) if each.startswith("|"))
    cells = []
    for each in lines[start:]:
        if not each.startswith("|"):
            break
        cells.append([cell.strip() for cell in each.strip("|").split(" | ")])
    return [cells[0], *cells[2:]]


GAP = {"kind": "generalisation_gap", "rule": "proven_mismatch", "criterion": "failures/causes/proven = 1 >= 1"}
COLLAPSE = {"rule": "class_collapse", "criterion": "failures/collapse/class_share = 0.1 < 0.2"}


@pytest.fixture
def page(benchmark, tmp_path):
    """The page of some runs that are known."""
    mismatch = "input_mismatch"
    write(
        tmp_path / "out" / "causes",
        record("channels permuted", finding(cause=mismatch, **GAP), finding(cause=mismatch, **COLLAPSE)),
        record("channels permuted", finding(cause=mismatch, **GAP), seed=5),
        record("channels permuted", finding(**COLLAPSE), seed=6),
        record("channels permuted", seed=7),
        record("channels permuted", finding(**GAP), seed=1),
        record("healthy", finding(cause="overfitting", **GAP)),
        record("healthy", seed=5, crash="Traceback\nValueError: out of luck"),
        record("nobody knows it"),
    )
    write(
        tmp_path / "own",
        record("no zero_grad", finding("training_fault", rule="gradients_kept", epoch=1)),
        record("copied images", finding("data_fault", "warning", cause="leakage"), commit="abc1234"),
    )
    out = tmp_path / "bench.md"
    given = ["--out", str(tmp_path / "out"), "--parts", "causes", "faults", "--page-only", "--page", str(out)]
    benchmark("bench").main([*given, "--at", f"faults={tmp_path / 'own'}"])
    return out.read_text()


def test_what_was_run_is_said_with_its_commits_and_what_broke_off(page):
    assert rows_of(page, "What was run")[1:] == [
        ["causes", "cnn", "1, 4, 5, 6, 7", "8", "1", "not noted (8)"],
        ["faults", "cnn", "4", "2", "0", "abc1234 (1), not noted (1)"],
    ]
    assert "no run here: given, properties, scenes, shortcuts, real shortcuts, slices." in page
    assert "Runs that broke off, and count nowhere: healthy (cnn, seed 5)." in page
    assert "Cases none of whose runs counts: nobody knows it." in page


def test_failures_are_summed_by_kind_and_network_on_other_seeds(page):
    rows = rows_of(page, "Kind of failure by network")[1:]
    assert [row[0] for row in rows] == ["input_mismatch", "leakage", "training_fault"]
    assert rows[0][2:5] == ["causes (4)", "3 of 4: 75% (30% to 95%)", "2 of 4: 50% (15% to 85%)"]
    assert rows[2][6] == "1"
    over_all = rows_of(page, "Over all")
    assert [row[0] for row in over_all[1:]] == [
        "seeds 1, 2, 3, on which thresholds were set",
        "other seeds",
        "of these, causes",
        "of these, faults",
    ]
    assert over_all[1][1].startswith("1 of 1")
    assert over_all[2][1].startswith("5 of 6")


def test_false_alarms_of_healthy_runs_are_counted_and_named(page):
    (row,) = rows_of(page, "Healthy runs: false alarms")[1:]
    assert row == [
        "causes", "cnn", "1 of 1: 100% (21% to 100%)", "0 of 1: 0% (0% to 79%)",
        "generalisation_gap because of overfitting (1)",
    ]  # fmt: skip


def test_what_is_planted_stands_against_what_is_said(page):
    head, *rows = rows_of(page, "Planted against said")
    cells = {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}
    assert cells["input_mismatch"] == {
        "runs": "4", "input_mismatch": "2", "leakage": "", "training_fault": "", "overfitting": "",
        "a symptom, no cause": "1", "nothing": "1",
    }  # fmt: skip
    assert cells["leakage"]["leakage"] == cells["training_fault"]["training_fault"] == "1"
    assert cells["nothing"]["overfitting"] == "1"


def test_a_detection_is_carried_by_what_it_is_lost_without(page):
    rows = {row[0]: row[1:] for row in rows_of(page, "What carries which detection")[1:]}
    assert rows["input_mismatch"] == [
        "2", "proven_mismatch (2), class_collapse (1)", "proven_mismatch (1)", "causes (2), collapse (1)", "causes (1)",
    ]  # fmt: skip


def test_each_run_that_is_not_right_is_listed_with_the_reason(page):
    words = {(row[1], row[3]): row[4] for row in rows_of(page, "Runs that are not all right")[1:]}
    assert words == {
        ("channels permuted", "6"): "input_mismatch is detected and not named, or not alone: there stands a symptom, "
        "no cause",
        ("channels permuted", "7"): "input_mismatch is not detected",
        ("healthy", "4"): "nothing is planted, and there stands generalisation_gap because of overfitting",
    }


def test_a_page_of_seeds_on_which_thresholds_were_set_says_so(benchmark, tmp_path):
    write(tmp_path / "causes", record("healthy", seed=2))
    out = tmp_path / "bench.md"
    benchmark("bench").main(
        ["--out", str(tmp_path), "--parts", "causes", "--seeds", "2", "--page-only", "--page", str(out)]
    )
    assert "these figures are not of other seeds" in out.read_text()


@pytest.mark.parametrize(
    ("follows", "donor", "planted", "right"),
    [
        pytest.param(0.9, 0.8, "shortcut", True, id="followed and named"),
        pytest.param(0.9, 0.1, "shortcut", False, id="followed and not named"),
        pytest.param(0.1, 0.1, "", True, id="not followed and not named"),
        pytest.param(0.1, 0.8, "", False, id="not followed, and named all the same"),
    ],
)
def test_behaviour_says_whether_a_shortcut_is_there(benchmark, follows, donor, planted, right):
    shares = {"colour": (donor, 1 - donor)}
    run = record("colour", follows=follows, shares=shares)
    (one,) = benchmark("bench").of_shortcuts("shortcuts", run, None)
    assert (one.planted, one.right) == (planted, right)


def test_a_shortcut_that_is_followed_half_the_time_counts_nowhere(benchmark):
    run = record("colour", follows=0.4, shares={"colour": (0.8, 0.2)})
    assert benchmark("bench").of_shortcuts("shortcuts", run, None) == []


def test_a_scene_whose_cue_was_left_behind_is_healthy(benchmark):
    truth_of = benchmark("planted_findings").truth_of
    last = {"failures/simplicity/reach/total_absorbance": 0.9, "failures/simplicity/chance": 0.3}
    here, beyond = ({"case": "partial", "last": last, "course": {"model_accuracy": [each]}} for each in (0.91, 0.97))
    assert truth_of(here).failing
    assert not truth_of(beyond).failing
    assert truth_of(here | {"case": "control"}) is None


def test_a_slice_is_found_where_most_of_what_is_named_was_planted(benchmark):
    def sample(plant, low, precision):
        slices = [["dark images", low]]
        return {"plant": plant, "where": "one class", "slices": slices, "precision": precision}

    samples = [sample("dark", 0.3, 0.9), sample("dark", 0.3, 0.2), sample("dark", 0.15, 0.9), sample("clean", 0.3, 0)]
    found = benchmark("bench").of_slices("slices", record("digits", evaluations=samples), None)
    assert [(one.detected, one.right) for one in found] == [(True, True), (True, False), (False, False), (True, False)]
    assert [one.named[0] for one in found] == [
        "slice_failure", "slice_failure of something else", "nothing", "slice_failure",
    ]  # fmt: skip


def test_the_whole_bench_holds_every_part_that_needs_no_data_of_ones_own(benchmark):
    bench = benchmark("bench")
    plans = {part: bench.PARTS[part].plan([4, 5], bench.Folders()) for part in bench.PARTS}
    assert {part for part, runs in plans.items() if not runs} == {"given", "real shortcuts"}
    for part, runs in plans.items():
        assert len(set(runs)) == len(runs), part
        assert {one.seed for one in runs} <= {4, 5}


def test_runs_that_stand_are_not_done_again_and_what_is_asked_for_is(benchmark, tmp_path, monkeypatch, capsys):
    bench, done = benchmark("bench"), []

    def work(planned, folders):
        done.append(planned)
        return {"findings": [finding(cause="input_mismatch").to_dict()]}

    monkeypatch.setitem(bench.PARTS, "causes", bench.PARTS["causes"]._replace(work=work))
    arguments = ["--out", str(tmp_path), "--parts", "causes", "--page", str(tmp_path / "bench.md")]
    arguments += ["--only", "channels permuted", "--networks", "cnn", "--seeds"]
    bench.main([*arguments, "4"])
    bench.main([*arguments, "4", "5"])
    assert [(one.case, one.network, one.seed) for one in done] == [
        ("channels permuted", "cnn", 4),
        ("channels permuted", "cnn", 5),
    ]
    assert "2 of 2" in (tmp_path / "bench.md").read_text()


def test_a_folder_of_no_part_is_refused(benchmark, tmp_path, capsys):
    with pytest.raises(SystemExit):
        benchmark("bench").main(["--at", "gremlins=there"])
    assert "'gremlins=there' is not PART=FOLDER, with PART one of causes, given," in capsys.readouterr().err
    with pytest.raises(SystemExit):
        benchmark("bench").main(["--page-only", "--out", str(tmp_path)])
    assert "there is no run" in capsys.readouterr().err


# -- the small bench


@pytest.mark.parametrize(
    ("case", "found", "words"),
    [
        pytest.param("channels permuted", [{"cause": "input_mismatch"}], "", id="found"),
        pytest.param("channels permuted", [], "input_mismatch is not detected", id="lost"),
        pytest.param(
            "channels permuted", [{"cause": "overfitting"}], "there stands class_collapse because", id="wrong"
        ),
        pytest.param(
            "channels permuted", [{"cause": "input_mismatch", "severity": "warning"}], "named, too mildly", id="mild"
        ),
        pytest.param("healthy", [], "", id="silent"),
        pytest.param("healthy", [{}], "nothing is planted, and there stands class_collapse", id="loud"),
    ],
)
def test_the_small_bench_fails_where_a_detection_is_lost(benchmark, monkeypatch, case, found, words):
    bench = benchmark("bench")
    planned = benchmark("run_folder").Planned(case, "cnn", 4)
    given = {"findings": [finding(**fields).to_dict() for fields in found]}
    monkeypatch.setitem(bench.PARTS, "causes", bench.PARTS["causes"]._replace(work=lambda planned, folders: given))
    wrong = bench.small([("causes", planned)])
    assert len(wrong) == bool(words)
    assert all(words in each and each.startswith(f"{case} (cnn, seed 4): ") for each in wrong)


def test_a_run_that_breaks_off_fails_the_small_bench_and_ends_the_command_with_what_it_broke_off_with(
    benchmark, monkeypatch, capsys
):
    bench = benchmark("bench")

    def work(planned, folders):
        raise ValueError("out of luck")

    monkeypatch.setitem(bench.PARTS, "causes", bench.PARTS["causes"]._replace(work=work))
    monkeypatch.setattr(bench, "small", lambda run=bench.small: run(bench.SMALL[:1]))
    with pytest.raises(SystemExit) as stopped:
        bench.main(["--small"])
    assert stopped.value.code == "healthy (cnn, seed 4) broke off: ValueError: out of luck"


def test_the_small_bench_holds_runs_of_the_whole_one_and_healthy_ones_on_seeds_without_thresholds(benchmark):
    bench = benchmark("bench")
    for part, planned in bench.SMALL:
        assert planned in bench.PARTS[part].plan([planned.seed], bench.Folders())
        assert planned.seed not in bench.SET_ON
    assert sum(planned.case == "healthy" for _, planned in bench.SMALL) == 2


@pytest.mark.slow
def test_three_runs_of_the_small_bench_are_right(benchmark):
    bench = benchmark("bench")
    some = {"healthy", "NaN weights", "copied images"}
    assert bench.small([each for each in bench.SMALL if each[1].case in some and each[1].network == "cnn"]) == []


def test_the_examples_run(benchmark):
    for name in ("bench", "judgement"):
        failed, tried = doctest.testmod(benchmark(name))
        assert (failed, tried > 0) == (0, True)
