"""Every key that the collapse monitor can log has one term, and every term is of a key that some option logs."""

import math
import warnings

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader

from lightning_failures import CollapseMonitor
from lightning_failures.callbacks.collapse import COLLAPSE, TERMS
from lightning_failures.records import Evaluation, RunRecord, find_term
from tests.runs import CHANNELS, CLASSES, Classifier, dataset, fit, noted, table
from tests.test_collapse_monitor import Segmenter, TwoViews, scenes, unlabelled
from tests.test_labels import Several, answered

KEY = "failures/collapse/"


class EveryValue(CSVLogger):
    """A logger that keeps the name of all that it is given."""

    def __init__(self, path):
        super().__init__(path)
        self.values = {}

    def log_metrics(self, metrics, step=None):
        own = {key: value for key, value in metrics.items() if key.startswith(KEY)}
        self.values |= {key.removeprefix(KEY): float(value) for key, value in own.items()}


class NothingValidated(Classifier):
    def validation_step(self, batch, _):
        pass


def logged(path, monitor, module=None, **options):
    """The figures of a run, which of them are curves, and why some are nan."""
    logger, figures = EveryValue(path), noted(monitor)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "lightning-failures: nothing is evaluated")
        fit([monitor], module, logger=logger, log_every_n_steps=1, **options)
    return figures, monitor.undefined, logger.values


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    path = tmp_path_factory.mktemp("logs")
    every = {"by_class": True, "similarity": True, "every_n_steps": 2, "on_error": "raise"}
    named = CollapseMonitor(["net.0", "net.4", "penultimate"], factors=table(), **every)
    return {
        "as it comes": logged(path, CollapseMonitor(on_error="raise")),
        "all options": logged(path, named),
        "nothing validated": logged(path, CollapseMonitor(on_error="raise"), NothingValidated()),
        "two views": logged(path, CollapseMonitor(["encoder", "projector"], **every), TwoViews(), data=unlabelled()),
        "several labels": logged(path, CollapseMonitor(on_error="raise"), Several(), data=answered()),
        "segmentation": logged(path, CollapseMonitor(["body", "penultimate"], **every), Segmenter(), data=scenes()),
    }


def test_every_key_that_some_option_logs_has_one_most_specific_term_and_no_term_is_dead(runs):
    keys = [term.key for term in TERMS]
    assert len(keys) == len(set(keys))
    found = {key: find_term(TERMS, key) for values, *_ in runs.values() for key in values}
    assert [key for key, term in found.items() if term is None] == []
    assert set(keys) - {term.key for term in found.values()} == set()


def test_a_key_of_a_term_holds_one_star_at_most_and_last():
    assert [term.key for term in TERMS if "*" in term.key[:-1]] == []


def test_totals_over_classes_have_terms_of_their_own():
    names = {key: find_term(TERMS, f"class_dimension/{key}").name for key in ("3", "smallest", "median")}
    assert names == {
        "3": "Dimensions of a class",
        "smallest": "Dimensions of the smallest class",
        "median": "Dimensions of a middle class",
    }


def test_every_figure_that_is_undefined_has_a_reason_in_the_run_and_in_its_term(runs):
    blank = 0
    for values, undefined, _ in runs.values():
        for key, value in values.items():
            if math.isnan(value):
                blank += 1
                assert find_term(TERMS, key).when_nan, key
                assert key.startswith(("train/", "initial/")) or undefined[key], key
    assert blank


def test_a_term_says_all_that_a_reader_needs_and_few_figures_are_headlines():
    for term in TERMS:
        assert term.meaning.endswith("."), term
        assert term.name, term
        assert term.range, term
        assert term.direction, term
    of_labels = {"label_balanced_error/all", "label_balanced_error/worst"}
    headlines = {"kept/*", "effective_rank/*", "accuracy", "class_share"}
    assert {term.key for term in TERMS if term.headline} == headlines | of_labels


def test_few_figures_are_found_unless_more_is_asked_for_and_fewer_are_curves(runs):
    figures, _, curves = runs["as it comes"]
    assert len(figures) == 36
    assert set(curves) == {"effective_rank/penultimate"}  # the others have short names


def test_the_penultimate_layer_is_probed_without_being_asked_for_so_that_a_wasteful_head_shows():
    class Wasteful(Classifier):
        """Its head cannot move from one class."""

        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Identity(), nn.Linear(CHANNELS, CLASSES))
            nn.init.zeros_(self.net[3].weight)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.0)

    data = DataLoader(dataset(60), batch_size=30), DataLoader(dataset(600, seed=1), batch_size=60)
    monitor = CollapseMonitor(on_error="raise")
    values = fit([monitor], Wasteful(), epochs=1, data=data)[0].callback_metrics
    assert values[f"{KEY}probe_accuracy/penultimate"] > 0.9 > 0.5 > values[f"{KEY}accuracy"]
    assert f"{KEY}probe_change/penultimate" not in values
    assert monitor.information_lost is None


class Wide(Classifier):
    """Its penultimate layer has 1100 features."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(CHANNELS * 25, 8), nn.Linear(8, 1100), nn.Linear(1100, CLASSES)
        )


@pytest.mark.parametrize(("layers", "probed"), [(None, []), (["net.1", "penultimate"], ["net.1", "penultimate"])])
def test_a_layer_too_wide_for_a_cheap_probe_gets_one_only_beside_another(layers, probed):
    values = fit([CollapseMonitor(layers, on_error="raise")], Wide(), epochs=1)[0].callback_metrics
    found = [key.removeprefix(f"{KEY}probe_accuracy/") for key in values if key.startswith(f"{KEY}probe_accuracy/")]
    assert found == probed
    assert f"{KEY}effective_rank/penultimate" in values


def test_the_report_shows_the_rank_of_the_last_layer_and_compares_classes_and_logits():
    values = {"effective_rank/stem": 3.0, "effective_rank/penultimate": 5.25, "effective_classes": 2.04}
    course = [{KEY + key: factor * value for key, value in values.items()} for factor in (2, 1)]
    record = RunRecord("run", [Evaluation(epoch, epoch, logged) for epoch, logged in enumerate(course)])
    (tile,) = COLLAPSE.tiles(record)
    assert (tile.name, tile.value, tile.note, list(tile.course)) == (
        "Effective rank",
        "5.25",
        "penultimate",
        [10.5, 5.25],
    )
    rows = {label: told(record) for label, told in COLLAPSE.rows}
    assert rows == {
        "Effective predicted classes": "2.0",
        "Effective rank of the logits": "",
        "Worst balanced error of a label": "",
    }
    assert COLLAPSE.tiles(RunRecord("none", [])) == []
