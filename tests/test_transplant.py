"""Transplants on models whose decisions are known: the content that decides is named, and no other one."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_failures import transplant
from lightning_failures.errors import FailuresError, InputError
from lightning_failures.functional import border_mask, control_rows

Model = Callable[[Tensor], Tensor]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def signs(values: Tensor) -> Tensor:
    """Four classes from the signs of two numbers per image (n 2)."""
    a, b = values.unbind(1)
    return torch.stack([a + b, a - b, -a + b, -a - b], 1)


def mean_only(images: Tensor) -> Tensor:
    return (images.mean((1, 2, 3)) - 0.5)[:, None]


def channel_only(images: Tensor) -> Tensor:
    channel = images[:, images.shape[1] // 2]
    return signs(torch.stack([channel.mean((1, 2)) - 0.5, channel[:, 0, 0] - 0.5], 1))


def cell_only(images: Tensor) -> Tensor:  # the cell in row 5, column 2 of a grid of eight
    h, w = images.shape[2:]
    cell = images[:, 0, 5 * h // 8 : 6 * h // 8, 2 * w // 8 : 3 * w // 8]
    return signs(torch.stack([cell.mean((1, 2)) - 0.5, cell[:, 0, 0] - 0.5], 1))


def border_only(images: Tensor) -> Tensor:
    edge = images[:, 0][:, border_mask(*images.shape[2:])]
    return signs(torch.stack([edge[:, ::2].mean(1) - 0.5, edge[:, 1::2].mean(1) - 0.5], 1))


def phase_only(images: Tensor) -> Tensor:  # of a wave far above the low frequencies
    wave = torch.fft.fft2(images[:, 0])[:, 3, 2]
    return signs(torch.stack([wave.real, wave.imag], 1))


def amplitude_only(images: Tensor) -> Tensor:
    waves = torch.fft.fft2(images[:, 0]).abs()
    return (waves[:, 3, 2] - waves[:, 2, 3])[:, None]


SIZES = [(3, 16, 16), (1, 16, 16), (2, 17, 19)]
ALONE = {
    "mean": (mean_only, "level", ["texture", "low_frequencies", "channel_statistics"], []),
    "border": (border_only, "border", [], ["centre"]),
    "phase": (phase_only, "", [], ["level", "channel_statistics", "texture", "low_frequencies"]),
    "amplitude": (amplitude_only, "texture", [], ["level", "low_frequencies"]),
}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", ALONE)
def test_a_content_that_decides_alone_carries_every_decision(name: str, size: tuple[int, ...]) -> None:
    model, alone, also, never = ALONE[name]
    images = draw(80, *size)
    found = transplant(model, images, images.roll(1, 0))
    assert found.pairs > 20
    for content in ([alone] if alone else []) + also:
        assert found.shares[content].donor == 1, content
        assert found.shares[content].control == 0, content
        assert found.shares[content].excess_low > 0.5, content
    for content in never:
        assert found.shares[content].own == 1, content
        assert found.shares[content].donor == found.shares[content].off_manifold == 0, content


@pytest.mark.parametrize("channels", [2, 3, 64])
def test_one_channel_that_decides_is_named_among_any_number(channels: int) -> None:
    images = draw(40, channels, 5, 7)
    found = transplant(channel_only, images, images.roll(1, 0), ["channels"])
    assert list(found.shares) == [f"channel {k}" for k in range(channels)]
    assert [shares.donor for shares in found.shares.values()] == [float(k == channels // 2) for k in range(channels)]
    bands = {"low": [0], "rest": list(range(1, channels))}
    by_band = transplant(channel_only, images, images.roll(1, 0), ["channels"], bands=bands)
    assert {name: shares.donor for name, shares in by_band.shares.items()} == {"channel low": 0, "channel rest": 1}


@pytest.mark.parametrize("size", [(16, 16), (17, 19), (28, 30)])
def test_one_cell_that_decides_is_found_from_coarse_to_fine(size: tuple[int, int]) -> None:
    images = draw(60, 2, *size)
    found = transplant(cell_only, images, images.roll(1, 0), ["regions", "border"])
    carries = [name for name, shares in found.shares.items() if shares.donor == 1]
    (h, w), rows = size, (5, 6)
    expected = [((4, 8), (0, 4)), ((4, 6), (2, 4)), (rows, (2, 3))]
    assert carries == [
        f"region (rows {a * h // 8}-{b * h // 8 - 1}, columns {c * w // 8}-{d * w // 8 - 1})"
        for (a, b), (c, d) in expected
    ]
    assert len(found.shares) == 13
    assert all(shares.donor in (0, 1) for shares in found.shares.values())


def test_an_image_that_is_its_own_donor_keeps_its_prediction() -> None:
    images = draw(30, 3, 9, 11)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).double()
    found = transplant(net, images.double(), images.double())
    assert torch.equal(found.preds, found.own_preds[:, None].expand_as(found.preds))
    assert found.pairs == 0
    assert all(shares.donor != shares.donor for shares in found.shares.values())  # nan without pairs


def test_border_and_centre_are_the_two_sides_of_one_exchange() -> None:
    images, donors = draw(40, 2, 9, 11), draw(40, 2, 9, 11, seed=1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * 9 * 11, 3))
    one, other = (transplant(model, *pair, ["border", "centre"]) for pair in ((images, donors), (donors, images)))
    assert torch.equal(one.preds[:, 0], other.preds[:, 1])
    assert one.shares["border"].donor == other.shares["centre"].own
    assert one.shares["border"].size + one.shares["centre"].size == pytest.approx(1)


def test_a_content_of_the_users_own_is_exchanged_beside_the_known_ones() -> None:
    images = draw(40, 1, 8, 8)

    def left_half(receivers: Tensor, donors: Tensor) -> Tensor:
        return torch.cat([donors[..., :4], receivers[..., 4:]], -1)

    def model(x: Tensor) -> Tensor:
        return x[..., :4].mean((1, 2, 3)) - 0.5

    found = transplant(model, images, images.roll(1, 0), {"half": left_half, "bright": "level"})
    assert list(found.shares) == ["half", "bright"]
    assert found.shares["half"].donor == 1


def test_several_labels_are_compared_label_by_label_and_pixels_pixel_by_pixel() -> None:
    images = draw(40, 3, 6, 6)
    labels = transplant(
        lambda x: x.mean((2, 3)) - 0.5, images, images.roll(1, 0), ["channels", "channel_statistics"], task="multilabel"
    )
    assert labels.own_preds.shape == (40, 3)
    assert labels.shares["channel_statistics"].donor == 1
    changed = (labels.own_preds != labels.donor_preds).sum(0)
    for k in range(3):
        assert labels.shares[f"channel {k}"].donor == pytest.approx(float(changed[k] / changed.sum()))
    maps = transplant(lambda x: x - 0.5, images, images.roll(1, 0))
    assert maps.own_preds.shape == (40, 6, 6)
    why = "each pixel has a prediction of its own, which moves along with a part of the image"
    assert maps.left_out == dict.fromkeys(("border", "centre", "regions"), why)


def test_level_and_colour_are_exchanged_in_raw_units() -> None:
    raw, mean, std = draw(40, 3, 6, 6), torch.tensor([0.5, 0.4, 0.6]), torch.tensor([0.2, 0.1, 0.3])
    mean, std = mean.reshape(1, 3, 1, 1), std.reshape(1, 3, 1, 1)
    kinds = ["level", "colour"]
    plain = transplant(mean_only, raw, raw.roll(1, 0), kinds)
    inputs = (raw - mean) / std
    same = transplant(
        lambda x: mean_only(x * std + mean), inputs, inputs.roll(1, 0), kinds, denormalize=lambda x: x * std + mean
    )
    assert same.shares["level"].donor == plain.shares["level"].donor == 1
    assert same.shares["colour"].own == plain.shares["colour"].own == 1
    assert transplant(mean_only, inputs, inputs.roll(1, 0), kinds).left_out == {
        "colour": "the images hold values below 0, which are no light; pass denormalize"
    }


def test_the_control_comes_from_an_image_that_is_predicted_alike() -> None:
    images = draw(50, 1, 8, 8)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    found = transplant(model, images, images.roll(1, 0), ["border"])
    rows = control_rows(found.own_preds)
    by_hand = torch.where(border_mask(8, 8), images[rows], images)
    control = model(by_hand).argmax(1)
    differ = (found.own_preds != found.donor_preds) & (found.own_preds[rows] == found.own_preds)
    share = (control == found.donor_preds)[differ].double().mean()
    assert found.shares["border"].control == pytest.approx(float(share))


INPUTS = {
    "spectra": (draw(20, 4), {"texture": "the inputs are no images (n b h w)"}),
    "series": (draw(20, 4, 6), {"border": "the inputs are no images (n b h w)"}),
    "grey": (draw(20, 1, 6, 6), {"colour": "the images have one channel", "channels": "the images have one channel"}),
    "words": (
        torch.arange(80).reshape(20, 4),
        {"level": "the inputs are whole numbers that are no images (n b h w)"},
    ),
    "pixel": (draw(20, 3, 1, 1), {"border": "the images have one pixel"}),
    "strip": (
        draw(20, 1, 2, 9),
        {"centre": "a side of the images has fewer than three pixels, so that they are all border"},
    ),
}


@pytest.mark.parametrize("name", INPUTS)
def test_contents_that_the_inputs_do_not_have_are_left_out_with_the_reason(name: str) -> None:
    inputs, expected = INPUTS[name]
    found = transplant(lambda x: x.flatten(1).float()[:, :2], inputs, inputs.roll(1, 0))
    assert expected.items() <= found.left_out.items()
    assert not found.shares.keys() & found.left_out.keys()


def test_bytes_stay_bytes() -> None:
    images = draw(20, 3, 8, 8).mul(256).to(torch.uint8)
    seen = set()

    def model(x: Tensor) -> Tensor:
        seen.add(x.dtype)
        return x.float().mean((1, 2, 3)) - 127

    found = transplant(model, images, images.roll(1, 0))
    assert seen == {torch.uint8}
    assert found.shares["level"].donor > 0.9


def test_pairs_that_are_not_finite_are_left_out_and_counted() -> None:
    images = draw(30, 1, 8, 8)
    whole = transplant(mean_only, images, images.flip(0), ["level", "border"])
    broken = torch.cat([images, torch.full((1, 1, 8, 8), torch.nan)])
    found = transplant(mean_only, broken, torch.cat([images.flip(0), images[:1]]), ["level", "border"])
    assert found.shares == whole.shares
    assert found.non_finite == 1
    assert found.preds[-1].tolist() == [-1, -1]


def test_no_pairs_give_no_shares() -> None:
    found = transplant(mean_only, draw(0, 3, 8, 8), draw(0, 3, 8, 8))
    assert found.preds.shape[0] == found.pairs == 0


x = torch.zeros(4, 3, 6, 6)
BAD: dict[str, Callable[[], object]] = {
    "transplant: images and donors are no pairs; given images (4, 3, 6, 6) torch.float32, donors (3, 3, 6, 6). Pass "
    "one donor a receiver: both (n b h w).": lambda: transplant(mean_only, x, x[:3]),
    "transplant: there is no such kind of content; given shape. Use some of level, channel_statistics, colour, "
    "channels, texture, low_frequencies, border, centre, regions, or name -> a function from receivers and donors to "
    "images.": lambda: transplant(mean_only, x, x, ["shape"]),
    "transplant: a kind stands twice; given level, level. Name each one once.": lambda: transplant(
        mean_only, x, x, ["level", "level"]
    ),
    "transplant: such a task has no classes to compare; given 'regression'. Use it on a model that classifies, or pass "
    "a function that gives its output as logits.": lambda: transplant(mean_only, x, x, task="regression"),
    "transplant: the function of 'mine' gives other images; given (4, 3, 6). Give images like the receivers: "
    "(receivers, donors) -> images, all (n b h w).": lambda: transplant(
        mean_only, x, x, {"mine": lambda a, b: a[..., 0]}
    ),
    "transplant: images and donors are not tensors; given dict and Tensor. Pass (n b h w).": lambda: transplant(
        mean_only,
        {},  # type: ignore[arg-type]
        x,
    ),
}


@pytest.mark.parametrize("text", BAD)
def test_transplants_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(FailuresError) as error:
        BAD[text]()
    assert str(error.value) == text


def test_within_and_across_groups_a_content_moves_what_sets_the_groups_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    group = torch.arange(80) % 2
    images = 0.2 * torch.rand(80, 1, 8, 8, generator=generator)
    images += group[:, None, None, None]  # one group is bright
    images[:, :, 3:5, 3:5] += (torch.arange(80) // 2 % 2)[:, None, None, None]

    def model(x: Tensor) -> Tensor:  # four classes: the brightness of the border, and of the middle beyond it
        border = x[:, 0, 0].mean(1)
        middle = x[:, 0, 3:5, 3:5].mean((1, 2)) - border
        of_border, of_middle = 9 * (border - 0.6), 9 * (middle - 0.5)
        return torch.stack([a * of_border + b * of_middle for a in (-1, 1) for b in (-1, 1)], 1)

    donors = torch.arange(80).roll(3)  # the other group
    donors[::4] = (torch.arange(80)[::4] + 2) % 80  # the same one, of the other middle
    kinds = {"level": "level", "middle": lambda x, y: torch.where(_middle(x), y, x)}
    found = transplant(model, images, images[donors], kinds, groups=(group, group[donors]))
    plain = transplant(model, images, images[donors], kinds)
    assert (plain.within, plain.across) == (None, None)
    assert plain.shares == found.shares
    assert found.within is not None
    assert found.across is not None
    assert (found.within["level"].donor, found.within["level"].own) == (0, 1)
    assert found.across["level"].donor > 0.2
    assert found.across["level"].own == 0  # what is said of the border is the donor's
    assert found.within["middle"].donor == 1
    for name, share in found.shares.items():
        low, high = sorted((found.within[name].donor, found.across[name].donor))
        assert low < share.donor < high


def _middle(images: Tensor) -> Tensor:
    mask = torch.zeros(images.shape[2:], dtype=torch.bool)
    mask[3:5, 3:5] = True
    return mask


@pytest.mark.parametrize("groups", [(torch.zeros(3), torch.zeros(4)), (torch.zeros(4),), (None, torch.zeros(4))])
def test_groups_that_are_not_one_a_receiver_and_one_a_donor_are_refused(groups: Any) -> None:
    images = torch.rand(4, 1, 8, 8)
    with pytest.raises(InputError, match=r"groups are not those of receivers and donors.* for 4 pairs"):
        transplant(lambda x: x.mean((1, 2, 3)), images, images.roll(1, 0), ["level"], groups=groups)
