"""What the audit says of images that occur more than once."""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor

from lightning_failures import audit_data
from lightning_failures.audit import CopyRecords, DataAudit, print_audits, rows, write_audit


def digits(seed: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and held-out images of digits, of which none occurs twice."""
    found = pytest.importorskip("sklearn.datasets").load_digits()
    images, target = torch.tensor(found.images, dtype=torch.float32)[:, None] / 16, torch.tensor(found.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images[order[:1300]], target[order[:1300]], images[order[1300:]], target[order[1300:]]


def audited(train: Tensor, target: Tensor, held: Tensor, held_target: Tensor, size: int = 100) -> DataAudit:
    loaders = (list(zip(a.split(size), b.split(size), strict=True)) for a, b in ((train, target), (held, held_target)))
    return audit_data(*loaders, steps=0)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_digits_hold_no_copies_and_no_near_copies(seed: int) -> None:
    audit = audited(*digits(seed))
    assert audit.risks == ()
    copies = audit.copies
    assert (copies.held, copies.train) == (497, 1300)
    assert (copies.leaked, copies.repeated, copies.contradicting) == (0, 0, 0)
    assert (copies.train_repeated, copies.train_contradicting) == (0, 0)
    assert copies.near.value <= 0.005


def test_planted_copies_are_counted_and_their_rows_named_under_any_cut() -> None:
    train, target, held, held_target = digits()
    noise = 0.02 * torch.randn(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    held = torch.cat([held, train[:40], train[100:160] + noise, held[:8]])
    held_target = torch.cat([held_target, target[:40], target[100:160], held_target[:8]])
    held_target[497:507] = (held_target[497:507] + 1) % 10  # ten of the copies say otherwise
    audit, other = (audited(train, target, held, held_target, size) for size in (100, 37))
    assert audit.copies == other.copies
    copies = audit.copies
    assert (copies.leaked, copies.repeated, copies.contradicting, copies.train_contradicting) == (40, 8, 10, 10)
    assert copies.rows["leaked"] == tuple((497 + place, place) for place in range(8))
    assert copies.rows["near"] == tuple((537 + place, 100 + place) for place in range(8))
    assert copies.near.value == pytest.approx(60 / 565)
    assert copies.by_chance.value < 0.005
    risks = {risk.kind: risk for risk in audit.risks}
    assert {kind: risk.severity for kind, risk in risks.items()} == {
        "leakage": "moderate",
        "near_copies": "moderate",
        "contradicting_labels": "moderate",
        "repeated_images": "moderate",
    }
    assert risks["leakage"].message == (
        "40 of 605 held-out images (0.07 (0.05 to 0.09)) stand among the training images too, byte for byte: held-out "
        "row 497 is training row 0, 498 is 1, 499 is 2, and more. A network that knows its training images by heart "
        "has these right, and the accuracy tells less of new ones."
    )
    assert (
        "Of the other held-out images 0.11 (0.08 to 0.13) are nearly a training image" in risks["near_copies"].message
    )
    assert risks["contradicting_labels"].message.startswith("10 of 605 held-out images and 10 of 1,300 training images")
    assert risks["repeated_images"].message.startswith("8 of 605 held-out images are equal to an earlier one.")
    json.dumps(audit.to_dict(), allow_nan=False)


def test_a_tenth_of_leaked_images_is_a_high_risk_and_a_few_are_a_fact() -> None:
    train, target, held, held_target = digits()
    many = audited(train, target, torch.cat([held, train[:60]]), torch.cat([held_target, target[:60]]))
    assert [(risk.kind, risk.severity) for risk in many.risks] == [("leakage", "high")]
    few = audited(train, target, torch.cat([held, train[7:9]]), torch.cat([held_target, target[7:9]]))
    assert few.risks == ()
    console = Console(width=110)
    with console.capture() as captured:
        print_audits(console, [few])
    said = " ".join(captured.get().split())
    assert "2 of 499 held-out images are training images too: rows 497, 498." in said
    assert "held-out ones among the training images 2 of 499" in said


def test_a_random_split_of_data_with_copies_is_said_to_put_them_on_both_sides() -> None:
    train, target, _, _ = digits()
    twice = torch.cat([train, train]), torch.cat([target, target])
    audit = audit_data([twice], steps=0)
    (leakage,) = [risk for risk in audit.risks if risk.kind == "leakage"]
    assert leakage.severity == "high"
    assert audit.copies.share.value == pytest.approx(0.7, abs=0.05)
    assert "byte for byte when the split is drawn at random, as here: held-out row " in leakage.message
    held, source = audit.copies.rows["leaked"][0]
    assert abs(held - source) == 1300


def test_blank_images_are_no_copies() -> None:
    train, target, held, held_target = digits()
    blank, labels = torch.full((100, 1, 8, 8), 0.5), torch.arange(100) % 10
    audit = audited(
        torch.cat([train, blank]),
        torch.cat([target, labels]),
        torch.cat([held, blank]),
        torch.cat([held_target, labels]),
    )
    assert (audit.copies.held, audit.copies.train) == (497, 1300)
    assert audit.copies.leaked == audit.copies.contradicting == audit.copies.repeated == 0


def test_images_with_a_label_a_pixel_are_compared_by_their_maps_and_not_for_near_copies() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(60, 3, 6, 6, generator=generator)
    maps = (images.mean(1) > 0.5).long()
    held, held_maps = torch.cat([images[:3], images[40:]]), torch.cat([maps[:3], maps[40:]])
    held_maps[0] = 1 - held_maps[0]
    audit = audit_data([(images[:40], maps[:40])], [(held, held_maps)], steps=0)
    assert (audit.copies.leaked, audit.copies.contradicting) == (3, 1)
    assert audit.copies.near.value != audit.copies.near.value
    assert audit.notes["near copies"].startswith("not looked for")
    assert "near copies of a training image" not in dict(rows([audit])["Images that occur more than once"])


def test_images_without_a_label_count_as_copies_but_contradict_nothing() -> None:
    images = torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    target = torch.arange(30) % 2
    records = CopyRecords()
    unknown = torch.full((30,), -1)
    for side, labels in ((0.0, target), (1.0, unknown)):
        records.add(images, labels, torch.full((30,), side == 1), torch.rand(30), side)
    found = records.find()
    assert (found.leaked, found.contradicting, found.train_contradicting) == (30, 0, 0)


def test_the_page_shows_what_occurs_more_than_once(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    train, target, held, held_target = digits()
    audit = audited(train, target, torch.cat([held, train[:60]]), torch.cat([held_target, target[:60]]))
    page = write_audit(tmp_path, [audit]).read_text(encoding="utf-8")
    assert "Images that occur more than once" in page
    assert "60 of 557" in page
    assert "<strong>Leakage</strong>" in page
