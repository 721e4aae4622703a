"""Slices live: found, described, shown, the same in any batches and on any number of processes."""

import json
import math

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import FailureDiagnosis, SliceMonitor
from lightning_failures.callbacks.slices import SliceSample
from tests.runs import dataset, fit, trainer
from tests.test_distributed import trainer as distributed

KEY = "failures/slices/"


def scenes(images=600, seed=0, striped=0.08):
    """Squares of three kinds in one of three places; some have a stripe below."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % 3
    inputs = 0.5 + 0.05 * torch.randn(images, 1, 9, 9, generator=generator)
    for row, label in enumerate(labels.tolist()):
        inputs[row, 0, 1:4, 3 * label : 3 * label + 3] += 0.5
    striped_rows = torch.rand(images, generator=generator) < striped
    inputs[striped_rows, 0, 6] += 0.7
    return inputs, labels, striped_rows


class Fixed(L.LightningModule):
    """Says of each image where the square is; is wrong on striped ones where it is told to, and on one in ten."""

    def __init__(self, fails=True):
        super().__init__()
        self.fails = fails
        self.scale = nn.Parameter(torch.ones(()))
        self.head = nn.Linear(6, 3)
        with torch.no_grad():
            self.head.weight.copy_(torch.cat([torch.eye(3), torch.zeros(3, 3)], 1) * 20)
            self.head.bias.zero_()

    def forward(self, images):
        places = images[:, 0, 1:4].unflatten(2, (3, 3)).mean((1, 3))
        stripe, noise = images[:, 0, 6].mean(1), images[:, 0, 8]
        wrong = (self.fails & (stripe > 0.8)) | (noise[:, 0] > 0.5 + 0.05 * 1.28)
        places = torch.where(wrong[:, None], places.roll(1, 1), places) * self.scale
        return self.head(torch.cat([places, stripe[:, None], noise[:, 1:3]], 1))

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]), batch_size=len(batch[0]))

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def run(module, images, labels, epochs=4, monitor=None, batch=50, **options):
    monitor = monitor or SliceMonitor(on_error="raise")
    diagnosis = FailureDiagnosis(**options)
    diagnosis.announce = "nothing"
    train = DataLoader(TensorDataset(*scenes(striped=0.0)[:2]), 10)
    made, _ = fit(
        [monitor, diagnosis], module, data=(train, DataLoader(TensorDataset(images, labels), batch)), epochs=epochs
    )
    return made, monitor, diagnosis


def test_striped_images_that_nobody_annotated_are_found():
    images, labels, striped = scenes(seed=1)
    _, monitor, diagnosis = run(Fixed(), images, labels)
    hardest = monitor.slices[0]
    (finding,) = [one for one in diagnosis.findings if one.subject == hardest.name]
    assert (finding.kind, finding.severity) == ("slice_failure", "failure")
    assert finding.message.startswith(f"A group of images fails ({finding.subject}): 100% of ")
    assert "against " in finding.message
    assert hardest.members[striped].double().mean() > 0.6  # a slice is 6% of the images at most
    assert striped[hardest.members].all()
    assert monitor.values[f"error/{hardest.name}"] == 1
    assert monitor.values["found"] >= 1
    assert monitor.values["images/all"] == 600


def test_a_network_that_is_right_on_striped_images_raises_nothing():
    images, labels, _ = scenes(seed=1)
    _, _, diagnosis = run(Fixed(fails=False), images, labels)
    assert not [one for one in diagnosis.history if one.kind == "slice_failure" and one.severity != "watch"]


def test_a_slice_that_is_found_no_more_ends_its_finding():
    images, labels, _ = scenes(seed=1)

    class Mended(Fixed):
        def on_validation_epoch_start(self):
            self.fails = self.current_epoch < 4

    _, monitor, diagnosis = run(Mended(), images, labels, epochs=8)
    (finding,) = [one for one in diagnosis.history if one.subject == "described by large object"]
    assert (finding.kind, finding.cleared) == ("slice_failure", 5)
    assert monitor.values[f"excess/{finding.subject}"] == 0
    assert f"error/{finding.subject}" not in monitor.values


def test_factors_of_the_user_describe_slices_by_name():
    images, labels, _ = scenes(seed=1)

    def stripe(batch):
        return (batch[0][:, 0, 6].mean(1) > 0.8)[:, None]

    monitor = SliceMonitor(stripe, ["striped"], class_names=["left", "middle", "right"], on_error="raise")
    run(Fixed(), images, labels, epochs=1, monitor=monitor)
    assert monitor.slices[0].name.endswith("described by striped")
    assert monitor.slices[0].factors[0].share == 1


@pytest.mark.parametrize("batch", [7, 64, 600])
def test_any_batches_give_the_same_slices(batch):
    images, labels, _ = scenes(seed=1)
    plain, cut = (run(Fixed(), images, labels, epochs=1, batch=each)[1] for each in (50, batch))
    assert {key: float(value) for key, value in plain.values.items()} == pytest.approx(
        {key: float(value) for key, value in cut.values.items()}
    )


def validated(devices):
    """What is logged of 601 images, which no number of processes divides."""
    images, labels, _ = scenes(601, seed=1)
    made = distributed(devices, [SliceMonitor(on_error="raise", detail="full")])
    return made.validate(Fixed(), DataLoader(TensorDataset(images, labels), 50), verbose=False)[0]


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 3])
def test_processes_find_what_one_finds(devices):
    alone, together = ({k: v for k, v in validated(n).items() if k.startswith(KEY)} for n in (1, devices))
    assert together == pytest.approx(alone)
    assert together[f"{KEY}images/all"] == 601
    assert together[f"{KEY}found"] >= 1


def test_a_large_dataset_is_sampled_the_same_way_at_each_evaluation(monkeypatch):
    monkeypatch.setattr("lightning_failures.callbacks.slices.monitor.MOST", 300)
    images, labels, _ = scenes(seed=1)
    made, monitor, _ = run(Fixed(), images, labels, epochs=1)
    first = monitor.sample.places
    assert len(first) == 300
    made.validate(Fixed(), DataLoader(TensorDataset(images, labels), 64), verbose=False)
    assert monitor.sample.places.equal(first)


def test_rows_that_are_not_known_are_taken_evenly_from_the_batches(monkeypatch):
    monkeypatch.setattr("lightning_failures.callbacks.slices.sample.MOST", 100)
    sample = SliceSample(batches=4, ranks=2, rank=1)
    taken = []
    for _ in range(4):
        kept, places = sample.rows(30, None, None)
        logits = torch.randn(30, 3)
        sample.add(kept, places, None, torch.randn(30, 4), logits, logits.argmax(1), None, None)
        taken.append(len(kept))
    assert sum(taken) == 50
    assert max(taken) <= 13
    assert sample.on_cpu().places.tolist() == list(range(1, 100, 2))
    assert SliceSample(4).on_cpu() is None


def test_too_few_images_are_nan_with_the_reason():
    images, labels, _ = scenes(100, seed=1)
    _, monitor, diagnosis = run(Fixed(), images, labels, epochs=1)
    assert math.isnan(monitor.values["found"])
    assert monitor.undefined["found"].startswith("100 images with ")
    assert not [one for one in diagnosis.history if one.kind in ("slice_failure", "monitor_error")]


def test_what_it_lacks_is_said():
    class Unlabelled(Fixed):
        def validation_step(self, batch, _):
            self(batch[0])

    monitor = SliceMonitor(on_error="raise")
    train = DataLoader(TensorDataset(*scenes(striped=0.0)[:2]), 10)
    fit([monitor], Unlabelled(), data=(train, DataLoader(TensorDataset(scenes()[0]), 50)), epochs=1)
    assert monitor.not_watched == {"groups of images with many errors": "no labels were found"}


def test_a_checkpoint_keeps_which_slices_were_told_of():
    images, labels, _ = scenes(seed=1)
    _, monitor, _ = run(Fixed(), images, labels, epochs=1)
    state = json.loads(json.dumps(monitor.state_dict()))
    again = SliceMonitor(on_error="raise")
    again.load_state_dict(state)
    trainer([again]).validate(Fixed(fails=False), DataLoader(TensorDataset(images, labels), 50), verbose=False)
    assert again.values[f"excess/{monitor.slices[0].name}"] == 0


def test_weights_are_bitwise_the_same_with_and_without_it():
    def weights(callbacks):
        data = DataLoader(dataset(160), 8, shuffle=True), DataLoader(dataset(300, seed=1), 8)
        return fit(callbacks, data=data)[1].state_dict()

    plain, watched = weights([]), weights([SliceMonitor(on_error="raise")])
    assert all(plain[name].equal(watched[name]) for name in plain)


def test_the_contact_sheet_shows_wrong_images_of_the_slice_and_stands_in_the_report(tmp_path):
    pytest.importorskip("jinja2")
    images, labels, striped = scenes(seed=1)
    _, monitor, _ = run(Fixed(), images, labels, report_dir=tmp_path)
    hardest = monitor.slices[0]
    shown = monitor._shown[hardest.name]
    assert striped[torch.tensor(shown.wrong)].double().mean() > 0.8
    assert not striped[torch.tensor(shown.others)].any()
    figure = monitor.draw_sheet(hardest.name)
    assert len(figure.axes) == len(shown.wrong) + len(shown.others)
    row = int(monitor.sample.places[shown.wrong[0]])
    assert figure.axes[0].get_xlabel().startswith(f"row {row:,}\ngiven ")
    assert monitor.draw_sheet("no such slice") is None
    assert "Images of this group that are wrong" in (tmp_path / "report.html").read_text()


def test_of_many_channels_three_are_shown_each_on_its_own_scale_and_the_sheet_says_which():
    pytest.importorskip("matplotlib")
    images, labels, _ = scenes(seed=1)
    bands = torch.linspace(1.0, 0.1, 12)[:, None, None]  # of unlike brightness
    _, monitor, _ = run(Fixed(), images * bands, labels)
    figure = monitor.draw_sheet(monitor.slices[0].name)
    said = " ".join(" ".join(text.get_text() for text in figure.texts).split())
    assert "red, green and blue are channel 10, channel 6 and channel 2." in said
    drawn = np.stack([axes.images[0].get_array() for axes in figure.axes])
    assert drawn.max((0, 1, 2)).tolist() == pytest.approx([1.0] * 3, abs=0.01)
    assert drawn.min((0, 1, 2)).tolist() == pytest.approx([0.0] * 3, abs=0.01)
