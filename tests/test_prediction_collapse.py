import math

import pytest
import torch

from lightning_failures import PredictionCollapse
from lightning_failures.errors import InputError
from lightning_failures.functional import prediction_collapse as p


def randn(n, c, seed=0):
    return torch.randn(n, c, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(n, c, seed=1):
    return torch.randint(c, (n,), generator=torch.Generator().manual_seed(seed))


def values_of(logits, target=None, batch=64, **kwargs):
    metric = PredictionCollapse(logits.shape[1], **kwargs)
    for i in range(0, len(logits), batch):
        metric.update(logits[i : i + batch], None if target is None else target[i : i + batch])
    return metric.compute()


def scalar_logits(n=2000, classes=10, tau=0.2):
    """Predictions that depend on one scalar alone: -(t - c_k)^2 / tau."""
    t = torch.linspace(-0.5, classes - 0.5, n, dtype=torch.float64)[:, None]
    return -(t - torch.arange(classes)).square() / tau


def rank_of(cov):
    share = torch.linalg.eigvalsh(cov).clamp(min=0)
    share = share[share > 1e-12 * share.sum()] / share[share > 1e-12 * share.sum()].sum()
    return torch.exp(-(share * share.log()).sum()).item()


def literal(z, y):
    n, c = z.shape
    centred = z - z.mean(1, keepdim=True)
    cov = centred.T.cov()
    probabilities = z.softmax(1)
    predicted = [max(range(c), key=lambda k, row=row: row[k]) for row in z.tolist()]
    share = [predicted.count(k) / n for k in range(c)]
    prior = [y.tolist().count(k) / n for k in range(c)]
    marginal = probabilities.mean(0).tolist()
    return {
        "logit_effective_rank": rank_of(cov),
        "logit_top1_share": (torch.linalg.eigvalsh(cov).max() / cov.trace()).item(),
        "label_effective_rank": rank_of(torch.nn.functional.one_hot(y, c).double().T.cov()),
        "label_classes": math.exp(-sum(q * math.log(q) for q in prior if q)),
        "effective_classes": math.exp(-sum(q * math.log(q) for q in share if q)),
        "class_share": (math.exp(-sum(q * math.log(q) for q in share if q)) - 1)
        / (math.exp(-sum(q * math.log(q) for q in prior if q)) - 1),
        "dominant_excess": max(a - b for a, b in zip(share, prior, strict=True)),
        "marginal_perplexity": math.exp(-sum(q * math.log(q) for q in marginal)),
        "conditional_perplexity": math.exp(-sum(q * math.log(q) for row in probabilities.tolist() for q in row) / n),
        "sharpness": 1 + sum(q * math.log(q) for row in probabilities.tolist() for q in row) / n / math.log(c),
        "accuracy": sum(a == b for a, b in zip(predicted, y.tolist(), strict=True)) / n,
        "chance": max(prior),
        "images": n,
        "unlabelled": 0,
        "non_finite": 0,
    }


def test_statistics_equal_their_literal_restatement():
    z, y = randn(150, 6) * torch.tensor([1, 2, 1, 0.5, 3, 1.0]) + 4, labels(150, 6)
    values = values_of(z, y)
    for key, expected in literal(z, y).items():
        assert values[key].item() == pytest.approx(expected, rel=1e-9), key


def test_a_constant_added_to_all_logits_of_a_row_changes_nothing():
    z, y = randn(100, 5), labels(100, 5)
    torch.testing.assert_close(values_of(z + 50 * randn(100, 1, seed=3), y), values_of(z, y), rtol=1e-9, atol=1e-9)


def test_predictions_from_one_scalar_have_one_logit_dimension_though_their_classes_and_probabilities_look_healthy():
    z = scalar_logits()
    values = values_of(z)
    assert values["effective_classes"].item() == pytest.approx(10, abs=1e-3)
    assert values["logit_effective_rank"].item() == pytest.approx(1, abs=1e-4)
    assert values["logit_top1_share"].item() == pytest.approx(1, abs=1e-6)
    assert values["logit_participation_ratio_unbiased"].item() == pytest.approx(1, abs=1e-3)
    assert rank_of(z.softmax(1).T.cov()) == pytest.approx(8.87, abs=0.01)  # never infer the dimension from these
    raw = torch.linalg.eigvalsh(z.T.cov())
    assert (raw.max() / raw.sum()).item() < 0.95  # without centring over the classes the collapse is hidden


def test_the_label_covariance_has_its_known_rank():
    counts = torch.tensor([50, 30, 10, 5, 5])
    assert p.label_effective_rank(counts).item() == pytest.approx(2.944, abs=5e-4)
    assert p.label_effective_rank(torch.full((10,), 7)).item() == pytest.approx(9, rel=1e-12)
    assert p.label_effective_rank(torch.tensor([5, 0, 0])) == 0


@pytest.mark.parametrize("batch", [1, 7, 400])
def test_any_cut_into_batches_gives_the_same_statistics(batch):
    z, y = randn(400, 7) - 3, labels(400, 7)
    torch.testing.assert_close(values_of(z, y, batch), values_of(z, y, 400), rtol=1e-10, atol=1e-10)


def test_naming_one_class_always_is_seen():
    z = torch.zeros(50, 4, dtype=torch.float64) + torch.tensor([0.0, 0, 9, 0])
    values = values_of(z, torch.arange(50) % 4)
    assert values["effective_classes"] == 1
    assert values["dominant_excess"].item() == pytest.approx(0.76)
    assert values["logit_effective_rank"] == 0
    assert values["accuracy"].item() == pytest.approx(0.24)
    assert values["chance"].item() == pytest.approx(0.26)


def test_binary_problems_have_no_logit_rank_and_say_why():
    metric = PredictionCollapse(2)
    metric.update(randn(20, 2), labels(20, 2))
    values = metric.compute()
    reason = "two classes: their centred logits have rank 1 by construction; look at the features instead"
    keys = {key for key in values if key.startswith("logit")}
    assert {key: metric.undefined[key] for key in keys} == dict.fromkeys(keys, reason)
    assert metric.undefined.keys() == keys
    assert values["label_effective_rank"] == 1


def test_without_targets_what_needs_them_is_nan_and_says_why():
    metric = PredictionCollapse(4)
    metric.update(randn(20, 4))
    values = metric.compute()
    needs = ("label_effective_rank", "label_classes", "dominant_excess", "classes_never_given", "accuracy", "chance")
    alone = {"class_share": "no row has a label, or all labels are of one class"}
    assert metric.undefined == dict.fromkeys(needs, "no row has a label") | alone
    assert values["unlabelled"] == 20


def test_rows_whose_class_is_outside_count_as_unlabelled():
    z, y = randn(30, 4), labels(30, 4)
    ignored = y.clone()
    ignored[:10], ignored[20] = -100, 255
    values = values_of(z, ignored)
    keep = (ignored >= 0) & (ignored < 4)
    assert values["unlabelled"] == 11
    assert values["images"] == 30
    assert values["accuracy"] == values_of(z[keep], y[keep])["accuracy"]
    assert values["effective_classes"] == values_of(z)["effective_classes"]


def test_rows_that_hold_nan_or_infinity_are_left_out_and_counted():
    z, y = randn(30, 4), labels(30, 4)
    dirty = z.clone()
    dirty[3, 1], dirty[9] = torch.nan, torch.inf
    keep = torch.ones(30, dtype=torch.bool)
    keep[[3, 9]] = False
    found, expected = values_of(dirty, y), values_of(z[keep], y[keep])
    assert found["non_finite"] == 2
    torch.testing.assert_close(found | {"non_finite": expected["non_finite"]}, expected)


def test_no_rows_are_nan_and_say_why():
    metric = PredictionCollapse(3)
    values = metric.compute()
    assert metric.undefined.keys() == values.keys() - {"images", "unlabelled", "non_finite"}


def test_half_precision_logits_give_the_statistics_of_their_values():
    z, y = randn(100, 5).to(torch.float16), labels(100, 5)
    torch.testing.assert_close(values_of(z, y), values_of(z.double(), y), rtol=1e-12, atol=1e-12)


def test_fewer_than_two_classes_say_what_to_do():
    with pytest.raises(InputError) as error:
        PredictionCollapse(1)
    assert str(error.value) == (
        "PredictionCollapse: predictions need two classes or more; given num_classes=1. Turn one score z of a binary "
        "problem into two logits, torch.stack([-z / 2, z / 2], 1), num_classes=2."
    )


def test_wrong_shapes_say_what_to_do():
    metric = PredictionCollapse(3)
    with pytest.raises(InputError) as error:
        metric.update(torch.zeros(4, 5))
    assert str(error.value) == (
        "PredictionCollapse.update: the number of logits differs from the metric's; given rows of 5. Make one metric "
        "for each size; this one takes rows of 3."
    )
    with pytest.raises(InputError) as error:
        metric.update(torch.zeros(4, 3), torch.zeros(4, 3))
    assert str(error.value) == (
        "PredictionCollapse.update: the target is not one class per row; given shape (4, 3) for 4 rows. "
        "Pass class indices; (n), int64."
    )


def test_a_class_of_twenty_images_that_none_is_put_into_is_counted_and_the_largest_told():
    labels = torch.arange(4).repeat_interleave(torch.tensor([40, 30, 20, 19]))
    metric = PredictionCollapse(4)
    metric.update(torch.nn.functional.one_hot(torch.zeros_like(labels), 4).float(), labels)
    values = metric.compute()
    assert (values["classes_never_given"], values["largest_class_never_given"]) == (2, 1)
    metric.update(torch.tensor([[0.0, 1, 0, 0], [0, 0, 1, 0]]), torch.tensor([0, 0]))
    values = metric.compute()
    assert values["classes_never_given"] == 0
    assert "largest_class_never_given" not in values
