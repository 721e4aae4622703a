import pytest
import torch

from lightning_failures import LayerProbes
from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.functional import class_moments, linear_discriminant, most_lost
from lightning_failures.metrics import MOST_TESTED
from tests.processes import run_on_processes


def data(images=600, seed=0):
    """Three classes in a plane of six features; the later layer keeps one of its axes."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 3, (images,), generator=generator)
    centres = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    rows = 0.5 * torch.randn(images, 6, generator=generator)
    rows[:, :2] += centres[target]
    return {"early": rows, "late": rows[:, :1]}, target


def feed(probes, features, target, batch):
    for start in range(0, len(target), batch):
        part = slice(start, start + batch)
        probes.update({name: rows[part] for name, rows in features.items()}, target[part])
    return probes.compute()


@pytest.mark.parametrize("batch", [1, 7, 50, 600])
def test_probes_are_fitted_on_even_images_and_tested_on_odd_ones_under_any_cut(batch):
    features, target = data()
    probes = LayerProbes({"early": 6, "late": 1}, 3)
    values = feed(probes, features, target, batch)
    for name, rows in features.items():
        reference = linear_discriminant(class_moments(rows[::2], target[::2], 3))
        expected = (reference.predict(rows[1::2]) == target[1::2]).double().mean()
        assert values[f"probe_accuracy/{name}"] == pytest.approx(float(expected))
    assert probes.lost == "late"
    change = float(values["probe_accuracy/late"] - values["probe_accuracy/early"])
    assert float(values["probe_change/late"]) == pytest.approx(change)
    assert values["probe_change_low/late"] < change < values["probe_change_high/late"] < 0


def test_labels_without_a_relation_to_the_features_are_not_learnt_by_heart():
    features, _ = data(60)
    wide = {"early": torch.randn(60, 40, generator=torch.Generator().manual_seed(1)), "late": features["late"]}
    target = torch.randint(0, 3, (60,), generator=torch.Generator().manual_seed(2))
    values = feed(LayerProbes({"early": 40, "late": 1}, 3), wide, target, 20)
    assert values["probe_accuracy/early"] < 0.6


def test_a_layer_that_loses_nothing_is_not_named_and_a_reset_forgets():
    features, target = data()
    probes = LayerProbes({"early": 6, "late": 6}, 3)
    same = {"early": features["early"], "late": 3 * features["early"]}
    first = feed(probes, same, target, 100)
    assert probes.lost is None
    probes.reset()
    assert feed(probes, same, target, 100) == first


def test_without_images_accuracies_are_nan_and_say_why():
    probes = LayerProbes({"early": 6, "late": 1}, 3)
    values = probes.compute()
    assert all(value.isnan() for value in values.values())
    assert probes.undefined == dict.fromkeys(values, "too few images, or fewer than two classes")


def test_the_rows_that_are_kept_are_bounded():
    probes = LayerProbes({"only": 1}, 2)
    for _ in range(6):
        probes.update({"only": torch.randn(1000, 1)}, torch.arange(1000) % 2)
    assert sum(len(rows) for rows in probes._rows["only"]) == MOST_TESTED


def test_computing_twice_counts_no_image_twice():
    features, target = data()
    probes = LayerProbes({"early": 6, "late": 1}, 3)
    first = feed(probes, features, target, 100)
    assert probes.compute() == first
    assert probes.tested["late"].compute()["images"] == 300


def test_rows_that_do_not_fit_the_layers_say_so():
    probes = LayerProbes({"net.0": 2}, 3)
    with pytest.raises(UnknownNameError) as unknown:
        probes.update({"net.1": torch.zeros(3, 2)}, torch.zeros(3, dtype=torch.int64))
    assert str(unknown.value) == (
        "LayerProbes.update: the layer 'net.0' has no rows; given net.1. Pass rows of every layer."
    )
    with pytest.raises(InputError) as short:
        probes.update({"net.0": torch.zeros(2, 2)}, torch.zeros(3, dtype=torch.int64))
    assert str(short.value) == (
        "LayerProbes.update: rows and labels differ in number; given 2 rows of net.0 for 3 labels. "
        "Pass one row per label."
    )
    with pytest.raises(InputError, match=r"LayerProbes\.update: the target is not integer"):
        probes.update({"net.0": torch.zeros(3, 2)}, torch.zeros(3))
    with pytest.raises(InputError, match=r"LayerProbes\.update: the number of features of net\.0 differs"):
        probes.update({"net.0": torch.zeros(3, 4)}, torch.zeros(3, dtype=torch.int64))


def test_images_without_a_label_are_neither_fitted_nor_tested():
    features, target = data()
    known = target.clone()
    known[100:] = torch.tensor([-1, 3, 7, -100]).repeat(125)
    values = feed(LayerProbes({"early": 6, "late": 1}, 3), features, known, 50)
    few = {name: rows[:100] for name, rows in features.items()}
    assert values == feed(LayerProbes({"early": 6, "late": 1}, 3), few, target[:100], 50)


def test_the_place_in_the_dataset_says_which_half_an_image_is_of():
    features, target = data()
    order = torch.randperm(600, generator=torch.Generator().manual_seed(3))
    shuffled = LayerProbes({"early": 6, "late": 1}, 3)
    shuffled.update({name: rows[order] for name, rows in features.items()}, target[order], order)
    plain = feed(LayerProbes({"early": 6, "late": 1}, 3), features, target, 600)
    assert {key: float(value) for key, value in shuffled.compute().items()} == pytest.approx(
        {key: float(value) for key, value in plain.items()}
    )


def shard(rank, world, bounds):
    """The probes of one process, whose images are a slice of the data; the last process may have none."""
    features, target = data(120)
    part = slice(bounds[rank], bounds[rank + 1])
    probes = LayerProbes({"early": 6, "late": 1}, 3)
    if bounds[rank] < bounds[rank + 1]:
        probes.update({name: rows[part] for name, rows in features.items()}, target[part], torch.arange(120)[part])
    return {key: float(value) for key, value in probes.compute().items()}, probes.lost


@pytest.mark.slow
@pytest.mark.parametrize("bounds", [(0, 51, 120), (0, 120, 120)])
def test_probes_of_two_processes_are_those_of_one(bounds):
    whole = shard(0, 1, (0, 120))
    for values, lost in run_on_processes(2, shard, bounds):
        assert values == pytest.approx(whole[0], rel=1e-9)
        assert lost == whole[1] == "late"


def test_of_several_layers_that_lose_the_one_that_loses_most_is_named():
    values = {
        "probe_change/b": torch.tensor(-0.1),
        "probe_change_high/b": torch.tensor(-0.05),
        "probe_change/c": torch.tensor(-0.3),
        "probe_change_high/c": torch.tensor(-0.2),
        "probe_change/d": torch.tensor(-0.5),
        "probe_change_high/d": torch.tensor(0.1),
    }
    assert most_lost(values, ["a", "b", "c", "d"]) == "c"
    assert most_lost(values, ["a", "b"]) == "b"
    assert most_lost(values, ["a"]) is None
