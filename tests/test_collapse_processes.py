"""Every metric of collapse: on two and three processes in one spawn, without values to look at, under casts."""

import lightning as L
import pytest
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

from lightning_failures import (
    CollapseMonitor,
    CrossLayerCKA,
    DormantUnits,
    FeatureSpectrum,
    GroupedDimension,
    LiDAR,
    NeuralCollapse,
    PredictionCollapse,
    SubspaceOverlap,
)
from tests.processes import run_on_processes
from tests.runs import Classifier, dataset
from tests.test_distributed import trainer

N, C, D = 200, 5, 12
SHARES = {2: [(137, 63), (0, 200)], 3: [(120, 80, 0), (0, 1, 199)]}


def data():
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(C, (N,), generator=generator)
    features = torch.randn(N, D, generator=generator) + torch.randn(C, D, generator=generator)[target] + 2
    features[7, 3] = torch.nan
    logits = torch.randn(N, C, generator=generator) * torch.tensor([3, 1, 1, 0.5, 2])
    return features, logits, target, torch.randn(C, D, generator=generator)


def metrics(group=None):
    """Each metric and how it takes rows."""
    kwargs = {"process_group": group}
    neural = NeuralCollapse(C, D, **kwargs)
    neural.head = data()[3]
    return [
        (FeatureSpectrum(D, **kwargs), lambda m, x, z, y: m.update(x)),
        (FeatureSpectrum(D, projection=4, **kwargs), lambda m, x, z, y: m.update(x)),
        (PredictionCollapse(C, **kwargs), lambda m, x, z, y: m.update(z, y)),
        (neural, lambda m, x, z, y: m.update(x, y)),
        (GroupedDimension(list("abcde"), D, **kwargs), lambda m, x, z, y: m.update(x, y)),
        (DormantUnits(D, **kwargs), lambda m, x, z, y: m.update(x)),
        (CrossLayerCKA({"x": D, "z": C}, **kwargs), lambda m, x, z, y: m.update({"x": x, "z": z})),
        (SubspaceOverlap(D, k=2, **kwargs), lambda m, x, z, y: m.update(x)),
        (LiDAR(D, **kwargs), lambda m, x, z, y: m.update(x, x + 0.1 * x.roll(1, 1))),
    ]


def computed(part, group=None):
    features, logits, target, _ = data()
    results = []
    for metric, feed in metrics(group):
        for scale in (torch.ones(D), torch.linspace(1, 2, D)):  # two evaluations
            metric.reset()
            rows = (features * scale)[part], logits[part], target[part]
            for batch in zip(*(values.split(33) for values in rows), strict=True) if len(rows[0]) else ():
                feed(metric, *batch)
            values = metric.compute()
        results.append(values)
    return results


def shards(rank, world):
    pair, found = dist.new_group([0, 1]), {}
    for size, group in ((2, pair), (3, None)):
        for share in SHARES[size] if rank < size else ():
            start = sum(share[:rank])
            found[share] = computed(slice(start, start + share[rank]), group)
    return found


def test_uneven_and_empty_shards_give_what_one_process_gives():
    single = computed(slice(0, N))
    names = [type(metric).__name__ for metric, _ in metrics()]
    for rank, found in enumerate(run_on_processes(3, shards)):
        assert found.keys() == {share for size in SHARES for share in SHARES[size] if rank < size}
        for share, results in found.items():
            for name, values, expected in zip(names, results, single, strict=True):
                assert values.keys() == expected.keys()
                for key in values:
                    a, b = values[key].item(), expected[key].item()
                    assert a == pytest.approx(b, rel=1e-10, abs=1e-12, nan_ok=True), (name, share, rank, key)


@pytest.mark.parametrize("index", range(9))
def test_update_never_looks_at_a_value(index):
    metric, feed = metrics()[index]
    metric.to("meta")  # tensors without values: whoever looks at one fails
    features, logits, target, _ = (value.to("meta") for value in data())
    feed(metric, features, logits, target)
    assert all(state.device.type == "meta" for state in metric.sums)


@pytest.mark.parametrize("index", range(9))
def test_casts_autocast_and_inference_mode_change_nothing(index):
    features, logits, target, _ = data()
    (plain, feed), (treated, _) = metrics()[index], metrics()[index]
    feed(plain, features, logits, target)
    feed(plain, features + 1, logits + 1, target)
    module = torch.nn.ModuleList([treated]).to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        feed(module[0], features, logits, target)
    feed(module.half()[0], features + 1, logits + 1, target)
    found, expected = treated.compute(), plain.compute()
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.slow
def test_what_layers_had_before_training_leaves_out_the_padding_of_an_uneven_shard():
    found = []
    for devices in (1, 2):  # of two, one repeats the first image as its fifth
        L.seed_everything(3, verbose=False)
        run = trainer(devices, [CollapseMonitor(on_error="raise")], max_epochs=1, num_sanity_val_steps=-1)
        run.fit(Classifier(), DataLoader(dataset(16), batch_size=8), DataLoader(dataset(9, seed=1), batch_size=5))
        keys = ("effective_rank", "mean_cosine")
        found.append([float(run.callback_metrics[f"failures/collapse/initial/{key}/penultimate"]) for key in keys])
    assert found[1] == pytest.approx(found[0], rel=1e-6)
