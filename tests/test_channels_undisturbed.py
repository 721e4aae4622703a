"""The channel monitor leaves weights, gradients, modes and random state alone; half precision, compile, resume."""

import math

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from lightning_failures import ChannelAttributionMonitor, attribute_channels
from tests.runs import Classifier, dataset, fit, hooks_on, loaders, trainer
from tests.test_channels_monitor import channels, monitor

# -- what is left alone


def test_trained_weights_are_bitwise_the_same_with_steps_pictures_and_shapley(tmp_path):
    _, alone = fit([])
    logger = CSVLogger(tmp_path, name="", version="")
    watch = monitor(method="shapley", every_n_steps=2, budget=None)
    _, watched = fit([watch], logger=logger)
    for one, other in zip(alone.state_dict().values(), watched.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert hooks_on(watched) == 0
    drawn = {path.name.split("-")[0] for path in (tmp_path / "failures" / "channels").glob("*.png")}
    assert drawn == {"profile", "course", "shapley"}


def test_gradients_modes_and_random_state_are_left_as_they_were_within_training():
    class Looks(Classifier):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            self.seen = (torch.get_rng_state(), self.training, [p.grad.clone() for p in self.parameters()])

        def on_train_batch_start(self, batch, batch_idx):
            if batch_idx == 0:
                return
            state, training, gradients = self.after
            assert torch.equal(self.seen[0], state)
            assert training
            assert all(torch.equal(a, b) for a, b in zip(self.seen[2], gradients, strict=True))

    class After(ChannelAttributionMonitor):
        def on_train_batch_end(self, trainer, module, *args):
            kept = (torch.get_rng_state(), module.training, [p.grad.clone() for p in module.parameters()])
            super().on_train_batch_end(trainer, module, *args)
            now = (torch.get_rng_state(), module.training, [p.grad for p in module.parameters()])
            assert torch.equal(kept[0], now[0])
            assert kept[1] == now[1]
            assert all(torch.equal(a, b) for a, b in zip(kept[2], now[2], strict=True))
            module.after = kept

    watch = After(every_n_steps=1, budget=100.0, on_error="raise")
    fit([watch], Looks())
    assert len(watch.course.profiles) == 2 + 6


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_in_half_precision_the_profile_is_about_the_same(precision):
    whole, half = monitor(), monitor()
    fit([whole], epochs=3)
    fit([half], epochs=3, precision=precision)
    one, other = (torch.tensor(watch.course.profiles[-1].change) for watch in (whole, half))
    assert torch.allclose(one, other, atol=0.05)


def test_a_compiled_module_is_run_uncompiled():
    class Compiled(Classifier):
        def __init__(self):
            super().__init__()
            self.net = torch.compile(self.net, backend="eager")

    watch = monitor(every_n_steps=4)
    _, module = fit([watch], Compiled())
    inputs, labels = dataset(30, seed=1).tensors
    expected = attribute_channels(module.net._orig_mod, inputs, labels)
    assert watch.course.profiles[-1].change == pytest.approx(expected.values.tolist(), rel=1e-4)


def test_a_resumed_run_goes_on_with_its_course(tmp_path):
    run, _ = fit([monitor()], epochs=1)
    run.save_checkpoint(tmp_path / "run.ckpt")
    again = monitor()
    whole = trainer([again], epochs=2)
    whole.fit(Classifier(), *loaders(), ckpt_path=tmp_path / "run.ckpt", weights_only=True)
    assert [profile.epoch for profile in again.course.profiles] == [0, 1]
    assert math.isfinite(channels(whole.callback_metrics)["spearman"])
    other = monitor(bands=3)
    whole = trainer([other], epochs=2)
    whole.fit(Classifier(), *loaders(), ckpt_path=tmp_path / "run.ckpt", weights_only=True)
    assert [profile.epoch for profile in other.course.profiles] == [1]
