"""Infrared spectra of polymers, read from an installed package; and what the arms of the infrared demo train on."""

from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_failures.data import polymers
from lightning_failures.data.polymers import POLYMERS, STUDIES, PolymerSpectra, load_polymer_spectra
from lightning_failures.errors import MissingPackageError


@pytest.fixture(scope="module")
def found() -> PolymerSpectra:
    try:
        return load_polymer_spectra()
    except MissingPackageError:
        pytest.skip("xpectrass is not installed")


def median(spectra: PolymerSpectra, study: str) -> float:
    return float(spectra.spectra[spectra.of(study)].median())


def test_there_are_7494_spectra_of_five_polymers_from_five_tables(found: PolymerSpectra) -> None:
    assert tuple(found.spectra.shape) == (7494, 200)
    assert len(found.studies) == len(found.labels) == 7494
    counts = [int(found.of(study).sum()) for study in STUDIES]
    assert counts == [248, 756, 490, 3000, 3000]
    assert torch.bincount(found.labels, minlength=len(POLYMERS)).min() > 1000
    assert (float(found.wavenumbers[0]), float(found.wavenumbers[-1])) == (660.0, 3943.0)
    assert bool(found.spectra.isfinite().all())


def test_one_study_holds_what_is_missing_to_100_and_nobody_says_so(found: PolymerSpectra) -> None:
    assert median(found, "kedzierski_2019") == pytest.approx(2.6, abs=0.1)
    assert all(median(found, study) > 98 for study in STUDIES if study != "kedzierski_2019")


def test_spectra_that_are_the_same_to_the_last_digit_are_on_one_side(found: PolymerSpectra) -> None:
    pytest.importorskip("matplotlib")
    from lightning_failures.commands.demo_infrared import split_spectra

    _, counts = found.spectra.unique(dim=0, return_counts=True)
    assert int(counts[counts > 1].sum()) == 1833
    train, validation = split_spectra(found, "raw", 0)
    both = torch.cat([train.spectra.unique(dim=0), validation.spectra.unique(dim=0)])
    assert len(both.unique(dim=0)) == len(both)


def a_study_of(study: str, level: float, n: int = 60) -> tuple[Tensor, Tensor, list[str]]:
    generator = torch.Generator().manual_seed(STUDIES.index(study))
    return level + torch.rand(n, 4, generator=generator), torch.arange(n) % 5, [study] * n


def made_up() -> PolymerSpectra:
    parts = [a_study_of(study, 2.0 if study == "kedzierski_2019" else 97.0) for study in STUDIES]
    spectra, labels, studies = zip(*parts, strict=True)
    names = tuple(name for part in studies for name in part)
    return PolymerSpectra(torch.cat(spectra), torch.cat(labels), names, torch.linspace(660, 3943, 4).double())


def split(arm: Any, seed: int = 0) -> Any:
    pytest.importorskip("matplotlib")
    from lightning_failures.commands.demo_infrared import split_spectra

    return split_spectra(made_up(), arm, seed)


def test_each_arm_trains_on_two_studies_and_the_last_one_on_four() -> None:
    for arm in ("raw", "standardised", "turned"):
        assert set(split(arm).train.studies) == set(STUDIES[3:])
        assert set(split(arm).validation.studies) == set(STUDIES)
    assert set(split("more_studies").train.studies) == set(STUDIES) - {"kedzierski_2019"}


def test_all_spectra_are_trained_on_or_validated_on_and_none_is_both() -> None:
    for arm in ("raw", "turned", "more_studies"):
        train, validation = split(arm)
        assert len(train) + len(validation) == 300
    train, validation = ({tuple(row) for row in part.spectra.tolist()} for part in split("raw"))
    assert not train & validation


def test_what_the_last_arm_validates_on_is_in_validation_of_every_arm() -> None:
    last, first = split("more_studies").validation, split("raw").validation
    counts = {study: first.studies.count(study) for study in STUDIES}
    assert all(last.studies.count(study) <= counts[study] for study in STUDIES)
    assert all(last.studies.count(study) == counts[study] for study in STUDIES[2:])


def test_bands_are_standardised_by_what_is_trained_on_and_the_study_is_turned() -> None:
    train = split("standardised").train.spectra
    torch.testing.assert_close(train.mean(0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(train.std(0), torch.ones(4), atol=1e-4, rtol=0)

    def level(arm: str) -> float:
        held = split(arm).validation
        mine = torch.tensor([study == "kedzierski_2019" for study in held.studies])
        return float(held.spectra[mine].mean())

    assert level("standardised") < -100
    assert abs(level("turned")) < 10


def test_where_the_package_is_missing_it_is_said_how_to_install_it_and_why_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(polymers, "distribution", missing)
    with pytest.raises(MissingPackageError) as raised:
        load_polymer_spectra()
    assert str(raised.value) == (
        "load_polymer_spectra: the spectra are read from the package xpectrass; given none. Run: pip install --no-deps "
        "xpectrass==0.0.4 (54 MB). Without --no-deps it puts its own versions of numpy, pandas, scipy and thirty "
        "others in place of yours; only its tables are read."
    )


def test_a_version_without_the_tables_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    pytest.importorskip("pandas")

    class Installed:
        def locate_file(self, path: str) -> Any:
            return tmp_path / path

    monkeypatch.setattr(polymers, "distribution", lambda name: Installed())
    with pytest.raises(MissingPackageError) as raised:
        load_polymer_spectra()
    assert str(raised.value) == (
        "load_polymer_spectra: this version of xpectrass does not hold the spectra; given no frond_2021.csv.xz. "
        "Run: pip install --no-deps --force-reinstall xpectrass==0.0.4"
    )
