"""Errors by group: one by one, and of groups that training has not seen."""

import math

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from lightning_failures import FailureDiagnosis, GroupErrorMonitor
from lightning_failures.errors import InputError
from lightning_failures.functional import FactorCounts, error_difference_interval
from lightning_failures.metrics import GroupErrors
from lightning_failures.metrics.group_errors import NEW_GROUPS
from tests.processes import run_on_processes
from tests.runs import fit
from tests.test_property_monitor import Fixed, nothing, scenes


def answers(images=300, groups=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(4, (images,), generator=generator)
    group = torch.randint(groups, (images,), generator=generator)
    wrong = torch.rand(images, generator=generator) < torch.where(group == 2, 0.7, 0.1)
    return (target + wrong.long()) % 4, target, group * 31 - 5


def test_each_named_group_is_compared_with_all_others():
    preds, target, group = answers()
    metric = GroupErrors()
    metric.names = {2 * 31 - 5: "two", 3 * 31 - 5: "three"}
    metric.update(preds, target, group)
    found = metric.compute()
    for name, number in (("two", 2 * 31 - 5), ("three", 3 * 31 - 5)):
        mine, wrong = group == number, preds != target
        counts = FactorCounts(wrong[mine].sum()[None], mine.sum()[None], wrong.sum(), torch.tensor(len(wrong)))
        low, high = error_difference_interval(counts, 0.975)  # two groups, together 95%
        assert found[f"error/{name}"] == wrong[mine].double().mean()
        assert found[f"difference/{name}"] == pytest.approx(
            float(wrong[mine].double().mean() - wrong[~mine].double().mean())
        )
        assert (found[f"difference_low/{name}"], found[f"difference_high/{name}"]) == (low[0], high[0])
    assert found["groups/all"] == 8


def test_new_groups_are_compared_with_those_of_training_by_groups():
    preds, target, group = answers(groups=12)
    metric = GroupErrors()
    metric.in_training = {number * 31 - 5 for number in range(6)}
    metric.update(preds, target, group)
    found = metric.compute()
    assert found["new_groups"] == 6
    new = ~torch.isin(group, torch.tensor(sorted(metric.in_training)))
    wrong = (preds != target).double()
    assert float(found[f"difference/{NEW_GROUPS}"]) == pytest.approx(float(wrong[new].mean() - wrong[~new].mean()))
    assert found[f"difference_low/{NEW_GROUPS}"] < found[f"difference/{NEW_GROUPS}"]
    metric.in_training = {number * 31 - 5 for number in range(10)}  # two new ones are too few for an interval
    metric._computed = None
    again = metric.compute()
    assert math.isnan(again[f"difference_low/{NEW_GROUPS}"])
    assert "fewer than four of either kind" in metric.undefined[f"difference_low/{NEW_GROUPS}"]


def measure(rank, world, shards):
    preds, target, group = answers()
    metric = GroupErrors()
    metric.names, metric.in_training = {57: "two", 88: "three"}, {57, 88, -5}
    for rows in shards[rank]:
        metric.update(preds[rows], target[rows], group[rows])
    return {key: float(value) for key, value in metric.compute().items()}


@pytest.mark.slow
def test_processes_with_an_empty_shard_give_the_figures_of_one():
    whole = measure(0, 1, [[slice(0, 300)]])
    for found in run_on_processes(3, measure, [[slice(0, 200)], [], [slice(200, 300)]]):
        assert repr(found) == repr(whole)


def test_a_mask_that_is_none_is_an_error():
    metric = GroupErrors()
    with pytest.raises(InputError, match="known is not one bool for each image"):
        metric.update(torch.tensor([0]), torch.tensor([0]), torch.tensor([3]), torch.tensor([3]))


class Studies(Dataset):
    """Images with a label and the study that each is of."""

    def __init__(self, images, labels, studies):
        self.rows = list(zip(images, labels, studies, strict=True))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, row):
        return self.rows[row]


def run(valid_studies, fails_on=nothing, groups="2", epochs=5):
    images, labels = scenes()
    held, held_labels = scenes(seed=1)
    held = held.clone()
    off = torch.tensor([study == "off" for study in valid_studies])
    held[off] -= 0.4
    train = DataLoader(Studies(images, labels, ["A", "B", "C", "D"] * 100), 10, shuffle=True)
    valid = DataLoader(Studies(held, held_labels, valid_studies), 50)
    monitor, diagnosis = GroupErrorMonitor(groups, on_error="raise"), FailureDiagnosis()
    diagnosis.announce = "nothing"
    fit([monitor, diagnosis], Fixed(fails_on), data=(train, valid), epochs=epochs)
    return monitor, [one for one in diagnosis.history if one.cleared is None]


def dark(images):
    return images.mean((1, 2, 3)) < 0.3


def test_a_study_on_another_scale_that_training_has_not_seen_is_named():
    monitor, standing = run(["A", "B", "C", "off"] * 100, dark)
    (finding,) = [one for one in standing if one.subject == "off, not in training"]
    assert (finding.kind, finding.severity) == ("group_shift", "failure")
    assert "Wrong on all 100 images of off, not in training" in finding.message
    assert monitor.values["new_groups"] == 1


def test_groups_that_a_model_is_right_on_raise_nothing():
    monitor, standing = run(["A", "B", "C", "off"] * 100)
    assert not [one for one in standing if one.kind == "group_shift"]
    assert monitor.values["difference/off, not in training"] == 0


def test_of_many_groups_the_largest_are_told_of():
    monitor, _ = run([f"patient {row // 10}" for row in range(400)], epochs=1)
    assert len([key for key in monitor.values if key.startswith("difference/")]) == 12
    assert monitor.values["groups/all"] == 40


def test_of_groups_by_row_it_is_not_known_which_are_new():
    monitor, _ = run(["A"] * 400, groups=[row % 4 for row in range(400)], epochs=1)
    assert math.isnan(monitor.values["new_groups"])
    assert monitor.undefined["new_groups"].startswith("it is not known which groups training has seen")
    assert not [key for key in monitor.values if "not in training" in key]


def test_before_training_has_seen_a_whole_epoch_no_group_is_called_new():
    class Early(GroupErrorMonitor):
        def compute(self, evaluation):
            found = super().compute(evaluation)
            told.append((evaluation.epoch, [key for key in found if "not in training" in key], found["new_groups"]))
            return found

    told = []
    images, labels = scenes()
    train = DataLoader(Studies(images, labels, ["A", "B"] * 200), 10)
    valid = DataLoader(Studies(images, labels, ["A", "off"] * 200), 50)
    fit([Early("2", on_error="raise")], Fixed(nothing), data=(train, valid), epochs=1, val_check_interval=0.5)
    (_, early, unknown), (_, late, new) = told[-2:]
    assert not early
    assert math.isnan(unknown)
    assert "difference/off, not in training" in late
    assert new == 1
