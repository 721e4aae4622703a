import math
import random

import torch

from lightning_failures import FeaturesKept
from lightning_failures.functional import Best, angular_spread, better, filled, kept, kept_onwards


def row(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def literal(rank: float, cosine: float, best_rank: float, best_spread: float, label_rank: float) -> list[float]:
    """One layer, in plain numbers."""
    spread = 1 - cosine
    spread = 0.0 if rank == 0 and math.isnan(spread) else spread if math.isnan(spread) else max(spread, 0.0)
    most = min(best_rank, label_rank) if label_rank > 0 and not math.isnan(best_rank) else best_rank
    if math.isnan(rank) or not most > 0:
        dimensions = math.nan
    elif most <= 1:
        dimensions = float(rank > 0)
    else:
        dimensions = min(max(rank - 1, 0.0) / (most - 1), 1.0)
    spread = min(spread / best_spread, 1.0) if best_spread > 0 and not math.isnan(spread) else math.nan
    known = [share for share in (dimensions, spread) if not math.isnan(share)]
    both = math.sqrt(dimensions * spread) if len(known) == 2 else known[0] if known else math.nan
    return [dimensions, spread, both]


def test_what_is_kept_is_the_plain_rule() -> None:
    draw = random.Random(0)

    def some(low: float, high: float) -> float:
        return draw.choice([math.nan, 0.0, low, high, *(draw.uniform(low, high) for _ in range(5))])

    layers = [(some(0, 9), some(-1, 1), some(0, 9), some(0, 2)) for _ in range(2000)]
    rank, cosine, best_rank, best_spread = (row(*column) for column in zip(*layers, strict=True))
    for label_rank in (math.nan, 0.0, 2.5, 20.0):
        found = torch.stack(kept(rank, cosine, Best(best_rank, best_spread), label_rank), 1)
        expected = torch.tensor([literal(*layer, label_rank) for layer in layers], dtype=torch.float64)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12, equal_nan=True)


def test_the_geometric_mean_counts_and_a_missing_share_does_not() -> None:
    best = Best(row(9, 9, 9), row(1, 1, math.nan))
    found = kept(row(5, 9, 3), row(0.5, 0.75, 0.5), best)
    assert found.kept.tolist() == [0.5, 0.5, 0.25]
    assert found.dimensions.tolist() == [0.5, 1.0, 0.25]


def test_one_quantity_alone_is_no_collapse_unless_nearly_nothing_is_left_of_it() -> None:
    best = Best(row(14, 32, 14, 32), row(0.4, 1, 0.4, 1))
    narrow_cone, line, one_direction, fewer = kept(row(14.1, 1.16, 14, 6), row(0.96, 0.1, 0.9999, 0.2), best).kept
    assert narrow_cone > 0.3  # all dimensions, a tenth of the angles
    assert line < 0.1  # all angles, which two opposite directions have too
    assert one_direction < 0.1
    assert fewer > 0.3


def test_a_layer_that_needs_one_dimension_keeps_it_all_until_it_does_not_vary() -> None:
    best = Best(row(8, 8), row(0.5, 0.5))
    assert kept(row(1, 0), row(0.5, math.nan), best, label_rank=1.0).dimensions.tolist() == [1, 0]
    assert kept(row(1, 0), row(0.5, math.nan), best, label_rank=1.0).kept.tolist() == [1, 0]


def test_features_of_two_views_that_begin_on_a_line_or_in_one_direction_fill_next_to_nothing() -> None:
    rank, cosine = row(1.06, 1.63, 8.7, 7.0, 0.0), row(0.0, 0.1, 0.996, 0.93, math.nan)
    assert [share < 0.2 for share in filled(rank, cosine, row(64, 64, 64, 64, 64)).tolist()] == [
        *(True, True, True),
        False,
        True,
    ]
    assert filled(row(1.5, 1.5), row(0, 0), row(2, 64)).tolist() == [0.5, 0.1]


def test_more_than_the_best_is_all_of_it_and_labels_ask_for_no_more_than_they_need() -> None:
    best = Best(row(11, 11, 1), row(0.5, 0.5, 0.5))
    assert kept(row(20, 4, 1), row(0.5, 0.5, 0.5), best, label_rank=5.0).dimensions.tolist() == [1.0, 0.75, 1.0]
    assert kept(row(20, 4, 1), row(0.5, 0.5, 0.5), best).dimensions.tolist() == [1.0, 0.3, 1.0]


def test_features_that_are_zero_have_no_spread_and_others_without_a_direction_are_unknown() -> None:
    assert repr(angular_spread(row(0, 2, 0, 1), row(math.nan, math.nan, 0.5, 1.5)).tolist()) == "[0.0, nan, 0.5, 0.0]"


def test_the_best_only_rises_and_what_is_nan_changes_nothing() -> None:
    best = Best.nothing(2)
    for rank, cosine in (((2, math.nan), (0.5, 0.5)), ((math.nan, math.nan), (0.75, math.nan)), ((1, 3), (0.25, 1))):
        best = better(best, row(*rank), row(*cosine))
    assert best.dimensions.tolist() == [2, 3]
    assert best.spread.tolist() == [0.75, 0.5]


def test_what_a_layer_lost_but_a_later_one_has_was_not_lost() -> None:
    assert repr(kept_onwards(row(0.1, 0.5, math.nan, 0.3)).tolist()) == "[0.5, 0.5, nan, 0.3]"
    assert kept_onwards(row()).tolist() == []


def rows(dimensions: int, seed: int = 0) -> torch.Tensor:
    drawn = torch.randn(400, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn * (torch.arange(8) < dimensions)


def test_the_metric_compares_an_evaluation_with_the_best_before_it() -> None:
    metric, ranks = FeaturesKept(8), {}
    for epoch, dimensions in enumerate((4, 8, 2, 8)):
        metric.reset()
        metric.update(rows(dimensions, epoch))
        values = metric.compute()
        ranks[epoch] = float(values["effective_rank"])
        if epoch == 0:
            assert values["kept"].isnan()
            assert metric.undefined["kept"].startswith("no earlier evaluation to compare with")
        else:
            best = max(ranks[before] for before in range(epoch))
            assert float(values["dimensions_kept"]) == min((ranks[epoch] - 1) / (best - 1), 1.0)
            assert float(values["kept"]) == float((values["dimensions_kept"] * values["spread_kept"]).sqrt())
    metric.label_rank = 4.0
    assert metric.compute()["dimensions_kept"] == 1


def test_an_evaluation_that_was_not_computed_is_not_remembered() -> None:
    metric = FeaturesKept(8)
    metric.update(rows(8))
    metric.reset()
    assert metric.best.dimensions.isnan()
    metric.update(rows(2))
    metric.compute()
    assert metric.best.dimensions.isnan()
    metric.reset()
    assert float(metric.best.dimensions) > 1.9
    metric.reset()
    assert float(metric.best.dimensions) > 1.9


def test_another_label_rank_is_another_result() -> None:
    metric = FeaturesKept(8)
    for dimensions in (8, 2):
        metric.reset()
        metric.update(rows(dimensions))
        metric.compute()
    without = float(metric.compute()["dimensions_kept"])
    metric.label_rank = 4.0
    assert without < float(metric.compute()["dimensions_kept"]) < 1
