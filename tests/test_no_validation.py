"""A run that validates nothing: what is watched on its training batches, what is not, and that it is said once."""

import math

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import (
    ChannelAttributionMonitor,
    CollapseMonitor,
    FactorErrorMonitor,
    FailureDiagnosis,
    GatedEarlyStopping,
    SimplicityBiasMonitor,
    failure_monitors,
)
from lightning_failures.callbacks.training_evaluation import why_no_validation
from lightning_failures.errors import FailuresWarning
from lightning_failures.functional import class_moments, linear_discriminant
from lightning_failures.records import RunRecord, Term
from tests.runs import Classifier, dataset, fit, hooks_on, loaders, table
from tests.test_channels_rule import Spectra

KEY = "failures/"
HELD_OUT = "there is no validation, and images that the model was trained on do not tell it"
NOTHING = DataLoader(TensorDataset(torch.zeros(0, 6, 5, 5), torch.zeros(0, dtype=torch.int64)))


class OnlyTraining(Classifier):
    """A classifier without a validation step."""

    validation_step = test_step = L.LightningModule.validation_step


class NoOp(Classifier):
    """A validation step that is there because a template had one."""

    def validation_step(self, batch, _):
        pass


TRAIN = (DataLoader(dataset(72), batch_size=8, shuffle=True),)  # nine batches, of which the last three are watched
VALIDATING = (*TRAIN, loaders()[1])
WITHOUT = {
    "no loader and no step": (OnlyTraining, TRAIN, {}, "there is no validation"),
    "limit_val_batches": (Classifier, VALIDATING, {"limit_val_batches": 0}, "limit_val_batches is 0"),
    "an empty loader": (Classifier, (*TRAIN, NOTHING), {}, "the validation loader is empty"),
    "an interval longer than the run": (
        Classifier,
        VALIDATING,
        {"check_val_every_n_epoch": 4},
        "check_val_every_n_epoch is 4 and max_epochs 3",
    ),
    "a step that does nothing": (NoOp, VALIDATING, {}, "validation_step runs no layer that is watched"),
    "the same, unknown before training": (
        NoOp,
        VALIDATING,
        {"num_sanity_val_steps": 0},
        "validation_step runs no layer that is watched",
    ),
}


def watched(callbacks, module=None, data=TRAIN, **options):
    """A run that validates nothing, whose one warning is expected."""
    L.seed_everything(7, verbose=False)
    with pytest.warns(FailuresWarning, match="nothing is evaluated, since"):
        return fit(callbacks, module or OnlyTraining(), data=data, **options)


@pytest.mark.filterwarnings("ignore:Total length of `DataLoader` across ranks is zero")
@pytest.mark.parametrize(("module", "data", "options", "why"), WITHOUT.values(), ids=WITHOUT)
def test_a_run_without_validation_is_watched_on_training_batches_and_says_so_once(module, data, options, why):
    L.seed_everything(3, verbose=False)
    _, bare = fit([], module(), data=data, epochs=3, **options)
    L.seed_everything(3, verbose=False)
    callbacks = failure_monitors(factors=table(), budget=1e9, on_error="raise")
    with pytest.warns(FailuresWarning) as caught:
        run, ours = fit(callbacks, module(), data=data, epochs=3, **options)
    said = [str(warning.message) for warning in caught if warning.category is FailuresWarning]
    assert len(said) == 1
    assert said[0].startswith(f"lightning-failures: nothing is evaluated, since {why}")
    assert said[0].count("\n") == 1
    for (name, plain), (_, with_us) in zip(bare.state_dict().items(), ours.state_dict().items(), strict=True):
        assert torch.equal(plain, with_us), name
    assert hooks_on(ours) == 0
    record = callbacks[-1].record
    assert record.no_validation.startswith(why)
    need_others = (
        "errors by factor",
        "why it fails",
        "images on both sides of the split",
        "errors by brightness, sharpness and other properties of the image",
        "the images that fail, to look at",
    )
    assert record.not_watched == dict.fromkeys(need_others, HELD_OUT)
    values = record.last_values()
    for key in ("collapse/dormant_share/penultimate", "collapse/kept/penultimate", "collapse/training_loss"):
        assert math.isfinite(values[KEY + key]), key
    for key in ("simplicity/reach/mean_spectrum", "simplicity/own/1", "channels/largest_change"):
        assert math.isfinite(values[KEY + key]), key
    for key in ("collapse/accuracy", "simplicity/difference", "simplicity/reference_accuracy"):
        assert math.isnan(values[KEY + key]), key
        assert record.undefined[KEY + key] == HELD_OUT
    assert not [key for key in run.callback_metrics if key.startswith("failures/factors")]


def test_the_verdict_and_the_record_say_on_which_images(capsys, tmp_path):
    callbacks = failure_monitors(report_dir=tmp_path)
    watched(callbacks, epochs=2)
    said = " ".join(capsys.readouterr().out.split())
    assert "From training batches, since there is no validation: evaluated after 2 epochs" in said
    assert "Accuracy" not in said
    record = callbacks[-1].record
    assert RunRecord.from_dict(record.to_dict()).no_validation == "there is no validation"
    assert '"no_validation": "there is no validation"' in (tmp_path / "findings.json").read_text()
    assert RunRecord.from_dict({key: v for key, v in record.to_dict().items() if key != "no_validation"})


class Counts(CollapseMonitor):
    """Logs a whole number that training images cannot tell."""

    terms = (*CollapseMonitor.terms, Term("wrong", "Wrong", "Images that are wrong.", "0 upwards", "lower is better"))
    held_out = ("wrong",)

    def compute(self, evaluation):
        return super().compute(evaluation) | {"wrong": torch.tensor(3)}


def test_a_whole_number_that_training_images_cannot_tell_is_withheld_too():
    monitor = Counts(on_error="raise")
    watched([monitor], epochs=1)
    assert monitor.values["wrong"].isnan()
    assert monitor.undefined["wrong"] == HELD_OUT


class Recorded(OnlyTraining):
    """Keeps the features and the loss of each training step."""

    def __init__(self):
        super().__init__()
        self.features, self.losses = [], []

    def training_step(self, batch, batch_idx):
        features = self.net[:-1](batch[0])
        self.features.append(features.detach())
        loss = nn.functional.cross_entropy(self.net[-1](features), batch[1])
        self.losses.append(float(loss.detach()))
        return loss


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_last_quarter_of_an_epoch_is_watched_and_its_figures_are_those_of_a_direct_computation(accumulate):
    module, monitor = Recorded(), CollapseMonitor(on_error="raise")
    watched([monitor], module, epochs=1, accumulate_grad_batches=accumulate)
    last = torch.cat(module.features[-3:]).double()
    assert monitor.values["images/penultimate"] == 24
    eigenvalues = torch.linalg.eigvalsh(last.T.cov(correction=0)).clamp(min=0)
    share = eigenvalues / eigenvalues.sum()
    rank = torch.exp(-(share[share > 0] * share[share > 0].log()).sum())
    assert monitor.values["effective_rank/penultimate"] == pytest.approx(float(rank), rel=1e-4)
    assert monitor.values["training_loss"] == pytest.approx(sum(module.losses[-3:]) / 3, rel=1e-5)


def test_max_steps_ends_an_epoch_early_and_its_last_batches_are_watched():
    module, monitor = Recorded(), CollapseMonitor(on_error="raise")
    watched([monitor], module, epochs=-1, max_steps=4)
    assert monitor.values["images/penultimate"] == 8
    assert monitor.values["training_loss"] == pytest.approx(module.losses[-1], rel=1e-5)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"check_val_every_n_epoch": 2, "epochs": 2}, None),
        ({"check_val_every_n_epoch": 3, "epochs": 2}, "check_val_every_n_epoch is 3 and max_epochs 2"),
        ({"check_val_every_n_epoch": None, "val_check_interval": 18, "epochs": 2}, None),
        (
            {"check_val_every_n_epoch": None, "val_check_interval": 19, "epochs": 2},
            "val_check_interval is 19 batches and the run has 18",
        ),
        ({"max_steps": 9, "epochs": -1}, None),
        ({"max_steps": 8, "epochs": -1}, "max_steps, 8, ends the run before the first is due"),
        ({"max_steps": 18, "epochs": 2, "check_val_every_n_epoch": 2}, None),
        (
            {"max_steps": 17, "epochs": 2, "check_val_every_n_epoch": 2},
            "max_steps, 17, ends the run before the first is due",
        ),
        ({"max_steps": 3, "epochs": -1, "accumulate_grad_batches": 4}, None),  # of 4, 4 and 1 batches
        (
            {"max_steps": 2, "epochs": -1, "accumulate_grad_batches": 4},
            "max_steps, 2, ends the run before the first is due",
        ),
        ({"max_steps": 2, "epochs": -1, "val_check_interval": 2}, None),
    ],
)
def test_a_run_that_ends_before_its_first_validation_is_known_from_the_start(options, why):
    said, evaluated = [], []

    class Asks(L.Callback):
        def on_train_start(self, trainer, pl_module):
            said.append(why_no_validation(trainer))

        def on_train_epoch_end(self, trainer, pl_module):
            said.append(why_no_validation(trainer))

        def on_validation_end(self, trainer, pl_module):
            evaluated.append(trainer.global_step)

    fit([Asks()], Classifier(), data=VALIDATING, num_sanity_val_steps=0, **options)
    assert set(said) == {why}
    assert bool(evaluated) == (why is None)


class Stream(torch.utils.data.IterableDataset):
    """Batches without a length."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        inputs, labels = dataset(8).tensors
        for _ in range(self.batches):
            yield inputs, labels


@pytest.mark.parametrize(("batches", "seen"), [(5, 5), (40, 16), (103, 3)])
def test_a_stream_of_unknown_length_is_watched_anew_every_hundred_batches(batches, seen):
    module, monitor = Recorded(), CollapseMonitor(on_error="raise")
    watched([monitor], module, data=(DataLoader(Stream(batches), batch_size=None),), epochs=1)
    assert monitor.values["images/penultimate"] == 8 * seen


def test_units_that_die_in_a_run_without_validation_are_found():
    class Dies(OnlyTraining):
        """Its hidden units are switched off from the third epoch on."""

        def on_train_epoch_start(self):
            if self.current_epoch >= 2:
                with torch.no_grad():
                    self.net[1].bias.fill_(-100)

    diagnosis = FailureDiagnosis(announce="nothing", on_error="raise")
    watched([CollapseMonitor(on_error="raise"), diagnosis], Dies(), epochs=6)
    found = {(finding.kind, finding.subject) for finding in diagnosis.findings}
    assert ("representation_collapse", "penultimate") in found
    assert diagnosis.record.last("failures/collapse/dormant_share/penultimate") == 1


def test_a_finding_whose_accuracy_is_withheld_says_that_it_is_not_known():
    diagnosis = FailureDiagnosis([{"name": "class_collapse", "warmup": 0, "warmup_steps": 0}], announce="nothing")

    class OneClass(OnlyTraining):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False
            with torch.no_grad():
                self.net[-1].bias.copy_(torch.tensor([100.0, 0.0, 0.0]))

        def training_step(self, batch, _):
            self.net(batch[0])

    watched([CollapseMonitor(on_error="raise"), diagnosis], OneClass(), epochs=3)
    (finding,) = diagnosis.findings
    assert "The accuracy is not known, and always naming the most frequent class gives 0." in finding.message


class TwoParts(OnlyTraining):
    """No submodule takes the inputs and gives the logits."""

    def forward(self, x):
        return self.net[-1](self.net[:-1](x)).softmax(1)

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self.net[-1](self.net[:-1](batch[0])), batch[1])


def test_a_module_whose_rerun_cannot_be_checked_is_not_examined_and_the_rest_is_watched():
    callbacks = failure_monitors(budget=1e9, on_error="raise")
    watched(callbacks, TwoParts(), epochs=2)
    record = callbacks[-1].record
    assert math.isfinite(record.last("failures/simplicity/reach/mean_spectrum"))
    assert math.isnan(record.last("failures/simplicity/own/1"))
    examined = {"what decides the predictions", "which bands the predictions depend on"}
    held_out = {
        "why it fails",
        "images on both sides of the split",
        "errors by brightness, sharpness and other properties of the image",
        "the images that fail, to look at",
    }
    assert set(record.not_watched) == examined | held_out
    assert all(record.not_watched[what].startswith("no submodule takes the inputs") for what in examined)


def test_the_examination_of_a_training_reference_batch_is_of_the_network_in_evaluation_mode():
    monitor = ChannelAttributionMonitor(budget=1e9, on_error="raise", null=None)
    _, module = watched([monitor], epochs=1)
    inputs, targets = monitor.examining.batch.inputs, monitor.examining.batch.targets
    module.eval()
    spectra = inputs.mean((0, 2, 3))
    with torch.no_grad():
        before = nn.functional.cross_entropy(module.net(inputs), targets)
        for channel in range(inputs.shape[1]):
            changed = inputs.clone()
            changed[:, channel] = spectra[channel]
            rise = nn.functional.cross_entropy(module.net(changed), targets) - before
            assert monitor.values[f"change/channel {channel}"] == pytest.approx(float(rise), abs=1e-5)


def test_channels_are_examined_between_evaluations_where_validation_steps_do_nothing():
    seen = []

    class Kept(ChannelAttributionMonitor):
        def log_values(self, evaluation, values, *, now=False):
            seen.append((evaluation.step, now))
            super().log_values(evaluation, values, now=now)

    watched([Kept(budget=1e9, every_n_steps=4, on_error="raise")], NoOp(), VALIDATING, epochs=3)
    assert seen == [(9, False), (12, True), (16, True), (18, False), (20, True), (24, True), (27, False)]


def test_a_monitor_of_factors_alone_watches_nothing_and_says_why():
    monitor = FactorErrorMonitor(table(), on_error="raise")
    watched([monitor], epochs=1)
    assert monitor.values == {}
    assert monitor.not_watched == {"errors by factor": HELD_OUT}


def test_early_stopping_counts_at_the_end_of_epochs_where_nothing_is_validated():
    stopping = GatedEarlyStopping("failures/collapse/effective_rank/penultimate > 100", patience=2)
    run, _ = watched([CollapseMonitor(on_error="raise"), stopping], epochs=6)
    assert (stopping.stopped_epoch, run.current_epoch) == (1, 2)


def test_a_run_that_validates_again_is_watched_on_validation_again():
    monitor = CollapseMonitor(on_error="raise")
    watched([monitor], Classifier(), VALIDATING, epochs=1, limit_val_batches=0)
    assert monitor.values["images/penultimate"] == 24
    run, _ = fit([monitor], Classifier(), epochs=1)
    assert monitor.values["images/penultimate"] == 30
    assert math.isfinite(monitor.values["accuracy"])
    assert "failures/collapse/training_loss" not in run.callback_metrics


def test_the_rule_of_one_band_speaks_of_training_batches_too():
    generator = torch.Generator().manual_seed(0)
    heights = torch.randn(256, generator=generator)
    images = 0.3 * torch.randn(256, 64, 2, 2, generator=generator)
    images[:, 20:24] += heights[:, None, None, None]
    data = (DataLoader(TensorDataset(images, (heights > 0).long()), batch_size=32, shuffle=True),)
    diagnosis = FailureDiagnosis([{"name": "single_band_reliance", "warmup_steps": 0}], announce="nothing")
    monitor = ChannelAttributionMonitor(budget=100.0, on_error="raise")
    watched([monitor, diagnosis], Spectra(), (*data, *data), epochs=6, limit_val_batches=0)
    assert [finding.subject for finding in diagnosis.findings] == ["channels 20-23"]


def test_the_simple_models_are_fitted_on_the_batches_before_those_that_are_watched():
    monitor = SimplicityBiasMonitor(on_error="raise", budget=0.0)
    watched([monitor], data=(DataLoader(dataset(72), batch_size=8),), epochs=1)
    inputs, labels = dataset(72).tensors
    linear = linear_discriminant(class_moments(inputs[:48].mean((2, 3)), labels[:48], 3))
    assert torch.allclose(monitor.reference.weight, linear.weight, atol=1e-6)
    assert monitor.values["images"] == 24
