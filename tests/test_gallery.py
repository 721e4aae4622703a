"""The runs whose reports stand in the gallery, and the page that shows them."""

import importlib
import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def gallery(benchmark):
    """The script that makes the reports, as one of its folder."""
    return benchmark("gallery")


def test_the_colour_goes_with_the_digit_in_the_shortcut_alone_and_the_ink_is_the_same(gallery):
    hues = importlib.import_module("planted_contents").HUES
    shares, inks = [], []
    for case in ("shortcut", "healthy"):
        images, labels = gallery.coloured(case, torch.Generator().manual_seed(1))
        assert images.shape == (1797, 3, 32, 32)
        hue = images.amax((2, 3))
        hue = hue / hue.amax(1, keepdim=True)
        shares.append(float((torch.cdist(hue, hues).argmin(1) == labels).double().mean()))
        inks.append((images.amax(1), labels))
    assert shares[0] == pytest.approx(0.955, abs=0.02)  # 95 of 100, and a tenth of the others by chance
    assert shares[1] == pytest.approx(0.1, abs=0.03)
    assert inks[0][1].equal(inks[1][1])
    torch.testing.assert_close(inks[0][0], inks[1][0])


def test_each_picture_of_the_page_is_there_and_small():
    shown = re.findall(r"\]\((gallery/\w+\.png)\)", (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8"))
    assert len(shown) == 3
    assert {path.name for path in (ROOT / "docs" / "gallery").iterdir()} == {Path(each).name for each in shown}
    assert all((ROOT / "docs" / each).stat().st_size < 200_000 for each in shown)
