"""All columns: what each noun declares of its figures, its rules and its pictures."""

from lightning_failures.callbacks.causes.column import CAUSES_COLUMN
from lightning_failures.callbacks.channels.column import CHANNELS
from lightning_failures.callbacks.collapse.column import COLLAPSE
from lightning_failures.callbacks.data.column import DATA
from lightning_failures.callbacks.factors.column import FACTORS
from lightning_failures.callbacks.groups.column import GROUPS_COLUMN
from lightning_failures.callbacks.images.column import IMAGES_COLUMN
from lightning_failures.callbacks.properties.column import PROPERTIES_COLUMN
from lightning_failures.callbacks.simplicity.column import SIMPLICITY
from lightning_failures.callbacks.slices.column import SLICES
from lightning_failures.callbacks.training.column import TRAINING
from lightning_failures.records.rule import Rule

__all__ = ["COLUMNS", "standard_rules"]

COLUMNS = (
    SIMPLICITY,
    COLLAPSE,
    CHANNELS,
    FACTORS,
    PROPERTIES_COLUMN,
    GROUPS_COLUMN,
    SLICES,
    TRAINING,
    CAUSES_COLUMN,
    DATA,
    IMAGES_COLUMN,
)


def standard_rules() -> tuple[Rule, ...]:
    """The rules that :class:`.FailureDiagnosis` begins with: those that the columns declare.

    Example:
        >>> {"class_collapse", "no_learning", "group_shift"} <= {rule.kind for rule in standard_rules()}
        True
    """
    return tuple(rule for column in COLUMNS for rule in column.rules)
