"""The channel monitor on tiny Lightning runs: what it logs, when, and that it touches nothing."""

import csv
import json
import math

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import ChannelAttributionMonitor, attribute_channels
from lightning_failures.functional import jensen_shannon, spearman
from tests.runs import CLASSES, Classifier, dataset, fit, loaders, trainer

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


@pytest.mark.parametrize("options", [{}, {"null": "head"}], ids=["by default", "head"])
def test_the_logged_profile_is_that_of_the_final_model_on_the_validation_images(options):
    watch = monitor(AXIS, "cm-1", BANDS, **options)
    run, module = fit([watch])
    found = channels(run.callback_metrics)
    inputs, labels = dataset(30, seed=1).tensors
    null = options.get("null", "images")
    expected = attribute_channels(module.net, inputs, labels, bands=BANDS, wavelengths=AXIS, unit="cm-1", null=null)
    for name, value, error in zip(expected.names, expected.values, expected.error, strict=True):
        assert found[f"change/{name}"] == pytest.approx(float(value), rel=1e-4)
        assert found[f"error/{name}"] == pytest.approx(float(error), rel=1e-4)
    assert found["floor"] == pytest.approx(float(expected.floor), rel=1e-4)
    assert found["bands"] == 2
    shares = [found[f"share/{name}"] for name in BANDS]
    assert shares == pytest.approx(expected.share.tolist(), rel=1e-4, nan_ok=True)
    assert null == "images" or sum(shares) == pytest.approx(1)
    assert {key.split("/")[0] for key in found} == {
        *("change", "error", "share", "effective_channels", "largest_share", "centroid"),
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


def test_one_logit_tells_two_classes_apart():
    class Two(Classifier):
        def __init__(self):
            super().__init__()
            self.net[-1] = nn.Linear(8, 1)

        def training_step(self, batch, _):
            return nn.functional.binary_cross_entropy_with_logits(self.net(batch[0])[:, 0], batch[1].float())

        validation_step = training_step

    inputs, labels = dataset().tensors
    data = DataLoader(TensorDataset(inputs, (labels == 1).long()), batch_size=8)
    run, module = fit([monitor(logits="net")], Two(), data=(data, data))
    expected = attribute_channels(module.net, inputs, (labels == 1).long())
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
    watch = monitor(every_n_epochs=2, every_n_steps=8, detail="full")
    fit([watch], epochs=4, logger=logger, log_every_n_steps=50)
    assert [(profile.epoch, profile.step) for profile in watch.course.profiles] == [
        *((0, 6), (1, 8), (2, 16), (2, 18), (3, 24)),
    ]
    with (tmp_path / "metrics.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row[KEY + "floor"]]
    assert {7, 15, 23} <= set(steps)  # as Lightning counts what is logged of the steps before them


def test_a_long_cadence_examines_once_and_at_the_end():
    watch = monitor(every_n_epochs=9)
    fit([watch], epochs=3)
    assert [profile.epoch for profile in watch.course.profiles] == [0, 2]
    assert watch.completed[KEY + "largest_change"] == watch.values["largest_change"]


def test_a_budget_of_nothing_examines_nothing_and_says_so():
    watch = monitor(budget=0.0, every_n_steps=1)
    fit([watch], epochs=3)
    assert watch.course is None
    why = "not yet examined: the budget of 0% of the first minute was spent"
    assert watch.undefined == {"largest_change": why}
    assert watch.not_watched == {"which bands the predictions depend on": why}


def test_validate_and_test_are_examined_too_and_do_not_join_the_course():
    watch = monitor(every_n_epochs=2)
    run, module = fit([watch], epochs=1)
    for verb in (run.validate, run.test):
        verb(module, loaders()[1], verbose=False)
        found = run.callback_metrics
        assert channels(found)["change/channel 0"] == pytest.approx(watch.course.profiles[0].change[0], rel=1e-5)
    assert len(watch.course.profiles) == 1
    alone = trainer([monitor()])
    alone.test(Classifier(), loaders()[1], verbose=False)
    assert "change/channel 0" in channels(alone.callback_metrics)
