"""Whose prediction a transplant gives: counts and their intervals, and models whose decisions are known."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional import (
    NOT_RUN,
    TransplantCounts,
    accuracy_difference,
    control_rows,
    count_transplants,
    transplant_shares,
)
from lightning_failures.metrics import TransplantShares


def draw(*shape: int, seed: int = 0, classes: int = 3, least: int = 0) -> Tensor:
    return torch.randint(least, classes, shape, generator=torch.Generator().manual_seed(seed))


def literal(own, donor, transplanted, control, controlled):  # type: ignore[no-untyped-def]
    """Every answer of every image one by one, in plain Python, for one content."""
    names = ("donor", "own", "pairs", "squares", "both", "only", "by_control", "known", "known_squares")
    counts = dict.fromkeys(names, 0)
    for mine, theirs, moved, other, has in zip(own, donor, transplanted, control, controlled, strict=True):
        pairs = known = 0
        for a, b, c, d, e in zip(mine, theirs, moved, other, has, strict=True):
            if a == b or a < 0 or b < 0:
                continue
            pairs += 1
            counts["donor"] += c == b
            counts["own"] += c == a
            if e and d != NOT_RUN:
                known += 1
                counts["both"] += c == b and d == b
                counts["only"] += c == b and d != b
                counts["by_control"] += c != b and d == b
        counts["pairs"] += pairs
        counts["known"] += known
        counts["squares"] += pairs**2
        counts["known_squares"] += known**2
    return list(counts.values())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 12), st.integers(1, 4), st.integers(1, 3))
def test_counts_are_those_of_every_answer_one_by_one(seed: int, images: int, answers: int, contents: int) -> None:
    own, donor = (draw(images, answers, seed=seed + k, least=-1) for k in (0, 1))
    moved = draw(images, answers, contents, seed=seed + 2, least=-1)
    control = draw(images, answers, contents, seed=seed + 3, least=NOT_RUN)
    controlled = draw(images, answers, seed=seed + 4, classes=2) > 0
    counts = count_transplants(own, donor, moved, control, controlled)
    for k in range(contents):
        of_content = [int(part[k] if part.ndim else part) for part in counts]
        rows = (own, donor, moved[..., k], control[..., k], controlled)
        assert of_content == literal(*(part.tolist() for part in rows))


def test_maps_count_pixel_by_pixel_and_one_answer_an_image_as_a_map_of_one_pixel() -> None:
    own, donor, moved = draw(5, 3, 4), draw(5, 3, 4, seed=1), draw(5, 3, 4, 2, seed=2)
    assert all(map(torch.equal, count_transplants(own, donor, moved), count_transplants(*flat(own, donor, moved))))
    own, donor, moved = draw(9), draw(9, seed=1), draw(9, 2, seed=2)
    as_maps = count_transplants(own[:, None, None], donor[:, None, None], moved[:, None, None])
    assert all(map(torch.equal, count_transplants(own, donor, moved), as_maps))


def flat(own: Tensor, donor: Tensor, moved: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return own.flatten(1), donor.flatten(1), moved.flatten(1, 2)


def test_shares_have_wilsons_limits_and_what_is_left_is_off_the_manifold() -> None:
    own, donor = torch.zeros(20, dtype=torch.int64), torch.ones(20, dtype=torch.int64)
    moved = torch.tensor([1] * 12 + [0] * 5 + [2] * 2 + [-1])[:, None]  # a logit that is NaN is neither's
    figures = transplant_shares(count_transplants(own, donor, moved))
    for name, count in (("donor", 12), ("own", 5)):
        low, high = proportion_confint(count, 20, method="wilson")
        found = [float(getattr(figures, name + end)) for end in ("", "_low", "_high")]
        assert found == pytest.approx([count / 20, low, high], abs=1e-12)
    assert float(figures.off_manifold) == pytest.approx(3 / 20)
    assert figures.control.isnan()
    assert figures.excess.isnan()


def test_the_control_is_taken_off_on_the_same_pairs() -> None:
    own, donor = torch.zeros(40, dtype=torch.int64), torch.ones(40, dtype=torch.int64)
    moved = torch.tensor([1] * 30 + [0] * 10)[:, None]
    control = torch.tensor([1] * 8 + [0] * 24 + [1] * 8)[:, None]
    controlled = torch.arange(40) >= 4  # four pairs whose receiver is alone in its class
    figures = transplant_shares(count_transplants(own, donor, moved, control, controlled))
    assert float(figures.donor) == 30 / 40
    assert float(figures.control) == pytest.approx(12 / 36)
    direct = accuracy_difference(*torch.tensor([[4.0], [22.0], [8.0], [2.0]], dtype=torch.float64))
    for name, value in zip(("excess", "excess_low", "excess_high"), direct, strict=True):
        torch.testing.assert_close(getattr(figures, name), value)
    assert float(figures.excess) == pytest.approx((26 - 12) / 36)


def test_disturbance_alone_gives_no_excess_with_two_classes() -> None:
    own = draw(400, classes=2)
    flips = [torch.rand(400, 1, generator=torch.Generator().manual_seed(seed)) < 0.3 for seed in (5, 6)]
    moved, control = (torch.where(flip, 1 - own[:, None], own[:, None]) for flip in flips)
    figures = transplant_shares(count_transplants(own, 1 - own, moved, control))
    assert float(figures.donor) > 0.2
    assert float(figures.off_manifold) == 0
    assert float(figures.excess_low) < 0 < float(figures.excess_high)


def test_pixels_that_go_together_count_as_their_images_and_independent_images_one_by_one() -> None:
    own, donor = draw(12), (draw(12) + 1) % 3
    moved = torch.where(torch.arange(12)[:, None] < 7, donor[:, None], own[:, None])
    one = transplant_shares(count_transplants(own, donor, moved, moved))
    many = [preds[:, None, None].expand(-1, 5, 6, *preds.shape[1:]) for preds in (own, donor, moved)]
    torch.testing.assert_close(transplant_shares(count_transplants(*many, many[2])), one)


def test_limits_of_images_with_unequal_numbers_of_answers_are_kishs() -> None:
    own = torch.zeros(3, 4, dtype=torch.int64)
    donor = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    moved = donor[..., None] * torch.tensor([1, 0, 1])[:, None, None]
    figures = transplant_shares(count_transplants(own, donor, moved))
    independent = 7**2 / (16 + 4 + 1)
    low, high = proportion_confint(5 / 7 * independent, independent, method="wilson")
    assert [float(figures.donor_low), float(figures.donor_high)] == pytest.approx([low, high])


@pytest.mark.parametrize("answers", [(), (3,), (2, 4)])
def test_counts_add_up_under_any_cut(answers: tuple[int, ...]) -> None:
    own, donor = draw(40, *answers), draw(40, *answers, seed=1)
    moved, control = draw(40, *answers, 2, seed=2), draw(40, *answers, 2, seed=3)
    controlled = draw(40, *answers, seed=4, classes=2) > 0
    batch = (own, donor, moved, control, controlled)
    whole, merged = TransplantShares(["a", "b"]), TransplantShares(["a", "b"])
    whole.update(*batch)
    for a, b in pairwise([0, 1, 1, 17, 40]):
        part = TransplantShares(["a", "b"])
        part.update(*(column[a:b] for column in batch))
        merged.merge_state(part)
    assert all(map(torch.equal, whole.sums, merged.sums))
    assert whole.compute() == merged.compute()


def test_a_batch_without_a_control_counts_for_the_shares_alone() -> None:
    metric = TransplantShares(["level"])
    own, donor, moved = draw(20), draw(20, seed=1), draw(20, 1, seed=2)
    metric.update(own, donor, moved)
    values = metric.compute()
    assert values["pairs"] == int((own != donor).sum())
    assert values["controlled/level"] == 0
    without = (
        "no pair of images with different predictions, or none whose image has another one that is predicted alike"
    )
    keys = ("control/level", "excess/level", "excess_low/level", "excess_high/level")
    assert metric.undefined == dict.fromkeys(keys, without)
    metric.update(own, donor, moved, moved)
    assert metric.compute()["controlled/level"] == int((own != donor).sum())
    assert metric.compute()["excess/level"] == 0


def test_without_pairs_everything_is_nan_and_says_why() -> None:
    metric = TransplantShares(["level"])
    metric.update(draw(6), draw(6), draw(6, 1, seed=2), draw(6, 1, seed=3))
    values = metric.compute()
    assert values["pairs"] == values["controlled/level"] == 0
    assert metric.undefined["donor/level"] == "no pair of images with different predictions"
    assert {key for key, value in values.items() if value.isnan()} == values.keys() - {"pairs", "controlled/level"}


def test_a_control_is_the_next_image_that_is_predicted_most_nearly_alike() -> None:
    assert control_rows(torch.tensor([0, 1, 1, 0, 2])).tolist() == [3, 2, 1, 0, 0]
    maps = torch.tensor([[[0, 0], [0, 0]], [[1, 1], [1, 1]], [[0, 1], [1, 1]], [[0, 0], [0, 1]]])
    assert control_rows(maps).tolist() == [3, 2, 1, 0]
    assert control_rows(torch.tensor([[0, 1], [1, 1], [0, 1]])).tolist() == [2, 2, 0]
    assert control_rows(torch.tensor([5])).tolist() == [0]
    assert control_rows(torch.tensor([], dtype=torch.int64)).tolist() == []


@pytest.mark.parametrize("classes", [2, 7])
def test_a_control_is_never_the_image_itself(classes: int) -> None:
    preds = draw(50, classes=classes)
    rows = control_rows(preds)
    assert not bool((rows == torch.arange(50)).any())
    alone = torch.bincount(preds, minlength=classes)[preds] == 1
    assert torch.equal(preds[rows] == preds, ~alone)


def test_predictions_of_other_pairs_or_contents_are_refused() -> None:
    with pytest.raises(InputError) as error:
        TransplantShares(["level", "border"]).update(draw(3), draw(3), draw(3, 1))
    assert str(error.value) == (
        "TransplantShares.update: predictions do not belong to the same pairs and contents; given own (3,), donor "
        "(3,), transplanted (3, 1), control (3, 1), controlled (3,) for level, border. Pass one answer a pair, and one "
        "column per content: (n), (n) and (n k)."
    )
    with pytest.raises(InputError) as error:
        TransplantShares(["level", "level"])
    assert str(error.value) == "TransplantShares: a name stands twice; given level, level. Name each one once."


def test_the_sums_of_no_pairs_are_zero() -> None:
    assert all(int(part.sum()) == 0 for part in TransplantCounts.zero(3))
    assert TransplantCounts.zero(3).transplant_donor.shape == (3,)
