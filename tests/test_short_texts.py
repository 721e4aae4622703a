"""What is printed of results is short and says what matters."""

from typing import Any

import pytest
import torch
from torch import nn

import lightning_failures as lf


@pytest.fixture(scope="module")
def run() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A network that reads nothing but the third channel."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(120, 12, 6, 6, generator=generator)
    labels = (images[:, 2].mean((1, 2)) > images[:, 2].mean()).long()
    images[:, 2] += labels[:, None, None]
    head = nn.Linear(12, 2)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([8.0, -8.0]))
        head.weight[:, 2] = torch.tensor([-8.0, 8.0])
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), head), images, labels


def test_a_profile_is_told_by_its_largest_bands(run: Any) -> None:
    profile = lf.attribute_channels(*run)
    lines = str(profile).splitlines()
    assert lines[0].startswith(
        "ChannelProfile: what the model loses without each of 12 bands, nats over 120 images (ablation, floor "
    )
    assert lines[1].startswith(f"  channel 2  {float(profile.values[2]):.3g} ± ")
    assert lines[1].endswith(", share 1.00")
    assert lines[-1] == "  and 4 more"
    assert len(str(profile)) < 600
    torch.manual_seed(0)
    blank = lf.attribute_channels(nn.Sequential(nn.Flatten(), nn.Linear(432, 2)), *run[1:], null="images")
    assert blank.blank
    assert "none passes its floor" in str(blank)
    assert "share" not in str(blank)


def test_transplants_are_told_by_their_shares(run: Any) -> None:
    network, images, _ = run
    found = lf.transplant(network, images, images.roll(1, 0), ["level", "channels"])
    lines = str(found).splitlines()
    assert lines[0] == (
        f"Transplanted: share of {found.pairs} answers that follow the donor of a content, with 95% interval"
    )
    assert lines[1].startswith("  channel 2   1.00 (")
    assert lines[-1] == "  and 1 more"
    below_zero = lf.transplant(network, images - 0.6, images.roll(1, 0) - 0.6, ["level", "colour"])
    assert str(below_zero).splitlines()[-1] == "  colour  left out: " + below_zero.left_out["colour"]
    same = lf.transplant(network, images, images, ["level"])
    assert str(same) == "Transplanted: undefined, since the answers differ in no pair of images"
    assert len(str(found)) < 1200


def test_an_audit_is_told_by_its_risks(run: Any) -> None:
    _, images, labels = run
    audit = lf.audit_data([(images, labels)], steps=0)
    lines = str(audit).splitlines()
    assert lines[0] == "DataAudit data: 120 images of 2 classes, shape (12, 6, 6)"
    assert lines[1].endswith(f"chance {audit.chance.value:.2f}")
    assert lines[2:] == [f"  {risk.severity}: {risk.message}" for risk in audit.risks]


def test_tables_and_scenes_are_one_line() -> None:
    table = lf.FactorTable(("dark", "pose"), torch.tensor([[1, 0], [1, 1]]), ("a.png", "b.png"))
    assert repr(table) == "FactorTable: 2 images by id, such as 'a.png'; images with dark 2, pose 1"
    assert repr(lf.FactorTable(("dark",), torch.ones(3, 1))) == "FactorTable: 3 images by row; images with dark 3"
    scene = repr(lf.planted_scene("simple"))
    assert scene.startswith("PlantedScene 'simple': ")
    assert scene.endswith(" classes")
    assert "\n" not in scene
