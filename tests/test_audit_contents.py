"""What can carry the label: the audit's table of contents, alone and without, on planted data."""

import io
import json
from typing import Any

import pytest
import torch
from rich.console import Console
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F

from lightning_failures import audit_data
from lightning_failures.audit import DataAudit, Sample, carriers, content_rows, contents_right, facts, print_audits
from lightning_failures.functional import content_descriptor

CLASSES = 4
TINT = torch.tensor([[1.0, 0.5, 0.5], [0.5, 1.0, 0.5], [0.5, 0.5, 1.0], [0.7, 0.7, 0.6]])


def scenes(n: int = 700, channels: int = 3, height: int = 12, width: int = 11) -> tuple[Tensor, Tensor]:
    """Grey blobs, whose classes say nothing of them, with some noise."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(CLASSES, (n,), generator=generator)
    blob = F.interpolate(torch.rand(n, 1, 3, 3, generator=generator), (height, width), mode="bilinear")
    return 0.5 + blob.expand(n, channels, height, width).clone(), target


def noisy(images: Tensor) -> Tensor:
    return images + 0.05 * torch.rand(images.shape, generator=torch.Generator().manual_seed(1))


def audited(images: Tensor, target: Tensor, steps: int = 0, **options: Any) -> DataAudit:
    return audit_data(list(zip(images.split(100), target.split(100), strict=True)), steps=steps, **options)


def without(audit: DataAudit, content: str) -> float:
    rest = audit.contents[content].without
    assert rest is not None
    return rest.value


def test_where_the_colour_is_the_label_the_audit_says_so_and_that_nothing_else_was_found() -> None:
    images, target = scenes()
    audit = audited(noisy(images * TINT[target][:, :, None, None]), target)
    assert audit.poor_content == "colour"
    colour = audit.contents["colour"].alone
    assert colour.value > 0.97
    assert colour.low < colour.value <= colour.high
    assert without(audit, "colour") < 0.4
    (said,) = [fact for fact in facts(audit) if fact.startswith("The colour alone gives 1.00 of the 1.00")]
    assert "a network may lean on it" in said
    assert "little else was found" in said
    assert said.endswith("a run says: failures/simplicity/transplant/colour.")


def test_where_more_than_the_cue_is_there_the_audit_says_that_more_can_be_had() -> None:
    digits = load_digits()
    target = torch.tensor(digits.target)
    images = 0.3 * torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    planted = images - images.mean((1, 2, 3), keepdim=True) + 0.1 * target[:, None, None, None]
    audit = audited(planted, target, steps=30)
    assert audit.poor_content == "level"
    assert audit.contents["level"].alone.value == 1
    assert without(audit, "level") > 0.85
    assert audit.trials["without_level"].value > 0.3
    (said,) = [fact for fact in facts(audit) if fact.startswith("The level alone gives")]
    assert "in a linear model and" in said
    assert "more can be had, which a network may never look for" in said


def test_of_healthy_digits_no_poor_content_is_named_and_the_level_alone_is_near_chance() -> None:
    digits = load_digits()
    audit = audited(torch.tensor(digits.images, dtype=torch.float32)[:, None], torch.tensor(digits.target))
    assert audit.contents["level"].alone.value < 0.25
    assert audit.contents["centre"].alone.value > 0.8
    assert audit.whole is not None
    assert audit.whole.value > 0.9
    assert audit.poor_content is None
    assert not any("may lean on it" in fact for fact in facts(audit))
    assert audit.notes["not looked at alone, colour, channel"] == "the images have one channel"


def test_where_one_channel_of_64_is_the_label_it_is_named_by_its_wavelength() -> None:
    images, target = scenes(channels=64, height=5, width=7)
    images = noisy(images)
    images[:, 41] += 0.5 * target[:, None, None] - images[:, 41].mean((1, 2), keepdim=True)
    audit = audited(images, target, wavelengths=range(400, 1040, 10), unit="nm")
    assert audit.poor_content == "channel 810 nm"
    assert audit.contents["channel 810 nm"].alone.value == 1
    single = [kind for kind in audit.contents if kind.startswith("channel ")]
    assert len(single) == 64
    assert sum(audit.contents[kind].without is not None for kind in single) == 3
    assert any(fact.startswith("The mean of channel 810 nm alone gives 1.00") for fact in facts(audit))
    names = [name for name, _ in carriers([audit])]
    assert sum(name.startswith("channel ") for name in names) == 3
    assert "channel 810 nm" in names


def test_a_mark_at_the_border_is_named_as_the_border() -> None:
    images, target = scenes(channels=1, height=15, width=13)
    images[torch.arange(len(images)), :, 0, 3 * target] = 2
    audit = audited(noisy(images), target)
    assert audit.poor_content == "border"
    assert audit.contents["border"].alone.value > 0.97
    assert audit.contents["centre"].alone.value < 0.4
    assert without(audit, "border") < 0.4
    assert without(audit, "centre") > 0.9


def test_where_a_smaller_content_tells_too_a_network_is_tried_without_the_one_that_leaves_nothing() -> None:
    target = torch.arange(600) % 4
    images = F.pad(0.3 * torch.rand(600, 4, 8, 8, generator=torch.Generator().manual_seed(1)), (2, 2, 2, 2))
    images[torch.arange(600), :, 0, 3 * target] = 3
    audit = audited(images, target, steps=5)
    assert audit.poor_contents == ("texture", "border")
    assert without(audit, "texture") == 1
    border = audit.contents["border"].without
    assert border is not None
    assert border.low <= audit.chance.value
    assert audit.open_contents == ("texture", "border")
    assert {"without_texture", "without_border"} <= audit.trials.keys()
    assert audit.trials["without_border"].value < 0.4


def test_labels_that_say_nothing_name_no_content() -> None:
    images, target = scenes()
    audit = audited(noisy(images), target)
    assert audit.poor_content is None
    assert all(reading.alone.low < audit.chance.high for reading in audit.contents.values())


@pytest.mark.parametrize(
    ("shape", "looked", "notes"),
    [
        (
            (5,),
            ["level", "colour"],
            {
                "channel statistics": "the inputs have no pixels over which a channel deviates",
                "texture, border, low frequencies, centre": "the inputs are no images (n b h w)",
            },
        ),
        (
            (3, 2, 9),
            ["level", "colour", "channel_statistics", "texture", "low_frequencies"],
            {"border, centre": "a side of the images has fewer than three pixels, so that they are all border"},
        ),
    ],
)
def test_contents_that_inputs_cannot_have_are_left_out_with_the_reason(
    shape: tuple[int, ...], looked: list[str], notes: dict[str, str]
) -> None:
    _, target = scenes(n=200)
    inputs = torch.rand(200, *shape, generator=torch.Generator().manual_seed(0))
    audit = audited(inputs, target)
    assert [kind for kind in audit.contents if not kind.startswith("channel ")] == looked
    said = {name: why for name, why in audit.notes.items() if name.startswith("not looked at alone, ")}
    assert said == {f"not looked at alone, {kinds}": why for kinds, why in notes.items()}


def test_standardised_images_have_a_colour_once_raw_units_are_given() -> None:
    images, target = scenes()
    planted = noisy(images * TINT[target][:, :, None, None])
    mean, deviation = planted.mean((0, 2, 3), keepdim=True)[0], planted.std((0, 2, 3), keepdim=True)[0]
    blind = audited((planted - mean) / deviation, target)
    assert "colour" not in blind.contents
    why = "the images hold values below 0, which are no light; pass denormalize"
    assert blind.notes["not looked at alone, colour"] == why
    raw = audited((planted - mean) / deviation, target, denormalize=lambda x: x * deviation + mean)
    assert raw.contents["colour"].alone.value > 0.97
    assert without(raw, "colour") < 0.4


def test_where_each_pixel_has_a_label_contents_of_a_pixel_are_looked_at() -> None:
    images, target = scenes(n=60)
    images = noisy(images * TINT[target][:, :, None, None])
    audit = audited(images, target[:, None, None].expand(60, 12, 11))
    assert audit.contents["colour"].alone.value > 0.97
    assert audit.notes["not looked at alone, channel statistics, texture, border, low frequencies, centre"] == (
        "each pixel has a label of its own"
    )


def test_large_images_and_images_of_several_sizes_are_described() -> None:
    images, target = scenes(n=300, height=24, width=40)
    planted = noisy(images * TINT[target][:, :, None, None])
    parts = [planted[:100], F.interpolate(planted[100:200], (33, 21)), F.interpolate(planted[200:], (300, 290))]
    audit = audit_data(list(zip(parts, target.split(100), strict=True)), steps=0)
    assert audit.contents["colour"].alone.value > 0.95
    assert audit.contents["border"].alone.value > 0.9


def test_what_is_kept_of_a_channel_is_its_descriptor() -> None:
    images, _ = scenes(n=8)
    rows = content_rows(noisy(images))
    for channel in range(3):
        assert torch.allclose(
            rows["content channels"][:, [channel]], content_descriptor(noisy(images), f"channel {channel}")
        )
    assert "content channels" not in content_rows(torch.rand(2, 65, 4, 4))


def test_of_a_content_that_is_the_same_in_all_images_nothing_but_chance_is_read() -> None:
    images, target = scenes(n=300)
    images -= images.mean((1, 2, 3), keepdim=True)
    rows = {"images": images, "target": target} | content_rows(images)
    found = contents_right(rows, rows, CLASSES, (3, 12, 11))
    most = int(target.bincount().max())
    assert int(found.alone["level"].sum()) == most


def test_the_table_is_on_the_console_in_the_summary_and_on_the_page(tmp_path: Any) -> None:
    images, target = scenes(n=300)
    audits = [
        audited(noisy(images * TINT[target][:, :, None, None]), target, name="tinted"),
        audited(noisy(images[:, :1]), target, name="grey"),
    ]
    console = Console(width=120, record=True, file=io.StringIO())
    print_audits(console, audits)
    said = console.export_text()
    for word in ("What can carry the label", "tinted: from it alone", "without it", "colour: shares of the channels"):
        assert word in said
    summary = json.loads(json.dumps(audits[0].to_dict(), allow_nan=False))
    assert summary["contents"]["colour"]["alone"]["value"] > 0.97
    assert summary["contents"]["colour"]["without"]["value"] < 0.5
    assert set(summary["whole_image"]) == {"value", "low", "high"}
    table = dict(carriers(audits))
    assert table["colour: shares of the channels"][1] is None
    assert table["the whole image"][0] is not None
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    from lightning_failures.audit import write_audit

    page = write_audit(tmp_path, audits).read_text(encoding="utf-8")
    assert "What can carry the label" in page
    assert "means and deviations of channels" in page
    assert page.count("from it alone</th>") == 2


def test_a_sample_says_which_rows_it_would_keep() -> None:
    sample = Sample(3)
    sample.add(torch.tensor([0.5, 0.2]), {"number": torch.tensor([5, 2])})
    more = torch.tensor([0.9, 0.3, 0.6])
    assert sample.keeps(more).tolist() == [False, True, False]
    sample.add(more, {"number": torch.tensor([9, 3, 6])})
    assert sample.rows["number"].tolist() == [2, 3, 5]
    assert sample.keeps(torch.tensor([0.1, 0.9, 0.0, 0.2])).tolist() == [True, False, True, False]
