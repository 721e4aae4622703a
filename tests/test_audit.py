"""The mathematics of the audit: offset, label information along principal directions, intervals by jackknife."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from lightning_failures.functional import (
    ClassMoments,
    LabelDirections,
    Moments,
    add_sums,
    class_moments,
    directions_for_variance,
    half_slowdown,
    jackknife,
    label_directions,
    moments,
    offset_ratio,
    widen_classes,
)


def draw(seed: int, n: int = 200, d: int = 5, classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(classes, (n,), generator=generator)
    mixing = torch.randn(d, d, generator=generator, dtype=torch.float64)
    rows = torch.randn(n, d, generator=generator, dtype=torch.float64) @ mixing
    return rows + torch.randn(classes, d, generator=generator, dtype=torch.float64)[target], target


def pillai(rows: np.ndarray, target: np.ndarray) -> float:
    """Trace of the between-class scatter times the inverse of the total scatter, literally."""
    centred = rows - rows.mean(0)
    total = sum(np.outer(row, row) for row in centred)
    between = np.zeros_like(total)
    for label in set(target.tolist()):
        middle = centred[target == label].mean(0)
        between += (target == label).sum() * np.outer(middle, middle)
    return float(np.trace(np.linalg.solve(total, between)))


@pytest.mark.parametrize("seed", range(5))
def test_label_information_of_all_directions_sums_to_pillais_trace(seed: int) -> None:
    rows, target = draw(seed)
    info = label_directions(class_moments(rows, target, 3))
    trace = float((info.label + info.null).sum())
    assert trace == pytest.approx(pillai(rows.numpy(), target.numpy()), rel=1e-9)
    assert float(info.collected[-1]) == pytest.approx(1)


def test_pillais_trace_is_that_of_statsmodels() -> None:
    manova = pytest.importorskip("statsmodels.multivariate.manova")
    rows, target = draw(7)
    design = np.eye(3)[target.numpy()]
    contrast = np.array([[1.0, -1, 0], [0, 1, -1]])
    found = manova.MANOVA(rows.numpy(), design).mv_test([("classes", contrast)])
    theirs = float(found.results["classes"]["stat"].loc["Pillai's trace", "Value"])
    info = label_directions(class_moments(rows, target, 3))
    assert float((info.label + info.null).sum()) == pytest.approx(theirs, rel=1e-9)


def test_the_null_is_the_mean_over_all_orders_of_the_labels() -> None:
    rows, _ = draw(1, n=6, d=2)
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    found = [label_directions(class_moments(rows, labels[list(o)], 3)).label for o in itertools.permutations(range(6))]
    assert torch.stack(found).mean(0).abs().max() < 1e-12


def test_one_direction_of_shuffled_labels_in_twenty_exceeds_the_upper_null() -> None:
    generator = torch.Generator().manual_seed(3)
    rows, _ = draw(2, n=300)
    labels = torch.arange(300) % 3
    infos = [
        label_directions(class_moments(rows, labels[torch.randperm(300, generator=generator)], 3)) for _ in range(400)
    ]
    above = torch.stack([info.label + info.null > info.null_high for info in infos]).double().mean()
    assert 0.035 < above < 0.065
    exact = stats.chi2.ppf(0.95, 2) / 299
    assert float(infos[0].null_high) == pytest.approx(exact, rel=0.01)


def test_labels_that_say_nothing_leave_the_collected_share_undefined() -> None:
    rows = torch.randn(500, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    info = label_directions(class_moments(rows, torch.arange(500) % 4, 4))
    assert info.collected.isnan().all()
    assert half_slowdown(info).isnan()


def test_labels_in_the_small_direction_are_collected_there_and_nowhere_else() -> None:
    target = torch.arange(400) % 2
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(400, 2, generator=generator, dtype=torch.float64)
    rows = torch.stack([100 * noise[:, 0], target + 0.1 * noise[:, 1]], 1)
    info = label_directions(class_moments(rows, target, 2))
    assert abs(float(info.collected[0])) < 0.01
    assert directions_for_variance(info) == 1
    # almost all lies in the second direction, so that half is reached about half-way between them
    ratio = float(info.variance[0] / info.variance[1])
    assert half_slowdown(info).item() == pytest.approx(ratio**0.5, rel=0.1)


def test_half_slowdown_reads_the_logarithm_of_the_variance_between_two_directions() -> None:
    nothing = torch.zeros((), dtype=torch.float64)
    variance = torch.tensor([100.0, 4.0, 1.0], dtype=torch.float64)
    for collected, expected in (
        ([0.5, 0.9, 1.0], 1.0),
        ([0.7, 0.9, 1.0], 1.0),
        ([0.0, 0.5, 1.0], 25.0),
        ([0.0, 0.25, 0.75], 50.0),
    ):
        share = torch.tensor(collected, dtype=torch.float64)
        info = LabelDirections(variance, torch.eye(3), share, share, nothing, nothing)
        assert half_slowdown(info).item() == pytest.approx(expected)


def test_a_class_without_rows_changes_nothing() -> None:
    rows, target = draw(4)
    sums = class_moments(rows, target, 3)
    wide = label_directions(widen_classes(sums, 7))
    for one, other in zip(label_directions(sums), wide, strict=True):
        torch.testing.assert_close(one, other)
    assert widen_classes(sums, 2) is sums


def test_one_class_and_one_row_are_undefined() -> None:
    rows, target = draw(4)
    for sums in (class_moments(rows, target * 0, 3), class_moments(rows[:1], target[:1], 3), ClassMoments.zero(3, 5)):
        info = label_directions(sums)
        assert info.collected.isnan().all()
        assert info.null.isnan()


def test_constant_rows_hold_no_variance_in_any_direction() -> None:
    info = label_directions(class_moments(torch.ones(10, 3), torch.arange(10) % 2, 2))
    assert directions_for_variance(info) == 0
    assert info.label.eq(0).all()
    assert offset_ratio(moments(torch.ones(10, 3))).isnan()


def test_the_offset_ratio_is_the_mean_over_the_root_of_all_variances() -> None:
    rows = torch.tensor([[3.0, 4.0], [5.0, 4.0], [4.0, 3.0], [4.0, 5.0]])
    assert offset_ratio(moments(rows)).item() == pytest.approx(32**0.5 / (4 / 3) ** 0.5)
    assert offset_ratio(moments(rows - 4)).item() == 0


def test_sums_are_equal_under_any_cut() -> None:
    rows, target = draw(5)
    whole = class_moments(rows, target, 3)
    cut = add_sums([class_moments(r, t, 3) for r, t in zip(rows.split(33), target.split(33), strict=True)])
    for one, other in zip(whole, cut, strict=True):
        torch.testing.assert_close(one, other)


def test_the_jackknife_is_that_of_rows_left_out() -> None:
    generator = torch.Generator().manual_seed(1)
    groups = 3 + torch.randn(8, 20, 2, generator=generator, dtype=torch.float64)
    found = jackknife(offset_ratio, [moments(group) for group in groups])

    def ratio(rows: np.ndarray) -> float:
        return float(np.linalg.norm(rows.mean(0)) / np.sqrt(rows.var(0, ddof=1).sum()))

    every = groups.numpy()
    logs = np.array([np.log(ratio(np.delete(every, place, 0).reshape(-1, 2))) for place in range(8)])
    error = np.sqrt(7 / 8 * ((logs - logs.mean()) ** 2).sum())
    assert found.value == pytest.approx(ratio(every.reshape(-1, 2)))
    assert np.log(found.high / found.value) == pytest.approx(stats.t.ppf(0.975, 7) * error, rel=1e-3)
    assert np.log(found.value / found.low) == pytest.approx(stats.t.ppf(0.975, 7) * error, rel=1e-3)


def test_the_jackknife_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = torch.Generator().manual_seed(2)
    truth, covered = 3 * 2**0.5 / 2**0.5, 0
    for _ in range(200):
        groups = 3 + torch.randn(8, 25, 2, generator=generator, dtype=torch.float64)
        found = jackknife(offset_ratio, [moments(group) for group in groups])
        covered += found.low <= truth <= found.high
    assert 180 <= covered <= 199


def test_the_jackknife_of_a_group_without_rows_is_still_defined() -> None:
    rows, _ = draw(6)
    groups = [moments(part) for part in rows.split(40)]
    found = jackknife(offset_ratio, [*groups, Moments.zero(5)])
    assert found.low < found.value < found.high
