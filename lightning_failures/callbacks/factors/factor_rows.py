"""The factors of one evaluation, a row each, from what was logged of them."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from lightning_failures.records.keys import RESERVED, unescape

__all__ = ["FactorRow", "factor_rows"]

#: Statistics of a row, in the order of its fields.
STATISTICS = ("error_ratio", "low", "high", "p_value", "images", "errors")


class FactorRow(NamedTuple):
    """One factor at one evaluation; a figure that was not logged is nan."""

    name: str
    ratio: float  # error rate on the images that carry the factor, over the error rate on all
    low: float  # 95% interval
    high: float
    p_value: float
    images: float  # that carry the factor
    errors: float  # misclassified images among them

    @property
    def differs(self) -> bool:
        """Whether the interval excludes 1."""
        return self.low > 1 or self.high < 1


def factor_rows(statistics: Mapping[str, float]) -> list[FactorRow]:
    """The factors among what a monitor logged, highest error ratio first, undefined ones last.

    Args:
        statistics: by the part of the logged keys behind ``failures/<name>/``, as of :meth:`.Evaluation.statistics`.

    Example:
        >>> factor_rows({"error_ratio/dark": 2.0, "images/dark": 40.0})[0].ratio
        2.0
    """
    columns: dict[str, dict[str, float]] = {}
    for key, value in statistics.items():
        statistic, _, name = key.partition("/")
        if name:
            columns.setdefault(statistic, {})[name] = value
    ratios = columns.get("error_ratio", {})
    counted = columns.get("images") or [name for name in ratios if name not in RESERVED]
    rows = [
        FactorRow(unescape(name), *(columns.get(statistic, {}).get(name, math.nan) for statistic in STATISTICS))
        for name in counted
        if name in ratios
    ]
    return sorted(rows, key=lambda row: (math.isnan(row.ratio), -row.ratio, row.name))
