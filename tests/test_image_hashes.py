"""Hashes of images: equal where their bytes are, on any cut, layout and place in memory; and what they find."""

from itertools import combinations

import pytest
import torch
from torch import Tensor

from lightning_failures.functional import (
    NOT_LABELLED,
    ImageSets,
    copies_statistics,
    find_copies,
    image_hashes,
    in_sample,
)

DTYPES = [
    *(torch.uint8, torch.int16, torch.int64, torch.bool),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64),
]
MASK = 2**64 - 1


def draw(n: int = 6, *shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (255 * torch.rand(n, *(shape or (3, 5, 7)), generator=generator) - 100).to(dtype)


def mixed(word: int) -> int:
    """The finaliser of MurmurHash3, in whole numbers without a limit."""
    for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        word = (word ^ (word >> 33)) * multiplier & MASK
    return word ^ (word >> 33)


def restated(image: Tensor) -> int:
    """The hash of one image, byte by byte."""
    data = image.contiguous().numpy().tobytes()
    data += bytes(-len(data) % 8)
    words = [int.from_bytes(data[place : place + 8], "little") for place in range(0, len(data), 8)]
    total = sum(mixed(word ^ ((place + 1) * 0x9E3779B97F4A7C15 & MASK)) for place, word in enumerate(words))
    described = int.from_bytes(f"{image.dtype} {tuple(image.shape)}".encode(), "big") % (2**61 - 1)
    return mixed((total + described) & MASK)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3, 5, 7), (1, 8, 8), (11,), (2, 3)])
def test_a_hash_is_that_of_the_bytes(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    images = draw(4, *shape, dtype=dtype)
    assert [value & MASK for value in image_hashes(images).tolist()] == [restated(image) for image in images]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_cut_layout_and_place_in_memory_change_no_hash(dtype: torch.dtype) -> None:
    images = draw(7, dtype=dtype)
    if dtype == torch.bool:
        images = draw(7) > 0
    hashes = image_hashes(images)
    assert hashes.dtype == torch.int64
    assert len(hashes.unique()) == 7
    for other in (
        torch.cat([image_hashes(part) for part in images.split(3)]),
        image_hashes(images.to(memory_format=torch.channels_last)),
        image_hashes(torch.cat([images[:1], images])[1:]),
        image_hashes(images.transpose(2, 3).contiguous().transpose(2, 3)),
        image_hashes(torch.cat([images.flatten()[:3], images.flatten()])[3:].view_as(images)),
    ):
        assert hashes.equal(other)


def test_a_batch_larger_than_what_is_mixed_at_a_time_gives_the_same() -> None:
    images = draw(40, 3, 128, 128)
    assert image_hashes(images).equal(torch.cat([image_hashes(part) for part in images.split(1)]))


def test_other_dtypes_and_shapes_of_the_same_bytes_differ() -> None:
    images = draw(1, 3, 4, 4)
    others = [images, images.view(torch.int32), images.reshape(1, 4, 3, 4), images.reshape(1, 48)]
    assert len({int(image_hashes(each)) for each in others}) == len(others)


def test_images_of_two_values_do_not_share_hashes() -> None:
    # float words of 0 and 1 differ in a few high bits alone, where a plain sum of products shares often
    pairs = torch.tensor(list(combinations(range(300), 2)))
    for first, second in ((0.0, 1.0), (1.0, -1.0), (2.0, 0.5)):
        images = torch.full((len(pairs), 300), first).scatter(1, pairs, second)
        assert len(image_hashes(images).unique()) == len(pairs)


def test_blank_images_have_the_hash_0() -> None:
    images = draw(5, 3, 4, 4)
    images[1] = 2.0
    images[2] = torch.tensor([0.1, 0.2, 0.3])[:, None, None]  # each channel has one value
    images[3, :, 0, 0] = torch.nan
    assert (image_hashes(images) == 0).tolist() == [False, True, True, False, False]
    spectra = torch.tensor([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0]])
    assert (image_hashes(spectra) == 0).tolist() == [True, False]
    assert (image_hashes(spectra[:, :, None, None]) == 0).tolist() == [True, False]  # of one pixel


def test_no_images_have_no_hashes() -> None:
    assert image_hashes(torch.zeros(0, 3, 4, 4)).tolist() == []
    assert image_hashes(torch.zeros(2, 0)).tolist() == [0, 0]


def test_hashing_changes_neither_images_nor_random_state() -> None:
    images = draw().requires_grad_()
    before, state = images.detach().clone(), torch.get_rng_state()
    assert not image_hashes(images).requires_grad
    assert images.detach().equal(before)
    assert torch.get_rng_state().equal(state)


# -- what is found with them


def sets(train: list[int], labels: list[int], held: list[int], held_labels: list[int]) -> ImageSets:
    sides = (torch.tensor(side, dtype=torch.int64) for side in (train, labels, held, held_labels))
    return ImageSets(*sides)


def drawn(seed: int, n: int = 60) -> ImageSets:
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randint(0, high, (n,), generator=generator) for high in (40, 2, 40, 2)]
    parts[1][::7] = NOT_LABELLED
    parts[3][::5] = NOT_LABELLED
    return ImageSets(*parts)


@pytest.mark.parametrize("seed", range(5))
def test_copies_are_those_of_a_search_image_by_image(seed: int) -> None:
    given = drawn(seed)
    train, labels, held, held_labels = (part.tolist() for part in given)
    sides = [*zip(train, labels, strict=True), *zip(held, held_labels, strict=True)]

    def contradicts(image: int, label: int) -> bool:
        others = {other for each, other in sides if each == image and other != NOT_LABELLED}
        return image != 0 and label != NOT_LABELLED and bool(others - {label})

    copies = find_copies(given)
    assert copies.source.tolist() == [train.index(image) if image and image in train else -1 for image in held]
    for found, own in ((copies.repeated, held), (copies.train_repeated, train)):
        assert found.tolist() == [image != 0 and image in own[:place] for place, image in enumerate(own)]
    assert copies.contradicting.tolist() == [contradicts(*each) for each in zip(held, held_labels, strict=True)]
    assert copies.train_contradicting.tolist() == [contradicts(*each) for each in zip(train, labels, strict=True)]


def test_shares_are_of_images_that_are_not_blank() -> None:
    values = copies_statistics(sets([0, 1, 2, 2], [0, 0, 0, 1], [0, 0, 1, 2, 3, 3], [0, 0, 0, 1, 1, 1]))
    plain = {name: float(value) for name, value in values.items()}
    assert (plain["images"], plain["training_images"]) == (4, 3)
    assert plain["leakage"] == 2 / 4
    assert plain["duplicates"] == 1 / 4
    assert plain["contradicting_labels"] == 1 / 4
    assert plain["training_duplicates"] == 1 / 3
    assert plain["training_contradicting_labels"] == 2 / 3
    assert plain["leakage_low"] < 0.5 < plain["leakage_high"]


def test_without_images_of_a_side_its_shares_are_not_known() -> None:
    nothing = {name for name, value in copies_statistics(ImageSets.zero()).items() if value.isnan()}
    assert nothing == {
        *("leakage", "leakage_low", "leakage_high", "duplicates", "contradicting_labels"),
        *("training_duplicates", "training_contradicting_labels"),
    }
    alone = copies_statistics(sets([], [], [5, 5], [0, 0]))
    assert alone["leakage"].isnan()
    assert alone["duplicates"] == 0.5
    unlabelled = copies_statistics(sets([5], [NOT_LABELLED], [5], [NOT_LABELLED]))
    assert unlabelled["leakage"] == 1
    assert unlabelled["contradicting_labels"].isnan()


def test_a_sample_by_hashes_has_the_same_shares_but_for_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    train = image_hashes(torch.rand(8000, 4, generator=generator))
    held = torch.cat([train[:1000], image_hashes(torch.rand(3000, 4, generator=generator)), torch.zeros(9).long()])
    kept, wider = (held[in_sample(held, one_in)] for one_in in (8, 4))
    assert set(kept.tolist()) <= set(wider.tolist())
    assert len(kept) == pytest.approx(500, abs=80)
    labels = torch.zeros(8000, dtype=torch.int64)
    some = train[in_sample(train, 8)]
    values = copies_statistics(ImageSets(some, labels[: len(some)], kept, labels[: len(kept)]))
    assert values["leakage_low"] < 0.25 < values["leakage_high"]
    assert in_sample(held, 1).tolist() == [True] * 4000 + [False] * 9
