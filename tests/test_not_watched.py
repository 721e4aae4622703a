import json
from io import StringIO

import pytest
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import FactorErrorMonitor, failure_monitors
from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.errors import FailuresWarning
from lightning_failures.records import Evaluation, RunRecord
from lightning_failures.reporting.console import print_verdict
from lightning_failures.reporting.report import write_report
from lightning_failures.reporting.sentences import tally
from tests.runs import Classifier, dataset, fit

NOT_THE_LOGITS = "forward does not give the step's logits back"


class Apart(Classifier):
    """Its step takes the network apart, so that it cannot be run again."""

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self.net[-1](self.net[:-1](batch[0])), batch[1])

    validation_step = training_step


def test_a_module_that_cannot_be_run_again_is_said_not_to_be_examined(tmp_path):
    callbacks = failure_monitors(report_dir=tmp_path, on_error="raise")
    fit(callbacks, Apart(), epochs=2)
    record = callbacks[-1].record
    assert list(record.not_watched) == [
        "what decides the predictions",
        "which bands the predictions depend on",
        "why it fails",
    ]
    assert all(NOT_THE_LOGITS in why for why in record.not_watched.values())
    said = tally(record)
    assert said.startswith("No rule found a failure in 2 evaluations, but the accuracy is ")  # a network of two epochs
    _, _, rest = said.partition("; not examined: ")
    assert rest.startswith("what decides the predictions, which bands the predictions depend on, why it fails (")
    assert NOT_THE_LOGITS in rest
    assert len(rest) < 200
    out = StringIO()
    print_verdict([record], COLUMNS, Console(file=out, width=200))
    assert "not examined: what decides the predictions" in " ".join(out.getvalue().split())
    page = (tmp_path / "report.html").read_text()
    assert "What was not examined, and why" in page
    assert "Not examined: what decides the predictions" in page
    assert json.loads((tmp_path / "findings.json").read_text())["runs"]["run"]["not_watched"] == record.not_watched


def test_a_run_that_is_watched_whole_says_nothing_of_it(tmp_path):
    callbacks = failure_monitors(report_dir=tmp_path, budget=1e9, on_error="raise")
    fit(callbacks, epochs=2)
    assert callbacks[-1].record.not_watched == {}
    assert "not examined" not in tally(callbacks[-1].record)
    assert "not examined" not in (tmp_path / "report.html").read_text()


def test_a_monitor_that_stepped_aside_is_said_with_its_name_and_cause():
    callbacks = [FactorErrorMonitor(["rain"], name="weather"), *failure_monitors(factors=["fog"], budget=1e9)]
    with pytest.warns(FailuresWarning):
        fit(callbacks, epochs=1)
    record = callbacks[-1].record
    assert list(record.not_watched) == ["errors by factor (weather)", "errors by factor", "inputs by factor"]
    said = "; not examined: errors by factor (weather), errors by factor, inputs by factor"
    assert tally(record).endswith(f"{said} (the batch does not hold the factors).")


def test_without_labels_and_without_logits_the_collapse_monitor_says_what_it_leaves_out():
    class Unlabelled(Classifier):
        def validation_step(self, batch, _):
            return {"logits": self.net(batch[0])}

    images = TensorDataset(dataset().tensors[0])
    callbacks = failure_monitors()
    with pytest.warns(FailuresWarning, match="no targets were found"):
        fit(callbacks, Unlabelled(), data=(DataLoader(dataset(), 8), DataLoader(images, 8)), epochs=1)
    assert callbacks[0].not_watched == {"geometry of the classes": "no labels of one class per row"}
    assert "geometry of the classes (no labels of one class per row)" in tally(callbacks[-1].record)


def test_a_record_keeps_it_and_an_old_one_has_none():
    record = RunRecord("raw", [Evaluation(0, 1, {"val_loss": 1.0})], not_watched={"errors by factor": "why"})
    plain = record.to_dict()
    assert RunRecord.from_dict(plain) == record
    del plain["not_watched"]
    assert RunRecord.from_dict(plain).not_watched == {}


def test_a_reason_is_said_to_the_end_of_its_sentence():
    sentence = (
        "the loader shuffles, so no image is the same as at the evaluation before, and what is compared image by image "
        "cannot be told"
    )
    why = f"FactorErrorMonitor: {sentence}. Pass shuffle=False; given DataLoader"
    record = RunRecord("raw", [Evaluation(0, 1, {"val_loss": 1.0})], not_watched={"spill-over": why})
    assert tally(record).endswith(f"spill-over ({sentence}).")


def test_a_long_reason_is_cut_in_the_verdict_and_whole_in_the_report(tmp_path):
    why = "TypeError: " + "cannot unpack " * 40
    record = RunRecord("raw", [Evaluation(0, 100, {"val_loss": 1.0})], not_watched={"errors by factor": why.strip()})
    assert len(tally(record)) < 400
    assert tally(record).endswith("cannot unpack …).")
    assert why.strip() in write_report(tmp_path, [record], COLUMNS).read_text()
