"""The ladder of simple models, fitted on moments that are streamed off the training batches."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.ladder import Rung, fit_ladder
from lightning_failures.functional.moments import ClassMoments
from lightning_failures.metrics.simplicity import LinearReference

__all__ = ["Ladder"]


class Ladder(LinearReference):
    """Streams the features of every rung side by side, and fits all rungs in closed form.

    Inside a distributed run every rank must call :meth:`rungs`.

    Args:
        num_classes: number of classes c.
        widths: name -> number of features, in the order of the rungs; one is ``mean_spectrum``.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: ``mean_spectrum`` is not among the rungs.

    Example:
        >>> from lightning_failures.functional.ladder import ladder_features
        >>> target = torch.tensor([0, 1]).repeat(20)
        >>> images = torch.rand(40, 4, 6, 6, generator=torch.Generator().manual_seed(0)) + target[:, None, None, None]
        >>> features = ladder_features(images, raw=images)
        >>> ladder = Ladder(2, {name: rows.shape[1] for name, rows in features.items()})
        >>> ladder.update(features, target)
        >>> list(ladder.rungs())  # doctest: +NORMALIZE_WHITESPACE
        ['total_absorbance', 'pixel_intensity', 'first_component', 'best_channel', 'mean_spectrum', 'low_frequencies']
        >>> ladder.rungs()["total_absorbance"].predict(features).equal(target)
        True
    """

    def __init__(self, num_classes: int, widths: Mapping[str, int], **kwargs: Any) -> None:
        self.widths = dict(widths)
        if "mean_spectrum" not in self.widths:
            fix = "Take the features from ladder_features."
            raise InputError("Ladder", "the mean spectrum is missing", ", ".join(self.widths), fix)
        super().__init__(num_classes, sum(self.widths.values()), **kwargs)

    def update(self, features: Mapping[str, Tensor] | Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            features: of each rung, name -> (n k), or those of all rungs side by side in their order, (n d); any float.
            target: classes; (n), int64.

        Raises:
            InputError: features of other rungs or in another order, or a target that is not one class for each image.
        """
        if not isinstance(features, Tensor):
            widths = {name: rows.shape[1] for name, rows in features.items()}
            if widths != self.widths or list(widths) != list(self.widths):
                fix = "Pass every rung's features, in the order in which the ladder was made."
                raise InputError("Ladder.update", "the features are others", f"{widths} for {self.widths}", fix)
            features = torch.cat([rows.double() for rows in features.values()], 1)
        super().update(features, target)

    def rungs(self, shrinkage: float | None = None) -> dict[str, Rung]:
        """Every rung as a fitted model, lowest first; see :func:`.fit_ladder`."""
        return fit_ladder(self._all_sums(), self.widths, shrinkage)

    def spectra(self) -> ClassMoments:
        """The moments of the mean spectra alone, of all ranks."""
        return self.block("mean_spectrum")

    def block(self, name: str) -> ClassMoments:
        """The moments of one rung's features alone, of all ranks."""
        sums, start = self._all_sums(), 0
        for other, width in self.widths.items():
            if other == name:
                break
            start += width
        columns = slice(start, start + self.widths[name])
        return ClassMoments(sums.counts, sums.totals[:, columns], sums.squares, sums.outer[columns, columns])
