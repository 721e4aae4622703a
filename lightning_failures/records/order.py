"""Orders of checkpoints: by one value, and by others where that ties."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from lightning_failures.errors import InputError
from lightning_failures.records.keys import parse_key

__all__ = ["Order", "rank"]


class Order(NamedTuple):
    """Which of two values is better."""

    mode: Literal["min", "max"]
    key: str

    @classmethod
    def parse(cls, text: str, where: str) -> "Order":
        """Read ``"min val_loss"`` or ``"max val_acc"``; the key is written as in a condition, without a star.

        Raises:
            InputError: it does not begin with min or max, or names no single key.

        Example:
            >>> Order.parse("max val_acc", "GatedCheckpoint")
            Order(mode='max', key='val_acc')
        """
        mode, _, key = text.strip().partition(" ")
        if mode not in ("min", "max") or not key.strip():
            raise InputError(where, "an order that cannot be read", repr(text), "Write 'min KEY' or 'max KEY'.")
        parsed = parse_key(key, where, within=text, at=text.index(key))
        if "*" in parsed:
            raise InputError(where, "an order by many keys", repr(text), "Name one key without a star.")
        return cls("min" if mode == "min" else "max", parsed)


def rank(orders: Sequence[Order], values: Mapping[str, float]) -> list[float]:
    """What checkpoints are compared by, lower is better; a later value counts where all before it tie.

    Example:
        >>> orders = [Order("max", "val_acc"), Order("min", "val_loss")]
        >>> first, second = {"val_acc": 0.5, "val_loss": 2.0}, {"val_acc": 0.5, "val_loss": 1.0}
        >>> rank(orders, second) < rank(orders, first)
        True
    """
    return [values[key] if mode == "min" else -values[key] for mode, key in orders]
