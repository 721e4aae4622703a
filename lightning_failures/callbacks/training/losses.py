"""The losses of the training steps: read late, so that the device need not be waited for, and kept as a course."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_failures.functional.straight_line import straight_line

__all__ = ["LOSS_FIGURES", "LossCourse", "LossStream"]

#: Means that a course keeps at most; with more, neighbours become one.
BLOCKS = 256

#: Losses of which the first mean is taken.
FIRST = 3

#: Fewest means of the last third through which a line is laid.
POINTS = 8

#: What :meth:`LossCourse.figures` gives.
LOSS_FIGURES = (
    *("loss_initial", "loss_slope", "loss_slope_low", "loss_slope_high", "loss_straightness", "loss_noise"),
)


class LossStream:
    """Losses of steps in order, on the device that they are on until somebody reads them.

    Example:
        >>> stream = LossStream()
        >>> stream.add(torch.tensor(2.0), 0)
        >>> stream.add(torch.tensor(math.nan), 1)
        >>> stream.read()
        [(0, 2.0), (1, nan)]
        >>> stream.read()
        []
    """

    def __init__(self) -> None:
        self._losses: list[Tensor] = []
        self._steps: list[int] = []

    def __len__(self) -> int:
        return len(self._losses)

    def add(self, loss: Tensor, step: int) -> None:
        """Keep the loss of a step; of one number."""
        self._losses.append(loss)
        self._steps.append(step)

    def read(self) -> list[tuple[int, float]]:
        """The steps and losses since the last reading; waits for the device once."""
        losses, steps = self._losses, self._steps
        self._losses, self._steps = [], []
        if not losses:
            return []
        values = torch.stack([loss.detach().reshape(()) for loss in losses]).tolist()
        return list(zip(steps, values, strict=True))


class LossCourse:
    """The finite losses of a run as at most 256 means of neighbours, however long it is.

    Example:
        >>> course = LossCourse()
        >>> for step in range(600):
        ...     course.add(2.0 - 0.001 * step)
        >>> figures = course.figures()
        >>> round(figures["loss_slope"], 3), round(figures["loss_straightness"], 3)
        (-0.131, 1.0)
    """

    def __init__(self) -> None:
        self.length = 1  #: losses in a block
        self.blocks: list[list[float]] = []  #: of each: losses, their sum, their squared steps, and the steps
        self.first: list[float] = []
        self._last = math.nan

    def add(self, loss: float) -> None:
        """Add the loss of the next step; one that is not finite has no part in it."""
        if not math.isfinite(loss):
            self._last = math.nan
            return
        if len(self.first) < FIRST:
            self.first.append(loss)
        if not self.blocks or self.blocks[-1][0] >= self.length:
            if len(self.blocks) == BLOCKS:
                pairs = zip(self.blocks[::2], self.blocks[1::2], strict=True)
                self.blocks = [[a + b for a, b in zip(one, other, strict=True)] for one, other in pairs]
                self.length *= 2
            self.blocks.append([0.0, 0.0, 0.0, 0.0])
        block = self.blocks[-1]
        block[0] += 1
        block[1] += loss
        if math.isfinite(self._last):
            block[2] += (loss - self._last) ** 2
            block[3] += 1
        self._last = loss

    def figures(self) -> dict[str, float]:
        """What the last third of the losses says; nan as long as it is of fewer than eight means."""
        values = dict.fromkeys(LOSS_FIGURES, math.nan)
        values["loss_initial"] = sum(self.first) / len(self.first) if self.first else math.nan
        count, total, steps, pairs = torch.tensor(self.blocks or [[0.0] * 4], dtype=torch.float64).T
        end = count.cumsum(0)
        place = end - count / 2
        last = place >= end[-1] * 2 / 3
        if int(last.sum()) < POINTS:
            return values
        line = straight_line(place[last], (total / count)[last], count[last])
        whole = straight_line(place, total / count, count)
        size = line.mean.abs()
        values["loss_slope"], values["loss_slope_low"], values["loss_slope_high"] = (
            float(each * line.length / size) for each in line[:3]
        )
        values["loss_straightness"] = float(line.slope / whole.slope)
        # of differences, so that a loss that falls is not taken for one that scatters
        values["loss_noise"] = float((steps[last].sum() / pairs[last].sum() / 2).sqrt() / size)
        return values

    def state_dict(self) -> dict[str, Any]:
        """Plain containers."""
        return {"length": self.length, "blocks": [list(each) for each in self.blocks], "first": list(self.first)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "LossCourse":
        """The course of :meth:`state_dict`."""
        course = cls()
        blocks: Sequence[Sequence[float]] = state["blocks"]
        course.length, course.first = state["length"], list(state["first"])
        course.blocks = [list(each) for each in blocks]
        return course
