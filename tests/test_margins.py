"""Margins and error norms as their papers define them, and the share of wrong labels that is read where it is sure."""

import math

import pytest
import torch
from torch import Tensor

from lightning_failures.functional import (
    SUREST,
    Disagreement,
    error_norms,
    margins,
    mislabelled_interval,
    sure_disagreement,
)


def draw(n: int = 60, c: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(n, c, generator=generator), torch.randint(c, (n,), generator=generator)


def test_a_margin_is_the_logit_of_the_label_less_the_largest_other() -> None:
    logits, target = draw()
    for found, row, label in zip(margins(logits, target).tolist(), logits.tolist(), target.tolist(), strict=True):
        assert found == pytest.approx(row[label] - max(value for place, value in enumerate(row) if place != label))


def test_an_error_norm_is_the_length_of_the_softmax_less_the_label() -> None:
    logits, target = draw()
    for found, row, label in zip(error_norms(logits, target).tolist(), logits.tolist(), target.tolist(), strict=True):
        total = sum(math.exp(value) for value in row)
        apart = [math.exp(value) / total - (place == label) for place, value in enumerate(row)]
        assert found == pytest.approx(math.sqrt(sum(value**2 for value in apart)), rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_disagreement_is_counted_among_the_surest_images_of_each_predicted_class(seed: int) -> None:
    logits, target = draw(seed=seed)
    soft = logits.softmax(1)
    wrong = seen = 0
    for predicted in range(5):
        mine = [place for place in range(60) if int(soft[place].argmax()) == predicted]
        sure = [float(soft[place].topk(2).values[0] - soft[place].topk(2).values[1]) for place in mine]
        order = [place for _, place in sorted(zip(sure, mine, strict=True), reverse=True)]
        kept = order[: max(1, int(SUREST * len(order)))]
        seen += len(kept)
        wrong += sum(int(target[place]) != predicted for place in kept)
    assert sure_disagreement(soft, target) == Disagreement(torch.tensor(wrong), torch.tensor(seen))


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.2, 0.4])
def test_the_share_is_that_of_labels_wrong_by_chance_though_classes_overlap(noise: float) -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.rand(20_000, generator=generator)  # of class 1, as a perfect network knows it
    label = (torch.rand(20_000, generator=generator) < true).long()
    flip = torch.rand(20_000, generator=generator) < noise
    logits = torch.stack([-5 * (true - 0.5), 5 * (true - 0.5)], 1)
    found = sure_disagreement(logits.softmax(1), torch.where(flip, 1 - label, label))
    # the surest 30% of either class lie within 0.15 of 0 or 1, where 0.075 belong to the other one
    assert float(found.wrong / found.seen) == pytest.approx(noise + 0.075 * (1 - 2 * noise), abs=0.015)


def test_the_interval_is_wilsons_and_what_the_method_is_off_by() -> None:
    low, high = mislabelled_interval(Disagreement(torch.tensor(80), torch.tensor(400)))
    assert (float(low), float(high)) == (pytest.approx(0.1638 - 0.07, abs=1e-4), pytest.approx(0.2419 + 0.16, abs=1e-4))
    assert mislabelled_interval(Disagreement(torch.tensor(0), torch.tensor(400))).low == 0
    assert mislabelled_interval(Disagreement(torch.tensor(0), torch.tensor(0))).low.isnan()


def test_no_images_disagree_about_nothing() -> None:
    logits, target = draw(0)
    assert margins(logits, target).shape == error_norms(logits, target).shape == (0,)
    assert sure_disagreement(logits.softmax(1), target) == Disagreement(torch.tensor(0), torch.tensor(0))
