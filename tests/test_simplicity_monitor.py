"""The simplicity monitor on models whose decisions are known: what it names, and when it is silent."""

import dataclasses

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import FailureDiagnosis, SimplicityBiasMonitor
from lightning_failures.functional import (
    class_moments,
    count_explained,
    cue_edges,
    cue_explained_variance,
    cue_sums,
    explained_by_simple,
    fit_ladder,
    ladder_features,
    total_absorbance,
)
from tests.runs import fit

KEY = "failures/simplicity/"


EAGER = {"budget": 1e9, "on_error": "raise"}


def values_of(run):
    return {key.removeprefix(KEY): float(v) for key, v in run.callback_metrics.items() if key.startswith(KEY)}


def scene(n=240, channels=5, classes=4, seed=0):
    """Images whose class is their thickness, with texture of mean 0."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    thickness = 1 + labels + 0.15 * torch.randn(n, generator=generator)
    spectrum = torch.tensor([0.5, 1.0, 2.0, 1.0, 0.5, 0.8, 0.3, 0.4])[:channels]
    texture = torch.rand(n, channels, 6, 6, generator=generator)
    tilt = torch.randn(n, channels, generator=generator) * 0.03
    shape = spectrum + tilt + 0.2 * (texture - texture.mean((2, 3), keepdim=True)).movedim(1, -1).mean((1, 2))
    images = (shape[:, :, None, None] + 0.1 * (texture - texture.mean((2, 3), keepdim=True))) * thickness[
        :, None, None, None
    ]
    return images, labels, thickness


def with_shape(images, labels):
    """The same images with a bright quarter that tells the label as well, which leaves the totals as they were."""
    half = images.shape[-1] // 2
    pattern = torch.full((len(images), 1, *images.shape[2:]), -0.1)
    for label in range(4):
        row, column = half * (label // 2), half * (label % 2)
        pattern[labels == label, :, row : row + half, column : column + half] = 0.3
    return images * (1 + pattern)


class Fixed(L.LightningModule):
    """A function of the images that no step changes."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.idle = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        return self.function(images) + 0 * self.idle

    def training_step(self, batch, _):
        return {"loss": self(batch[0]).square().mean() * 0, "logits": self(batch[0])}

    def validation_step(self, batch, _):
        return {"logits": self(batch[0])}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def nearest(scores, classes=4):
    """Logits of the class whose number is nearest to a score."""
    return -8 * (scores[:, None] - torch.arange(classes)).square()


def watch(function, *columns, epochs=2, monitor=None, diagnose=False, **options):
    """Run the monitor on a fixed function; columns are images, labels and whatever follows."""
    monitor = monitor or SimplicityBiasMonitor(**(EAGER | options))
    data = DataLoader(TensorDataset(*columns), batch_size=40)
    diagnosis = FailureDiagnosis(announce="nothing")
    # a fixed function is at its first step what it is ever after
    diagnosis.rules = tuple(dataclasses.replace(rule, warmup_steps=0) for rule in diagnosis.rules)
    run, _ = fit([monitor, diagnosis], Fixed(function), epochs=epochs, data=(data, data), num_sanity_val_steps=0)
    return values_of(run), monitor, diagnosis


def thick(images):
    """The class by the total absorbance alone."""
    return nearest(total_absorbance(images) / 4.8 - 1)


def test_a_model_of_the_total_absorbance_rests_on_it_and_is_explained_by_the_lowest_rung():
    images, labels, _ = scene()
    values, monitor, diagnosis = watch(thick, with_shape(images, labels), labels, epochs=6)
    assert values["reliance/total_absorbance"] == values["transplant/total_absorbance"] == 1
    assert values["transplant_own/total_absorbance"] == 0
    assert values["model_accuracy"] > 0.9
    assert values["reach/total_absorbance"] > 0.9
    assert monitor.lowest_rung == "total_absorbance"
    assert (values["lowest_rung"], values["lowest_reach"]) == (0, values["reach/total_absorbance"])
    assert values["own/1"] > 0.9
    assert values["decision_dimension"] == 1
    found = {(finding.kind, finding.subject): finding for finding in diagnosis.findings}
    finding = found["simple_cue_reliance", "total_absorbance"]
    assert (finding.epoch, found["one_dimensional_predictions", ""].epoch) == (2, 2)  # plain enough at once
    assert finding.message.startswith(
        "The predictions depend on one simple thing, total_absorbance. Where total_absorbance is taken from another "
        "image, and nothing else, 100% of the images are predicted as that other one, and 0% as before."
    )
    assert finding.evidence["reliance"] == 1
    assert finding.severity == "failure"  # the shape tells the label too


def test_where_the_total_absorbance_is_all_there_is_leaning_on_it_is_no_finding():
    images, labels, _ = scene()
    values, _, diagnosis = watch(thick, images, labels, epochs=6)
    assert values["reliance/total_absorbance"] == values["all_there_is/total_absorbance"] == 1
    assert not [finding for finding in diagnosis.history if finding.kind == "simple_cue_reliance"]


def test_a_model_that_sees_no_intensity_is_cleared_though_the_cue_goes_with_the_labels():
    images, labels, _ = scene()
    images = images.clone()
    images[:, 0] += 0.3 * labels[:, None, None] * images.sum(1) / images.sum(1).mean()

    def model(x):
        share = (x[:, 0] / x.sum(1)).mean((1, 2))
        return nearest((share - low) / (high - low) * 3)

    shares = (images[:, 0] / images.sum(1)).mean((1, 2))
    low, high = (shares[labels == k].mean() for k in (0, 3))

    values, _, diagnosis = watch(model, images, labels, epochs=6)
    assert values["reliance/total_absorbance"] < 0.3
    named = {finding.subject for finding in diagnosis.history if finding.kind == "simple_cue_reliance"}
    assert "total_absorbance" not in named  # the same amount on every channel does change a channel's share


def test_cues_of_the_users_own_are_rungs_and_an_independent_one_explains_nothing():
    images, labels, thickness = scene()
    scanner = torch.arange(len(images)) // 7 % 3
    monitor = SimplicityBiasMonitor({"thickness": "2", "scanner": lambda batch: batch[3]}, **EAGER)
    shown = with_shape(images, labels)
    values, _, diagnosis = watch(thick, shown, labels, thickness, scanner, epochs=6, monitor=monitor)
    assert values["reliance/thickness"] > 0.6
    assert values["reach/thickness"] > 0.9
    assert abs(values["eta2/scanner"]) < 0.05
    assert abs(values["reliance/scanner"]) < 0.05
    assert values["reach/scanner"] < 0.5
    subjects = {finding.subject for finding in diagnosis.findings if finding.kind == "simple_cue_reliance"}
    assert subjects == {"total_absorbance", "thickness"}
    assert monitor.models.names[:3] == ["total_absorbance", "thickness", "scanner"]


def test_the_logged_figures_are_those_of_the_functions_on_the_whole_data():
    images, labels, _ = scene(200)

    def model(x):
        return nearest(x[:, 1].mean((1, 2)) - 1)

    own_cue = SimplicityBiasMonitor({"total": lambda batch: total_absorbance(batch[0])}, **EAGER)
    values, monitor, _ = watch(model, images, labels, monitor=own_cue)
    features = ladder_features(images, raw=images)
    sums = class_moments(torch.cat([rows.double() for rows in features.values()], 1), labels, 4)
    rungs = fit_ladder(sums, {name: rows.shape[1] for name, rows in features.items()})
    preds = model(images).argmax(1)
    assert list(rungs) == [name for name in monitor.models.names if name != "total"]
    for name, rung in rungs.items():
        simple = rung.predict(features)
        assert values[f"reach/{name}"] == pytest.approx(float((simple == labels).double().mean())), name
        expected = explained_by_simple(count_explained(preds, simple, labels, 4))
        assert values[f"explained_adjusted/{name}"] == pytest.approx(float(expected.explained_adjusted), abs=1e-6), name
    total = total_absorbance(images).float()
    explained = cue_explained_variance(cue_sums(model(images), total, cue_edges(total), labels))
    assert values["eta2/total"] == pytest.approx(float(explained.eta2), abs=1e-6)
    assert values["eta2_within/total"] == pytest.approx(float(explained.eta2_within), abs=1e-6)


@pytest.mark.parametrize("r", [1, 2, 4])
def test_decisions_on_r_principal_coordinates_have_dimension_r(r):
    generator = torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(8, 8, generator=generator)).Q
    spread = torch.tensor([8.0, 7.0, 6.0, 5.0, 0.3, 0.2, 0.1, 0.05])
    spectra = torch.randn(400, 8, generator=generator) * spread @ basis.T + 40
    texture = torch.randn(400, 8, 4, 4, generator=generator)
    images = spectra[:, :, None, None] + texture - texture.mean((2, 3), keepdim=True)
    centre = spectra.mean(0)
    directions = torch.linalg.eigh((spectra - centre).T @ (spectra - centre)).eigenvectors.flip(1)[:, :r]
    centred = (spectra - centre) @ directions

    def model(x):
        z = (x.mean((2, 3)) - centre) @ directions / centred.std(0)
        return torch.cat([3 * z, -3 * z], 1)

    labels = model(images).argmax(1)
    values, _, _ = watch(model, images, labels, images=400)
    assert values["decision_dimension"] == r
    assert values[f"own/{r}"] > 0.97


def test_xor_of_two_coordinates_needs_both_and_no_rung_explains_it():
    generator = torch.Generator().manual_seed(0)
    corners = (torch.arange(400)[:, None] // torch.tensor([1, 2])) % 2 * 2.0 - 1
    spectra = torch.cat([corners * torch.tensor([3.0, 2.9]), torch.zeros(400, 3)], 1) + 20
    spectra += 0.1 * torch.randn(400, 5, generator=generator)
    images = spectra[:, :, None, None].expand(-1, -1, 3, 3).clone()
    labels = (corners[:, 0] * corners[:, 1] > 0).long()

    def model(x):
        product = (x.mean((2, 3))[:, 0] - 20) * (x.mean((2, 3))[:, 1] - 20)
        return torch.stack([-product, product], 1)

    values, monitor, diagnosis = watch(model, images, labels, epochs=6)
    assert values["model_accuracy"] == 1
    assert values["decision_dimension"] == 2
    assert values["own/1"] < 0.8
    assert values["best_reach"] < 0.7
    assert values["difference"] < -0.3
    assert monitor.lowest_rung is None
    assert monitor.undefined["lowest_rung"] == "no simple model explains the network"
    assert diagnosis.history == []


def test_a_linear_model_is_explained_by_the_linear_rung_and_leaves_nothing_untapped():
    generator = torch.Generator().manual_seed(0)
    spectra = torch.randn(2000, 6, generator=generator) + 9
    images = spectra[:, :, None, None].expand(-1, -1, 3, 3).clone()
    weights = torch.linalg.qr(torch.randn(6, 3, generator=generator)).Q

    def model(x):
        return (x.mean((2, 3)) - 9) @ weights

    labels = (model(images) + 0.3 * torch.randn(2000, 3, generator=generator)).argmax(1)
    values, monitor, _ = watch(model, images, labels)
    assert monitor.lowest_rung == "mean_spectrum"
    assert values["low"] < 0.03
    assert values["explained_adjusted/total_absorbance"] < 0.7


class Now(L.Callback):
    """The epoch, for a function that changes with it."""

    epoch = 0

    def on_validation_epoch_start(self, trainer, pl_module):
        self.epoch = trainer.current_epoch


@pytest.mark.parametrize(("epochs", "came_up"), [(6, True), (7, False)])
def test_a_network_that_came_up_to_the_linear_model_is_told_from_one_that_never_did(epochs, came_up):
    now = Now()

    def model(x):
        return thick(x) if now.epoch == 1 else thick(x).roll(1, 1)

    images, labels, _ = scene()
    monitor, data = SimplicityBiasMonitor(**EAGER), DataLoader(TensorDataset(images, labels), batch_size=40)
    run, _ = fit([now, monitor], Fixed(model), epochs=epochs, data=(data, data), num_sanity_val_steps=0)
    values = values_of(run)
    assert values["low"] > 0.5
    assert values["recent_low"] < 0.1 if came_up else values["recent_low"] == values["low"]
    again = SimplicityBiasMonitor()
    again.load_state_dict(monitor.state_dict())
    assert again.state_dict()["shortfalls"] == monitor.state_dict()["shortfalls"]


def offset_of_the_third(x):
    """The class by the mean of the third of five channels."""
    return nearest(x[:, 2].mean((1, 2)) - x[:, 3].mean((1, 2)))


def quarter_of_the_third(x):
    """The class by which quarter of the third of five channels is brightest."""
    return torch.stack([x[:, 2, r : r + 3, c : c + 3].mean((1, 2)) for r in (0, 3) for c in (0, 3)], 1)


@pytest.mark.parametrize("simple", [True, False])
def test_the_level_of_one_channel_of_many_is_a_simple_cue_and_a_pattern_that_only_it_shows_is_none(simple):
    labels = torch.arange(240) % 4
    images = 0.1 * torch.randn(240, 5, 6, 6, generator=torch.Generator().manual_seed(1)) + 5
    for k in range(4):
        row, column = 3 * (k // 2), 3 * (k % 2)
        images[labels == k, 2, row : row + 3, column : column + 3] += 0.4
        images[labels == k, 2] += float(k) if simple else 0.0
    model = offset_of_the_third if simple else quarter_of_the_third
    values, _, diagnosis = watch(model, images, labels, epochs=6)
    assert values["model_accuracy"] > 0.95
    named = [each.subject for each in diagnosis.history if each.kind == "simple_cue_reliance"]
    assert [name for name in named if name.startswith("channel")] == (["channel 2"] if simple else [])


def test_grey_digits_repeated_to_colour_are_healthy_at_image_level():
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = torch.tensor(digits.images, dtype=torch.float32)[:400, None] / 16 + 0.05
    labels = torch.tensor(digits.target[:400])
    shapes = torch.stack([grey[labels == k].mean(0) for k in range(10)])

    def model(x):  # nearest mean shape, whatever the brightness
        flat = (x - x.mean((1, 2, 3), keepdim=True)).flatten(1)
        centres = (shapes - shapes.mean((1, 2, 3), keepdim=True)).expand(-1, 3, -1, -1).flatten(1)
        return flat @ (centres / centres.norm(dim=1, keepdim=True)).T

    values, monitor, diagnosis = watch(model, grey.expand(-1, 3, -1, -1).clone(), labels, epochs=6)
    assert values["donor/1"] > 0.99
    assert values["pixel_own/1"] > 0.9
    assert values["pixel_decision_dimension"] == 1
    assert values["reliance/grey_level"] < 0.1
    assert {"total_absorbance", "grey_level", "mean_color"} <= set(monitor.models.names)
    assert "reliance/total_absorbance" not in values
    assert not [f for f in diagnosis.history if f.kind in ("one_dimensional_predictions", "simple_cue_reliance")]


def test_logits_that_are_not_finite_are_no_right_prediction(monkeypatch):
    def loss_of_nothing(self, batch, _):
        return {"loss": 0 * self.idle.sum(), "logits": self(batch[0])}

    monkeypatch.setattr(Fixed, "training_step", loss_of_nothing)  # infinite logits have no finite loss
    images, labels, _ = scene()
    lowest = thick(images).argmax(1) == 0
    right = thick(images).argmax(1) == labels

    def broken(x):
        """The class of the largest logit stays; in the images of one class the others are minus infinity."""
        logits = thick(x)
        others = torch.arange(4) != 0
        return torch.where((logits.argmax(1) == 0)[:, None] & others, -torch.inf, logits)

    assert broken(images).argmax(1).equal(thick(images).argmax(1))
    values, *_ = watch(broken, images, labels)
    assert values["model_accuracy"] == pytest.approx(float((right & ~lowest).double().mean()))
    assert values["model_accuracy"] < float(right.double().mean()) - 0.2
