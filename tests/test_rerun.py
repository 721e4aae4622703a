import warnings

import pytest
import torch
from torch import nn

from lightning_failures import interchange
from lightning_failures.errors import DiscoveryError
from lightning_failures.interventions import predict_changed
from lightning_failures.observe import ReferenceBatch, check_rerun, donor_rows, mean_spectra, rerun

IMAGES = torch.rand(10, 3, 4, 4)


def net():
    return nn.ModuleDict({"net": nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.Dropout(0.5))}).eval()


def test_the_model_runs_again_in_chunks_with_the_same_logits():
    module = net()
    run = rerun(module, module["net"], chunk=3)
    logits = module["net"](IMAGES).detach()
    check_rerun(run, IMAGES, logits, module)
    torch.testing.assert_close(run(IMAGES), logits)


def test_running_again_draws_from_a_copy_of_the_random_state_and_keeps_no_graph():
    module = net().train()
    before = torch.get_rng_state()
    output = rerun(module, module["net"])(IMAGES)
    assert torch.equal(torch.get_rng_state(), before)
    assert not output.requires_grad
    assert module["net"].training


class Writing(nn.Module):
    """A model that writes to its buffers, to its input and to its modes."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(1))
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        self.calls += 1
        self.last = x.detach()[0]
        return self.layer(x.mul_(2).flatten(2).mean(2) if x.ndim > 2 else x.mul_(2)) + 0 * torch.rand(())


RUNS = {
    "rerun": lambda module, x: rerun(module, module["net"], chunk=3)(x),
    "predict_changed": lambda module, x: predict_changed(module["net"], x, {"as it is": lambda images: images}, 3),
    "interchange": lambda module, x: interchange(module["net"], x, x.roll(1, 0), torch.eye(3)),
}


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("name", RUNS)
def test_running_again_leaves_buffers_inputs_modes_and_random_state_as_they_were(name, context):
    module = nn.ModuleDict({"net": Writing()}).train()
    module["net"].layer.eval()  # a mixture of modes, as of a frozen layer
    with context():
        inputs, before, buffers = torch.rand(7, 3), torch.get_rng_state(), dict(module.named_buffers())
        values = inputs.clone()
        found = RUNS[name](module, inputs)
        assert torch.equal(inputs, values)
    assert not found.requires_grad
    assert torch.equal(torch.get_rng_state(), before)
    assert all(value is buffers[name] for name, value in module.named_buffers())
    assert float(module["net"].calls) == 0
    assert (module["net"].training, module["net"].layer.training) == (True, False)


def test_a_module_runs_again_in_the_mode_in_which_it_is():
    module = nn.ModuleDict({"net": nn.Dropout(0.5)}).train()
    assert bool((rerun(module, module["net"])(torch.ones(100, 1)) == 0).any())
    assert bool((rerun(module.eval(), module["net"])(torch.ones(100, 1)) == 1).all())


def test_a_module_runs_again_in_the_precision_of_its_step():
    module = net()
    logits = rerun(module, module["net"], lambda: torch.autocast("cpu", torch.bfloat16))(IMAGES)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, logits.bfloat16().float())
    assert not torch.equal(logits, rerun(module, module["net"])(IMAGES))


def test_a_function_runs_again_without_modes_or_buffers():
    preds = predict_changed(lambda x: x, torch.tensor([[0.0, 1.0], [3.0, 2.0]]), {"twice": lambda x: 2 * x})
    assert preds.tolist() == [[1], [0]]


def test_script_modules_run_again_and_what_they_write_is_put_back():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates them; users' old modules hold some
        norm = torch.jit.script(nn.BatchNorm2d(3))
    module = nn.Sequential(norm, nn.Flatten()).train()
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    assert rerun(module, None)(IMAGES).shape == (10, 48)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    assert norm.training


@pytest.mark.parametrize(
    ("logits", "given"),
    [
        (torch.zeros(10, 4), "outputs (10, 5) against logits (10, 4)"),
        (torch.full((10, 5), 9.0), "of the largest logit apart"),
    ],
)
def test_a_forward_that_gives_something_else_is_refused(logits, given):
    module = net()
    with pytest.raises(DiscoveryError) as error:
        check_rerun(rerun(module, module["net"]), IMAGES, logits, module)
    assert given in str(error.value)
    assert str(error.value).endswith(
        "Give the module a forward(inputs) that returns its logits, so that it can be run on changed inputs."
    )


def test_the_reference_batch_is_spread_over_all_batches_and_fixed():
    batch = ReferenceBatch(6)
    batch.begin(3)
    for start in (0, 10, 20, 30):
        rows = torch.arange(start, start + 10.0)[:, None]
        batch.add(rows, rows)
    assert batch.fix()
    assert batch.inputs.squeeze(1).tolist() == [0, 9, 10, 19, 20, 29]
    batch.begin(3)
    batch.add(torch.full((10, 1), 7.0), torch.zeros(10, 1))
    assert not batch.fix()
    assert batch.inputs.squeeze(1).tolist() == [0, 9, 10, 19, 20, 29]


def test_a_loader_of_unknown_length_gives_its_first_images():
    batch = ReferenceBatch(4)
    batch.begin(float("inf"))
    batch.add(torch.arange(3.0)[:, None], torch.zeros(3, 1))
    batch.add(torch.arange(3.0, 9.0)[:, None], torch.zeros(6, 1))
    batch.fix()
    assert len(batch.inputs) == 4


def test_with_more_batches_than_images_the_batches_are_spread_too():
    batch = ReferenceBatch(4)
    batch.begin(10)
    for value in range(10):
        batch.add(torch.full((3, 2), float(value)), torch.zeros(3, 2))
    assert batch.fix()
    assert batch.inputs[:, 0].tolist() == [0, 2, 5, 7]


def test_donors_predict_something_else_where_anything_does():
    predictions = torch.randint(0, 3, (50,))
    donors = donor_rows(predictions)
    assert bool((predictions[donors] != predictions).all())
    assert donor_rows(torch.zeros(4, dtype=torch.long)).tolist() == [0, 1, 2, 3]


def test_mean_spectra_average_every_axis_after_the_channels():
    torch.testing.assert_close(mean_spectra(IMAGES), IMAGES.mean((2, 3)))
    torch.testing.assert_close(mean_spectra(IMAGES.flatten(2)), IMAGES.mean((2, 3)))
    assert torch.equal(mean_spectra(torch.ones(2, 7)), torch.ones(2, 7))
    with pytest.raises(ValueError, match=r"inputs have no channel axis; given \(7,\)"):
        mean_spectra(torch.ones(7))


def test_a_batch_of_large_images_is_restricted_and_still_spread():
    batch = ReferenceBatch(100)
    batch.begin(batches=5)
    batch.restrict(10)
    for first in range(0, 20, 4):
        rows = torch.arange(first, first + 4).float()[:, None]
        batch.add(rows, rows)
    batch.restrict(200)
    assert batch.fix()
    assert batch.inputs.flatten().tolist() == [0, 3, 4, 7, 8, 11, 12, 15, 16, 19]


def spoilt(rows):
    images = IMAGES.clone()
    images[rows, 0, 0, 0] = torch.nan
    return images


@pytest.mark.parametrize("rows", [[3], list(range(10))])
def test_logits_that_are_not_finite_come_again_where_they_are_so_again(rows):
    module, images = net(), spoilt(rows)
    logits = module["net"](images).detach()
    assert bool(logits.isnan().any())
    check_rerun(rerun(module, module["net"]), images, logits, module)


def test_weights_that_are_not_finite_give_the_same_logits_again():
    module = net()
    with torch.no_grad():
        module["net"][1].weight[0] = torch.inf
        module["net"][1].weight[1, 0] = torch.nan
    logits = module["net"](IMAGES).detach()
    assert all(bool(each.any()) for each in (logits.isinf(), logits.isnan(), logits.isfinite()))
    check_rerun(rerun(module, module["net"]), IMAGES, logits, module)
    logits[0, 0] = 0.5
    with pytest.raises(DiscoveryError, match="outputs that are finite where the logits are NaN or infinite, or the"):
        check_rerun(rerun(module, module["net"]), IMAGES, logits, module)


def test_an_image_that_is_not_finite_is_named_where_it_changes_the_logits_of_others():
    class Centred(nn.Module):
        def forward(self, x):
            return (x - x.mean(0)).flatten(1)[:, :5]

    module = nn.ModuleDict({"net": Centred()}).eval()
    logits = module["net"](spoilt([2]))
    with pytest.raises(DiscoveryError) as error:
        check_rerun(rerun(module, module["net"]), spoilt([2]), logits, module)
    assert str(error.value) == (
        "rerun: the step's logits do not come again, since there are images that hold NaN or infinity; given 1 such "
        "images of 10. "
        "Leave them out of the dataset, or fill them in: torch.isfinite(image).all() tells which they are."
    )


def test_another_forward_is_refused_beside_an_image_that_is_not_finite_too():
    module, images = net(), spoilt([3])
    with pytest.raises(DiscoveryError, match=r"does not give the step's logits back; given outputs that are .* of the"):
        check_rerun(rerun(module, module["net"]), images, module["net"](images).detach() + 9, module)


def test_a_reference_batch_knows_which_of_its_images_are_finite():
    batch = ReferenceBatch(4)
    batch.begin(1)
    batch.add(spoilt([0]), torch.zeros(10, 1))
    assert batch.finite is None
    batch.fix()
    assert batch.finite.tolist() == [False, True, True, True]
