"""What the audit warns of, on planted data and on their healthy twins, where it must stay silent."""

import json

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_failures import audit_data, planted_scene
from lightning_failures.audit import DataAudit
from lightning_failures.data import PlantedCase


def audit_rows(rows: Tensor, target: Tensor, steps: int = 150) -> DataAudit:
    return audit_data(list(zip(rows.split(100), target.split(100), strict=True)), steps=steps)


def spectra(n: int = 2000, channels: int = 24, classes: int = 6) -> tuple[Tensor, Tensor]:
    """Independent channels of deviation about 1, of which six carry the label."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(classes, (n,), generator=generator)
    rows = torch.randn(n, channels, generator=generator)
    rows[:, :classes] += 3 * torch.nn.functional.one_hot(target, classes)
    return rows, target


def rotation(channels: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.linalg.qr(torch.randn(channels, channels, generator=generator))[0]


@pytest.mark.slow
def test_an_offset_is_a_risk_and_its_centred_twin_is_not() -> None:
    rows, target = spectra()
    sick, healthy = audit_rows(rows + 50, target), audit_rows(rows, target)
    (risk,) = sick.risks
    assert (risk.kind, risk.severity) == ("offset_inputs", "high")
    # what it says follows from figures that differ between the two, while what can be read does not
    assert sick.figures["offset_ratio"].low > 20 > 1 > healthy.figures["offset_ratio"].high
    assert sick.trials["as_given"].high + 0.05 < healthy.trials["as_given"].low
    assert sick.differences["standardised - as given"].low > 0.05
    assert sick.rungs["mean_spectrum"].value == pytest.approx(healthy.rungs["mean_spectrum"].value, abs=0.002)
    assert f"{sick.trials['as_given'].value:.2f}" in risk.message
    assert f"{sick.trials['standardised'].value:.2f}" in risk.message
    assert healthy.risks == ()


@pytest.mark.slow
def test_labels_in_small_directions_are_a_risk_and_the_whitened_twin_is_not() -> None:
    rows, target = spectra()
    loud = torch.randn(len(rows), 2, generator=torch.Generator().manual_seed(2))
    sick = audit_rows(torch.cat([1000 * loud, rows], 1) @ rotation(26).T, target)
    healthy = audit_rows(torch.cat([loud, rows], 1) @ rotation(26).T, target)
    (risk,) = sick.risks
    assert (risk.kind, risk.severity) == ("label_in_small_directions", "high")
    assert risk.message.startswith("2 of 26 directions hold 95% of the variance of the mean spectra")
    assert sick.main == 2 < healthy.main
    assert sick.figures["half_slowdown"].low > 1e5
    assert healthy.figures["half_slowdown"].high < 10
    assert sick.differences["linear - main directions"].low > 0.15
    assert healthy.risks == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "kinds", "says"),
    [
        ("complex", [], ""),
        ("both", ["one_number_cue"], "One number an image, the total absorbance, gives "),
    ],
)
def test_the_planted_thickness_is_named_and_its_twin_without_it_is_clean(
    case: PlantedCase, kinds: list[str], says: str
) -> None:
    scene = planted_scene(case, seed=0, images=768, validation=400, channels=16, size=12)
    loaders = DataLoader(scene.train, 128), DataLoader(scene.validation, 128)
    audit = audit_data(*loaders, wavelengths=scene.wavenumbers, unit="cm-1", steps=150)
    risks = {risk.kind: risk.message for risk in audit.risks}
    offset = risks.pop("offset_inputs", None)  # absorbance is not centred, so that this may stand too
    assert list(risks) == kinds
    if kinds:
        assert says in risks["one_number_cue"]
        assert risks["one_number_cue"].endswith("more is there, which a network may never look for.")
        assert audit.rungs["total_absorbance"].low > 0.9
    else:
        assert offset is None
        assert audit.rungs["mean_spectrum"].low < audit.chance.high
        assert audit.trials["without_mean_spectrum"].low > 0.9
        assert audit.notes["half_slowdown"] == "the mean spectra say no more of the labels than of shuffled ones"


def test_shuffled_labels_are_said_not_to_be_read() -> None:
    rows, target = spectra(n=800)
    audit = audit_rows(rows, target[torch.randperm(800, generator=torch.Generator().manual_seed(0))], steps=20)
    (risk,) = audit.risks
    assert (risk.kind, risk.severity) == ("nothing_reads_labels", "high")
    assert risk.message.startswith("Nothing that was tried reads the labels: the best has 0.")


def test_without_a_trial_what_the_figures_alone_say_is_moderate() -> None:
    rows, target = spectra()
    loud = torch.randn(len(rows), 2, generator=torch.Generator().manual_seed(2))
    both = torch.cat([1000 * loud, rows], 1) @ rotation(26).T + 5000
    risks = audit_rows(both, target, steps=0).risks
    assert [(risk.kind, risk.severity) for risk in risks] == [
        ("offset_inputs", "moderate"),
        ("label_in_small_directions", "moderate"),
    ]
    assert risks[0].message.endswith("No network was tried on it.")
    assert "A small network" not in risks[1].message
    json.dumps([risk.to_dict() for risk in risks], allow_nan=False)
    assert audit_rows(rows, target, steps=0).risks == ()


def test_grey_digits_in_colour_are_healthy() -> None:
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None].expand(-1, 3, -1, -1) / 16
    audit = audit_rows(images, torch.tensor(digits.target), steps=100)
    assert audit.risks == ()
    assert audit.trials["shapes_only"].low > 0.8
    assert audit.trials["spectra_only"].high < 0.3
    assert audit.trials["without_first_component"].value == pytest.approx(audit.chance.value, abs=0.05)  # nothing left
