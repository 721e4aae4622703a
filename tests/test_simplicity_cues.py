"""Cues: their bins, what they explain of the logits, and swaps."""

import numpy as np
import pytest
import torch
from scipy.stats import f_oneway
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_failures import CueExplainedVariance, CueSwap
from lightning_failures.callbacks.simplicity import cue_reliance
from lightning_failures.errors import InputError
from lightning_failures.functional import (
    CueSums,
    cue_edges,
    cue_explained_variance,
    cue_sums,
    grey_level,
    reliance,
    rescale_to,
    total_absorbance,
)
from lightning_failures.metrics import CueSwapByClass


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def literal_eta2(logits: Tensor, cue: Tensor, edges: Tensor) -> float:
    """sum_k Var(E[l_k given bin(t)]) / sum_k Var(l_k) of centred logits, row by row."""
    centred = [[float(z) - float(row.mean()) for z in row] for row in logits]
    bins = [int((edges <= t).sum()) for t in cue]
    n, above, below = len(centred), 0.0, 0.0
    for k in range(logits.shape[1]):
        column = [row[k] for row in centred]
        mean = sum(column) / n
        below += sum((value - mean) ** 2 for value in column) / n
        for q in set(bins):
            members = [value for value, place in zip(column, bins, strict=True) if place == q]
            above += len(members) / n * (sum(members) / len(members) - mean) ** 2
    return above / below - (len(set(bins)) - 1) / (n - 1)


def test_eta2_is_its_definition() -> None:
    cue = draw(60)
    logits = draw(60, 3, seed=1) + cue[:, None] * torch.tensor([1.0, 0, -1])
    edges = cue_edges(cue, 5)
    result = cue_explained_variance(cue_sums(logits, cue, edges))
    assert float(result.eta2) == pytest.approx(literal_eta2(logits, cue, edges), abs=1e-12)
    assert float(result.null) == pytest.approx(4 / 59)


def test_eta2_of_one_logit_is_that_of_an_analysis_of_variance() -> None:
    cue, logit = draw(80), draw(80, 1, seed=1)
    edges = cue_edges(cue, 4)
    result = cue_explained_variance(cue_sums(logit, cue, edges))
    place = torch.bucketize(cue, edges, right=True)
    F = f_oneway(*(logit[place == q, 0].numpy() for q in range(4))).statistic
    assert float(result.eta2 + result.null) == pytest.approx(F * 3 / (F * 3 + 76), rel=1e-9)


def test_a_function_of_the_cue_is_explained_however_it_bends() -> None:
    cue = torch.arange(4000) / 4000
    logits = torch.stack([(9 * cue).sin(), (5 * cue).cos(), cue.square()], 1)
    result = cue_explained_variance(cue_sums(logits, cue, cue_edges(cue, 64)))
    assert 0.97 < float(result.eta2) <= 1 - float(result.null)


def test_an_independent_cue_explains_nothing_on_average() -> None:
    values = []
    for seed in range(200):
        cue = draw(100, seed=seed)
        values.append(float(cue_explained_variance(cue_sums(draw(100, 4, seed=1000 + seed), cue, cue_edges(cue))).eta2))
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)
    assert np.std(values) < 0.04


def test_a_shift_of_all_logits_changes_nothing() -> None:
    cue, logits = draw(50), draw(50, 3, seed=1)
    edges = cue_edges(cue, 4)
    plain, shifted = (cue_explained_variance(cue_sums(z, cue, edges)) for z in (logits, logits + 100 * cue[:, None]))
    torch.testing.assert_close(plain, shifted, equal_nan=True)


def test_pixels_have_the_cue_of_their_image_or_their_own() -> None:
    logits, cue = draw(30, 3, 4, 5), draw(30, seed=1)
    edges = cue_edges(cue, 4)
    by_image = cue_sums(logits, cue, edges)
    torch.testing.assert_close(by_image, cue_sums(logits.mean((2, 3)), cue, edges))
    own = draw(30, 4, 5, seed=2)
    flat = cue_sums(logits.movedim(1, -1).reshape(-1, 3), own.reshape(-1), edges)
    torch.testing.assert_close(cue_sums(logits, own, edges), flat)


def test_rows_that_are_not_finite_are_left_out_and_counted() -> None:
    cue, logits = draw(40), draw(40, 3, seed=1)
    edges = cue_edges(cue, 4)
    spoiled_cue, spoiled = cue.clone(), logits.clone()
    spoiled_cue[0], spoiled[1, 2] = torch.nan, torch.inf
    result = cue_explained_variance(cue_sums(spoiled, spoiled_cue, edges))
    plain = cue_explained_variance(cue_sums(logits[2:], cue[2:], edges))
    assert (result.rows, result.left_out) == (38, 2)
    torch.testing.assert_close(result.eta2, plain.eta2)


@pytest.mark.parametrize(
    ("logits", "cue"),
    [
        (torch.zeros(0, 2), torch.zeros(0)),
        (torch.eye(2)[:1], torch.zeros(1)),
        (draw(9, 2), torch.zeros(9)),
        (torch.ones(9, 2), torch.arange(9.0)),
    ],
    ids=["no rows", "one row", "one bin", "constant logits"],
)
def test_an_undefined_share_is_nan_and_says_why(logits: Tensor, cue: Tensor) -> None:
    metric = CueExplainedVariance(torch.tensor([3.5]), 2)
    metric.update(logits, cue)
    assert metric.compute()["eta2"].isnan()
    assert metric.undefined["eta2"] == "fewer than two rows, all of them in one bin of the cue, or constant logits"
    assert metric.undefined["eta2_within"] == (
        "no label with two rows in different bins of the cue, or constant logits within the labels"
    )


def test_within_the_labels_it_is_the_pooled_ratio() -> None:
    cue, target = draw(90), torch.arange(90) % 3
    target[:9] = -1
    logits = draw(90, 3, seed=1) + cue[:, None] * torch.tensor([1.0, 0, -1]) + 3 * torch.eye(3)[target]
    edges = cue_edges(cue, 4)
    result = cue_explained_variance(cue_sums(logits, cue, edges, target))
    centred = logits - logits.mean(1, keepdim=True)
    bins = torch.bucketize(cue, edges, right=True)
    above = below = by_chance = 0.0
    for label in range(3):
        rows = target == label
        spread = float((centred[rows] - centred[rows].mean(0)).square().sum())
        below += spread
        by_chance += spread * (len(bins[rows].unique()) - 1) / (int(rows.sum()) - 1)
        for q in bins[rows].unique():
            members = centred[rows & (bins == q)]
            above += len(members) * float((members.mean(0) - centred[rows].mean(0)).square().sum())
    assert float(result.null_within) == pytest.approx(by_chance / below)
    assert float(result.eta2_within) == pytest.approx((above - by_chance) / below)
    torch.testing.assert_close(result.eta2, cue_explained_variance(cue_sums(logits, cue, edges)).eta2)


def test_a_cue_that_goes_with_the_labels_but_is_not_seen_explains_nothing_within_them() -> None:
    target = torch.arange(2000) % 4
    cue = 1 + 0.25 * target + 0.04 * draw(2000)
    blind = 5 * torch.eye(4)[target] + draw(2000, 4, seed=1)
    leaning = -40 * (cue[:, None] - 1 - 0.25 * torch.arange(4)).square() + 0.1 * draw(2000, 4, seed=2)
    edges = cue_edges(cue, 32)
    for logits, marginal, within in ((blind, 0.8, 0.0), (leaning, 0.98, 0.9)):
        result = cue_explained_variance(cue_sums(logits, cue, edges, target))
        assert float(result.eta2) == pytest.approx(marginal, abs=0.06)
        assert float(result.eta2_within) == pytest.approx(within, abs=0.1 if within else 0.02)


def test_edges_are_quantiles() -> None:
    values = draw(1000)
    np.testing.assert_allclose(cue_edges(values).numpy(), np.quantile(values.numpy(), np.arange(1, 16) / 16))
    counts = torch.bucketize(values, cue_edges(values), right=True).bincount()
    assert counts.min() >= 62
    assert counts.max() <= 63


def test_a_cue_of_two_values_gives_two_bins() -> None:
    values = torch.tensor([0.0] * 30 + [1.0] * 70)
    edges = cue_edges(values)
    assert torch.bucketize(values, edges, right=True).unique().tolist() == [0, len(edges)] or len(edges) <= 2
    result = cue_explained_variance(cue_sums(values[:, None], values, edges))
    assert float(result.eta2) == pytest.approx(1 - 1 / 99)


BAD_CUES = {
    "cue_edges: fewer images than bins; given shape (8,), 16 bins.": torch.arange(8.0),
    "cue_edges: fewer images than bins; given shape (20, 2), 16 bins.": torch.zeros(20, 2),
    "cue_edges: the cue holds NaN or infinity; given 1 of 20 values.": torch.tensor([torch.nan] + 19 * [1.0]),
    "cue_edges: the cue is constant; given 3.0 for 20 images.": torch.tensor([3.0 + 3e-7] + 19 * [3.0]).flip(0),
}


@pytest.mark.parametrize("text", BAD_CUES)
def test_cues_that_cannot_be_cut_are_refused(text: str) -> None:
    with pytest.raises(InputError) as error:
        cue_edges(BAD_CUES[text])
    assert str(error.value) == f"{text} Pass the cue of every image of a sample: (n), finite, n at least bins."


def test_cues_and_edges_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError) as error:
        CueExplainedVariance(torch.tensor([0.0, 1.0]), 3).update(torch.zeros(4, 3), torch.zeros(5))
    assert str(error.value) == (
        "CueExplainedVariance.update: logits and cue do not belong together; given logits (4, 3) for 3 classes, "
        "cue (5,). Pass logits (n c) and one value per image (n), or per pixel (n h w)."
    )
    with pytest.raises(InputError) as error:
        CueExplainedVariance(torch.tensor([0.0]), 3).update(torch.zeros(4, 3), torch.zeros(4), torch.zeros(3))
    assert str(error.value) == (
        "CueExplainedVariance.update: cue and target do not belong together; given cue (4,), target (3,). "
        "Pass one label for each value of the cue."
    )
    with pytest.raises(InputError) as error:
        CueExplainedVariance(torch.tensor([1.0, 0.5]), 3)
    assert str(error.value) == (
        "CueExplainedVariance: edges do not ascend; given [1.0, 0.5]. "
        "Pass the inner edges of two bins or more, for example cue_edges(values)."
    )
    with pytest.raises(InputError) as error:
        CueSwap(["total"]).update(torch.zeros(2), torch.zeros(2), torch.zeros(2, 2))
    assert str(error.value) == (
        "CueSwap.update: predictions do not belong to the same pairs and cues; given own (2,), donor (2,), "
        "swapped (2, 2) for total. Pass one label a pair, and one column per cue: (n), (n) and (n k)."
    )


def test_cues_are_what_they_are_called() -> None:
    images = draw(3, 3, 4, 5).abs()
    torch.testing.assert_close(total_absorbance(images), images.sum(1).mean((1, 2)))
    torch.testing.assert_close(total_absorbance(images[:, :, 0, 0]), images[:, :, 0, 0].sum(1))
    luma = 0.299 * images[:, 0] + 0.587 * images[:, 1] + 0.114 * images[:, 2]
    torch.testing.assert_close(grey_level(images), luma.mean((1, 2)))


def test_rescaled_donors_have_the_receivers_total() -> None:
    receivers, donors = draw(5, 6, 3, 3).abs(), draw(5, 6, 3, 3, seed=1).abs()
    scaled = rescale_to(donors, total_absorbance(receivers), total_absorbance(donors))
    torch.testing.assert_close(total_absorbance(scaled), total_absorbance(receivers))
    ratio = scaled / donors
    torch.testing.assert_close(ratio, ratio[:, :1, :1, :1].expand_as(ratio))
    assert rescale_to(torch.zeros(1, 2), torch.ones(1), torch.zeros(1)).isnan().all()


def test_a_swap_without_pairs_is_nan_and_says_why() -> None:
    metric = CueSwap(["total"])
    metric.update(torch.tensor([1]), torch.tensor([1]), torch.tensor([[1]]))
    assert metric.compute()["swap_pairs"] == 0
    assert metric.undefined["swap_own/total"] == "no pair of images with different predictions"


def test_sums_of_nothing_are_zero() -> None:
    assert [tuple(value.shape) for value in CueSums.zero(4, 3)] == [(4, 4), (4, 4, 3), (4,), ()]
    assert CueSums.zero(4, 1).counts.shape == (3, 4)


def test_without_an_exchange_a_cue_needs_both_witnesses() -> None:
    goes_with_the_labels, makes_logits_larger = torch.tensor([0.9, 0.1]), torch.tensor([0.05, 0.8])
    assert reliance(eta2=goes_with_the_labels, eta2_within=makes_logits_larger).tolist() == pytest.approx([0.05, 0.1])
    assert reliance(eta2=torch.tensor(0.9), eta2_within=torch.tensor(torch.nan)).isnan()


def test_an_exchange_is_believed_before_shares_of_variance() -> None:
    swap, larger, smaller = torch.tensor(0.4), torch.tensor(0.9), torch.tensor(0.1)
    assert reliance(swap, larger, larger) is swap
    assert reliance(swap, smaller, smaller) is swap
    assert reliance(swap) is swap


def test_a_reliance_without_a_witness_is_an_error() -> None:
    fix = "Pass swap_own, or eta2 and eta2_within."
    for given, said in (
        ({}, "nothing"),
        ({"eta2": torch.tensor(0.1)}, "eta2 alone"),
        ({"eta2_within": torch.tensor(0.1)}, "eta2_within alone"),
    ):
        with pytest.raises(InputError) as error:
            reliance(**given)
        assert str(error.value) == f"reliance: no witness of the cue was given; given {said}. {fix}"


def test_the_metric_says_how_far_predictions_rest_on_the_cue_by_the_smaller_share() -> None:
    cue, target = torch.arange(400) % 2, torch.arange(400) % 4 // 2
    metric = CueExplainedVariance(torch.tensor([0.5]), num_classes=2)
    for strength in (0.2, 3.0):
        metric.reset()
        logits = torch.stack([target + strength * cue, -target - strength * cue], 1).double()
        metric.update(logits, cue.double(), target)
        values = metric.compute()
        assert values["eta2"] < values["eta2_within"]
        assert values["reliance"] == values["eta2"]


def test_a_cue_of_the_users_own_is_taken_by_the_smaller_of_its_two_shares() -> None:
    values = {
        "eta2/scanner": torch.tensor(0.6),
        "eta2_within/scanner": torch.tensor(0.3),
        "eta2/size": torch.tensor(0.2),
        "eta2_within/size": torch.tensor(0.9),
    }
    found = {key: round(float(value), 3) for key, value in cue_reliance(values, ["scanner", "size", "no"]).items()}
    assert found == {"reliance/scanner": 0.3, "reliance/size": 0.2}


def test_the_class_that_hangs_on_a_cue_is_found_though_the_share_over_all_is_small():
    own, donor = torch.arange(10).repeat_interleave(13), torch.arange(10).repeat_interleave(13).roll(13)
    swapped = torch.where(own == 7, own, donor)[:, None]  # class 7 follows the cue, the others do not
    over_all, by_class = CueSwap(["grey_level"]), CueSwapByClass(["grey_level"], 10)
    for rows in torch.arange(130).split(50):
        over_all.update(own[rows], donor[rows], swapped[rows])
        by_class.update(own[rows], donor[rows], swapped[rows])
    assert over_all.compute()["swap_own/grey_level"] == pytest.approx(0.1)
    found = by_class.compute()
    assert (found["class_reliance/grey_level"], found["reliant_class/grey_level"]) == (1, 7)
    assert 0.5 < found["class_reliance_low/grey_level"] < 0.7


def test_a_class_of_few_pairs_says_nothing_by_itself():
    own, donor = torch.tensor([0] * 7 + [1] * 9), torch.tensor([1] * 7 + [0] * 9)
    metric = CueSwapByClass(["grey_level"], 3)
    metric.update(own, donor, torch.where(own == 0, own, donor)[:, None])
    found = metric.compute()
    assert (found["class_reliance/grey_level"], found["reliant_class/grey_level"]) == (0, 1)


class Stays(TorchDispatchMode):
    """Fails where a tensor is sent from the CPU to a device, which waits for it."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        sent = func is torch.ops.aten._to_copy.default and args[0].device.type == "cpu"
        assert not (sent and (kwargs or {}).get("device", torch.device("cpu")).type == "meta"), args[0].shape
        return func(*args, **(kwargs or {}))


def test_a_batch_of_a_cue_sends_nothing_to_the_device():
    logits, cue, target = torch.rand(8, 3).to("meta"), torch.rand(8).to("meta"), torch.zeros(8).long().to("meta")
    edges = torch.linspace(0.2, 0.8, 4).to("meta")
    with Stays():
        sums = cue_sums(logits, cue, edges, target)
        assert grey_level(torch.empty(8, 3, 4, 4, device="meta")).shape == (8,)
    assert {part.device.type for part in sums} == {"meta"}


class Largest(TorchDispatchMode):
    """Bytes of the largest storage that is made inside and is none of some that exist."""

    def __init__(self, there):
        super().__init__()
        self.there, self.most = {part.untyped_storage().data_ptr() for part in there}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, tuple | list) else [out]:
            if isinstance(one, Tensor) and one.untyped_storage().data_ptr() not in self.there:
                self.most = max(self.most, one.untyped_storage().nbytes())
        return out


def test_a_batch_of_a_cue_makes_nothing_as_large_as_the_sums_of_many_classes():
    metric = CueExplainedVariance(torch.linspace(0.1, 0.9, 9), 200)
    logits, cue, target = torch.randn(16, 200), torch.rand(16), torch.randint(200, (16,))
    with Largest(metric.sums) as largest:
        metric.update(logits, cue, target)
    assert 0 < largest.most < metric.sums.totals.nbytes / 50
    expected = cue_sums(logits, cue, metric.edges, target)
    for ours, theirs in zip(metric.sums, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_sums_of_a_cue_that_began_in_inference_mode_go_on_outside_of_it():
    metric = CueExplainedVariance(torch.tensor([0.5]), 3)
    logits, cue, target = torch.randn(8, 3), torch.rand(8), torch.randint(3, (8,))
    with torch.inference_mode():
        metric.reset()
        metric.update(logits, cue, target)
    assert metric.sums.totals.is_inference()
    metric.update(logits, cue, target)
    twice = cue_sums(
        torch.cat([logits, logits]), torch.cat([cue, cue]), torch.tensor([0.5]), torch.cat([target, target])
    )
    for ours, theirs in zip(metric.sums, twice, strict=True):
        assert torch.allclose(ours, theirs)
