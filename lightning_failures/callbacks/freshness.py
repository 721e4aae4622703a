"""Which logged values belong to the present evaluation; Lightning keeps old ones beside new ones."""

from collections.abc import Iterable, Mapping

from lightning.pytorch import Trainer
from torch import Tensor

from lightning_failures.records.keys import match_key

__all__ = ["FIRST_LOADER", "Freshness", "under_both_names"]

#: What Lightning puts behind the keys that a step logs of the first of several loaders, the one that monitors watch.
FIRST_LOADER = "/dataloader_idx_0"


class Freshness:
    """Tells values of this evaluation from those that an earlier one left behind; the one answer for rules and gates.

    ``trainer.callback_metrics`` keeps what was logged last under each key, however long ago. A value is fresh at the
    global step of the first :meth:`look` that finds it, whether validation or training logged it, and stale from then
    on; :meth:`look` must therefore run at every evaluation. What training logs on step is that of the last batch. Its
    mean over an epoch is known only when the validation at the epoch's end is over, and counts at the next evaluation.

    With several validation loaders, Lightning logs what a step logs as ``val_loss/dataloader_idx_0``. What is of the
    first loader also stands under its plain name, so that a rule or a constraint need not know how many there are.
    """

    def __init__(self) -> None:
        # The tensors are kept, so that no new one can stand at the address of an old one.
        self._seen: dict[str, tuple[object, int]] = {}

    def look(self, trainer: Trainer) -> None:
        """Note what is new since the last look."""
        for key, value in trainer.callback_metrics.items():
            if key not in self._seen or not _same(value, self._seen[key][0]):
                self._seen[key] = (value, trainer.global_step)

    def values(self, trainer: Trainer, asked: Iterable[str] = ()) -> dict[str, float]:
        """All scalars, stale ones included.

        Args:
            trainer: whose values they are.
            asked: keys that are there under the first loader's name too, where they have that and there is one loader.
        """
        scalars = ((key, value) for key, value in trainer.callback_metrics.items() if _is_scalar(value))
        values = {key: float(value) for key, value in scalars}
        return under_both_names(values, asked)

    def fresh(self, trainer: Trainer, keys: Iterable[str]) -> set[str]:
        """Those of the keys whose value belongs to the present step."""
        return {key for key in keys if self._step_of(key) == trainer.global_step}

    def _step_of(self, key: str) -> int | None:
        """The step at which the value was found, under this name or that of another number of loaders."""
        names = (key, key + FIRST_LOADER, key.removesuffix(FIRST_LOADER))
        return next((self._seen[name][1] for name in names if name in self._seen), None)

    def new_values(self, trainer: Trainer) -> dict[str, float]:
        """The scalars that were logged since the last look."""
        new = {
            key
            for key, value in trainer.callback_metrics.items()
            if key not in self._seen or not _same(value, self._seen[key][0])
        }
        return {key: value for key, value in self.values(trainer).items() if {key, key + FIRST_LOADER} & new}

    def fresh_values(self, trainer: Trainer) -> dict[str, float]:
        """The scalars that belong to the present step."""
        values = self.values(trainer)
        fresh = self.fresh(trainer, values)
        return {key: value for key, value in values.items() if key in fresh}


def under_both_names(values: Mapping[str, float], asked: Iterable[str] = ()) -> dict[str, float]:
    """Values of the first loader under their plain names too, and, where they are asked for so, under the loader's.

    Args:
        values: by logged key.
        asked: keys, with or without stars.

    Example:
        >>> under_both_names({"val_loss/dataloader_idx_0": 1.0, "lr": 0.1})
        {'val_loss': 1.0, 'val_loss/dataloader_idx_0': 1.0, 'lr': 0.1}
        >>> under_both_names({"val_loss": 1.0}, ["val_*/dataloader_idx_0"])
        {'val_loss/dataloader_idx_0': 1.0, 'val_loss': 1.0}
    """
    plain = {key.removesuffix(FIRST_LOADER): value for key, value in values.items() if key.endswith(FIRST_LOADER)}
    patterns = [key.removesuffix(FIRST_LOADER) for key in asked if key.endswith(FIRST_LOADER)]
    suffixed = {
        key + FIRST_LOADER: value
        for key, value in values.items()
        if not key.endswith(FIRST_LOADER) and any(match_key(pattern, key) is not None for pattern in patterns)
    }
    return {**plain, **suffixed, **values}


def _is_scalar(value: object) -> bool:
    return isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1)


def _same(value: object, other: object) -> bool:
    """Whether two values are one: Lightning detaches anew at each access, which keeps the storage."""
    if isinstance(value, Tensor) and isinstance(other, Tensor):
        return value.data_ptr() == other.data_ptr()
    return value is other
