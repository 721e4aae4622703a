"""How well groups and classes are read from features: on random data, from a plain restatement, and in a run."""

import math

import lightning as L
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lightning_failures import GroupErrorMonitor
from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.functional import class_moments, clustered_rate, feature_reading, linear_discriminant, wilson
from lightning_failures.observe.observation import Observation
from tests.processes import run_on_processes
from tests.runs import fit
from tests.test_leave_one_group_out import rows_of


def read_slowly(rows: Tensor, labels: Tensor) -> Tensor:
    """A model of one half reads the other, one image after the other."""
    right = []
    for row in range(len(rows)):
        fit = [other for other in range(len(rows)) if other // 2 % 2 != row // 2 % 2]
        model = linear_discriminant(class_moments(rows[fit], labels[fit], int(labels.max()) + 1))
        right.append(bool(model.predict(rows[row]) == labels[row]))
    return torch.tensor(right)


def test_shares_are_those_of_a_plain_restatement() -> None:
    rows, target, group = rows_of(n=60, shift=0.7, groups=3)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    of_group, of_label = read_slowly(rows[order], group[order]), read_slowly(rows[order], target[order])
    found = feature_reading(rows, target, group * 17 - 5)
    assert found.group_read == of_group.double().mean()
    assert (found.group_read_low, found.group_read_high) == wilson(of_group.sum(), torch.tensor(60))
    assert found.group_chance == group.bincount().max().double() / 60
    assert found.label_read == of_label.double().mean()
    assert found.label_chance == target.bincount().max().double() / 60
    assert bool(found.label_read_low.isnan())  # three groups


def test_the_interval_of_the_class_counts_groups() -> None:
    rows, target, group = rows_of(n=300, shift=0.5, groups=9)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    right = read_slowly(rows[order], target[order]).long()
    rate = clustered_rate(group[order].bincount(right), group.bincount())
    found = feature_reading(rows, target, group)
    assert (found.label_read_low, found.label_read_high) == (rate.low, rate.high)


def test_a_group_is_read_where_it_moves_the_features_and_not_where_it_does_not() -> None:
    moved, still = (feature_reading(*rows_of(n=800, shift=shift)) for shift in (3.0, 0.0))
    assert moved.group_read > 0.9
    assert moved.group_read_within > 0.9
    assert moved.robustness_index < 0.3
    assert still.group_read_low < still.group_chance < 0.25
    assert still.group_read < 0.25
    assert still.label_read > 0.6
    assert still.robustness_index > moved.robustness_index


def test_a_group_that_holds_one_class_is_read_by_that_and_not_within_the_class() -> None:
    rows, target, _ = rows_of(n=800)
    own = torch.randint(2, (800,), generator=torch.Generator().manual_seed(3))
    found = feature_reading(rows, target, 2 * target + own)
    assert found.group_read > found.group_chance + 0.15
    assert found.group_read_within < found.group_chance_within + 0.05


def test_the_robustness_index_is_that_of_the_neighbours_of_scikit_learn() -> None:
    rows, target, group = rows_of(n=200, shift=1.0)
    near = NearestNeighbors(n_neighbors=11).fit(rows.double().numpy()).kneighbors(rows.double().numpy())[1][:, 1:]
    alike = target[torch.tensor(near)] == target[:, None]
    together = group[torch.tensor(near)] == group[:, None]
    expected = (alike & ~together).sum() / ((alike & ~together).sum() + (~alike & together).sum())
    assert float(feature_reading(rows, target, group).robustness_index) == pytest.approx(float(expected))


@pytest.mark.parametrize(
    ("groups", "defined"),
    [
        (torch.zeros(64).long(), False),  # one group
        (torch.arange(64) // 4, False),  # of four images each
        (torch.arange(64) // 63, False),  # one of 63 images and one of 1
        (torch.arange(64) // 32, True),
    ],
    ids=["one", "small", "one and a single image", "two"],
)
def test_nothing_is_read_of_one_group_or_of_small_ones(groups: Tensor, defined: bool) -> None:
    rows, target, _ = rows_of(n=64)
    found = feature_reading(rows, target, groups)
    read = [name for name, value in found._asdict().items() if not bool(value.isnan())]
    assert ("group_read" in read, "label_read" in read) == (defined, defined)
    assert ("robustness_index" in read) == (len(groups.unique()) > 1)


def test_features_that_do_not_vary_tell_nothing() -> None:
    found = feature_reading(torch.ones(64, 3), torch.arange(64) % 2, torch.arange(64) // 32)
    assert bool(found.group_read.isnan())
    assert bool(found.label_read.isnan())


def test_one_class_leaves_the_group_to_be_read() -> None:
    rows, _, group = rows_of(n=200, shift=3.0)
    found = feature_reading(rows, torch.zeros(200).long(), group)
    assert found.group_read > 0.8
    assert bool(found.label_read.isnan())


# -- live


class Scanned(Dataset):
    """Rows of two classes from three scanners; the scanner shows in the third number, where it does."""

    def __init__(self, images: int, shows: bool, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        label = torch.randint(2, (images,), generator=generator)
        scanner = torch.randint(3, (images,), generator=generator)
        rows = torch.randn(images, 4, generator=generator)
        rows[:, 0] += 3 * label
        rows[:, 2] += 4.0 * scanner * shows
        self.rows = list(zip(rows, label.tolist(), scanner.tolist(), strict=True))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> tuple[Tensor, int, int]:
        return self.rows[row]


class Passing(L.LightningModule):
    """Its head sees the rows as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Identity(), nn.Linear(4, 2)

    def step(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(self.head(self.body(batch[0])), batch[1])

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> Tensor:
        return self.step(batch)

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> Tensor:
        return self.step(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def watched(shows: bool, images: int = 200, batch: int = 50) -> GroupErrorMonitor:
    valid = Scanned(images, shows, 1)
    monitor = GroupErrorMonitor("2", on_error="raise")
    fit([monitor], Passing(), data=(DataLoader(Scanned(100, shows, 0), 25), DataLoader(valid, batch)), epochs=1)
    return monitor


@pytest.mark.parametrize("shows", [True, False])
def test_a_run_says_what_its_features_tell_of_the_scanner_and_of_the_class(shows: bool) -> None:
    monitor = watched(shows)
    rows, labels, scanners = zip(*Scanned(200, shows, 1).rows, strict=True)
    expected = feature_reading(torch.stack(rows), torch.tensor(labels), torch.tensor(scanners))
    for key, value in expected._asdict().items():
        torch.testing.assert_close(monitor.values[key], value, rtol=0, atol=1e-12, equal_nan=True)
    assert (float(monitor.values["group_read"]) > 0.9) == shows
    assert (float(monitor.values["group_read"]) < 0.5) == (not shows)
    assert monitor.values["label_read"] > 0.85
    assert monitor.values["sampled"] == 200
    assert "fewer than 4 groups" in monitor.undefined["label_read_low"]


def test_the_same_is_read_however_the_batches_are_cut_and_the_sample_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lightning_failures.callbacks.groups.monitor.MOST", 128)
    one, other = watched(True, batch=50), watched(True, batch=7)
    assert one.values["sampled"] == other.values["sampled"] == 128
    for key in ("group_read", "label_read", "group_read_within", "robustness_index"):
        assert one.values[key] == other.values[key]


@pytest.mark.parametrize(
    ("features", "why"),
    [
        ({}, "the input of the classifier head, one row for each image, was not found"),
        ({"penultimate": torch.zeros(8, 3)}, "a step calls the head on several views of an image"),
    ],
    ids=["none", "two views"],
)
def test_features_that_are_not_there_are_the_reason(features: dict[str, Tensor], why: str) -> None:
    monitor, four = GroupErrorMonitor("2"), torch.zeros(4, dtype=torch.int64)
    run, module = fit([], Passing(), data=(DataLoader(Scanned(60, True, 0), 20), DataLoader(Scanned(60, True, 1), 20)))
    seen = Observation(None, targets=four, features=features)
    monitor._keep(EvaluationContext.of(run, module), seen, four, four, 0)
    found, said = monitor._read_features()
    assert said == why
    assert math.isnan(found["group_read"])
    assert found["sampled"] == 0


def read_of_shard(rank: int, world: int, cuts: list[int]) -> dict[str, float]:
    """What the monitor reads, with the rows of this rank alone in its sample."""
    rows, target, group = rows_of(n=300, shift=1.0)
    target[7], rows[8, 0] = -1, torch.nan
    monitor = GroupErrorMonitor("2")
    start, end = cuts[rank], cuts[rank + 1]
    for first in range(start, end, 40):
        some = torch.arange(first, min(first + 40, end))
        monitor._sample.add(torch.arange(len(some)), some, rows[some], target[some], group[some])
    found, why = monitor._read_features()
    assert why is None
    return {key: float(value) for key, value in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize("cuts", [[0, 260, 300], [0, 30, 30, 300]], ids=["two", "three, one without images"])
def test_processes_read_what_one_reads(cuts: list[int]) -> None:
    whole = read_of_shard(0, 1, [0, 300])
    assert whole["sampled"] == 298
    for found in run_on_processes(len(cuts) - 1, read_of_shard, cuts):
        assert found == whole
