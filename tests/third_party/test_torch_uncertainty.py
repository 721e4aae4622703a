"""torch-uncertainty: routines around a network of the user's: one that predicts classes, one a distribution."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch_uncertainty.routines import ClassificationRoutine

from tests.third_party.watched import features_or_unwatched, right_or_unwatched, undisturbed, watch

CLASSES = 3


def images(rows, seed):
    labels = torch.arange(rows) % CLASSES
    pixels = torch.rand(rows, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    pixels[torch.arange(rows), labels] += 0.4
    return TensorDataset(pixels, labels)


def binary(rows, seed):
    pixels, labels = images(rows, seed).tensors
    return TensorDataset(pixels, (labels == 0).long())


def network(outputs):
    return nn.Sequential(nn.Conv2d(3, 12, 3, 2), nn.BatchNorm2d(12), nn.ReLU(), nn.Flatten(), nn.Linear(588, outputs))


def adam(model):
    return torch.optim.Adam(model.parameters(), 1e-3)


def test_a_classification_routine_with_mixup_is_watched():
    def make():
        mixed = {"mixtype": "mixup", "mixup_alpha": 1.0}
        return ClassificationRoutine(
            network(CLASSES), CLASSES, nn.CrossEntropyLoss(), optim_recipe=adam, mixup_params=mixed
        )

    watched = watch(make, lambda: (DataLoader(images(96, 0), 16, shuffle=True), DataLoader(images(50, 1), 16)))
    undisturbed(watched)
    pixels, labels = images(50, 1).tensors
    with torch.no_grad():
        accuracy = (watched.module.eval()(pixels).argmax(1) == labels).double().mean().item()
    right_or_unwatched(watched, accuracy)
    features_or_unwatched(watched, watched.rows("model.4", pixels))
    assert "collapse/accuracy" in watched.ours


def test_a_binary_routine_with_one_logit():
    def make():
        return ClassificationRoutine(network(1), 1, nn.BCEWithLogitsLoss(), optim_recipe=adam)

    watched = watch(make, lambda: (DataLoader(binary(96, 0), 16, shuffle=True), DataLoader(binary(50, 1), 16)))
    undisturbed(watched)
    pixels, labels = binary(50, 1).tensors
    with torch.no_grad():
        accuracy = ((watched.module.eval()(pixels).squeeze(1) > 0).long() == labels).double().mean().item()
    right_or_unwatched(watched, accuracy)
    features_or_unwatched(watched, watched.rows("model.4", pixels))


def test_a_deep_ensemble_of_several_rows_an_image():
    from torch_uncertainty.methods import deep_ensembles
    from torch_uncertainty.transforms import RepeatTarget

    def make():
        model = deep_ensembles([network(CLASSES), network(CLASSES)])
        return ClassificationRoutine(
            model, CLASSES, nn.CrossEntropyLoss(), is_ensemble=True, format_batch_fn=RepeatTarget(2), optim_recipe=adam
        )

    watched = watch(make, lambda: (DataLoader(images(96, 0), 16, shuffle=True), DataLoader(images(50, 1), 16)))
    undisturbed(watched)
    pixels, labels = images(50, 1).tensors
    with torch.no_grad():
        scores = watched.module.eval()(pixels).softmax(1).view(2, 50, CLASSES).mean(0)
    right_or_unwatched(watched, (scores.argmax(1) == labels).double().mean().item())
