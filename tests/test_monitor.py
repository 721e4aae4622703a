"""The monitors on real, tiny Lightning runs."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import (
    CollapseMonitor,
    FactorErrorMonitor,
    FactorTable,
    FailureDiagnosis,
    SimplicityBiasMonitor,
    failure_monitors,
)
from lightning_failures.callbacks.monitor import Monitor
from lightning_failures.errors import FailuresWarning
from tests.runs import Classifier, dataset, fit, hooks_on, loaders, table


def test_the_monitors_log_under_one_prefix_and_leave_the_users_values_alone():
    run, _ = fit(failure_monitors(factors=table(), on_error="raise"))
    keys = set(run.callback_metrics)
    assert "val_loss" in keys
    assert {key.split("/")[0] for key in keys - {"val_loss"}} == {"failures"}
    for key in (
        "factors/error_ratio/bright",
        "factors/low/dark",
        "factors/error_ratio/worst",
        "collapse/effective_rank/penultimate",
        "collapse/logit_effective_rank",
        "simplicity/model_accuracy",
        "simplicity/reference_accuracy",
        "simplicity/own/1",
    ):
        assert f"failures/{key}" in keys, key


def test_trained_weights_are_bitwise_the_same_with_and_without_the_monitors():
    _, alone = fit([])
    _, watched = fit(failure_monitors(factors=table(), on_error="raise"))
    for (name, plain), (_, with_us) in zip(alone.state_dict().items(), watched.state_dict().items(), strict=True):
        assert torch.equal(plain, with_us), name


def test_no_hook_and_no_monitor_stays_on_the_module():
    _, module = fit(failure_monitors(factors=table(), on_error="raise"))
    assert hooks_on(module) == 0
    assert not any(isinstance(child, Monitor) for child in module.modules())
    copy.deepcopy(module)


def test_hooks_come_off_after_an_exception_in_the_users_step():
    class Broken(Classifier):
        def validation_step(self, batch, batch_idx):
            super().validation_step(batch, batch_idx)
            if batch_idx == 1 and not self.trainer.sanity_checking:
                raise ArithmeticError("the user's own")

    module = Broken()
    with pytest.raises(ArithmeticError):
        fit(failure_monitors(factors=table()), module)
    assert hooks_on(module) == 0


def test_the_logged_figures_are_those_of_the_final_model_on_the_validation_data():
    run, module = fit(failure_monitors(factors=table(), on_error="raise"), num_sanity_val_steps=0)
    images, labels = dataset(30, seed=1).tensors
    with torch.no_grad():
        wrong = module.eval().net(images).argmax(1) != labels
    values = {key: float(value) for key, value in run.callback_metrics.items()}
    assert values["failures/simplicity/model_accuracy"] == pytest.approx(1 - wrong.float().mean().item())
    assert values["failures/factors/error/all"] == pytest.approx(wrong.float().mean().item())
    bright = table().values[:, 0]
    expected = wrong[bright].float().mean() / wrong.float().mean()
    assert values["failures/factors/error_ratio/bright"] == pytest.approx(expected.item())


def test_the_linear_reference_is_fitted_on_the_training_data_alone():
    monitor = SimplicityBiasMonitor(on_error="raise")
    fit([monitor], epochs=1)
    images, labels = dataset().tensors
    spectra = images.mean((2, 3)).double()
    assert monitor.reference is not None
    weight, bias = monitor.reference
    accuracy = ((spectra @ weight.T + bias).argmax(1) == labels).double().mean()
    assert accuracy > 0.9
    centred = spectra - spectra.mean(0)
    first = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]
    assert abs(float(first @ monitor.directions[:, 0].double())) == pytest.approx(1, abs=1e-6)


def test_validate_and_test_are_watched_too():
    monitors = [FactorErrorMonitor(table(), on_error="raise"), CollapseMonitor(on_error="raise")]
    run, module = fit(monitors, epochs=1)
    for verb in (run.validate, run.test):
        logged = verb(module, loaders()[1], verbose=False)[0]
        assert "failures/collapse/effective_rank/penultimate" in logged
        assert logged["failures/worst_factor"] == run.callback_metrics["failures/factors/error_ratio/worst"]
        assert hooks_on(module) == 0


def test_a_monitor_that_fails_warns_once_with_its_cause_and_training_goes_on():
    diagnosis = FailureDiagnosis()
    monitors = [FactorErrorMonitor(["fog"]), diagnosis]
    with pytest.warns(FailuresWarning) as caught:
        run, module = fit(monitors)
    (warning,) = (str(warning.message) for warning in caught if warning.category is FailuresWarning)
    assert warning == (
        "FactorErrorMonitor(factors=...) stepped aside, training goes on: "
        "the batch does not hold the factors; given no field 'fog', and 0 integer or bool tensors of shape (8, 1).\n"
        "Name where they are, factors='meta.factors' with names=[...], or pass a FactorTable of the dataset's rows."
    )
    assert run.current_epoch == 2
    assert hooks_on(module) == 0
    (finding,) = diagnosis.findings
    assert (finding.kind, finding.subject) == ("monitor_error", "FactorErrorMonitor")


def test_on_error_raise_stops_the_run():
    with pytest.raises(LookupError, match="the batch does not hold the factors"):
        fit([FactorErrorMonitor(["fog"], on_error="raise")])


def test_a_batch_without_targets_says_what_to_name():
    class Unlabelled(Classifier):
        def validation_step(self, batch, _):
            return {"logits": self.net(batch[0])}

    images = TensorDataset(dataset().tensors[0])
    data = (DataLoader(dataset(), batch_size=8), DataLoader(images, batch_size=8))
    with pytest.warns(
        FailuresWarning, match=r"no targets were found; .*\nName the field that holds them: targets='label'"
    ):
        run, _ = fit([SimplicityBiasMonitor(), CollapseMonitor(on_error="raise")], Unlabelled(), data=data)
    assert "failures/collapse/effective_rank/penultimate" in run.callback_metrics


def test_a_task_that_nothing_tells_is_not_judged_by_classes_and_that_is_said(caplog):
    class Unlabelled(Classifier):
        def training_step(self, batch, _):
            return self.net(batch[0]).square().mean()

        def validation_step(self, batch, _):
            self.net(batch[0])

    images = TensorDataset(dataset().tensors[0])
    data = (DataLoader(images, batch_size=8), DataLoader(images, batch_size=8))
    monitors = failure_monitors(on_error="raise")
    with caplog.at_level("INFO"):
        run, _ = fit(monitors, Unlabelled(), data=data)
    assert "failures/collapse/effective_rank/penultimate" in run.callback_metrics
    assert not any(key.startswith("failures/simplicity/") for key in run.callback_metrics)
    assert "failures/collapse/logit_effective_rank" not in run.callback_metrics
    why = (
        "it needs classes, and this is a task that is not known: "
        "no loss of labels was heard, and no layer's output fits the labels"
    )
    assert monitors[1].not_watched == {"what decides the predictions": why}
    (said,) = [record.message for record in caplog.records if "it does not watch" in record.message]
    watched = "collapse of features and predictions, faults of the training step, images on both sides of the split"
    assert said.startswith(f"lightning-failures watches {watched}; it does not watch ")


def test_a_table_of_another_length_than_the_dataset_is_refused():
    with pytest.raises(ValueError, match="a table of 29 rows, a dataset of 30 images"):
        fit([FactorErrorMonitor(FactorTable(("a",), torch.arange(29)[:, None] % 2 == 0), on_error="raise")])


def test_infinite_logits_are_counted_and_never_silent():
    class Exploding(Classifier):
        def validation_step(self, batch, _):
            logits = self.net(batch[0]).clone()
            logits[0] = torch.nan
            return {"logits": logits}

    run, _ = fit([CollapseMonitor(on_error="raise"), FactorErrorMonitor(table(), on_error="raise")], Exploding())
    values = run.callback_metrics
    assert values["failures/collapse/non_finite"] == 4
    assert values["failures/factors/images/non_finite"] == 4


def test_a_resumed_run_keeps_its_linear_reference(tmp_path):
    monitor = SimplicityBiasMonitor(on_error="raise")
    run, _ = fit([monitor], epochs=1)
    run.save_checkpoint(tmp_path / "run.ckpt")
    again = SimplicityBiasMonitor(on_error="raise")
    again.load_state_dict(torch.load(tmp_path / "run.ckpt", weights_only=True)["callbacks"][monitor.state_key])
    assert torch.equal(again.reference.weight, monitor.reference.weight)
    assert torch.equal(again.directions, monitor.directions)


def test_a_compiled_network_is_watched_without_running_into_the_recompile_limit():
    class Compiled(Classifier):
        def __init__(self):
            super().__init__()
            self.net = torch.compile(self.net, backend="eager")

    fails = ("fail_on_recompile_limit_hit", "fail_on_cache_limit_hit")  # its name, and that of torch 2.6
    settings = {name: True for name in fails if hasattr(torch._dynamo.config, name)}
    assert settings
    with torch._dynamo.config.patch(error_on_recompile=False, **settings):
        monitors = failure_monitors(factors=table(), budget=1e9, on_error="raise")
        _, module = fit(monitors, Compiled(), epochs=3)
    assert monitors[2].examining.reasons({"own/1": ""}) == {"own/1": ""}
    assert hooks_on(module) == 0


def test_mixed_precision_is_watched_in_full_precision():
    monitors = failure_monitors(factors=table(), budget=1e9, on_error="raise")
    run, _ = fit(monitors, precision="bf16-mixed")
    assert float(run.callback_metrics["failures/collapse/effective_rank/penultimate"]) >= 1
    assert monitors[2].examining.reasons({"own/1": ""}) == {"own/1": ""}


def test_tables_figures_findings_and_report_are_written_where_the_user_said(tmp_path):
    from lightning.pytorch.loggers import CSVLogger

    callbacks = failure_monitors(factors=table(), report_dir=tmp_path / "report", budget=None, on_error="raise")
    fit(callbacks, logger=CSVLogger(tmp_path / "logs", name="", version=""))
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {"report/findings.json", "report/report.html", "logs/metrics.csv"} <= written
    assert any(path.startswith("logs/failures/") and path.endswith(".png") for path in written), written
    assert any(path.startswith("logs/failures/") and path.endswith(".jsonl") for path in written), written
    assert "failures/factors/error_ratio/bright" in (tmp_path / "logs/metrics.csv").read_text()


def test_an_error_of_the_diagnosis_does_not_stop_the_run(tmp_path):
    (tmp_path / "report").write_text("a file where the folder should be")
    said = "FailureDiagnosis stepped aside, training goes on. write_report: a file cannot be written"
    with pytest.warns(FailuresWarning, match=said):
        run, _ = fit([CollapseMonitor(on_error="raise"), FailureDiagnosis(report_dir=tmp_path / "report")])
    assert run.current_epoch == 2


def test_a_module_that_cannot_be_run_again_gets_no_interchange_and_the_reason():
    class Apart(Classifier):
        def training_step(self, batch, _):
            return nn.functional.cross_entropy(self.net[-1](self.net[:-1](batch[0])), batch[1])

        validation_step = training_step

    monitor = SimplicityBiasMonitor(on_error="raise")
    run, _ = fit([monitor], Apart())
    assert run.callback_metrics["failures/simplicity/own/1"].isnan()
    assert "Give the module a forward(inputs) that returns its logits" in monitor.undefined["own/1"]


def test_what_was_found_is_said_once_where_lightning_speaks(caplog):
    with caplog.at_level("INFO"):
        fit(failure_monitors(on_error="raise"))
    said = [record.message for record in caplog.records if record.message.startswith("lightning-failures found")]
    assert said == [
        "lightning-failures found inputs = batch['0'] (8, 6, 5, 5), targets = batch['1'], "
        "task = classification by cross_entropy, 3 classes, logits = output of net.6 (8, 3), "
        "features = penultimate (8, 8)"
    ]
