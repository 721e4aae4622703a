"""chemprop: a message-passing network on graphs of molecules."""

import torch
from chemprop import data, models, nn

from tests.third_party.watched import features_or_unwatched, no_classes, right_or_unwatched, undisturbed, watch

SMILES = ["C" * n + tail for n in range(1, 13) for tail in ("", "O", "N", "c1ccccc1")]


def points(target):
    return [data.MoleculeDatapoint.from_smi(smiles, [float(target(smiles))]) for smiles in SMILES]


def loaders(target):
    train, held = points(target)[::2], points(target)[1::2]
    return (
        data.build_dataloader(data.MoleculeDataset(train), batch_size=8, num_workers=0, seed=5),
        data.build_dataloader(data.MoleculeDataset(held), batch_size=8, num_workers=0, shuffle=False),
    )


def fingerprints(watched, target):
    with torch.no_grad():
        return torch.cat([watched.module.eval().encoding(batch.bmg, i=1) for batch in loaders(target)[1]])


def model(predictor):
    return models.MPNN(nn.BondMessagePassing(d_h=16, depth=2), nn.MeanAggregation(), predictor, batch_norm=True)


def test_a_property_of_molecules_is_not_judged_as_classes():
    def make():
        return model(nn.RegressionFFN(input_dim=16, hidden_dim=8))

    watched = watch(make, lambda: loaders(len))
    undisturbed(watched)
    no_classes(watched)
    features_or_unwatched(watched, fingerprints(watched, len))


def test_a_binary_property_of_molecules_with_one_logit():
    def make():
        return model(nn.BinaryClassificationFFN(input_dim=16, hidden_dim=8))

    def is_ring(smiles):
        return "c" in smiles

    watched = watch(make, lambda: loaders(is_ring))
    undisturbed(watched)
    right, rows = 0.0, 0
    with torch.no_grad():
        for batch in loaders(is_ring)[1]:
            predicted = watched.module.eval()(batch.bmg)[:, 0] > 0.5
            right += (predicted == batch.Y[:, 0].bool()).sum().item()
            rows += len(predicted)
    right_or_unwatched(watched, right / rows)
    features_or_unwatched(watched, fingerprints(watched, is_ring))
