"""Channel profiles: scores, sums, shares, errors, patterns and stability."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import sem, spearmanr, t
from torch import Tensor
from torch.nn import functional as F

from lightning_failures.errors import InputError
from lightning_failures.functional import (
    ChannelProfile,
    ChannelSums,
    Moments,
    chance_floor,
    channel_sums,
    haufe_pattern,
    jensen_shannon,
    mean_change,
    moments,
    pearson,
    share,
    signal_moments,
    spearman,
    standard_error,
    target_scores,
)


def profile(
    changes: Tensor, floor: float = 0.0, sampling: Tensor | None = None, chance: bool = False
) -> ChannelProfile:
    bands = changes.shape[1]
    return ChannelProfile(
        names=tuple(f"band {i}" for i in range(bands)),
        changes=changes.double(),
        members=torch.eye(bands, dtype=torch.bool),
        sampling=torch.zeros(bands, dtype=torch.float64) if sampling is None else sampling,
        positions=None,
        total=torch.tensor(torch.nan),
        least=torch.tensor(floor, dtype=torch.float64),
        method="ablation",
        output="cross_entropy",
        baseline="mean",
        target="true",
        way="",
        chance=chance,
    )


# -- sums


def test_mean_and_standard_error_are_those_of_scipy() -> None:
    changes = torch.randn(17, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sums = channel_sums(changes)
    assert torch.allclose(mean_change(sums), changes.mean(0))
    assert torch.allclose(standard_error(sums), torch.from_numpy(sem(changes.numpy())))


def test_one_image_has_a_mean_and_no_standard_error() -> None:
    sums = channel_sums(torch.tensor([[2.0, 0.0]]))
    assert mean_change(sums).tolist() == [2.0, 0.0]
    assert bool(standard_error(sums).isnan().all())


def test_no_image_has_no_mean() -> None:
    assert bool(mean_change(ChannelSums.zero(3)).isnan().all())


def test_an_image_whose_change_is_nan_does_not_count() -> None:
    sums = channel_sums(torch.tensor([[1.0, 2.0], [torch.nan, 5.0]]))
    assert int(sums.images) == 1
    assert mean_change(sums).tolist() == [1.0, 2.0]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 2**31))
def test_sums_of_parts_are_the_sums_of_the_whole(images: int, cut: int, seed: int) -> None:
    changes = torch.randn(images, 3, generator=torch.Generator().manual_seed(seed))
    known = torch.tensor([0.1, 0.2, 0.3]), torch.tensor(4.0), torch.tensor(0.5)
    whole = channel_sums(changes, *known)
    parts = [channel_sums(changes[:cut], *known), channel_sums(changes[cut:], *known)]
    for name, value in whole._asdict().items():
        assert torch.allclose(sum(getattr(part, name) for part in parts), value), name


# -- scores of the target


def test_the_score_is_minus_the_cross_entropy_of_torch() -> None:
    logits, target = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 1, 0])
    expected = -F.cross_entropy(logits.double(), target, reduction="none")
    assert torch.allclose(target_scores(logits, target), expected, atol=1e-6)


def test_the_score_of_pixels_is_their_mean_over_those_that_count() -> None:
    logits, target = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    target[0, :2] = -100
    target[1] = -100
    each = F.cross_entropy(logits, target, reduction="none", ignore_index=-100)
    scores = target_scores(logits, target)
    assert float(scores[0]) == pytest.approx(-float(each[0, 2:].mean()), abs=1e-6)
    assert bool(scores[1].isnan())


def test_an_image_without_a_pixel_that_counts_has_gradient_zero_and_not_nan() -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    target = torch.stack([torch.zeros(4, 4), torch.full((4, 4), -100.0)]).long()
    (gradient,) = torch.autograd.grad(target_scores(logits, target).nansum(), logits)
    assert bool(gradient.isfinite().all())
    assert not bool(gradient[1].any())


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_one_logit_is_two_classes(shape: tuple[int, ...]) -> None:
    logits, target = torch.randn(5), torch.tensor([0, 1, 1, 0, 1])
    expected = -F.binary_cross_entropy_with_logits(logits, target.float(), reduction="none")
    assert torch.allclose(target_scores(logits.view(shape), target), expected.double(), atol=1e-6)
    signed = torch.where(target == 1, logits, -logits)
    assert torch.allclose(target_scores(logits.view(shape), target, "logit"), signed.double())


def test_logits_and_targets_that_do_not_fit_are_named() -> None:
    with pytest.raises(InputError) as caught:
        target_scores(torch.zeros(4, 3, 8, 8), torch.zeros(4, 16, 16))
    assert str(caught.value) == (
        "target_scores: logits and targets do not belong together; "
        "given logits (4, 3, 8, 8), targets (4, 16, 16). "
        "Give logits (n c) with targets (n), or logits (n c h w) with targets (n h w)."
    )
    with pytest.raises(InputError, match=r"^attribute_channels: logits and targets do not belong together"):
        target_scores(torch.zeros(4, 3, 8, 8), torch.zeros(4, 16, 16), where="attribute_channels")


# -- share and floor


def test_shares_sum_to_one_and_count_sizes() -> None:
    assert share(torch.tensor([3.0, -1.0, 0.0])).tolist() == [0.75, 0.25, 0.0]


def test_a_profile_without_any_change_is_blank() -> None:
    empty = profile(torch.zeros(4, 3))
    assert empty.blank
    assert bool(empty.share.isnan().all())
    assert empty.values.tolist() == [0.0, 0.0, 0.0]


def test_a_profile_under_its_null_floor_is_blank_and_keeps_its_values() -> None:
    changes = torch.tensor([[0.02, 0.01], [0.02, 0.03]])
    assert profile(changes, floor=0.019).share.isnan().sum() == 0
    under = profile(changes, floor=0.021)
    assert under.blank
    assert bool(under.share.isnan().all())
    assert under.values.tolist() == pytest.approx([0.02, 0.02])


def test_the_floor_of_chance_is_the_one_sided_t_bound_of_all_bands_over_the_standard_error_of_each() -> None:
    changes = torch.randn(12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bounds = t.ppf(1 - 0.05 / 5, 11) * sem(changes.numpy())
    assert chance_floor(channel_sums(changes)).tolist() == pytest.approx(bounds.tolist())
    found = profile(changes, floor=0.01, chance=True)
    assert found.floors.tolist() == pytest.approx(bounds.tolist())
    best = (changes.mean(0).numpy() - bounds).argmax()
    assert float(found.floor) == pytest.approx(bounds[best])
    assert profile(changes, floor=9.0, chance=True).floors.tolist() == [9.0] * 5


def test_models_to_which_no_band_is_of_use_pass_the_floor_of_chance_in_one_of_twenty_at_most() -> None:
    drawn = torch.randn(2000, 16, 8, generator=torch.Generator().manual_seed(0))
    passed = sum(not profile(changes, chance=True).blank for changes in drawn)
    assert 60 <= passed <= 140  # 2,000 profiles of 8 bands, of which one in twenty passes by chance


def test_a_sure_rise_passes_beside_a_band_whose_changes_are_wild() -> None:
    drawn = torch.randn(40, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 30.0])
    found = profile(drawn + torch.tensor([1.0, 0.0]), chance=True)
    assert not found.blank
    assert float(found.floor) < 0.1 < 5.0 < float(found.floors[1])


def test_a_certain_fall_passes_the_floor_of_a_null_model_but_not_that_of_chance() -> None:
    falls = torch.tensor([[-1.0, 0.0], [-1.1, 0.0], [-0.9, 0.0]])
    assert not profile(falls, floor=0.5).blank
    assert profile(falls, floor=0.5, chance=True).blank
    assert not profile(-falls, floor=0.5, chance=True).blank


def test_one_image_alone_has_no_chance_to_be_told_and_a_blank_profile() -> None:
    alone = profile(torch.tensor([[1.0, 0.0]]), chance=True)
    assert math.isnan(float(alone.floor))
    assert alone.blank


def test_the_error_holds_the_spread_over_images_and_over_draws() -> None:
    changes = torch.tensor([[1.0], [3.0]])
    found = profile(changes, sampling=torch.tensor([3.0], dtype=torch.float64))
    assert float(found.error) == pytest.approx(math.sqrt(1.0 + 3.0))


# -- pattern


def test_the_pattern_shows_the_signal_where_the_weights_also_show_what_cancels_noise() -> None:
    gen = torch.Generator().manual_seed(0)
    signal, noise = torch.randn(20000, generator=gen), torch.randn(20000, generator=gen)
    channels = torch.stack([signal + noise, noise], 1)
    logits = channels @ torch.tensor([[1.0], [-1.0]])  # weighs both alike, and is the signal alone
    pattern = haufe_pattern(moments(torch.cat([channels, logits], 1)), 2)
    assert float(pattern[0, 0]) == pytest.approx(1 / math.sqrt(2), abs=0.03)
    assert abs(float(pattern[0, 1])) < 0.05


def test_the_pattern_is_the_correlation_matrix_of_torch() -> None:
    channels, logits = torch.randn(50, 4, dtype=torch.float64), torch.randn(50, 3, dtype=torch.float64)
    expected = torch.corrcoef(torch.cat([channels, logits], 1).T)[4:, :4]
    assert torch.allclose(haufe_pattern(moments(torch.cat([channels, logits], 1)), 4), expected)


def test_the_pattern_adds_up_over_batches_and_takes_images_and_pixels() -> None:
    inputs, logits = torch.randn(20, 4, 3, 3), torch.randn(20, 2, 3, 3)
    parts = [signal_moments(inputs[rows], logits[rows]) for rows in (slice(0, 7), slice(7, 20))]
    summed = Moments(*(a + b for a, b in zip(*parts, strict=True)))
    rows = torch.cat([inputs.mean((2, 3)), logits.mean((2, 3))], 1)
    assert torch.allclose(haufe_pattern(summed, 4), torch.corrcoef(rows.T.double())[4:, :4], atol=1e-6)
    last = signal_moments(inputs.movedim(1, -1), logits, axis=-1)
    assert torch.allclose(haufe_pattern(last, 4), haufe_pattern(summed, 4))


def test_the_pattern_of_a_constant_channel_is_nan() -> None:
    rows = torch.tensor([[5.0, 1.0], [5.0, 2.0], [5.0, 3.0]])
    assert bool(haufe_pattern(moments(rows), 1).isnan())


# -- stability


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=12))
def test_spearman_is_scipys_also_with_ties(pairs: list[tuple[int, int]]) -> None:
    first, second = torch.tensor(pairs, dtype=torch.float64).T
    ours = float(spearman(first, second))
    if first.unique().numel() < 2 or second.unique().numel() < 2:
        assert math.isnan(ours)
    else:
        assert ours == pytest.approx(spearmanr(first.numpy(), second.numpy()).statistic)


def test_spearman_of_a_blank_profile_is_nan() -> None:
    assert math.isnan(float(spearman(torch.tensor([torch.nan, 1.0]), torch.tensor([1.0, 2.0]))))


def test_jensen_shannon_is_scipys_distance_squared() -> None:
    gen = torch.Generator().manual_seed(0)
    p, q = (torch.rand(9, generator=gen, dtype=torch.float64) for _ in range(2))
    p[0] = q[3] = 0
    p, q = p / p.sum(), q / q.sum()
    assert float(jensen_shannon(p, q)) == pytest.approx(jensenshannon(p.numpy(), q.numpy(), base=2) ** 2)
    assert float(jensen_shannon(p, p)) == 0
    assert float(jensen_shannon(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))) == pytest.approx(1)
    assert math.isnan(float(jensen_shannon(p, torch.full_like(p, torch.nan))))


def test_pearson_of_a_constant_is_nan() -> None:
    assert math.isnan(float(pearson(torch.ones(4), torch.arange(4.0))))
