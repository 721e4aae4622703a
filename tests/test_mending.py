"""What undoing a cause mends, the gap between training and validation, and labels under other names."""

from itertools import permutations

import pytest
import torch
from statsmodels.stats.proportion import confint_proportions_2indep
from torch import Tensor

from lightning_failures import GeneralisationGap, LabelMatching, MendedAccuracy
from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.functional import (
    GapCounts,
    MendingCounts,
    accuracy_difference,
    accuracy_limits,
    clustered_rate,
    count_class_pairs,
    count_mending,
    count_renamed,
    generalisation_gap,
    mending,
    renaming_bound,
    wilson,
)
from tests.processes import run_on_processes


def drawn(n: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(-1, classes, (n,), generator=generator)
    before, after = (torch.randint(0, classes, (n,), generator=generator) for _ in range(2))
    return torch.where(torch.rand(n, generator=generator) < 0.3, target.clamp(min=0), before), after, target


def scores_of(predicted: Tensor, classes: int, seed: int = 0) -> Tensor:
    noise = 0.5 * torch.rand(len(predicted), classes, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.one_hot(predicted, classes) + noise


def test_images_are_counted_one_by_one() -> None:
    before, after, target = drawn(200, 3)
    counts = [0, 0, 0, 0]
    for was, now, true in zip(before.tolist(), after.tolist(), target.tolist(), strict=True):
        if true >= 0:
            counts[
                {(True, True): 0, (False, True): 1, (True, False): 2, (False, False): 3}[was == true, now == true]
            ] += 1
    assert [int(count) for count in count_mending(before, after, target)] == counts


def test_the_gain_is_after_minus_before_with_a_paired_interval() -> None:
    counts = MendingCounts(*torch.tensor([[30, 0], [50, 0], [5, 0], [15, 0]]))
    found = mending(counts)
    assert float(found.gain[0]) == pytest.approx(float(found.after[0] - found.before[0]))
    paired = accuracy_difference(*(torch.tensor(n, dtype=torch.float64) for n in (30, 50, 5, 15)))
    assert [float(found.gain_low[0]), float(found.gain_high[0])] == [float(paired.low), float(paired.high)]
    assert float(found.after_low[0]) == float(wilson(torch.tensor(80), torch.tensor(100)).low)
    assert all(bool(column[1].isnan()) for column in found)


def paired_by_group(seed: int, groups: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Answers before and after, right ones, and groups that differ in what undoing it gains."""
    generator = torch.Generator().manual_seed(seed)
    group = torch.randint(groups, (25 * groups,), generator=generator)
    rate = torch.rand(2, groups, generator=generator)
    before, after = (torch.rand(len(group), generator=generator) > rate[k][group] * (1, 0.4)[k] for k in range(2))
    return before.long(), after.long(), torch.ones_like(group), group


def test_the_interval_of_the_gain_by_groups_is_that_of_the_cluster_covariance_of_statsmodels() -> None:
    api = pytest.importorskip("statsmodels.api")
    before, after, target, group = paired_by_group(0, 300)
    metric = MendedAccuracy(["scale"])
    metric.update("scale", before, after, target, group)
    found = metric.compute()
    gained = (after - before).double().numpy()
    model = api.OLS(gained, torch.ones(len(gained), 1).double().numpy())
    known = model.fit(cov_type="cluster", cov_kwds={"groups": group.numpy()}, use_t=True).conf_int()[0]
    assert float(found["gain/scale"]) == pytest.approx(gained.mean())
    ends = [float(found[f"gain_{end}/scale"]) for end in ("low", "high")]
    assert ends == pytest.approx(list(known), abs=0.03 * (known[1] - known[0]))
    assert found["groups/all"] == 300


def test_the_interval_of_the_gain_by_groups_is_about_that_of_a_bootstrap_of_groups() -> None:
    before, after, target, group = paired_by_group(1, 60)
    metric = MendedAccuracy(["scale"])
    metric.update("scale", before, after, target, group)
    found = metric.compute()
    sums, seen = group.bincount(after - before).double(), group.bincount().double()
    drawn = torch.randint(60, (4000, 60), generator=torch.Generator().manual_seed(2))
    gains = sums[drawn].sum(1) / seen[drawn].sum(1)
    known = gains.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    width = float(known[1] - known[0])
    assert float(found["gain_low/scale"]) == pytest.approx(float(known[0]), abs=0.12 * width)
    assert float(found["gain_high/scale"]) == pytest.approx(float(known[1]), abs=0.12 * width)


def test_without_groups_an_experiment_is_what_it_was_and_with_them_only_intervals_change() -> None:
    before, after, target, group = paired_by_group(2, 12)
    plain, grouped = MendedAccuracy(["scale", "order"]), MendedAccuracy(["scale", "order"])
    plain.update("scale", before, after, target)
    grouped.update("scale", before, after, target, group)
    one, other = plain.compute(), grouped.compute()
    assert other.keys() - one.keys() == {"gain_low_of_images/scale", "gain_low_of_images/order", "groups/all"}
    assert list(one.values())[:1] == [(before == target).double().mean()]
    for key in ("before", "after", "gain"):
        assert one[f"{key}/scale"] == other[f"{key}/scale"]
    assert other["gain_low_of_images/scale"] == one["gain_low/scale"] > other["gain_low/scale"]
    assert one["before_low/scale"] == wilson((before == target).sum(), torch.tensor(len(target))).low
    assert bool(other["gain_low/order"].isnan())


def test_an_experiment_on_three_groups_has_no_interval_and_says_why() -> None:
    metric = MendedAccuracy(["scale"])
    before, after, target, group = paired_by_group(3, 3)
    metric.update("scale", before, after, target, group)
    values = metric.compute()
    assert not bool(values["gain/scale"].isnan())
    assert bool(values["gain_low/scale"].isnan())
    assert metric.undefined["gain_low/scale"].endswith(
        "fewer than 4 groups hold such images, or one of them holds most"
    )
    assert not bool(values["gain_low_of_images/scale"].isnan())


def mended_of(rank: int, world: int, shards: list[list[slice]]) -> dict[str, float]:
    before, after, target, group = paired_by_group(4, 9)
    metric = MendedAccuracy(["scale", "order"])
    for rows in shards[rank]:
        metric.update("scale", before[rows], after[rows], target[rows], group[rows])
        metric.update("order", after[rows], before[rows], target[rows], group[rows])
    return {key: float(value) for key, value in metric.compute().items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "shards",
    [[[slice(0, 200)], [slice(200, 225)]], [[slice(0, 31), slice(31, 150)], [], [slice(150, 225)]]],
    ids=["two", "three, one without images"],
)
def test_processes_give_the_experiments_by_groups_of_one(shards: list[list[slice]]) -> None:
    whole = mended_of(0, 1, [[slice(0, 225)]])
    for found in run_on_processes(len(shards), mended_of, shards):
        assert found == whole


def test_any_cut_of_the_images_gives_the_same_experiment() -> None:
    before, after, target = drawn(100, 4)
    whole, cut = MendedAccuracy(["scale", "order"]), MendedAccuracy(["scale", "order"])
    whole.update("order", before, after, target)
    for rows in (slice(0, 0), slice(0, 37), slice(37, 100)):
        cut.update("order", before[rows], after[rows], target[rows])
    for key, value in whole.compute().items():
        torch.testing.assert_close(cut.compute()[key], value, equal_nan=True, rtol=0, atol=0)
    assert bool(whole.compute()["gain/scale"].isnan())
    assert "gain/scale" in whole.undefined
    assert "gain/order" not in whole.undefined


def test_an_experiment_of_another_name_is_refused() -> None:
    with pytest.raises(UnknownNameError) as caught:
        MendedAccuracy(["scale"]).update("order", *(torch.zeros(2, dtype=torch.int64),) * 3)
    assert str(caught.value) == "MendedAccuracy.update: no such experiment; given 'order'. Use one of scale."


def test_predictions_of_other_images_are_refused() -> None:
    two, three = torch.zeros(2, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(InputError) as caught:
        MendedAccuracy(["scale"]).update("scale", two, three, two)
    assert str(caught.value) == (
        "MendedAccuracy.update: before, after and target are not of the same images; given before (2,) int64, "
        "after (3,) int64, target (2,) int64. Pass labels (n) of the same images."
    )


@pytest.mark.parametrize("counts", [(56, 70, 48, 80), (10, 10, 0, 20), (0, 5, 5, 5), (256, 256, 80, 500)])
def test_the_gap_has_newcombes_interval(counts: tuple[int, int, int, int]) -> None:
    found = generalisation_gap(GapCounts(*torch.tensor(counts)))
    low, high = confint_proportions_2indep(*counts, method="newcomb", compare="diff")
    assert float(found.gap) == pytest.approx(counts[0] / counts[1] - counts[2] / counts[3])
    assert [float(found.low), float(found.high)] == pytest.approx([low, high], abs=1e-9)


def of_groups(seed: int, groups: int) -> tuple[GapCounts, GapCounts]:
    """Counts of groups that hold images of both kinds and differ in how hard they are; and their sums."""
    generator = torch.Generator().manual_seed(seed)
    rate = torch.rand(groups, generator=generator, dtype=torch.float64)
    seen = torch.randint(5, 36, (2, groups), generator=generator).double()
    right = torch.binomial(seen, torch.stack([(rate + 1) / 2, rate]), generator=generator)
    by_group = GapCounts(*(value.long() for value in (right[0], seen[0], right[1], seen[1])))
    return by_group, GapCounts(*(value.sum() for value in by_group))


def test_the_interval_of_the_gap_by_groups_is_that_of_the_cluster_covariance_of_statsmodels() -> None:
    api = pytest.importorskip("statsmodels.api")
    by_group, counts = of_groups(0, 300)
    right, rows, groups = [], [], []
    for group, (one, seen, other, others) in enumerate(zip(*(value.tolist() for value in by_group), strict=True)):
        right += [1.0] * one + [0.0] * (seen - one) + [1.0] * other + [0.0] * (others - other)
        rows += [[1.0, 1.0]] * seen + [[1.0, 0.0]] * others
        groups += [group] * (seen + others)
    model = api.OLS(torch.tensor(right).double().numpy(), torch.tensor(rows).double().numpy())
    fitted = model.fit(cov_type="cluster", cov_kwds={"groups": torch.tensor(groups).numpy()}, use_t=True)
    known = fitted.conf_int()[1]
    found = generalisation_gap(counts, by_group)
    assert float(found.gap) == pytest.approx(fitted.params[1])
    width = known[1] - known[0]
    assert [float(found.low), float(found.high)] == pytest.approx(list(known), abs=0.03 * width)


def test_a_gap_over_whole_groups_is_less_sure_than_over_as_many_images() -> None:
    target = torch.zeros(400, dtype=torch.int64)
    wrong = (torch.arange(40) % 4 == 0).long().repeat_interleave(10)
    one, other = GeneralisationGap(), GeneralisationGap()
    group = torch.arange(40).repeat_interleave(10)
    one.update(target, target, True)
    one.update(wrong, target, False)
    other.update(target, target, True, group)
    for rows in torch.arange(400).split([0, 155, 245]):
        other.update(wrong[rows], target[rows], False, group[rows] + 40)
    plain, grouped = one.compute(), other.compute()
    assert float(plain["gap"]) == float(grouped["gap"]) == 0.25
    assert (grouped["groups/all"], "groups/all" in plain) == (80, False)
    widths = [float(values["gap_high"] - values["gap_low"]) for values in (plain, grouped)]
    assert 2.8 < widths[1] / widths[0] < 3.7
    assert float(grouped["validation_low"]) < float(plain["validation_low"])


def test_a_gap_of_three_groups_has_no_interval_and_says_why() -> None:
    metric = GeneralisationGap()
    labels = torch.tensor([0, 1, 0])
    for training in (True, False):
        metric.update(labels, torch.tensor([0, 1, 1]), training, torch.arange(3))
    assert metric.compute()["gap_low"].isnan()
    assert metric.undefined["gap_low"] == (
        "no image of this kind was seen; or fewer than 4 groups hold such images, or one of them holds most"
    )


def test_where_training_groups_are_not_known_its_images_count_one_by_one_and_validation_by_groups() -> None:
    by_group, counts = of_groups(1, 30)
    zero = torch.zeros(30, dtype=torch.int64)
    found = generalisation_gap(counts, GapCounts(zero, zero, by_group.validation_right, by_group.validation_seen))
    training, validation = accuracy_limits(counts, by_group._replace(training_right=zero, training_seen=zero))
    rate = clustered_rate(by_group.validation_right, by_group.validation_seen)
    assert training == wilson(counts.training_right, counts.training_seen)
    assert validation == (rate.low, rate.high)
    low = found.gap - ((found.gap + rate.value - training[0]) ** 2 + (rate.high - rate.value) ** 2).sqrt()
    assert float(found.low) == pytest.approx(float(low))
    metric = GeneralisationGap()
    metric.update(torch.zeros(20).long(), torch.zeros(20).long(), True)
    metric.update(torch.arange(20) % 2, torch.zeros(20).long(), False, torch.arange(20) // 4)
    values = metric.compute()
    assert values["training_low"] == wilson(torch.tensor(20), torch.tensor(20)).low
    assert values["gap_low_of_images"] == generalisation_gap(metric.sums).low
    assert values["groups/all"] == 5


def test_groups_of_some_images_of_a_kind_are_an_error_and_can_be_forgotten() -> None:
    metric = GeneralisationGap()
    labels = torch.zeros(3, dtype=torch.int64)
    metric.update(labels, labels, False, torch.arange(3))
    metric.update(labels, labels, False)
    with pytest.raises(InputError) as caught:
        metric.compute()
    assert str(caught.value) == (
        "GeneralisationGap.compute: only some validation images have a group; given 3 of 6 validation images with a "
        "group. Pass groups with every batch of validation images, or with none of them."
    )
    metric.forget_groups()
    assert "groups/all" not in metric.compute()


def gap_of(rank: int, world: int, shards: list[list[slice]]) -> dict[str, float]:
    generator = torch.Generator().manual_seed(5)
    group = torch.randint(9, (240,), generator=generator)
    right = torch.rand(240, generator=generator) < 0.3 + 0.07 * group
    metric = GeneralisationGap()
    for rows in shards[rank]:
        target = torch.zeros_like(group[rows])
        metric.update((~right[rows]).long(), target, False, group[rows])
        metric.update((right[rows] & (group[rows] < 4)).long(), target, True, group[rows] + 3)
    return {key: float(value) for key, value in metric.compute().items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "shards",
    [[[slice(0, 200)], [slice(200, 240)]], [[slice(0, 31), slice(31, 150)], [], [slice(150, 240)]]],
    ids=["two", "three, one without images"],
)
def test_processes_give_the_gap_by_groups_of_one(shards: list[list[slice]]) -> None:
    whole = gap_of(0, 1, [[slice(0, 240)]])
    for found in run_on_processes(len(shards), gap_of, shards):
        assert found == whole


def test_a_gap_without_training_images_is_not_known_and_says_why() -> None:
    metric = GeneralisationGap()
    metric.update(torch.tensor([0, 1]), torch.tensor([0, -1]), training=False)
    values = metric.compute()
    assert float(values["validation_accuracy"]) == 1.0
    assert bool(values["gap"].isnan())
    assert metric.undefined["training_accuracy"] == "no image of this kind was seen"


def test_pairs_of_classes_are_counted_one_by_one_and_do_not_depend_on_the_cut() -> None:
    before, _, target = drawn(300, 4)
    scores = scores_of(before, 4)
    expected = torch.zeros(4, 4, dtype=torch.int64)
    for predicted, true in zip(scores.argmax(1).tolist(), target.tolist(), strict=True):
        if true >= 0:
            expected[predicted, true] += 1
    whole = count_class_pairs(scores, target).pairs
    assert torch.equal(whole.sum(0), expected)
    assert whole.sum((1, 2)).min() > 100
    parts = [count_class_pairs(scores[rows], target[rows]).pairs for rows in (slice(0, 0), slice(0, 7), slice(7, 300))]
    assert torch.equal(sum(parts[1:], parts[0]), whole)
    half = scores.bfloat16()
    assert count_class_pairs(half, target).pairs.sum((1, 2)).min() > 80


def test_the_assignment_is_the_best_of_all() -> None:
    before, _, target = drawn(200, 4, seed=3)
    shifted = (target.clamp(min=0) + 1) % 4
    predicted = torch.where(torch.rand(200, generator=torch.Generator().manual_seed(1)) < 0.7, shifted, before)
    metric = LabelMatching(4)
    metric.update(scores_of(predicted, 4), target)
    pairs = metric.sums.pairs.sum(0)
    best = max(permutations(range(4)), key=lambda names: sum(int(pairs[i, name]) for i, name in enumerate(names)))
    metric.compute()
    assert metric.label.tolist() == list(best) == [3, 0, 1, 2]


def test_renaming_counts_who_is_right_before_and_after() -> None:
    pairs, label = torch.randint(0, 20, (3, 3), generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 1])
    counts = [0, 0, 0, 0]
    for predicted in range(3):
        for true in range(3):
            was, now = predicted == true, int(label[predicted]) == true
            counts[0 if was and now else 1 if now else 2 if was else 3] += int(pairs[predicted, true])
    assert [int(count) for count in count_renamed(pairs, label)] == counts
    assert float(renaming_bound(pairs)) >= float((count_renamed(pairs, label).after - counts[2]) / pairs.sum())


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_labels_that_predictions_do_not_know_gain_nothing(classes: int) -> None:
    gained = 0
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        predicted, target = (torch.randint(0, classes, (500,), generator=generator) for _ in range(2))
        metric = LabelMatching(classes)
        metric.update(scores_of(predicted, classes, seed), target)
        gained += float(metric.compute()["gain_low"]) > 0
    assert gained <= 2


def test_healthy_predictions_keep_their_names() -> None:
    target = torch.arange(200) % 5
    metric = LabelMatching(5)
    metric.update(scores_of(torch.where(torch.arange(200) % 7 == 0, (target + 2) % 5, target), 5), target)
    assert metric.label.tolist() == [0, 1, 2, 3, 4]
    assert float(metric.compute()["gain"]) == 0.0


def test_scores_of_other_classes_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        LabelMatching(3).update(torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64))
    assert str(caught.value) == (
        "LabelMatching.update: scores and target do not fit; given scores (2, 4) float32, target (2,) int64. "
        "Pass scores (n 3), float, and the labels (n) of the same images."
    )
