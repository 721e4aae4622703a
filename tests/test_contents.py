"""One kind of content exchanged between images: against literal restatements, and at its limits."""

import cmath

import pytest
import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional import (
    border_mask,
    cell_mask,
    content_size,
    transplant_amplitude,
    transplant_channel_statistics,
    transplant_channels,
    transplant_colour,
    transplant_level,
    transplant_low_frequencies,
    transplant_region,
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SHAPES = [(3, 1, 8, 8), (2, 3, 5, 7), (2, 64, 3, 4), (1, 2, 1, 9), (2, 4, 1, 1)]


def some_channels(receivers: Tensor, donors: Tensor) -> Tensor:
    return transplant_channels(receivers, donors, torch.arange(receivers.shape[1]) % 3 == 0)


def border(receivers: Tensor, donors: Tensor) -> Tensor:
    return transplant_region(receivers, donors, border_mask(*receivers.shape[2:]))


EXCHANGES = {
    "level": transplant_level,
    "channel_statistics": transplant_channel_statistics,
    "colour": transplant_colour,
    "low_frequencies": transplant_low_frequencies,
    "amplitude": transplant_amplitude,
    "channels": some_channels,
    "border": border,
}
LINEAR = ["level", "low_frequencies", "channels", "border"]


def fourier(image: Tensor) -> list[list[complex]]:
    """The sum of the definition, pixel by pixel."""
    h, w = image.shape
    return [
        [
            sum(
                float(image[y, x]) * cmath.exp(-2j * cmath.pi * (u * y / h + v * x / w))
                for y in range(h)
                for x in range(w)
            )
            for v in range(w)
        ]
        for u in range(h)
    ]


def image_of(spectrum: list[list[complex]]) -> Tensor:
    h, w = len(spectrum), len(spectrum[0])
    values = [
        sum(spectrum[u][v] * cmath.exp(2j * cmath.pi * (u * y / h + v * x / w)) for u in range(h) for v in range(w))
        for y in range(h)
        for x in range(w)
    ]
    return torch.tensor([value.real / (h * w) for value in values], dtype=torch.float64).reshape(h, w)


def literal_level(own: Tensor, theirs: Tensor) -> Tensor:
    return own - own.flatten().mean() + theirs.flatten().mean()


def literal_channel_statistics(own: Tensor, theirs: Tensor) -> Tensor:
    rows = []
    for a, b in zip(own, theirs, strict=True):
        spread = a.std(correction=0)
        scale = b.std(correction=0) / spread if spread > 1e-12 else 0.0
        rows.append((a - a.mean()) * scale + b.mean())
    return torch.stack(rows)


def literal_colour(own: Tensor, theirs: Tensor) -> Tensor:
    mine, other = (x.mean((1, 2)) / x.mean((1, 2)).sum() for x in (own, theirs))
    result = own.clone()
    for y in range(own.shape[1]):
        for x in range(own.shape[2]):
            result[:, y, x] += own[:, y, x].sum() * (other - mine)
    return result


def by_coefficient(own: Tensor, theirs: Tensor, mix) -> Tensor:  # type: ignore[no-untyped-def]
    rows = []
    for a, b in zip(own, theirs, strict=True):
        (h, w), mine, other = a.shape, fourier(a), fourier(b)
        rows.append(image_of([[mix(mine[u][v], other[u][v], u, v, h, w) for v in range(w)] for u in range(h)]))
    return torch.stack(rows)


def keep_high(mine: complex, other: complex, u: int, v: int, h: int, w: int) -> complex:
    vertical, horizontal = min(u, h - u) / h, min(v, w - v) / w
    return other if (vertical**2 + horizontal**2) ** 0.5 <= 0.1 else mine


def keep_phase(mine: complex, other: complex, u: int, v: int, h: int, w: int) -> complex:
    return other if u == v == 0 else cmath.rect(abs(other), cmath.phase(mine))


LITERAL = {
    "level": literal_level,
    "channel_statistics": literal_channel_statistics,
    "colour": literal_colour,
    "low_frequencies": lambda own, theirs: by_coefficient(own, theirs, keep_high),
    "amplitude": lambda own, theirs: by_coefficient(own, theirs, keep_phase),
}


@pytest.mark.parametrize("name", LITERAL)
@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 1, 5, 3), (1, 4, 1, 12)])
def test_an_exchange_is_its_literal_restatement(name: str, shape: tuple[int, ...]) -> None:
    own, theirs = draw(*shape), draw(*shape, seed=1)
    literal = torch.stack([LITERAL[name](a, b) for a, b in zip(own, theirs, strict=True)])
    torch.testing.assert_close(EXCHANGES[name](own, theirs), literal)


@pytest.mark.parametrize("name", EXCHANGES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_an_image_that_is_its_own_donor_stays_as_it_is(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    images = draw(*shape).to(dtype)
    same = EXCHANGES[name](images, images)
    assert same.dtype == dtype
    torch.testing.assert_close(same, images, rtol=1e-3 if dtype == torch.float16 else 1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_one_image_gets_the_other_one_lacks(name: str, shape: tuple[int, ...]) -> None:
    own, theirs = draw(*shape), draw(*shape, seed=1)
    exchange = EXCHANGES[name]
    torch.testing.assert_close(exchange(own, theirs) + exchange(theirs, own), own + theirs)


@pytest.mark.parametrize("size", [(3, 3), (8, 8), (5, 7), (28, 28), (9, 32)])
def test_a_centre_is_all_that_a_border_is_not(size: tuple[int, int]) -> None:
    own, theirs = draw(2, 3, *size), draw(2, 3, *size, seed=1)
    edge = border_mask(*size)
    assert 0 < int(edge.sum()) < edge.numel()
    assert torch.equal(transplant_region(own, theirs, ~edge), transplant_region(theirs, own, edge))
    both = transplant_region(transplant_region(own, theirs, edge), theirs, ~edge)
    assert torch.equal(both, theirs)


@pytest.mark.parametrize(("height", "width", "grid"), [(8, 8, 2), (5, 7, 2), (9, 4, 4), (3, 3, 3), (2, 2, 3)])
def test_the_cells_of_a_grid_part_an_image(height: int, width: int, grid: int) -> None:
    cells = [cell_mask(height, width, grid, row, column) for row in range(grid) for column in range(grid)]
    assert torch.equal(torch.stack(cells).sum(0), torch.ones(height, width, dtype=torch.int64))


@pytest.mark.parametrize("grid", [1, 2, 4])
def test_the_cells_of_a_finer_grid_part_those_of_a_coarser_one(grid: int) -> None:
    for row in range(grid):
        for column in range(grid):
            finer = [cell_mask(11, 13, 2 * grid, 2 * row + down, 2 * column + on) for down in (0, 1) for on in (0, 1)]
            assert torch.equal(torch.stack(finer).any(0), cell_mask(11, 13, grid, row, column))


def test_a_level_is_one_number_and_leaves_every_difference() -> None:
    own, theirs = draw(3, 2, 4, 5), draw(3, 2, 4, 5, seed=1) + 3
    moved = transplant_level(own, theirs)
    torch.testing.assert_close(moved.mean((1, 2, 3)), theirs.mean((1, 2, 3)))
    torch.testing.assert_close(moved - moved[:, :1, :1, :1], own - own[:, :1, :1, :1])


def test_channel_statistics_hold_the_level_and_the_unit_of_a_channel_does_not_matter() -> None:
    own, theirs = draw(3, 2, 4, 5), draw(3, 2, 4, 5, seed=1) * 2 + 3
    moved = transplant_channel_statistics(own, theirs)
    torch.testing.assert_close(moved.mean((2, 3)), theirs.mean((2, 3)))
    torch.testing.assert_close(moved.std((2, 3)), theirs.std((2, 3)))
    scale, shift = torch.tensor([-2.0, 0.5]).reshape(1, 2, 1, 1), torch.tensor([1.0, -4.0]).reshape(1, 2, 1, 1)
    in_other_units = transplant_channel_statistics(own * scale + shift, theirs * scale + shift)
    torch.testing.assert_close(in_other_units, moved * scale + shift)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e4])
def test_a_constant_channel_becomes_the_donors_mean(value: float) -> None:
    own, theirs = torch.full((1, 1, 7, 9), value), draw(1, 1, 7, 9).float()
    moved = transplant_channel_statistics(own, theirs)
    torch.testing.assert_close(moved, theirs.mean().expand_as(own))


def test_a_colour_moves_the_proportions_and_no_intensity() -> None:
    own, theirs = draw(3, 3, 4, 5), draw(3, 3, 4, 5, seed=1) * torch.tensor([1.0, 0.2, 0.5]).reshape(1, 3, 1, 1)
    moved = transplant_colour(own, theirs)
    torch.testing.assert_close(moved.sum(1), own.sum(1))
    share, theirs_share = (x.mean((2, 3)) / x.mean((2, 3)).sum(1, keepdim=True) for x in (moved, theirs))
    torch.testing.assert_close(share, theirs_share)


def test_an_image_of_one_colour_becomes_its_intensity_in_the_donors_colour() -> None:
    intensity, red, other = draw(1, 1, 4, 4), torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 0.25, 0.75])
    own, theirs = intensity * red.reshape(1, 3, 1, 1), draw(1, 1, 4, 4, seed=1) * other.reshape(1, 3, 1, 1)
    torch.testing.assert_close(transplant_colour(own, theirs), intensity * other.double().reshape(1, 3, 1, 1))


def test_grey_images_have_one_colour_and_black_ones_none() -> None:
    grey, other = draw(2, 1, 4, 4).expand(-1, 3, -1, -1), draw(2, 1, 4, 4, seed=1).expand(-1, 3, -1, -1)
    torch.testing.assert_close(transplant_colour(grey, other), grey)
    coloured, black = draw(2, 3, 4, 4), torch.zeros(2, 3, 4, 4, dtype=torch.float64)
    assert torch.equal(transplant_colour(coloured, black), coloured)
    assert torch.equal(transplant_colour(black, coloured), black)


def test_low_frequencies_at_no_radius_are_the_means_and_at_the_largest_all() -> None:
    own, theirs = draw(2, 3, 5, 8), draw(2, 3, 5, 8, seed=1)
    mean, their_mean = own.mean((2, 3), keepdim=True), theirs.mean((2, 3), keepdim=True)
    torch.testing.assert_close(transplant_low_frequencies(own, theirs, 0.0), own - mean + their_mean)
    torch.testing.assert_close(transplant_low_frequencies(own, theirs, 0.8), theirs)


@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (2, 1, 5, 7)])
def test_an_amplitude_is_the_donors_and_a_phase_the_receivers(shape: tuple[int, ...]) -> None:
    own, theirs = draw(*shape), draw(*shape, seed=1)
    spectrum, mine, other = (torch.fft.fft2(x) for x in (transplant_amplitude(own, theirs), own, theirs))
    torch.testing.assert_close(spectrum.abs(), other.abs())
    torch.testing.assert_close((spectrum / spectrum.abs())[..., 1:], (mine / mine.abs())[..., 1:])


def test_the_unit_of_a_channel_does_not_matter_to_an_amplitude() -> None:
    own, theirs = draw(2, 1, 4, 6), draw(2, 1, 4, 6, seed=1)
    moved = transplant_amplitude(own, theirs)
    torch.testing.assert_close(transplant_amplitude(own * -2 + 5, theirs * -2 + 5), moved * -2 + 5)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.7])
def test_a_constant_receiver_has_no_phase_that_rounding_made(value: float) -> None:
    own, theirs = torch.full((1, 1, 7, 9), value), draw(1, 1, 7, 9).float()
    expected = torch.fft.ifft2(torch.fft.fft2(theirs).abs()).real
    torch.testing.assert_close(transplant_amplitude(own, theirs), expected)


def test_integers_are_exchanged_in_float32_and_regions_and_channels_bit_by_bit() -> None:
    own, theirs = (draw(2, 3, 6, 6, seed=k).mul(256).to(torch.uint8) for k in (0, 1))
    for name in ("level", "channel_statistics", "colour", "low_frequencies", "amplitude"):
        moved = EXCHANGES[name](own, theirs)
        assert moved.dtype == torch.float32
        torch.testing.assert_close(moved, EXCHANGES[name](own.float(), theirs.float()))
    assert some_channels(own, theirs).dtype == border(own, theirs).dtype == torch.uint8


def test_spectra_and_series_have_a_level_channels_and_a_colour() -> None:
    own, theirs = draw(3, 4), draw(3, 4, seed=1)
    for exchange in (transplant_level, transplant_colour, some_channels):
        image = exchange(own[..., None, None], theirs[..., None, None])[..., 0, 0]
        torch.testing.assert_close(exchange(own, theirs), image)
        torch.testing.assert_close(exchange(own[..., None], theirs[..., None])[..., 0], image)


def test_the_size_of_a_content_is_its_share_of_the_difference() -> None:
    own, theirs = draw(3, 2, 8, 8), draw(3, 2, 8, 8, seed=1)
    edge = border_mask(8, 8)
    size, rest = (content_size(own, theirs, transplant_region(own, theirs, mask)) for mask in (edge, ~edge))
    expected = (own - theirs).square()[..., edge].sum() / (own - theirs).square().sum()
    torch.testing.assert_close(size, expected)
    torch.testing.assert_close(size + rest, torch.ones((), dtype=torch.float64))
    assert content_size(own, theirs, own) == 0
    assert content_size(own, theirs, theirs) == 1
    assert content_size(own, own, own).isnan()
    own[0, 0, 0, 0] = torch.nan
    assert content_size(own, theirs, theirs) == 1


x, y = torch.zeros(4, 3, 2, 2), torch.zeros(3, 3, 2, 2)
BAD = {
    "transplant_level: receivers and donors are no pairs; given receivers (4, 3, 2, 2), donors (3, 3, 2, 2). Pass as "
    "many of both, of one shape.": lambda: transplant_level(x, y),
    "transplant_level: receivers lack an axis; given receivers (4,), donors (4,). Pass (n b h w), or at least an axis "
    "of channels.": lambda: transplant_level(x[:, 0, 0, 0], x[:, 0, 0, 0]),
    "transplant_channel_statistics: receivers lack an axis; given receivers (4, 3), donors (4, 3). Pass (n b h w), or "
    "at least an axis of channels and one of pixels.": lambda: transplant_channel_statistics(
        x[..., 0, 0], x[..., 0, 0]
    ),
    "transplant_amplitude: receivers are no images; given receivers (4, 3, 2), donors (4, 3, 2). Pass images "
    "(n b h w).": lambda: transplant_amplitude(x[..., 0], x[..., 0]),
    "transplant_low_frequencies: receivers are no images; given receivers (4, 3), donors (4, 3). Pass images "
    "(n b h w).": lambda: transplant_low_frequencies(x[..., 0, 0], x[..., 0, 0]),
    "transplant_region: the mask does not fit the images; given mask (2, 3) torch.bool for images (4, 3, 2, 2). Pass "
    "(h w), bool.": lambda: transplant_region(x, x, torch.ones(2, 3, dtype=torch.bool)),
    "transplant_channels: members do not fit the channels; given members (3,) torch.int64 for images (4, 3, 2, 2). "
    "Pass one value per channel: (b), bool.": lambda: transplant_channels(x, x, torch.ones(3, dtype=torch.int64)),
}


@pytest.mark.parametrize("text", BAD)
def test_exchanges_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(InputError) as error:
        BAD[text]()
    assert str(error.value) == text
