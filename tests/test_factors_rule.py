"""How severe a factor's failure is, and in which words: the standard rule over figures of planted counts."""

import pytest
import torch

from lightning_failures import FactorErrorRatio, FailureDiagnosis
from lightning_failures.records import Evaluation


def figures(wrong: int, images: int, others_wrong: int, others: int) -> dict[str, float]:
    """What is logged where so many images are wrong with the factor "dark", and so many without it."""
    dark = torch.arange(images + others) < images
    correct = torch.ones(images + others, dtype=torch.int64)
    correct[:wrong] = correct[images : images + others_wrong] = 0
    metric = FactorErrorRatio(["dark"])
    metric.update(correct, torch.ones_like(correct), dark[:, None])
    return {f"failures/factors/{key}": float(value) for key, value in metric.compute().items()}


def found(*tables: tuple[int, int, int, int]) -> FailureDiagnosis:
    """The diagnosis after an evaluation of each table, past the warm-up."""
    diagnosis = FailureDiagnosis(["factor_failure"], announce="nothing")
    for epoch, table in enumerate(tables, 3):
        diagnosis.evaluate(Evaluation(epoch, 100 * epoch, figures(*table)))
    return diagnosis


@pytest.mark.parametrize(
    ("table", "severity", "message"),
    [
        (
            (490, 490, 600, 1000),
            "failure",
            "Wrong on all 490 images marked dark, and on 60% of the others: a difference of 40% "
            "(95% interval 37% to 43%).",
        ),
        (
            (81, 130, 120, 1000),
            "failure",
            "Wrong on 62% of 130 images marked dark, and on 12% of the others: a difference of 50% "
            "(95% interval 41% to 58%).",
        ),
        (
            (12, 40, 10, 400),
            "warning",
            "Wrong on 30% of 40 images marked dark, and on 2% of the others: a difference of 27% "
            "(95% interval 15% to 43%).",
        ),
        (
            (75, 200, 171, 800),
            "watch",
            "Wrong on 38% of 200 images marked dark, and on 21% of the others: a difference of 16% "
            "(95% interval 9% to 24%).",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 9 else "",
)
def test_the_severity_follows_the_difference_of_the_errors_and_the_words_say_both(
    table: tuple[int, int, int, int], severity: str, message: str
) -> None:
    (finding,) = found(*[table] * 3).findings
    assert (finding.severity, finding.message) == (severity, message)


def test_what_is_worth_watching_has_a_ratio_beyond_chance_and_under_twice_the_errors() -> None:
    values = figures(75, 200, 171, 800)
    ratio, low, high, p = (values[f"failures/factors/{key}/dark"] for key in ("error_ratio", "low", "high", "p_value"))
    assert 1.2 < low < ratio < high < 2
    assert p < 0.01


def test_a_difference_that_chance_explains_is_no_finding() -> None:
    assert found(*[(14, 60, 171, 800)] * 6).history == []


def test_a_factor_that_gets_worse_has_one_finding_whose_severity_rises_and_that_ends_once() -> None:
    watch, failure, nothing = (75, 200, 171, 800), (150, 200, 100, 800), (42, 200, 171, 800)
    diagnosis = found(watch, watch, watch, failure, failure, failure)
    (finding,) = diagnosis.history
    assert (finding.severity, finding.epoch) == ("failure", 5)
    assert "Wrong on 75% of 200 images" in finding.latest
    diagnosis = found(watch, watch, watch, failure, failure, failure, nothing, nothing, nothing)
    (finding,) = diagnosis.history
    assert finding.cleared == 11


def test_a_plain_case_is_raised_at_once_with_the_severity_of_its_figures() -> None:
    (finding,) = found((150, 200, 100, 800)).findings
    assert finding.severity == "failure"
    assert "at 1 evaluation, which is enough where" in finding.criterion
    (finding,) = found((20, 200, 5, 2000)).findings
    assert finding.severity == "warning"


def test_a_small_difference_is_no_plain_case_however_large_its_odds() -> None:
    table = (15, 500, 10, 10000)  # 3% of the images wrong, and 0.1% of the others
    values = figures(*table)
    assert values["failures/factors/odds_low/dark"] > 5
    assert values["failures/factors/p_value/dark"] < 0.0001
    assert not found(table, table).findings
    (finding,) = found(table, table, table).findings
    assert finding.severity == "watch"
