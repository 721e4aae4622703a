"""How much of what a model knows about the labels a simple model explains.

Kalimeris et al., "SGD on neural networks learns functions of increasing complexity" (2019). The null is the exact mean
over all permutations: Vinh, Epps and Bailey, "Information theoretic measures for clusterings comparison" (2010).
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

__all__ = [
    "Explained",
    "ExplainedCounts",
    "count_explained",
    "expected_information",
    "explained_by_simple",
    "lowest_rung",
    "mutual_information",
]


class ExplainedCounts(NamedTuple):
    """How often model, simple model and label took each triple of classes; adds up across batches and across ranks."""

    table: Tensor  # (c c c) int64, [model, simple model, label]

    @classmethod
    def zero(cls, num_classes: int) -> "ExplainedCounts":
        """The counts of no images."""
        return cls(torch.zeros(num_classes, num_classes, num_classes, dtype=torch.int64))


class Explained(NamedTuple):
    """What :func:`explained_by_simple` gives; each (), float64."""

    explained: Tensor
    explained_adjusted: Tensor
    information: Tensor
    information_null: Tensor
    conditional: Tensor
    conditional_null: Tensor


def count_explained(
    preds: Tensor, simple_preds: Tensor, target: Tensor, num_classes: int, ignore_index: int | None = None
) -> ExplainedCounts:
    """Count triples of one batch.

    Args:
        preds: classes that the model predicts; (n ...), int64.
        simple_preds: classes that the simple model predicts, -1 where it is undefined; (n ...), int64.
        target: true classes; (n ...), int64.
        num_classes: number of classes c.
        ignore_index: a target that is left out, besides those outside [0, c).
    """
    c = num_classes
    kept = torch.ones_like(target, dtype=torch.bool)
    for labels in (preds, simple_preds, target):
        kept = kept & (labels >= 0) & (labels < c)
    if ignore_index is not None:
        kept = kept & (target != ignore_index)
    cell = torch.where(kept, (preds * c + simple_preds) * c + target, 0).flatten()
    table = torch.zeros(c**3, dtype=torch.int64, device=cell.device)
    table.index_add_(0, cell, kept.flatten().long())
    return ExplainedCounts(rearrange(table, "(model simple label) -> model simple label", model=c, simple=c))


def explained_by_simple(counts: ExplainedCounts) -> Explained:
    """Share of the model's information about the labels that its agreement with a simple model accounts for.

    With F the model's predictions, L those of the simple model and Y the labels, ``information`` is I(F; Y),
    ``conditional`` is I(F; Y given L), and ``explained`` is 1 - conditional / information.

    Convention:
        Information in nats. ``explained`` is at most 1: 1 means that, once the simple prediction is known, the model's
        adds nothing about the labels, 0 that the simple model accounts for nothing; below 0 where knowing L brings more
        out. Informations from counts are too large, the conditional one more so, and ``explained`` too small.
        ``information_null`` is the exact mean over all ways to pair the predictions with the labels;
        ``conditional_null`` the exact mean over all ways to pair L with the rest; ``explained_adjusted`` is 1 -
        conditional / conditional_null, whose mean is 0 where L has nothing to do with the model. ``nan`` without
        images, and for both shares where the model carries no information.

    Returns:
        Both shares, both informations and their nulls.

    Example:
        >>> labels = torch.tensor([0, 1, 2, 0, 1, 2])
        >>> explained_by_simple(count_explained(labels, labels, labels, num_classes=3)).explained
        tensor(1., dtype=torch.float64)
    """
    table = counts.table.double()
    images, by_simple = table.sum(), table.transpose(0, 1)
    drawn = by_simple.sum((1, 2))
    information = mutual_information(table.sum(1))
    parts = [mutual_information(part) * size / images for part, size in zip(by_simple, drawn, strict=True) if size > 0]
    conditional = torch.stack(parts).sum() if parts else images.new_full((), torch.nan)
    conditional_null = _expected_conditional(table.sum(1), drawn)
    rounding = 1e-12
    return Explained(
        torch.where(information > rounding, 1 - conditional / information, torch.nan),
        torch.where(conditional_null > rounding, 1 - conditional / conditional_null, torch.nan),
        information,
        expected_information(table.sum(1)),
        conditional,
        conditional_null,
    )


def mutual_information(table: Tensor) -> Tensor:
    """Mutual information of a table of counts, in nats; at least 0, nan for an empty table.

    Args:
        table: counts of two variables; (k m).

    Example:
        >>> mutual_information(torch.tensor([[2, 0], [0, 2]]))
        tensor(0.6931, dtype=torch.float64)
    """
    joint = table.double() / table.sum()
    independent = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    return torch.where(joint == 0, 0.0, joint * (joint / independent).log()).sum().clamp(min=0)


def expected_information(table: Tensor) -> Tensor:
    """Mean mutual information over all tables that pair the same rows and columns at random, in nats.

    Args:
        table: counts of two variables, of which only the margins matter; (k m).

    Convention:
        What :func:`mutual_information` gives where there is nothing to be found; nan for an empty table.

    Example:
        >>> expected_information(torch.tensor([[1, 0], [0, 1]]))
        tensor(0.6931, dtype=torch.float64)
    """
    rows, columns = table.double().sum(1), table.double().sum(0)
    n = rows.sum()
    if not bool(n > 0):
        return n.new_full((), torch.nan)
    marked, drawn = (margin.flatten() for margin in torch.meshgrid(rows, columns, indexing="ij"))
    cells = _expected_n_log_n(n, marked, drawn).sum()
    return (cells - _n_log_n(rows).sum() - _n_log_n(columns).sum() + _n_log_n(n)).clamp(min=0) / n


def lowest_rung(explained: Mapping[str, Tensor], threshold: float = 0.9) -> str | None:
    """The first of the simple models, in the order given, that explains the model.

    Args:
        explained: rung -> share explained, lowest rung first; nan explains nothing.
        threshold: share from which a rung explains the model.

    Example:
        >>> lowest_rung({"total_absorbance": torch.tensor(0.2), "mean_spectrum": torch.tensor(0.97)})
        'mean_spectrum'
    """
    return next((name for name, share in explained.items() if float(share) >= threshold), None)


def _expected_conditional(table: Tensor, drawn: Tensor) -> Tensor:
    """Mean information left in a table that is dealt out at random into parts of the sizes drawn."""
    n = table.sum()
    if not bool(n > 0):
        return n.new_full((), torch.nan)
    drawn = drawn[drawn > 0]
    cells, rows, columns = (
        _expected_n_log_n(n, marked.repeat(len(drawn)), drawn.repeat_interleave(len(marked))).sum()
        for marked in (table.flatten(), table.sum(1), table.sum(0))
    )
    return (cells - rows - columns + _n_log_n(drawn).sum()).clamp(min=0) / n


def _n_log_n(n: Tensor) -> Tensor:
    value: Tensor = torch.special.xlogy(n, n)
    return value


def _expected_n_log_n(n: Tensor, marked: Tensor, drawn: Tensor) -> Tensor:
    """Mean of k log k, k the marked ones among those drawn from n without replacement; like ``marked``."""
    # beyond 12 standard deviations a probability is lost in rounding
    variance = marked * drawn * (n - marked) * (n - drawn) / n**2 / (n - 1).clamp(min=1)
    spread = 12 * (1 + variance.sqrt())
    low = torch.maximum(marked + drawn - n, (marked * drawn / n - spread).floor()).clamp(min=2)  # 0 and 1 give 0
    high = torch.minimum(torch.minimum(marked, drawn), (marked * drawn / n + spread).ceil())
    lengths = (high - low + 1).clamp(min=0).long()
    owner = torch.arange(len(marked), device=n.device).repeat_interleave(lengths)
    k = low[owner] + torch.arange(len(owner), device=n.device) - (lengths.cumsum(0) - lengths)[owner]
    a, b = marked[owner], drawn[owner]
    log_probability = _log_choose(a, k) + _log_choose(n - a, b - k) - _log_choose(n.expand_as(b), b)
    return torch.zeros_like(marked).index_add_(0, owner, _n_log_n(k) * log_probability.exp())


def _log_choose(n: Tensor, k: Tensor) -> Tensor:
    return torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
