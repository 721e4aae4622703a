"""Checkpoints of a past training replayed: the figures of the live run, and the epoch at which a failure began."""

import json
import math
import pickle

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lightning_failures as lf
from lightning_failures.cli import main
from lightning_failures.errors import FailuresWarning, InputError, UnknownNameError
from tests.runs import Classifier, fit, hooks_on, loaders, table

#: What steps of training alone tell, and the network before training; as the monitors are to declare it.
LEFT_OUT = (
    "failures/collapse/initial/",
    *(
        f"failures/training/{each}"
        for each in (
            *("loss", "update_ratio/", "distance/", "learning_rate", "frozen", "never_moved", "without_gradient"),
            *("not_in_optimizer", "stale_parameters", "gradient_survives", "dead_units"),
            "dead_outputs",
        )
    ),
)

#: Held live against the network before training; a replay begins to compare with its first checkpoint.
SINCE_THE_START = {
    "failures/kept",
    *(f"failures/collapse/{each}/penultimate" for each in ("kept", "dimensions_kept", "spread_kept")),
}

#: Options of the monitors, by what is replayed.
WATCHED = {
    "factors and groups": {"factors": table(), "groups": "2"},
    "wavelengths": {"wavelengths": [450.0, 500.0, 560.0, 620.0, 700.0, 800.0], "unit": "nm"},
}

STEPS = {"faults of the training step": "it needs training; not replayed"}


def monitors(**options):
    """All of them, each evaluation examined in full."""
    return quiet(lf.failure_monitors(**{"factors": table(), "budget": None, **options}, on_error="raise"))


def few():
    """Those that take little time."""
    without = ("simplicity", "channels", "causes", "properties", "data", "images")
    return quiet(lf.failure_monitors(factors=table(), without=without, on_error="raise"))


def quiet(callbacks):
    callbacks[-1].announce = "nothing"
    return callbacks


def grouped(shuffle=False):
    """Images of four groups."""
    return tuple(
        DataLoader(TensorDataset(*each.dataset.tensors, torch.arange(len(each.dataset)) % 4), batch_size=8, shuffle=mix)
        for each, mix in zip(loaders(), (shuffle, False), strict=True)
    )


def train(folder, epochs=3, module=None, also=(), data=None, callbacks=None):
    """A live run with monitors that saves a checkpoint after each epoch; its diagnosis."""
    live = few() if callbacks is None else callbacks
    saver = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
    fit([*also, *live, saver], module, data=data or loaders(False), epochs=epochs, enable_checkpointing=True)
    return live[-1]


def replay(folder, data=None, module=None, callbacks=None, **options):
    return lf.replay(
        folder,
        module or Classifier(),
        loaders(shuffle=False) if data is None else data,
        few() if callbacks is None else callbacks,
        accelerator="cpu",
        **options,
    )


def places(record):
    return [(each.epoch, each.step) for each in record.evaluations]


def begun(record):
    return [(each.kind, each.subject, each.epoch) for each in record.findings]


def assert_alike(one, other):
    assert places(one) == places(other)
    for mine, theirs in zip(one.evaluations, other.evaluations, strict=True):
        assert mine.values == pytest.approx(theirs.values, abs=1e-6, nan_ok=True)


def declared(key, callbacks):
    """Why the monitor that logs a key says that it is not replayed; None where it says nothing."""
    owner = next((each for each in callbacks[:-1] if key.startswith(f"failures/{each.name}/")), None)
    return owner and owner.why_not_replayed(key.removeprefix(f"failures/{owner.name}/"))


@pytest.mark.parametrize(
    ("watched", "shuffle"), [("factors and groups", False), ("factors and groups", True), ("wavelengths", False)]
)
def test_a_replay_gives_what_was_logged_live_but_for_what_monitors_declare_to_need_training(tmp_path, watched, shuffle):
    make = grouped if "groups" in WATCHED[watched] else loaders
    live = train(tmp_path, data=make(shuffle), callbacks=monitors(**WATCHED[watched])).record
    callbacks = monitors(**WATCHED[watched], budget=1e-9)  # which holds for a training, and not for a replay
    again = replay(tmp_path, make(shuffle), callbacks=callbacks)
    assert places(live) == places(again) == [(0, 6), (1, 12), (2, 18)]
    for number, (then, now) in enumerate(zip(live.evaluations, again.evaluations, strict=True)):
        left_out = {key for key in then.values if declared(key, callbacks)}
        assert left_out == {key for key in then.values if key.startswith(LEFT_OUT)}
        assert all(math.isnan(now.values.get(key, math.nan)) for key in left_out)
        assert all(again.undefined[key] == declared(key, callbacks) for key in left_out & now.values.keys())
        told = then.values.keys() - left_out
        assert now.values.keys() - left_out == told
        assert len(told) > 350
        apart = {key for key in told if now.values[key] != pytest.approx(then.values[key], abs=1e-6, nan_ok=True)}
        assert apart == (SINCE_THE_START if number == 0 else set())
    assert all(math.isnan(again.evaluations[0].values[key]) for key in SINCE_THE_START)
    assert any("700" in key for key in again.last_values()) == (watched == "wavelengths")
    assert any(key.startswith("failures/groups/") for key in again.last_values()) == (watched != "wavelengths")
    assert again.not_watched == live.not_watched | STEPS
    assert again.monitor_share is None
    assert callbacks[0].budget.share == 1e-9
    assert {declared(key, callbacks) for key in left_out} == {
        "it needs training; not replayed",
        "it needs the network before training; not replayed",
    }


def test_files_in_any_order_give_the_same_and_those_that_are_no_checkpoints_are_left_out(tmp_path):
    train(tmp_path, epochs=3)
    files = [tmp_path / f"epoch={epoch}.ckpt" for epoch in range(3)]
    files[0] = files[0].rename(tmp_path / "z.ckpt")  # the order is not that of the names
    straight = replay(files)
    assert places(straight) == [(0, 6), (1, 12), (2, 18)]
    assert_alike(straight, replay(files[::-1]))
    assert_alike(straight, replay(str(tmp_path / "*.ckpt")))
    (tmp_path / "last.ckpt").write_bytes(files[2].read_bytes())
    (tmp_path / "damaged.ckpt").write_bytes(files[2].read_bytes()[:2000])
    (tmp_path / "words.ckpt").write_text("checkpoint of nothing\nat all")
    (tmp_path / "sharded.ckpt").mkdir()
    torch.save({"weights": torch.ones(2)}, tmp_path / "foreign.ckpt")
    with pytest.warns(FailuresWarning) as warned:
        assert_alike(straight, replay(tmp_path))
    assert {str(each.message) for each in warned if each.category is FailuresWarning} == {
        "lightning-failures replays without damaged.ckpt: it is damaged, or no checkpoint.",
        "lightning-failures replays without words.ckpt: it is damaged, or no checkpoint.",
        "lightning-failures replays without foreign.ckpt: it is no Lightning checkpoint: it has no epoch.",
        "lightning-failures replays without sharded.ckpt: it is a folder, as of weights that are spread over "
        "processes; merge it into one file first.",
    }


def test_a_folder_that_holds_the_folder_of_one_run_is_that_run_and_one_of_several_runs_is_refused(tmp_path):
    train(tmp_path / "version_0" / "checkpoints", epochs=1)
    assert places(replay(tmp_path)) == [(0, 6)]
    other = tmp_path / "version_1" / "checkpoints"
    other.mkdir(parents=True)
    (other / "a.ckpt").touch()
    text = r"checkpoints of several runs; given .*version_0.*version_1.*\. Name the folder of one run\."
    with pytest.raises(InputError, match=text):
        replay(tmp_path)


class Collapsing(L.Callback):
    """From one epoch on all features are one."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_batch_end(self, trainer, pl_module, *_):
        if trainer.current_epoch >= self.epoch:
            with torch.no_grad():
                for value in (*pl_module.net[0].parameters(), *pl_module.net[1].parameters()):
                    value.copy_(value[:1].expand_as(value))


def test_a_failure_that_began_at_epoch_3_begins_at_epoch_3(tmp_path):
    live = train(tmp_path, epochs=7, also=[Collapsing(3)]).record
    again = replay(tmp_path)
    found = [each for each in begun(live) if not each[0].startswith("no_learning")]
    assert found
    assert min(epoch for *_, epoch in found) >= 3
    assert [each for each in begun(again) if each in found] == found


class Poisoned(L.Callback):
    """At the end of one epoch, before its evaluation, a weight is not finite."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == (1, 5):
            with torch.no_grad():
                pl_module.net[0].weight[0, 0, 0, 0] = math.nan


def test_a_weight_that_is_not_finite_is_found_at_the_first_checkpoint_that_holds_it(tmp_path):
    live, again = train(tmp_path, also=[Poisoned()]).record, replay(tmp_path)
    assert ("not_finite", "net.0.weight", 1) in begun(live)
    (found,) = [each for each in again.findings if each.kind == "not_finite"]
    assert (found.subject, found.epoch, found.step) == ("net.0.weight", 1, 12)
    assert "at step 12 it held NaN or infinity" in found.message
    assert again.undefined["failures/training/loss_not_finite"] == "it needs training; not replayed"


def test_without_training_images_what_is_held_against_them_is_left_out_and_the_rest_is_the_same(tmp_path):
    train(tmp_path, epochs=2)
    whole, part = (replay(tmp_path, data, callbacks=monitors()) for data in (loaders(False), loaders()[1]))
    assert places(whole) == places(part)
    assert set(part.not_watched) - set(whole.not_watched) == {
        "what decides the predictions",
        "errors by brightness, sharpness and other properties of the image",
    }
    for one, other in zip(whole.evaluations, part.evaluations, strict=True):
        for family in ("failures/factors/", "failures/collapse/", "failures/channels/"):
            keys = {key for key in one.values if key.startswith(family)}
            assert keys == {key for key in other.values if key.startswith(family)} != set()
            for key in keys:
                assert one.values[key] == pytest.approx(other.values[key], abs=1e-6, nan_ok=True), key
        assert math.isnan(other.values["failures/data/leakage"])


def test_nothing_of_the_user_is_changed_and_a_replay_comes_out_the_same_again(tmp_path):
    train(tmp_path, epochs=2)
    files = {file: file.read_bytes() for file in tmp_path.iterdir()}
    module = Classifier()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    one = replay(tmp_path, loaders(shuffle=True), module)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert "configure_callbacks" not in vars(module)
    assert hooks_on(module) == 0
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == files
    torch.rand(3)
    assert_alike(one, replay(tmp_path, loaders(shuffle=True)))


class Silent(Classifier):
    """Its validation computes no loss; it saves checkpoints of its own accord, and asks its logger for pictures."""

    def __init__(self, folder=None):
        super().__init__()
        self.folder = folder

    def validation_step(self, batch, _):
        self.logger.experiment.add_image("first", batch[0][0])
        self.log("val_acc", (self.net(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_callbacks(self):
        return [ModelCheckpoint(self.folder, filename="own-{epoch}", save_top_k=-1)]


def test_a_validation_without_a_loss_is_understood_and_callbacks_of_the_module_save_nothing(
    tmp_path,
):
    train(tmp_path / "saved", epochs=2)
    record = replay(tmp_path / "saved", module=Silent(tmp_path / "own"), callbacks=monitors())
    assert places(record) == [(0, 6), (1, 12)]
    assert "val_acc" in record.last_values()
    assert record.last("failures/factors/images/bright") > 0
    assert not (tmp_path / "own").exists()
    assert set(record.not_watched) == {"faults of the training step"}


class Manual(Classifier):
    """Steps its optimizer itself."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, _):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()


def test_manual_optimization_has_the_steps_of_its_checkpoints(tmp_path):
    live = train(tmp_path, epochs=2, module=Manual()).record
    assert places(replay(tmp_path, module=Manual())) == places(live) == [(0, 6), (1, 12)]


def test_what_cannot_be_replayed_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"the folder holds no checkpoint; given .*empty without \*\.ckpt"):
        replay(tmp_path / "empty")
    with pytest.raises(InputError, match="there is no such file or folder"):
        replay(tmp_path / "none.ckpt")
    (tmp_path / "half.ckpt").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match=r"no checkpoint to replay; given half\.ckpt: it is damaged, or no checkpoint"):
        replay(tmp_path / "half.ckpt")
    with pytest.raises(InputError, match="no file matches the pattern"):
        replay(str(tmp_path / "*.pt"))
    other = tmp_path / "other.ckpt"
    torch.save({"epoch": 0, "global_step": 1, "state_dict": nn.Linear(2, 2).state_dict()}, other)
    text = r"weights are of another module; given other\.ckpt without net.* more and with bias, weight for Classifier"
    with pytest.raises(InputError, match=text):
        replay(other)
    wider = Classifier().state_dict() | {"net.6.weight": torch.ones(5, 8), "net.6.bias": torch.ones(5)}
    torch.save({"epoch": 0, "global_step": 1, "state_dict": wider}, tmp_path / "wider.ckpt")
    text = r"given wider\.ckpt with net\.6\.weight \(5, 8\) in place of \(3, 8\), net\.6\.bias \(5,\) in place of"
    with pytest.raises(InputError, match=text):
        replay(tmp_path / "wider.ckpt")
    with pytest.raises(InputError, match="this callback needs a training; given ModelCheckpoint"):
        lf.replay(other, Classifier(), loaders(), [ModelCheckpoint(tmp_path)])
    with pytest.raises(InputError, match="there is no validation loader; given a int"):
        lf.replay(other, Classifier(), 3, [])
    with pytest.raises(InputError, match="this is no LightningModule; given a Linear"):
        lf.replay(other, nn.Linear(2, 2), loaders(), [])
    with pytest.raises(InputError, match="the module has no validation_step"):
        lf.replay(other, L.LightningModule(), loaders(), [])


def test_a_module_with_loaders_of_its_own_needs_no_data(tmp_path):
    class Complete(Classifier):
        def train_dataloader(self):
            return loaders(shuffle=False)[0]

        def val_dataloader(self):
            return loaders()[1]

    train(tmp_path, epochs=2)
    own = lf.replay(tmp_path, Complete(), callbacks=few(), accelerator="cpu")
    assert_alike(own, replay(tmp_path))


class Beginning(L.Callback):
    """Saves the network before its first step."""

    def __init__(self, file):
        self.file = file

    def on_train_start(self, trainer, pl_module):
        trainer.save_checkpoint(self.file)


def test_a_checkpoint_of_step_0_is_the_network_before_training(tmp_path):
    train(tmp_path, epochs=2, also=[Beginning(tmp_path / "begin.ckpt")], data=loaders(False))
    whole = replay(tmp_path)
    later = replay([tmp_path / "epoch=0.ckpt", tmp_path / "epoch=1.ckpt"])
    assert places(whole) == [(0, 0), (0, 6), (1, 12)]
    kept = "failures/collapse/kept/penultimate"
    assert math.isnan(later.evaluations[0].values[kept])
    assert 0 < whole.evaluations[0].values[kept] <= 1
    assert 0 < whole.evaluations[1].values[kept] <= 1


class Own:
    """What plain weights do not hold."""


def test_a_checkpoint_that_holds_more_than_weights_is_read_only_where_it_is_trusted(tmp_path):
    train(tmp_path, epochs=1)
    file = tmp_path / "epoch=0.ckpt"
    torch.save(torch.load(file, weights_only=True) | {"hyper_parameters": {"own": Own()}}, file)
    text = r"more than weights; given epoch=0\.ckpt with tests\.test_replay\.Own\. Where you trust .* pass --trust"
    with pytest.raises(InputError, match=text):
        replay(tmp_path)
    assert places(replay(tmp_path, trust=True)) == [(0, 6)]


def test_a_pickle_of_something_else_is_no_checkpoint(tmp_path):
    file = tmp_path / "other.ckpt"
    file.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(InputError, match="no checkpoint to replay"):
        replay(file)


SCRIPT = """
from pathlib import Path
import lightning as L
from torch import nn
from tests.runs import Classifier, loaders

class Sized(Classifier):
    def __init__(self, name):
        super().__init__()
        self.save_hyperparameters()

class Images(L.LightningDataModule):
    def train_dataloader(self):
        return loaders(shuffle=False)[0]
    def val_dataloader(self):
        return loaders()[1]

def both():
    return loaders(shuffle=False)

def validation():
    return loaders()[1]

class Other(Classifier):
    def __init__(self):
        super().__init__()
        self.more = nn.Linear(2, 2)

def images_of_groups():
    from tests.test_replay import grouped
    return grouped()

def module():
    return Sized("made")
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """A user's file with module and data."""
    file = tmp_path / f"script_{abs(hash(tmp_path))}.py"
    file.write_text(SCRIPT)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    return file


def command(folder, script, *more, module="Sized", data="Images"):
    files = ["--module", f"{script}:{module}", "--data", f"{script}:{data}", "--accelerator", "cpu"]
    return main(["replay", str(folder), *files, *map(str, more)])


def test_the_command_says_of_each_finding_at_which_checkpoint_it_was_first_seen(tmp_path, script, capsys):
    from lightning_failures.commands.user_code import import_named

    sized = import_named("test", "--module", f"{script}:Sized")("small")
    live = train(tmp_path / "saved", epochs=5, module=sized, also=[Collapsing(2)]).record
    (tmp_path / "saved" / "last.ckpt").write_bytes((tmp_path / "saved" / "epoch=4.ckpt").read_bytes())
    capsys.readouterr()
    assert command(tmp_path / "saved", script, "--out", tmp_path / "out", "--json", tmp_path / "said.json") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "last.ckpt is left out: it is of the same step as epoch=4.ckpt." in shown
    assert "epoch 3, step 24 (epoch=3.ckpt): accuracy" in shown
    assert "faults of the training step (it needs training; not replayed)" in shown
    said = json.loads((tmp_path / "said.json").read_text())
    assert [each["epoch"] for each in said["checkpoints"]] == list(range(5))
    assert said["repeated"] == {str(tmp_path / "saved" / "last.ckpt"): str(tmp_path / "saved" / "epoch=4.ckpt")}
    assert said["not_watched"] == STEPS
    assert said["not_replayed"]["failures/training/learning_rate"] == "it needs training; not replayed"
    assert said["not_replayed"].keys() > {"failures/collapse/initial/*/*"}
    known = {(each.kind, each.subject, each.epoch) for each in live.findings}
    found = [each for each in said["findings"] if (each["kind"], each["subject"], each["epoch"]) in known]
    assert found
    for each in found:
        assert each["checkpoint"] == f"epoch={each['epoch']}.ckpt"
        last = f"the one before is of epoch {each['epoch'] - 1}, step {each['step'] - 6}"
        seen = f"first seen at epoch {each['epoch']}, step {each['step']} (epoch={each['epoch']}.ckpt; {last})"
        assert seen in shown
    assert {file.name for file in (tmp_path / "out").iterdir()} >= {"report.html", "records.json", "findings.json"}


@pytest.mark.parametrize(("module", "data"), [("module", "both"), ("module", "validation"), ("Sized", "validation")])
def test_the_command_takes_functions_that_return_module_and_loaders(tmp_path, script, module, data, capsys):
    train(tmp_path / "saved", epochs=1)
    if module == "Sized":
        assert command(tmp_path / "saved", script, module=module, data=data) == 2
        assert "--module cannot be made" in capsys.readouterr().err
        return
    assert command(tmp_path / "saved", script, "--json", "-", module=module, data=data) == 0
    said = json.loads(capsys.readouterr().out)
    assert ("what decides the predictions" in said["not_watched"]) == (data == "validation")


def test_the_command_says_what_is_missing(tmp_path, script, capsys):
    train(tmp_path / "saved", epochs=1)
    assert main(["replay", str(tmp_path / "saved"), "--data", "a:b"]) == 2
    assert "replay: --module is missing" in capsys.readouterr().err
    assert command(tmp_path / "saved", script, module="Other") == 2
    text = "the weights are of another module; given epoch=0.ckpt for"
    assert text in capsys.readouterr().err
    assert command(tmp_path / "saved", script, module="Nobody") == 2
    assert "no such class or function" in capsys.readouterr().err
    assert main(["replay", str(tmp_path / "saved"), "--module", f"{script}:module", "--accelerator", "cpu"]) == 2
    text = "replay: there is no validation loader; given no data. Give a LightningDataModule, the validation loader, or"
    assert text in capsys.readouterr().err
    assert command(tmp_path / "saved", script, "--wavelengths", tmp_path / "none.txt", module="module") == 2
    assert "the wavelengths cannot be read" in capsys.readouterr().err


def test_names_of_code_that_is_not_there_are_said(tmp_path):
    from lightning_failures.commands.user_code import import_named

    broken = tmp_path / "broken_on_import.py"
    broken.write_text("1 / 0")
    for name, kind, text in (
        ("nothing", InputError, "names no class and no function"),
        ("none.py:Class", UnknownNameError, "there is no such file"),
        ("no_such_package.module:Class", UnknownNameError, "a module cannot be imported"),
        (f"{broken}:Class", InputError, "raises while it is imported"),
        ("os.path:joint", UnknownNameError, "no such class or function; .* The nearest that is there: os.path:join."),
        ("os.path:sep", UnknownNameError, "no such class or function"),
    ):
        with pytest.raises(kind, match=text):
            import_named("replay", "--module", name)


def test_the_command_reads_factors_groups_classes_and_damaged_files_and_says_where_nothing_was_found(
    tmp_path, script, capsys
):
    train(tmp_path / "saved", epochs=1)
    (tmp_path / "saved" / "damaged.ckpt").write_bytes(b"PK\x03\x04")
    rows = [f"{int(bright)},{int(dark)}" for bright, dark in table().values.tolist()]
    (tmp_path / "factors.csv").write_text("\n".join(["bright,dark", *rows]))
    (tmp_path / "classes.txt").write_text("oak\nbeech\npine\n")
    files = ["--factors", tmp_path / "factors.csv", "--classes", tmp_path / "classes.txt", "--groups", "2"]
    assert command(tmp_path / "saved", script, *files, "--json", "-", module="module", data="images_of_groups") == 0
    out, err = capsys.readouterr()
    said, shown = json.loads(out), " ".join(err.split())
    assert "damaged.ckpt is left out: it is damaged, or no checkpoint." in shown
    assert said["skipped"] == {str(tmp_path / "saved" / "damaged.ckpt"): "it is damaged, or no checkpoint"}
    assert said["values"]["failures/factors/images/bright"] > 0
    assert any(key.startswith("failures/groups/") for key in said["values"])
    assert said["findings"] == []
    assert "clear Nothing was found at the one checkpoint." in shown


def test_help_names_what_the_command_needs_and_shows_an_example(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["replay", "--help"])
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for option in ("--module", "--data", "--trust", "--factors", "--groups", "--wavelengths", "--classes", "--out"):
        assert option in shown
    assert "for example: lightning-failures replay checkpoints --module" in shown
