"""The collapse monitor on tiny Lightning runs: what it logs, when it is silent, and that it touches nothing."""

import logging
import math

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import CollapseMonitor, SubspaceOverlap
from lightning_failures.callbacks.collapse import ClassGeometry, RunBest, TrainingWindow
from lightning_failures.errors import FailuresWarning, InputError
from lightning_failures.functional import feature_statistics, feature_sums
from tests.runs import CHANNELS, CLASSES, Classifier, dataset, fit, hooks_on, loaders, trainer

KEY = "failures/collapse/"


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


class TwoViews(L.LightningModule):
    """A self-supervised module: its step calls encoder and projector on two views, and there are no labels."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * 25, 12), nn.ReLU())
        self.projector = nn.Linear(12, 8)

    def loss(self, images):
        one, other = self.projector(self.encoder(images)), self.projector(self.encoder(images.flip(3)))
        return (one - other).square().mean() - one.std(0).mean()

    def training_step(self, batch, _):
        return self.loss(batch[0])

    def validation_step(self, batch, _):
        self.log("val_loss", self.loss(batch[0]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def unlabelled():
    images = TensorDataset(dataset().tensors[0])
    return DataLoader(images, batch_size=8), DataLoader(images, batch_size=8)


def test_named_layers_are_watched_and_named_where_information_is_lost():
    class Narrow(Classifier):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(
                nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, 32)),
                nn.Sequential(nn.Linear(32, 32), nn.ReLU()),
                nn.Sequential(nn.Linear(32, 1)),
                nn.Linear(1, CLASSES),
            )

    data = DataLoader(dataset(600), batch_size=50), DataLoader(dataset(900, seed=1), batch_size=50)
    monitor = CollapseMonitor(["net.[012]"], on_error="raise")
    run, _ = fit([monitor], Narrow(), epochs=1, data=data)
    values = run.callback_metrics
    accuracy = [float(values[f"{KEY}probe_accuracy/net.{i}"]) for i in range(3)]
    assert accuracy[0] > 0.9 > 0.75 > accuracy[2]
    assert monitor.information_lost == "net.2"
    assert float(values[f"{KEY}probe_change_high/net.2"]) < 0
    assert f"{KEY}effective_rank/net.1" in values


def test_the_logged_spectrum_is_that_of_the_final_models_features():
    monitor = CollapseMonitor(on_error="raise")
    run, module = fit([monitor])
    with torch.no_grad():
        features = module.eval().net[:-1](dataset(30, seed=1).tensors[0])
    statistics = feature_statistics(feature_sums(features))
    logged = {key for key in statistics if f"{KEY}{key}/penultimate" in run.callback_metrics}
    assert {"effective_rank", "rankme", "mean_cosine", "top1_share", "alpha", "feature_spread"} < logged
    for key, expected in ((key, statistics[key]) for key in sorted(logged)):
        found = float(run.callback_metrics[f"{KEY}{key}/penultimate"])
        assert found == pytest.approx(float(expected), rel=1e-4, abs=1e-5, nan_ok=True), key


def test_with_labels_the_geometry_of_the_classes_and_the_moving_subspace_are_logged():
    run, _ = fit([CollapseMonitor(on_error="raise")])
    values = run.callback_metrics
    for key in ("nc1", "nc2_norms", "nc2_angles", "nc3", "dormant_share", "subspace_overlap"):
        assert math.isfinite(values[f"{KEY}{key}/penultimate"]), key


def test_what_layers_had_before_training_is_from_the_sanity_check_or_from_the_first_training_batch():
    L.seed_everything(7, verbose=False)
    with torch.no_grad():
        untrained = Classifier().eval().net[:-1](dataset(30, seed=1).tensors[0][:16])
    expected = float(feature_statistics(feature_sums(untrained))["effective_rank"])
    for checks in (2, 0):
        monitor = CollapseMonitor(on_error="raise")
        run, _ = fit([monitor], num_sanity_val_steps=checks)
        found = float(run.callback_metrics[f"{KEY}initial/effective_rank/penultimate"])
        assert math.isfinite(found)
        if checks:
            assert found == pytest.approx(expected, rel=1e-4)
        assert 0 < float(run.callback_metrics[f"{KEY}kept/penultimate"]) <= 1


def test_trained_weights_are_bitwise_the_same_with_layers_training_features_and_figures(tmp_path):
    _, alone = fit([])
    logger = CSVLogger(tmp_path, name="", version="")
    monitor = CollapseMonitor(["net.*", "penultimate"], every_n_steps=2, budget=None, on_error="raise")
    _, watched = fit([monitor], logger=logger)
    assert same_weights(alone, watched)
    assert hooks_on(watched) == 0
    assert list((tmp_path / "failures" / "collapse").glob("layers-*.png"))


@pytest.mark.parametrize(("layers", "pictures"), [(["penultimate"], False), (["net.*", "penultimate"], True)])
def test_one_layer_alone_is_no_picture(tmp_path, layers, pictures):
    pytest.importorskip("matplotlib")
    monitor = CollapseMonitor(layers, budget=None, on_error="raise")
    fit([monitor], logger=CSVLogger(tmp_path, name="", version=""))
    assert bool(list(tmp_path.rglob("layers-*.png"))) is pictures


def test_training_features_are_logged_at_their_cadence_and_marked_so(tmp_path):
    logger = CSVLogger(tmp_path, name="", version="")
    monitor = CollapseMonitor(every_n_steps=4, detail="full", on_error="raise")
    fit([monitor], logger=logger, log_every_n_steps=50)
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    header = lines[0].split(",")
    column, step = header.index(f"{KEY}train/effective_rank/penultimate"), header.index("step")
    steps = [int(line.split(",")[step]) for line in lines[1:] if line.split(",")[column]]
    assert steps == [3, 7, 11]  # as Lightning counts what is logged of the steps before them
    assert monitor.window.values["images/penultimate"] == 4 * 8


def test_training_features_are_logged_without_a_sanity_check_too():
    monitor = CollapseMonitor(every_n_steps=3, on_error="raise")
    fit([monitor], num_sanity_val_steps=0)
    assert monitor.window.values["images/penultimate"] == 3 * 8


def test_a_cadence_below_one_is_an_error():
    with pytest.raises(InputError) as error:
        CollapseMonitor(every_n_steps=0)
    assert str(error.value) == (
        "CollapseMonitor: there is no such cadence; given every_n_steps=0. Pass 1 or more, or None."
    )


def test_two_views_without_labels_are_watched_and_what_needs_labels_is_left_out():
    monitor = CollapseMonitor(["encoder", "projector"], every_n_steps=3, on_error="raise")
    run, _ = fit([monitor], TwoViews(), data=unlabelled())
    values = run.callback_metrics
    assert values[f"{KEY}images/encoder"] == 2 * 48
    assert math.isfinite(values[f"{KEY}lidar/projector"])
    assert values[f"{KEY}kept/projector"] <= values[f"{KEY}filled/projector"] <= 1
    assert not [key for key in values if "accuracy" in key or "label" in key or "nc1" in key]
    assert monitor.window.values["images/encoder"] == 2 * 3 * 8


def test_of_two_views_the_encoder_is_watched_without_an_argument():
    monitor = CollapseMonitor(on_error="raise")
    run, _ = fit([monitor], TwoViews(), data=unlabelled())
    assert monitor.probe.task.kind == "embedding"
    assert f"{KEY}effective_rank/encoder" in run.callback_metrics
    assert f"{KEY}logit_effective_rank" not in run.callback_metrics


def test_missing_labels_are_said_once(caplog):
    class Unlabelled(Classifier):
        def validation_step(self, batch, _):
            return {"logits": self.net(batch[0])}

    with caplog.at_level(logging.INFO, "lightning.pytorch"):
        data = (DataLoader(dataset(), 8), unlabelled()[1])
        run, _ = fit([CollapseMonitor(on_error="raise")], Unlabelled(), data=data)
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("CollapseMonitor: no")]
    assert said == [
        "CollapseMonitor: no labels of one class per row, so label_effective_rank, label_classes, class_share, "
        "dominant_excess, classes_never_given, accuracy, chance, neural collapse and layer probes are left out."
    ]
    assert f"{KEY}accuracy" not in run.callback_metrics
    assert f"{KEY}effective_classes" in run.callback_metrics


class Segmenter(L.LightningModule):
    """Labels every pixel; its head gives maps of half the size, which are then enlarged."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, stride=2), nn.ReLU())
        self.head = nn.Conv2d(8, 4, 1)

    def training_step(self, batch, _):
        logits = nn.functional.interpolate(self.head(self.body(batch["image"])), scale_factor=2.0)
        return {"loss": nn.functional.cross_entropy(logits, batch["mask"], ignore_index=255), "logits": logits}

    validation_step = training_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def scenes():
    """Images with one label per pixel, and some pixels without one."""
    images = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    masks = (images.mean(1) * 8).long().clamp(max=3)
    masks[:, :2] = 255
    rows = [{"image": image, "mask": mask} for image, mask in zip(images, masks, strict=True)]
    return DataLoader(rows, batch_size=5), DataLoader(rows, batch_size=5)


def test_segmentation_is_read_at_the_same_few_pixels_each_time():
    data = scenes()
    monitor = CollapseMonitor(["body", "penultimate"], on_error="raise")
    run, module = fit([monitor], Segmenter(), data=data)
    values = run.callback_metrics
    assert values[f"{KEY}images/penultimate"] == values[f"{KEY}images"] == 20 * 16
    assert 0 < values[f"{KEY}unlabelled"] < 20 * 16
    assert math.isfinite(values[f"{KEY}nc3/penultimate"])
    assert math.isfinite(values[f"{KEY}probe_accuracy/body"])
    first, second = (
        trainer([CollapseMonitor(on_error="raise")]).validate(module, data[1], verbose=False)[0] for _ in range(2)
    )
    assert first[f"{KEY}effective_rank/penultimate"] == second[f"{KEY}effective_rank/penultimate"]


def test_a_layer_too_wide_for_sums_of_products_says_what_to_name():
    class Wide(Classifier):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * 25, 8200), nn.Linear(8200, CLASSES))

    with pytest.warns(FailuresWarning, match="'penultimate' has too many features; given 8200 an image"):
        fit([CollapseMonitor()], Wide(), epochs=1)


def test_a_resumed_run_keeps_what_its_layers_had_and_its_course(tmp_path):
    monitor = CollapseMonitor(on_error="raise")
    run, _ = fit([monitor], epochs=1)
    run.save_checkpoint(tmp_path / "run.ckpt")
    again = CollapseMonitor(on_error="raise")
    whole = trainer([again], epochs=2)
    whole.fit(Classifier(), *loaders(), ckpt_path=tmp_path / "run.ckpt", weights_only=True)
    assert 0 < whole.callback_metrics[KEY + "subspace_overlap/penultimate"] <= 1  # with the epoch before the resume
    assert again.best.initial == monitor.best.initial
    assert again.course.epochs == [0, 1]
    assert again.best.most["dimensions/penultimate"] >= monitor.best.most["dimensions/penultimate"]


def test_a_run_that_goes_on_without_what_the_monitor_knew_has_no_untrained_network_to_look_at(tmp_path):
    run, _ = fit([], epochs=1)
    run.save_checkpoint(tmp_path / "run.ckpt")
    monitor = CollapseMonitor(on_error="raise")
    whole = trainer([monitor], epochs=3)
    whole.fit(Classifier(), *loaders(), ckpt_path=tmp_path / "run.ckpt", weights_only=True)
    assert monitor.best.initial == {}
    assert not [key for key in whole.callback_metrics if key.startswith(KEY + "initial/")]
    assert 0 < whole.callback_metrics[KEY + "kept/penultimate"] <= 1  # of the epoch before


def test_constant_features_keep_nothing_and_nothing_to_compare_with_is_nan():
    best = RunBest()
    now = {"effective_rank/a": 2.0, "mean_cosine/a": 0.5}
    assert math.isnan(best.compare(["a"], now)["kept/a"])
    assert (
        best.why("a")
        == "no earlier evaluation of this run to compare with, and no sanity check of the untrained network"
    )
    best.remember("a", now)
    assert best.compare(["a"], {"effective_rank/a": 0.0, "mean_cosine/a": math.nan})["kept/a"] == 0
    assert best.compare(["a"], {"effective_rank/a": 0.0, "mean_cosine/a": 1.0})["kept/a"] == 0
    narrow = best.compare(["a"], {"effective_rank/a": 2.0, "mean_cosine/a": 0.95})
    assert narrow["spread_kept/a"] == pytest.approx(0.1)
    assert narrow["kept/a"] == pytest.approx(0.1**0.5)  # all dimensions are there


def test_a_classifier_may_give_up_what_its_labels_do_not_need():
    best = RunBest()
    best.remember("a", {"effective_rank/a": 81.0, "mean_cosine/a": 0.5})
    collapsed = {"effective_rank/a": 9.0, "mean_cosine/a": 0.1}
    assert best.compare(["a"], collapsed)["dimensions_kept/a"] == pytest.approx(0.1)
    assert best.compare(["a"], collapsed, label_rank=9.0)["kept/a"] == 1


def test_with_labels_a_layer_has_lost_nothing_that_a_later_one_still_has():
    best = RunBest()
    start = {"effective_rank/a": 8.0, "mean_cosine/a": 0.2, "effective_rank/b": 8.0, "mean_cosine/b": 0.2}
    best.start(start)
    narrow = start | {"mean_cosine/a": 0.95}
    assert best.compare(["a", "b"], narrow)["kept/a"] == pytest.approx(0.25)  # unlabelled: nothing vouches for it
    assert best.compare(["a", "b"], narrow, label_rank=3.0)["kept/a"] == 1
    assert best.compare(["a", "b"], narrow, label_rank=3.0)["spread_kept/a"] == pytest.approx(0.0625)
    dead = narrow | {"effective_rank/b": 0.0}
    assert best.compare(["a", "b"], dead, label_rank=3.0)["kept/a"] == pytest.approx(0.25)
    assert best.compare(["a", "b"], dead, label_rank=3.0)["kept/b"] == 0


def test_the_overlap_of_subspaces_from_the_sums_of_neural_collapse_is_that_of_its_own_metric():
    geometry, metric = ClassGeometry(3, 6), SubspaceOverlap(6, 4)
    generator = torch.Generator().manual_seed(0)
    for evaluation in range(3):
        rows = torch.randn(50, 6, generator=generator)
        for part in (geometry, metric):
            part.reset()
        geometry.update(rows, torch.arange(50) % 3)
        metric.update(rows)
        found, expected = geometry.compute(None), metric.compute()["overlap"]
        assert found["subspace_overlap/penultimate"] == pytest.approx(float(expected), rel=1e-9, nan_ok=True)
        assert ("subspace_overlap/penultimate" in geometry.undefined) == (evaluation == 0)
        assert geometry.undefined["nc3/penultimate"].startswith("the head's weight was not given")


def test_a_network_seen_in_training_mode_is_logged_and_compared_with_nothing():
    best = RunBest()
    best.start({"effective_rank/a": 80.0, "mean_cosine/a": 0.1, "images/a": 64.0}, compare=False)
    assert best.initial == {"effective_rank/a": 80.0, "mean_cosine/a": 0.1}
    assert math.isnan(best.compare(["a"], {"effective_rank/a": 4.0, "mean_cosine/a": 0.5})["kept/a"])


def test_the_window_is_open_for_the_eight_batches_before_each_nth():
    window = TrainingWindow(20)
    opened = [(window.open, window.step()) for _ in range(40)]
    assert [place for place, (is_open, _) in enumerate(opened) if is_open] == [*range(12, 20), *range(32, 40)]
    assert [place for place, (_, due) in enumerate(opened) if due] == [19, 39]
    assert not any(TrainingWindow(None).open or TrainingWindow(None).step() for _ in range(3))
