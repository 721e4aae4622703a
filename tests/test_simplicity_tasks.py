"""The simplicity monitor on tasks of two classes, and what it says where an image has several labels."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import FailureDiagnosis, SimplicityBiasMonitor, transplant
from tests.runs import fit
from tests.test_simplicity_contents import draw
from tests.test_simplicity_monitor import EAGER, Fixed, values_of

SEVERAL = (
    "it needs one class per image, and this is a task of several labels per image; "
    "lightning_failures.transplant(model, images, donors, task='multilabel') says which content decides them"
)


class Head(nn.Module):
    """A fixed function of the images, as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function, self.idle = function, nn.Parameter(torch.zeros(1))

    def forward(self, images):
        return self.function(images) + 0 * self.idle


class Scored(Fixed):
    """A fixed layer whose scores a sigmoid takes."""

    def __init__(self, function):
        super().__init__(Head(function))

    def training_step(self, batch, _):
        return nn.functional.binary_cross_entropy_with_logits(self.function(batch[0]), batch[1])

    def validation_step(self, batch, _):
        return nn.functional.binary_cross_entropy_with_logits(self.function(batch[0]), batch[1])


def scenes(n=240):
    """Images of five channels; the third one is brighter where the label is 1."""
    labels = torch.arange(n) % 2
    images = 0.3 * draw(n, 5, 8, 8)
    images[:, 2] += 0.5 * labels[:, None, None]
    return images, labels


def run(function, images, labels):
    monitor, data = SimplicityBiasMonitor(**EAGER), DataLoader(TensorDataset(images, labels), batch_size=40)
    diagnosis = FailureDiagnosis(announce="nothing")
    return fit([monitor, diagnosis], Scored(function), epochs=4, data=(data, data))[0], monitor, diagnosis


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_of_two_classes_told_by_one_logit_the_channel_that_decides_is_named(shape):
    images, labels = scenes()
    trainer, _, _ = run(
        lambda x: 8 * (x[:, 2].mean((1, 2)) - 0.4).reshape(shape), images, labels.float().reshape(shape)
    )
    values = values_of(trainer)
    assert values["model_accuracy"] == 1
    assert values["transplant/channel 2"] == 1
    assert values["transplant_own/channel 2"] == 0
    assert values["transplant_own/channel 3"] == 1
    assert values["reliance/channel 2"] > 0.9
    assert values["all_there_is/channel 2"] == 1


def several(images):
    """Two labels: the brightness of the first channel, and of the last."""
    return 8 * torch.stack([images[:, 0].mean((1, 2)) - 0.4, images[:, 2].mean((1, 2)) - 0.4], 1)


def test_where_an_image_has_several_labels_it_is_said_what_tells_of_them_instead():
    images, labels = scenes()
    first = (torch.arange(240) % 4 < 2).long()
    images[:, 0] += 0.5 * first[:, None, None]
    both = torch.stack([first, labels], 1).float()
    _, monitor, diagnosis = run(several, images, both)
    assert monitor.unserved == SEVERAL
    assert diagnosis.record.not_watched["what decides the predictions"] == SEVERAL
    found = transplant(
        several,
        images,
        images.roll(1, 0),
        {"channel 2": lambda x, y: torch.cat([x[:, :2], y[:, 2:]], 1)},
        task="multilabel",
    )
    moved = found.preds[..., 0] == found.donor_preds
    differ = found.own_preds != found.donor_preds
    assert moved[:, 1][differ[:, 1]].all()
    assert not moved[:, 0][differ[:, 0]].any()
