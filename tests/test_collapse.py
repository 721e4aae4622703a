import itertools
import math

import pytest
import torch

from lightning_failures import FeatureSpectrum
from lightning_failures.errors import InputError
from lightning_failures.functional import collapse as c
from lightning_failures.functional import power_sums

BATCHES = [(200,), (1, 199), (64, 64, 64, 8), (3,) * 66 + (2,)]


def randn(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def values_of(features, batches=None, **kwargs):
    metric = FeatureSpectrum(features.shape[1], **kwargs)
    for batch in features.split(list(batches) if batches else 256):
        metric.update(batch)
    return metric.compute()


def same(found, expected, **tolerance):
    torch.testing.assert_close(found, expected, equal_nan=True, **tolerance)


def literal(x):
    """Every statistic from the rows themselves, centred, by singular values."""
    n, d = x.shape
    variances = (torch.linalg.svdvals(x - x.mean(0)).square() / (n - 1)).tolist()
    singular = torch.linalg.svdvals(x).tolist()
    shares = [v / sum(variances) for v in variances if v > 0]
    sizes = [v / sum(singular) for v in singular if v > 0]
    unit = x / x.norm(dim=1, keepdim=True)
    return {
        "rankme": math.exp(-sum(p * math.log(p) for p in sizes)),
        "effective_rank": math.exp(-sum(p * math.log(p) for p in shares)),
        "participation_ratio": sum(variances) ** 2 / sum(v * v for v in variances),
        "stable_rank": sum(variances) / max(variances),
        "top1_share": max(variances) / sum(variances),
        "mean_cosine": sum(float(unit[i] @ unit[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1)),
        "feature_spread": math.sqrt(sum(variances) / d),
        "images": n,
        "images_per_feature": n / d,
        "non_finite": 0,
    }


@pytest.mark.parametrize("mean", [0.0, 3.0])
@pytest.mark.parametrize(("n", "d"), [(60, 12), (20, 50)])
def test_statistics_equal_their_literal_restatement_also_with_fewer_rows_than_features(n, d, mean):
    x = randn(n, d) * torch.linspace(0.1, 2, d) + mean
    values = values_of(x)
    for key, expected in literal(x).items():
        assert values[key].item() == pytest.approx(expected, rel=1e-9), key


def test_the_unbiased_participation_ratio_is_that_of_all_quadruples():
    x = randn(7, 3)
    top = bottom = 0.0
    for first, second, third, fourth in itertools.permutations(x, 4):
        a, b = first - second, third - fourth
        top += float(a @ a) * float(b @ b)
        bottom += float(a @ b) ** 2
    assert c.participation_ratio_unbiased(power_sums(x)).item() == pytest.approx(top / bottom, rel=1e-10)


@pytest.mark.parametrize(("n", "d", "mean"), [(200, 30, 0.0), (40, 100, 0.0), (100, 20, 10.0), (5, 3, 1.0)])
def test_the_unbiased_participation_ratio_equals_that_of_dimensionality(n, d, mean):
    dimensionality = pytest.importorskip("dimensionality")
    x = randn(n, d, seed=n) * torch.linspace(0.2, 2, d) + mean
    expected = dimensionality.participation_ratio(x.numpy(), return_all=True)["row"]
    found = values_of(x, BATCHES[2] if n == 200 else None)["participation_ratio_unbiased"].item()
    assert found == pytest.approx(expected, rel=1e-8)


def test_isotropic_noise_with_as_many_rows_as_features_has_its_known_ranks():
    values = values_of(randn(512, 512))
    assert values["rankme"].item() / 512 == pytest.approx(0.805, abs=3e-3)
    assert values["participation_ratio"].item() / 512 == pytest.approx(0.5, abs=3e-3)
    assert values["participation_ratio_unbiased"].item() / 512 == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("batches", BATCHES)
def test_any_cut_into_batches_gives_the_same_statistics(batches):
    x = randn(200, 24) + 1
    same(values_of(x, batches), values_of(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("mean", "tolerance"), [(0.0, 1e-6), (100.0, 1e-3)])
def test_rankme_equals_that_of_a_float64_decomposition(mean, tolerance):
    x = (randn(2000, 64) + mean).float()
    singular = torch.linalg.svdvals(x.double())
    share = singular / singular.sum()
    expected = torch.special.entr(share).sum().exp().item()
    assert values_of(x)["rankme"].item() == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("mean", [0.0, 1.0, 100.0])
def test_an_exact_rank_is_read_exactly_far_from_zero(mean):
    basis = torch.linalg.qr(randn(512, 10, seed=1)).Q
    offset = mean * basis @ randn(10, 1, seed=2)  # inside the subspace: the uncentred rank is 10 too
    x = randn(3000, 10) @ basis.T + offset.T
    values = values_of(x)
    assert values["effective_rank"].item() == pytest.approx(10, abs=0.05)
    assert values["marchenko_pastur_rank"] == 10
    singular = torch.linalg.svdvals(x)[:10]
    expected = torch.special.entr(singular / singular.sum()).sum().exp().item()
    assert values["rankme"].item() == pytest.approx(expected, rel=1e-3)


def test_sums_in_shifted_float32_read_an_exact_rank_too(monkeypatch):
    monkeypatch.setattr(FeatureSpectrum, "numerics", "shifted float32, summed in float64")
    basis = torch.linalg.qr(randn(256, 10, seed=1)).Q
    for mean in (0.0, 100.0):
        values = values_of(randn(3000, 10) @ basis.T + mean)
        assert values["effective_rank"].item() == pytest.approx(10, abs=0.05)
        assert values["participation_ratio_unbiased"].item() == pytest.approx(10, abs=0.1)
        assert values["marchenko_pastur_rank"] == 10
        if mean == 0:
            assert values["rankme"].item() == pytest.approx(10, abs=0.01)


def test_bfloat16_features_of_rank_1_keep_their_covariance_rank():
    x = (randn(4000, 1) @ randn(1, 512, seed=1)).to(torch.bfloat16)
    values = values_of(x)
    assert values["effective_rank"].item() == pytest.approx(1, abs=1e-3)
    assert values["participation_ratio_unbiased"].item() == pytest.approx(1, abs=1e-3)
    assert values["rankme"].item() > 1.3  # rounding alone


@pytest.mark.parametrize("value", [0.0, 1 / 3, 1e4])
def test_constant_features_have_rank_0_and_a_reason_for_every_nan(value):
    metric = FeatureSpectrum(32)
    for _ in range(5):
        metric.update(torch.full((100, 32), value))
    values = metric.compute()
    for key in ("effective_rank", "participation_ratio", "participation_ratio_unbiased", "stable_rank"):
        assert values[key] == 0, key
    assert values["marchenko_pastur_rank"] == 0
    assert values["feature_spread"] == 0
    assert values["rankme"].item() == pytest.approx(0 if value == 0 else 1, abs=1e-12)
    undefined = {"top1_share", "alpha", "alpha_r2"} | ({"mean_cosine"} if value == 0 else set())
    assert metric.undefined.keys() == undefined
    assert metric.undefined["top1_share"].endswith("constant features, which have no variance to share")


def test_no_rows_and_one_row_are_nan_and_say_why():
    metric = FeatureSpectrum(4)
    values = metric.compute()
    counts = {"images", "images_per_feature", "non_finite"}
    assert metric.undefined.keys() == values.keys() - counts
    metric.update(torch.zeros(0, 4))
    metric.update(torch.ones(1, 4))
    values = metric.compute()
    assert metric.undefined.keys() == values.keys() - counts - {"rankme"}
    assert values["rankme"] == 1
    metric.update(torch.eye(4)[:2])
    metric.compute()
    why = "fewer than four finite rows, or more dimensions than a projection can tell"
    assert metric.undefined["participation_ratio_unbiased"] == why
    assert "effective_rank" not in metric.undefined


def test_rows_that_hold_nan_or_infinity_are_left_out_and_counted():
    x = randn(50, 6)
    dirty = torch.cat([x[:20], torch.full((2, 6), torch.nan), x[20:], x[:1]])
    dirty[-1, 3] = -torch.inf
    clean, found = values_of(x), values_of(dirty, (10, 43))
    assert found["non_finite"] == 3
    assert found["images"] == 50
    same(found | {"non_finite": clean["non_finite"]}, clean)


def test_rows_that_hold_nan_or_infinity_raise_where_that_is_chosen():
    metric = FeatureSpectrum(2, non_finite="raise")
    metric.update(torch.ones(3, 2))
    with pytest.raises(InputError) as error:
        metric.update(torch.tensor([[1.0, torch.nan], [0, 0]]))
    assert str(error.value) == (
        "FeatureSpectrum.update: features hold NaN or infinity; given 1 such rows of 2. Look for the first layer that "
        'gives such values, or pass non_finite="omit" to leave the rows out.'
    )
    assert metric.compute()["images"] == 3


def test_a_changing_feature_size_says_what_to_do():
    with pytest.raises(InputError) as error:
        FeatureSpectrum(8).update(torch.zeros(4, 16))
    assert str(error.value) == (
        "FeatureSpectrum.update: the number of features differs from the metric's; given rows of 16. Make one metric "
        "for each size; this one takes rows of 8."
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_summed_in_float64(dtype):
    x = randn(300, 8).to(dtype)
    same(values_of(x), values_of(x.double()), rtol=1e-12, atol=1e-12)


def test_autocast_changes_nothing():
    x = randn(300, 8).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = values_of(x)
    same(inside, values_of(x), rtol=0, atol=0)


def test_mean_cosine_leaves_rows_without_direction_out():
    x = torch.tensor([[2.0, 0.0], [0.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    expected = (0 + 2 * math.sqrt(0.5)) / 3
    assert values_of(x)["mean_cosine"].item() == pytest.approx(expected, rel=1e-12)


def test_a_projection_keeps_the_participation_ratios_and_says_what_it_loses():
    scale = 1 / torch.arange(1, 257, dtype=torch.float64).sqrt()
    x = randn(2000, 256) * scale
    exact, seeds = values_of(x), [values_of(x, projection=64, seed=seed) for seed in range(6)]
    for key, tolerance in [
        ("participation_ratio", 0.1),
        ("participation_ratio_unbiased", 0.1),
        ("feature_spread", 0.05),
    ]:
        mean = sum(values[key].item() for values in seeds) / len(seeds)
        assert mean == pytest.approx(exact[key].item(), rel=tolerance), key
    assert seeds[0]["rankme"] <= 64 < exact["rankme"]
    assert seeds[0]["images_per_feature"] == exact["images_per_feature"] == 2000 / 256


def test_a_projection_no_narrower_than_the_features_is_not_made():
    assert FeatureSpectrum(8).projection is None
    assert FeatureSpectrum(8, projection=8).projection is None
    assert FeatureSpectrum(8, projection=4).outer.shape == (4, 4)


def test_update_needs_no_gradient_and_keeps_none():
    x = randn(10, 4).requires_grad_()
    metric = FeatureSpectrum(4)
    metric.update(x)
    assert not metric.outer.requires_grad
