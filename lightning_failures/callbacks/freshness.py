"""Which logged values belong to the present evaluation; Lightning keeps old ones beside new ones."""

from collections.abc import Iterable

from lightning.pytorch import Trainer
from torch import Tensor

__all__ = ["Freshness"]


class Freshness:
    """Tells values of this evaluation from those that an earlier one left behind; the one answer for rules and gates.

    ``trainer.callback_metrics`` keeps what was logged last under each key, however long ago. A value is fresh at the
    global step of the first :meth:`look` that finds it, whether validation or training logged it, and stale from then
    on; :meth:`look` must therefore run at every evaluation. What training logs on step is that of the last batch. Its
    mean over an epoch is known only when the validation at the epoch's end is over, and counts at the next evaluation.
    """

    def __init__(self) -> None:
        # The tensors are kept, so that no new one can stand at the address of an old one.
        self._seen: dict[str, tuple[object, int]] = {}

    def look(self, trainer: Trainer) -> None:
        """Note what is new since the last look."""
        for key, value in trainer.callback_metrics.items():
            if key not in self._seen or not _same(value, self._seen[key][0]):
                self._seen[key] = (value, trainer.global_step)

    def values(self, trainer: Trainer) -> dict[str, float]:
        """All scalars, stale ones included."""
        scalars = ((key, value) for key, value in trainer.callback_metrics.items() if _is_scalar(value))
        return {key: float(value) for key, value in scalars}

    def fresh(self, trainer: Trainer, keys: Iterable[str]) -> set[str]:
        """Those of the keys whose value belongs to the present step."""
        step = trainer.global_step
        return {key for key in keys if key in self._seen and self._seen[key][1] == step}

    def fresh_values(self, trainer: Trainer) -> dict[str, float]:
        """The scalars that belong to the present step."""
        values = self.values(trainer)
        fresh = self.fresh(trainer, values)
        return {key: value for key, value in values.items() if key in fresh}


def _is_scalar(value: object) -> bool:
    return isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1)


def _same(value: object, other: object) -> bool:
    """Whether two values are one: Lightning detaches anew at each access, which keeps the storage."""
    if isinstance(value, Tensor) and isinstance(other, Tensor):
        return value.data_ptr() == other.data_ptr()
    return value is other
