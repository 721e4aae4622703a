"""The simplicity monitor in a run: its turns, resuming, tasks and shapes of inputs."""

import json
import math

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import SimplicityBiasMonitor, failure_monitors
from lightning_failures.functional import total_absorbance
from tests.runs import Classifier, fit, hooks_on, loaders, trainer
from tests.test_simplicity_monitor import EAGER, nearest, scene, thick, values_of, watch, with_shape

#: Why a transplant may be undefined though it was looked at: a network that has hardly begun predicts one class.
EXAMINED = (None, "no pair of images with different predictions")


def test_trained_weights_are_bitwise_the_same_and_no_hook_stays(tmp_path):
    _, alone = fit([])
    logger = CSVLogger(tmp_path, name="", version="")
    monitor = SimplicityBiasMonitor({"first": lambda batch: batch[0][:, 0, 0, 0]}, **EAGER)
    _, watched = fit([monitor], logger=logger)
    for (name, plain), (_, with_us) in zip(alone.state_dict().items(), watched.state_dict().items(), strict=True):
        assert torch.equal(plain, with_us), name
    assert hooks_on(watched) == 0
    folder = tmp_path / "failures" / "simplicity"
    assert list(folder.glob("ladder-*.png"))
    rows = [json.loads(line) for line in (folder / "table.jsonl").read_text().splitlines()]
    assert [row["rung"] for row in rows] == 2 * monitor.models.names
    assert rows[-1]["reach"] == pytest.approx(float(monitor.values["reach/low_frequencies"]))


def test_the_parts_are_dealt_out_within_the_budget_the_headline_first():
    images, labels, _ = scene(80)
    monitor = SimplicityBiasMonitor(**EAGER)
    watch(thick, images, labels, monitor=monitor)
    examination = monitor.examination
    contents = examination.contents
    parts = {"headline", *contents, "channels", "regions", "image_ranks", "pixel_ranks"}
    assert {"total_absorbance", "level", "texture"} < set(contents)
    assert set(examination.fits(1e9)) == parts
    monitor.turns.waits = dict.fromkeys(parts, 1) | {"image_ranks": 3, "pixel_ranks": 2}
    work, examination.searches["channels"].within = examination.work, None
    # contents go before what has waited longer, the poorest first; each is one pass of the images
    assert examination.fits(work["headline"] + 3 * work["level"])[:4] == ("headline", *list(work)[1:4])
    assert list(work)[1] == "total_absorbance"
    every = work["headline"] + len(contents) * work["level"]
    poorest = list(work)[1 : 1 + len(contents)]
    assert examination.fits(every + work["image_ranks"]) == ("headline", *poorest, "image_ranks")
    assert examination.fits(0.0) == ("headline",)
    examination.follow(("headline", "image_ranks"))
    assert (monitor.turns.waits["image_ranks"], monitor.turns.waits["pixel_ranks"]) == (1, 3)


def test_what_is_left_to_a_later_evaluation_is_nan_and_says_why():
    images, labels, _ = scene(80)
    values, monitor, _ = watch(thick, images, labels, epochs=2)
    assert values["own/1"] > 0.9
    monitor.examination.begin(torch.device("cpu"))
    monitor.examination.follow(("headline",))
    monitor.examination.run(thick, images, labels)
    found, why = monitor.examination.compute()
    assert found["own/1"] > 0.9
    assert math.isnan(found["transplant/level"])
    assert why["transplant/level"] == "left to a later evaluation, or to the end of the run, by the budget"


def test_a_resumed_run_keeps_its_simple_models_its_cues_and_its_turns(tmp_path):
    cues = {"first": lambda batch: batch[0][:, 0, 0, 0]}
    monitor = SimplicityBiasMonitor(cues, **EAGER)
    run, _ = fit([monitor], epochs=2)
    run.save_checkpoint(tmp_path / "run.ckpt")
    again = SimplicityBiasMonitor(cues, **EAGER)
    whole = trainer([again], epochs=3)
    whole.fit(Classifier(), *loaders(), ckpt_path=tmp_path / "run.ckpt", weights_only=True)
    for name, rung in monitor.models.rungs.items():
        assert torch.equal(again.models.rungs[name].model.weight, rung.model.weight), name
    assert torch.equal(again.models.bins["first"].labels, monitor.models.bins["first"].labels)
    assert again.undefined.get("transplant/level") in EXAMINED
    assert again.examination.known.keys() >= monitor.examination.known.keys()


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
    assert again.stream.sums.ladder.compute()["rows"] == 3 * 8 + 8


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
    L.seed_everything(7, verbose=False)  # before the network is made
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(40, 4, 8, 8, generator=generator) + torch.rand(40, 1, 8, 8, generator=generator)
    labels = (images.sum(1) > 4).long()
    data = DataLoader(TensorDataset(images, labels), batch_size=8)
    monitor = SimplicityBiasMonitor({"depth": lambda batch: batch[0][:, 0]}, **EAGER)
    run, _ = fit([monitor], Segmenter(), epochs=3, data=(data, data))
    values = values_of(run)
    assert values["images"] == 40 * 16
    assert values["reach/total_absorbance"] > 0.95
    for key in ("own/1", "pixel_own/2", "transplant/level", "transplant/texture", "eta2/depth", "reliance/depth"):
        assert math.isfinite(values[key]), (key, monitor.undefined.get(key))
    assert not [key for key in values if "border" in key or "region" in key]  # whose labels would move along


def test_a_binary_problem_of_one_logit_is_watched():
    images, labels, _ = scene(200, classes=2)

    def model(x):
        return 4 * (total_absorbance(x) / 4.8 - 1.5)[:, None]

    shown = with_shape(images, labels)
    values, monitor, diagnosis = watch(model, shown, labels, epochs=6, logits="logits")
    assert values["model_accuracy"] > 0.9
    assert values["reliance/total_absorbance"] == 1
    assert monitor.lowest_rung == "total_absorbance"
    assert ("simple_cue_reliance", "total_absorbance") in {(f.kind, f.subject) for f in diagnosis.findings}


def test_rows_without_pixels_are_watched_too():
    images, labels, _ = scene()
    rows = images.mean((2, 3))
    values, monitor, _ = watch(lambda x: nearest(x.sum(1) / 4.8 - 1), rows, labels)
    assert values["reliance/total_absorbance"] == 1
    assert monitor.models.names == ["total_absorbance", "first_component", "best_channel", "mean_spectrum"]
    assert not [key for key in values if key.startswith("pixel_") or "border" in key]


def test_the_suite_passes_cues_raw_units_and_the_axis_on():
    monitors = failure_monitors(
        cues={"scanner": "2"}, denormalize=lambda x: 2 * x, wavelengths=[900.0, 1000.0], unit="cm-1"
    )
    (monitor,) = (one for one in monitors if isinstance(one, SimplicityBiasMonitor))
    assert set(monitor.reader.own_cues) == {"scanner"}
    assert monitor.reader.denormalize(3) == 6
    assert (monitor.course.wavelengths, monitor.course.unit) == ([900.0, 1000.0], "cm-1")


def test_validate_and_test_after_training_are_examined_too():
    monitor = SimplicityBiasMonitor(**EAGER)
    run, module = fit([monitor], epochs=2)
    for verb in (run.validate, run.test):
        verb(module, loaders()[1], verbose=False)
        assert math.isfinite(run.callback_metrics["failures/simplicity/reach/mean_spectrum"])
        assert monitor.undefined.get("transplant/level") in EXAMINED


@pytest.mark.parametrize("options", [{"precision": "bf16-mixed"}, {"val_check_interval": 0.5}])
def test_mixed_precision_and_several_evaluations_an_epoch_are_watched(options):
    monitor = SimplicityBiasMonitor(**EAGER)
    fit([monitor], epochs=3, **options)
    assert monitor.undefined.get("transplant/level") in EXAMINED


def test_one_channel_sequences_single_pixels_and_doubles_are_watched():
    images, labels, _ = scene(channels=1)
    values, _, _ = watch(lambda x: nearest(x.mean((1, 2, 3)) / 0.5 - 1), images, labels)
    assert values["own/1"] == values["pixel_own/1"] == 1
    images, labels, _ = scene()
    for some in (images.double(), images[:, :, :1, :1].clone(), images.flatten(2)):
        values, _, _ = watch(lambda x: nearest(x.flatten(2).mean(2).sum(1) / 4.8 - 1), some, labels)
        assert values["reliance/total_absorbance"] == 1


def test_many_classes_leave_out_what_would_fill_the_memory():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(300, 5, 4, 4, generator=generator) + torch.arange(300)[:, None, None, None] / 30
    labels = torch.arange(300) // 2  # 150 classes
    values, monitor, _ = watch(lambda x: nearest((x.mean((1, 2, 3)) - 0.5) * 15, 150), images, labels)
    assert not [key for key in values if key.startswith(("eta2", "explained", "lowest"))]
    assert values["reliance/total_absorbance"] > 0.9
    assert values["reach/total_absorbance"] > 0.02
    assert monitor.lowest_rung is None


def test_at_a_long_cadence_the_first_evaluation_and_the_end_are_examined_and_the_ladder_goes_on():
    images, labels, _ = scene(80)
    values, monitor, diagnosis = watch(thick, images, labels, epochs=3, every_n_epochs=9)
    first, second, last = [each.values["failures/simplicity/own/1"] for each in diagnosis.record.evaluations]
    assert first > 0.9
    assert math.isnan(second)
    assert values["own/1"] == pytest.approx(last)
    assert last == float(monitor.values["own/1"]) > 0.9
    assert values["reach/total_absorbance"] > 0.9
    assert values["explained_adjusted/total_absorbance"] > 0.9
