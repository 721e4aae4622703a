"""The closed-form linear reference: what a linear model reaches on features whose moments were streamed, and what a
network leaves of it untapped.

Shrinkage: Chen, Wiesel, Eldar and Hero, "Shrinkage algorithms for MMSE covariance estimation", IEEE Transactions on
Signal Processing 58 (2010), equation 23.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.clusters import degrees_of_freedom, group_p_value
from lightning_failures.functional.moments import ClassMoments
from lightning_failures.functional.paired_accuracy import accuracy_difference, count_pairs, exact_mcnemar

__all__ = [
    "Discriminant",
    "Untapped",
    "UntappedCounts",
    "count_untapped",
    "linear_discriminant",
    "oas_shrinkage",
    "untapped_information",
    "untapped_of_images",
]

_ROUNDING = 1e-12  # a variance below this share of its second moment is what float32 inputs leave of a constant


class Discriminant(NamedTuple):
    """A linear classifier: class scores are ``features @ weight.T + bias``."""

    weight: Tensor  # (c d) float64
    bias: Tensor  # (c) float64; -inf for a class that was never seen

    def scores(self, features: Tensor) -> Tensor:
        """Log posterior of each class, up to a constant of the row; (... c), float64.

        Args:
            features: in the units of the moments; (... d), any float.
        """
        return features.to(self.weight.device).double() @ self.weight.T + self.bias

    def predict(self, features: Tensor) -> Tensor:
        """The class of the highest score, -1 where the scores are undefined; (...), int64.

        Args:
            features: in the units of the moments; (... d), any float.
        """
        scores = self.scores(features)
        return torch.where(scores.isnan().any(-1), -1, scores.argmax(-1))


class UntappedCounts(NamedTuple):
    """Paired right and wrong of a model and a reference; adds up across batches and across ranks."""

    both: Tensor  # () int64, images that both get right
    model_only: Tensor  # () int64, images that only the model gets right
    reference_only: Tensor  # () int64, images that only the reference gets right
    neither: Tensor  # () int64, images that both get wrong

    @classmethod
    def zero(cls) -> "UntappedCounts":
        """The counts of no images."""
        return cls(*torch.zeros(4, dtype=torch.int64))


class Untapped(NamedTuple):
    """What :func:`untapped_information` gives; each (), float64."""

    model_accuracy: Tensor
    reference_accuracy: Tensor
    difference: Tensor
    low: Tensor
    high: Tensor
    p_value: Tensor
    images: Tensor


def oas_shrinkage(matrix: Tensor, dof: Tensor, size: Tensor | None = None) -> Tensor:
    """Oracle-approximating shrinkage of a covariance towards a multiple of the identity, from the matrix alone.

    Args:
        matrix: a sample covariance or correlation; (d d), float64.
        dof: degrees of freedom it was estimated with (rows minus classes, for a pooled one); ().
        size: channels that vary, where the rows and columns of the others are zero; (). None: all d.

    Convention:
        0 keeps the sample matrix and 1 leaves the identity's multiple; in (0, 1].

    Returns:
        The weight of the identity's multiple; (), float64.

    Example:
        >>> oas_shrinkage(torch.eye(4, dtype=torch.float64), torch.tensor(100))
        tensor(1., dtype=torch.float64)
    """
    d = torch.tensor(len(matrix)).to(dof) if size is None else size
    trace, square = matrix.trace(), matrix.square().sum()
    above = (1 - 2 / d) * square + trace.square()
    below = (dof + 1 - 2 / d) * (square - trace.square() / d)
    # a matrix that already is a multiple of the identity leaves nothing below
    return torch.where(above.isnan() | (above < below), above / below, torch.ones_like(above))


def linear_discriminant(sums: ClassMoments, shrinkage: float | None = None) -> Discriminant:
    """Linear discriminant analysis from streamed moments, without a second look at the data.

    Channels are divided by their own within-class standard deviation, which the moments hold, and the pooled
    within-class correlation is shrunk towards the identity: scaling a channel of the inputs changes no prediction.
    Priors are the shares of the classes.

    The default shrinkage is the one that held everywhere it was tried: mean accuracy on validation patches of the
    Indian Pines scene that share no pixel with the training patches (mean spectra of 200 bands, 16 classes, eight
    splits of about 7,000 rows, and rows drawn from them), and on 100 rows of the 8 x 8 digits (64 pixels):

    ================  =====  =====  =====  =====  =====  =====
    shrinkage         OAS    0      1e-4   1e-3   1e-2   1e-1
    ================  =====  =====  =====  =====  =====  =====
    scene, all rows   0.766  0.762  0.766  0.766  0.749  0.711
    scene, 800 rows   0.741  0.691  0.716  0.738  0.737  0.708
    scene, 210 rows   0.689  0.038  0.612  0.668  0.691  0.674
    scene, 60 rows    0.579  0.052  0.509  0.524  0.559  0.581
    digits, 100 rows  0.879  0.786  0.787  0.790  0.814  0.862
    ================  =====  =====  =====  =====  =====  =====

    (Where patches of the two parts overlap, less shrinkage seems better, 0.800 against 0.793: it learns them by heart.)

    Args:
        sums: moments of the training rows by class.
        shrinkage: weight of the identity, in [0, 1]; None takes :func:`oas_shrinkage`, with rows minus classes as
            degrees of freedom.

    Convention:
        A class without rows is never predicted (bias -inf); a constant channel has weight 0. All is ``nan``, and
        :meth:`Discriminant.predict` gives -1, with fewer than two classes that have rows, without more rows than such
        classes, with no channel that varies, or with shrinkage 0 and more varying channels than rows minus classes.

    Returns:
        Weights in the units of the inputs, and biases.

    Raises:
        InputError: the shrinkage lies outside [0, 1].

    Example:
        >>> from lightning_failures.functional.moments import class_moments
        >>> rows = torch.tensor([[0.0, 5.0], [1.0, 5.0], [4.0, 5.0], [5.0, 5.0]])
        >>> reference = linear_discriminant(class_moments(rows, torch.tensor([0, 0, 2, 2]), num_classes=3))
        >>> reference.predict(torch.tensor([[2.4, 5.0], [2.6, 5.0]]))
        tensor([0, 2])
    """
    if shrinkage is not None and not 0 <= shrinkage <= 1:
        raise InputError(
            "linear_discriminant",
            "shrinkage is no weight",
            f"{shrinkage}",
            "Pass a number in [0, 1], or None for the default.",
        )
    counts = sums.counts.double()
    seen = sums.counts > 0
    means = torch.where(seen[:, None], sums.totals / counts[:, None], 0.0)
    rows, centre = counts.sum(), sums.totals.sum(0) / counts.sum()
    centred = torch.where(seen[:, None], means - centre, 0.0)

    total = sums.outer - torch.outer(centre, centre) * rows
    within = total - (centred * counts[:, None]).T @ centred
    varies = total.diagonal() > _ROUNDING * sums.outer.diagonal()
    # a channel that is constant within its classes but not between them must not divide by zero; what is left within
    # them is rounding, of either sign, which goes with no other channel
    least = _ROUNDING * total.diagonal()
    inside = varies & (within.diagonal() > least)
    dof = rows - seen.sum()
    scale = torch.where(varies, torch.maximum(within.diagonal(), least) / dof, 1.0).sqrt()
    correlation = torch.where(inside[:, None] & inside, within / dof / torch.outer(scale, scale), 0.0)
    correlation = correlation + torch.diag((varies & ~inside).double())

    channels = varies.sum()
    identity = torch.diag(varies.double())
    weight = oas_shrinkage(correlation, dof, channels) if shrinkage is None else torch.full_like(rows, shrinkage)
    shrunk = (1 - weight) * correlation + weight.clamp(min=_ROUNDING) * identity + torch.diag((~varies).double())
    factor, failed = torch.linalg.cholesky_ex(shrunk)
    solved = torch.cholesky_solve((torch.where(varies, centred, 0.0) / scale).T, factor).T
    coefficients = torch.where(seen[:, None], solved / scale, 0.0)
    bias = torch.where(seen, (counts / rows).log() - (coefficients * (centre + centred / 2)).sum(1), -torch.inf)

    defined = (seen.sum() > 1) & (dof > 0) & (channels > 0) & (failed == 0)
    if shrinkage == 0:
        defined = defined & (dof >= channels)
    return Discriminant(torch.where(defined, coefficients, torch.nan), torch.where(defined, bias, torch.nan))


def count_untapped(
    preds: Tensor, reference_preds: Tensor, target: Tensor, ignore_index: int | None = None
) -> UntappedCounts:
    """Count who is right, image by image (or pixel by pixel).

    Args:
        preds: classes that the model predicts; (n ...), int64.
        reference_preds: classes that the reference predicts, -1 where it is undefined; (n ...), int64.
        target: true classes; (n ...), int64.
        ignore_index: a target that is left out, besides the negative ones.

    Convention:
        Only entries where target and both predictions are at least 0 are counted.
    """
    of_images = untapped_of_images(preds, reference_preds, target, ignore_index)
    return UntappedCounts(*(count.sum() for count in of_images))


def untapped_of_images(
    preds: Tensor, reference_preds: Tensor, target: Tensor, ignore_index: int | None = None
) -> UntappedCounts:
    """What each image adds to :func:`count_untapped`, so that it can be added up by group; (n) each, int64.

    Args:
        preds: as there.
        reference_preds: as there.
        target: as there.
        ignore_index: as there.
    """
    kept = (target >= 0) & (preds >= 0) & (reference_preds >= 0)
    if ignore_index is not None:
        kept = kept & (target != ignore_index)
    answers = (preds == target, reference_preds == target, kept)
    return UntappedCounts(*count_pairs(*(rearrange(answer, "n ... -> (...) n") for answer in answers)))


def untapped_information(counts: UntappedCounts, by_group: UntappedCounts | None = None) -> Untapped:
    """Accuracy of a simple reference minus the accuracy of the model, on the same images.

    Convention:
        ``difference`` lies in [-1, 1]; above 0 the model leaves information on the table that the reference picks up.
        ``low`` and ``high`` bound it with 95% confidence; ``p_value`` is exact and two-sided. Without groups both take
        images as independent: neighbouring pixels or overlapping patches make them too sure. ``nan`` without images.

    Args:
        counts: the counts.
        by_group: the same counts of each group of images that belong together; (g). None: images are independent.

    Returns:
        Both accuracies, their difference with its interval and p-value, and the number of images.

    Example:
        >>> untapped_information(UntappedCounts(*torch.tensor([1, 1, 7, 12]))).difference
        tensor(0.2857, dtype=torch.float64)
    """
    both, model_only, reference_only, neither = (count.double() for count in counts)
    images = both + model_only + reference_only + neither
    model, reference = (both + model_only) / images, (both + reference_only) / images
    if by_group is None:
        difference = accuracy_difference(both, reference_only, model_only, neither)
        p_value = exact_mcnemar(counts.model_only, counts.reference_only)
    else:
        of_both, of_model, of_reference, of_neither = by_group
        groups = (of_both, of_reference, of_model, of_neither)
        difference = accuracy_difference(both, reference_only, model_only, neither, by_group=groups)
        freedom = degrees_of_freedom(torch.stack(groups).sum(0))
        p_value = group_p_value((of_reference - of_model).double(), freedom)
    p_value = torch.where(images > 0, p_value, torch.nan)
    return Untapped(model, reference, *difference, p_value, images)
