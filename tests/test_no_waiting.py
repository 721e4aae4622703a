"""A batch that passes by never makes a device wait, labels that count nowhere among it or not.

Tensors without values stand for a device's: whoever looks at a value of them, or asks how many rows a mask keeps,
fails, on a machine without a device too.
"""

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import (
    FactorErrorMonitor,
    FailureDiagnosis,
    LabelNoiseMonitor,
    PerturbationMonitor,
    failure_monitors,
)
from tests.runs import CHANNELS, CLASSES, dataset, fit, table


class Ignoring(L.LightningModule):
    """A classifier, of images or of pixels, whose loss leaves a label out."""

    def __init__(self, ignore_index, pixels=False):
        super().__init__()
        tail = [] if pixels else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        head = nn.Conv2d(8, CLASSES, 1) if pixels else nn.Linear(8, CLASSES)
        self.net = nn.Sequential(nn.Conv2d(CHANNELS, 8, 3, padding=1), nn.ReLU(), *tail, head)
        self.ignore_index = ignore_index

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1], ignore_index=self.ignore_index)

    validation_step = training_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def unlabelled(data, ignore_index, pixels=False):
    """The images, of which every fifth has no label, or every fifth of the pixels."""
    images, labels = data.tensors
    labels = images[:, :CLASSES].argmax(1) if pixels else labels
    missing = (torch.arange(labels.numel()) % 5 == 2).view(labels.shape)
    return DataLoader(TensorDataset(images, labels.masked_fill(missing, ignore_index)), batch_size=8)


class Readable(TorchDispatchMode):
    """Where an evaluation begins a device may be waited for: what is read of it then is 0 or 1."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            return 1
        if func is torch.ops.aten._to_copy.default and args[0].is_meta and kwargs.get("device") == torch.device("cpu"):
            return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        return func(*args, **kwargs)


def monitors():
    """Every kind of monitor."""
    suite = failure_monitors(factors=table(), on_error="raise")
    others = [PerturbationMonitor(on_error="raise"), LabelNoiseMonitor(on_error="raise")]
    return [each for each in (*suite, *others) if not isinstance(each, FailureDiagnosis)]


@pytest.mark.parametrize(("ignore_index", "pixels"), [(255, False), (-100, False), (255, True)])
def test_no_batch_of_validation_makes_a_device_wait_for_labels_that_count_nowhere(ignore_index, pixels):
    data = [unlabelled(dataset(n, seed=n), ignore_index, pixels) for n in (48, 30)]
    watching = [each for each in monitors() if not pixels or not isinstance(each, PerturbationMonitor)]
    run, module = fit(watching, Ignoring(ignore_index, pixels), data=data, epochs=2)
    module.to("meta")
    for monitor in watching:
        assert monitor.failure is None
        with Readable():
            monitor.on_validation_start(run, module)
        for batch_idx, batch in zip(range(2), data[1], strict=False):
            batch = [part.to("meta") for part in batch]
            monitor.on_validation_batch_start(run, module, batch, batch_idx)
            loss = module.validation_step(batch, batch_idx)
            monitor.on_validation_batch_end(run, module, loss, batch, batch_idx)  # any error is raised


@pytest.mark.parametrize("ignore_index", [255, -100])
def test_factors_have_the_same_figures_as_without_the_images_that_have_no_label(ignore_index):
    images, labels = dataset(60, seed=3).tensors
    factors = torch.stack([images.mean((1, 2, 3)) > 0.5, images[:, 0].mean((1, 2)) > 0.5], 1)
    images[7::5] = torch.nan  # of such an image nothing counts, not even that its scores are not finite
    missing = torch.zeros(60).bool()
    missing[7::5] = True

    def figures(kept, target):
        held = DataLoader(TensorDataset(images[kept], target[kept], factors[kept]), batch_size=8)
        monitor = FactorErrorMonitor("2", names=["bright", "strong"], on_error="raise")
        courses = []

        class Course(L.Callback):
            def on_validation_end(self, trainer, pl_module):
                if not trainer.sanity_checking:
                    courses.append({key: float(value) for key, value in monitor.values.items()})

        torch.manual_seed(0)
        fit([monitor, Course()], Ignoring(ignore_index), data=(DataLoader(dataset(), batch_size=8), held), epochs=3)
        return courses

    with_them = figures(torch.ones(60).bool(), labels.masked_fill(missing, ignore_index))
    assert repr(with_them) == repr(figures(~missing, labels))  # every digit, and nan like nan
    assert with_them[-1]["images/all"] == 49
    assert with_them[-1]["spillover_risk/bright"] == with_them[-1]["spillover_risk/bright"]  # images were paired


def test_changed_images_without_a_label_count_nowhere():
    data = [unlabelled(dataset(n, seed=n), 255) for n in (48, 30)]
    monitor = PerturbationMonitor(["darker"], on_error="raise")
    fit([monitor], Ignoring(255), data=data, epochs=1)
    assert int(monitor.metric.compute()["images/darker"]) == 24
