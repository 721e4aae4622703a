"""lightly: a linear classifier on a frozen backbone, as its benchmarks train it, in a Trainer of pytorch_lightning."""

import pytorch_lightning as pl
import torch
from lightly.utils.benchmarking import LinearClassifier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.third_party.watched import features_or_unwatched, right_or_unwatched, undisturbed, watch

CLASSES = 4


def images(rows, seed):
    labels = torch.arange(rows) % CLASSES
    pixels = torch.rand(rows, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    pixels[torch.arange(rows), labels % 3] += 0.4 + 0.4 * (labels == 3)[:, None, None]
    return TensorDataset(pixels, labels)


def loaders():
    return DataLoader(images(96, 0), 16, shuffle=True), DataLoader(images(50, 1), 16)


def backbone():
    return nn.Sequential(nn.Conv2d(3, 24, 3, 2), nn.BatchNorm2d(24), nn.ReLU(), nn.AdaptiveAvgPool2d(2))


def test_a_linear_classifier_on_frozen_features_is_watched_as_what_it_is():
    def make():
        return LinearClassifier(backbone(), 16, lr=4.0, feature_dim=96, num_classes=CLASSES, topk=(1, 2))

    watched = watch(make, loaders, pl.Trainer)
    undisturbed(watched)
    pixels, labels = images(50, 1).tensors
    with torch.no_grad():
        accuracy = (watched.module.eval()(pixels).argmax(1) == labels).float().mean().item()
    assert watched.figures["val_top1"] == accuracy
    right_or_unwatched(watched, accuracy)
    features_or_unwatched(watched, watched.rows("classification_head", pixels))
    assert "collapse/accuracy" in watched.ours
