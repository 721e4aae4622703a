"""The verdict on one evaluation alone, as of trainer.test() and trainer.validate()."""

import json

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import FailureDiagnosis, Rule, SimplicityBiasMonitor, failure_monitors
from lightning_failures.callbacks.findings import RuleStreaks
from lightning_failures.records import Evaluation
from tests.runs import Classifier, dataset, fit, loaders, table, trainer

RULE = Rule(
    kind="factor_failure", when="low/* > 1.5", plain_when="low/* > 4", message="{subject} at {low:.1f}", warmup=9
)


def judged(*rules, **values):
    """Severity by subject."""
    found = RuleStreaks().judge(rules, Evaluation(0, 0, {f"low/{key}": value for key, value in values.items()}))
    return {finding.subject: finding.severity for finding in found}


def test_what_is_plain_is_a_failure_and_what_only_holds_is_worth_watching():
    assert judged(RULE, a=1.0, b=2.0, c=5.0) == {"b": "watch", "c": "failure"}


def test_a_rule_that_knows_no_plain_case_counts_where_it_holds():
    own = Rule(kind="own_rule", when="low/* > 1.5", message="{low}", severity="warning", persistence=5)
    assert judged(own, a=2.0) == {"a": "warning"}


def test_what_needs_a_course_is_left_out():
    assert judged(Rule(kind="factor_spillover", when="low/* > 1", message="{low}"), a=9.0) == {}


class Constant(Classifier):
    """Says the same class of every image."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(150, 3))
        with torch.no_grad():
            self.net[1].weight.zero_()
            self.net[1].bias.copy_(torch.tensor([9.0, 0.0, 0.0]))


def test_a_test_of_a_collapsed_network_says_so_with_a_report_of_its_own(tmp_path, capsys):
    callbacks = failure_monitors(factors=table(), report_dir=tmp_path, on_error="raise")
    trainer(callbacks).test(Constant(), loaders()[1], verbose=False)
    alone = callbacks[-1].alone
    assert alone.evaluated == "test"
    assert ("class_collapse", "failure") in {(finding.kind, finding.severity) for finding in alone.standing}
    assert callbacks[-1].record.evaluations == []
    assert "Verdict on the test images" in " ".join(capsys.readouterr().out.split())
    written = json.loads((tmp_path / "test" / "findings.json").read_text())
    assert "class_collapse" in {finding["kind"] for finding in written["findings"]}
    assert (tmp_path / "test" / "report.html").exists()


class Told(Classifier):
    """Tells the class of each image; or, untold, looks at a pixel that has nothing to do with it."""

    def __init__(self, told=True):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(150, 3))
        with torch.no_grad():
            self.net[1].weight.zero_()
            self.net[1].bias.zero_()
            for label in range(3):
                place = slice(25 * label, 25 * label + 25) if told else 125 + label
                self.net[1].weight[label, place] = 1.0


OTHERWISE = {"off by one": [1, 2, 0], "two classes swapped": [0, 2, 1], "as they are": [0, 1, 2]}


@pytest.mark.parametrize("how", ["test", "validate"])
@pytest.mark.parametrize("names", OTHERWISE)
def test_labels_that_stand_for_other_classes_are_named_though_no_training_image_was_seen(names, how):
    images, labels = dataset(300, seed=4).tensors
    data = DataLoader(TensorDataset(images, torch.tensor(OTHERWISE[names])[labels]), batch_size=50)
    callbacks = failure_monitors(on_error="raise")
    getattr(trainer(list(callbacks)), how)(Told(), data, verbose=False)
    found = [(each.kind, each.rule, each.severity, each.cause) for each in callbacks[-1].alone.standing]
    wrong = ("data_fault", "labels_renamed", "failure", "label_mismatch")
    assert (wrong in found) == (names != "as they are")
    assert found == [] or names != "as they are"


def test_a_model_that_cannot_tell_the_classes_is_not_blamed_on_their_names():
    data = DataLoader(dataset(300, seed=4), batch_size=50)
    callbacks = failure_monitors(on_error="raise")
    trainer(list(callbacks)).test(Told(told=False), data, verbose=False)
    assert "labels_renamed" not in {each.rule for each in callbacks[-1].alone.findings}


@pytest.mark.parametrize("share", [0.65, 0.75, 0.95])
def test_a_model_that_names_a_rare_class_for_all_images_is_not_blamed_on_their_names(share):
    # under the name of the frequent class it is right on that share of the images, and tells nothing apart
    labels = torch.where(torch.arange(300) < 300 * share, 1, 2)[torch.randperm(300, generator=torch.manual_seed(0))]
    data = DataLoader(TensorDataset(dataset(300, seed=4).tensors[0], labels), batch_size=50)
    callbacks = failure_monitors(on_error="raise")
    module = Told()
    with torch.no_grad():
        module.net[1].bias[2] += 99.0  # scores differ from image to image, the class does not
    trainer(list(callbacks)).test(module, data, verbose=False)
    values = callbacks[-1].alone.evaluations[0].values
    assert values["failures/causes/renaming_gain_low"] > 0.1
    assert values["failures/causes/renamed_skill_low"] <= 0
    assert {each.rule for each in callbacks[-1].alone.standing} == {"class_collapse"}


def test_labels_of_one_class_alone_cannot_tell_whether_they_are_renamed():
    data = DataLoader(TensorDataset(dataset(100, seed=4).tensors[0], torch.full((100,), 2)), batch_size=50)
    callbacks = failure_monitors(on_error="raise")
    trainer(list(callbacks)).test(Constant(), data, verbose=False)
    assert "failures/causes/renamed_skill_low" in callbacks[-1].alone.evaluations[0].values
    assert torch.tensor(callbacks[-1].alone.evaluations[0].values["failures/causes/renamed_skill_low"]).isnan()
    assert "labels_renamed" not in {each.rule for each in callbacks[-1].alone.findings}


def test_where_labels_are_unbalanced_exchanged_ones_are_named_too():
    images, labels = dataset(600, seed=4).tensors
    kept = torch.cat([(labels == 0).nonzero()[:150, 0], (labels == 1).nonzero()[:30, 0]])
    data = DataLoader(TensorDataset(images[kept], 1 - labels[kept]), batch_size=50)
    callbacks = failure_monitors(on_error="raise")
    trainer(list(callbacks)).test(Told(), data, verbose=False)
    found = {each.rule: each for each in callbacks[-1].alone.standing}
    assert found["labels_renamed"].cause == "label_mismatch"
    assert "Make sure, too, that the trained weights were loaded" in found["labels_renamed"].advice


def test_a_run_that_trains_has_the_training_images_to_hold_the_labels_against():
    callbacks = failure_monitors(on_error="raise")
    run, module = fit(callbacks, epochs=2)
    logged = {key for evaluation in callbacks[-1].record.evaluations for key in evaluation.values}
    run.test(module, loaders()[1], verbose=False)
    logged |= callbacks[-1].alone.evaluations[0].values.keys()
    assert "failures/causes/proven" in logged
    assert "failures/causes/renaming_gain_low" not in logged


def test_a_test_after_a_fit_is_of_its_own_figures_and_leaves_the_record_of_the_fit_alone(capsys):
    callbacks = failure_monitors(on_error="raise")
    run, module = fit(callbacks, epochs=2)
    before = callbacks[-1].record.to_dict()
    run.test(module, loaders()[1], verbose=False)
    run.validate(module, loaders()[1], verbose=False)
    assert callbacks[-1].alone.evaluated == "validation"
    assert len(callbacks[-1].alone.evaluations) == 1
    assert callbacks[-1].record.to_dict() == before
    out = " ".join(capsys.readouterr().out.split())
    assert [out.count(f"Verdict on the {images} images") for images in ("test", "validation")] == [1, 1]


def test_what_is_examined_in_a_test_are_its_images_and_a_later_fit_has_its_own_again():
    simple = SimplicityBiasMonitor(budget=1e9, on_error="raise")
    run, module = fit([simple, FailureDiagnosis(announce="nothing")], epochs=1)
    of_fit = simple.examining.batch.inputs
    run.test(module, DataLoader(dataset(24, seed=3), batch_size=8), verbose=False)
    assert torch.equal(simple.examining.batch.inputs, dataset(24, seed=3).tensors[0])
    run.fit_loop.max_epochs = 2
    run.fit(module, *loaders())
    assert torch.equal(simple.examining.batch.inputs, of_fit)


def test_nothing_is_said_where_nothing_is_to_be_announced(capsys):
    diagnosis = FailureDiagnosis(announce="nothing")
    trainer([SimplicityBiasMonitor(on_error="raise"), diagnosis]).validate(Classifier(), loaders()[1], verbose=False)
    assert "Verdict" not in capsys.readouterr().out
    assert diagnosis.alone.evaluated == "validation"


def test_a_test_without_any_training_says_the_accuracy_that_is_known(capsys):
    trainer(failure_monitors(on_error="raise")).test(Constant(), loaders()[1], verbose=False)
    said = " ".join(capsys.readouterr().out.split())
    share = (dataset(30, seed=1).tensors[1] == 0).double().mean()
    assert f"The accuracy, {share:.2f} on the test images, is no better than chance" in said
    assert "nan" not in said.split("not examined")[0]
