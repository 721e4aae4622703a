import itertools

import pytest
import torch

from lightning_failures import NeuralCollapse
from lightning_failures.errors import InputError
from lightning_failures.functional import NeuralSums


def drawn(n=300, c=5, d=12, seed=0, mean=0.0):
    generator = torch.Generator().manual_seed(seed)
    target = torch.arange(n).square() % c  # uneven
    centres = torch.randn(c, d, generator=generator, dtype=torch.float64) * 2
    return centres[target] + torch.randn(n, d, generator=generator, dtype=torch.float64) + mean, target


def simplex(c=6, d=10, per_class=4):
    basis = torch.linalg.qr(torch.randn(d, c, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q
    frame = (torch.eye(c, dtype=torch.float64) - 1 / c) @ basis.T
    return 3 * frame.repeat(per_class, 1), torch.arange(c).repeat(per_class), frame


def values_of(x, y, c, head=None, batch=64):
    metric = NeuralCollapse(c, x.shape[1])
    for i in range(0, len(x), batch):
        metric.update(x[i : i + batch], y[i : i + batch])
    metric.head = head
    return metric.compute()


def literal(x, y, head):
    """Papyan et al. and Galanti et al., from the rows, with the pseudo-inverse of the d x d matrix."""
    classes = y.unique().tolist()
    C, N = len(classes), len(x)
    means = {k: x[y == k].mean(0) for k in classes}
    centre = sum(means.values()) / C
    within = sum(torch.outer(row - means[k], row - means[k]) for row, k in zip(x, y.tolist(), strict=True)) / N
    between = sum(torch.outer(m - centre, m - centre) for m in means.values()) / C
    centred = torch.stack([means[k] - centre for k in classes])
    lengths = centred.norm(dim=1)
    cosines = [float(a @ b / (a.norm() * b.norm())) for a, b in itertools.permutations(centred, 2)]
    variance = {k: (x[y == k] - means[k]).square().sum(1).mean() for k in classes}
    weight = head[classes]
    cdnv = [
        float((variance[a] + variance[b]) / (2 * (means[a] - means[b]).square().sum()))
        for a, b in itertools.permutations(classes, 2)
    ]
    return {
        "nc1": torch.trace(within @ torch.linalg.pinv(between, hermitian=True)).item() / C,
        "nc2_norms": (lengths.std(correction=0) / lengths.mean()).item(),
        "nc2_angles": sum(abs(v + 1 / (C - 1)) for v in cosines) / len(cosines),
        "nc3": (weight / weight.norm() - centred / centred.norm()).norm().item(),
        "cdnv": sum(cdnv) / len(cdnv),
        "classes": C,
        "images": N,
        "unlabelled": 0,
        "non_finite": 0,
    }


@pytest.mark.parametrize(("c", "d", "mean"), [(5, 12, 0.0), (10, 64, 5.0), (20, 8, 0.0), (2, 3, 1.0)])
def test_statistics_equal_their_literal_restatement(c, d, mean):
    x, y = drawn(400, c, d, mean=mean)
    head = torch.randn(c, d, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    values = values_of(x, y, c, head)
    for key, expected in literal(x, y, head).items():
        assert values[key].item() == pytest.approx(expected, rel=1e-8), key


def test_a_collapsed_simplex_is_zero_in_everything():
    x, y, frame = simplex()
    values = values_of(x, y, 6, 7 * frame)
    for key in ("nc1", "nc2_norms", "nc2_angles", "nc3", "cdnv"):
        assert values[key].item() == pytest.approx(0, abs=1e-12), key


def test_a_head_of_the_opposite_sign_is_as_far_as_it_can_be():
    x, y, frame = simplex()
    assert values_of(x, y, 6, -frame)["nc3"].item() == pytest.approx(2)


@pytest.mark.parametrize("batch", [1, 7, 300])
def test_any_cut_into_batches_gives_the_same_statistics(batch):
    x, y = drawn()
    found, expected = values_of(x, y, 5, x[:5], batch), values_of(x, y, 5, x[:5])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_classes_without_rows_are_left_out():
    x, y = drawn()
    spread = torch.tensor([0, 2, 3, 5, 8])[y]
    head = torch.randn(9, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = values_of(x, spread, 9, head)
    for key, expected in literal(x, spread, head).items():
        assert found[key].item() == pytest.approx(expected, rel=1e-8), key


def test_without_a_head_nc3_alone_is_nan_and_says_why():
    x, y = drawn()
    metric = NeuralCollapse(5, 12)
    metric.update(x, y)
    metric.compute()
    assert metric.undefined == {
        "nc3": "the head's weight was not given or is 0, fewer than two classes have rows, or all class means are one"
    }
    metric.head = x[:5]
    assert metric.compute()["nc3"] > 0  # a kept result is not used again
    assert metric.undefined == {}


@pytest.mark.parametrize("target", [[0] * 6, [1] * 6])
def test_one_class_is_nan_and_says_why(target):
    metric = NeuralCollapse(3, 4)
    metric.head = torch.eye(3, 4)
    metric.update(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.tensor(target))
    metric.compute()
    assert metric.undefined.keys() == {"nc1", "nc2_norms", "nc2_angles", "nc3", "cdnv"}


def test_no_rows_are_nan_and_say_why():
    metric = NeuralCollapse(3, 4)
    metric.compute()
    assert metric.undefined.keys() == {"nc1", "nc2_norms", "nc2_angles", "nc3", "cdnv"}


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_constant_features_have_class_means_that_are_one(value):
    metric = NeuralCollapse(3, 4)
    for i in range(9):
        metric.update(torch.full((100 + i, 4), value), torch.arange(100 + i) % 3)
    metric.compute()
    assert metric.undefined.keys() == {"nc1", "nc2_norms", "nc2_angles", "nc3", "cdnv"}


def test_rows_without_a_label_or_with_nan_are_left_out_and_counted():
    x, y = drawn()
    dirty, marked = x.clone(), y.clone()
    dirty[:3], marked[2:10] = torch.nan, -100
    marked[11] = 5
    keep = torch.arange(300) > 11
    keep[10] = True
    found, expected = values_of(dirty, marked, 5), values_of(x[keep], y[keep], 5)
    assert found["non_finite"] == 3
    assert found["unlabelled"] == 8
    same = expected.keys() - {"nc3", "non_finite", "unlabelled"}
    torch.testing.assert_close({k: found[k] for k in same}, {k: expected[k] for k in same})


def test_a_head_that_does_not_fit_says_what_to_do():
    with pytest.raises(InputError) as error:
        NeuralCollapse(5, 12).head = torch.zeros(12, 5)
    assert str(error.value) == (
        "NeuralCollapse.head: the weight does not fit the classes and features; given shape (12, 5) for 5 classes of "
        "12 features. Set the weight of the last linear layer; (c d)."
    )


def test_wrong_shapes_say_what_to_do():
    metric = NeuralCollapse(5, 12)
    with pytest.raises(InputError) as error:
        metric.update(torch.zeros(4, 12), torch.zeros(4, 5))
    assert str(error.value) == (
        "NeuralCollapse.update: the target is not one class per row; given shape (4, 5) for 4 rows. "
        "Pass class indices; (n), int64."
    )
    with pytest.raises(InputError, match=r"^NeuralCollapse\.update: the number of features differs"):
        metric.update(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64))


def test_the_sums_of_no_rows_hold_no_rows():
    assert all(value.count_nonzero() == 0 for value in NeuralSums.zero(3, 4))


def test_the_heads_own_parameter_may_be_set_and_is_not_registered():
    metric, layer = NeuralCollapse(3, 4), torch.nn.Linear(4, 3)
    metric.head = layer.weight
    assert torch.equal(metric.head, layer.weight)
    assert not metric.head.requires_grad
    assert list(metric.parameters()) == []
