"""Errors by brightness, sharpness and the like, without annotation, on tiny Lightning runs."""

import json

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import FailureDiagnosis, PropertyErrorMonitor
from lightning_failures.functional import image_properties
from tests.runs import dataset, fit, trainer

KEY = "failures/properties/"


def scenes(images=400, seed=0, dark_class=False):
    """Squares of three kinds in one of three places on paper of any brightness; one class may be dark."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % 3
    inputs = 0.5 + 0.05 * torch.randn(images, 1, 9, 9, generator=generator)
    inputs += 0.1 * torch.rand(images, 1, 1, 1, generator=generator)
    for row, label in enumerate(labels.tolist()):
        inputs[row, 0, 1:4, 3 * label : 3 * label + 3] += 0.5
    if dark_class:
        inputs[labels == 2] -= 0.45
    return inputs, labels


class Fixed(L.LightningModule):
    """Says of each image where the square is, and is wrong on those of some kind."""

    def __init__(self, fails_on):
        super().__init__()
        self.fails_on = fails_on
        self.scale = nn.Parameter(torch.ones(()))
        self.seen = nn.Identity()

    def logits(self, images):
        places = images[:, 0, 1:4].unflatten(2, (3, 3)).mean((1, 3))
        scores = (places - images.mean((1, 2, 3))[:, None]) * self.scale * 20
        return self.seen(torch.where(self.fails_on(images)[:, None], scores.roll(1, 1), scores))

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self.logits(batch[0]), batch[1])

    def validation_step(self, batch, _):
        loss = nn.functional.cross_entropy(self.logits(batch[0]), batch[1])
        self.log("val_loss", loss, batch_size=len(batch[0]))

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def nothing(images):
    return torch.zeros(len(images), dtype=torch.bool)


def is_dark(images):
    return images.mean((1, 2, 3)) < 0.3


def run(module, train, valid, epochs=5, monitor=None, **options):
    monitor = monitor or PropertyErrorMonitor(on_error="raise")
    diagnosis = FailureDiagnosis()
    diagnosis.announce = "nothing"
    data = DataLoader(TensorDataset(*train), 10, shuffle=True), DataLoader(TensorDataset(*valid), 50)
    made, _ = fit([monitor, diagnosis], module, data=data, epochs=epochs, **options)
    return made, monitor, diagnosis


def darkened(images, share=0.1):
    images = images.clone()
    images[: round(share * len(images))] -= 0.4
    return images


def test_a_dark_tenth_that_nobody_annotated_is_found():
    (images, labels), train = scenes(seed=1), scenes()
    _, monitor, diagnosis = run(Fixed(is_dark), train, (darkened(images), labels))
    standing = [one for one in diagnosis.history if one.cleared is None]
    (finding,) = [one for one in standing if one.subject == "dark"]
    assert (finding.kind, finding.severity) == ("factor_failure", "failure")
    assert "images that count as 'dark'" in finding.message
    assert monitor.values["error/dark"] > 0.4
    assert {one.subject for one in standing if one.severity != "watch"} <= {"dark"}


def test_a_network_that_is_right_on_dark_images_raises_nothing():
    (images, labels), train = scenes(seed=1), scenes()
    _, monitor, diagnosis = run(Fixed(nothing), train, (darkened(images), labels))
    assert not [one for one in diagnosis.history if one.kind == "factor_failure"]
    assert monitor.values["error/dark"] == 0


def test_a_class_that_is_dark_and_hard_is_not_called_dark():
    train, valid = scenes(dark_class=True), scenes(seed=1, dark_class=True)
    _, monitor, diagnosis = run(Fixed(is_dark), train, valid)
    assert monitor.values["error/dark"] > 0.9  # all dark images are of that class, and wrong
    assert monitor.values["difference/dark"] == 0  # and so are the others of it
    assert not [one for one in diagnosis.history if one.kind == "factor_failure"]


def test_the_edges_are_those_of_the_training_images_and_stay():
    (images, labels), train = scenes(seed=1), scenes()
    made, monitor, _ = run(Fixed(nothing), train, (images, labels), epochs=2)
    bright = image_properties(train[0])["brightness"].double()
    (dark,) = [edge for edge in monitor.edges.factors if edge.factor == "dark"]
    assert dark.edge == pytest.approx(float(bright.quantile(0.1)))
    before = monitor.edges
    made.test(Fixed(nothing), DataLoader(TensorDataset(darkened(images, 1.0), labels), 50), verbose=False)
    assert monitor.edges is before
    assert monitor.values["images/dark"] == len(images)


def test_a_second_fit_on_other_images_has_edges_of_its_own():
    (images, labels), valid = scenes(), scenes(seed=1)
    _, monitor, _ = run(Fixed(nothing), (images, labels), valid, epochs=1)
    before = {edge.factor: edge.edge for edge in monitor.edges.factors}
    run(Fixed(nothing), (images + 2, labels), (valid[0] + 2, valid[1]), epochs=1, monitor=monitor)
    after = {edge.factor: edge.edge for edge in monitor.edges.factors}
    assert after["dark"] == pytest.approx(before["dark"] + 2, abs=0.05)
    assert 0 < monitor.values["images/dark"] < len(valid[0]) / 2


def test_a_run_that_goes_on_from_a_checkpoint_keeps_its_edges(tmp_path):
    (images, labels), valid = scenes(), scenes(seed=1)
    made, monitor, _ = run(Fixed(nothing), (images, labels), valid, epochs=1)
    made.save_checkpoint(tmp_path / "one.ckpt")
    again = PropertyErrorMonitor(on_error="raise")
    data = [DataLoader(TensorDataset(*part), 50) for part in ((images + 2, labels), valid)]
    trainer([again, FailureDiagnosis()], max_epochs=2).fit(
        Fixed(nothing), *data, ckpt_path=tmp_path / "one.ckpt", weights_only=False
    )
    assert again.edges.factors == monitor.edges.factors


def test_a_checkpoint_keeps_the_edges():
    train = scenes()
    _, monitor, _ = run(Fixed(nothing), train, scenes(seed=1), epochs=1)
    state = json.loads(json.dumps(monitor.state_dict()))
    again = PropertyErrorMonitor(on_error="raise")
    again.load_state_dict(state)
    assert again.edges.factors == monitor.edges.factors
    assert PropertyErrorMonitor().state_dict() == {}


def test_without_training_images_it_says_what_is_missing():
    monitor = PropertyErrorMonitor(on_error="raise")
    loader = DataLoader(TensorDataset(*scenes(seed=1)), 50)
    trainer([monitor]).validate(Fixed(nothing), loader, verbose=False)
    assert monitor.not_watched == {
        "errors by brightness, sharpness and other properties of the image": (
            "no training image was seen, which would say what counts as dark or as blurred"
        )
    }
    assert monitor.values == {}


def test_of_spectra_it_says_that_they_are_no_images():
    def spectra(seed):
        images, labels = scenes(seed=seed)
        return images.flatten(2), labels  # (n 1 81)

    class OfSpectra(Fixed):
        def logits(self, images):
            return super().logits(images.unflatten(2, (9, 9)))

    _, monitor, _ = run(OfSpectra(nothing), spectra(0), spectra(1), epochs=1)
    assert list(monitor.not_watched.values()) == ["the inputs are no images with rows and columns"]


def test_of_images_in_many_channels_an_unusual_spectrum_is_found():
    generator = torch.Generator().manual_seed(0)
    shape = torch.linspace(1, 2, 8)[:, None, None]

    def cubes(n, odd):
        images = shape + 0.05 * torch.randn(n, 8, 4, 4, generator=generator)
        images[: n * odd // 100] = 3 - images[: n * odd // 100]
        return images, torch.arange(n) % 2

    class Odd(Fixed):
        def logits(self, images):
            spectrum = images.mean((2, 3))
            wrong = spectrum[:, 0] > spectrum[:, -1]
            return self.seen(torch.stack([wrong, ~wrong], 1).float() * self.scale)

    monitor = PropertyErrorMonitor(on_error="raise")
    data = DataLoader(TensorDataset(*cubes(300, 0)), 30), DataLoader(TensorDataset(*cubes(200, 10)), 50)
    fit([monitor], Odd(nothing), data=data, epochs=1)
    assert "images/unusual spectrum" in monitor.values
    assert monitor.values["images/unusual spectrum"] >= 20
    assert "error/pale" not in monitor.values


def test_groups_are_counted_where_they_are_named():
    monitor = PropertyErrorMonitor(groups=[row // 10 for row in range(400)], on_error="raise")
    run(Fixed(is_dark), scenes(), scenes(seed=1), epochs=2, monitor=monitor)
    assert monitor.values["groups/all"] == 40


def test_weights_are_bitwise_the_same_with_and_without_it():
    def weights(callbacks):
        data = DataLoader(dataset(160), 8, shuffle=True), DataLoader(dataset(30, seed=1), 8)
        return fit(callbacks, data=data)[1].state_dict()

    plain, watched = weights([]), weights([PropertyErrorMonitor(on_error="raise")])
    assert all(plain[name].equal(watched[name]) for name in plain)


def test_it_is_drawn_and_stands_in_the_report(tmp_path):
    pytest.importorskip("jinja2")
    (images, labels), train = scenes(seed=1), scenes()
    diagnosis = FailureDiagnosis(report_dir=tmp_path)
    diagnosis.announce = "nothing"
    data = DataLoader(TensorDataset(*train), 10), DataLoader(TensorDataset(darkened(images), labels), 50)
    fit([PropertyErrorMonitor(on_error="raise"), diagnosis], Fixed(is_dark), data=data, epochs=4,
        logger=CSVLogger(tmp_path))  # fmt: skip
    report = (tmp_path / "report.html").read_text()
    assert "Errors by property of the image" in report
    assert "above others" in report


def test_ranks_agree_on_the_edges_of_all_their_images(monkeypatch):
    one, other = PropertyErrorMonitor(), PropertyErrorMonitor()
    images = scenes()[0]
    one._kept, other._kept = [image_properties(images[:130])], [image_properties(images[130:])]
    said = [({k: torch.cat([p[k] for p in m._kept]) for k in m._kept[0]}, None) for m in (one, other)]
    monkeypatch.setattr("lightning_failures.callbacks.properties.monitor.gather", lambda mine: said)
    one._fix()
    other._fix()
    assert one.edges.factors == other.edges.factors
    whole = image_properties(images)["contrast"].double()
    (low,) = [edge for edge in one.edges.factors if edge.factor == "low contrast"]
    assert low.edge == pytest.approx(float(whole.quantile(0.1)))


def test_too_few_training_images_have_no_edges(monkeypatch):
    monitor = PropertyErrorMonitor()
    monitor._kept = [image_properties(scenes(15)[0])]
    monitor._fix()
    assert monitor.edges is None
