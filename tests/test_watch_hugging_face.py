"""Monitors in a Trainer of Hugging Face: nothing is changed for good, and what is no such Trainer is said."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lightning_failures import CollapseMonitor, FailureDiagnosis, HuggingFaceWatch, failure_monitors
from lightning_failures.errors import InputError
from tests.runs import CHANNELS, Classifier, dataset, hooks_on, table

METHODS = ("train", "training_step", "evaluate", "evaluation_loop", "prediction_step")


class Model(nn.Module):
    """Takes keywords and gives its loss with its logits, as theirs do."""

    def __init__(self):
        super().__init__()
        self.net = Classifier().net

    def forward(self, pixel_values, labels=None):
        logits = self.net(pixel_values)
        loss = {} if labels is None else {"loss": nn.functional.cross_entropy(logits, labels)}
        return {**loss, "logits": logits}


class Broken(Model):
    """Raises in its fourth training step."""

    calls = 0

    def forward(self, pixel_values, labels=None):
        self.calls += self.training
        if self.calls == 4:
            raise ZeroDivisionError
        return super().forward(pixel_values, labels)


@pytest.fixture
def theirs(tmp_path):
    """Makes a Trainer."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    def make(model=None, **options):
        transformers.set_seed(7)
        defaults = {"eval_strategy": "epoch", "save_strategy": "no", "report_to": "none", "disable_tqdm": True}
        settings = {"num_train_epochs": 2, "use_cpu": True, "dataloader_pin_memory": False}
        where = str(tmp_path / "run")
        rows = [
            [{"pixel_values": image, "labels": label} for image, label in dataset(*which)] for which in ((48,), (30, 1))
        ]
        return transformers.Trainer(
            model or Model(),
            transformers.TrainingArguments(where, **(defaults | settings | options)),
            train_dataset=rows[0],
            eval_dataset=rows[1],
            compute_metrics=lambda seen: {"accuracy": float((seen.predictions.argmax(1) == seen.label_ids).mean())},
        )

    return make


def test_the_weights_are_the_same_and_the_trainer_is_as_it_was(theirs, tmp_path):
    alone, watched = theirs(), theirs()
    torch.manual_seed(7)
    alone.train()
    before = {name: getattr(watched, name) for name in METHODS}
    callbacks = failure_monitors(factors=table(), budget=1e9, on_error="raise", report_dir=tmp_path / "report")
    watch = HuggingFaceWatch(watched, callbacks)
    torch.manual_seed(7)
    watched.train()
    for (name, value), other in zip(alone.model.state_dict().items(), watched.model.state_dict().values(), strict=True):
        assert torch.equal(value, other), name
    assert {name: getattr(watched, name) for name in METHODS} == before
    assert hooks_on(watched.model) == 0
    assert (tmp_path / "report" / "report.html").exists()
    evaluations = watch.diagnosis.record.evaluations
    assert [(each.epoch, each.step) for each in evaluations] == [(0, 6), (1, 12)]
    assert watch.diagnosis.record.not_watched == {}
    told = [log["eval_accuracy"] for log in watched.state.log_history if "eval_accuracy" in log]
    assert [each.values["eval_accuracy"] for each in evaluations] == pytest.approx(told)
    assert [each.values["failures/collapse/accuracy"] for each in evaluations] == pytest.approx(told)
    assert "failures/factors/error_ratio/bright" in watch.values
    assert watch.gate("eval_accuracy >= 0").feasible


def test_a_key_of_the_monitors_may_choose_the_best_model_and_only_evaluations_are_watched(theirs):
    trainer = theirs(
        metric_for_best_model="failures/collapse/accuracy", load_best_model_at_end=True, save_strategy="epoch"
    )
    watch = HuggingFaceWatch(trainer, [CollapseMonitor(on_error="raise"), FailureDiagnosis(announce="nothing")])
    trainer.predict(trainer.eval_dataset)
    assert watch.values == {}
    metrics = trainer.evaluate()  # before the training: logged, and in no course of a run
    assert metrics["eval_failures/collapse/accuracy"] == pytest.approx(metrics["eval_accuracy"])
    trainer.train()
    assert len(watch.diagnosis.record.evaluations) == 2
    assert trainer.state.best_metric == max(
        each.values["failures/collapse/accuracy"] for each in watch.diagnosis.record.evaluations
    )


def test_figures_reach_what_the_trainer_reports_to_and_a_rule_may_end_the_training(theirs):
    transformers = pytest.importorskip("transformers")
    told = []

    class Reports(transformers.TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            told.append(logs)

    trainer = theirs(num_train_epochs=5)
    trainer.add_callback(Reports())
    rule = {"name": "low", "kind": "own_rule", "when": "eval_accuracy <= 1", "message": "Low."}
    rule |= {"action": "stop", "persistence": 1, "warmup": 0}
    HuggingFaceWatch(trainer, [CollapseMonitor(on_error="raise"), FailureDiagnosis([rule], announce="nothing")])
    trainer.train()
    assert trainer.state.global_step == 6
    (ours,) = [logs for logs in told if "eval_failures/accuracy" in logs]
    assert "eval_accuracy" not in ours


def test_a_training_that_raises_leaves_no_hook_and_no_method(theirs):
    trainer = theirs(Broken())
    HuggingFaceWatch(trainer, [CollapseMonitor(), FailureDiagnosis(announce="nothing")])
    with pytest.raises(ZeroDivisionError):
        trainer.train()
    assert not set(METHODS) & set(vars(trainer))
    assert hooks_on(trainer.model) == 0


def test_a_watch_that_is_closed_before_the_training_leaves_the_trainer_as_it_was(theirs):
    trainer = theirs(num_train_epochs=1)
    own = trainer.training_step
    trainer.training_step = lambda *arguments, **options: own(*arguments, **options)
    before = {name: getattr(trainer, name) for name in METHODS}
    watch = HuggingFaceWatch(trainer, [CollapseMonitor(), FailureDiagnosis(announce="nothing")])
    assert trainer.train != before["train"]
    watch.close()
    assert {name: getattr(trainer, name) for name in METHODS} == before
    trainer.train()
    assert watch.values == {}


def test_what_is_no_such_trainer_is_said():
    with pytest.raises(InputError) as error:
        HuggingFaceWatch(nn.Linear(CHANNELS, 2))
    assert str(error.value) == (
        "HuggingFaceWatch: this is no Trainer of Hugging Face; given a Linear without training_step. Pass a "
        "transformers.Trainer."
    )
    trainer = SimpleNamespace(**dict.fromkeys((*METHODS, "model", "state", "control")), model_init=Model)
    with pytest.raises(InputError) as error:
        HuggingFaceWatch(trainer)
    assert str(error.value) == (
        "HuggingFaceWatch: the Trainer makes its model anew when it trains; given model_init=.... Give it the model "
        "itself: Trainer(model=...)."
    )
