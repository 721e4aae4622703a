"""One group left out in closed form: equal to a refit, on random data and on real spectra; and what the audit says."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import audit_data
from lightning_failures.data.polymers import STUDIES, PolymerSpectra, load_polymer_spectra
from lightning_failures.errors import MissingPackageError
from lightning_failures.functional import (
    class_moments,
    leave_out,
    linear_discriminant,
    read_groups,
    robustness_index,
    standard_normal_variate,
)
from lightning_failures.functional.leave_one_group_out import without_part


def rows_of(
    n: int = 600, d: int = 5, groups: int = 6, seed: int = 0, shift: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of three classes in groups that are shifted along all directions by so much, or by nothing."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(3, (n,), generator=generator)
    group = torch.randint(groups, (n,), generator=generator)
    centres = 2 * torch.randn(3, d, generator=generator)
    shifts = shift * torch.randn(groups, d, generator=generator)
    return centres[target] + shifts[group] + torch.randn(n, d, generator=generator), target, group


def parts_of(rows: Tensor, target: Tensor, group: Tensor, classes: int) -> list[Any]:
    return [class_moments(rows[group == g], target[group == g], classes) for g in range(int(group.max()) + 1)]


def refitted(rows: Tensor, target: Tensor, group: Tensor) -> np.ndarray:
    """scikit-learn's discriminant, fitted anew without each group, on channels of one scale as ours has them."""
    found = np.full(len(rows), -1)
    for g in group.unique().tolist():
        x, y = rows[group != g].double().numpy(), target[group != g].numpy()
        labels, counts = np.unique(y, return_counts=True)
        means = np.stack([x[y == label].mean(0) for label in labels])
        inside = x - means[np.searchsorted(labels, y)]
        scale = np.sqrt((inside**2).sum(0) / (len(x) - len(labels)))
        ours = linear_discriminant(class_moments(torch.tensor(x / scale), torch.tensor(y), int(y.max()) + 1), 0.2)
        theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2, priors=counts / counts.sum()).fit(
            x / scale, y
        )
        asked = rows[group == g].double().numpy() / scale
        agree = (ours.predict(torch.tensor(asked)).numpy() == theirs.predict(asked)).mean()
        assert agree > 0.99  # sklearn pools the classes' covariances by their shares
        found[(group == g).numpy()] = linear_discriminant(
            class_moments(rows[group != g], target[group != g], int(target.max()) + 1)
        ).predict(rows[group == g])
    return found


@pytest.mark.parametrize("seed", range(4))
def test_a_group_left_out_in_closed_form_is_a_refit_without_it(seed: int) -> None:
    rows, target, group = rows_of(seed=seed, shift=1.0)
    found = leave_out(parts_of(rows, target, group, 3), rows, group)
    assert (found.numpy() == refitted(rows, target, group)).all()


def test_the_sums_without_a_part_are_those_of_the_others() -> None:
    rows, target, group = rows_of()
    without = without_part(parts_of(rows, target, group, 3), 2)
    expected = class_moments(rows[group != 2], target[group != 2], 3)
    assert without.counts.equal(expected.counts)
    torch.testing.assert_close(without.outer, expected.outer)


def test_a_class_that_stands_in_one_group_alone_is_never_predicted() -> None:
    rows, target, group = rows_of(groups=3)
    target[group == 1] = 2
    target[(group != 1) & (target == 2)] = 0
    found = leave_out(parts_of(rows, target, group, 3), rows, group)
    assert not (found[group == 1] == 2).any()


def test_one_group_alone_can_predict_nothing() -> None:
    rows, target, _ = rows_of(n=40)
    group = torch.zeros(40, dtype=torch.int64)
    assert leave_out(parts_of(rows, target, group, 3), rows, group).tolist() == [-1] * 40


def test_groups_that_are_shifted_are_read_and_others_are_not() -> None:
    shifted, plain = rows_of(n=2000, shift=3.0), rows_of(n=2000)
    assert float(read_groups(*shifted).right.double().mean()) > 0.8
    found = read_groups(*plain)
    assert abs(float(found.right.double().mean()) - 1 / 6) < 0.05
    assert bool(found.among.all())


def test_a_group_that_only_its_class_tells_is_not_read_within_a_class() -> None:
    rows, target, _ = rows_of(n=900)
    found = read_groups(rows, target, target)  # each class is of one group
    assert float(found.right.double().mean()) > 0.8
    assert not found.among.any()
    assert bool(found.within_chance.isnan())


def test_the_robustness_index_is_that_of_a_loop_over_scikit_learns_neighbours() -> None:
    rows, target, group = rows_of(n=150, shift=1.0)
    near = NearestNeighbors(n_neighbors=8).fit(rows.numpy()).kneighbors(rows.numpy(), return_distance=False)
    same_class = other_class = 0
    for i, neighbours in enumerate(near):
        for j in [j for j in neighbours if j != i][:7]:
            same_class += int(target[i] == target[j] and group[i] != group[j])
            other_class += int(target[i] != target[j] and group[i] == group[j])
    assert float(robustness_index(rows, target, group, k=7)) == pytest.approx(same_class / (same_class + other_class))


def test_a_robustness_index_of_one_group_of_one_class_is_undefined() -> None:
    assert bool(robustness_index(torch.rand(9, 2), torch.zeros(9).long(), torch.zeros(9).long()).isnan())


def test_standard_normal_variates_have_mean_0_and_deviation_1() -> None:
    found = standard_normal_variate(torch.rand(5, 20, generator=torch.Generator().manual_seed(0)) * 7 + 3)
    torch.testing.assert_close(found.mean(1), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std(1, correction=0), torch.ones(5))


def loader(rows: Tensor, target: Tensor, group: Tensor, batch: int = 64) -> DataLoader[Any]:
    return DataLoader(TensorDataset(rows, target, group), batch)


def audited(rows: Tensor, target: Tensor, group: Tensor, batch: int = 64, **options: Any) -> Any:
    return audit_data(loader(rows, target, group, batch), targets="1", groups="2", steps=0, **options)


def kinds(audit: Any) -> list[str]:
    return [risk.kind for risk in audit.risks]


def test_the_audit_calls_groups_that_are_shifted_a_high_risk_and_says_so() -> None:
    audit = audited(*rows_of(n=3000, d=6, shift=3.0))
    (risk,) = [risk for risk in audit.risks if risk.kind == "group_shift"]
    assert risk.severity == "high"
    assert "where it has seen no image of that group" in risk.message
    assert audit.groups.difference.value < -0.1
    assert audit.groups.mixed.value > audit.groups.accuracy.value
    assert len(audit.groups.left_out) == audit.groups.number == 6
    assert audit.to_dict()["groups"]["number"] == 6


@pytest.mark.parametrize("seed", range(5))
def test_balanced_groups_are_silent(seed: int) -> None:
    audit = audited(*rows_of(n=2000, d=6, seed=seed))
    assert "group_shift" not in kinds(audit)
    assert abs(audit.groups.difference.value) < 0.01


def test_groups_that_differ_along_another_direction_than_the_label_are_silent() -> None:
    rows, target, group = rows_of(n=3000, d=6)
    rows = torch.cat([rows, 5.0 * group[:, None] + torch.randn(3000, 1, generator=torch.Generator().manual_seed(1))], 1)
    audit = audited(rows, target, group)
    assert audit.groups.read.value > 0.9  # and that alone is no fault
    assert "group_shift" not in kinds(audit)


def test_another_cut_of_the_data_gives_the_same_figures() -> None:
    data = rows_of(n=700, shift=2.0)
    one, other = audited(*data, batch=64).groups, audited(*data, batch=700).groups
    assert [left.name for left in one.left_out] == [left.name for left in other.left_out]
    for mine, theirs in zip(one.left_out, other.left_out, strict=True):
        assert mine.accuracy == theirs.accuracy
        assert mine.mixed == theirs.mixed
    assert one.robustness == other.robustness


def test_groups_on_both_sides_of_a_split_that_was_given_are_said() -> None:
    rows, target, group = rows_of(n=900)
    train, held = loader(rows[:600], target[:600], group[:600]), loader(rows[600:], target[600:], group[600:])
    audit = audit_data(train, held, targets="1", groups="2", steps=0)
    (risk,) = [risk for risk in audit.risks if risk.kind == "groups_on_both_sides"]
    assert risk.message.startswith("6 of the 6 groups among the held-out images also have images in training")
    whole = audit_data(
        loader(rows[group < 4], target[group < 4], group[group < 4]),
        loader(rows[group >= 4], target[group >= 4], group[group >= 4]),
        targets="1",
        groups="2",
        steps=0,
    )
    assert "groups_on_both_sides" not in kinds(whole)
    assert whole.groups.held == 2


def test_many_groups_are_left_out_together() -> None:
    rows, target, group = rows_of(n=1500, groups=50)
    found = audited(rows, target, group).groups
    assert (found.number, len(found.left_out), found.together) == (50, 20, True)
    assert sum(left.images for left in found.left_out) == 1500
    assert all("," in left.name for left in found.left_out)  # two or three groups each


def test_images_in_few_channels_are_read_by_their_low_frequencies() -> None:
    generator = torch.Generator().manual_seed(0)
    images, target = torch.rand(400, 3, 8, 8, generator=generator), torch.arange(400) % 2
    images[target == 1, :, :4] += 1
    audit = audit_data(
        DataLoader(TensorDataset(images, target, torch.arange(400) // 100), 50), targets="1", groups="2", steps=0
    )
    assert audit.groups.rung == "low_frequencies"
    assert audit.groups.accuracy.value > 0.95


def test_the_console_and_the_page_show_each_group(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jinja2")
    from rich.console import Console

    from lightning_failures.audit.console import print_audits
    from lightning_failures.audit.page import write_audit

    audit = audited(*rows_of(n=1200, shift=3.0))
    print_audits(Console(width=100), [audit])
    said = capsys.readouterr().out
    assert "one group left out" in said
    assert "That alone is no fault." in said
    page = write_audit(tmp_path, [audit]).read_text()
    assert "one group left out" in page


def polymers() -> PolymerSpectra:
    """Spectra of five polymers from five tables of four studies; skips where they are not installed."""
    try:
        return load_polymer_spectra()
    except MissingPackageError:
        pytest.skip("xpectrass is not installed")


def test_of_real_spectra_a_study_left_out_is_not_read_and_the_audit_says_so() -> None:
    found = polymers()
    spectra, labels = found.spectra, found.labels
    assert len(spectra) == 7494
    groups = torch.tensor([STUDIES.index(study) for study in found.studies])
    audit = audit_data(list(zip(spectra.split(500), labels.split(500), groups.split(500), strict=True)), targets="1",
                       groups="2", steps=0)  # fmt: skip
    (risk,) = [risk for risk in audit.risks if risk.kind == "group_shift"]
    assert risk.severity == "high"
    assert "on another scale" in risk.message
    left_out = {STUDIES[int(left.name)]: left for left in audit.groups.left_out}
    assert left_out["kedzierski_2019"].accuracy.value == 0
    assert audit.groups.mixed.value > 0.9
    refit = refitted(spectra, labels, groups) == labels.numpy()
    for study, left in left_out.items():
        mine = (groups == STUDIES.index(study)).numpy()
        assert left.scored == mine.sum()
        assert left.accuracy.value == pytest.approx(refit[mine].mean(), abs=1e-3)
