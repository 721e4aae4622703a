import pytest
import torch

from lightning_failures import FeatureSpectrum, GroupedDimension
from lightning_failures.errors import InputError


def randn(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def planted(ranks, n, d, seed=0):
    """Groups of rows, each isotropic in a subspace of its own rank, around its own mean."""
    rows = []
    for i, rank in enumerate(ranks):
        basis = torch.linalg.qr(randn(d, rank, seed + 100 + i)).Q
        rows.append(randn(n, rank, seed + i) @ basis.T + randn(1, d, seed + 200 + i))
    return torch.cat(rows), torch.arange(len(ranks)).repeat_interleave(n)


def values_of(x, members, groups, batch=64, **kwargs):
    metric = GroupedDimension([str(g) for g in range(groups)], x.shape[1], **kwargs)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(5))
    for part in order.split(batch):
        metric.update(x[part], members[part])
    return metric.compute()


@pytest.mark.parametrize("projection", [None, 8])
def test_each_group_has_the_dimension_of_its_rows_alone(projection):
    x, groups = randn(90, 12) * torch.linspace(0.1, 2, 12), torch.arange(90) % 3
    values = values_of(x, groups, 3, projection=projection)
    for name, keep in [*((str(g), groups == g) for g in range(3)), ("all", groups >= 0)]:
        alone = FeatureSpectrum(12, projection=projection)
        alone.update(x[keep])
        expected = alone.compute()
        assert values[f"images/{name}"] == expected["images"]
        torch.testing.assert_close(
            values[f"dimension/{name}"], expected["participation_ratio_unbiased"], rtol=1e-9, atol=0
        )
    assert values["dimension/smallest"] == min(values[f"dimension/{g}"] for g in range(3))


def test_few_images_of_wide_features_give_the_planted_dimensions():
    found = torch.stack(
        [
            torch.stack([values_of(*planted((1, 5, 12), 30, 512, seed), 3)[f"dimension/{g}"] for g in range(3)])
            for seed in range(6)
        ]
    )
    mean = found.mean(0).tolist()
    assert mean[0] == pytest.approx(1, abs=1e-6)
    assert mean[1] == pytest.approx(5, rel=0.12)
    assert mean[2] == pytest.approx(12, rel=0.15)


def test_an_image_may_belong_to_several_groups_or_to_none():
    x, a = randn(60, 6), torch.arange(60)
    members = torch.stack([a % 2 == 0, a % 3 == 0], 1)
    values = values_of(x, members, 2)
    assert [values[f"images/{k}"].item() for k in ("0", "1", "all")] == [30, 20, 60]
    alone = values_of(x[a % 3 == 0], torch.zeros(20, dtype=torch.int64), 1)
    torch.testing.assert_close(values["dimension/1"], alone["dimension/0"], rtol=1e-9, atol=0)


def test_indices_and_columns_say_the_same():
    x, groups = randn(700, 5), torch.arange(700).square() % 7 - 1
    columns = groups[:, None] == torch.arange(4)
    torch.testing.assert_close(
        values_of(x, groups, 4), values_of(x, columns, 4), rtol=1e-10, atol=1e-10, equal_nan=True
    )


@pytest.mark.parametrize("batch", [1, 600, 700])
def test_any_cut_into_batches_gives_the_same_dimensions(batch):
    x, groups = randn(700, 5) + 2, torch.arange(700) % 4
    torch.testing.assert_close(values_of(x, groups, 4, batch), values_of(x, groups, 4), rtol=1e-9, atol=1e-9)


def test_a_group_of_few_images_is_nan_and_says_why():
    metric = GroupedDimension(["many", "three", "none"], 4)
    metric.update(randn(13, 4), torch.tensor([0] * 10 + [1] * 3))
    values = metric.compute()
    reason = "fewer than four finite rows, or more dimensions than the projection can tell"
    assert metric.undefined == {"dimension/three": reason, "dimension/none": reason}
    assert values["dimension/smallest"] == values["dimension/many"]


def test_no_rows_are_nan_and_say_why():
    metric = GroupedDimension(["a"], 4)
    metric.compute()
    assert metric.undefined.keys() == {"dimension/a", "dimension/all", "dimension/smallest"}


def test_rows_that_hold_nan_are_left_out_and_counted():
    x, groups = randn(80, 6), torch.arange(80) % 2
    dirty = x.clone()
    dirty[:4] = torch.nan
    found, expected = values_of(dirty, groups, 2), values_of(x[4:], groups[4:], 2)
    assert found["non_finite"] == 4
    torch.testing.assert_close(found | {"non_finite": expected["non_finite"]}, expected)


def test_the_projection_follows_a_move_and_keeps_its_dtype():
    metric = GroupedDimension(["a"], 100)
    assert metric.projection.shape == (100, 64)
    module = torch.nn.ModuleList([metric]).to(torch.bfloat16)
    assert module[0].projection.dtype == torch.float64
    assert metric.state_dict() == {}
    assert metric.to("meta").projection.device.type == "meta"
    assert GroupedDimension(["a"], 64).projection is None


@pytest.mark.parametrize("groups", [["a", "a"], [], ["all"], ["smallest", "b"]])
def test_names_that_cannot_be_used_say_what_to_do(groups):
    with pytest.raises(InputError) as error:
        GroupedDimension(groups, 4)
    assert str(error.value) == (
        f"GroupedDimension: the names of the groups cannot be used; given {', '.join(groups)}. "
        "Pass names that differ from each other and from 'all' and 'smallest'."
    )


def test_members_that_do_not_fit_say_what_to_do():
    with pytest.raises(InputError) as error:
        GroupedDimension(["a", "b"], 4).update(torch.zeros(3, 4), torch.zeros(3, 3, dtype=torch.bool))
    assert str(error.value) == (
        "GroupedDimension.update: the members do not fit; given torch.bool of shape (3, 3) for 3 rows and 2 groups. "
        "Pass the index of each row's group, (n) int64, or one column per group, (n g) bool."
    )


def test_the_smallest_is_one_of_the_groups_and_not_all_images():
    generator = torch.Generator().manual_seed(0)
    members = torch.arange(300) % 3
    rows = torch.randn(300, 4, generator=generator)
    rows[members == 2] = 100 * rows[members == 2] * torch.tensor([1.0, 0, 0, 0])
    metric = GroupedDimension(["a", "b"], 4)
    metric.update(rows, torch.where(members == 2, -1, members))
    values = metric.compute()
    assert values["dimension/all"] < 1.1
    assert values["dimension/smallest"] == min(values["dimension/a"], values["dimension/b"]) > 3
