"""Monitors in loops of one's own: the same figures as in a Trainer, nothing left behind, and misuse that is said."""

import ast
import inspect
import json
import math
from contextlib import nullcontext
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.fabric.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler

from lightning_failures import (
    CollapseMonitor,
    FactorErrorMonitor,
    FailureDiagnosis,
    GatedCheckpoint,
    GatedEarlyStopping,
    Watch,
    failure_monitors,
)
from lightning_failures.errors import FailuresWarning, InputError
from tests.processes import run_on_processes
from tests.runs import CHANNELS, Classifier, dataset, fit, hooks_on, loaders, table


def monitors(**options):
    """All of them, without a time budget: what they find does not depend on the machine."""
    return failure_monitors(factors=table(), budget=1e9, on_error="raise", **options)


def mean_loss(batches, model):
    losses = [(nn.functional.cross_entropy(model(images), labels), len(labels)) for images, labels in batches]
    return sum(float(loss) * images for loss, images in losses) / sum(images for _, images in losses)


def train(callbacks=None, epochs=2, fabric=None, **options):
    """The loop of ``tests.runs.fit``, by hand; without callbacks nothing watches it."""
    L.seed_everything(7, verbose=False)
    module = Classifier()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    training, validation = loaders()
    if fabric is not None:
        net, optimizer = fabric.setup(module.net, optimizer)
        training, validation = fabric.setup_dataloaders(training, validation)
    else:
        net = module.net
    watch = None if callbacks is None else Watch(net, callbacks, **options)
    with watch or nullcontext():
        for _ in range(epochs):
            net.train()
            for images, labels in training if watch is None else watch.training(training):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(net(images), labels)
                loss.backward() if fabric is None else fabric.backward(loss)
                optimizer.step()
            net.eval()
            with torch.no_grad():
                if watch is None:
                    mean_loss(validation, net)
                    continue
                with watch.evaluation(validation) as batches:
                    watch.log({"val_loss": mean_loss(batches, net)})
    return watch, module


#: What a loop by hand tells nobody: its optimizers; nor does it tell of its losses.
UNTOLD = {f"failures/training/{key}" for key in ("learning_rate", "not_in_optimizer", "stale_parameters")}


def states(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def test_a_plain_loop_logs_what_a_trainer_logs_and_finds_what_it_finds(tmp_path):
    _, module = fit(there := monitors(report_dir=tmp_path / "trainer"), num_sanity_val_steps=0)
    watch, by_hand = train(monitors(report_dir=tmp_path / "plain"))
    assert same(states(module), states(by_hand))
    one, other = there[-1].record.evaluations, watch.diagnosis.record.evaluations
    assert [(each.epoch, each.step) for each in one] == [(each.epoch, each.step) for each in other] == [(0, 6), (1, 12)]
    for trainers, plain in zip(one, other, strict=True):
        expected = {key.replace("/net.", "/model."): value for key, value in trainers.values.items()}  # of a layer
        assert expected.keys() == plain.values.keys()
        assert len(plain.values) > 100
        for key, value in expected.items():
            known = key not in UNTOLD and not key.startswith("failures/training/loss")
            assert plain.values[key] == pytest.approx(value if known else math.nan, rel=1e-5, nan_ok=True), key
    counted = {"failures/findings": float(len(watch.findings))}  # of the diagnosis, beside its own findings
    assert watch.values == pytest.approx(other[-1].values | counted, nan_ok=True)
    assert [finding.kind for finding in watch.findings] == [finding.kind for finding in there[-1].findings]
    for name in ("findings.json", "records.json", "report.html"):
        assert (tmp_path / "plain" / name).exists()
    kept = [json.loads((tmp_path / run / "records.json").read_text())[0] for run in ("trainer", "plain")]
    assert kept[0]["columns"] == kept[1]["columns"]
    assert kept[0]["not_watched"] == kept[1]["not_watched"]


def test_a_plain_loop_trains_to_the_same_weights_bit_by_bit_and_keeps_no_hook():
    _, alone = train()
    state = torch.get_rng_state()
    _, watched = train(monitors())
    assert same(states(alone), states(watched))
    assert torch.equal(state, torch.get_rng_state())
    assert hooks_on(watched) == 0


def test_a_fabric_loop_trains_to_the_same_weights_and_logs_to_its_loggers(tmp_path):
    logger = CSVLogger(tmp_path)
    _, alone = train(fabric=L.Fabric(accelerator="cpu", devices=1))
    fabric = L.Fabric(accelerator="cpu", devices=1, loggers=logger)
    watch, watched = train(monitors(), fabric=fabric, loggers=fabric.loggers)
    assert same(states(alone), states(watched))
    assert hooks_on(watched) == 0
    plain, _ = train(monitors())
    assert watch.values == pytest.approx(plain.values, nan_ok=True)
    header, *lines = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text().splitlines()
    assert {"val_loss", "epoch", "step", "failures/accuracy"} <= set(header.split(","))
    assert "failures/findings" in header
    assert len(lines) == 2


def test_mixed_precision_of_fabric_is_that_of_the_examinations():
    fabric = L.Fabric(accelerator="cpu", devices=1, precision="bf16-true")
    watch, _ = train(monitors(), fabric=fabric)
    assert watch.diagnosis.record.not_watched == {}
    assert not math.isnan(watch.values["failures/channels/largest_change"])


def test_an_evaluation_in_inference_mode_logs_what_one_without_gradients_logs():
    def evaluated(context):
        L.seed_everything(7, verbose=False)
        module = Classifier()
        watch = Watch(module, monitors())
        for images, labels in watch.training(loaders()[0]):
            nn.functional.cross_entropy(module.net(images), labels).backward()
        module.eval()
        with context(), watch.evaluation(loaders()[1]) as batches:
            for images, _ in batches:
                module.net(images)
        module.net(images.clone()).sum().backward()  # nothing of the model has become an inference tensor
        return watch.values

    assert evaluated(torch.inference_mode) == pytest.approx(evaluated(torch.no_grad), nan_ok=True)


def test_layers_are_named_as_in_a_module_that_holds_the_model():
    model = nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * 25, 8), nn.ReLU(), nn.Linear(8, 3))
    watch = Watch(model, [CollapseMonitor("model.1", on_error="raise")])
    one_evaluation(model, watch)
    assert "failures/collapse/effective_rank/model.1" in watch.values


@pytest.fixture
def loop():
    """A model, and a watch over it without anything that prints."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * 25, 8), nn.ReLU(), nn.Linear(8, 3))
    watch = Watch(model, [CollapseMonitor(on_error="raise"), FailureDiagnosis(announce="nothing")])
    return model, watch


def one_evaluation(model, watch, **options):
    with torch.no_grad(), watch.evaluation(loaders()[1], **options) as batches:
        for images, _ in batches:
            model(images)


def test_an_error_in_a_step_takes_the_hooks_off_and_the_loop_may_go_on(loop):
    model, watch = loop

    def train():
        for images, _ in watch.training(loaders()[0]):
            model(images)
            raise ZeroDivisionError

    def evaluate():
        with watch.evaluation(loaders()[1]) as batches:
            watch.log({"val_acc": 0.9})
            for images, _ in batches:
                assert hooks_on(model) > 0
                model(images)
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()
    assert hooks_on(model) == 0
    one_evaluation(model, watch)
    before = watch.values
    with pytest.raises(ZeroDivisionError):
        evaluate()
    assert hooks_on(model) == 0
    assert watch.values is before
    for images, _ in watch.training(loaders()[0]):
        model(images)
    one_evaluation(model, watch)
    assert "val_acc" not in watch.values  # the evaluation that logged it was broken off
    assert watch.values["failures/collapse/accuracy"] == before["failures/collapse/accuracy"]
    with pytest.warns(FailuresWarning, match="'val_acc' was not logged"):
        assert watch.gate("val_acc >= 0.5").why == "val_acc has not been logged"
    assert watch.diagnosis.record.evaluations[-1].step == 6


def test_a_step_that_fails_by_itself_leaves_no_hook_either(loop):
    model, watch = loop
    images, labels = next(iter(loaders()[0]))

    def step():
        with watch.training_step((images, labels)):
            assert hooks_on(model) > 0
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        step()
    assert (hooks_on(model), watch.step) == (0, 0)
    with watch.training_step((images, labels)):
        model(images)
    assert (hooks_on(model), watch.step) == (0, 1)


def test_a_batch_at_which_the_loop_is_left_does_not_count(loop):
    model, watch = loop
    for place, (images, _) in enumerate(watch.training(loaders()[0])):
        if place == 2:
            break
        model(images)
    assert (watch.step, hooks_on(model)) == (2, 0)
    with watch.evaluation(loaders()[1]) as batches:
        for images, _ in batches:
            if batches.steps == 2:
                break
            model(images)
    assert watch.values["failures/collapse/images"] == 16
    assert hooks_on(model) == 0


def test_an_evaluation_inside_the_training_loop_begins_after_the_step(loop):
    model, watch = loop
    for place, (images, _) in enumerate(watch.training(loaders()[0])):
        model(images)
        if place in (1, 3):
            one_evaluation(model, watch)
    assert [each.step for each in watch.diagnosis.record.evaluations] == [2, 4]
    assert [each.epoch for each in watch.diagnosis.record.evaluations] == [0, 0]
    assert watch.step == 6


def test_evaluations_alone_count_as_epochs_and_steps_unless_they_are_given(loop):
    model, watch = loop
    one_evaluation(model, watch)
    one_evaluation(model, watch)
    one_evaluation(model, watch, epoch=5, step=700)
    assert [(each.epoch, each.step) for each in watch.diagnosis.record.evaluations] == [(0, 0), (1, 1), (5, 700)]


def test_a_test_is_logged_and_no_rule_looks_at_it(loop):
    model, watch = loop
    one_evaluation(model, watch)
    one_evaluation(model, watch, stage="test", step=3)
    assert len(watch.diagnosis.record.evaluations) == 1
    assert watch.values["failures/collapse/images"] == 30


def test_what_a_step_gives_may_be_named():
    model = nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * 25, 3), nn.Linear(3, 3))
    watch = Watch(model, [CollapseMonitor(on_error="raise")])
    with watch.evaluation(loaders()[1]) as batches:
        for images, labels in batches:
            model(images)
            watch.outputs = {"logits": nn.functional.one_hot(labels, 3).float()}
    assert watch.values["failures/collapse/accuracy"] == 1
    assert watch.values["failures/collapse/images"] == 30


def test_the_gate_says_why_and_takes_nothing_from_before_the_last_training(loop):
    model, watch = loop
    with torch.no_grad(), watch.evaluation(loaders()[1]) as batches:
        for images, _ in batches:
            model(images)
        watch.log({"val_f1": 0.8, "val_loss": torch.tensor([0.5])})
    assert watch.gate(["val_f1 >= 0.8", "failures/collapse/images >= 30", "val_loss <= 0.5"]).feasible
    verdict = watch.gate("val_f1 >= 0.9")
    assert (verdict.feasible, verdict.why) == (False, "val_f1 = 0.8 violates >= 0.9 by 0.1")
    for images, _ in watch.training(loaders()[0]):
        model(images)
    assert watch.gate("val_f1 >= 0.8").why == "val_f1 was not logged at this evaluation"
    one_evaluation(model, watch)
    assert watch.gate("val_f1 >= 0.8").why == "val_f1 was not logged at this evaluation"
    assert watch.gate("failures/collapse/images >= 30").feasible
    with pytest.warns(FailuresWarning, match=r"^Watch.gate: 'val_f' was not logged.*'val_f1'"):
        assert watch.gate("val_f >= 0.8").why == "val_f has not been logged"


def test_a_rule_or_a_constraint_may_ask_for_the_end():
    model = nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * 25, 3))
    rule = {"name": "low", "kind": "own_rule", "when": "val_acc < 0.5", "message": "Low."}
    rule |= {"action": "stop", "persistence": 1, "warmup": 0}
    for callback in (
        FailureDiagnosis([rule], announce="nothing"),
        GatedEarlyStopping("val_acc >= 0.5", patience=1),
    ):
        watch = Watch(model, [callback])
        for accuracy, stops in ((0.6, False), (0.4, True)):
            with watch.evaluation(loaders()[1]) as batches:
                watch.log({"val_acc": accuracy})
                for images, _ in batches:
                    model(images)
            assert watch.should_stop is stops


def test_a_loop_that_raises_has_its_report_all_the_same(tmp_path, capsys):
    model = nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * 25, 3))

    def run():
        with Watch(model, failure_monitors(report_dir=tmp_path)) as watch:
            for images, _ in watch.training(loaders()[0]):
                model(images)
            one_evaluation(model, watch)
            for images, _ in watch.training(loaders()[0]):
                model(images)
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert (tmp_path / "report.html").exists()
    assert "Verdict" in capsys.readouterr().out
    assert hooks_on(model) == 0


def test_closing_twice_says_one_verdict_and_what_was_found_can_still_be_asked(capsys):
    model = nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * 25, 3))
    with Watch(model) as watch:
        for images, _ in watch.training(loaders()[0]):
            model(images)
        one_evaluation(model, watch)
        watch.close()
    watch.close()
    assert capsys.readouterr().out.count("Verdict") == 1
    assert watch.gate("failures/collapse/images >= 30").feasible
    for call in (
        lambda: next(iter(watch.training([]))),
        lambda: watch.training_step(None).__enter__(),
        lambda: watch.evaluation([]).__enter__(),
        lambda: watch.log({"a": 1}),
    ):
        with pytest.raises(InputError, match=r": the watch is closed; given a call after its end\. Make a new Watch"):
            call()


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (
            print,
            "Watch: this is no model; given a builtin_function_or_method. Pass the torch.nn.Module that you train.",
        ),
        (
            nn.Flatten(),
            "Watch: the model has no parameters; given a Flatten. Pass the module that you train, once its layers are "
            "made.",
        ),
    ],
)
def test_what_is_no_model_is_said(model, text):
    with pytest.raises(InputError) as error:
        Watch(model)
    assert str(error.value) == text


def test_callbacks_that_need_a_trainer_are_refused_and_so_are_two_owners_of_a_key():
    model = nn.Linear(2, 2)
    with pytest.raises(InputError) as error:
        Watch(model, [GatedCheckpoint("val_acc >= 1")])
    assert str(error.value) == (
        "Watch: this callback needs a Trainer; given GatedCheckpoint. Pass monitors, FailureDiagnosis, "
        "GatedEarlyStopping; in place of a GatedCheckpoint ask watch.gate()."
    )
    with pytest.raises(InputError, match=r"^CollapseMonitor: two monitors of the Trainer log the same keys"):
        Watch(model, [CollapseMonitor(), CollapseMonitor()])


def test_each_misuse_of_a_loop_is_one_sentence(loop):
    model, watch = loop
    batch = next(iter(loaders()[1]))

    def said(call):
        with pytest.raises(InputError) as error:
            call()
        return str(error.value)

    assert said(lambda: next(iter(watch.evaluation([batch])))) == (
        "Watch.evaluation: the evaluation does not run; given a step outside its `with` block. Write `with "
        "watch.evaluation(loader) as batches:`, and the loop inside it."
    )
    with watch.evaluation([batch]) as batches:
        assert said(lambda: watch.evaluation([batch]).__enter__()) == (
            "Watch.evaluation: another evaluation is running; given a second one inside it. Leave the `with` block of "
            "the one before the next begins."
        )
        assert said(lambda: next(iter(watch.training([batch])))) == (
            "Watch.training: an evaluation is running; given a training step. Train outside of `with "
            "watch.evaluation(...)`."
        )
        assert said(lambda: watch.gate("a <= 1")) == (
            "Watch.gate: an evaluation is running, whose values are not known yet; given a gate. Ask after the `with` "
            "block of the evaluation."
        )
        assert said(watch.close) == (
            "Watch.close: an evaluation is running; given its `with` block is not left yet. Close the watch after the "
            "`with` block of the evaluation."
        )
        for images, _ in batches:
            assert said(lambda: batches.step(batch).__enter__()) == (
                "Watch.evaluation: another step is running; given a step inside a step. Iterate over the evaluation, "
                "or use `step`, not both."
            )
            model(images)
        assert said(lambda: next(iter(batches))) == (
            "Watch.evaluation: the evaluation has seen batches already; given a second loop. Begin another evaluation "
            "for another pass over the loader."
        )
    assert watch.values["failures/collapse/images"] == 8
    assert said(lambda: watch.evaluation([batch], stage="train")) == (
        "Watch.evaluation: there is no such stage; given 'train'. Use 'fit' or 'test'."
    )
    assert said(lambda: watch.log({"failures/x": 1.0})) == (
        "Watch.log: keys under failures/ belong to the monitors; given 'failures/x'. Choose a key of your own, such as "
        "'val_acc'."
    )
    assert said(lambda: watch.log({"val_acc": torch.ones(2)})) == (
        "Watch.log: this is no number; given 'val_acc' with (2,). Log one number per key."
    )
    assert said(lambda: Watch(model, []).findings) == (
        "Watch: nobody looks for findings; given callbacks without a FailureDiagnosis. Add one after the monitors, or "
        "use those of failure_monitors()."
    )


@pytest.mark.parametrize(("data", "why"), [([], "its loader is empty"), ([1], "its loop did not go over it")])
def test_an_evaluation_without_a_batch_is_warned_of(loop, data, why):
    text = f"^Watch.evaluation: no batch was seen, so nothing was evaluated: {why}.\n"
    with pytest.warns(FailuresWarning, match=text), loop[1].evaluation(data):
        pass


def test_a_loop_that_evaluates_nothing_is_told_so_at_its_end(loop):
    model, watch = loop
    for images, _ in watch.training(loaders()[0]):
        model(images)
    with pytest.warns(FailuresWarning, match=r"^Watch: no evaluation was told of, so nothing was looked for\.\n"):
        watch.close()


def asked_of(name):
    """Attributes that the package's callbacks read of whatever is called so, by file."""
    found = set()
    for file in Path(inspect.getfile(Watch)).parents[1].rglob("*.py"):
        if file.parent.name == "replay":  # a fit of Lightning's own Trainer
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value).rpartition(".")[2] == name:
                found.add((file.name, node.attr))
    others = ("checkpoint.py", "hugging_face.py")  # a callback that a watch refuses; another package's Trainer
    return {(file, attribute) for file, attribute in found if file not in others}


def test_what_callbacks_ask_of_a_trainer_and_its_module_is_answered(loop):
    model, watch = loop
    one_evaluation(model, watch)
    of_trainer, of_module = asked_of("trainer"), asked_of("pl_module") | asked_of("module")
    assert ("monitor.py", "sanity_checking") in of_trainer
    assert ("evaluation_context.py", "device") in of_module
    assert {each for each in of_trainer if not hasattr(watch._loop, each[1])} == set()
    assert {each for each in of_module if not hasattr(watch._loop.lightning_module, each[1])} == set()
    assert hasattr(watch._loop.strategy, "reduce_boolean_decision")


class Hears(CollapseMonitor):
    """Notes the training batches that it is told of, and the ends of epochs."""

    told: tuple[object, ...] = ()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        self.told += (trainer.global_step, batch_idx, trainer.num_training_batches)

    def on_train_epoch_end(self, trainer, pl_module):
        super().on_train_epoch_end(trainer, pl_module)
        self.told += (trainer.current_epoch,)


def test_callbacks_hear_of_epochs_and_places_as_in_a_trainer():
    fit(there := Hears(), num_sanity_val_steps=0)
    train([mine := Hears()])
    assert mine.told == there.told
    assert len(mine.told) == 2 * (6 * 3 + 1)


def on_a_process(rank, world, ddp=True):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * 25, 8), nn.ReLU(), nn.Linear(8, 3))
    wrapped = nn.parallel.DistributedDataParallel(model) if ddp else model
    callbacks = [FactorErrorMonitor(table(37), on_error="raise"), CollapseMonitor(on_error="raise")]
    watch = Watch(wrapped, [*callbacks, FailureDiagnosis(announce="nothing")])
    data = dataset(37, seed=1)
    sampler = DistributedSampler(data, world, rank, shuffle=False) if ddp else None
    with torch.no_grad(), watch.evaluation(DataLoader(data, 4, sampler=sampler)) as batches:
        for images, _ in batches:
            wrapped(images)
        watch.log({"mine": float(rank)})
    return watch.values, watch.gate("mine <= 0").why, hooks_on(model)


@pytest.mark.slow
def test_two_processes_log_what_one_logs_without_the_sampler_s_padding_and_judge_together():
    alone, why, _ = on_a_process(0, 1, ddp=False)
    assert (alone["failures/collapse/images"], why) == (37, "")
    for values, why, hooks in run_on_processes(2, on_a_process):
        assert why == "mine = 1 violates <= 0 by 1 on rank 1"
        assert hooks == 0
        for key in alone.keys() - {"mine"}:
            assert values[key] == pytest.approx(alone[key], rel=1e-5, abs=1e-7, nan_ok=True), key
