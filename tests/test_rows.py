import torch
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, RandomSampler, SequentialSampler

from lightning_failures.observe import DatasetRows

DATASET = list(range(37))


def everything(rows, batches):
    return [rows.of(i) for i in range(batches)]


def test_a_loader_in_order_gives_each_dataset_row_once():
    seen = everything(DatasetRows(DataLoader(DATASET, batch_size=10)), 4)
    assert torch.cat([rows.rows for rows in seen]).tolist() == DATASET
    assert all(bool(rows.keep.all()) for rows in seen)


def test_padding_of_uneven_shards_is_marked_so_that_every_row_counts_once():
    kept = []
    for rank in range(3):
        sampler = DistributedSampler(DATASET, num_replicas=3, rank=rank, shuffle=False)
        seen = everything(DatasetRows(DataLoader(DATASET, batch_size=4, sampler=sampler)), 4)
        assert sum(len(rows.rows) for rows in seen) == 13
        kept += [row for rows in seen for row in rows.rows[rows.keep].tolist()]
    assert sorted(kept) == DATASET


def test_the_rows_are_those_that_the_loader_loads():
    sampler = DistributedSampler(DATASET, num_replicas=2, rank=1, shuffle=False)
    loader = DataLoader(DATASET, batch_size=5, sampler=sampler)
    rows = DatasetRows(loader)
    for batch_idx, batch in enumerate(loader):
        assert torch.equal(rows.of(batch_idx).rows, batch)


class Drawn(DistributedSampler):
    """A sampler of the user's own, which draws anew each time."""


def test_a_distributed_sampler_that_shuffles_has_the_order_of_its_seed_and_epoch_and_marks_its_padding():
    counted = []
    for rank in range(2):
        sampler = DistributedSampler(DATASET, num_replicas=2, rank=rank, shuffle=True, seed=3)
        sampler.set_epoch(4)
        loader = DataLoader(DATASET, batch_size=4, sampler=sampler)
        rows = DatasetRows(loader)
        for batch_idx, batch in enumerate(loader):
            assert torch.equal(rows.of(batch_idx).rows, batch)
            counted.append(rows.of(batch_idx).rows[rows.of(batch_idx).keep])
    assert sorted(torch.cat(counted).tolist()) == DATASET


def test_an_order_that_only_the_loader_knows_is_not_guessed():
    shuffled = DataLoader(DATASET, batch_size=5, shuffle=True)
    distributed = Drawn(DATASET, num_replicas=2, rank=0, shuffle=True)
    own = DataLoader(DATASET, batch_sampler=BatchSampler(RandomSampler(DATASET), 5, False))
    assert not DatasetRows(shuffled).known
    assert not DatasetRows(DataLoader(DATASET, batch_size=5, sampler=distributed)).known
    assert not DatasetRows(own).known
    assert not DatasetRows(iter([1, 2])).known


def test_a_plain_batch_sampler_is_in_order_where_its_own_sampler_is():
    given = DataLoader(DATASET, batch_sampler=BatchSampler(SequentialSampler(DATASET), 5, False))
    assert torch.cat([each.rows for each in everything(DatasetRows(given), 8)]).tolist() == DATASET
