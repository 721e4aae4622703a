"""The channel monitor on tiny Lightning runs: what it logs, when, and that it touches nothing."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures.callbacks.channels import ChannelAttributionMonitor
from lightning_failures.callbacks.reference import TOO_LONG
from lightning_failures.callbacks.suite import failure_monitors
from lightning_failures.errors import FailuresWarning, InputError, UnknownNameError
from lightning_failures.functional.channels import jensen_shannon, spearman
from lightning_failures.probes.attribution import attribute_channels
from lightning_failures.reporting.glossary import glossary
from tests.runs import CHANNELS, CLASSES, Classifier, dataset, fit, hooks_on, loaders, trainer

KEY = "failures/channels/"
AXIS = [1000.0, 1100.0, 1200.0, 1300.0, 1400.0, 1500.0]
BANDS = {"Low": (1000, 1250), "High": (1250, 1500)}


def monitor(*args, **options):
    return ChannelAttributionMonitor(*args, **({"on_error": "raise", "budget": 100.0} | options))


def channels(values):
    return {key.removeprefix(KEY): float(value) for key, value in values.items() if key.startswith(KEY)}


class Flexible(Classifier):
    """The classifier for any number of channels."""

    def __init__(self, count):
        super().__init__()
        self.net[0] = nn.Conv2d(count, 8, 3)


def images(count, size=5, number=24):
    generator = torch.Generator().manual_seed(count)
    inputs = torch.rand(number, count, size, size, generator=generator)
    data = TensorDataset(inputs, torch.randint(0, CLASSES, (number,), generator=generator))
    return DataLoader(data, batch_size=8), DataLoader(data, batch_size=8)


# -- what is logged


def test_the_logged_profile_is_that_of_the_final_model_on_the_validation_images():
    watch = monitor(AXIS, "cm-1", BANDS)
    run, module = fit([watch])
    found = channels(run.callback_metrics)
    inputs, labels = dataset(30, seed=1).tensors
    expected = attribute_channels(module.net, inputs, labels, bands=BANDS, wavelengths=AXIS, unit="cm-1", null="head")
    for name, value, error in zip(expected.names, expected.values, expected.error, strict=True):
        assert found[f"change/{name}"] == pytest.approx(float(value), rel=1e-4)
        assert found[f"error/{name}"] == pytest.approx(float(error), rel=1e-4)
    assert found["floor"] == pytest.approx(float(expected.floor), rel=1e-4)
    assert found["bands"] == 2
    assert sum(found[f"share/{name}"] for name in BANDS) == pytest.approx(1)
    assert {key.split("/")[0] for key in found} == {
        *("change", "error", "share", "effective_channels", "entropy_channels", "gini", "largest_share", "centroid"),
        *("largest_change", "floor", "bands", "spearman", "jensen_shannon"),
    }


def test_shapley_values_are_logged_with_what_all_bands_hold_together():
    run, _ = fit([monitor(bands=2, method="shapley")])
    found = channels(run.callback_metrics)
    assert sum(value for key, value in found.items() if key.startswith("change/")) == pytest.approx(found["total"])
    assert "centroid" not in found


def test_stability_compares_with_the_evaluation_before():
    watch = monitor()
    run, _ = fit([watch], epochs=1)
    assert math.isnan(channels(run.callback_metrics)["spearman"])
    assert watch.undefined["spearman"] == "there is no earlier evaluation to compare with"
    watch = monitor(null=None)
    run, _ = fit([watch], epochs=2)
    one, other = (torch.tensor(profile.change, dtype=torch.float64) for profile in watch.course.profiles)
    found = channels(run.callback_metrics)
    assert found["spearman"] == pytest.approx(float(spearman(one, other)))
    shares = (torch.tensor(profile.share, dtype=torch.float64) for profile in watch.course.profiles)
    assert found["jensen_shannon"] == pytest.approx(float(jensen_shannon(*shares)), abs=1e-6)


def test_a_profile_under_its_floor_has_no_shares_and_says_why():
    class Ignorant(Classifier):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.0)

    watch = monitor()
    run, _ = fit([watch], Ignorant(), epochs=1)
    found = channels(run.callback_metrics)
    if found["largest_change"] > found["floor"]:
        pytest.fail("an untrained network passed its null floor")
    assert math.isnan(found["share/channel 0"])
    assert "null floor" in watch.undefined["share/channel 0"]
    assert watch.course.profiles[0].blank


@pytest.mark.parametrize(("count", "bands"), [(1, 1), (3, 3), (20, 20), (21, 11), (64, 16), (200, 20)])
def test_few_channels_stand_alone_and_many_are_put_together(count, bands):
    run, _ = fit([monitor()], Flexible(count), epochs=1, data=images(count))
    found = channels(run.callback_metrics)
    assert found["bands"] == bands
    assert sum(key.startswith("change/") for key in found) == bands


def test_windows_have_no_scalars_of_their_own_but_all_are_in_the_table(tmp_path):
    logger = CSVLogger(tmp_path, name="", version="")
    watch = monitor(method="window_conditional_permutation")
    run, _ = fit([watch], Flexible(40), epochs=1, data=images(40), logger=logger)
    found = channels(run.callback_metrics)
    assert found["bands"] == 40
    assert not any(key.startswith(("change/", "share/", "error/")) for key in found)
    lines = (tmp_path / "failures" / "channels" / "table.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["band"] for row in rows] == [f"channel {channel}" for channel in range(40)]
    assert set(rows[0]) == {
        *("step", "epoch", "band", "from", "to", "channels", "change", "error", "share", "pattern"),
    }
    assert rows[20]["channels"] == 5


def test_a_slash_in_a_name_does_not_split_the_key():
    run, _ = fit([monitor(bands={"C-O/C-C": [0, 1], "rest": [2, 3, 4, 5]})], epochs=1)
    assert "change/C-O-C-C" in channels(run.callback_metrics)


def test_a_constant_channel_has_exactly_no_change():
    inputs, labels = dataset().tensors
    inputs = inputs.clone()
    inputs[:, 4] = 0.3
    data = DataLoader(TensorDataset(inputs, labels), batch_size=8)
    run, _ = fit([monitor()], data=(data, data))
    assert channels(run.callback_metrics)["change/channel 4"] == 0


def test_the_predicted_class_counts_where_it_is_asked_for_and_where_there_are_no_labels():
    watch = monitor(target="predicted")
    run, module = fit([watch])
    inputs, _ = dataset(30, seed=1).tensors
    expected = attribute_channels(module.net, inputs, None)
    assert channels(run.callback_metrics)["change/channel 0"] == pytest.approx(float(expected.values[0]), rel=1e-4)


def test_labels_that_are_no_class_do_not_count():
    class Segmenter(Classifier):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))

        def training_step(self, batch, _):
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1], ignore_index=255)

        validation_step = training_step

    inputs = torch.rand(16, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    masks = (inputs.mean(1) * 8).long().clamp(max=3)
    masks[:, :2] = 255
    data = DataLoader(TensorDataset(inputs, masks), batch_size=8)
    run, module = fit([monitor()], Segmenter(), data=(data, data))
    masks[:, :2] = -100
    expected = attribute_channels(module.net, inputs, masks)
    assert channels(run.callback_metrics)["change/channel 1"] == pytest.approx(float(expected.values[1]), rel=1e-4)


def test_whole_numbers_as_images_are_run_as_floats():
    class Bytes(Classifier):
        def __init__(self):
            super().__init__()
            self.body = self.net

            class Scaled(nn.Module):
                def __init__(self, body):
                    super().__init__()
                    self.body = body

                def forward(self, pixels):
                    return self.body(pixels.float() / 255)

            self.net = Scaled(self.body)

    inputs, labels = dataset().tensors
    data = DataLoader(TensorDataset((inputs * 255).byte(), labels), batch_size=8)
    run, _ = fit([monitor()], Bytes(), data=(data, data))
    assert math.isfinite(channels(run.callback_metrics)["change/channel 0"])


# -- when


def test_epochs_and_steps_set_the_cadence(tmp_path):
    logger = CSVLogger(tmp_path, name="", version="")
    watch = monitor(every_n_epochs=2, every_n_steps=8)
    fit([watch], epochs=4, logger=logger, log_every_n_steps=50)
    assert [(profile.epoch, profile.step) for profile in watch.course.profiles] == [
        *((0, 6), (1, 8), (2, 16), (2, 18), (3, 24)),
    ]
    with (tmp_path / "metrics.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row[KEY + "floor"]]
    assert {8, 16, 24} <= set(steps)


def test_a_budget_of_nothing_examines_once():
    watch = monitor(budget=0.0, every_n_steps=1)
    fit([watch], epochs=3)
    assert [profile.epoch for profile in watch.course.profiles] == [0]
    assert watch.undefined == {"largest_change": TOO_LONG}


def test_validate_and_test_are_examined_too_and_do_not_join_the_course():
    watch = monitor(every_n_epochs=2)
    run, module = fit([watch], epochs=1)
    again = run.validate(module, loaders()[1], verbose=False)[0]
    tested = run.test(module, loaders()[1], verbose=False)[0]
    for found in (again, tested):
        assert channels(found)["change/channel 0"] == pytest.approx(watch.course.profiles[0].change[0], rel=1e-5)
    assert len(watch.course.profiles) == 1
    alone = monitor()
    assert "change/channel 0" in channels(trainer([alone]).test(Classifier(), loaders()[1], verbose=False)[0])


# -- what is left alone


def test_trained_weights_are_bitwise_the_same_with_steps_pictures_and_shapley(tmp_path):
    _, alone = fit([])
    logger = CSVLogger(tmp_path, name="", version="")
    watch = monitor(method="shapley", every_n_steps=2)
    _, watched = fit([watch], logger=logger)
    for one, other in zip(alone.state_dict().values(), watched.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert hooks_on(watched) == 0
    drawn = {path.name.split("-")[0] for path in (tmp_path / "failures" / "channels").glob("*.png")}
    assert drawn == {"profile", "course", "shapley"}


def test_gradients_modes_and_random_state_are_left_as_they_were_within_training():
    class Looks(Classifier):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            self.seen = (torch.get_rng_state(), self.training, [p.grad.clone() for p in self.parameters()])

        def on_train_batch_start(self, batch, batch_idx):
            if batch_idx == 0:
                return
            state, training, gradients = self.after
            assert torch.equal(self.seen[0], state)
            assert training
            assert all(torch.equal(a, b) for a, b in zip(self.seen[2], gradients, strict=True))

    class After(ChannelAttributionMonitor):
        def on_train_batch_end(self, trainer, module, *args):
            kept = (torch.get_rng_state(), module.training, [p.grad.clone() for p in module.parameters()])
            super().on_train_batch_end(trainer, module, *args)
            now = (torch.get_rng_state(), module.training, [p.grad for p in module.parameters()])
            assert torch.equal(kept[0], now[0])
            assert kept[1] == now[1]
            assert all(torch.equal(a, b) for a, b in zip(kept[2], now[2], strict=True))
            module.after = kept

    watch = After(every_n_steps=1, budget=100.0, on_error="raise")
    fit([watch], Looks())
    assert len(watch.course.profiles) == 2 + 6


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_in_half_precision_the_profile_is_about_the_same(precision):
    whole, half = monitor(), monitor()
    fit([whole], epochs=3)
    fit([half], epochs=3, precision=precision)
    one, other = (torch.tensor(watch.course.profiles[-1].change) for watch in (whole, half))
    assert torch.allclose(one, other, atol=0.05)


def test_a_compiled_module_is_run_uncompiled():
    class Compiled(Classifier):
        def __init__(self):
            super().__init__()
            self.net = torch.compile(self.net, backend="eager")

    watch = monitor(every_n_steps=4)
    _, module = fit([watch], Compiled())
    inputs, labels = dataset(30, seed=1).tensors
    expected = attribute_channels(module.net._orig_mod, inputs, labels)
    assert watch.course.profiles[-1].change == pytest.approx(expected.values.tolist(), rel=1e-4)


def test_a_resumed_run_goes_on_with_its_course(tmp_path):
    run, _ = fit([monitor()], epochs=1)
    run.save_checkpoint(tmp_path / "run.ckpt")
    again = monitor()
    whole = trainer([again], epochs=2)
    whole.fit(Classifier(), *loaders(), ckpt_path=tmp_path / "run.ckpt", weights_only=True)
    assert [profile.epoch for profile in again.course.profiles] == [0, 1]
    assert math.isfinite(channels(whole.callback_metrics)["spearman"])
    other = monitor(bands=3)
    whole = trainer([other], epochs=2)
    whole.fit(Classifier(), *loaders(), ckpt_path=tmp_path / "run.ckpt", weights_only=True)
    assert [profile.epoch for profile in other.course.profiles] == [1]


# -- bad input


def test_a_module_that_cannot_be_run_again_logs_nothing_and_says_why():
    class Shifted(Classifier):
        def validation_step(self, batch, _):
            return {"logits": self.net(batch[0]) + 5}

    watch = monitor()
    run, _ = fit([watch], Shifted())
    assert channels(run.callback_metrics) == {}
    assert "does not give the step's logits back" in watch.undefined["largest_change"]


def test_wavelengths_of_another_number_are_refused_on_the_first_batch_with_the_axes_that_were_seen():
    with pytest.warns(FailuresWarning) as caught:
        fit([ChannelAttributionMonitor([400.0, 500.0, 600.0, 700.0, 800.0], "nm")])
    (said,) = (str(warning.message) for warning in caught if issubclass(warning.category, FailuresWarning))
    assert said == (
        "ChannelAttributionMonitor stepped aside, training goes on. ChannelAttributionMonitor: wavelengths and "
        "channels differ in number; given 5 wavelengths, 6 channels in inputs (8, 6, 5, 5). "
        "Axis 2 has that many: pass channel_axis=2."
    )


REFUSED = [
    (
        {"wavelengths": [400.0, 500.0, 450.0]},
        InputError,
        "ChannelAttributionMonitor: wavelengths are not strictly monotone; given 500 then 450 at channel 1. "
        "Sort the channels along the axis, and leave out repeated ones.",
    ),
    (
        {"wavelengths": AXIS, "unit": "ft"},
        UnknownNameError,
        "ChannelAttributionMonitor: no such unit; given 'ft'. Choose from 'nm', 'um' and 'cm-1'.",
    ),
    (
        {"wavelengths": AXIS, "unit": "cm-1", "bands": "tissue"},
        UnknownNameError,
        "ChannelAttributionMonitor: no such set of bands; given 'tissue'. "
        "Choose from infrared pathology, visible and short-wave infrared.",
    ),
    (
        {"wavelengths": AXIS, "bands": ["Amide I"]},
        InputError,
        "ChannelAttributionMonitor: named bands need an axis with a unit; given wavelengths without a unit. "
        "Pass wavelengths=... and unit='nm', 'um' or 'cm-1'.",
    ),
    (
        {"wavelengths": AXIS, "bands": {"a/b": [0], "a-b": [1]}},
        InputError,
        "ChannelAttributionMonitor: bands cannot be told apart, or are of other channels; "
        "given a-b, a-b of 6 channels, inputs of 6. Give each band a name of its own, and bands of these inputs.",
    ),
    (
        {"method": "saliency"},
        UnknownNameError,
        "ChannelAttributionMonitor: no such method; given 'saliency'. Choose from ('ablation', 'shapley', "
        "'permutation', 'conditional_permutation', 'window_conditional_permutation', 'gradient_x_input', "
        "'integrated_gradients', 'expected_gradients').",
    ),
    (
        {"target": "both"},
        UnknownNameError,
        "ChannelAttributionMonitor: no such target; given 'both'. Choose from ('true', 'predicted').",
    ),
    (
        {"null": "weights"},
        UnknownNameError,
        "attribute_channels: no such null; given 'weights'. Choose from 'head' and 'channels'.",
    ),
    (
        {"every_n_steps": 0},
        InputError,
        "ChannelAttributionMonitor: there is no such cadence; given every_n_steps=0. Pass 1 or more, or None.",
    ),
]


@pytest.mark.parametrize(("options", "kind", "text"), REFUSED)
def test_what_cannot_be_used_is_refused_when_the_monitor_is_made(options, kind, text):
    with pytest.raises(kind) as error:
        ChannelAttributionMonitor(**options)
    assert str(error.value) == text


def test_channels_last_are_named_or_the_error_says_so():
    class Last(Classifier):
        def __init__(self):
            super().__init__()
            body = self.net

            class Moved(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = body

                def forward(self, images):
                    return self.body(images.movedim(3, 1))

            self.net = Moved()

    inputs, labels = dataset().tensors
    data = DataLoader(TensorDataset(inputs.movedim(1, 3), labels), batch_size=8)
    run, _ = fit([monitor(AXIS, "cm-1", BANDS, channel_axis=3)], Last(), data=(data, data))
    assert "change/Low" in channels(run.callback_metrics)
    with pytest.warns(FailuresWarning, match=r"6 wavelengths, 5 channels in .* Axis 3 has that many"):
        fit([ChannelAttributionMonitor(AXIS, "cm-1", BANDS)], Last(), data=(data, data))


def test_flattened_images_are_no_spectra_and_the_error_says_so():
    class Flat(Classifier):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(5000, CLASSES)

    inputs, labels = torch.zeros(8, 5000), torch.zeros(8, dtype=torch.int64)
    data = DataLoader(TensorDataset(inputs, labels), batch_size=8)
    with pytest.warns(FailuresWarning) as caught:
        fit([ChannelAttributionMonitor()], Flat(), epochs=1, data=(data, data))
    (said,) = (str(warning.message) for warning in caught if issubclass(warning.category, FailuresWarning))
    assert said == (
        "ChannelAttributionMonitor stepped aside, training goes on. ChannelAttributionMonitor: there are more channels "
        "than a spectrum has; given 5000 on axis 1 of inputs (8, 5000), at most 4096. "
        "Name the axis of the channels, channel_axis=..., or leave this monitor out."
    )


def test_large_images_are_kept_in_smaller_number(monkeypatch):
    monkeypatch.setattr("lightning_failures.callbacks.channels.MOST_VALUES", 10 * (CHANNELS * 25 + CLASSES))
    watch = monitor()
    fit([watch], epochs=1)
    assert len(watch._batch.inputs) == 10


def test_one_image_cannot_be_shuffled_and_the_error_says_what_can_be_done():
    inputs, labels = dataset(1).tensors
    one = DataLoader(TensorDataset(inputs, labels), batch_size=1)
    with pytest.warns(FailuresWarning, match="'permutation' takes channels from other images; given one image"):
        fit([ChannelAttributionMonitor(method="permutation")], data=(loaders()[0], one))


def test_a_model_that_reads_its_input_twice_is_run_the_plain_way():
    class Skip(Classifier):
        def __init__(self):
            super().__init__()
            body = self.net

            class Twice(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body, self.side = body, nn.Linear(CHANNELS, CLASSES)

                def forward(self, images):
                    return self.body(images) + self.side(images.mean((2, 3)))

            self.net = Twice()

    run, module = fit([monitor(logits="net")], Skip())
    inputs, labels = dataset(30, seed=1).tensors
    profile = attribute_channels(module.net, inputs, labels)
    assert "plain way" in profile.way
    assert channels(run.callback_metrics)["change/channel 0"] == pytest.approx(float(profile.values[0]), rel=1e-4)


# -- words


def test_every_logged_key_is_in_the_glossary():
    run, _ = fit([monitor(AXIS, "cm-1", BANDS, "shapley")], epochs=1)
    keys = [key for key in run.callback_metrics if key.startswith(KEY)]
    assert [key for key in keys if not glossary([key])] == []


def test_no_text_calls_a_band_more_than_what_the_model_depends_on():
    root = Path(__file__).resolve().parents[1]
    texts = [*root.joinpath("lightning_failures").rglob("*.py"), *root.joinpath("lightning_failures").rglob("*.html")]
    texts += [*root.glob("*.md"), *root.joinpath("benchmarks").glob("*.py"), *root.joinpath("examples").glob("*.py")]
    word = "bio" + "marker"
    assert len(texts) > 100
    assert [path.name for path in texts if word in path.read_text(encoding="utf-8").lower()] == []


# -- beside the others


def test_all_monitors_together_share_the_budget_and_the_axis():
    monitors = failure_monitors(wavelengths=AXIS, unit="cm-1", bands=BANDS, budget=0.04, on_error="raise")
    (watch,) = (callback for callback in monitors if isinstance(callback, ChannelAttributionMonitor))
    assert sum(callback.budget.share for callback in monitors if hasattr(callback, "budget")) == pytest.approx(0.04)
    run, _ = fit(monitors)
    assert "change/Low" in channels(run.callback_metrics)
    assert watch.course.unit == "cm-1"
