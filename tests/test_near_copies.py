"""Near copies: found where they are planted, and not among images that are none."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_failures.functional import NEAR, NEIGHBOURS, find_near_copies, image_sketches


def smooth(n: int = 400, seed: int = 0, channels: int = 3, size: int = 16) -> Tensor:
    """Images without fine detail."""
    coarse = torch.rand(n, channels, 5, 5, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=(size, size), mode="bilinear")


def classes(n: int, seed: int = 0) -> Tensor:
    return torch.randint(4, (n,), generator=torch.Generator().manual_seed(seed))


CHANGES = {
    "noise": lambda x: x + 0.02 * torch.randn(x.shape, generator=torch.Generator().manual_seed(5)),
    "brightness and contrast": lambda x: 1.5 * x - 0.2,
    "half the resolution": lambda x: F.interpolate(F.avg_pool2d(x, 2), scale_factor=2.0),
    "eight bits": lambda x: (255 * x).round().clamp(0, 255).byte(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_with_its_source(change: str) -> None:
    train, held = smooth(), smooth(100, seed=1)
    held[:30] = CHANGES[change](train[50:80]).to(held) / (255 if change == "eight bits" else 1)
    found = find_near_copies(image_sketches(held), classes(100), image_sketches(train), classes(400))
    assert found.near.tolist() == [True] * 30 + [False] * 70
    assert found.source[:30].tolist() == list(range(50, 80))
    assert found.tried.all()


def test_it_is_the_search_image_by_image() -> None:
    train, held = image_sketches(smooth(80)), image_sketches(smooth(40, seed=1))
    held[:5] = train[:5] + 1e-3
    labels, held_labels = classes(80), classes(40, seed=1)
    found = find_near_copies(held, held_labels, train, labels)
    mean = train.double().mean(0)
    unit = [F.normalize(rows.double() - mean, dim=1) for rows in (train, held)]
    for place in range(40):
        apart = [
            (float((unit[1][place] - row).norm()), label) for row, label in zip(unit[0], labels.tolist(), strict=True)
        ]
        distances = sorted(distance for distance, _ in apart)
        others = sorted(distance for distance, label in apart if label != held_labels[place])
        assert found.near[place] == (distances[0] <= NEAR * distances[NEIGHBOURS - 1])
        assert found.by_chance[place] == (others[0] <= NEAR * others[NEIGHBOURS - 1])
        assert apart[found.source[place]][0] == pytest.approx(distances[0])


def test_where_images_differ_along_two_directions_nearness_is_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(1500, 2, generator=generator) @ torch.randn(2, 30, generator=generator)
    labels = classes(1500)
    found = find_near_copies(image_sketches(rows[1000:]), labels[1000:], image_sketches(rows[:1000]), labels[:1000])
    near, chance = found.near.double().mean(), found.by_chance.double().mean()
    assert near > 0.5
    assert near == pytest.approx(chance.item(), abs=0.05)


def test_blank_images_are_near_nothing_and_few_are_not_compared() -> None:
    train, held = smooth(), torch.ones(3, 3, 16, 16)
    assert not image_sketches(held).any()
    found = find_near_copies(image_sketches(held), classes(3), image_sketches(train), classes(400))
    assert not found.near.any()
    assert not found.tried.any()
    few = find_near_copies(image_sketches(train[:2]), classes(2), image_sketches(train[:5]), classes(5))
    assert not few.near.any()
    assert few.source.tolist() == [-1, -1]
    none = find_near_copies(image_sketches(train[:0]), classes(0), image_sketches(train), classes(400))
    assert none.near.tolist() == []


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 40, 20), (200, 9, 9), (2, 1, 1), (7,), (1000,)])
def test_a_sketch_is_at_most_192_numbers_of_length_one(shape: tuple[int, ...]) -> None:
    sketches = image_sketches(torch.rand(5, *shape, generator=torch.Generator().manual_seed(0)))
    assert sketches.shape[1] <= 192
    torch.testing.assert_close(sketches.norm(dim=1), torch.ones(5))
