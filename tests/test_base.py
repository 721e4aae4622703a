import copy
import pickle
import warnings
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.metrics import SumMetric, base, check_rows, check_target
from lightning_failures.records import Term
from tests.processes import run_on_processes


class Parts(NamedTuple):
    seen: Tensor
    other: Tensor
    amounts: Tensor


class Shares(SumMetric[Parts]):
    terms = (
        Term("share/*", "Share", "Of what was seen.", "0 to 1", "describes", when_nan="nothing was seen"),
        Term("seen", "Seen", "How many were seen.", "0 upwards", "describes"),
    )

    def __init__(self, **kwargs):
        zero = torch.zeros((), dtype=torch.int64)
        super().__init__(Parts(zero, zero, torch.zeros(2, 3, dtype=torch.float64)), **kwargs)

    def update(self, seen: int, value: float) -> None:
        self.add(Parts(torch.tensor(seen), torch.tensor(1), torch.full((2, 3), value)))

    def compute(self) -> dict[str, Tensor]:
        return {
            "share/a": self.sums.amounts[0, 0] / self.sums.seen,
            "share/b": self.sums.amounts.sum() / self.sums.seen,
            "seen": self.sums.seen,
        }


def fed(**kwargs):
    metric = Shares(**kwargs)
    metric.update(2**53 + 1, 0.1)
    metric.update(4, 0.25)
    return metric


def test_sums_come_back_as_the_named_tuple_with_their_dtypes():
    sums = fed().sums
    assert isinstance(sums, Parts)
    assert sums.seen.item() == 2**53 + 5  # more than float64 can count
    assert sums.amounts.dtype == torch.float64
    assert sums.other.item() == 2


def test_states_whose_zeros_were_one_tensor_are_apart():
    metric = fed()
    assert metric.seen.data_ptr() != metric.other.data_ptr()


def test_an_empty_metric_computes_without_a_warning_and_says_why_it_is_nan():
    metric = Shares()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = metric.compute()
    assert values["share/a"].isnan()
    assert metric.undefined == {"share/a": "nothing was seen", "share/b": "nothing was seen"}


def test_nothing_is_undefined_before_compute_or_where_all_is_defined():
    assert Shares().undefined == {}
    metric = fed()
    metric.compute()
    assert metric.undefined == {}


@pytest.mark.parametrize(
    "cast",
    [
        lambda module: module.to(torch.bfloat16),
        lambda module: module.half(),
        lambda module: module.float(),
        lambda module: module.type(torch.float16),
        lambda module: module._apply(lambda t: t.to(torch.bfloat16) if t.is_floating_point() else t),
    ],
)
def test_casting_the_module_that_holds_it_keeps_the_dtypes_and_the_values(cast):
    module = torch.nn.ModuleDict({"layer": torch.nn.Linear(2, 2), "metric": fed()})
    before = [value.clone() for value in module["metric"].sums]
    cast(module)
    metric = module["metric"]
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(before, metric.sums, strict=True))
    metric.reset()
    assert metric.sums.amounts.dtype == torch.float64
    metric.update(1, 0.1)
    assert metric.sums.amounts[0, 0].dtype == torch.float64


def test_moving_it_moves_the_states_and_their_zeros():
    metric = fed().to("meta")
    assert metric.where.type == "meta"
    assert metric.sums.seen.dtype == torch.int64
    metric.reset()
    assert metric.sums.amounts.device.type == "meta"


def test_on_a_device_without_float64_the_sums_stay_where_they_are(monkeypatch):
    monkeypatch.setattr(base, "NO_FLOAT64", {"meta"})
    metric = fed()
    before = metric.sums
    metric.to("meta")
    assert metric.where.type == "cpu"
    assert all(torch.equal(a, b) for a, b in zip(before, metric.sums, strict=True))
    metric.update(1, 0.5)
    assert metric.sums.seen == 2**53 + 6


def test_numerics_say_how_products_are_summed_here():
    assert Shares().numerics == "float64"


def test_updates_in_and_out_of_inference_mode_add_up():
    metric = Shares()
    with torch.inference_mode():
        metric.update(1, 0.5)
    metric.update(2, 0.25)
    with torch.inference_mode():
        metric.reset()
        metric.update(1, 0.5)
    metric.update(2, 0.25)
    assert metric.sums.seen == 3
    assert metric.sums.amounts[0, 0] == 0.75


def test_pickle_deepcopy_and_clone_keep_the_sums_and_go_on_alone():
    metric = fed()
    for other in (pickle.loads(pickle.dumps(metric)), copy.deepcopy(metric), metric.clone()):
        other.update(1, 1.0)
        assert other.sums.seen == 2**53 + 6
        assert other.compute().keys() == metric.compute().keys()
    assert metric.sums.seen == 2**53 + 5


def test_reset_forgets_everything():
    metric = fed()
    metric.compute()
    metric.reset()
    assert metric.sums.seen == 0
    assert metric.undefined == {}


def test_a_persistent_state_dict_brings_the_sums_back():
    metric = fed()
    assert metric.state_dict() == {}
    metric.persistent(True)
    other = Shares()
    other.persistent(True)
    other.load_state_dict(metric.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(other.sums, metric.sums, strict=True))


def test_merging_two_metrics_adds_their_sums():
    metric, other = fed(), fed()
    metric.merge_state(other)
    assert metric.sums.seen == 2 * (2**53 + 5)


def shard(rank, world):
    pair = torch.distributed.new_group([0, 1])
    metric = fed_by_rank(rank)
    calls = []
    real = torch.distributed.all_reduce

    def counted(flat, *args, **kwargs):
        calls.append((flat.dtype, flat.numel()))
        return real(flat, *args, **kwargs)

    torch.distributed.all_reduce = counted
    try:
        values = metric.compute()
    finally:
        torch.distributed.all_reduce = real
    of_pair = fed_by_rank(rank, process_group=pair).compute() if rank < 2 else None
    return values, of_pair, calls, metric.sums.seen.item()


def fed_by_rank(*ranks, **kwargs):
    metric = Shares(**kwargs)
    for rank in ranks:
        for i in range(rank):  # the first rank has nothing
            metric.update(2**53 + i, 0.1)
    return metric


def test_all_ranks_of_a_group_get_the_exact_sums_in_one_reduction_a_dtype():
    two, three = fed_by_rank(0, 1).compute(), fed_by_rank(0, 1, 2).compute()
    for rank, (values, of_pair, calls, own) in enumerate(run_on_processes(3, shard)):
        assert values["seen"] == three["seen"]
        torch.testing.assert_close(values, three, rtol=1e-15, atol=0)
        if rank < 2:
            torch.testing.assert_close(of_pair, two, rtol=1e-15, atol=0)
        assert calls == [(torch.int64, 2), (torch.float64, 6)]
        assert own == sum(2**53 + i for i in range(rank))  # outside compute, its own sums again


def test_a_reduction_of_the_users_own_is_used():
    metric = Shares(
        dist_sync_fn=lambda value, group: [value, value],
        distributed_available_fn=lambda: True,
    )
    metric.update(3, 0.5)
    assert metric.compute()["seen"] == 6


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (
            torch.zeros(2, 3, 4),
            "Some.update: features are not rows; given shape (2, 3, 4). "
            "Pass one row per image; pool feature maps and tokens, and flatten pixels, before.",
        ),
        (
            torch.zeros(2, 4),
            "Some.update: the number of features differs from the metric's; given rows of 4. "
            "Make one metric for each size; this one takes rows of 3.",
        ),
        (
            torch.zeros(2, 3, dtype=torch.complex64),
            "Some.update: features are complex; given torch.complex64. Pass real numbers, for example their modulus.",
        ),
        (
            torch.tensor([[0.0, 1, 2], [torch.nan, torch.inf, 0]]),
            "Some.update: features hold NaN or infinity; given 1 such rows of 2. Look for the first layer that gives "
            'such values, or pass non_finite="omit" to leave the rows out.',
        ),
    ],
)
def test_rows_that_cannot_be_used_say_why(rows, text):
    with pytest.raises(InputError) as error:
        check_rows("Some.update", rows, 3, finite=True)
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (
            torch.zeros(3, dtype=torch.int64),
            "Some.update: the target is not one class per row; given shape (3,) for 2 rows. "
            "Pass class indices; (n), int64.",
        ),
        (
            torch.zeros(2),
            "Some.update: the target is not integer; given torch.float32. Pass class indices; (n), int64.",
        ),
    ],
)
def test_targets_that_cannot_be_used_say_why(target, text):
    with pytest.raises(InputError) as error:
        check_target("Some.update", target, 2)
    assert str(error.value) == text


def computed_twice(rank, world):
    metric = fed_by_rank(rank)
    metric.compute()
    if rank == 0:  # the others have nothing new, and have computed already
        metric.update(7, 0.1)
    return metric.compute()["seen"].item()


def test_a_rank_without_an_update_since_the_last_time_takes_part_in_the_sums():
    before = fed_by_rank(0, 1).compute()["seen"].item()
    assert run_on_processes(2, computed_twice) == [before + 7] * 2
