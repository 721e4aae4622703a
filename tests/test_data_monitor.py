"""Images on both sides of the split, more than once, or under two labels, found while a network trains."""

import math
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import DataMonitor, FailureDiagnosis
from lightning_failures.callbacks.data import ImageRecord
from lightning_failures.observe import Observation
from tests.processes import run_on_processes
from tests.runs import CLASSES, Classifier, dataset, fit, trainer

Data = tuple[Tensor, Tensor]


def images(n: int, seed: int) -> Data:
    return dataset(n, seed=seed).tensors


def joined(*parts: Data) -> Data:
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def some(data: Data, number: int, shift: int = 0) -> Data:
    """The first few, with other labels where they are shifted."""
    return data[0][:number], (data[1][:number] + shift) % CLASSES


def loader(data: Data, size: int = 16, shuffle: bool = False) -> DataLoader[Any]:
    return DataLoader(TensorDataset(*data), batch_size=size, shuffle=shuffle)


def watched(
    train: Data, held: Data, module: L.LightningModule | None = None, epochs: int = 3, size: int = 16, **options: Any
) -> tuple[DataMonitor, FailureDiagnosis]:
    monitor, diagnosis = DataMonitor(on_error="raise"), FailureDiagnosis()
    fit(
        [monitor, diagnosis],
        module,
        data=(loader(train, size, shuffle=True), loader(held, size)),
        epochs=epochs,
        **options,
    )
    return monitor, diagnosis


def findings(diagnosis: FailureDiagnosis) -> list[tuple[str, str]]:
    return [(finding.rule, finding.severity) for finding in diagnosis.findings]


TRAIN, HELD = images(120, seed=0), images(60, seed=1)


def test_data_without_copies_are_silent_and_every_figure_is_known() -> None:
    monitor, diagnosis = watched(TRAIN, HELD)
    assert {key: float(value) for key, value in monitor.values.items() if key != "leakage_high"} == {
        "leakage": 0,
        "leakage_low": 0,
        "unseen_classes": 0,
        "unseen_class_images": 0,
        "leaked": 0,
        "duplicates": 0,
        "contradicting_labels": 0,
        "training_duplicates": 0,
        "training_contradicting_labels": 0,
        "images": 60,
        "training_images": 120,
        "recognised": 1,
        "one_in": 1,
        "blank": 0,
        "training_blank": 0,
    }
    assert monitor.undefined == {}
    assert monitor.not_watched == {}
    assert findings(diagnosis) == []


@pytest.mark.parametrize("size", [7, 120])
def test_planted_copies_are_found_at_the_first_evaluation_under_any_cut(size: int) -> None:
    held = joined(HELD, some(TRAIN, 3), some(HELD, 12), (TRAIN[0][3:6], (TRAIN[1][3:6] + 1) % CLASSES))
    monitor, diagnosis = watched(TRAIN, held, size=size, epochs=1)
    values = {key: float(value) for key, value in monitor.values.items()}
    assert (values["leaked"], values["images"]) == (6, 78)
    assert values["leakage"] == 6 / 78
    assert values["leakage_low"] < 6 / 78 < values["leakage_high"]
    assert values["duplicates"] == 12 / 78
    assert values["contradicting_labels"] == 3 / 78
    assert values["training_contradicting_labels"] == 3 / 120
    assert math.isnan(values["recognised"])
    assert monitor.undefined == {"recognised": "there was no second epoch of training"}
    assert findings(diagnosis) == [
        ("leakage", "warning"),
        ("repeated_validation_images", "warning"),
        ("contradicting_validation_labels", "warning"),
        ("contradicting_training_labels", "warning"),
    ]
    assert diagnosis.findings[0].epoch == 0
    assert diagnosis.findings[0].message == (
        "6 of 78 validation images (7.7%) were trained on: each is equal, byte for byte, to a training image. The "
        "accuracy on validation tells less of new images than it seems to."
    )


def test_a_tenth_of_leaked_images_is_a_failure_and_stands_though_nothing_is_hashed_any_more() -> None:
    monitor, diagnosis = watched(TRAIN, joined(HELD, some(TRAIN, 10)), epochs=4)
    assert findings(diagnosis) == [("leakage", "failure")]
    assert monitor.values["leakage"] == 1 / 7
    assert monitor.record.images("held") == 0  # of the last evaluation


class Augments(Classifier):
    """Brightens training images by chance, as a user's augmentation on the device does."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        inputs, target = batch
        return (inputs + 0.1 * torch.rand(len(inputs), 1, 1, 1), target) if self.trainer.training else (inputs, target)


def test_augmentation_makes_it_blind_and_that_is_said() -> None:
    monitor, diagnosis = watched(TRAIN, joined(HELD, some(TRAIN, 10)), Augments())
    assert monitor.values["leakage"].isnan()
    assert monitor.values["recognised"] == 0
    why = "training images are augmented or drawn anew each epoch, so that no copy is recognised; audit_data can"
    assert monitor.undefined == dict.fromkeys(("leakage", "leakage_low", "leakage_high"), why)
    assert monitor.not_watched == {"images on both sides of the split": why}
    assert findings(diagnosis) == []


def without(data: Data, label: int) -> Data:
    """The images of all other classes."""
    keep = data[1] != label
    return data[0][keep], data[1][keep]


@pytest.mark.parametrize("module", [Classifier, Augments])
def test_a_class_that_validation_asks_for_and_training_never_shows_is_named(module: type[Classifier]) -> None:
    monitor, diagnosis = watched(without(TRAIN, 2), HELD, module())
    asked = int((HELD[1] == 2).sum())
    assert findings(diagnosis) == [("unseen_classes", "failure")]
    assert (monitor.values["unseen_classes"], monitor.values["largest_unseen_class"]) == (1, 2)
    assert monitor.values["unseen_class_images"] == asked / len(HELD[1])
    assert diagnosis.findings[0].message == (
        f"Validation asks for classes that were never shown: {asked / len(HELD[1]):.1%} of its images are of a class "
        "that no training image of the first epoch has. In all 1; the one with most images is class 2."
    )


def test_a_class_that_only_training_has_is_no_fault() -> None:
    assert findings(watched(TRAIN, without(HELD, 2))[1]) == []


def test_whether_a_class_was_never_shown_is_not_known_before_the_first_epoch_is_over() -> None:
    in_order = tuple(part[TRAIN[1].argsort()] for part in TRAIN)
    monitor, diagnosis = DataMonitor(on_error="raise"), FailureDiagnosis()
    known = []
    note = L.pytorch.callbacks.LambdaCallback(
        on_validation_end=lambda trainer, module: known.append(monitor.values.get("unseen_classes", torch.tensor(-1)))
    )
    data = (loader(in_order, 30), loader(HELD))
    fit([monitor, diagnosis, note], data=data, epochs=1, val_check_interval=0.5)
    assert [float(value) for value in known if value.isfinite()] == [-1, 0]  # the sanity check, and the last one
    assert diagnosis.history == []


class Segmenter(Classifier):
    """Tells a class of each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Conv2d(6, CLASSES, 1)


def test_maps_of_labels_are_no_classes_that_were_never_shown() -> None:
    train, held = ((inputs, torch.randint(0, CLASSES, (len(inputs), 5, 5))) for inputs, _ in (TRAIN, HELD))
    monitor, diagnosis = watched(train, held, Segmenter())
    assert monitor.values["unseen_classes"].isnan()
    assert findings(diagnosis) == []


def test_blank_images_are_no_leak() -> None:
    blank = torch.full((30, *TRAIN[0].shape[1:]), 0.25), torch.arange(30) % CLASSES
    monitor, diagnosis = watched(joined(TRAIN, blank), joined(HELD, blank))
    assert monitor.values["leakage"] == 0
    assert (monitor.values["images"], monitor.values["training_images"]) == (60, 120)
    assert findings(diagnosis) == []


def test_constant_inputs_are_named_as_such_on_their_side() -> None:
    held = torch.full_like(HELD[0], 0.25), HELD[1]
    monitor, diagnosis = watched(TRAIN, held)
    assert (monitor.values["blank"], monitor.values["training_blank"]) == (1, 0)
    (finding,) = diagnosis.findings
    assert (finding.rule, finding.severity, finding.epoch) == ("blank_validation_images", "failure", 0)
    assert finding.message == (
        "The inputs are constant: in all the validation images each channel has one value throughout, the same in each "
        "of them, so that nothing can be told from them."
    )
    monitor, diagnosis = watched((torch.zeros_like(TRAIN[0]), TRAIN[1]), held)
    assert findings(diagnosis) == [("blank_training_images", "failure"), ("blank_validation_images", "failure")]
    assert monitor.not_watched == {
        "images on both sides of the split": "in each image every channel has one value throughout"
    }


def test_evenly_lit_samples_each_with_its_own_spectrum_are_no_constant_inputs() -> None:
    even = [(data[0].mean((2, 3), keepdim=True).expand_as(data[0]).clone(), data[1]) for data in (TRAIN, HELD)]
    monitor, diagnosis = watched(*even)
    assert (monitor.values["blank"], monitor.values["training_blank"]) == (0, 0)
    assert findings(diagnosis) == []


def test_images_of_one_number_are_not_blank() -> None:
    record = ImageRecord()
    record.add("held", Observation(None, inputs=torch.rand(5, 1)))
    assert math.isnan(record.blank("held"))


def test_real_digits_are_silent() -> None:
    found = pytest.importorskip("sklearn.datasets").load_digits()
    pixels = torch.tensor(found.images, dtype=torch.float32)[:, None].expand(-1, 6, -1, -1) / 16
    digits = pixels, torch.tensor(found.target) % CLASSES
    monitor, diagnosis = watched(
        (digits[0][:1200], digits[1][:1200]), (digits[0][1200:], digits[1][1200:]), epochs=1, size=200
    )
    assert (monitor.values["images"], monitor.values["training_images"]) == (597, 1200)
    assert monitor.values["leakage"] == monitor.values["duplicates"] == 0
    assert [rule for rule, _ in findings(diagnosis) if rule in {"leakage", "repeated_validation_images"}] == []


def test_test_images_are_compared_with_what_was_trained_on_and_without_training_nothing_is_said() -> None:
    leaked = loader(joined(HELD, some(TRAIN, 10)))
    monitor = DataMonitor(on_error="raise")
    run, module = fit([monitor], data=(loader(TRAIN), loader(HELD)), epochs=3)
    assert monitor.values["leakage"] == 0
    run.test(module, leaked, verbose=False)
    assert monitor.values["leakage"] == 1 / 7
    alone = DataMonitor(on_error="raise")
    trainer([alone]).validate(module, loader(joined(HELD, some(HELD, 10))), verbose=False)
    assert alone.values["duplicates"] == 1 / 7
    assert alone.values["leakage"].isnan()
    assert alone.undefined["leakage"] == "no training image was seen before"


def test_a_run_without_validation_is_not_watched() -> None:
    monitor = DataMonitor(on_error="raise")
    with pytest.warns(match="nothing is evaluated"):
        fit([monitor], data=(loader(TRAIN), loader(HELD)), limit_val_batches=0)
    assert monitor.record.images("train") == 0
    assert list(monitor.not_watched) == ["images on both sides of the split"]


@pytest.mark.parametrize("epochs", [1, 3])
def test_training_is_bit_for_bit_what_it_is_without(epochs: int) -> None:
    data = (loader(TRAIN, shuffle=True), loader(HELD))
    with_it, without = (fit(callbacks, data=data, epochs=epochs)[1] for callbacks in ([DataMonitor()], []))
    assert all(a.equal(b) for a, b in zip(with_it.state_dict().values(), without.state_dict().values(), strict=True))


# -- the record


def observed(data: Data) -> Observation:
    return Observation(None, inputs=data[0], targets=data[1])


def test_a_record_of_more_images_than_it_keeps_is_a_sample_with_the_same_shares() -> None:
    train, held = images(4000, seed=0), images(1000, seed=1)
    held = joined(held, some(train, 1000))
    cuts = []
    for size in (100, 700):
        record = ImageRecord(most=600)
        for side, data in (("train", train), ("held", held)):
            for part in range(0, len(data[0]), size):
                record.add(side, observed((data[0][part : part + size], data[1][part : part + size])))
        cuts.append(record.gathered("held"))
        assert record.one_in == 8
    sets = cuts[0]
    assert all(one.equal(other) for one, other in zip(*cuts, strict=True))
    assert len(sets.train) <= 600
    assert record.images("train") <= 1200
    assert torch.isin(sets.held, sets.train).double().mean() == pytest.approx(0.5, abs=0.1)


def test_one_image_over_and_over_again_ends() -> None:
    record = ImageRecord(most=50)
    same = images(1, seed=0)[0].expand(200, -1, -1, -1), torch.zeros(200, dtype=torch.int64)
    record.add("train", observed(same))
    assert record.images("train") in (0, 200)
    assert len(record.gathered("held").train) in (0, 200)


def test_maps_of_labels_contradict_where_they_differ() -> None:
    inputs = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    maps = torch.zeros(3, 4, 4, dtype=torch.int64)
    record = ImageRecord()
    record.add("train", Observation(None, inputs=inputs, targets=maps))
    maps = maps.clone()
    maps[0], maps[1, 2, 2] = 1, 1
    record.add("held", Observation(None, inputs=inputs, targets=maps))
    sets = record.gathered("held")
    assert (sets.held_labels != sets.train_labels).tolist() == [True, True, False]


#: Which third of the images each of two processes has: uneven shards, and one that is empty.
SHARDS = (((0, 1), (2,)), ((0, 1, 2), ()))


def gathered(rank: int, world: int, train: Data, held: Data) -> list[tuple[Tensor, ...]]:
    told = []
    for shards in SHARDS:
        record = ImageRecord(most=1200)
        for side, data in (("train", train), ("held", held)):
            place = torch.arange(len(data[0])) % 3
            mine = torch.isin(place, torch.tensor(shards[rank] if world > 1 else (0, 1, 2)))
            record.add(side, observed((data[0][mine], data[1][mine])), world)
        told.append(tuple(record.gathered("held")))
    return told


@pytest.mark.slow
def test_two_processes_hold_the_images_of_one_and_one_of_them_may_be_empty() -> None:
    train, held = images(301, seed=0), joined(images(100, seed=1), some(images(301, seed=0), 40))
    one = gathered(0, 1, train, held)[0]
    for told in run_on_processes(2, gathered, train, held):
        for sets in told:
            for place in (0, 2):  # in another order
                pairs = [
                    sorted(zip(each[place].tolist(), each[place + 1].tolist(), strict=True)) for each in (one, sets)
                ]
                assert pairs[0] == pairs[1]
