"""A bounded sample of a stream, the same however the stream is cut."""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["Sample"]


class Sample:
    """Rows of the smallest priorities, in their order, so that however a stream is cut the same rows are kept.

    Args:
        limit: number of rows.

    Example:
        >>> sample = Sample(2)
        >>> sample.add(torch.tensor([0.9, 0.1, 0.5]), {"label": torch.tensor([9, 1, 5])})
        >>> sample.rows["label"]
        tensor([1, 5])
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._priority = torch.empty(0, dtype=torch.float64)
        self._rows: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self._priority)

    @property
    def rows(self) -> dict[str, Tensor]:
        """What is kept, by name; (m ...), smallest priority first."""
        order = self._priority.argsort()
        return {name: value[order] for name, value in self._rows.items()}

    def keeps(self, priority: Tensor) -> Tensor:
        """Which rows of these priorities would be kept, were they added; (m), bool."""
        chosen = torch.cat([self._priority, priority.double()]).argsort(stable=True)[: self.limit]
        kept = torch.zeros(len(self) + len(priority), dtype=torch.bool).index_fill_(0, chosen, True)
        return kept[len(self) :]

    def add(self, priority: Tensor, rows: Mapping[str, Tensor]) -> None:
        """Add the rows of a batch, each (m ...), with a priority each (m)."""
        room = self.limit - len(self)
        if room and len(priority):
            self._priority = torch.cat([self._priority, priority[:room].double()])
            self._rows = {n: torch.cat([self._rows.get(n, v[:0]), v[:room]]) for n, v in rows.items()}
        later = priority[room:]
        if not len(later):
            return
        chosen = torch.cat([self._priority, later]).argsort(stable=True)[: self.limit]
        new = chosen[chosen >= self.limit] - self.limit
        stays = torch.zeros(self.limit, dtype=torch.bool).index_fill_(0, chosen[chosen < self.limit], True)
        place = (~stays).nonzero().squeeze(1)  # of the rows that give way
        self._priority[place] = later[new].double()
        for name, value in rows.items():
            self._rows[name][place] = value[room:][new]
