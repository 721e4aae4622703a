import math

import pytest
import torch

from lightning_failures import CrossLayerCKA, LiDAR, SubspaceOverlap
from lightning_failures.errors import InputError, UnknownNameError


def randn(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def alignment(x, y, batch=64):
    metric = CrossLayerCKA({"x": x.shape[1], "y": y.shape[1]})
    for i in range(0, len(x), batch):
        metric.update({"y": y[i : i + batch], "x": x[i : i + batch]})
    return metric.compute()["cka/x~y"].item()


def literal_alignment(x, y):
    """Kornblith et al.: the Hilbert-Schmidt independence criterion of centred kernels."""
    n = len(x)
    H = torch.eye(n, dtype=torch.float64) - 1 / n
    K, L = H @ x @ x.T @ H, H @ y @ y.T @ H
    return (torch.trace(K @ L) / (torch.trace(K @ K) * torch.trace(L @ L)).sqrt()).item()


@pytest.mark.parametrize("batch", [1, 50, 200])
def test_cka_is_that_of_the_centred_kernels_under_any_cut(batch):
    x = randn(200, 6) + 3
    y = x @ randn(6, 9, 1) + 2 * randn(200, 9, 2)
    assert alignment(x, y, batch) == pytest.approx(literal_alignment(x, y), rel=1e-9)


def test_cka_does_not_see_rotation_shift_and_scale():
    x = randn(100, 5)
    rotation = torch.linalg.qr(randn(5, 5, 1)).Q
    assert alignment(x, 7 * x @ rotation + 3) == pytest.approx(1, rel=1e-10)


def test_cka_of_unrelated_layers_is_what_the_docstring_says():
    assert alignment(randn(300, 100), randn(300, 100, 1)) == pytest.approx(1 / (1 + 300 / 100), rel=0.05)


def test_cka_names_every_pair_once():
    metric = CrossLayerCKA({"a": 2, "b": 3, "c": 1})
    metric.update({"a": randn(9, 2), "b": randn(9, 3), "c": randn(9, 1)})
    assert metric.compute().keys() == {"cka/a~b", "cka/a~c", "cka/b~c", "images", "non_finite"}


def test_cka_with_a_constant_layer_is_nan_and_says_why():
    metric = CrossLayerCKA({"a": 2, "b": 3, "c": 2})
    metric.update({"a": randn(9, 2), "b": torch.full((9, 3), 0.1), "c": randn(9, 2)})
    metric.compute()
    reason = "fewer than two finite rows, or a layer of constant features"
    assert metric.undefined == {"cka/a~b": reason, "cka/b~c": reason}


def test_cka_leaves_rows_with_nan_in_one_layer_out_of_all():
    x, y = randn(50, 3), randn(50, 4, 1)
    dirty = x.clone()
    dirty[:5] = torch.nan
    assert alignment(dirty, y) == pytest.approx(alignment(x[5:], y[5:]), rel=1e-12)


def test_cka_says_which_layers_it_wants():
    metric = CrossLayerCKA({"a": 2, "b": 3})
    with pytest.raises(UnknownNameError) as unknown:
        metric.update({"a": randn(4, 2)})
    assert str(unknown.value) == (
        "CrossLayerCKA.update: layers differ from the metric's; given a. Pass one entry for each of a, b."
    )
    with pytest.raises(InputError) as rows:
        metric.update({"a": randn(4, 2), "b": randn(5, 3)})
    assert str(rows.value) == (
        "CrossLayerCKA.update: layers differ in rows; given a 4, b 5. Pass the same images in the same order."
    )
    with pytest.raises(InputError, match="the number of features of b differs"):
        metric.update({"a": randn(4, 2), "b": randn(4, 2)})


def evaluate(metric, x):
    metric.reset()
    for part in x.split(50):
        metric.update(part)
    return metric.compute()["overlap"]


def subspace(axes, n=200, d=10, seed=0):
    scale = torch.full((d,), 0.1, dtype=torch.float64)
    for strength, axis in enumerate(axes, 2):
        scale[axis] = strength
    return randn(n, d, seed) * scale


def test_overlap_is_1_where_the_subspace_stays_and_falls_as_it_turns():
    metric = SubspaceOverlap(10, k=2)
    assert evaluate(metric, subspace([0, 1])).isnan()
    assert evaluate(metric, subspace([1, 0], seed=1)).item() == pytest.approx(1, abs=5e-3)
    assert evaluate(metric, subspace([1, 2], seed=2)).item() == pytest.approx(0.5, abs=2e-2)
    assert evaluate(metric, subspace([5, 6], seed=3)).item() == pytest.approx(0, abs=2e-2)
    assert metric.compute()["null"] == 0.2


def test_overlap_is_that_of_the_decompositions_of_the_rows():
    metric, x, y = SubspaceOverlap(8, k=3), randn(60, 8) + 2, randn(60, 8, 1)
    evaluate(metric, x)
    U, V = (torch.linalg.svd(rows - rows.mean(0)).Vh[:3] for rows in (x, y))
    assert evaluate(metric, y).item() == pytest.approx((U @ V.T).square().sum().item() / 3, rel=1e-9)


def test_overlap_of_random_subspaces_is_the_null():
    metric = SubspaceOverlap(50, k=5)
    found = [evaluate(metric, randn(100, 50, seed)).item() for seed in range(40)][1:]
    assert sum(found) / len(found) == pytest.approx(0.1, abs=0.02)


def test_an_interrupted_evaluation_leaves_the_previous_one_in_place():
    metric = SubspaceOverlap(10, k=2)
    evaluate(metric, subspace([0, 1]))
    metric.reset()
    metric.update(subspace([5, 6]))  # never computed
    assert evaluate(metric, subspace([0, 1], seed=1)).item() == pytest.approx(1, abs=5e-3)


def test_computing_twice_is_one_evaluation():
    metric = SubspaceOverlap(10, k=2)
    evaluate(metric, subspace([0, 1]))
    first = evaluate(metric, subspace([1, 2]))
    metric.update(subspace([1, 2]))
    assert metric.compute()["overlap"].item() == pytest.approx(first.item(), abs=1e-9)


@pytest.mark.parametrize("x", [torch.ones(20, 4), torch.arange(20.0)[:, None] * torch.ones(4), torch.zeros(0, 4)])
def test_overlap_of_fewer_dimensions_than_k_is_nan_and_says_why(x):
    metric = SubspaceOverlap(4, k=2)
    evaluate(metric, randn(20, 4))
    evaluate(metric, x.double())
    reason = "no evaluation before this one, or fewer than k dimensions vary in one of the two"
    assert metric.undefined == {"overlap": reason}


def test_a_subspace_that_does_not_exist_says_what_to_do():
    with pytest.raises(InputError) as error:
        SubspaceOverlap(4, k=5)
    assert str(error.value) == (
        "SubspaceOverlap: there is no such subspace; given k=5, num_features=4. Pass k from 1 to num_features."
    )


def views(x, y, batch=64, **kwargs):
    metric = LiDAR(x.shape[1], **kwargs)
    for i in range(0, len(x), batch):
        metric.update(x[i : i + batch], y[i : i + batch])
    return metric.compute()["lidar"].item()


def literal_lidar(x, y, delta=1e-4):
    n, d = x.shape
    means = (x + y) / 2
    within = sum(torch.outer(v - m, v - m) for v, m in zip([*x, *y], [*means, *means], strict=True)) / n
    within = within + delta * torch.eye(d, dtype=torch.float64)
    between = sum(torch.outer(m - means.mean(0), m - means.mean(0)) for m in means) / (n - 1)
    values = torch.linalg.eigvals(torch.linalg.solve(within, between)).real.clamp(min=0)
    share = values / values.sum()
    return math.exp(-sum(p * math.log(p) for p in share.tolist() if p > 0))


@pytest.mark.parametrize("batch", [1, 50, 200])
def test_lidar_is_its_definition_under_any_cut(batch):
    x = randn(200, 6) * torch.linspace(0.5, 3, 6) + 4
    y = x + 0.3 * randn(200, 6, 1) * torch.linspace(2, 0.1, 6)
    assert views(x, y, batch) == pytest.approx(literal_lidar(x, y), rel=1e-9)


def test_lidar_counts_the_directions_that_tell_images_apart():
    signal = torch.cat([randn(400, 3), torch.zeros(400, 9)], 1)
    first, second = (signal + 0.05 * randn(400, 12, seed) for seed in (1, 2))
    assert views(first, second) == pytest.approx(3, abs=0.2)


def test_lidar_is_0_for_constant_features_and_nan_without_images():
    assert views(torch.full((50, 4), 0.1), torch.full((50, 4), 0.1)) == 0
    metric = LiDAR(4)
    metric.compute()
    assert metric.undefined == {"lidar": "fewer than two images with two finite views"}


def test_lidar_leaves_images_with_nan_in_one_view_out():
    x, y = randn(60, 4), randn(60, 4, 1)
    dirty = y.clone()
    dirty[3:9] = torch.inf
    keep = torch.ones(60, dtype=torch.bool)
    keep[3:9] = False
    assert views(x, dirty) == pytest.approx(views(x[keep], y[keep]), rel=1e-12)


def test_views_of_different_length_say_what_to_do():
    with pytest.raises(InputError) as error:
        LiDAR(4).update(torch.zeros(3, 4), torch.zeros(2, 4))
    assert str(error.value) == (
        "LiDAR.update: the views differ in rows; given 3 and 2. Pass two views of the same images."
    )
