"""What the audit warns of, on planted data and on their healthy twins, where it must stay silent."""

import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_failures import audit_data, planted_scene
from lightning_failures.audit import DataAudit, accuracy, compare, trial_accuracy, trial_difference
from lightning_failures.data import PlantedCase
from lightning_failures.functional import training_spread


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
    sick, healthy = audit_rows(rows + 500, target), audit_rows(rows, target)
    (risk,) = sick.risks
    assert (risk.kind, risk.severity) == ("offset_inputs", "high")
    # what it says follows from figures that differ between the two, while what can be read does not
    assert sick.figures["offset_ratio"].low > 200 > 1 > healthy.figures["offset_ratio"].high
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
        ("both", ["one_number_cue"], "One number per image, the total absorbance, gives "),
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
        without = audit.trials["without_mean_spectrum"]
        assert without.value > 0.9
        assert without.low > 0.5 > audit.chance.high
        assert audit.notes["half_slowdown"] == "the mean spectra say no more of the labels than of shuffled ones"


def test_shuffled_labels_are_said_not_to_be_read() -> None:
    rows, target = spectra(n=800)
    audit = audit_rows(rows, target[torch.randperm(800, generator=torch.Generator().manual_seed(0))], steps=20)
    (risk,) = audit.risks
    assert (risk.kind, risk.severity) == ("nothing_reads_labels", "high")
    assert risk.message.startswith("Nothing that was tried reads the labels: the best has 0.")
    assert " After 420 steps a small network has 0." in risk.message


def test_too_few_steps_are_said_to_tell_nothing_and_no_steps_to_have_tried_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(2, (800,), generator=generator)
    signs = torch.randint(2, (800, 1, 1, 1), generator=generator) * 2 - 1
    rows, columns = (torch.tensor([1.0, -1.0]).repeat(4).view(shape) for shape in ((1, 1, 8, 1), (1, 1, 1, 8)))
    stripes = torch.where(target[:, None, None, None] > 0, rows, columns) * signs  # no mean says which way they run
    images = stripes + 0.3 * torch.randn(800, 1, 8, 8, generator=generator)
    (risk,) = audit_rows(images, target, steps=2).risks
    assert (risk.kind, risk.severity) == ("too_few_steps", "moderate")
    assert "that were not enough steps to tell: after 402 a small network has " in risk.message
    assert risk.advice == "Pass steps=402 or more."
    (risk,) = audit_rows(images, target, steps=0).risks
    assert (risk.kind, risk.severity) == ("nothing_reads_labels", "moderate")
    assert risk.message.endswith("No network was tried.")
    assert audit_rows(images, target, steps=150).risks == ()


def held_apart(change: Callable[[Tensor], Tensor]) -> DataAudit:
    """The audit of spectra whose validation part was changed."""
    rows, target = spectra(n=900, channels=6)
    rows = rows + torch.arange(6)
    train, validation = ((part[start:stop] for part in (rows, target)) for start, stop in ((0, 500), (500, 900)))
    images, labels = validation
    return audit_data([tuple(train)], [(change(images), labels)], steps=0)


@pytest.mark.parametrize(
    ("change", "message", "advice"),
    [
        (
            lambda images: images[:, [2, 0, 1, 3, 4, 5]],
            "The channels of validation images stand in another order than those of training images: put into the "
            "order 1, 2, 0, 3, 4, 5, they hold the same, but for ",
            "Read both alike; validation images in the order of training are images[:, [1, 2, 0, 3, 4, 5]].",
        ),
        (
            lambda images: images * torch.tensor([1, 1, 1, 1, 1, 0.0]),
            "Validation images have nothing but 0 in channel 5; training images do not.",
            "Look at how validation images are read.",
        ),
        (
            lambda images: images * 10 + 3,
            "Validation images differ from training images in 6 of 6 channels, most: in channel ",
            "Prepare validation images as training images are prepared, with the same mean and deviation: here, "
            "multiply channel ",
        ),
    ],
    ids=["another order", "an empty channel", "another scale"],
)
def test_validation_images_that_hold_something_else_are_a_risk_with_what_mends_it(
    change: Callable[[Tensor], Tensor], message: str, advice: str
) -> None:
    (risk,) = [risk for risk in held_apart(change).risks if risk.kind == "input_mismatch"]
    assert risk.severity == "high"
    assert risk.message.startswith(message)
    assert risk.advice.startswith(advice)
    json.dumps(risk.to_dict(), allow_nan=False)
    assert [risk for risk in held_apart(lambda images: images).risks if risk.kind == "input_mismatch"] == []


def renamed(change: Callable[[Tensor], Tensor]) -> DataAudit:
    """The audit of spectra whose held-out labels were changed."""
    rows, target = spectra(n=900)
    return audit_data([(rows[:500], target[:500])], [(rows[500:], change(target[500:]))], steps=100)


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (lambda target: (target + 2) % 6, "(6 of 6 classes, each label 2 higher)"),
        (lambda target: torch.tensor([0, 2, 1, 3, 4, 5])[target], "(2 of 6 classes)"),
    ],
)
def test_held_out_labels_of_other_classes_are_the_one_risk_as_in_a_run(
    change: Callable[[Tensor], Tensor], how: str
) -> None:
    audit = renamed(change)
    (risk,) = audit.risks
    assert (risk.kind, risk.severity) == ("label_mismatch", "high")
    assert risk.message.startswith(f"Held-out labels stand for other classes than those of training {how}: ")
    assert risk.evidence["after"].low > risk.evidence["before"].high + 0.1
    assert risk.advice.startswith("Give both data sets one list of classes in one order")


def test_held_out_labels_in_order_are_no_risk() -> None:
    audit = renamed(lambda target: target)
    assert audit.labels is not None
    assert audit.labels.renamed == 0
    assert audit.risks == ()


def test_the_interval_of_a_trial_holds_the_spread_between_trainings() -> None:
    rights = [torch.arange(200) < right for right in (140, 150, 160)]
    spread = training_spread([0.70, 0.75, 0.80])
    own, alone = trial_accuracy(rights, spread), accuracy(rights[1])
    assert own.value == alone.value == 0.75
    reach = spread.reach(0.75, 3)
    assert own.low == pytest.approx(0.75 - ((0.75 - alone.low) ** 2 + reach**2) ** 0.5)
    assert own.high == pytest.approx(0.75 + ((alone.high - 0.75) ** 2 + reach**2) ** 0.5)
    assert reach > 0.08
    apart = trial_difference(rights, [rights[1]], reach)
    assert apart.value == pytest.approx(0.0)
    assert apart.high > reach


def test_the_same_images_but_for_rounding_are_not_told_apart() -> None:
    rows, target = spectra(n=700, channels=12, classes=8)
    nudged = rows * (1 + 1e-6 * torch.randn(rows.shape, generator=torch.Generator().manual_seed(1)))
    audits = [audit_rows(images, target, steps=40) for images in (rows, nudged)]
    assert not any(line.startswith("Different") for line in compare(audits))


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
