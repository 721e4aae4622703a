import pytest
import torch

from lightning_failures.functional import class_shift


def literal(rows, target, others, others_target):
    """Class by class, with plain loops."""
    shifts, chance = [], 0.0
    for label in range(int(target.max()) + 1):
        mine, theirs = rows[target == label].double(), others[others_target == label].double()
        pooled = sum(float(((each - each.mean(0)) ** 2).sum()) for each in (mine, theirs)) / (
            len(mine) + len(theirs) - 2
        )
        chance += pooled * (1 / len(mine) + 1 / len(theirs))
        shifts.append(theirs.mean(0) - mine.mean(0))
    middle = sum(shifts) / len(shifts)
    apart = sum(float(((shift - middle) ** 2).sum()) for shift in shifts)
    return apart / (chance * (len(shifts) - 1) / len(shifts))


def test_it_is_what_a_literal_computation_gives():
    generator = torch.Generator().manual_seed(0)
    rows, others = torch.randn(20, 3, generator=generator), torch.randn(13, 3, generator=generator)
    target, others_target = torch.arange(20) % 3, torch.arange(13) % 3
    found = class_shift(rows, target, others, others_target)
    assert float(found) == pytest.approx(literal(rows, target, others, others_target))


def test_it_is_one_on_average_for_samples_of_one_distribution():
    generator = torch.Generator().manual_seed(0)
    target, others_target = torch.arange(30) % 5, torch.arange(40) % 5
    found = [
        float(
            class_shift(
                torch.randn(30, 8, generator=generator), target, torch.randn(40, 8, generator=generator), others_target
            )
        )
        for _ in range(300)
    ]
    assert sum(found) / 300 == pytest.approx(1, abs=0.06)
    assert max(found) < 3


def test_what_all_classes_share_is_taken_off():
    generator = torch.Generator().manual_seed(0)
    rows, target = torch.randn(40, 4, generator=generator), torch.arange(40) % 4
    others = torch.randn(40, 4, generator=generator)
    alike = float(class_shift(rows, target, others, target))
    assert float(class_shift(rows, target, others + 100, target)) == pytest.approx(alike, rel=1e-4)
    assert float(class_shift(rows, target, others + 2 * target[:, None], target)) > 10


@pytest.mark.parametrize("target", [torch.zeros(6), torch.arange(6), torch.full((6,), -1)])
def test_fewer_than_two_classes_with_two_rows_on_each_side_tell_nothing(target):
    assert class_shift(torch.rand(6, 2), target.long(), torch.rand(6, 2), target.long()).isnan()
