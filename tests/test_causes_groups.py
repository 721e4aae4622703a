"""Images of one kind that are prepared otherwise than the others: found, undone, and the cause of what fails there."""

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from lightning_failures import (
    CauseMonitor,
    FactorErrorMonitor,
    FactorTable,
    FailureDiagnosis,
    FailuresWarning,
    GroupErrorMonitor,
)
from lightning_failures.callbacks.causes import InputsByKind, KindSums, largest_groups
from lightning_failures.errors import DiscoveryError, UnknownNameError
from lightning_failures.functional import clustered_rate, input_sums
from tests.quarters import Net, images
from tests.runs import fit

NAMES = ("study_b", "old", "rare")


def factors(n):
    """The first is carried by every third image, in turns over the classes, the last by four images alone."""
    rows = torch.arange(n)
    return torch.stack([rows % 3 == 0, rows % 5 < 2, rows < 4], 1)


def run(change, epochs=4, names=NAMES, make=images):
    """A network trained on plain images, and validated on some of which the first factor's are changed."""
    inputs, target = make(240, 1)
    carried = factors(240)
    changed = torch.where(carried[:, 0, None, None, None], change(inputs), inputs)
    table = FactorTable(names, carried[:, : len(names)])
    monitor = CauseMonitor(table, budget=5.0, on_error="raise")
    diagnosis = FailureDiagnosis(announce="nothing")
    data = (
        DataLoader(TensorDataset(*make(320, 0)), batch_size=16, shuffle=True),
        DataLoader(TensorDataset(changed, target), batch_size=32),
    )
    fit([FactorErrorMonitor(table), monitor, diagnosis], Net(), data=data, epochs=epochs)
    return monitor, diagnosis.findings


def absorbance(inputs):
    return 0.05 * inputs + 2


def permuted(inputs):
    return inputs[:, [2, 0, 1]]


def in_one_channel(n, seed):
    """The class shows in the first channel alone; the others are noise about -1 and -2."""
    inputs, target = images(n, seed)
    noise = 0.2 * torch.randn(n, 2, 8, 8, generator=torch.Generator().manual_seed(seed + 9))
    inputs[:, 1:] = noise - torch.tensor([1.0, 2.0])[:, None, None]
    return inputs, target


def test_a_study_on_another_scale_is_the_cause_of_the_failure_on_its_images():
    monitor, findings = run(absorbance, epochs=6)
    (failure,) = (finding for finding in findings if finding.kind == "factor_failure")
    assert (failure.subject, failure.cause) == ("study_b", "input_mismatch")
    assert float(failure.experiment["after"]) > 0.9 > 0.7 > float(failure.experiment["before"])
    assert float(failure.experiment["share"]) > 0.8
    assert float(failure.experiment["others"]) > 0.9
    assert failure.why.startswith(
        "In 3 channels images marked study_b are on another scale than the others. Most of all in channel"
    )
    assert failure.advice.startswith("Bring images marked study_b to the scale of the others")
    assert float(monitor.values["factor_scale/study_b"]) == pytest.approx(20, rel=0.15)
    assert float(monitor.values["factor_undone/study_b"]) == 0
    (early,) = (finding for finding in findings if finding.rule == "factor_inputs_differ")
    assert (early.subject, early.severity) == ("study_b", "watch")
    assert early.epoch < failure.epoch


def test_a_healthy_twin_has_no_figures_of_groups_that_are_alike_and_no_finding():
    monitor, findings = run(lambda inputs: inputs, epochs=6)
    assert findings == []
    of_groups = sorted(key for key in monitor.values if key.startswith("factor_"))
    assert of_groups == [f"factor_channels/{name}" for name in sorted(NAMES)]
    assert float(monitor.values["factor_channels/study_b"]) == float(monitor.values["factor_channels/old"]) == 0


def test_a_factor_of_few_images_is_left_out_and_says_why():
    monitor, _ = run(absorbance, epochs=1)
    assert bool(monitor.values["factor_channels/rare"].isnan())
    assert monitor.undefined["factor_channels/rare"] == (
        "fewer than 8 images with this factor, or without it, are among those that are kept"
    )
    assert "factor_after/rare" not in monitor.values


def test_channels_of_one_group_in_another_order_are_put_back():
    monitor, findings = run(permuted, epochs=6, make=in_one_channel)
    (failure,) = (finding for finding in findings if finding.kind == "factor_failure")
    assert (failure.subject, failure.cause) == ("study_b", "input_mismatch")
    assert failure.why.startswith("In images marked study_b, 3 channels are like other channels of the other images")
    assert (
        failure.advice == "Read the channels of images marked study_b in the same order as those of the other images."
    )
    assert float(failure.experiment["share"]) > 0.9
    assert float(monitor.values["factor_undone/study_b"]) == 1
    assert torch.equal(
        torch.arange(3)[[2, 0, 1]][monitor.by_kind["factor"].preparations["study_b"].order], torch.arange(3)
    )


def test_the_healthy_twin_in_one_order_has_no_finding():
    monitor, findings = run(lambda inputs: inputs, epochs=6, make=in_one_channel)
    assert findings == []
    assert "factor_moved/study_b" not in monitor.values


def test_figures_of_a_factor_are_those_of_the_network_itself():
    inputs, target = images(240, 1)
    carried = factors(240)[:, 0]
    changed = torch.where(carried[:, None, None, None], absorbance(inputs), inputs)
    monitor = CauseMonitor(FactorTable(["study_b"], carried[:, None]), budget=5.0, on_error="raise")
    data = (
        DataLoader(TensorDataset(*images(320, 0)), batch_size=16),
        DataLoader(TensorDataset(changed, target), batch_size=32),
    )
    _, module = fit([monitor], Net(), data=data, epochs=1)
    batch, undo = monitor.examining.batch, monitor.by_kind["factor"].preparations["study_b"]
    kept, with_it = batch.inputs[monitor.examining._taken], monitor.examining.factors[:, 0]
    assert torch.equal(batch.inputs, changed)
    assert torch.equal(batch.factors[:, 0], carried)  # all of them are kept, with their factors

    def accuracy(given, rows):
        with torch.no_grad():
            return float((module.eval()(given[rows]).argmax(1) == monitor.examining.targets[rows]).double().mean())

    mapped = kept * undo.scale.float()[:, None, None] + undo.offset.float()[:, None, None]
    told = {key: float(monitor.values[f"factor_{key}/study_b"]) for key in ("before", "after", "others", "share")}
    before, after, others = accuracy(kept, with_it), accuracy(mapped, with_it), accuracy(kept, ~with_it)
    expected = {"before": before, "after": after, "others": others, "share": (after - before) / (others - before)}
    assert told == pytest.approx(expected)


def test_no_image_is_run_once_more_where_groups_are_alike():
    alone, _ = run(lambda inputs: inputs, epochs=1)
    assert alone.by_kind["factor"].passes(alone.examining.factors) == 0
    other, _ = run(absorbance, epochs=1)
    assert other.by_kind["factor"].passes(other.examining.factors) == pytest.approx(2 / 3)  # rescaled, and upside down


def test_sums_of_groups_are_those_of_their_images():
    inputs, _ = images(30, 3)
    carried = factors(30)
    for name, sums in enumerate(KindSums.of(inputs, carried)):
        for chosen, group in ((carried[:, name], sums.carrying), (~carried[:, name], sums.others)):
            for field, expected in input_sums(inputs[chosen])._asdict().items():
                torch.testing.assert_close(getattr(group, field), expected, rtol=1e-9, atol=1e-9)


def test_images_without_a_fraction_are_compared_and_not_undone():
    groups = InputsByKind(["dark"])
    inputs = torch.arange(64, dtype=torch.uint8).reshape(32, 1, 2).repeat(1, 1, 1)
    carried = (torch.arange(32) < 16)[:, None]
    groups.compare([KindSums.of(inputs, carried)])
    assert float(groups.compute()["factor_channels/dark"]) == 1
    groups.examine(pytest.fail, inputs, torch.zeros(32).long(), torch.zeros(32, 2), carried)


def test_factors_that_cannot_be_read_are_left_out_and_nothing_else():
    monitor = CauseMonitor(["fog"])
    with pytest.warns(FailuresWarning, match="CauseMonitor does not compare the inputs of images with a factor"):
        fit([monitor], epochs=2)
    assert monitor.failure is None
    assert not bool(monitor.values["gap"].isnan())
    assert list(monitor.not_watched) == ["inputs by factor"]
    assert monitor.not_watched["inputs by factor"].startswith(
        "CauseMonitor(factors=...): the batch does not hold the factors"
    )
    with pytest.raises(UnknownNameError, match="the batch does not hold the factors"):
        fit([CauseMonitor(["fog"], on_error="raise")], epochs=1)


def without_the_first(inputs):
    return inputs * torch.tensor([0.0, 1.0, 1.0])[:, None, None]


def test_a_channel_that_one_study_lacks_is_proven_by_taking_it_from_the_others():
    monitor, findings = run(without_the_first, epochs=6, make=in_one_channel)
    (failure,) = (finding for finding in findings if finding.kind == "factor_failure")
    assert (failure.subject, failure.cause) == ("study_b", "input_mismatch")
    assert failure.why.startswith(
        "Channel 0 is 0 everywhere in images marked study_b, and varies in the other images. With the same put into "
        "the other images, the accuracy on them falls from 1.00 to 0."
    )
    assert float(failure.experiment["before"]) < 0.4 < 0.9 < float(failure.experiment["after"])
    assert float(failure.experiment["share"]) > 0.7
    assert float(monitor.values["factor_undone/study_b"]) == 3
    (watched,) = (finding for finding in findings if finding.rule == "factor_channels_faulty")
    assert (watched.subject, watched.severity) == ("study_b", "watch")
    assert watched.message.startswith(
        "Channels at fault in images marked study_b and sound in the others: 1, the first is channel 0, counted from "
        "0. Of them 0 not finite, 1 empty, 0 constant, 0 saturated."
    )
    assert "factor_inputs_differ" not in {finding.rule for finding in findings}


def test_a_saturated_channel_of_one_study_is_named_and_neither_blamed_nor_excluded():
    def clipped(inputs):
        return torch.cat([inputs[:, :2], inputs[:, 2:].clamp(max=-2.05)], 1)

    monitor, findings = run(clipped, epochs=6, make=in_one_channel)
    assert float(monitor.values["factor_saturated/study_b"]) == 1
    assert float(monitor.values["factor_faulty_channel/study_b"]) == 2
    assert {finding.severity for finding in findings} == {"watch"}


def upside_down(inputs):
    """What is bright becomes dark: the quarters that tell the classes are the darkest."""
    return 1.5 - inputs


def grouped(change, epochs=6, name="study b", **options):
    """The same as :func:`run`, with the images of a group changed."""
    inputs, target = images(240, 1)
    mine = factors(240)[:, 0]
    groups = [name if own else f"study {row % 2}" for row, own in enumerate(mine.tolist())]
    changed = torch.where(mine[:, None, None, None], change(inputs), inputs)
    monitor = CauseMonitor(groups=groups, budget=5.0, on_error="raise", **options)
    diagnosis = FailureDiagnosis(announce="nothing")
    data = (
        DataLoader(TensorDataset(*images(320, 0)), batch_size=16, shuffle=True),
        DataLoader(TensorDataset(changed, target), batch_size=32),
    )
    fit([GroupErrorMonitor(groups), monitor, diagnosis], Net(), data=data, epochs=epochs)
    return monitor, diagnosis.findings


def test_a_group_on_another_scale_is_the_cause_of_the_failure_on_its_images():
    monitor, findings = grouped(absorbance)
    (shift,) = (finding for finding in findings if finding.kind == "group_shift")
    assert (shift.subject, shift.cause) == ("study b", "input_mismatch")
    assert shift.why.startswith("In 3 channels images of study b are on another scale than the others.")
    assert shift.advice.startswith("Bring images of study b to the scale of the others")
    assert float(shift.experiment["after"]) > 0.9 > 0.7 > float(shift.experiment["before"])
    assert float(shift.experiment["share"]) > 0.8
    assert float(monitor.values["group_scale/study b"]) == pytest.approx(20, rel=0.15)
    (early,) = (finding for finding in findings if finding.rule == "group_inputs_differ")
    assert early.subject == "study b"
    assert early.message.startswith("Images of study b are not prepared as the others: 3 of the channels differ.")


def test_a_group_that_is_upside_down_is_turned_and_the_advice_says_by_what():
    monitor, findings = grouped(upside_down)
    (shift,) = (finding for finding in findings if finding.kind == "group_shift")
    assert (shift.subject, shift.cause) == ("study b", "input_mismatch")
    assert float(monitor.values["group_undone/study b"]) == 2
    assert float(monitor.values["group_scale/study b"]) == pytest.approx(-1, rel=0.1)
    assert float(monitor.values["group_offset/study b"]) == pytest.approx(1.5, abs=0.2)
    assert "Turned upside down, with the others' mean and deviation, the accuracy on the same images goes" in shift.why
    assert shift.advice.startswith("What is large in images of study b is small in the others")


def test_groups_that_are_alike_have_no_finding_and_no_figures_but_that():
    monitor, findings = grouped(lambda inputs: inputs)
    assert findings == []
    of_groups = {key: float(value) for key, value in monitor.values.items() if key.startswith("group_")}
    assert of_groups == dict.fromkeys((f"group_channels/study {name}" for name in ("0", "1", "b")), 0.0)


def test_the_comparison_of_a_group_is_that_of_a_factor_that_its_images_carry():
    by_group, _ = grouped(absorbance, epochs=1)
    by_factor, _ = run(absorbance, epochs=1)
    mine = {key.removeprefix("group_"): value for key, value in by_group.values.items() if key.endswith("/study b")}
    assert len(mine) > 10
    for key, value in mine.items():
        theirs = by_factor.values[f"factor_{key.replace('study b', 'study_b')}"]
        torch.testing.assert_close(value, theirs, equal_nan=True)


def test_groups_of_fewer_than_8_kept_images_are_not_compared_and_12_at_most_are():
    counts = {group: (20 + group, f"patient {group}") for group in range(15)} | {99: (7, "alone")}
    found = largest_groups([counts, {99: (0, "alone")}])
    assert list(found) == list(range(14, 2, -1))
    assert largest_groups([{99: (7, "alone")}, {99: (1, "alone")}]) == {99: "alone"}
    assert largest_groups([{}]) == {}


class Patients(Dataset):
    """Images with a label and the patient that each is of."""

    def __init__(self, images, patients):
        self.rows = [(image, int(label), patient) for image, label, patient in zip(*images, patients, strict=True)]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, row):
        return self.rows[row]


def patients(groups, number=10, epochs=2):
    """Two patients of ten are hard, and the two sides share none, or all where there are few."""
    torch.manual_seed(3)
    inputs, target = images(240, 1)
    hard = torch.arange(240) % number < 2
    inputs = torch.where(hard[:, None, None, None], inputs + 3 * torch.randn(inputs.shape), inputs)
    train = Patients(images(320, 0), [row % number for row in range(320)])
    valid = Patients((inputs, target), [100 + row % number for row in range(240)])
    monitor = CauseMonitor(groups=groups, budget=5.0, on_error="raise")
    data = (DataLoader(train, batch_size=16, shuffle=True), DataLoader(valid, batch_size=32))
    _, module = fit([monitor], Net(), data=data, epochs=epochs)
    with torch.no_grad():
        right = module.eval()(inputs).argmax(1) == target
    return monitor, right


MENDED_BY_GROUP = {f"{key}_{end}" for key in ("before", "after", "gain") for end in ("low", "high")}
BY_GROUP = {f"{key}_{end}" for key in ("training", "validation", "gap") for end in ("low", "high")}


def test_the_interval_of_the_gap_counts_patients_and_all_else_is_what_it_was_without():
    monitor, right = patients("2")
    plain, _ = patients(None)
    found = {key: value for key, value in monitor.values.items() if not key.startswith("group_")}
    more = found.keys() - plain.values.keys()
    assert {key for key in more if not key.startswith("gain_low_of_images/")} == {"groups/all", "gap_low_of_images"}
    assert found["groups/all"] == 20
    for key, value in plain.values.items():
        of_a_gap_by_chance = key.startswith("share/") and bool(found[key].isnan())  # ten patients may differ so much
        if key not in BY_GROUP and not of_a_gap_by_chance and key.split("/")[0] not in MENDED_BY_GROUP:
            torch.testing.assert_close(found[key], value, rtol=0, atol=0, equal_nan=True)
    patient = torch.arange(240) % 10
    rate = clustered_rate(patient.bincount(right), patient.bincount())
    assert (found["validation_low"], found["validation_high"]) == (rate.low, rate.high)
    assert found["gap_low_of_images"] == plain.values["gap_low"] > found["gap_low"]


def test_of_three_patients_the_gap_has_no_interval_and_shares_of_it_are_told_all_the_same():
    monitor, _ = patients("2", number=3)
    assert bool(monitor.values["gap_low"].isnan())
    assert "fewer than 4 groups hold such images" in monitor.undefined["gap_low"]
    assert monitor.values["groups/all"] == 6
    assert monitor.values["gap_low_of_images"] > 0.05
    plain, _ = patients(None, number=3)
    for name in ("labels", "input_scale"):
        torch.testing.assert_close(
            monitor.values[f"share/{name}"], plain.values[f"share/{name}"], rtol=0, atol=0, equal_nan=True
        )
    assert not bool(monitor.values["share/labels"].isnan())


def scaled_patients(groups, number):
    """All of validation is on another scale; so many patients."""
    inputs, target = images(240, 1)
    train = Patients(images(320, 0), [row % number for row in range(320)])
    valid = Patients((absorbance(inputs), target), [100 + row % number for row in range(240)])
    monitor = CauseMonitor(groups=groups, budget=5.0, on_error="raise")
    diagnosis = FailureDiagnosis(announce="nothing")
    torch.manual_seed(3)
    data = (DataLoader(train, batch_size=16, shuffle=True), DataLoader(valid, batch_size=32))
    fit([monitor, diagnosis], Net(), data=data, epochs=4)
    return monitor, diagnosis.findings


@pytest.mark.parametrize("number", [3, 8])
def test_another_scale_is_proven_of_few_patients_by_images_and_of_more_by_patients(number):
    monitor, findings = scaled_patients("2", number)
    (found,) = (each for each in findings if each.rule == "proven_mismatch")
    assert found.cause == "input_mismatch"
    values = monitor.values
    assert values["proven"] == 1
    assert bool(values["gain_low/input_scale"].isnan()) == (number == 3)
    assert ("95% interval" in found.why) == (number == 8)
    assert values["gain_low_of_images/input_scale"] > 0.1
    assert not [key for key in found.experiment if key.startswith("gain_low")]


def test_of_groups_by_row_training_images_count_one_by_one():
    monitor, _ = patients([100 + row % 10 for row in range(240)])
    plain, _ = patients(None)
    assert monitor.values["training_low"] == plain.values["training_low"]
    assert monitor.values["validation_low"] < plain.values["validation_low"]
    assert monitor.values["groups/all"] == 10


def test_groups_that_cannot_be_read_after_some_batches_are_forgotten():
    def fails_late(batch):
        if len(batch[0]) < 32:
            raise DiscoveryError("fails_late", "the last batch does not tell", "nothing", "Tell.")
        return batch[2]

    inputs, target = images(80, 1)
    valid = DataLoader(Patients((inputs, target), [row % 8 for row in range(80)]), batch_size=32)
    train = DataLoader(Patients(images(320, 0), [9] * 320), batch_size=32)
    monitor = CauseMonitor(groups=fails_late)
    with pytest.warns(FailuresWarning, match="the last batch does not tell"):
        fit([monitor], Net(), data=(train, valid), epochs=2)
    assert monitor.failure is None
    assert not bool(monitor.values["gap_low"].isnan())
    assert "groups/all" not in monitor.values


def test_groups_that_cannot_be_read_are_left_out_and_nothing_else():
    monitor = CauseMonitor(groups="hospital")
    with pytest.warns(FailuresWarning, match="CauseMonitor does not compare the inputs of images of a group"):
        fit([monitor], epochs=2)
    assert monitor.failure is None
    assert not bool(monitor.values["gap"].isnan())
    assert list(monitor.not_watched) == ["inputs by group"]
    assert not [key for key in monitor.values if key.startswith("group_")]
