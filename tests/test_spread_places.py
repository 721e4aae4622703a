"""A few pixels of an image tell of all of it: they lie in many rows and in many columns."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import lightning_failures as lf
from lightning_failures.functional.spread_places import spread_places


@pytest.mark.parametrize("most", [16, 64])
@pytest.mark.parametrize(
    ("height", "width"), [(16, 16), (32, 32), (28, 28), (64, 64), (224, 224), (256, 256), (9, 9), (48, 12)]
)
def test_places_lie_in_many_rows_and_columns_and_in_every_part(height, width, most):
    places = spread_places(height * width, most)
    rows, columns = places // width, places % width
    assert len(places.unique()) == min(most, height * width)
    assert len(rows.unique()) >= min(height, most) * 0.5
    assert len(columns.unique()) >= min(width, most) * 0.5
    quarters = (2 * rows // height) * 2 + 2 * columns // width
    assert quarters.bincount(minlength=4).min() >= 1


def test_an_image_of_few_pixels_is_seen_whole():
    assert spread_places(1, 16).tolist() == [0]
    assert spread_places(12, 16).tolist() == list(range(12))


def test_images_with_a_black_edge_are_not_constant():
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.zeros(120, 1, 32, 32), torch.arange(120) % 2
    images[:, :, 2:-2, 2:-2] = torch.rand(120, 1, 28, 28, generator=generator) + labels[:, None, None, None]
    audit = lf.audit_data(DataLoader(TensorDataset(images, labels), 40), steps=1)
    assert audit.mean.item() == pytest.approx(images.mean().item(), rel=0.15)
