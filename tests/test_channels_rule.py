"""The rule single_band_reliance: on logged values, and on networks that use one planted band or several."""

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import ChannelAttributionMonitor, FailureDiagnosis, standard_rules
from lightning_failures.records import Evaluation
from tests.runs import trainer

KEY = "failures/channels/"


def rule():
    return [rule for rule in standard_rules() if rule.kind == "single_band_reliance"]


def values(share, change=2.0, bands=16.0):
    return {
        f"{KEY}share/1.6-1.7 um": share,
        f"{KEY}change/1.6-1.7 um": change,
        f"{KEY}error/1.6-1.7 um": 0.1,
        f"{KEY}share/other": 1 - share,
        f"{KEY}change/other": change,
        f"{KEY}error/other": 0.1,
        f"{KEY}floor": 0.3,
        f"{KEY}bands": bands,
        f"{KEY}effective_channels": 1.2,
    }


def diagnosed(*evaluations):
    diagnosis = FailureDiagnosis(rule())
    for epoch, logged in enumerate(evaluations):
        diagnosis.evaluate(Evaluation(epoch, 100 * epoch, logged))
    return diagnosis.history


def test_a_band_with_nearly_all_of_the_profile_is_named_with_its_figures():
    (finding,) = diagnosed(*[values(0.9)] * 4)
    assert (finding.subject, finding.epoch, finding.severity) == ("1.6-1.7 um", 3, "warning")
    assert finding.message == (
        "The model depends on one band: with 1.6-1.7 um replaced its cross-entropy rises by 2.00 nats (standard error "
        "0.10). That is 90% of all that is lost when each of the 16 bands is replaced in turn; a rise up to 0.30 "
        "would mean nothing."
    )


@pytest.mark.parametrize(
    "logged",
    [values(0.6), values(0.9, bands=3.0), values(1.0, bands=1.0), values(0.9, change=0.01), values(float("nan"))],
    ids=["shared", "three channels", "one channel", "no matter", "under the null floor"],
)
def test_a_shared_profile_few_bands_small_changes_and_blank_profiles_are_no_finding(logged):
    assert diagnosed(*[logged] * 6) == []


def test_it_is_cleared_when_other_bands_come_in():
    (finding,) = diagnosed(*[values(0.9)] * 4, *[values(0.4)] * 2)
    assert finding.cleared == 5


class Spectra(L.LightningModule):
    """A small network on spectra of 64 channels."""

    def __init__(self, channels=64):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(channels, 16, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    validation_step = training_step

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.005)


def trained(channels, carriers):
    """Findings, and the last profile, of a network whose class is the sign of the summed heights of some bands."""
    generator = torch.Generator().manual_seed(0)
    heights = torch.randn(512, len(carriers), generator=generator)
    images = 0.3 * torch.randn(512, channels, 2, 2, generator=generator)
    for height, carrier in zip(heights.T, carriers, strict=True):
        images[:, carrier] += height[:, None, None, None]
    labels = (heights.sum(1) > 0).long()
    train, valid = (TensorDataset(images[part], labels[part]) for part in (slice(256), slice(256, None)))
    L.seed_everything(0, verbose=False)
    watch = ChannelAttributionMonitor(budget=100.0, on_error="raise")
    diagnosis = FailureDiagnosis([{"name": "single_band_reliance", "warmup_steps": 0}], announce="nothing")
    run = trainer([watch, diagnosis], epochs=6)
    run.fit(Spectra(channels), DataLoader(train, batch_size=32, shuffle=True), DataLoader(valid, batch_size=128))
    return diagnosis.history, watch.course.profiles[-1]


def test_a_network_that_uses_one_band_of_sixteen_is_found_and_its_healthy_twin_is_not():
    (finding,), _ = trained(64, [slice(20, 24)])
    assert finding.subject == "channels 20-23"
    findings, healthy = trained(64, [slice(4 * band, 4 * band + 4) for band in (1, 5, 8, 12)])
    assert findings == []
    assert not healthy.blank
    assert all(healthy.share[band] > 0.15 for band in (1, 5, 8, 12))


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_colour_images_are_no_finding(channels):
    findings, profile = trained(channels, [slice(0, 1)])
    assert findings == []
    assert profile.share[0] > 0.7
