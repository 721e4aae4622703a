"""What the training monitor says of a run: what is not finite, how far weights move, who moves them."""

import math

import lightning as L
import pytest
import torch
from lightning.pytorch import Callback
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import FailureDiagnosis, TrainingMonitor, standard_rules
from lightning_failures.callbacks.monitor import monitors_of
from lightning_failures.errors import InputError
from lightning_failures.records import Evaluation
from tests.runs import CLASSES, Classifier, dataset, fit, hooks_on, loaders, trainer

KEY = "failures/training/"


def told(run):
    """The figures of the last evaluation, and nothing of a monitor that stepped aside."""
    (monitor,) = monitors_of(run)
    assert monitor.failure is None
    values = {key: float(value) for key, value in monitor.values.items()}
    for key, value in values.items():
        assert float(run.callback_metrics[KEY + key]) == pytest.approx(value, nan_ok=True, rel=1e-5)
    return values


def watch(module=None, extra=(), **options):
    run, module = fit([*extra, TrainingMonitor(on_error="raise")], module, **options)
    return told(run), module


def findings(module=None, extra=(), **options):
    diagnosis = FailureDiagnosis(announce="nothing", on_error="raise")
    fit([*extra, TrainingMonitor(on_error="raise"), diagnosis], module, **options)
    return diagnosis.history


def origins(values):
    prefix = "not_finite_"
    return {key.removeprefix(prefix): step for key, step in values.items() if key.startswith(prefix)}


class At(Callback):
    """Does something before one training batch."""

    def __init__(self, step, do):
        self.step, self.do = step, do

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step == self.step:
            with torch.no_grad():
                self.do(module, batch)


# -- a sound run


def test_a_sound_run_has_figures_and_no_finding():
    values, _ = watch(epochs=3)
    assert not {"loss_not_finite", "logits_not_finite", "inputs_not_finite"} & values.keys()  # not worth a figure
    assert values["not_finite"] == values["never_moved"] == values["without_gradient"] == values["frozen"] == 0
    assert values["not_in_optimizer"] == values["stale_parameters"] == 0
    assert 1e-4 < values["update_ratio/smallest"] <= values["update_ratio/median"] <= values["update_ratio/largest"] < 1
    assert 0 < values["distance/median"] < 1
    assert values["learning_rate"] == pytest.approx(0.1)
    assert 0 < values["loss"] < 2
    assert not origins(values)
    assert not findings(epochs=3)


def test_the_users_training_is_bitwise_the_same():
    _, watched = watch()
    _, alone = fit([])
    for (name, one), other in zip(watched.state_dict().items(), alone.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    assert hooks_on(watched) == 0


def test_the_loss_is_the_mean_of_what_the_step_returned_however_many_batches_are_accumulated():
    class Keeps(Classifier):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            self.losses = [*getattr(self, "losses", []), float(loss.detach())]
            return loss

    for accumulated in (1, 3):
        values, module = watch(Keeps(), epochs=1, accumulate_grad_batches=accumulated)
        assert values["loss"] == pytest.approx(sum(module.losses) / len(module.losses), rel=1e-5)
        assert values["loss_initial"] == pytest.approx(sum(module.losses[:3]) / 3, rel=1e-5)


def test_the_update_ratio_is_what_the_optimizer_does_to_the_weights():
    class Shrinks(Classifier):
        """Plain weight decay alone: each step takes a hundredth off every weight."""

        def training_step(self, batch, _):
            return 0 * F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1, weight_decay=0.1)

    values, _ = watch(Shrinks(), epochs=2)
    for statistic in ("median", "smallest", "largest"):
        assert values[f"update_ratio/{statistic}"] == pytest.approx(0.01, rel=1e-3)
    assert values["distance/median"] == pytest.approx(1 - 0.99**12, rel=1e-3)


def test_more_looks_than_none_are_needed():
    with pytest.raises(InputError) as error:
        TrainingMonitor(looks=0)
    assert str(error.value) == "TrainingMonitor: looks is too small; given looks=0. Pass 1 or more."


# -- not finite


def spoil_input(module, batch):
    batch[0][2, 0, 0, 0] = math.nan


def spoil_weight(module, batch):
    module.net[6].weight[0, 0] = math.inf


class Divides(Classifier):
    """From step 4 on a layer divides by zero."""

    class Layer(nn.Module):
        broken = False

        def forward(self, x):
            return x / 0 if self.broken else x

    def __init__(self):
        super().__init__()
        self.net[3] = self.Layer()


def break_layer(module, batch):
    module.net[3].broken = True


class Roots(Classifier):
    """From step 4 on the loss holds the root of zero: it is finite, and its derivative is not."""

    broken = False

    def training_step(self, batch, _):
        hidden = self.net[:5](batch[0])
        logits = self.net[5:](hidden)
        penalty = (0 * hidden).abs().mean().sqrt() if self.broken else 0
        return F.cross_entropy(logits, batch[1]) + penalty


class Logs(Classifier):
    """From step 4 on the loss takes the logarithm of zero."""

    broken = False

    def training_step(self, batch, _):
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        return loss + (0 * loss.detach()).log() if self.broken else loss


def break_loss(module, batch):
    module.broken = True


@pytest.mark.parametrize(
    ("make", "spoil", "origin", "words"),
    [
        (Classifier, spoil_input, "input/training", "The training images are not finite: at step 4 a batch held NaN"),
        (
            Classifier,
            spoil_weight,
            "weight/net.6.weight",
            "The parameter or buffer net.6.weight is not finite: at step 4",
        ),
        (Divides, break_layer, "activation/net.3", "The layer net.3 gives numbers that are not finite: at step 4"),
        (Roots, break_loss, "gradient/net.1.bias", "The gradient of net.1.bias is not finite: at step 4"),
        (Logs, break_loss, "loss/loss", "The training loss is not finite: at step 4 it was NaN or infinite"),
    ],
)
def test_the_first_number_that_is_not_finite_is_named_with_its_step_layer_and_kind(make, spoil, origin, words):
    values, _ = watch(make(), [At(4, spoil)], epochs=2)
    assert origins(values) == {origin: 4.0}
    assert values["not_finite"] > 0
    (finding,) = findings(make(), [At(4, spoil)], epochs=2)
    kind, name = origin.split("/", 1)
    assert (finding.kind, finding.rule, finding.subject) == ("not_finite", f"not_finite_{kind}", name)
    assert (finding.severity, finding.epoch, finding.cleared) == ("failure", 0, None)
    assert finding.evidence["at_step"] == 4
    assert finding.message.startswith(words)
    assert finding.advice


def test_one_image_of_the_validation_that_is_not_finite_is_counted_and_named():
    train, val = dataset(), dataset(30, seed=1)
    val.tensors[0][17, 3, 2, 2] = math.nan
    data = DataLoader(train, batch_size=8, shuffle=True), DataLoader(val, batch_size=8)
    values, _ = watch(data=data)
    assert values["loss_not_finite"] == 0
    assert values["logits_not_finite"] == values["inputs_not_finite"] == values["not_finite"] == pytest.approx(1 / 30)
    assert origins(values) == {"input/validation": 6.0}
    (finding,) = findings(data=data)
    assert (finding.rule, finding.subject) == ("not_finite_input", "validation")
    assert finding.message.endswith(
        "Such numbers are in 3.33% of the evaluated images. Since the evaluation before, 0.00% of the training "
        "losses were not finite, and now the predictions of 3.33% of the evaluated images are not."
    )


def test_a_training_that_breaks_is_named_though_a_validation_image_was_broken_before():
    val = dataset(30, seed=1)
    val.tensors[0][17, 3, 2, 2] = math.nan
    data = DataLoader(dataset(), batch_size=8, shuffle=True), DataLoader(val, batch_size=8)
    values, _ = watch(extra=[At(8, spoil_weight)], data=data)
    assert origins(values) == {"weight/net.6.weight": 8.0}


def test_what_the_network_fills_in_itself_is_no_failure():
    class Fills(Classifier):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(FillIn(), *self.net)

    class FillIn(nn.Module):
        def forward(self, x):
            return x.nan_to_num(0.0)

    data = [dataset(), dataset(30, seed=1)]
    for each in data:
        each.tensors[0][::5, 1] = math.nan
    both = DataLoader(data[0], batch_size=8, shuffle=True), DataLoader(data[1], batch_size=8)
    values, _ = watch(Fills(), data=both)
    assert values["inputs_not_finite"] == pytest.approx(0.2)
    assert values["not_finite"] == 0
    assert not findings(Fills(), data=both)


def test_a_step_that_is_left_out_by_its_user_is_over_at_the_next_evaluation():
    class LeavesOut(Classifier):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            return loss if self.trainer.global_step != 3 or self.left_out else self.leave()

        left_out = False

        def leave(self):
            self.left_out = True
            return torch.tensor(math.nan, requires_grad=True)

    history = findings(LeavesOut(), epochs=3)
    assert [(each.rule, each.epoch, each.cleared) for each in history] == [("not_finite_loss", 0, 1)]


def test_a_run_without_validation_is_told_of_what_is_not_finite_too():
    diagnosis = FailureDiagnosis(announce="nothing", on_error="raise")
    monitor = TrainingMonitor(on_error="raise")
    with pytest.warns(match="nothing is evaluated"):
        fit([At(4, spoil_weight), monitor, diagnosis], limit_val_batches=0)
    assert [each.rule for each in diagnosis.history] == ["not_finite_weight"]


def test_a_run_of_any_task_is_watched():
    class Regression(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(4, 2)

        def training_step(self, batch, _):
            return F.mse_loss(self.body(batch[0]), batch[1])

        def validation_step(self, batch, _):
            self.log("val_loss", F.mse_loss(self.body(batch[0]), batch[1]))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    rows = TensorDataset(torch.rand(24, 4), torch.rand(24, 2))
    values, _ = watch(Regression(), data=(DataLoader(rows, 8), DataLoader(rows, 8)))
    assert values["loss"] > 0
    assert values["update_ratio/median"] > 0


# -- who moves the parameters


class HeadOnly(Classifier):
    def configure_optimizers(self):
        return torch.optim.SGD(self.net[6].parameters(), lr=0.1)


class Replaces(Classifier):
    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        self.net[6] = nn.Linear(8, CLASSES)
        return optimizer


class HasMore(Classifier):
    def __init__(self):
        super().__init__()
        self.spare = nn.Linear(3, 5)


class Still(Classifier):
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


class StillBiases(Classifier):
    def configure_optimizers(self):
        biases = [each for each in self.parameters() if each.ndim == 1]
        weights = [each for each in self.parameters() if each.ndim > 1]
        return torch.optim.SGD([{"params": weights}, {"params": biases, "lr": 0.0}], lr=0.1)


MODULES = {each.__name__: each for each in (HeadOnly, Replaces, HasMore, Still, StillBiases)}


def test_a_frozen_part_is_told_and_no_fault():
    module = Classifier()
    module.net[0].requires_grad_(False)
    frozen = sum(each.numel() for each in module.net[0].parameters()) / sum(
        each.numel() for each in module.parameters()
    )
    values, _ = watch(module)
    assert values["frozen"] == pytest.approx(frozen)
    assert values["never_moved"] == values["without_gradient"] == values["not_in_optimizer"] == 0


def test_a_part_that_no_optimizer_holds_is_counted_under_its_name():

    module = HeadOnly()
    values, _ = watch(module)
    total = sum(each.numel() for each in module.parameters())
    share = 1 - sum(each.numel() for each in module.net[6].parameters()) / total
    assert values["not_in_optimizer"] == values["never_moved"] == pytest.approx(share)
    assert values["not_in_optimizer/net"] == 4
    assert values["stale_parameters"] == 0
    assert not any(key.startswith("never_moved/") for key in values)


def test_an_optimizer_over_parameters_that_the_module_no_longer_has_is_counted_both_ways():

    values, _ = watch(Replaces())
    assert values["stale_parameters"] == 2
    assert values["not_in_optimizer/net.6"] == 2
    assert 0 < values["not_in_optimizer"] == values["never_moved"] < 1


def test_a_part_without_a_gradient_is_counted_under_its_name():

    values, _ = watch(HasMore())
    assert values["without_gradient/spare"] == 2
    assert values["without_gradient"] == values["never_moved"] == pytest.approx(20 / (20 + 448 - 8 + 27), abs=0.01)


def test_a_learning_rate_of_zero_never_moves_anything():

    values, _ = watch(Still())
    assert values["never_moved"] == 1
    assert values["never_moved/net"] == 6
    assert values["never_moved_weights"] == 2
    assert values["distance/median"] == 0
    assert math.isnan(values["update_ratio/median"])


def test_a_large_weight_of_which_few_numbers_change_has_moved():
    class Sparse(Classifier):
        """Two of 2000 rows of a table are ever used."""

        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(2000, CLASSES)

        def training_step(self, batch, _):
            logits = self.net(batch[0]) + self.table(1999 - batch[1] % 2)
            return F.cross_entropy(logits, batch[1])

    values, _ = watch(Sparse())
    assert values["never_moved"] == 0


# -- resume


def test_a_resumed_run_goes_on_with_the_course_of_the_loss(tmp_path):
    first = TrainingMonitor(on_error="raise")
    run, _ = fit([first], epochs=2)
    run.save_checkpoint(tmp_path / "run.ckpt")
    again = TrainingMonitor(on_error="raise")
    resumed = trainer([again], epochs=3)
    resumed.fit(Classifier(), *loaders(), ckpt_path=tmp_path / "run.ckpt", weights_only=True)
    assert again.course.blocks[:12] == first.course.blocks
    assert len(again.course.blocks) == 18
    assert told(resumed)["never_moved"] == 0


# -- gradients and units


class ByHand(Classifier):
    """Manual optimization; what is left out is left out."""

    def __init__(self, zero="before", raw=False, accumulate=1):
        super().__init__()
        self.automatic_optimization = False
        self.zero, self.raw, self.accumulate = zero, raw, accumulate

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        loss = super().training_step(batch, batch_idx)
        if self.zero == "before" and batch_idx % self.accumulate == 0:
            optimizer.zero_grad()
        loss.backward() if self.raw else self.manual_backward(loss)
        if (batch_idx + 1) % self.accumulate == 0:
            optimizer.step()
            if self.zero == "after":
                optimizer.zero_grad()
        return loss


class Forgets(Classifier):
    def optimizer_zero_grad(self, *_):
        pass


@pytest.mark.parametrize(
    ("module", "share"),
    [
        (lambda: ByHand("before"), 0),
        (lambda: ByHand("after"), 0),
        (lambda: ByHand("never"), 1),
        (lambda: ByHand("before", accumulate=2), 0),
        (lambda: ByHand("after", accumulate=3), 0),
        (lambda: ByHand("never", accumulate=2), 1),
        (lambda: ByHand("before", raw=True), 0),
        (lambda: ByHand("never", raw=True), 1),
        (Classifier, 0),
        (Forgets, 1),
    ],
)
def test_a_gradient_that_is_never_set_back_is_found_however_the_step_is_made(module, share):
    values, _ = watch(module(), epochs=2)
    assert values["gradient_survives"] == share
    history = findings(module(), epochs=2)
    assert [(each.kind, each.rule, each.epoch) for each in history] == (
        [("training_fault", "gradient_survives", 0)] if share else []
    )


class Adversarial(Classifier):
    """Two optimizers, each of whose backward passes begins with gradients of the other one."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.other = nn.Linear(CLASSES, 1)

    def training_step(self, batch, _):
        first, second = self.optimizers()
        loss = -self.other(self.net(batch[0])).mean() + F.cross_entropy(self.net(batch[0]), batch[1])
        first.zero_grad()
        self.manual_backward(loss)
        first.step()
        answers = self.other(self.net(batch[0]).detach()), self.other(F.one_hot(batch[1], CLASSES).float())
        loss = F.softplus(answers[0]).mean() + F.softplus(-answers[1]).mean()
        second.zero_grad()
        self.manual_backward(loss)
        second.step()

    def configure_optimizers(self):
        return torch.optim.SGD(self.net.parameters(), lr=0.1), torch.optim.SGD(self.other.parameters(), lr=0.1)


def test_two_optimizers_that_train_against_each_other_are_no_fault():
    values, _ = watch(Adversarial(), epochs=3)
    assert values["gradient_survives"] == values["never_moved"] == values["not_in_optimizer"] == 0
    assert not findings(Adversarial(), epochs=3)


def test_outputs_behind_a_rectifier_that_no_image_gets_past_are_dead():
    class Rectified(Classifier):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(150, 8), nn.ReLU(), nn.Linear(8, 3), nn.ReLU())
            with torch.no_grad():
                self.net[3].bias[1] = -1e6

    values, _ = watch(Rectified(), epochs=2)
    assert values["dead_outputs"] == pytest.approx(1 / 3)


def test_units_that_no_image_reaches_are_counted_by_layer():
    class Dies(Classifier):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(
                nn.Flatten(), nn.Linear(150, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3)
            )
            with torch.no_grad():
                self.net[3].bias[:4] = -1e6
                self.net[3].bias[4] = 5

    values, _ = watch(Dies(), epochs=2)
    assert values["dead_units/net.3"] == values["dead_units"] == pytest.approx(0.8)
    assert "dead_units/net.5" not in values
    assert values["dead_outputs"] == 0
    history = findings(Dies(), epochs=14)
    dead = [each for each in history if each.rule == "dead_units"]
    assert [(each.subject, each.severity) for each in dead] == [("net.3", "warning")]
    assert dead[0].message.startswith("80% of the units of net.3 are dead: at no step looked at did any image send")


def test_units_that_begin_alike_are_counted_by_layer():
    class Alike(Classifier):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(150, 8), nn.Tanh(), nn.Linear(8, 3))
            with torch.no_grad():
                self.net[1].weight.copy_(self.net[1].weight[:1].expand(8, -1))
                self.net[3].weight.copy_(self.net[3].weight[:, :1].expand(-1, 8))

    values, _ = watch(Alike(), epochs=1)
    assert values["duplicate_units/net.1"] == values["duplicate_units"] == 1
    sound, _ = watch(epochs=1)
    assert math.isnan(sound["duplicate_units"]) or sound["duplicate_units"] == 0


@pytest.mark.parametrize(
    ("make", "rule", "subject", "severity"),
    [
        ("HeadOnly", "not_in_optimizer", "net", "watch"),
        ("Replaces", "stale_optimizer", "net.6", "failure"),
        ("HasMore", "without_gradient", "spare", "watch"),
        ("Still", "never_moved", "net", "failure"),
        ("StillBiases", "never_moved", "net", "watch"),
    ],
)
def test_a_fault_of_the_parameters_is_a_finding_with_its_place(make, rule, subject, severity):
    (finding,) = findings(MODULES[make](), epochs=3)
    assert (finding.kind, finding.rule, finding.subject, finding.severity) == (
        "training_fault",
        rule,
        subject,
        severity,
    )


@pytest.mark.parametrize(("frozen", "reach", "times"), [(0.9, 0.95, 1), (0.4, 0.95, 0), (0.9, 0.45, 0)])
def test_a_frozen_backbone_is_a_fault_where_the_images_themselves_hold_more(frozen, reach, times):
    known = {"model_accuracy": 0.4, "best_reach": reach, "images": 500}
    logged = {f"failures/simplicity/{key}": value for key, value in known.items()} | {KEY + "frozen": frozen}
    diagnosis = FailureDiagnosis([rule for rule in standard_rules() if rule.name == "frozen_features"])
    for epoch in range(4):
        diagnosis.evaluate(Evaluation(epoch, 50 * epoch, logged))
    assert [(each.epoch, each.severity) for each in diagnosis.history] == [(3, "warning")] * times


def test_a_loss_that_explodes_is_a_finding_with_its_figures():
    class Astray(Classifier):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) + 4 * self.trainer.global_step

    history = findings(Astray(), epochs=4)
    assert [(each.rule, each.kind) for each in history] == [("training_diverges", "training_fault")]


# -- what is healthy


class WarmUp(Classifier):
    """The learning rate is 0 in the whole first epoch."""

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: min(1.0, epoch / 3))]


class LowRank(Classifier):
    """A frozen layer with a trained correction of low rank, which begins at zero."""

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.base = nn.Linear(8, 16).requires_grad_(False)
            self.down, self.up = nn.Linear(8, 2, bias=False), nn.Linear(2, 16, bias=False)
            nn.init.zeros_(self.up.weight)

        def forward(self, x):
            return self.base(x) + self.up(self.down(x))

    def __init__(self):
        super().__init__()
        self.net[6] = nn.Sequential(self.Layer(), nn.ReLU(), nn.Linear(16, CLASSES))


class Averaged(Classifier):
    """Keeps a moving average of the weights itself, which requires gradients and gets none."""

    def __init__(self):
        super().__init__()
        self.average = nn.Linear(8, CLASSES)

    def on_train_batch_end(self, *_):
        with torch.no_grad():
            for mean, weight in zip(self.average.parameters(), self.net[6].parameters(), strict=True):
                mean.lerp_(weight, 0.1)

    def configure_optimizers(self):
        return torch.optim.SGD(self.net.parameters(), lr=0.1)


class Frozen(Classifier):
    def __init__(self):
        super().__init__()
        self.net[0].requires_grad_(False)


@pytest.mark.parametrize("make", [WarmUp, LowRank, Averaged, Frozen])
def test_what_is_unusual_and_sound_is_no_finding(make):
    assert not findings(make(), epochs=5)


@pytest.mark.parametrize("options", [{"accumulate_grad_batches": 2}, {"gradient_clip_val": 0.01}])
def test_what_the_trainer_does_to_gradients_is_no_finding(options):
    assert not findings(epochs=4, **options)
