"""Slices: what is found among planted and clean features, against literal restatements and known values."""

import math

import pytest
import torch
from statsmodels.stats.contingency_tables import StratifiedTable
from statsmodels.stats.multitest import multipletests

from lightning_failures import FailuresError, find_slices
from lightning_failures.functional import narrow_features, searched_half

N, CLASSES, WIDTH = 1200, 4, 10


def images(seed=0, planted=True, n=N):
    """Features around the mean of each class, and predictions that are wrong now and then, more so on the planted."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(CLASSES, (n,), generator=generator)
    features = torch.randn(n, WIDTH, generator=generator) + 3 * torch.eye(WIDTH)[target]
    odd = torch.rand(n, generator=generator) < 0.06
    share = torch.where(odd & planted, 0.7, 0.1)
    if planted:
        features[odd, 5] += 7
    wrong = torch.rand(n, generator=generator) < share
    return features, (target + wrong) % CLASSES, target, odd


def test_a_planted_slice_is_found_and_described():
    features, preds, target, odd = images()
    other = torch.arange(N) % 3 == 0
    found = find_slices(features, preds, target, torch.stack([odd, other], 1), ["odd", "other"], factors_alone=False)
    hardest = found.slices[0]
    assert hardest.name == "described by odd"
    assert [each.name for each in hardest.factors] == ["odd"]
    top = hardest.typical.masked_fill(~found.tested_on, -math.inf).topk(10).indices
    assert odd[top].all()
    assert hardest.members[odd & found.tested_on].double().mean() > 0.6
    assert hardest.low > 0.2


@pytest.mark.parametrize("seed", range(12))
def test_where_no_group_is_harder_hardly_anything_is_found(seed):
    features, preds, target, _ = images(seed, planted=False)
    found = find_slices(features, preds, target)
    assert all(one.low < 0.1 for one in found.slices)


def test_the_level_holds_where_errors_do_not_depend_on_the_images():
    found = [find_slices(*images(100 + seed, planted=False)[:3]).slices for seed in range(60)]
    assert sum(bool(slices) for slices in found) <= 7  # of 60 at 5% each, more than 7 come in 1 of 100


def test_figures_are_those_of_the_second_half_within_classes():
    features, preds, target, odd = images()
    found = find_slices(features, preds, target, odd[:, None], ["odd"])
    p_values = []
    for one in found.slices:
        second, wrong = found.tested_on, preds != target
        tables, up, weight = [], 0.0, 0.0
        for number in range(CLASSES):
            rows = second & (target == number)
            a, b = (int((rows & one.members & each).sum()) for each in (wrong, ~wrong))
            c, d = (int((rows & ~one.members & each).sum()) for each in (wrong, ~wrong))
            tables.append([[a, b], [c, d]])
            up += (a * (c + d) - c * (a + b)) / (a + b + c + d)
            weight += (a + b) * (c + d) / (a + b + c + d)
        assert one.difference == pytest.approx(up / weight)
        assert one.images == int((second & one.members).sum())
        assert one.error == pytest.approx(float(wrong[second & one.members].double().mean()))
        assert one.error_others == pytest.approx(max(0.0, one.error - one.difference))
        assert one.low < one.difference < one.high
        p_values.append(StratifiedTable([torch.tensor(each).numpy() for each in tables]).test_null_odds(True).pvalue)
    adjusted = multipletests(p_values + [1.0] * (found.candidates - len(p_values)), method="holm")[1]
    for one, p_value in zip(found.slices, adjusted, strict=False):
        assert one.p_value == pytest.approx(p_value, rel=1e-6, abs=1e-12)


def test_nothing_of_the_tested_half_decides_what_is_looked_for():
    features, preds, target, odd = images()
    half = searched_half(N)
    first = find_slices(features, preds, target, odd[:, None], ["odd"])
    spoilt = torch.where(half, preds, target.add(1) % CLASSES)  # wrong on all of the tested half
    again = find_slices(features, spoilt, target, odd[:, None], ["odd"])
    assert again.candidates == first.candidates
    assert again.slices == ()  # no image is harder than another
    assert (first.tested_on == ~half).all()


def test_images_of_one_class_that_carry_a_factor_are_found():
    features, preds, target, _ = images(planted=False)
    dark = torch.rand(N, generator=torch.Generator().manual_seed(9)) < 0.3
    preds = torch.where(dark & (target == 2), 0, preds)
    found = find_slices(features, preds, target, dark[:, None], ["dark"], class_names=["coat", "bag", "shirt", "boot"])
    assert found.slices[0].name == "class shirt, dark"
    assert found.slices[0].error == 1
    assert (
        find_slices(features, preds, target).slices == ()
        or "dark" not in find_slices(features, preds, target).slices[0].name
    )


def test_a_factor_alone_is_left_to_others_where_that_is_said():
    features, preds, target, odd = images()
    features = torch.zeros_like(features)  # nothing to be found in
    assert [one.name for one in find_slices(features, preds, target, odd[:, None], ["odd"]).slices][:1] == ["odd"]
    names = [
        one.name for one in find_slices(features, preds, target, odd[:, None], ["odd"], factors_alone=False).slices
    ]
    assert "odd" not in names


def test_images_without_a_label_or_with_features_that_are_not_finite_count_nowhere():
    features, preds, target, odd = images()
    spoilt, unknown = features.clone(), target.clone()
    spoilt[5], unknown[6] = math.nan, -1
    found = find_slices(spoilt, preds, unknown, odd[:, None], ["odd"])
    assert not found.tested_on[[5, 6]].any()
    assert not any(one.members[[5, 6]].any() for one in found.slices)
    assert found.slices[0].name == find_slices(features, preds, target, odd[:, None], ["odd"]).slices[0].name


def test_too_few_images_or_errors_are_said():
    features, preds, target, _ = images(n=150)
    found = find_slices(features, preds, target)
    assert (found.slices, found.candidates) == ((), 0)
    assert found.why.startswith("150 images with ")
    features, _, target, _ = images()
    assert find_slices(features, target, target).why == "1200 images with 0 and 0 errors in the halves are not enough"


def test_images_of_a_group_are_searched_or_tested_together_and_intervals_count_groups():
    features, preds, target, odd = images(n=2400)
    groups = torch.arange(2400) // 4
    found = find_slices(features, preds, target, odd[:, None], ["odd"], groups=groups)
    assert (found.tested_on.view(-1, 4) == found.tested_on.view(-1, 4)[:, :1]).all()
    assert found.slices[0].low > 0.2
    # each image four times over tells no more than once
    thrice = [each.repeat_interleave(3, 0) for each in (features, preds, target, odd[:, None])]
    own, none = (find_slices(*thrice, ["odd"], groups=g) for g in (torch.arange(2400).repeat_interleave(3), None))
    assert own.slices[0].high - own.slices[0].low > 1.3 * (none.slices[0].high - none.slices[0].low)


def test_wide_features_are_projected_alike_everywhere():
    features, preds, target, _ = images()
    wide = torch.cat([features, torch.zeros(N, 500)], 1)
    assert narrow_features(wide).shape == (N, 128)
    one, other = (find_slices(wide, preds, target).slices[0] for _ in range(2))
    assert one.members.equal(other.members)
    assert narrow_features(features) is features


def test_it_draws_nothing_from_the_global_generators():
    before = torch.get_rng_state()
    find_slices(*images()[:3])
    assert torch.get_rng_state().equal(before)


def test_what_does_not_fit_together_is_refused():
    features, preds, target, odd = images()
    with pytest.raises(FailuresError, match="the arguments do not describe the same images; given features"):
        find_slices(features, preds[:-1], target)
    with pytest.raises(FailuresError, match="the arguments do not describe the same images"):
        find_slices(features, torch.zeros(N, CLASSES), target)
    with pytest.raises(FailuresError, match="factors have no names of their own; given 1 factors, 0 names"):
        find_slices(features, preds, target, odd[:, None])
