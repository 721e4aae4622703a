"""A run whose weights are spread over two processes: figures of the whole model; what needs a rerun is left out."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lightning_failures import NeuralCollapse
from tests.runs import CLASSES, dataset

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
LEFT_OUT = "the module's weights are spread over several processes, so it is not run on further inputs"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    path = tmp_path_factory.mktemp("sharded") / "found.pt"
    command = [sys.executable, "-m", "tests.sharded_run", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return torch.load(path)


def test_its_weights_are_bitwise_the_same_with_and_without_the_monitors(found):
    for name, weight in found["bare"].items():
        assert torch.equal(found["again"][name], weight), name
        assert torch.equal(found["watched"][name], weight), name
    assert found["hooks"] == 0
    assert found["epochs"] == (3, 3)


def test_its_figures_are_those_of_the_gathered_weights_on_every_image_once(found):
    from tests.sharded_run import HELD, network

    net = network()
    net.load_state_dict(found["watched"])
    images, labels = dataset(HELD, seed=1).tensors
    with torch.no_grad():
        features = net[:-1](images)
        right = net[-1](features).argmax(1) == labels
    figures = found["figures"]
    assert figures["failures/collapse/images"] == HELD
    for key in ("collapse/accuracy", "simplicity/model_accuracy"):
        assert figures[f"failures/{key}"] == pytest.approx(right.double().mean().item()), key
    values = torch.linalg.eigvalsh(torch.cov(features.double().T)).clamp(min=1e-12)
    shares = values / values.sum()
    rank = float(torch.exp(-(shares * shares.log()).sum()))
    assert figures["failures/collapse/effective_rank/penultimate"] == pytest.approx(rank, rel=1e-4)
    # nc3 compares the class means with the whole weight of the head, of which each process has a part
    metric = NeuralCollapse(CLASSES, features.shape[1])
    metric.update(features, labels)
    metric.head = net[-1].weight
    alignment = metric.compute()["nc3"]
    assert figures["failures/collapse/nc3/penultimate"] == pytest.approx(float(alignment), rel=1e-4)


def test_what_would_run_the_module_again_is_left_out_and_said(found):
    assert not any(found["failures"])
    others = "why it fails", "faults of the training step"
    decided, bands = "what decides the predictions", "which bands the predictions depend on"
    assert set(found["not watched"]) == {decided, bands, "errors on changed images", *others}
    assert all(LEFT_OUT in why for why in found["not watched"].values())


def test_a_monitor_that_fails_on_one_rank_steps_aside_on_both_and_the_others_go_on(found):
    first, others, diagnosis = found["faults"]
    assert first == "it stepped aside on another rank: ArithmeticError: a fault of one rank"
    assert (others, diagnosis) == (None, None)
    assert found["figures beside a fault"]["failures/collapse/images"] == 37
