"""No operation is handed a batch of nothing: an empty shard costs no metric, probe or monitor its run."""

import importlib
import inspect
import pkgutil
from typing import Any, NamedTuple

import lightning as L
import pytest
import torch
import torchmetrics
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import lightning_failures as lf
from lightning_failures import metrics as metrics_package
from lightning_failures.functional import (
    at_least_one,
    border_mask,
    control_rows,
    grey_level,
    interchange_inputs,
    keep_intensity,
    keep_mean_spectrum,
    ladder_features,
    never_empty,
    pixel_ladder_features,
    rescale_to,
    shuffle_pixels,
    target_scores,
    total_absorbance,
    transplant_amplitude,
    transplant_channel_statistics,
    transplant_channels,
    transplant_colour,
    transplant_level,
    transplant_low_frequencies,
    transplant_region,
    unit_total,
)
from lightning_failures.interventions import (
    PERTURBATIONS,
    perturbations,
    predict_changed,
    predict_transplants,
    raw_units,
    retention_changes,
    total_absorbance_swap,
)
from lightning_failures.metrics import (
    ChannelDependence,
    ChannelSignal,
    CueSwap,
    CueSwapByClass,
    FactorSetback,
    InputStatistics,
    Ladder,
    Retention,
    SumMetric,
    TransplantShares,
)
from lightning_failures.observe import (
    Observation,
    ReferenceBatch,
    donor_rows,
    draw_positions,
    mean_spectra,
    pixel_rows,
    rerun,
    rows_of,
)
from tests.processes import strategy
from tests.zero_rows import RefusesZeroRows, ZeroRowsError

N, C, D = 12, 3, 6

LABELS = torch.arange(N) % C
OTHER = LABELS.roll(1)
LOGITS = torch.randn(N, C, generator=torch.Generator().manual_seed(0))
ROWS = torch.randn(N, D, generator=torch.Generator().manual_seed(1)) + LABELS[:, None]
FACTORS = torch.stack([LABELS > 0, torch.arange(N) % 2 > 0], 1)
CUE = torch.linspace(0, 1, N)
IMAGES = torch.rand(N, D, 7, 9, generator=torch.Generator().manual_seed(2)) + LABELS[:, None, None, None]
COLOUR = IMAGES[:, :3]
LADDER = ladder_features(COLOUR, raw=COLOUR)
WIDTHS = {name: rows.shape[1] for name, rows in LADDER.items()}


class Case(NamedTuple):
    """A metric, and a batch of it; arguments of ``update`` with images first."""

    metric: SumMetric[Any]
    batch: tuple[Any, ...]


def cases() -> dict[str, Case]:
    """One of each metric, by the name of its class."""
    names = ["low", "odd"]
    every = [
        Case(ChannelDependence(names), (ROWS[:, :2],)),
        Case(ChannelSignal(D, C), (IMAGES, LOGITS)),
        Case(lf.ClassAdjustedErrorRatio(names, num_classes=C), (LOGITS, LABELS, FACTORS)),
        Case(lf.CrossLayerCKA({"stem": D, "head": C}), ({"stem": ROWS, "head": LOGITS},)),
        Case(lf.CueExplainedVariance(torch.tensor([0.3, 0.6]), C), (LOGITS, CUE, LABELS)),
        Case(CueSwap(names), (LABELS, OTHER, torch.stack([LABELS, OTHER], 1))),
        Case(CueSwapByClass(names, C), (LABELS, OTHER, torch.stack([LABELS, OTHER], 1))),
        Case(lf.DecisionDimension((1, 2)), (LABELS, OTHER, torch.stack([LABELS, OTHER], 1))),
        Case(lf.DormantUnits(D), (ROWS,)),
        Case(lf.ExplainedBySimple(C), (LABELS, OTHER, LABELS)),
        Case(lf.FactorCalibration(names), (LOGITS, LABELS, FACTORS)),
        Case(lf.FactorErrorRatio(names), (LOGITS, LABELS, FACTORS)),
        Case(metrics_package.GroupErrors(), (LOGITS, LABELS, LABELS)),
        Case(lf.FactorMeanError(names), (LOGITS[:, 0].exp(), FACTORS)),
        Case(lf.FactorInteraction(names), (LOGITS, LABELS, FACTORS)),
        Case(FactorSetback(names), (LABELS > 0, FACTORS, FACTORS)),
        Case(lf.FactorTrend({"cue": [0.3, 0.6]}), (LOGITS, LABELS, CUE[:, None])),
        Case(lf.FeatureSpectrum(D), (ROWS,)),
        Case(lf.FeaturesKept(D), (ROWS,)),
        Case(lf.GeneralisationGap(), (LOGITS, LABELS, True)),
        Case(lf.GroupedDimension(["a", "b", "c"], D), (ROWS, LABELS)),
        Case(InputStatistics(D), (IMAGES,)),
        Case(lf.LabelErrors(C), (LOGITS, LOGITS.roll(1, 0) > 0)),
        Case(Ladder(C, WIDTHS), (LADDER, LABELS)),
        Case(lf.LabelMatching(C), (LOGITS, LABELS)),
        Case(lf.LiDAR(D), (ROWS, ROWS.roll(1, 1))),
        Case(lf.LinearReference(C, D), (ROWS, LABELS)),
        Case(lf.MendedAccuracy(names), ("odd", LABELS, OTHER, LABELS)),
        Case(lf.NeuralCollapse(C, D), (ROWS, LABELS)),
        Case(lf.PairedErrorRatio(names), (LOGITS, LOGITS.roll(1, 0), LABELS, FACTORS)),
        Case(lf.PredictionCollapse(C), (LOGITS, LABELS)),
        Case(Retention(names, C), (LABELS, torch.stack([LABELS, OTHER], 1), LABELS)),
        Case(lf.SubspaceOverlap(D, k=2), (ROWS,)),
        Case(TransplantShares(names), (LABELS, OTHER, *[torch.stack([LABELS, OTHER], 1)] * 2, LABELS > 0)),
        Case(lf.UntappedInformation(), (LABELS, OTHER, LABELS)),
        Case(lf.WorstClasses(C), (LOGITS, LABELS)),
    ]
    return {type(case.metric).__name__: case for case in every}


CASES = cases()


def all_metrics() -> set[str]:
    """Names of the public metrics, and of all others of the package."""
    public = [getattr(lf, name) for name in lf.__all__]
    found = {value.__name__ for value in public if inspect.isclass(value) and issubclass(value, torchmetrics.Metric)}
    for module in pkgutil.iter_modules(metrics_package.__path__, metrics_package.__name__ + "."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if inspect.isclass(value) and issubclass(value, SumMetric) and value.__module__ == module.name:
                found.add(name)
    return found - {"SumMetric", "GroupedMetric"}


def first(batch: Any, images: int) -> Any:
    """The first images of a batch."""
    if isinstance(batch, Tensor):
        return batch[:images]
    if isinstance(batch, str | bool):
        return batch
    if isinstance(batch, dict):
        return {name: first(part, images) for name, part in batch.items()}
    return tuple(first(part, images) for part in batch)


@pytest.fixture
def refusing():
    with RefusesZeroRows():
        yield


OPERATIONS = {
    "fft": lambda: torch.fft.fft(IMAGES[:0]),
    "fft2": lambda: torch.fft.fft2(IMAGES[:0]),
    "rfft": lambda: torch.fft.rfft(IMAGES[:0]),
    "eigh": lambda: torch.linalg.eigh(torch.zeros(0, 3, 3)),
    "svd": lambda: torch.linalg.svd(ROWS[:0]),
    "svdvals": lambda: torch.linalg.svdvals(ROWS[:0]),
    "qr": lambda: torch.linalg.qr(ROWS[:0]),
    "cholesky": lambda: torch.linalg.cholesky_ex(torch.zeros(0, 0)),
    "pinv": lambda: torch.linalg.pinv(ROWS[:0]),
    "lstsq": lambda: torch.linalg.lstsq(ROWS[:0], LOGITS[:0]),
    "solve": lambda: torch.linalg.solve(torch.eye(3), torch.zeros(3, 0)),
    "quantile": lambda: ROWS[:0].quantile(0.5, 1),
    "nanquantile": lambda: torch.nanquantile(ROWS[:0], 0.5, 1),
    "median": lambda: CUE[:0].median(),
    "nanmedian": lambda: torch.nanmedian(CUE[:0]),
    "avg_pool": lambda: F.avg_pool2d(IMAGES[:0], 2),
    "max_pool": lambda: F.max_pool2d(IMAGES[:0], 2),
    "adaptive_avg_pool": lambda: nn.AdaptiveAvgPool2d(1)(IMAGES[:0]),
    "interpolate": lambda: F.interpolate(IMAGES[:0], size=(3, 3)),
    "grid_sample": lambda: F.grid_sample(IMAGES[:0], torch.zeros(0, 3, 3, 2), align_corners=False),
    "unfold": lambda: F.unfold(IMAGES[:0], 2),
    "fold": lambda: F.fold(torch.zeros(0, 12, 1), (2, 2), 2),
    "conv": lambda: nn.Conv2d(D, 2, 3)(IMAGES[:0]),
    "batch_norm": lambda: nn.BatchNorm2d(D).eval()(IMAGES[:0]),
    "multinomial": lambda: torch.multinomial(ROWS[:0].abs(), 1),
    "histc": lambda: torch.histc(CUE[:0]),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_processor_of_these_tests_refuses_what_any_library_refuses(name, refusing):
    with pytest.raises(ZeroRowsError, match="Inconsistent configuration parameters"):
        OPERATIONS[name]()


# -- the rule


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.uint8])
def test_the_rule_keeps_shape_and_dtype_of_the_operation(dtype, refusing):
    images = IMAGES.to(dtype)
    halves = never_empty(lambda rows, by: F.avg_pool2d(rows.double(), by))
    assert torch.equal(halves(images, 2), F.avg_pool2d(images.double(), 2))
    assert halves(images[:0], 2).shape == (0, D, 3, 4)
    assert halves(images[:0], 2).dtype == torch.float64
    assert at_least_one(images) is images
    assert torch.equal(at_least_one(images[:0]), torch.zeros(1, *images.shape[1:], dtype=dtype))


def test_a_gradient_finds_its_way_through_no_rows(refusing):
    images = IMAGES[:0].clone().requires_grad_()
    network = nn.Sequential(nn.Conv2d(D, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    never_empty(network)(images).sum().backward()
    assert images.grad.shape == images.shape
    assert not network[0].weight.grad.any()


# -- images to images, and to features

UNITS = raw_units(None, COLOUR)
IMAGE_FUNCTIONS = {
    "shuffle_pixels": shuffle_pixels,
    "keep_mean_spectrum": keep_mean_spectrum,
    "keep_intensity": keep_intensity,
    "unit_total": unit_total,
    "interchange_inputs": lambda images: interchange_inputs(images, images, torch.eye(3)[:, :1]),
    "rescale_to": lambda images: rescale_to(images, total_absorbance(images), grey_level(images)),
    "transplant_level": lambda images: transplant_level(images, images),
    "transplant_channel_statistics": lambda images: transplant_channel_statistics(images, images),
    "transplant_colour": lambda images: transplant_colour(images, images),
    "transplant_low_frequencies": lambda images: transplant_low_frequencies(images, images),
    "transplant_amplitude": lambda images: transplant_amplitude(images, images),
    "transplant_region": lambda images: transplant_region(images, images, border_mask(7, 9)),
    "transplant_channels": lambda images: transplant_channels(images, images, torch.tensor([True, False, False])),
    "mean_spectra": mean_spectra,
    "target_scores": lambda images: target_scores(images.mean((2, 3)), LABELS[: len(images)]),
    "target_scores of pixels": lambda images: target_scores(images, images[:, 0].long()),
    "pixel_rows": lambda images: pixel_rows(images, draw_positions(len(images), 4, 0)),
    "ladder_features": lambda images: torch.cat(list(ladder_features(images, raw=images).values()), 1),
    "pixel_ladder_features": lambda images: torch.cat(list(pixel_ladder_features(images, raw=images).values()), 1),
    **retention_changes(UNITS),
    **perturbations(list(PERTURBATIONS), raw_units(lambda images: 2 * images + 1, COLOUR[:0])),
}


@pytest.mark.parametrize("name", IMAGE_FUNCTIONS)
def test_no_images_give_no_rows_of_the_usual_shape(name, refusing):
    some, none = IMAGE_FUNCTIONS[name](COLOUR), IMAGE_FUNCTIONS[name](COLOUR[:0])
    assert none.shape == (0, *some.shape[1:])
    assert none.dtype == some.dtype


# -- metrics


def test_every_metric_has_a_case():
    assert {*CASES, "LayerProbes"} == all_metrics()  # the probes have sums of several metrics, and a test below


@pytest.mark.parametrize("name", CASES)
def test_an_empty_batch_leaves_the_sums_as_they_are(name, refusing):
    metric, batch = cases()[name]
    before = [value.clone() for value in metric.sums]
    metric.update(*first(batch, 0))
    for value, zero in zip(metric.sums, before, strict=True):
        torch.testing.assert_close(value, zero, rtol=0, atol=0)
    metric.update(*batch)
    alone = cases()[name].metric
    alone.update(*batch)
    for value, other in zip(metric.sums, alone.sums, strict=True):
        torch.testing.assert_close(value, other, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("updates", [0, 1])
@pytest.mark.parametrize("name", CASES)
def test_a_metric_of_nothing_says_why_it_is_nan(name, updates, refusing):
    metric, batch = cases()[name]
    for _ in range(updates):
        metric.update(*first(batch, 0))
    values = metric.compute()
    undefined = {key for key, value in values.items() if value.isnan()}
    assert undefined
    assert set(metric.undefined) == undefined
    assert all(metric.undefined.values())


def test_layer_probes_of_an_empty_batch_are_those_of_no_batch(refusing):
    probes, alone = lf.LayerProbes({"a": D, "b": C}, C), lf.LayerProbes({"a": D, "b": C}, C)
    values = probes.compute()
    assert all(value.isnan() for value in values.values())
    assert set(probes.undefined) == set(values)
    assert all(probes.undefined.values())
    probes.update({"a": ROWS[:0], "b": LOGITS[:0]}, LABELS[:0])
    for metric in (probes, alone):
        metric.update({"a": ROWS, "b": LOGITS}, LABELS)
    torch.testing.assert_close(probes.compute(), alone.compute(), rtol=0, atol=0, equal_nan=True)


# -- probes

NETWORK = nn.Sequential(
    nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, C)
)
PROBES = {
    "interchange": lambda images: lf.interchange(NETWORK, images, images, torch.eye(3), ranks=(1, 2)),
    "predict_changed": lambda images: predict_changed(NETWORK, images, retention_changes(UNITS)),
    "predict_transplants": lambda images: predict_transplants(
        NETWORK, images, images, {"total": total_absorbance_swap(UNITS)}
    ),
    "rerun": rerun(NETWORK.eval(), None),
    "donor_rows": lambda images: donor_rows(LABELS[: len(images)]),
    "control_rows": lambda images: control_rows(LABELS[: len(images)]),
}


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_of_no_images_finds_no_rows(name, refusing):
    some, none = PROBES[name](COLOUR), PROBES[name](COLOUR[:0])
    assert none.shape == (0, *some.shape[1:])
    assert none.dtype == some.dtype


def test_channels_of_no_images_are_refused_in_words(refusing):
    with pytest.raises(lf.FailuresError, match="inputs are not float images"):
        lf.attribute_channels(NETWORK, COLOUR[:0], LABELS[:0])


def test_a_reference_batch_takes_nothing_from_an_empty_batch(refusing):
    batch = ReferenceBatch(4)
    batch.begin(torch.inf)
    batch.add(IMAGES[:0], LOGITS[:0], LABELS[:0])
    assert not batch.fix()
    batch.add(IMAGES, LOGITS, LABELS)
    assert batch.fix()
    assert len(batch.inputs) == 4


@pytest.mark.parametrize("targets", [LABELS, LABELS[:, None, None].expand(-1, 7, 9)], ids=["images", "pixels"])
def test_an_observation_knows_that_no_image_is_left(targets, refusing):
    maps = LOGITS[..., None, None].expand(-1, -1, 7, 9) if targets.ndim == 3 else LOGITS
    seen = Observation(None, IMAGES, targets, maps, {"penultimate": ROWS if targets.ndim == 1 else IMAGES})
    none = seen.select(torch.zeros(N, dtype=torch.bool))
    assert (seen.empty, none.empty, Observation(None).empty) == (False, True, False)
    assert rows_of(none).empty
    assert not len(rows_of(none).features["penultimate"])


# -- monitors


class Still(L.LightningModule):
    """A linear classifier that training does not change."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 9 * 9, 8), nn.ReLU(), nn.Linear(8, C))

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Batches(IterableDataset):
    """Batches of images, labels, factors and a cue, as a stream that gives all of them to the first rank."""

    def __init__(self, *sizes, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.batches = []
        for size in sizes:
            labels = torch.randint(C, (size,), generator=generator)
            images = torch.rand(size, 3, 9, 9, generator=generator) + labels[:, None, None, None]
            factors = torch.rand(size, 2, generator=generator) > 0.5
            self.batches.append((images, labels, factors, images.amax((1, 2, 3)) if size else torch.zeros(0)))

    def __iter__(self):
        alone = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
        return iter(self.batches if alone else [])

    def rows(self):
        """The same images as a dataset with a length, for a distributed sampler to share out."""
        return TensorDataset(*map(torch.cat, zip(*self.batches, strict=True)))


class Refusing(L.Callback):
    """Makes a run's own process one that refuses a batch of nothing, in training and evaluation."""

    def setup(self, trainer, pl_module, stage):
        self.mode = RefusesZeroRows()
        self.mode.__enter__()

    def teardown(self, trainer, pl_module, stage):
        self.mode.__exit__(None, None, None)


class Outcome(L.Callback):
    """Brings back what each rank logged, which monitors stepped aside, and how many batches it evaluated."""

    def __init__(self, path):
        self.path, self.batches = path, 0

    def on_validation_batch_end(self, *args, **kwargs):
        self.batches += 1

    def on_fit_end(self, trainer, pl_module):
        logged = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("failures/")}
        monitors = [callback for callback in trainer.callbacks if hasattr(callback, "failure")]
        failures = {type(callback).__name__: callback.failure for callback in monitors if callback.failure}
        diagnosis = next(callback for callback in monitors if isinstance(callback, lf.FailureDiagnosis))
        kinds = {finding.kind for finding in diagnosis.history}
        result = {"logged": logged, "failures": failures, "kinds": kinds, "batches": self.batches}
        torch.save(result, f"{self.path}.{trainer.global_rank}")


def watched(path, devices, train, val, **options):
    """What each rank of a run with every monitor brings back; no examination is left out for want of time."""
    L.seed_everything(3, verbose=False)
    monitors = lf.failure_monitors(
        factors=["bright", "dark"], cues={"brightest": "3"}, layers=["net.1", "penultimate"], budget=1e9
    )
    trainer = L.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy=strategy(devices),
        callbacks=[
            *([Refusing()] if devices > 1 else []),
            *monitors,
            lf.PerturbationMonitor(["darker", "pose", "blur"], images=None),
            Outcome(path),
        ],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=2,
        num_sanity_val_steps=-1,
        **options,
    )
    trainer.fit(Still(), train, val)
    return [torch.load(f"{path}.{rank}") for rank in range(devices)]


def stream(*sizes, seed=0):
    return DataLoader(Batches(*sizes, seed=seed), batch_size=None)


#: Of the steps of training, which see other images on each number of processes.
OF_STEPS = "failures/training/"


#: A rank without a validation image examines nothing, and so asks for none of its training images.
OF_TRAINING_IMAGES = tuple(
    f"failures/causes/{name}" for name in ("training_", "gap", "reached", "share/", "before", "after", "gain")
)


def alike(one, other, left_out=()):
    """Whether two runs logged the same, but for some keys, and nothing stepped aside in either."""
    assert one["failures"] == other["failures"] == {}
    assert "monitor_error" not in one["kinds"] | other["kinds"]
    kept, same = (
        [key for key in each["logged"] if key.count("/") > 1 and not key.startswith((*left_out, OF_STEPS))]
        for each in (one, other)  # without short names, which say once more what is compared here
    )
    assert sorted(kept) == sorted(same)
    assert {key.split("/")[1] for key in kept} == {
        "factors",
        "collapse",
        "simplicity",
        "channels",
        "causes",
        "data",
        "properties",
    }
    for key in kept:
        assert other["logged"][key] == pytest.approx(one["logged"][key], rel=1e-5, abs=1e-6, nan_ok=True), key


def test_batches_without_an_image_between_others_change_nothing(tmp_path, refusing):
    (plain,) = watched(tmp_path / "plain", 1, stream(8, 8, 6), stream(8, 8, 6, seed=1))
    (holes,) = watched(tmp_path / "holes", 1, stream(0, 8, 0, 8, 6, 0), stream(0, 8, 0, 8, 6, 0, seed=1))
    assert holes["batches"] > plain["batches"]
    alike(plain, holes)


@pytest.mark.slow
def test_a_rank_without_an_image_logs_with_the_other_what_one_process_logs(tmp_path):
    train = DataLoader(Batches(24).rows(), batch_size=8)
    (one,) = watched(tmp_path / "one", 1, train, stream(8, 8, 6, seed=1))
    first, second = watched(tmp_path / "two", 2, train, stream(8, 8, 6, seed=1))
    assert (first["batches"], second["batches"]) == (one["batches"], 0)
    alike(one, first, OF_TRAINING_IMAGES)


#: Of pairs and draws within a rank, and against the sanity check, in which two processes see twice the batches.
OF_A_RANK = (
    *(f"failures/simplicity/{name}" for name in ("own", "donor", "pixel_", "transplant", "pairs", "reliance")),
    *(f"failures/simplicity/{name}" for name in ("decision_", "lost", "retained", "changed", "class_rel", "reliant_")),
    *(f"failures/channels/{name}" for name in ("floor", "share", "spearman", "jensen", "effective")),
    *(f"failures/channels/{name}" for name in ("largest_share", "centroid")),
    *(f"failures/collapse/{name}" for name in ("initial", "dimensions_kept", "spread_kept", "kept")),
    # halves of the images by the last bit of a score, which a processor may round otherwise in a batch of another size
    *(f"failures/causes/{name}/labels" for each in ("after", "gain") for name in (each, f"{each}_low", f"{each}_high")),
    *(f"failures/causes/{name}" for name in ("share/labels", "labels_renamed", "label_shift")),
)


@pytest.mark.slow
def test_a_rank_whose_last_batch_is_padding_logs_with_the_other_what_one_process_logs(tmp_path):
    train, val = (DataLoader(Batches(size, seed=seed).rows(), batch_size=4) for size, seed in ((24, 0), (9, 1)))
    (one,) = watched(tmp_path / "one", 1, train, val)
    first, second = watched(tmp_path / "two", 2, train, val)
    assert first["batches"] == second["batches"]
    alike(one, first, OF_A_RANK)
