"""Under which keys a run's validation loss and accuracy stand: the usual names, and what monitors measure."""

import re
from collections.abc import Iterable

__all__ = ["measured_accuracy", "users_accuracy", "users_loss"]

_SPLITS, _SEPARATORS = ("val", "valid", "validation", "eval"), ("_", "/")
LOSSES = tuple(f"{split}{separator}loss" for split in _SPLITS for separator in _SEPARATORS)
ACCURACIES = tuple(
    f"{split}{separator}{word}" for split in _SPLITS for word in ("acc", "accuracy") for separator in _SEPARATORS
)
#: What monitors call an accuracy; the first is measured on the images that a reference is compared on.
MEASURED = ("model_accuracy", "accuracy")


def users_loss(keys: Iterable[str]) -> str | None:
    """The key under which a user logs the validation loss, by its usual names; None where there is none.

    Example:
        >>> users_loss(["valid/loss", "val_acc"])
        'valid/loss'
    """
    known = set(keys)
    return next((key for key in LOSSES if key in known), None)


def users_accuracy(keys: Iterable[str]) -> str | None:
    """The key under which a user logs the validation accuracy, by its usual names; None where there is none.

    Example:
        >>> users_accuracy(["valid_acc", "failures/collapse/accuracy"])
        'valid_acc'
    """
    known = set(keys)
    return next((key for key in ACCURACIES if key in known), None)


def measured_accuracy(keys: Iterable[str]) -> str | None:
    """The key under which a monitor logs the accuracy that it measured; None where there is none.

    Example:
        >>> measured_accuracy(["valid_acc", "failures/collapse/accuracy", "failures/simplicity/model_accuracy"])
        'failures/simplicity/model_accuracy'
    """
    found = [key for key in keys if re.fullmatch(rf"failures/[^/]+/({'|'.join(MEASURED)})", key)]
    return min(found, key=lambda key: (MEASURED.index(key.rpartition("/")[2]), key), default=None)
