"""Whose prediction an interchange gives: on models whose decisions are known."""

from itertools import pairwise

import pytest
import torch
from statsmodels.stats.proportion import proportion_confint
from torch import Tensor, nn

from lightning_failures import DecisionDimension, interchange
from lightning_failures.errors import InputError
from lightning_failures.functional import (
    InterchangeCounts,
    count_interchange,
    covariance,
    decision_dimension,
    interchange_inputs,
    interchange_shares,
    moments,
    principal_directions,
)
from lightning_failures.interventions import as_labels


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Images of 6 channels whose mean spectra vary in 6 directions, each less than the one before."""
    spectra = draw(200, 6) * torch.tensor([5.0, 4, 3, 2, 1, 0.5]) @ torch.linalg.qr(draw(6, 6, seed=1)).Q.T
    texture = draw(200, 6, 4, 4, seed=2)
    return spectra[:, :, None, None] + texture - texture.mean((2, 3), keepdim=True)


@pytest.fixture(scope="module")
def directions(images: Tensor) -> Tensor:
    return principal_directions(covariance(moments(images.mean((2, 3)))))


def dimension(model, images: Tensor, directions: Tensor, level: str = "image") -> dict[str, Tensor]:  # type: ignore[no-untyped-def]
    donors = images.roll(1, 0)
    metric = DecisionDimension(ranks=range(1, directions.shape[1] + 1))
    metric.update(
        as_labels(model(images)),
        as_labels(model(donors)),
        interchange(model, images, donors, directions, level=level),
    )
    return metric.compute()


@pytest.mark.parametrize("level", ["image", "pixel"])
def test_swapped_images_are_the_formulas_of_the_reference(level: str) -> None:
    receivers, donors = draw(5, 6, 3, 2), draw(5, 6, 3, 2, seed=1)
    P = torch.linalg.qr(draw(6, 2, seed=2)).Q
    mean = draw(6, seed=3)
    literal = torch.empty_like(donors)
    for k in range(5):
        for y in range(3):
            for x in range(2):
                if level == "image":
                    change = receivers[k].mean((1, 2)) - donors[k].mean((1, 2))
                    literal[k, :, y, x] = donors[k, :, y, x] + P @ P.T @ change
                else:
                    own, theirs = receivers[k, :, y, x] - mean, donors[k, :, y, x] - mean
                    literal[k, :, y, x] = mean + P @ P.T @ own + (torch.eye(6, dtype=P.dtype) - P @ P.T) @ theirs
    torch.testing.assert_close(interchange_inputs(receivers, donors, P, level), literal)


def test_a_swap_moves_the_mean_spectrum_and_keeps_the_texture(images: Tensor, directions: Tensor) -> None:
    receivers, donors = images, images.roll(1, 0)
    swapped = interchange_inputs(receivers, donors, directions[:, :2])
    coordinates = swapped.mean((2, 3)) @ directions
    torch.testing.assert_close(coordinates[:, :2], receivers.mean((2, 3)) @ directions[:, :2])
    torch.testing.assert_close(coordinates[:, 2:], donors.mean((2, 3)) @ directions[:, 2:])
    torch.testing.assert_close(swapped - swapped.mean((2, 3), keepdim=True), donors - donors.mean((2, 3), keepdim=True))


def test_all_directions_swap_the_whole_spectrum(images: Tensor, directions: Tensor) -> None:
    donors = images.roll(1, 0)
    torch.testing.assert_close(interchange_inputs(images, donors, directions, "pixel"), images)
    torch.testing.assert_close(interchange_inputs(images, donors, directions).mean((2, 3)), images.mean((2, 3)))


def test_integers_and_half_precision_are_swapped_in_float32() -> None:
    receivers, donors = torch.tensor([[9], [1]], dtype=torch.uint8), torch.tensor([[2], [3]], dtype=torch.uint8)
    assert interchange_inputs(receivers, donors, torch.ones(1, 1)).tolist() == [[9.0], [1.0]]
    assert interchange_inputs(receivers.half(), donors.half(), torch.ones(1, 1)).dtype == torch.float16


def test_a_curved_function_of_one_principal_coordinate_has_dimension_one(images: Tensor, directions: Tensor) -> None:
    def model(x: Tensor) -> Tensor:
        t = x.mean((2, 3)) @ directions[:, 0]
        return torch.stack([t.sin(), (2 * t).cos(), (t / 3).tanh(), -t.square() / 50], 1)

    values = dimension(model, images, directions)
    assert values["own/1"] == 1
    assert values["donor/1"] == 0
    assert values["decision_dimension"] == 1


@pytest.mark.parametrize("r", [2, 3, 4])
def test_a_model_of_r_principal_coordinates_has_dimension_r(images: Tensor, directions: Tensor, r: int) -> None:
    weights = torch.diag(1 / torch.tensor([5.0, 4, 3, 2, 1, 0.5], dtype=torch.float64))[:, :r]

    def model(x: Tensor) -> Tensor:
        return 3 * x.mean((2, 3)) @ directions @ weights

    values = dimension(model, images, directions)
    assert values[f"own/{r}"] == 1
    assert values[f"own/{r - 1}"] < 0.9
    assert values["decision_dimension"] == r


@pytest.mark.parametrize("level", ["image", "pixel"])
def test_a_cue_that_the_directions_do_not_hold_follows_the_donor(
    images: Tensor, directions: Tensor, level: str
) -> None:
    def model(x: Tensor) -> Tensor:
        contrast = (x @ torch.tensor([1.0, -1, 1, -1], dtype=x.dtype)).mean(2) @ directions[:, 5]
        return torch.stack([contrast, -contrast], 1)

    values = dimension(model, images, directions[:, :4], level)
    assert values["own/4"] == 0
    assert values["donor/4"] == 1
    assert values["decision_dimension"].isnan()


def test_xor_of_two_coordinates_needs_both(images: Tensor, directions: Tensor) -> None:
    def model(x: Tensor) -> Tensor:
        a, b = (x.mean((2, 3)) @ directions[:, :2]).unbind(1)
        return torch.stack([a * b, -a * b], 1)

    values = dimension(model, images, directions)
    assert values["decision_dimension"] == 2
    assert values["own/1"] < 0.8


def test_grey_digits_repeated_to_rgb_are_healthy_at_image_level_and_hang_on_one_colour() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = torch.tensor(digits.images)[:, None] / 16
    shapes = torch.stack([grey[digits.target == k].mean(0) for k in range(10)])

    def model(x: Tensor) -> Tensor:  # nearest mean shape, whatever the brightness
        centred = (x - x.mean((1, 2, 3), keepdim=True)).flatten(1)
        centres = (shapes - shapes.mean((1, 2, 3), keepdim=True)).expand(-1, 3, -1, -1).flatten(1)
        return centred @ (centres / centres.norm(dim=1, keepdim=True)).T

    rgb = grey.expand(-1, 3, -1, -1)[:300]
    by_image = principal_directions(covariance(moments(rgb.mean((2, 3)))))
    by_pixel = principal_directions(covariance(moments(rgb.movedim(1, -1).flatten(0, 2))))
    at_image, at_pixel = dimension(model, rgb, by_image), dimension(model, rgb, by_pixel, "pixel")
    assert at_image["own/1"] == 0
    assert at_image["donor/1"] == 1
    assert at_pixel["own/1"] == 1


def test_only_pairs_with_different_predictions_count() -> None:
    own, donor = torch.tensor([0, 0, 1, 2]), torch.tensor([1, 0, 0, 1])
    swapped = torch.tensor([[0, 0], [1, 1], [0, 1], [0, 2]])
    counts = count_interchange(own, donor, swapped)
    assert counts.pairs == 3
    assert counts.own.tolist() == [1, 3]
    assert counts.donor.tolist() == [1, 0]


def test_pixels_are_counted_one_by_one() -> None:
    own, donor = draw(3, 4, 5).gt(0).long(), draw(3, 4, 5, seed=1).gt(0).long()
    swapped = draw(3, 4, 5, 2, seed=2).gt(0).long()
    whole = count_interchange(own, donor, swapped)
    flat = count_interchange(own.flatten(), donor.flatten(), swapped.flatten(0, 2))
    assert all(a.equal(b) for a, b in zip(whole, flat, strict=True))


def test_limits_are_wilsons() -> None:
    shares = interchange_shares(InterchangeCounts(torch.tensor([0, 7, 20]), torch.tensor([20, 5, 0]), torch.tensor(20)))
    for k, own in enumerate([0, 7, 20]):
        low, high = proportion_confint(own, 20, method="wilson")
        assert float(shares.own_low[k]) == pytest.approx(max(low, 0), abs=1e-9)
        assert float(shares.own_high[k]) == pytest.approx(min(high, 1), abs=1e-9)


def test_the_threshold_decides_the_dimension() -> None:
    counts = InterchangeCounts(torch.tensor([5, 9, 10]), torch.tensor([5, 1, 0]), torch.tensor(10))
    assert [float(decision_dimension(counts, (1, 2, 4), at)) for at in (0.5, 0.9, 1.0)] == [1, 2, 4]


def test_without_pairs_everything_is_nan_and_says_why() -> None:
    metric = DecisionDimension(ranks=(1, 2))
    metric.update(torch.tensor([1, 2]), torch.tensor([1, 2]), torch.zeros(2, 2, dtype=torch.long))
    values = metric.compute()
    assert values["pairs"] == 0
    assert values["decision_dimension"].isnan()
    assert metric.undefined["own/1"] == "no pair of images with different predictions"


def test_a_dimension_beyond_the_ranks_is_nan_and_says_why() -> None:
    metric = DecisionDimension(ranks=(1,))
    metric.update(torch.tensor([1, 2]), torch.tensor([2, 1]), torch.tensor([[2], [1]]))
    values = metric.compute()
    assert values["own/1"] == 0
    assert metric.undefined == {
        "decision_dimension": "no pair of images with different predictions, or no rank reaches the threshold"
    }


class Noisy(nn.Module):
    """Batch norm and dropout show whether the mode and the random state were kept."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(6, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.LazyLinear(3))

    def forward(self, x: Tensor) -> Tensor:
        torch.rand(1)
        out: Tensor = self.net(x)
        return out


def test_the_model_is_left_as_it_was(images: Tensor, directions: Tensor) -> None:
    x = images[:8].float()
    model = Noisy()
    model(x)
    model.net[1].eval()
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.random.get_rng_state()
    first = interchange(model, x, x.roll(1, 0), directions, ranks=(1, 2), batch_size=3)
    assert first.equal(interchange(model, x, x.roll(1, 0), directions, ranks=(1, 2), batch_size=8))
    assert torch.random.get_rng_state().equal(random)
    assert [module.training for module in model.modules()] == modes
    assert all(value.equal(state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


x, P = torch.zeros(4, 3, 2, 2), torch.eye(3)
BAD_INPUTS = {
    'interchange_inputs: no such level; given \'band\'. Pass "image" or "pixel".': (x, x, P, "band"),
    "interchange_inputs: receivers and donors are no pairs; given receivers (4, 3, 2, 2), donors (3, 3, 2, 2), "
    "directions (3, 3). Pass as many of both, (n b h w) or (n b).": (x, x[:3], P, "image"),
    "interchange_inputs: pixels have no partners; given receivers (4, 3, 2, 2), donors (4, 3, 1, 2), directions (3, 3)."
    ' Pass images of one size, or level="image".': (x, x[:, :, :1], P, "pixel"),
    "interchange_inputs: directions do not fit the channels; given receivers (4, 3, 2, 2), donors (4, 3, 2, 2), "
    "directions (2, 3). Pass one row per channel: (b r).": (x, x, P[:2], "image"),
}


@pytest.mark.parametrize("text", BAD_INPUTS)
def test_swaps_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(InputError) as error:
        interchange_inputs(*BAD_INPUTS[text])
    assert str(error.value) == text


BAD_CALLS = {
    "interchange: directions are no columns; given (3,). Pass (b r).": (P[0], None),
    "interchange: ranks are not there; given (1, 4) of 3 directions. Pass ranks from 1 to 3.": (P, (1, 4)),
    "interchange: directions are not orthonormal; given lengths [2.0, 2.0, 2.0]. Pass orthonormal columns, for example "
    "principal_directions(covariance(moments)).": (2 * P, None),
}


@pytest.mark.parametrize("text", BAD_CALLS)
def test_directions_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(InputError) as error:
        interchange(lambda x: x.mean((2, 3)), x, x, BAD_CALLS[text][0], ranks=BAD_CALLS[text][1])
    assert str(error.value) == text


def test_predictions_of_other_pairs_or_ranks_are_refused() -> None:
    with pytest.raises(InputError) as error:
        DecisionDimension(ranks=(1, 2)).update(torch.zeros(3), torch.zeros(3), torch.zeros(3, 1))
    assert str(error.value) == (
        "DecisionDimension.update: predictions do not belong to the same pairs and ranks; given own (3,), donor (3,), "
        "swapped (3, 1) for ranks (1, 2). Pass one label a pair, and one column per rank: (n), (n) and (n r)."
    )
    for ranks in ((), (0, 1), (2, 1), (1, 1)):
        with pytest.raises(InputError) as error:
            DecisionDimension(ranks=ranks)
        assert str(error.value) == (
            f"DecisionDimension: ranks do not ascend from 1 or more; given {ranks}. "
            "Pass numbers of directions in ascending order, such as (1, 2, 4, 8)."
        )


def test_counts_add_up_under_any_cut() -> None:
    own, donor = draw(40).mul(2).long(), draw(40, seed=1).mul(2).long()
    swapped = draw(40, 2, seed=2).mul(2).long()
    whole = count_interchange(own, donor, swapped)
    cuts = [0, 1, 1, 17, 40]
    parts = [count_interchange(own[a:b], donor[a:b], swapped[a:b]) for a, b in pairwise(cuts)]
    summed = InterchangeCounts(*(torch.stack(column).sum(0) for column in zip(*parts, strict=True)))
    assert all(a.equal(b) for a, b in zip(whole, summed, strict=True))
