"""What the logged figures about groups mean: the words of the metric that computes them."""

from lightning_failures.metrics.group_errors import GroupErrors
from lightning_failures.records.headlines import told_by

__all__ = ["TERMS"]

TERMS = told_by(GroupErrors.terms, {"difference/*": ("worst_group", "max")})
