import math
import random

import torch

from lightning_failures import FeaturesKept
from lightning_failures.functional import Best, angular_spread, better, kept, kept_onwards


def row(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def literal(rank: float, cosine: float, best_rank: float, best_spread: float, label_rank: float) -> list[float]:
    """One layer, in plain numbers."""
    spread = 1 - cosine
    spread = 0.0 if rank == 0 and math.isnan(spread) else spread if math.isnan(spread) else max(spread, 0.0)
    most = min(best_rank, label_rank) if label_rank > 0 and not math.isnan(best_rank) else best_rank
    shares = [
        min(a / b, 1.0) if b > 0 and not math.isnan(a) else math.nan for a, b in ((rank, most), (spread, best_spread))
    ]
    return [*shares, min((share for share in shares if not math.isnan(share)), default=math.nan)]


def test_what_is_kept_is_the_plain_rule_bit_by_bit() -> None:
    draw = random.Random(0)

    def some(low: float, high: float) -> float:
        return draw.choice([math.nan, 0.0, low, high, *(draw.uniform(low, high) for _ in range(5))])

    layers = [(some(0, 9), some(-1, 1), some(0, 9), some(0, 2)) for _ in range(2000)]
    rank, cosine, best_rank, best_spread = (row(*column) for column in zip(*layers, strict=True))
    for label_rank in (math.nan, 0.0, 2.5, 20.0):
        found = torch.stack(kept(rank, cosine, Best(best_rank, best_spread), label_rank), 1)
        expected = [literal(*layer, label_rank) for layer in layers]
        assert repr(found.tolist()) == repr(expected)


def test_the_smaller_share_counts_and_a_missing_one_does_not() -> None:
    best = Best(row(8, 8, 8), row(1, 1, math.nan))
    found = kept(row(4, 8, 2), row(0.9, 0.25, 0.5), best)
    assert found.kept.tolist() == [1 - 0.9, 0.75, 0.25]
    assert found.dimensions.tolist() == [0.5, 1.0, 0.25]


def test_more_than_the_best_is_all_of_it_and_labels_ask_for_no_more_than_they_need() -> None:
    best = Best(row(10, 10, 1), row(0.5, 0.5, 0.5))
    assert kept(row(20, 3, 1), row(0.5, 0.5, 0.5), best, label_rank=4.0).dimensions.tolist() == [1.0, 0.75, 1.0]
    assert kept(row(20, 3, 1), row(0.5, 0.5, 0.5), best).dimensions.tolist() == [1.0, 0.3, 1.0]


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
            assert float(values["dimensions_kept"]) == min(ranks[epoch] / best, 1.0)
            assert float(values["kept"]) == min(float(values["dimensions_kept"]), float(values["spread_kept"]))
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
