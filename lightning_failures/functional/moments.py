"""Sums of powers that add up across batches and ranks, and the mean, covariance and spectrum that they give."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.one_thread import one_thread

__all__ = [
    "ClassMoments",
    "Moments",
    "Numerics",
    "PowerSums",
    "class_moments",
    "covariance",
    "eigen",
    "finite_double_rows",
    "finite_images",
    "finite_rows",
    "mean",
    "moments",
    "numerics",
    "offset_ratio",
    "power_sums",
    "principal_directions",
    "rounding",
    "spectrum",
    "widen_classes",
]

#: How sums of products are formed; they are always held in float64.
Numerics = Literal["float64", "float64 on the CPU", "shifted float32, summed in float64"]

EPSILON = torch.finfo(torch.float64).eps
#: P100, V100, A100, H100, B200: float64 at half the rate of float32; other compute capabilities at 1/32 or less.
_FAST_FLOAT64 = {(6, 0), (7, 0), (8, 0), (9, 0), (10, 0)}


class Moments(NamedTuple):
    """First and second moments of feature rows; adds up across batches and across ranks."""

    count: Tensor  # type: ignore[assignment]  # () int64, rows n; hides tuple.count
    total: Tensor  # (d) float64, sum x
    outer: Tensor  # (d d) float64, sum x x'

    @classmethod
    def zero(cls, num_features: int) -> "Moments":
        """The moments of no rows."""
        return cls(
            torch.zeros((), dtype=torch.int64),
            torch.zeros(num_features, dtype=torch.float64),
            torch.zeros(num_features, num_features, dtype=torch.float64),
        )

    @classmethod
    def of(cls, sums: tuple[Tensor, ...]) -> "Moments":
        """The moments that other sums begin with, such as :class:`PowerSums`."""
        return cls(*sums[:3])


class PowerSums(NamedTuple):
    """Moments of feature rows up to the fourth power of their length; adds up across batches and across ranks."""

    count: Tensor  # type: ignore[assignment]  # () int64, rows n; hides tuple.count
    total: Tensor  # (d) float64, sum x
    outer: Tensor  # (d d) float64, sum x x'
    squares: Tensor  # () float64, sum |x|^2
    cubes: Tensor  # (d) float64, sum |x|^2 x
    fourths: Tensor  # () float64, sum |x|^4

    @classmethod
    def zero(cls, num_features: int) -> "PowerSums":
        """The power sums of no rows."""
        scalar = torch.zeros((), dtype=torch.float64)
        vector = torch.zeros(num_features, dtype=torch.float64)
        return cls(*Moments.zero(num_features), scalar, vector, scalar)

    @classmethod
    def of(cls, sums: tuple[Tensor, ...]) -> "PowerSums":
        """The power sums that other sums begin with, such as :class:`.FeatureSums`."""
        return cls(*sums[:6])


class ClassMoments(NamedTuple):
    """Moments of feature rows with their sums by class; adds up across batches and across ranks."""

    counts: Tensor  # (c) int64, rows of each class
    totals: Tensor  # (c d) float64, sum x by class
    squares: Tensor  # (c) float64, sum |x|^2 by class
    outer: Tensor  # (d d) float64, sum x x' over all classes

    @classmethod
    def zero(cls, num_classes: int, num_features: int) -> "ClassMoments":
        """The moments of no rows."""
        return cls(
            torch.zeros(num_classes, dtype=torch.int64),
            torch.zeros(num_classes, num_features, dtype=torch.float64),
            torch.zeros(num_classes, dtype=torch.float64),
            torch.zeros(num_features, num_features, dtype=torch.float64),
        )

    @property
    def all(self) -> Moments:
        """The same rows without their classes."""
        return Moments(self.counts.sum(), self.totals.sum(0), self.outer)


def numerics(device: torch.device) -> Numerics:
    """How sums of products are formed on a device.

    Convention:
        ``"float64"`` on CPUs and on GPUs with fast float64. ``"shifted float32, summed in float64"`` on the other
        GPUs: each batch is centred first, its Gram matrix is formed in float32 without TF32, and the sums are
        float64. ``"float64 on the CPU"`` for Apple's MPS, which has no float64.

    Example:
        >>> numerics(torch.device("cpu"))
        'float64'
    """
    if device.type == "mps":
        return "float64 on the CPU"
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        fast = capability[0] == 9 if torch.version.hip else capability in _FAST_FLOAT64  # 9: AMD Instinct
        return "float64" if fast else "shifted float32, summed in float64"
    return "float64"


def finite_rows(features: Tensor) -> Tensor:
    """Whether each row is free of NaN and infinity; (n), bool."""
    return features.isfinite().all(1)


def finite_double_rows(features: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in float64, on the CPU where their device has none, and whether each is free of NaN and infinity.

    Args:
        features: one row per image; (n d), any float.

    Returns:
        The rows, those that are not finite as zeros, without a gradient, (n d); and which are finite, (n), bool, where
        the features are.

    Example:
        >>> finite_double_rows(torch.tensor([[1.0, torch.nan], [2.0, 3.0]]))
        (tensor([[0., 0.],
                [2., 3.]], dtype=torch.float64), tensor([False,  True]))
    """
    keep = finite_rows(features)
    return _double(torch.where(keep[:, None], features.detach(), 0.0)), keep


def finite_images(images: Tensor) -> Tensor:
    """Whether each image is free of NaN and infinity; those that are not are left out of a figure, and counted.

    Args:
        images: of any number of axes, images first; (n ...), any type.

    Example:
        >>> finite_images(torch.tensor([[[0.0, 1.0]], [[torch.nan, 1.0]]]))
        tensor([ True, False])
    """
    return images.isfinite().flatten(1).all(1) if images.ndim > 1 else images.isfinite()


def moments(features: Tensor, keep: Tensor | None = None, how: Numerics | None = None) -> Moments:
    """Moments of one batch of rows.

    Args:
        features: one row per image; (n d), any float.
        keep: rows that count, all by default; (n), bool.
        how: how products are formed; by default as :func:`numerics` says of the device.
    """
    how = how or numerics(features.device)
    rows, count = _rows(features, keep)
    if how.startswith("float64"):
        return Moments(count, rows.sum(0), rows.T @ rows)
    kept = torch.ones_like(rows[:, :1]) if keep is None else keep[:, None].to(rows.dtype)
    shift = (rows.sum(0) / count.clamp(min=1)).float().double()  # exact in float32, so that the shift loses nothing
    centred = ((rows - shift) * kept).float()
    with _exact_float32(rows.device):
        gram = (centred.T @ centred).double()
    rest = centred.double().sum(0)
    cross = torch.outer(shift, rest)
    return Moments(count, rest + count * shift, gram + cross + cross.T + count * torch.outer(shift, shift))


def power_sums(features: Tensor, keep: Tensor | None = None, how: Numerics | None = None) -> PowerSums:
    """Power sums of one batch of rows.

    Args:
        features: one row per image; (n d), any float.
        keep: rows that count, all by default; (n), bool.
        how: how products are formed; by default as :func:`numerics` says of the device.
    """
    rows, _ = _rows(features, keep)
    lengths = rows.square().sum(1)
    how = how or numerics(features.device)
    return PowerSums(*moments(rows, keep, how), lengths.sum(), lengths @ rows, lengths @ lengths)


def class_moments(
    features: Tensor, target: Tensor, num_classes: int, keep: Tensor | None = None, how: Numerics | None = None
) -> ClassMoments:
    """Moments of one batch of rows, by class.

    Args:
        features: one row per image; (n d), any float.
        target: class of each row; (n), int64, in [0, num_classes) where the row counts.
        num_classes: number of classes c.
        keep: rows that count, all by default; (n), bool.
        how: how products are formed; by default as :func:`numerics` says of the device.
    """
    rows, _ = _rows(features, keep)
    how = how or numerics(features.device)
    target = target.to(rows.device)
    kept = torch.ones_like(target) if keep is None else keep.to(target)
    target = torch.where(kept > 0, target, 0)
    return ClassMoments(
        kept.new_zeros(num_classes).index_add_(0, target, kept),
        rows.new_zeros(num_classes, rows.shape[1]).index_add_(0, target, rows),
        rows.new_zeros(num_classes).index_add_(0, target, rows.square().sum(1)),
        moments(rows, keep, how).outer,
    )


def widen_classes(sums: ClassMoments, num_classes: int) -> ClassMoments:
    """The same sums with room for more classes, which have no rows."""
    more = num_classes - len(sums.counts)
    if more <= 0:
        return sums
    empty = ClassMoments.zero(more, sums.totals.shape[1])
    counts, totals, squares = (torch.cat([own, new.to(own)]) for own, new in zip(sums[:3], empty[:3], strict=True))
    return ClassMoments(counts, totals, squares, sums.outer)


def mean(sums: Moments) -> Tensor:
    """Mean of the rows; (d), float64; nan without rows."""
    return sums.total / sums.count


def covariance(sums: Moments) -> Tensor:
    """Covariance of the rows, with n - 1 below; (d d), float64; nan with fewer than two rows.

    Rows whose variance is no more than rounding of their second moment are constant: their covariance is exactly 0.
    """
    centred = torch.addr(sums.outer, sums.total, mean(sums), alpha=-1)
    noise = EPSILON * (64 + sums.count.double().sqrt()) * sums.outer.trace()
    factor = torch.where(centred.trace() > noise, 1 / (sums.count.double() - 1), 0.0)
    return centred.mul_(torch.where(sums.count > 1, factor, torch.nan))


def rounding(sums: Moments, how: Numerics = "float64") -> Tensor:
    """Size of an eigenvalue of the covariance that rounding of its sums alone explains; ().

    Args:
        sums: moments of the rows.
        how: how their products were formed.
    """
    size = 8 * EPSILON * sums.outer.trace() / (sums.count - 1).clamp(min=1)
    if how.startswith("shifted"):
        size = size + torch.finfo(torch.float32).eps / 8 * covariance(sums).trace()  # about twice the most measured
    return size


def offset_ratio(sums: Moments) -> Tensor:
    """Length of the mean row over the root of the summed variances: how much more all rows share than they differ by.

    Convention:
        0 for centred rows. Images in [0, 1] without normalisation have about 2; where it is well above, a small change
        of a first layer's weights moves its outputs by more than they vary, and the running statistics of a batch norm
        lag behind. ``nan`` for constant rows, and with fewer than two.

    Args:
        sums: moments of the rows.

    Example:
        >>> offset_ratio(moments(torch.tensor([[4.0], [6.0]])))
        tensor(3.5355, dtype=torch.float64)
    """
    trace = covariance(sums).trace()
    return torch.where(trace > 0, mean(sums).norm() / trace.sqrt(), torch.nan)


def spectrum(matrix: Tensor, rounding: Tensor | None = None) -> Tensor:
    """Eigenvalues of a covariance in descending order; (d), float64; nan in, nan out.

    Eigenvalues that rounding alone explains are 0.

    Args:
        matrix: symmetric, without negative eigenvalues; (d d).
        rounding: size of what rounding explains, where that is more than the decomposition's own; ().

    Example:
        >>> spectrum(torch.diag(torch.tensor([1.0, 3.0], dtype=torch.float64)))
        tensor([3., 1.], dtype=torch.float64)
    """
    if not bool(matrix.sum().isfinite()):
        return torch.full(matrix.shape[:1], torch.nan, dtype=torch.float64, device=matrix.device)
    (values,) = _on_cpu_if_it_fails(lambda m: (torch.linalg.eigvalsh(m).flip(0),), matrix)
    own = EPSILON * len(values) * values[:1]
    return torch.where(values > (own if rounding is None else own.maximum(rounding)), values, 0.0)


def eigen(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (d), descending, and unit eigenvectors (d d), columns in the same order, of a symmetric matrix.

    Each column's entry of largest size is positive, so that equal matrices give equal columns. A decomposition that
    fails on its device is done on the CPU, in float64.
    """
    values, vectors = _on_cpu_if_it_fails(torch.linalg.eigh, matrix)
    values, vectors = values.flip(0), vectors.flip(1)
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return values, vectors * largest.sign()


def principal_directions(covariance: Tensor) -> Tensor:
    """Unit eigenvectors of a covariance as columns, by descending eigenvalue; (d d), float64.

    Example:
        >>> principal_directions(torch.diag(torch.tensor([1.0, 3.0], dtype=torch.float64)))
        tensor([[0., 1.],
                [1., 0.]], dtype=torch.float64)
    """
    return eigen(covariance)[1]


def _rows(features: Tensor, keep: Tensor | None) -> tuple[Tensor, Tensor]:
    """Rows in float64 with those left out at 0, and how many count."""
    rows = _double(features.detach())
    if keep is None:
        return rows, torch.full((), len(rows), device=rows.device)  # torch.tensor would stop the device
    keep = keep.to(rows.device)
    return torch.where(keep[:, None], rows, 0.0), keep.sum()


def _double(rows: Tensor) -> Tensor:
    return (rows.cpu() if rows.device.type == "mps" else rows).double()  # MPS has no float64


def _on_cpu_if_it_fails(decompose: Callable[[Tensor], tuple[Tensor, ...]], matrix: Tensor) -> tuple[Tensor, ...]:
    with one_thread():
        try:
            return tuple(decompose(matrix.double()))
        except RuntimeError:  # cuSOLVER gives up near rank 1, or finds no memory
            return tuple(part.to(matrix.device) for part in decompose(matrix.cpu().double()))


@contextmanager
def _exact_float32(device: torch.device) -> Iterator[None]:
    """Matrix products without autocast and without TF32."""
    matmul = torch.backends.cuda.matmul
    name, off = ("fp32_precision", "ieee") if hasattr(matmul, "fp32_precision") else ("allow_tf32", False)
    before = getattr(matmul, name)
    setattr(matmul, name, off)
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        setattr(matmul, name, before)
