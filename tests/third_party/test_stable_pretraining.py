"""stable-pretraining: SimCLR on two views; forward takes the batch and the stage."""

import pytest
import stable_pretraining as spt
import torch
from loguru import logger
from stable_pretraining.forward import simclr
from torch import nn
from torch.utils.data import DataLoader

from tests.third_party.watched import features_or_unwatched, no_classes, undisturbed, watch

FEATURES = 12
logger.remove()  # it prints pages of every run


def view(i, seed):
    image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(10_000 * seed + i))
    image[i % 3] += 0.5
    return image


def views(rows):
    labels = torch.tensor(rows) % 3
    return {"views": [{"image": torch.stack([view(i, seed) for i in rows]), "label": labels} for seed in (1, 2)]}


def single(rows):
    return {"image": torch.stack([view(i, 3) for i in rows]), "label": torch.tensor(rows) % 3}


@pytest.mark.other_callbacks
def test_two_views_are_watched_in_the_features_and_no_classes_are_made_of_them():
    def make():
        backbone = nn.Sequential(nn.Conv2d(3, FEATURES, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return spt.Module(
            backbone=backbone,
            projector=nn.Sequential(nn.Linear(FEATURES, 16), nn.ReLU(), nn.Linear(16, 8)),
            simclr_loss=spt.losses.NTXEntLoss(temperature=0.5),
            forward=simclr,
            optim={"optimizer": {"type": "AdamW", "lr": 1e-2}, "scheduler": {"type": "ConstantLR"}},
        )

    def loaders():
        return (
            DataLoader(list(range(64)), 16, shuffle=True, collate_fn=views),
            DataLoader(list(range(100, 140)), 10, collate_fn=single),
        )

    watched = watch(make, loaders)
    undisturbed(watched)
    no_classes(watched)
    images = torch.stack([view(i, 3) for i in range(100, 140)])
    with torch.no_grad():
        features_or_unwatched(watched, watched.module.backbone.eval()(images))
