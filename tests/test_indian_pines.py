"""The Indian Pines scene: two parts that share no pixel, lazily cut patches, factors from the scene."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_failures import load_indian_pines
from lightning_failures.data import CLASS_NAMES, IndianPines, Patches
from lightning_failures.errors import InputError, MissingPackageError

pytest.importorskip("tensorly")


@pytest.fixture(scope="module")
def scene() -> IndianPines:
    return load_indian_pines()


@pytest.fixture(scope="module")
def source() -> tuple[Tensor, Tensor]:
    """Spectra (h w b) by ascending wavelength, and labels (h w), of what tensorly ships."""
    from tensorly.datasets import load_indian_pines as read

    bunch = read()
    order = sorted(range(200), key=lambda band: bunch.ticks[1][band])
    return torch.as_tensor(bunch.tensor)[..., order], torch.as_tensor(bunch.ticks[0]).long()


def test_every_labelled_pixel_is_in_one_part_with_its_class(scene: IndianPines, source: tuple[Tensor, Tensor]) -> None:
    _, labels = source
    centres = torch.cat([part.pixels[:, 4, 4] for part in (scene.train, scene.validation)])
    assert sorted(centres.tolist()) == labels.flatten().nonzero().flatten().tolist()
    assert torch.equal(torch.cat([scene.train.labels, scene.validation.labels]), labels.flatten()[centres] - 1)
    assert len(centres) == 10249


@pytest.mark.parametrize(("size", "block"), [(9, 16), (15, 8), (5, 29)])
def test_no_pixel_of_the_scene_is_in_both_parts(size: int, block: int) -> None:
    scene = load_indian_pines(size=size, block=block)
    assert not set(scene.train.pixels.flatten().tolist()) & set(scene.validation.pixels.flatten().tolist())


def test_a_block_is_all_in_one_part(scene: IndianPines) -> None:
    def blocks(part: Patches) -> set[tuple[int, int]]:
        return {(pixel // 145 // 16, pixel % 145 // 16) for pixel in part.pixels.flatten().tolist()}

    assert not blocks(scene.train) & blocks(scene.validation)


@pytest.mark.parametrize("seed", range(5))
def test_every_class_that_lies_in_two_blocks_is_in_both_parts(seed: int, source: tuple[Tensor, Tensor]) -> None:
    scene = load_indian_pines(seed=seed)
    row, column = source[1].nonzero().unbind(1)
    classes = source[1][row, column] - 1
    spread = [len((row // 16 * 10 + column // 16)[classes == c].unique()) > 1 for c in range(16)]
    for part in (scene.train, scene.validation):
        present = torch.bincount(part.labels, minlength=16) > 0
        assert [name for name, here, wide in zip(CLASS_NAMES, present, spread, strict=True) if wide and not here] == []
    assert len(scene.validation) / 10249 == pytest.approx(0.3, abs=0.03)


def test_a_patch_shows_the_scene_and_its_own_centre_where_it_leaves_its_part(
    scene: IndianPines, source: tuple[Tensor, Tensor]
) -> None:
    labels = source[1]
    held = torch.zeros(145, 145, dtype=torch.bool)  # blocks that hold validation centres; elsewhere nothing is labelled
    for pixel in scene.validation.pixels[:, 4, 4].tolist():
        top, left = pixel // 145 // 16 * 16, pixel % 145 // 16 * 16
        held[top : top + 16, left : left + 16] = True
    filled = 0
    for i in range(0, len(scene.train), 97):
        row, column = divmod(int(scene.train.pixels[i, 4, 4]), 145)
        patch, label = scene.train[i]
        assert label == labels[row, column] - 1
        assert torch.equal(patch, scene.train.scene[scene.train.pixels[i]].permute(2, 0, 1))
        for h in range(9):
            for w in range(9):
                y, x = row + h - 4, column + w - 4
                seen = divmod(int(scene.train.pixels[i, h, w]), 145)
                if not (0 <= y < 145 and 0 <= x < 145) or held[y, x]:
                    assert seen == (row, column)
                    filled += 1
                else:  # a block without labels may be in either part
                    assert seen == (y, x) or (seen == (row, column) and not labels[y, x])
    assert filled > 0


def test_a_loader_gives_float_patches_and_integer_labels_in_the_order_of_the_datasets(scene: IndianPines) -> None:
    batches = list(DataLoader(scene.validation, batch_size=700))
    assert [len(patches) for patches, _ in batches] == [700] * 4 + [len(scene.validation) - 2800]
    patches, labels = batches[1]
    assert (patches.shape, patches.dtype, labels.dtype) == ((700, 200, 9, 9), torch.float32, torch.int64)
    alone, label = scene.validation[703]
    assert torch.equal(patches[3], alone)
    assert torch.equal(labels[3], label)


def test_the_same_seed_gives_the_same_split_and_another_seed_another(scene: IndianPines) -> None:
    again, other = load_indian_pines("standardised"), load_indian_pines(seed=1)
    assert torch.equal(again.train.pixels, scene.train.pixels)
    assert torch.equal(again.factors.values, scene.factors.values)
    assert set(other.train.pixels[:, 4, 4].tolist()) != set(scene.train.pixels[:, 4, 4].tolist())


def test_raw_is_divided_by_the_maximum_and_standardised_has_unit_deviation_in_each_band(
    scene: IndianPines, source: tuple[Tensor, Tensor]
) -> None:
    spectra = source[0].flatten(0, 1)
    torch.testing.assert_close(scene.train.scene.double(), spectra / spectra.max(), rtol=1e-6, atol=0)
    standardised = load_indian_pines("standardised")
    known = standardised.train.scene[standardised.train.pixels[:, 4, 4]].double()
    torch.testing.assert_close(known.mean(0), torch.zeros(200).double(), rtol=0, atol=1e-5)
    torch.testing.assert_close(known.std(0), torch.ones(200).double(), rtol=1e-5, atol=0)


def test_factors_are_what_their_names_say(scene: IndianPines, source: tuple[Tensor, Tensor]) -> None:
    spectra, labels = source
    classes, light = labels.flatten(), spectra.mean(2).flatten()
    carried = dict(zip(scene.factors.names, scene.factors.values.T, strict=True))
    trained = [float(light[pixels].mean()) for pixels in scene.train.pixels]
    low, high = torch.tensor(trained).double().quantile(torch.tensor([0.1, 0.9]).double()).tolist()
    counts = torch.bincount(scene.train.labels, minlength=16)
    for i in range(0, len(scene.validation), 31):
        pixels = scene.validation.pixels[i].flatten()
        own = int(classes[pixels[40]])
        others = {int(label) for label in classes[pixels]} - {0, own}
        brightness = float(light[pixels].mean())
        assert bool(carried["boundary"][i]) == bool(others)
        assert bool(carried["bright"][i]) == (brightness > high)
        assert bool(carried["dark"][i]) == (brightness < low)
        assert bool(carried["rare_class"][i]) == bool(counts[own - 1] < 100)
        assert bool(carried["small_field"][i]) == (field_size(labels, int(pixels[40])) < 100)
    varies = light[scene.validation.pixels].flatten(1).std(1)
    assert varies[carried["low_contrast"]].max() < varies[~carried["low_contrast"]].min()


def field_size(labels: Tensor, pixel: int) -> int:
    """Pixels of one class that hang together with this one, by a search from neighbour to neighbour."""
    start = divmod(pixel, 145)
    seen, todo = {start}, [start]
    while todo:
        row, column = todo.pop()
        for y, x in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            inside = 0 <= y < 145 and 0 <= x < 145 and (y, x) not in seen
            if inside and labels[y, x] == labels[start]:
                seen.add((y, x))
                todo.append((y, x))
    return len(seen)


def test_the_table_has_a_row_a_validation_image_and_wavelengths_a_band(scene: IndianPines) -> None:
    assert len(scene.factors) == len(scene.validation)
    assert scene.factors.names == ("boundary", "bright", "dark", "low_contrast", "small_field", "rare_class")
    assert scene.wavelengths.shape == (200,)
    assert (float(scene.wavelengths[0]), float(scene.wavelengths[-1])) == (400.02, 2498.96)
    assert bool((scene.wavelengths.diff() > 0).all())
    assert len(scene.class_names) == 16


def test_a_factor_that_no_image_carries_is_left_out() -> None:
    assert load_indian_pines(size=1).factors.names == ("bright", "dark", "small_field", "rare_class")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"scaling": "sphered"},
            "load_indian_pines: no such scaling; given 'sphered'. Pass 'raw' or 'standardised'.",
        ),
        ({"size": 8}, "load_indian_pines: a patch needs a centre; given size=8. Pass an odd size, such as 9."),
        ({"block": 0}, "load_indian_pines: blocks need pixels; given block=0. Pass 1 or more."),
        (
            {"validation": 1.0},
            "load_indian_pines: the share to validate on is no share; given validation=1.0. Pass 0.3, say.",
        ),
    ],
)
def test_values_that_cannot_be_used_are_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as raised:
        load_indian_pines(**given)  # type: ignore[arg-type]
    assert str(raised.value) == message


def test_without_tensorly_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorly", None)
    with pytest.raises(MissingPackageError) as raised:
        load_indian_pines()
    assert str(raised.value) == (
        "load_indian_pines: the package that ships the scene is missing; given no tensorly. Run pip install tensorly."
    )


def test_tensorly_keeps_the_backend_that_the_user_has_set() -> None:
    program = (
        "import tensorly; tensorly.set_backend('pytorch');"
        "from lightning_failures.data import load_indian_pines;"
        "scene = load_indian_pines(); print(tensorly.get_backend(), float(scene.train.scene.max()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["pytorch", "1.0"]
