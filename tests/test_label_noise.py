"""Labels that are planted wrong are ranked first and counted, from the logits of training steps that pass by."""

import json
import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import FailureDiagnosis, LabelNoiseMonitor
from lightning_failures.callbacks.data import LabelRecord
from lightning_failures.errors import InputError
from lightning_failures.functional import error_norms, margins
from tests.processes import run_on_processes
from tests.runs import fit, hooks_on

CLASSES = 4


class Net(L.LightningModule):
    """A perceptron on spectra; training inputs may be augmented."""

    def __init__(self, augment: bool = False) -> None:
        super().__init__()
        self.augment = augment
        self.net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, CLASSES))

    def training_step(self, batch: Any, _: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Any, _: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if not (self.augment and self.trainer.training):
            return batch
        return (batch[0] + 0.1 * torch.randn_like(batch[0]), *batch[1:])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 3e-3)


def planted(noise: float, seed: int, n: int = 800) -> tuple[Tensor, Tensor, Tensor]:
    """Spectra of four classes, labels of which some are wrong by chance, and which."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.randint(CLASSES, (n,), generator=generator)
    rows = 2 * torch.randn(CLASSES, 20, generator=torch.Generator().manual_seed(9))[true]
    rows = rows + 1.5 * torch.randn(n, 20, generator=generator)
    flip = torch.rand(n, generator=generator) < noise
    shift = torch.randint(1, CLASSES, (n,), generator=generator)
    return rows, torch.where(flip, (true + shift) % CLASSES, true), flip


def watched(
    *columns: Tensor, module: Net | None = None, epochs: int = 5, shuffle: bool = True, ids: Any = None, **options: Any
) -> tuple[LabelNoiseMonitor, FailureDiagnosis, L.LightningModule]:
    monitor, diagnosis = LabelNoiseMonitor(ids, epochs=5, on_error="raise"), FailureDiagnosis()
    held = planted(0, 100, 100)
    extra = tuple(column[:100] for column in columns[2:])
    data = (
        DataLoader(TensorDataset(*columns), 50, shuffle=shuffle),
        DataLoader(TensorDataset(*held[:2], *extra), 50),
    )
    _, module = fit([monitor, diagnosis], module or Net(), data=data, epochs=epochs, **options)
    return monitor, diagnosis, module


def first_rows(monitor: LabelNoiseMonitor, rows: Tensor, labels: Tensor) -> list[int]:
    return [place for place, _ in monitor.rows_in(DataLoader(TensorDataset(rows, labels), 64))]


@pytest.mark.parametrize(("noise", "found"), [(0.0, []), (0.25, ["label_noise"]), (0.4, ["label_noise"])])
def test_wrong_labels_are_ranked_first_and_their_share_is_within_its_interval(noise: float, found: list[str]) -> None:
    rows, labels, flip = planted(noise, seed=4)
    monitor, diagnosis, module = watched(rows, labels)
    values = {key: float(value) for key, value in monitor.values.items()}
    assert values["labels"] == 800
    assert values["mislabelled_low"] <= float(flip.double().mean()) <= values["mislabelled_high"]
    assert values["mislabelled"] == pytest.approx(float(flip.double().mean()), abs=0.09)
    assert [finding.rule for finding in diagnosis.findings] == found
    if found:
        first = first_rows(monitor, rows, labels)
        assert len(first) == 100
        assert flip[first].double().mean() >= 0.97
    assert [row.aum for row in monitor.ranked] == sorted(row.aum for row in monitor.ranked)
    assert {row.epochs for row in monitor.ranked} == {5}
    assert monitor.undefined == {}
    assert hooks_on(module) == 0


def test_rows_of_a_loader_in_order_are_named_and_ids_are_in_any_order() -> None:
    rows, labels, flip = planted(0.3, seed=4)
    monitor, _, _ = watched(rows, labels, shuffle=False)
    first = [row.image for row in monitor.ranked]
    assert first == first_rows(monitor, rows, labels)
    assert all(row.label == int(labels[row.image]) for row in monitor.ranked)
    monitor, _, _ = watched(rows, labels, torch.arange(800) + 5000, ids="2")
    assert flip[torch.tensor([row.image for row in monitor.ranked]) - 5000].double().mean() >= 0.97
    monitor, _, _ = watched(rows, labels, torch.arange(800), ids=lambda batch: [f"n{i}" for i in batch[2].tolist()])
    assert str(monitor.ranked[0].image).startswith("n")


def test_augmented_images_cannot_be_told_apart_without_ids_and_that_is_said() -> None:
    rows, labels, flip = planted(0.3, seed=4)
    monitor, diagnosis, _ = watched(rows, labels, module=Net(augment=True))
    why = "training images are augmented or drawn anew each epoch, so that none is recognised: name them with ids="
    assert monitor.not_watched == {"labels of training images": why}
    assert set(monitor.undefined) == {"mislabelled", "mislabelled_low", "mislabelled_high", "negative_margins"}
    assert set(monitor.undefined.values()) == {why}
    assert monitor.ranked == []
    assert diagnosis.findings == []
    named, diagnosis, _ = watched(rows, labels, torch.arange(800), module=Net(augment=True), ids="2")
    assert flip[torch.tensor([row.image for row in named.ranked])].double().mean() >= 0.97
    assert [finding.rule for finding in diagnosis.findings] == ["label_noise"]


def test_labels_that_nothing_tells_have_no_share() -> None:
    rows, labels, _ = planted(0.0, seed=4)
    labels = labels[torch.randperm(800, generator=torch.Generator().manual_seed(0))]
    monitor, diagnosis, _ = watched(rows, labels)
    assert monitor.values["mislabelled"].isnan()
    assert monitor.undefined["mislabelled"] == (
        "the network does not tell most labels, even where it is surest, or no better than by chance"
    )
    assert diagnosis.findings == []


def test_two_epochs_are_too_few_for_a_share_and_still_ranked() -> None:
    rows, labels, flip = planted(0.3, seed=4)
    monitor, _, _ = watched(rows, labels, epochs=2)
    assert monitor.undefined["mislabelled"] == "it takes three epochs of training, from the first one on"
    assert flip[first_rows(monitor, rows, labels)].double().mean() >= 0.9
    with pytest.raises(InputError, match=r"LabelNoiseMonitor: too few epochs to watch; given 2\. Pass 3 or more"):
        LabelNoiseMonitor(epochs=2)


def test_the_table_is_logged_once(tmp_path: Path) -> None:
    rows, labels, _ = planted(0.3, seed=4)
    for epochs, folder in ((6, "long"), (3, "short")):
        watched(rows, labels, epochs=epochs, logger=CSVLogger(tmp_path, folder))
        (table,) = tmp_path.glob(f"{folder}/**/label_noise.jsonl")
        lines = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
        assert len(lines) == 100
        assert list(lines[0]) == ["step", "epoch", "image", "label", "predicted", "aum", "el2n", "epochs"]
        assert lines[0]["aum"] <= lines[-1]["aum"]


def test_a_run_without_validation_is_watched_too() -> None:
    rows, labels, flip = planted(0.3, seed=4)
    with pytest.warns(match="nothing is evaluated"):
        monitor, _, _ = watched(rows, labels, limit_val_batches=0)
    assert float(monitor.values["mislabelled"]) == pytest.approx(float(flip.double().mean()), abs=0.09)


def test_training_is_bit_for_bit_what_it_is_without() -> None:
    rows, labels, _ = planted(0.2, seed=4, n=200)
    data = DataLoader(TensorDataset(rows, labels), 50, shuffle=True), DataLoader(TensorDataset(rows, labels), 50)
    start = Net().state_dict()
    states = []
    for callbacks in ([LabelNoiseMonitor()], []):
        module = Net()
        module.load_state_dict(start)
        states.append(fit(callbacks, module, data=data, epochs=3)[1].state_dict())
    assert all(a.equal(b) for a, b in zip(states[0].values(), states[1].values(), strict=True))


# -- the record


def steps(epochs: int = 4, n: int = 300, seed: int = 0) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Images, logits and labels of some epochs, in another order each."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(1, 2**60, (n,), generator=generator)
    labels = torch.randint(CLASSES, (n,), generator=generator)
    labels[::50] = -100
    told = []
    for epoch in range(epochs):
        order = torch.randperm(n, generator=generator)
        logits = torch.randn(n, CLASSES, generator=generator) + (2 + epoch) * nn.functional.one_hot(
            torch.where(images % 5 == 0, images % CLASSES, labels.clamp(min=0)), CLASSES
        )
        told.append((images[order], logits[order], labels[order]))
    return told


def recorded(rank: int, world: int, size: int = 64, empty: bool = False) -> tuple[Any, ...]:
    record = LabelRecord()
    for epoch, (images, logits, labels) in enumerate(steps()):
        mine = slice(rank, None, world) if not empty else slice(0, None if rank == 0 else 0)
        parts = (each[mine].split(size) for each in (images, logits, labels))
        for part in zip(*parts, strict=True):
            if len(part[0]):
                record.add(epoch, *part)
        record.close(epoch)
    numbers, rows = record.lowest(20)
    return record.share, record.why, record.images, record.negative, numbers.tolist(), [tuple(row) for row in rows]


def test_sums_by_image_are_those_of_a_loop_over_images_under_any_cut() -> None:
    told = recorded(0, 1)
    assert told == recorded(0, 1, size=7)
    by_image: dict[int, list[tuple[float, float]]] = {}
    for images, logits, labels in steps():
        known = labels.clamp(min=0)
        each = zip(
            images.tolist(), labels, margins(logits, known).tolist(), error_norms(logits, known).tolist(), strict=True
        )
        for image, label, margin, norm in each:
            if label >= 0:
                by_image.setdefault(image, []).append((margin, norm))
    assert told[2] == len(by_image) == 294
    aum = {image: sum(margin for margin, _ in values) / 4 for image, values in by_image.items()}
    lowest = sorted(aum, key=aum.__getitem__)[:20]
    assert told[4] == lowest
    assert [row[3] for row in told[5]] == pytest.approx([aum[image] for image in lowest])
    assert [row[4] for row in told[5]] == pytest.approx([sum(n for _, n in by_image[image]) / 4 for image in lowest])
    assert told[3] == pytest.approx(sum(value < 0 for value in aum.values()) / 294)
    assert not math.isnan(told[0]["mislabelled"])


def test_logits_that_are_not_finite_and_batches_without_labels_leave_the_rest_as_it_is() -> None:
    record = LabelRecord()
    logits = torch.randn(5, CLASSES, generator=torch.Generator().manual_seed(0))
    logits[1, 2] = torch.nan
    record.add(0, torch.arange(1, 6), logits, torch.tensor([0, 1, 2, -1, 3]))
    record.close(0)
    assert record.images == 3
    assert record.lowest(9)[0].sort().values.tolist() == [1, 3, 5]


def on_two(rank: int, world: int) -> list[tuple[Any, ...]]:
    return [recorded(rank, world), recorded(rank, world, empty=True)]


@pytest.mark.slow
def test_two_processes_tell_what_one_tells_and_one_of_them_may_be_empty() -> None:
    one = recorded(0, 1)
    for told in run_on_processes(2, on_two):
        for each in told:
            assert each[0] == pytest.approx(one[0])
            assert each[1:3] == one[1:3]
            assert each[4] == one[4]
