import pytest
import torch

from lightning_failures import DormantUnits


def relu(n, d, dead=0, seed=0):
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).relu()
    x[:, :dead] = 0
    return x


def values_of(x, batch=32, **kwargs):
    metric = DormantUnits(x.shape[1], **kwargs)
    for part in x.split(batch):
        metric.update(part)
    return metric.compute()


@pytest.mark.parametrize("tau", [0.0, 0.025, 0.9, 1.1])
def test_units_are_dormant_as_sokar_et_al_define_it(tau):
    x = relu(100, 20, dead=3) * torch.linspace(0.01, 1, 20)
    sizes = [sum(abs(v) for v in column) / 100 for column in x.double().T.tolist()]
    scores = [size / (sum(sizes) / 20) for size in sizes]
    values = values_of(x, tau=tau)
    assert values["dormant_units"].item() == sum(score <= tau for score in scores)
    assert values["dormant_share"].item() == pytest.approx(sum(score <= tau for score in scores) / 20)


def test_only_dead_units_are_dormant_at_0():
    assert values_of(relu(50, 16, dead=4), tau=0)["dormant_share"] == 0.25


def test_a_layer_that_is_0_throughout_is_all_dormant():
    assert values_of(torch.zeros(10, 4))["dormant_share"] == 1


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_any_cut_into_batches_gives_the_same_units(batch):
    assert values_of(relu(100, 20, 3), batch) == values_of(relu(100, 20, 3))


def test_no_rows_are_nan_and_say_why():
    metric = DormantUnits(4)
    metric.compute()
    assert metric.undefined == {"dormant_share": "no finite rows", "dormant_units": "no finite rows"}


def test_rows_that_hold_nan_are_left_out_and_counted():
    x = relu(20, 4, dead=1)
    dirty = torch.cat([x, torch.full((2, 4), torch.nan)])
    found = values_of(dirty)
    assert found["non_finite"] == 2
    assert found["images"] == 20
    assert found["dormant_share"] == values_of(x)["dormant_share"]
