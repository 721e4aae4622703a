"""An error of a lower floor names whom the user called: the monitor, or the function itself."""

from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn

from lightning_failures import (
    ChannelAttributionMonitor,
    CollapseMonitor,
    FactorErrorMonitor,
    FactorTable,
    PerturbationMonitor,
    Probe,
    attribute_channels,
    failure_monitors,
    interchange,
)
from lightning_failures.errors import FailuresError, FailuresWarning
from lightning_failures.functional import target_scores
from lightning_failures.spectrum import spectral_axis
from tests.networks import Bent, batch
from tests.runs import Classifier, fit


def said_by(callbacks: list[Callback]) -> str:
    with pytest.raises(FailuresError) as caught:
        fit(callbacks, epochs=1)
    return str(caught.value)


@pytest.mark.parametrize("kind", [FactorErrorMonitor, CollapseMonitor])
def test_factors_that_are_not_there_name_the_monitor_that_was_given_them(kind: Any) -> None:
    assert said_by([kind(factors=["fog"], on_error="raise")]) == (
        f"{kind.__name__}(factors=...): the batch does not hold the factors; given no field 'fog', and 0 integer or "
        "bool tensors of shape (8, 1). Name where they are, factors='meta.factors' with names=[...], or pass a "
        "FactorTable of the dataset's rows."
    )


def test_ids_that_are_not_there_name_the_monitor_that_was_given_them() -> None:
    table = FactorTable(("a",), torch.ones(2, 1, dtype=torch.bool), ids=("x", "y"))
    assert said_by([FactorErrorMonitor(table, ids="file", on_error="raise")]).startswith(
        "FactorErrorMonitor(ids=...): the field 'file' is not there; given a list with '0', '1'."
    )


def test_layers_that_are_not_there_name_who_asked_for_them() -> None:
    told = "no submodule is called 'neck'; given a module with net, net.0, net.1 and 5 more. "
    told += "Name submodules as module.named_modules() lists them."
    assert said_by([CollapseMonitor("neck", on_error="raise")]) == f"CollapseMonitor(layers=...): {told}"
    with pytest.raises(FailuresError) as caught:
        Probe(layers="neck").attach(Classifier(), object())
    assert str(caught.value) == f"Probe(layers=...): {told}"


def test_layers_that_the_step_does_not_call_or_that_give_no_rows_name_who_asked_for_them() -> None:
    module = Classifier()
    module.spare = nn.Linear(2, 2)
    with pytest.raises(FailuresError) as caught:
        fit([CollapseMonitor("spare", on_error="raise")], module, epochs=1)
    assert str(caught.value).startswith(
        "CollapseMonitor: the layer 'spare' was called 0 times in one step; given calls of"
    )


@pytest.mark.parametrize(("field", "value"), [("inputs", "picture"), ("targets", "lable"), ("logits", "scores")])
def test_fields_that_are_not_there_name_who_was_given_them(field: str, value: str) -> None:
    class Named(Classifier):
        def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
            return {"loss": super().validation_step(batch, batch_idx)}

    options: dict[str, Any] = {field: value, "on_error": "raise"}
    for monitors, name in (
        ([CollapseMonitor(**options)], "CollapseMonitor"),
        (failure_monitors(**options), "failure_monitors"),
        ([CollapseMonitor(probe=Probe(**{field: value}), on_error="raise")], "Probe"),
    ):
        with pytest.raises(FailuresError) as caught:
            fit(monitors, Named(), epochs=1)
        assert str(caught.value).startswith(f"{name}({field}=...): the field {value!r} is not there; given a ")


def test_a_baseline_that_does_not_fit_names_who_was_given_it() -> None:
    inputs, targets = torch.rand(4, 6, 5, 5), torch.tensor([0, 1, 2, 0])
    advice = "Give one value per channel, one image, or as many images as there are inputs."
    with pytest.raises(FailuresError) as caught:
        attribute_channels(Classifier().net, inputs, targets, baseline=torch.ones(4))
    assert str(caught.value) == (
        f"attribute_channels: the baseline does not fit the inputs; given baseline (4,), inputs (4, 6, 5, 5). {advice}"
    )
    assert said_by([ChannelAttributionMonitor(baseline=torch.ones(4), on_error="raise")]) == (
        "ChannelAttributionMonitor: the baseline does not fit the inputs; given baseline (4,), inputs (30, 6, 5, 5). "
        + advice
    )


def test_wavelengths_that_do_not_fit_name_who_was_given_them() -> None:
    inputs, targets = batch()
    told = "wavelengths are not strictly monotone; given 2 then 2 at channel 1. "
    told += "Sort the channels along the axis, and leave out repeated ones."
    for where, call in (
        ("attribute_channels", lambda: attribute_channels(Bent(), inputs, targets, wavelengths=[1, 2, 2, 3, 4, 5])),
        ("ChannelAttributionMonitor", lambda: ChannelAttributionMonitor([1, 2, 2, 3, 4, 5])),
        ("spectral_axis", lambda: spectral_axis([1, 2, 2, 3, 4, 5])),
    ):
        with pytest.raises(FailuresError) as caught:
            call()
        assert str(caught.value) == f"{where}: {told}"


def test_targets_that_do_not_fit_name_who_was_given_them() -> None:
    for where, call in (
        ("attribute_channels", lambda: attribute_channels(nn.Linear(3, 2), torch.rand(4, 3), torch.zeros(4, 5).long())),
        ("target_scores", lambda: target_scores(torch.rand(4, 2), torch.zeros(4, 5).long())),
    ):
        with pytest.raises(FailuresError) as caught:
            call()
        assert str(caught.value).startswith(f"{where}: logits and targets do not belong together; given logits (4, ")


def test_a_model_without_logits_or_gradients_names_who_ran_it() -> None:
    class Boxes(nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, int]:
            return {"boxes": 1}

    images, donors = torch.rand(2, 3), torch.rand(2, 3)
    for where, call in (
        ("attribute_channels", lambda: attribute_channels(Boxes(), images, None)),
        ("interchange", lambda: interchange(Boxes(), images, donors, torch.eye(3))),
    ):
        with pytest.raises(FailuresError) as caught:
            call()
        assert str(caught.value).startswith(f"{where}: the model returns no logits; given a dict with boxes. ")


def test_warnings_of_attribution_name_who_asked() -> None:
    inputs, targets = batch()
    for where in ("attribute_channels", "ChannelAttributionMonitor"):
        with pytest.warns(FailuresWarning, match=f"^{where}: integrated gradients miss "):
            attribute_channels(Bent(), inputs, targets, "integrated_gradients", draws=1, where=where)


def test_raw_units_and_perturbations_name_who_was_given_them() -> None:
    with pytest.raises(FailuresError, match=r"^PerturbationMonitor: there is no such perturbation; given fog\."):
        PerturbationMonitor(["fog"])
    assert said_by([PerturbationMonitor(denormalize=torch.exp, on_error="raise")]).startswith(
        "PerturbationMonitor: denormalize is not one scale and shift for each channel; given inputs (30, 6, 5, 5) to "
    )
