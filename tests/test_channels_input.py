"""What the channel monitor says of input that it cannot use, in which words, and how it stands beside the others."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import ChannelAttributionMonitor, attribute_channels, failure_monitors
from lightning_failures.errors import FailuresWarning, InputError, UnknownNameError
from tests.runs import CHANNELS, CLASSES, Classifier, dataset, fit, loaders
from tests.test_channels_monitor import AXIS, BANDS, channels, monitor

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
        "ChannelAttributionMonitor stepped aside, training goes on: wavelengths and "
        "channels differ in number; given 5 wavelengths, 6 channels in inputs (8, 6, 5, 5).\n"
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
        "ChannelAttributionMonitor: no such null; given 'weights'. Choose from 'images', 'head' and 'channels'.",
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
    with pytest.warns(FailuresWarning, match=r"6 wavelengths, 5 channels in .*\nAxis 3 has that many"):
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
        "ChannelAttributionMonitor stepped aside, training goes on: there are more channels "
        "than a spectrum has; given 5000 on axis 1 of inputs (8, 5000), at most 4096.\n"
        "Name the axis of the channels, channel_axis=..., or leave this monitor out."
    )


def test_large_images_are_kept_in_smaller_number(monkeypatch):
    monkeypatch.setattr("lightning_failures.callbacks.channels.monitor.MOST_VALUES", 10 * (CHANNELS * 25 + CLASSES))
    watch = monitor()
    fit([watch], epochs=1)
    assert len(watch.examining.batch.inputs) == 10


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
    budgets = {id(callback.budget): callback.budget.share for callback in monitors}
    assert list(budgets.values()) == [0.04]
    run, _ = fit(monitors)
    assert "change/Low" in channels(run.callback_metrics)
    assert watch.course.unit == "cm-1"
