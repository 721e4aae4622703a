"""How many images it takes to tell, against statsmodels and against draws; and that a run says it."""

import pytest
import torch
from statsmodels.stats.proportion import samplesize_proportions_2indep_onetail

from lightning_failures import FactorErrorMonitor, FactorTable
from lightning_failures.functional import FactorCounts, factor_p_value, images_needed
from tests.runs import fit


@pytest.mark.parametrize("error", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("difference", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("others", [1.0, 5.0, 1e6])
def test_the_number_is_that_of_statsmodels(error: float, difference: float, others: float) -> None:
    theirs = samplesize_proportions_2indep_onetail(difference, error, 0.8, ratio=others, alpha=0.05)
    assert theirs - 1e-6 <= images_needed(error, difference, others=others) <= max(2, theirs + 1)


def test_with_so_many_images_the_difference_is_seen_about_as_often_as_asked_for() -> None:
    generator = torch.Generator().manual_seed(0)
    needed, draws = images_needed(0.1, 0.2), 400
    wrong = torch.binomial(torch.full((draws,), float(needed)), torch.full((draws,), 0.3), generator=generator).long()
    seen = [
        float(factor_p_value(FactorCounts(one[None], torch.tensor([needed]), 400 + one, torch.tensor(4000 + needed))))
        for one in wrong
    ]
    assert 0.7 < sum(p < 0.05 for p in seen) / draws < 0.95


def test_an_error_rate_that_can_rise_no_further_asks_for_what_is_left() -> None:
    assert images_needed(0.9, 0.2) == images_needed(0.9, 0.1)
    assert images_needed(1.0) >= 2


def test_a_factor_of_a_handful_of_images_says_how_many_would_be_needed() -> None:
    rare = torch.zeros(30, 2, dtype=torch.bool)
    rare[:3, 0], rare[:15, 1] = True, True
    monitor = FactorErrorMonitor(FactorTable(("rare", "usual"), rare), on_error="raise")
    fit([monitor])
    (said,) = monitor.not_watched.items()
    assert said[0] == "errors on rare"
    assert said[1].startswith("3 images are not enough to tell; about ")
    assert said[1].endswith(" would show 20% more errors")
