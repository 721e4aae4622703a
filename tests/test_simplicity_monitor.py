"""The simplicity monitor on tiny Lightning runs: what it names, when it is silent, and that it touches nothing."""

import logging
import math

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures.callbacks.cues import CueReader
from lightning_failures.callbacks.diagnosis import FailureDiagnosis
from lightning_failures.callbacks.simplicity import SimplicityBiasMonitor
from lightning_failures.callbacks.suite import failure_monitors
from lightning_failures.errors import FailuresWarning, InputError
from lightning_failures.functional.cues import cue_edges, cue_explained_variance, cue_sums, total_absorbance
from lightning_failures.functional.ladder import fit_ladder, ladder_features
from lightning_failures.functional.moments import class_moments
from lightning_failures.functional.simplicity import count_explained, explained_by_simple
from tests.test_monitor import Classifier, dataset, fit, hooks_on, loaders, trainer

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
    run, _ = fit([monitor, diagnosis], Fixed(function), epochs=epochs, data=(data, data), num_sanity_val_steps=0)
    return values_of(run), monitor, diagnosis


def thick(images):
    """The class by the total absorbance alone."""
    return nearest(total_absorbance(images) / 4.8 - 1)


def test_a_model_of_the_total_absorbance_rests_on_it_and_is_explained_by_the_lowest_rung():
    images, labels, _ = scene()
    values, monitor, diagnosis = watch(thick, images, labels, epochs=6)
    assert values["reliance/total_absorbance"] == values["swap_own/total_absorbance"] == 1
    assert values["swap_donor/total_absorbance"] == 0
    assert values["model_accuracy"] > 0.9
    assert values["reach/total_absorbance"] > 0.9
    assert monitor.lowest_rung == "total_absorbance"
    assert (values["lowest_rung"], values["lowest_reach"]) == (0, values["reach/total_absorbance"])
    assert values["own/1"] > 0.9
    assert values["decision_dimension"] == 1
    assert values["retained/mean_spectrum"] == values["retained/shuffled_pixels"] == pytest.approx(1, abs=1e-6)
    assert values["retained/unit_total"] < 0.1
    assert values["patch_sensitivity"] < 0.2
    assert all(abs(values[key]) < 0.01 for key in values if key.startswith("lost/ring"))
    found = {(finding.kind, finding.subject): finding for finding in diagnosis.findings}
    finding = found["simple_cue_reliance", "total_absorbance"]
    assert finding.epoch == found["one_dimensional_predictions", ""].epoch == 4
    assert finding.message.startswith(
        "The predictions rest on one simple cue, total_absorbance: 100% of them follow it, by exchanging it"
    )
    assert finding.evidence["reliance"] == 1


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
    assert values["eta2/total_absorbance"] > 0.5
    assert values["reliance/total_absorbance"] < 0.3
    assert not [finding for finding in diagnosis.history if finding.kind == "simple_cue_reliance"]


def test_cues_of_the_users_own_are_rungs_and_an_independent_one_explains_nothing():
    images, labels, thickness = scene()
    scanner = torch.arange(len(images)) // 7 % 3
    monitor = SimplicityBiasMonitor({"thickness": "2", "scanner": lambda batch: batch[3]}, **EAGER)
    values, _, diagnosis = watch(thick, images, labels, thickness, scanner, epochs=6, monitor=monitor)
    assert values["reliance/thickness"] > 0.6
    assert values["reach/thickness"] > 0.9
    assert abs(values["eta2/scanner"]) < 0.05
    assert abs(values["reliance/scanner"]) < 0.05
    assert values["reach/scanner"] < 0.5
    subjects = {finding.subject for finding in diagnosis.findings if finding.kind == "simple_cue_reliance"}
    assert subjects == {"total_absorbance", "thickness"}
    assert monitor.fixed.names[:3] == ["total_absorbance", "thickness", "scanner"]


def test_the_logged_figures_are_those_of_the_functions_on_the_whole_data():
    images, labels, _ = scene(200)

    def model(x):
        return nearest(x[:, 1].mean((1, 2)) - 1)

    values, monitor, _ = watch(model, images, labels)
    features = ladder_features(images, raw=images)
    sums = class_moments(torch.cat([rows.double() for rows in features.values()], 1), labels, 4)
    rungs = fit_ladder(sums, {name: rows.shape[1] for name, rows in features.items()})
    preds = model(images).argmax(1)
    assert list(rungs) == monitor.fixed.names
    for name, rung in rungs.items():
        simple = rung.predict(features)
        assert values[f"reach/{name}"] == pytest.approx(float((simple == labels).double().mean())), name
        expected = explained_by_simple(count_explained(preds, simple, labels, 4))
        assert values[f"explained/{name}"] == pytest.approx(float(expected.explained), abs=1e-6), name
        assert values[f"explained_adjusted/{name}"] == pytest.approx(float(expected.explained_adjusted), abs=1e-6), name
    total = total_absorbance(images).float()
    explained = cue_explained_variance(cue_sums(model(images), total, cue_edges(total), labels))
    assert values["eta2/total_absorbance"] == pytest.approx(float(explained.eta2), abs=1e-6)
    assert values["eta2_within_null/total_absorbance"] == pytest.approx(float(explained.null_within), abs=1e-6)


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
    assert monitor.undefined["lowest_rung"] == "no rung explains the model"
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
    assert values["low"] < 0.03 < values["information"]
    assert values["explained_adjusted/total_absorbance"] < 0.7


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
    assert {"total_absorbance", "grey_level", "mean_color"} <= set(monitor.fixed.names)
    assert "reliance/total_absorbance" not in values
    assert not [f for f in diagnosis.history if f.kind in ("one_dimensional_predictions", "simple_cue_reliance")]


def test_standardised_inputs_without_denormalize_leave_the_absorbance_out_and_say_so(caplog):
    images, labels, _ = scene()
    mean, std = images.mean((0, 2, 3), keepdim=True)[0], images.std((0, 2, 3), keepdim=True)[0]
    standardised = (images - mean) / std

    def model(x):
        return thick(x * std + mean)

    with caplog.at_level(logging.INFO):
        values, monitor, _ = watch(model, standardised, labels)
    said = [record.getMessage() for record in caplog.records if "is left out" in record.getMessage()]
    assert said == [
        "SimplicityBiasMonitor: the cue 'total_absorbance' is left out: the inputs are standardised and no denormalize "
        "was given, so that raw units are unknown: pass denormalize=lambda x: x * std + mean"
    ]
    assert monitor.fixed.blind
    assert not [key for key in values if "total_absorbance" in key or "unit_total" in key or "mean_shape" in key]
    assert values["own/1"] > 0.9

    with_units, _, _ = watch(model, standardised, labels, denormalize=lambda x: x * std + mean)
    assert with_units["reliance/total_absorbance"] == 1
    assert with_units["retained/unit_total"] < 0.1


def test_normalised_images_have_no_total_absorbance_to_rest_on(caplog):
    images, labels, _ = scene()
    normalised = images / images.sum(1, keepdim=True)
    with caplog.at_level(logging.INFO):
        values, monitor, _ = watch(thick, normalised, labels)
    assert "reliance/total_absorbance" not in values
    assert monitor.fixed.left_out["total_absorbance"].startswith("cue_edges: the cue is constant; given 1.0")
    assert math.isnan(values["reach/total_absorbance"])
    assert monitor.undefined["reach/total_absorbance"] == (
        "the rung is undefined on the training images, or no image had labels"
    )


def test_trained_weights_are_bitwise_the_same_and_no_hook_stays(tmp_path):
    _, alone = fit([])
    logger = CSVLogger(tmp_path, name="", version="")
    monitor = SimplicityBiasMonitor({"first": lambda batch: batch[0][:, 0, 0, 0]}, **EAGER)
    _, watched = fit([monitor], logger=logger)
    for (name, plain), (_, with_us) in zip(alone.state_dict().items(), watched.state_dict().items(), strict=True):
        assert torch.equal(plain, with_us), name
    assert hooks_on(watched) == 0
    assert list((tmp_path / "failures" / "simplicity").glob("ladder-*.png"))


def test_the_parts_are_dealt_out_within_the_budget_the_headline_first():
    images, labels, _ = scene(80)
    monitor = SimplicityBiasMonitor(**EAGER)
    watch(thick, images, labels, monitor=monitor)
    examination = monitor.examination
    parts = {"headline", "image_ranks", "pixel_ranks", "retention", "rings", "patches", "clones"}
    assert set(examination.fits(1e9)) == parts
    examination._seconds = dict.fromkeys(parts, 1.0)
    examination._waits = dict.fromkeys(parts, 1) | {"rings": 3, "clones": 2}
    assert examination.fits(2.5) == ("headline", "rings")
    assert examination.fits(0.0) == ("headline",)
    examination._waits["rings"] = 6
    assert examination.fits(1.5) == ("rings",)
    examination.follow(("rings",))
    assert (examination._waits["rings"], examination._waits["clones"]) == (1, 3)


def test_what_is_left_to_a_later_evaluation_is_nan_and_says_why():
    images, labels, _ = scene(80)
    values, monitor, _ = watch(thick, images, labels, epochs=1)
    assert math.isnan(values["retained/mean_spectrum"])
    assert monitor.undefined["retained/mean_spectrum"] == "left to a later evaluation by the time budget"
    assert values["own/1"] > 0.9


def test_a_resumed_run_keeps_its_simple_models_its_cues_and_its_turns(tmp_path):
    cues = {"first": lambda batch: batch[0][:, 0, 0, 0]}
    monitor = SimplicityBiasMonitor(cues, **EAGER)
    run, _ = fit([monitor], epochs=2)
    run.save_checkpoint(tmp_path / "run.ckpt")
    again = SimplicityBiasMonitor(cues, **EAGER)
    whole = trainer([again], epochs=3)
    whole.fit(Classifier(), *loaders(), ckpt_path=tmp_path / "run.ckpt", weights_only=True)
    for name, rung in monitor.fixed.rungs.items():
        assert torch.equal(again.fixed.rungs[name].model.weight, rung.model.weight), name
    assert torch.equal(again.fixed.bins["first"].labels, monitor.fixed.bins["first"].labels)
    assert math.isfinite(values_of(whole)["patch_sensitivity"])


def test_a_run_resumed_before_the_first_evaluation_keeps_its_sums(tmp_path):
    class Saves(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if batch_idx == 3:
                trainer.save_checkpoint(tmp_path / "early.ckpt")

    monitor = SimplicityBiasMonitor(**EAGER)
    fit([monitor, Saves()], epochs=1)
    state = torch.load(tmp_path / "early.ckpt", weights_only=True)["callbacks"][monitor.state_key]
    again = SimplicityBiasMonitor(**EAGER)
    again.load_state_dict(state)
    assert again._stream.ladder.compute()["rows"] == 3 * 8 + 8


class Segmenter(Classifier):
    """Labels every pixel, at half the resolution of the inputs."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1, stride=2), nn.ReLU(), nn.Conv2d(8, 2, 1))

    def forward(self, images):
        return nn.functional.interpolate(self.net(images), scale_factor=2.0)

    def training_step(self, batch, _):
        logits = self(batch[0])
        return {"loss": nn.functional.cross_entropy(logits, batch[1]), "logits": logits}

    validation_step = training_step


def test_pixels_are_labelled_by_the_same_ladder_and_interchange():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(40, 4, 8, 8, generator=generator) + torch.rand(40, 1, 8, 8, generator=generator)
    labels = (images.sum(1) > 4).long()
    data = DataLoader(TensorDataset(images, labels), batch_size=8)
    monitor = SimplicityBiasMonitor({"depth": lambda batch: batch[0][:, 0]}, **EAGER)
    run, _ = fit([monitor], Segmenter(), epochs=3, data=(data, data))
    values = values_of(run)
    assert values["images"] == 40 * 16
    assert values["reach/total_absorbance"] > 0.95
    for key in ("own/1", "pixel_own/2", "retained/mean_shape", "patch_sensitivity", "eta2/depth", "reliance/depth"):
        assert math.isfinite(values[key]), (key, monitor.undefined.get(key))
    assert "retained/shuffled_pixels" not in values
    assert "retained/gaussian_clones" not in values


def test_a_binary_problem_of_one_logit_is_watched():
    images, labels, _ = scene(200, classes=2)

    def model(x):
        return 4 * (total_absorbance(x) / 4.8 - 1.5)[:, None]

    values, monitor, diagnosis = watch(model, images, labels, epochs=6, logits="logits")
    assert values["model_accuracy"] > 0.9
    assert values["reliance/total_absorbance"] == 1
    assert values["eta2/total_absorbance"] > 0.8
    assert monitor.lowest_rung == "total_absorbance"
    assert ("simple_cue_reliance", "total_absorbance") in {(f.kind, f.subject) for f in diagnosis.findings}


def test_rows_without_pixels_are_watched_too():
    images, labels, _ = scene()
    rows = images.mean((2, 3))
    values, monitor, _ = watch(lambda x: nearest(x.sum(1) / 4.8 - 1), rows, labels)
    assert values["reliance/total_absorbance"] == 1
    assert monitor.fixed.names == ["total_absorbance", "first_component", "best_channel", "mean_spectrum"]
    assert not [key for key in values if key.startswith("pixel_") or "ring" in key]


def test_a_linear_model_of_the_penultimate_layer_says_what_its_head_wastes():
    class Wasted(Classifier):
        """Its head never learns to look at more than nothing."""

        def configure_optimizers(self):
            return torch.optim.SGD(self.net[:-1].parameters(), lr=0.0)

    data = DataLoader(dataset(400), batch_size=40), DataLoader(dataset(400, seed=1), batch_size=40)
    monitor = SimplicityBiasMonitor(**EAGER)
    run, _ = fit([monitor], Wasted(), epochs=1, data=data)
    values = values_of(run)
    assert values["layer_reach/penultimate"] > values["model_accuracy"] + 0.15
    expected = values["layer_reach/penultimate"] - values["model_accuracy"]
    assert values["layer_difference/penultimate"] == pytest.approx(expected, abs=1e-6)


# -- bad input


@pytest.mark.parametrize("name", ["a/b", "*", "", "total_absorbance"])
def test_a_name_that_breaks_keys_is_refused(name):
    with pytest.raises(InputError) as error:
        CueReader({name: "2"})
    assert str(error.value) == (
        f"SimplicityBiasMonitor(cues=...): the name of a cue cannot be used; given {name!r}. "
        "Use a name without / and *, other than total_absorbance, grey_level."
    )


BAD = {
    "the cue 'dose' does not have one value an image; given (5,) for 8 images. "
    "Give one number an image.": lambda batch: batch[1][:5].float(),
    "the cue 'dose' holds no numbers; given a list. "
    "Pass a callable that gives numbers, such as the index of each scanner.": lambda batch: ["A"] * len(batch[1]),
    "the cue 'dose' is one of pixels; given (8, 5, 5) for labels (8,). "
    "Give one number an image where an image has one label.": lambda batch: batch[0][:, 0],
}


@pytest.mark.parametrize("text", BAD)
def test_cues_that_do_not_fit_the_batch_are_refused(text):
    with pytest.raises(InputError) as error:
        fit([SimplicityBiasMonitor({"dose": BAD[text]}, on_error="raise")])
    assert str(error.value) == f"SimplicityBiasMonitor(cues=...): {text}"


def test_a_cue_that_is_not_there_lists_what_is():
    with pytest.raises(LookupError) as error:
        fit([SimplicityBiasMonitor({"dose": "dose"}, on_error="raise")])
    assert str(error.value) == (
        "SimplicityBiasMonitor(cues=...): the field 'dose' is not there; given a list with '0', '1'. Name a path of "
        "fields or positions, such as 'image' or '0', or pass a callable that takes the batch."
    )


LEFT_OUT = {
    "cue_edges: the cue is constant; given 2.0 for 48 images. "
    "Pass the cue of every image of a sample: (n), finite, n at least bins.": lambda batch: torch.full_like(
        batch[1], 2, dtype=torch.float32
    ),
    "cue_edges: the cue holds NaN or infinity; given 48 of 48 values. "
    "Pass the cue of every image of a sample: (n), finite, n at least bins.": lambda batch: batch[1] * math.nan,
}


@pytest.mark.parametrize("text", LEFT_OUT)
def test_a_constant_cue_or_one_of_nan_is_left_out_with_a_warning_and_the_rest_goes_on(text):
    with pytest.warns(FailuresWarning) as caught:
        run, _ = fit([SimplicityBiasMonitor({"dose": LEFT_OUT[text]}, on_error="raise")])
    (said,) = [str(warning.message) for warning in caught if warning.category is FailuresWarning]
    assert said == f"SimplicityBiasMonitor: the cue 'dose' is left out: {text}"
    assert "reach/dose" not in values_of(run)
    assert math.isfinite(values_of(run)["reach/total_absorbance"])


def test_fewer_training_images_than_bins_leave_the_cue_out():
    few = DataLoader(dataset(12), batch_size=6)
    with pytest.warns(
        FailuresWarning, match=r"the cue 'x' is left out: cue_edges: fewer images than bins; given shape"
    ):
        fit([SimplicityBiasMonitor({"x": lambda b: b[0][:, 0, 0, 0]}, on_error="raise")], data=(few, few))


def test_a_denormalize_that_is_no_scale_and_shift_says_what_to_pass():
    with pytest.raises(InputError) as error:
        fit([SimplicityBiasMonitor(denormalize=torch.exp, on_error="raise")])
    assert str(error.value) == (
        "raw_units: denormalize is not one scale and shift a channel; given inputs (8, 6, 5, 5) to (8, 6, 5, 5). "
        "Pass the inverse of the standardisation: lambda x: x * std + mean."
    )


def test_wavelengths_that_are_not_monotone_are_refused_at_construction():
    with pytest.raises(InputError) as error:
        SimplicityBiasMonitor(wavelengths=[400.0, 410.0, 405.0], unit="nm")
    assert str(error.value) == (
        "SimplicityBiasMonitor: wavelengths are not strictly monotone; given 410 then 405 at channel 1. "
        "Sort the channels along the axis, and leave out repeated ones."
    )


def test_the_suite_passes_cues_raw_units_and_the_axis_on():
    monitors = failure_monitors(
        cues={"scanner": "2"}, denormalize=lambda x: 2 * x, wavelengths=[900.0, 1000.0], unit="cm-1"
    )
    (monitor,) = (one for one in monitors if isinstance(one, SimplicityBiasMonitor))
    assert set(monitor.reader.cues) == {"scanner"}
    assert monitor.denormalize(3) == 6
    assert (monitor.pictures.course.wavelengths, monitor.pictures.course.unit) == ([900.0, 1000.0], "cm-1")
