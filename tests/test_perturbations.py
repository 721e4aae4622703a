import pytest
import torch

from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.interventions import PERTURBATIONS, RawUnits, perturbations

IMAGES = torch.rand(3, 5, 12, 10, generator=torch.Generator().manual_seed(0)) + 0.1


def perturb(name, images=IMAGES, units=None):
    return perturbations([name], units)[name](images)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_each_changes_the_images_keeps_their_shape_and_draws_no_random_number(name):
    before, state = IMAGES.clone(), torch.get_rng_state()
    changed = perturb(name)
    assert changed.shape == IMAGES.shape
    assert not torch.allclose(changed, IMAGES)
    assert bool(changed.isfinite().all())
    assert torch.equal(perturb(name), changed)
    assert torch.equal(IMAGES, before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_each_takes_one_channel_and_small_images(name):
    assert perturb(name, torch.rand(2, 1, 5, 5)).shape == (2, 1, 5, 5)


@pytest.mark.parametrize("name", ["pose", "smaller", "larger", "partial_view", "object_blocking", "blur"])
def test_a_uniform_image_has_no_place_to_change(name):
    uniform = torch.full((2, 3, 8, 8), 0.4)
    torch.testing.assert_close(perturb(name, uniform), uniform)


def test_light_is_multiplied_in_raw_units_where_the_inputs_are_standardised():
    units = RawUnits(torch.tensor([0.5, 1, 2, 1, 1]), torch.tensor([0.2, 0, 0, 1, 0]))
    darker = perturb("darker", units.to_inputs(IMAGES), units)
    torch.testing.assert_close(units.to_raw(darker), 0.5 * IMAGES)
    torch.testing.assert_close(perturb("brighter"), 1.5 * IMAGES)


def test_a_turn_of_a_disc_leaves_its_centre():
    images = torch.zeros(1, 1, 11, 11)
    images[0, 0, 5, 5] = 1.0
    assert perturb("pose", images)[0, 0, 5, 5] == pytest.approx(1.0, abs=1e-5)


def test_zooming_in_shows_the_middle_alone():
    images = torch.zeros(1, 1, 9, 9)
    images[..., 2:7, 2:7] = 1.0
    assert perturb("larger", images).min() > 0.99
    assert perturb("smaller", images).mean() < images.mean()


def test_an_unknown_name_lists_those_that_there_are():
    with pytest.raises(UnknownNameError) as error:
        perturbations(["fog"])
    assert str(error.value) == (
        "perturbations: there is no such perturbation; given fog. Use some of brighter, darker, pose, smaller, larger, "
        "partial_view, object_blocking, color, blur."
    )


def test_a_name_twice_and_inputs_that_are_no_images_are_errors():
    with pytest.raises(InputError, match=r"a name stands twice; given blur, blur\. Name each one once\."):
        perturbations(["blur", "blur"])
    with pytest.raises(InputError, match=r"inputs are no images; given \(3, 5\)\. Use them on images \(n b h w\)\."):
        perturb("blur", torch.zeros(3, 5))
