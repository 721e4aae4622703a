"""The metrics of simplicity bias: cuts of the data, processes, and what is refused."""

import pytest
import torch
from torch import Tensor

from lightning_failures import (
    CueExplainedVariance,
    DecisionDimension,
    ExplainedBySimple,
    LinearReference,
    UntappedInformation,
)
from lightning_failures.errors import InputError
from lightning_failures.functional import class_moments, ladder_features, linear_discriminant
from lightning_failures.metrics import CueSwap, Ladder, Retention
from tests.processes import run_on_processes


def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(4, (50,), generator=generator)
    features = torch.randn(50, 5, generator=generator) + target[:, None]
    labels = [torch.randint(4, (50,), generator=generator) for _ in range(3)]
    return {
        "target": target,
        "features": features,
        "own": labels[0],
        "donor": labels[1],
        "swapped": torch.randint(4, (50, 2), generator=generator),
        "logits": torch.randn(50, 4, generator=generator),
        "images": torch.rand(50, 5, 4, 4, generator=generator),
    }


def measured(rows: slice, cuts: int = 1) -> dict[str, Tensor]:
    data = {name: value[rows] for name, value in batch().items()}
    reference = LinearReference(4, 5)
    dimension, untapped, explained = DecisionDimension(ranks=(1, 3)), UntappedInformation(), ExplainedBySimple(4)
    cue, swap = CueExplainedVariance(torch.tensor([-0.5, 0.0, 1.0]), 4), CueSwap(["a", "b"])
    kept = Retention(["a", "b"], 4)
    ladder = Ladder(4, {name: rows.shape[1] for name, rows in ladder_features(data["images"]).items()})
    for part in range(cuts):
        x = {name: value.tensor_split(cuts)[part] for name, value in data.items()}
        dimension.update(x["own"], x["donor"], x["swapped"])
        untapped.update(x["own"], x["donor"], x["target"])
        explained.update(x["own"], x["donor"], x["target"])
        cue.update(x["logits"], x["features"][:, 0], x["target"])
        swap.update(x["own"], x["donor"], x["swapped"])
        kept.update(x["own"], x["swapped"], x["target"])
        reference.update(x["features"], x["target"])
        ladder.update(ladder_features(x["images"]), x["target"])
    metrics = {
        "dimension": dimension,
        "untapped": untapped,
        "explained": explained,
        "cue": cue,
        "swap": swap,
        "kept": kept,
        "reference": reference,
        "ladder": ladder,
    }
    values = {f"{name}/{key}": value for name, metric in metrics.items() for key, value in metric.compute().items()}
    fitted = reference.fit()
    values |= {"weight": fitted.weight, "bias": fitted.bias, "directions": reference.directions()}
    for name, rung in ladder.rungs().items():
        values |= {f"{name}/weight": rung.model.weight, f"{name}/bias": rung.model.bias}
    return {**values, "share": reference.chance(), "spectra": ladder.spectra().outer}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-9, atol=1e-9, equal_nan=True, msg=name)


@pytest.mark.parametrize("cuts", [2, 7, 60])
def test_any_cut_of_the_data_gives_the_same(cuts: int) -> None:
    assert_same(measured(slice(None), cuts), measured(slice(None)))


def shard(rank: int, world: int) -> dict[str, Tensor]:
    bounds = [0, 35, 50, 50]  # the third process has no image
    return measured(slice(bounds[rank], bounds[rank + 1] if rank < world - 1 else 50))


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3])
def test_uneven_and_empty_processes_equal_one(world: int) -> None:
    whole = measured(slice(None))
    for values in run_on_processes(world, shard):
        assert_same(values, whole)


def test_the_reference_is_the_function_of_its_moments() -> None:
    data = batch()
    metric = LinearReference(4, 5)
    metric.update(data["features"], data["target"])
    direct = linear_discriminant(class_moments(data["features"], data["target"], 4))
    torch.testing.assert_close(metric.fit(), direct)
    values = metric.compute()
    assert values["rows"] == 50
    assert values["classes"] == 4
    assert values["chance"] == data["target"].bincount().max().double() / 50


def test_directions_are_the_principal_ones() -> None:
    data = batch()
    metric = LinearReference(4, 5)
    metric.update(data["features"], data["target"])
    _, _, oracle = torch.pca_lowrank(data["features"].double(), q=5, niter=20)
    overlap = (metric.directions() * oracle).sum(0).abs()
    torch.testing.assert_close(overlap, torch.ones(5, dtype=torch.float64))


def test_rows_without_a_class_are_left_out() -> None:
    data = batch()
    metric = LinearReference(4, 5)
    metric.update(data["features"], data["target"].masked_fill(torch.arange(50) < 10, -1))
    direct = linear_discriminant(class_moments(data["features"][10:], data["target"][10:], 4))
    torch.testing.assert_close(metric.fit(), direct)


def test_no_rows_are_nan_and_say_why() -> None:
    metric = LinearReference(4, 5)
    assert metric.compute()["chance"].isnan()
    assert metric.undefined == {"chance": "no rows"}
    assert metric.chance().isnan()
    assert metric.directions().isnan().all()
    assert metric.fit().predict(torch.zeros(2, 5)).tolist() == [-1, -1]


def test_a_reference_that_is_undefined_compares_nothing() -> None:
    metric = UntappedInformation()
    metric.update(torch.tensor([0, 1]), torch.tensor([-1, -1]), torch.tensor([0, 0]))
    assert metric.compute()["images"] == 0
    assert metric.undefined["difference"] == "no image with a label and a prediction of both"


BAD = {
    "LinearReference.update: a label is no class; given a label 4 for 4 classes. "
    "Pass labels below num_classes; -1 leaves a row out.": (torch.zeros(2, 5), torch.tensor([0, 4])),
    "LinearReference.update: the number of features differs from the metric's; given rows of 3. "
    "Make one metric for each size; this one takes rows of 5.": (torch.zeros(2, 3), torch.tensor([0, 1])),
    "LinearReference.update: the target is not one class per row; given shape (3,) for 2 rows. "
    "Pass class indices; (n), int64.": (torch.zeros(2, 5), torch.tensor([0, 1, 2])),
}


@pytest.mark.parametrize("text", BAD)
def test_rows_that_do_not_fit_are_refused(text: str) -> None:
    with pytest.raises(InputError) as error:
        LinearReference(4, 5).update(*BAD[text])
    assert str(error.value) == text


def test_scores_in_place_of_labels_are_refused() -> None:
    with pytest.raises(InputError) as error:
        UntappedInformation().update(torch.zeros(3, 4), torch.zeros(3), torch.zeros(3))
    assert str(error.value) == (
        "UntappedInformation.update: predictions and target are not of the same images; given preds (3, 4), "
        "reference_preds (3,), target (3,). Pass labels, not scores: preds.argmax(1)."
    )
