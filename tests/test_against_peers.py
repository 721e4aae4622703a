"""One table of this package beside others, from the figures of the benchmarks."""

import doctest
import importlib
import json

import pytest

FACTORS = {
    "table": {
        "from_files": {"seconds": 2.0, "imagenet_x_seconds": 6.0},
        "from_joined_predictions": {"seconds": 0.01, "imagenet_x_seconds": 0.5},
        "with_intervals_and_tests": {"seconds": 0.1, "imagenet_x_seconds": 0.5},
    },
    "metric": {"seconds": 0.1, "fairlearn": "not installed"},
}
CHANNELS = {
    "costs": [
        {"channels": 64, "name": "ablation by channel", "forwards": 10.0},
        {"channels": 64, "name": "captum ablation by channel", "forwards": 65.0},
        {"channels": 64, "name": "ablation by channel against captum ablation by channel", "times": 6.5},
    ]
}
COLLAPSE = {
    "rows": 25600,
    "d=2048": {
        "its RankMe alone": {"epoch_end_s": 2.0, "peak_mb": 100.0},
        "RankMe queue": {"epoch_end_s": 10.0, "peak_mb": 400.0},
    },
}


@pytest.fixture
def peers(benchmark):
    return benchmark("against_peers")


def test_each_row_has_the_median_and_the_spread_of_the_rounds(peers):
    slower = json.loads(json.dumps(FACTORS))
    slower["table"]["from_files"]["imagenet_x_seconds"] = 8.0
    found = {row[0]: row[1:] for row in peers.rows({"factors": [FACTORS, slower], "collapse": [COLLAPSE]})}
    row = found["error ratios by factor of four models, from files"]
    assert row == ["imagenet-x", "2 s", "6 (6 to 8) s", "3 (3 to 4)", "2"]
    assert found["with intervals and exact tests here, without them there"][1:4] == ["0.1 s", "0.5 s", "5"]
    assert found["RankMe of 25,600 rows, memory"] == ["stable-pretraining's queue", "100 MB", "400 MB", "4", "1"]


def test_a_peer_that_was_not_there_has_no_row(peers):
    without = {"table": "left out: needs imagenet-x", "metric": FACTORS["metric"]}
    queueless = {"d=2048": {"its RankMe alone": {"epoch_end_s": 2.0, "peak_mb": 100.0}}}
    assert peers.rows({"factors": [without], "collapse": [queueless], "channels": [{"costs": []}]}) == []
    assert [row[1] for row in peers.rows({"channels": [CHANNELS]})] == ["captum"]


def test_rounds_that_stand_are_not_done_again_and_the_rest_of_the_page_stays(peers, monkeypatch, tmp_path):
    done = []

    def run(script, to, more):
        done.append(to.name)
        to.write_text(json.dumps({"factors": FACTORS, "channels": CHANNELS, "collapse": COLLAPSE}[script]))

    monkeypatch.setattr(peers, "run", run)
    page = tmp_path / "page.md"
    page.write_text(f"# Before\n\n{peers.BEGIN}\n\nold\n\n{peers.END}\n\nafter\n")
    arguments = ["--out", str(tmp_path / "out"), "--page", str(page), "--only", "factors", "collapse"]
    peers.main([*arguments, "--rounds", "1"])
    peers.main([*arguments, "--rounds", "2"])
    assert done == ["factors-1.json", "collapse-1.json", "factors-2.json", "collapse-2.json"]
    text = page.read_text()
    assert text.startswith(f"# Before\n\n{peers.BEGIN}\n\n## Beside other packages\n")
    assert text.endswith(f"{peers.END}\n\nafter\n")
    assert "old" not in text
    assert "| imagenet-x | 2 s | 6 s | 3 | 2 |" in text


def test_every_contender_of_the_table_is_one_of_the_benchmark_of_channels(peers, monkeypatch):
    pytest.importorskip("captum")
    channels = importlib.import_module("channels")
    model, inputs, targets = channels.build(3)
    there = channels.contenders(model, inputs, targets)
    costs = {"costs": [{"name": name, "forwards": 1.0} for name in there]}
    questions = [question for question in peers.QUESTIONS if question.script == "channels"]
    assert [question.read(costs) for question in questions] == [(1.0, 1.0)] * len(questions)
    contenders = importlib.import_module("collapse").CONTENDERS
    assert {"its RankMe alone", "RankMe queue"} <= contenders.keys()


def test_the_examples_run(peers):
    failed, tried = doctest.testmod(peers)
    assert (failed, tried > 0) == (0, True)
