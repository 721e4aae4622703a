"""Every key that a metric computes has one term, and every term is of some key."""

import inspect
from collections.abc import Sequence

import pytest
import torch
from torchmetrics import Metric

import lightning_failures as lf
from lightning_failures import metrics
from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.metrics import GroupedMetric, SumMetric
from lightning_failures.records.term import Term, find_term, find_terms

NAMES = ["dark", "small"]


def with_names(metric: metrics.GroupErrors) -> metrics.GroupErrors:
    metric.names = {7: "a scanner"}
    return metric


#: Each metric without any data.
EMPTY = {
    "ChannelDependence": lambda: metrics.ChannelDependence(["one", "two"], [1.0, 2.0]),
    "ChannelSignal": lambda: metrics.ChannelSignal(2, 3),
    "ClassAdjustedErrorRatio": lambda: metrics.ClassAdjustedErrorRatio(NAMES, num_classes=3),
    "CrossLayerCKA": lambda: metrics.CrossLayerCKA({"stem": 2, "body": 3}),
    "CueExplainedVariance": lambda: metrics.CueExplainedVariance(torch.tensor([0.5]), num_classes=3),
    "CueSwap": lambda: metrics.CueSwap(NAMES),
    "DecisionDimension": lambda: metrics.DecisionDimension((1, 2)),
    "DormantUnits": lambda: metrics.DormantUnits(4),
    "ExplainedBySimple": lambda: metrics.ExplainedBySimple(num_classes=3),
    "FactorCalibration": lambda: metrics.FactorCalibration(NAMES),
    "FactorErrorRatio": lambda: metrics.FactorErrorRatio(NAMES),
    "CueSwapByClass": lambda: metrics.CueSwapByClass(["total"], num_classes=3),
    "FactorSetback": lambda: metrics.FactorSetback(NAMES),
    "FactorMeanError": lambda: metrics.FactorMeanError(NAMES),
    "FactorInteraction": lambda: metrics.FactorInteraction(NAMES),
    "FactorTrend": lambda: metrics.FactorTrend({"size": [16, 32]}),
    "FeaturesKept": lambda: metrics.FeaturesKept(num_features=4),
    "FeatureSpectrum": lambda: metrics.FeatureSpectrum(num_features=4),
    "GeneralisationGap": lambda: metrics.GeneralisationGap(),
    "GroupErrors": lambda: with_names(metrics.GroupErrors()),
    "GroupedDimension": lambda: metrics.GroupedDimension(["cat", "dog"], num_features=4),
    "InputStatistics": lambda: metrics.InputStatistics(2),
    "LabelErrors": lambda: metrics.LabelErrors(num_labels=2),
    "Ladder": lambda: metrics.Ladder(3, {"mean_spectrum": 2}),
    "LabelMatching": lambda: metrics.LabelMatching(num_classes=3),
    "LayerProbes": lambda: metrics.LayerProbes({"early": 2, "late": 3}, num_classes=3),
    "LiDAR": lambda: metrics.LiDAR(num_features=4),
    "LinearReference": lambda: metrics.LinearReference(num_classes=3, num_features=4),
    "MendedAccuracy": lambda: metrics.MendedAccuracy(NAMES),
    "NeuralCollapse": lambda: metrics.NeuralCollapse(num_classes=3, num_features=4),
    "PairedErrorRatio": lambda: metrics.PairedErrorRatio(NAMES),
    "PredictionCollapse": lambda: metrics.PredictionCollapse(num_classes=3),
    "Retention": lambda: metrics.Retention(["shuffled_pixels"], num_classes=3),
    "SubspaceOverlap": lambda: metrics.SubspaceOverlap(num_features=4, k=2),
    "TransplantShares": lambda: metrics.TransplantShares(["level"]),
    "UntappedInformation": lambda: metrics.UntappedInformation(),
    "WorstClasses": lambda: metrics.WorstClasses(num_classes=3, k=2),
}


def is_metric(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, Metric) and value not in (SumMetric, GroupedMetric)


def test_no_metric_is_forgotten() -> None:
    here = {name for name, value in vars(metrics).items() if is_metric(value)}
    public = {name for name in lf.__all__ if is_metric(getattr(lf, name))}
    assert here | public == EMPTY.keys()


@pytest.mark.parametrize("name", EMPTY)
def test_every_key_has_one_most_specific_term_and_every_term_is_of_some_key(name: str) -> None:
    metric = EMPTY[name]()
    keys = [term.key for term in metric.terms]
    assert len(keys) == len(set(keys))
    found = {key: find_term(metric.terms, key) for key in metric.compute()}
    assert [key for key, term in found.items() if term is None] == []
    of_groups = {
        "groups/*",
        "groups/all",
        "gap_low_of_images",
        "gain_low_of_images/*",
    }  # which stand where groups are given
    where_there_is_one = {"largest_class_never_given"}
    assert {term.key for term in found.values()} - of_groups == set(keys) - of_groups - where_there_is_one


@pytest.mark.parametrize("name", EMPTY)
def test_every_nan_of_a_metric_without_data_has_a_reason(name: str) -> None:
    metric = EMPTY[name]()
    blank = {key for key, value in metric.compute().items() if bool(value.isnan())}
    assert metric.undefined.keys() == blank
    assert all(metric.undefined.values())


@pytest.mark.parametrize("name", EMPTY)
def test_what_is_never_nan_gives_no_reason_and_all_else_one(name: str) -> None:
    metric = EMPTY[name]()
    found = {find_term(metric.terms, key): bool(value.isnan()) for key, value in metric.compute().items()}
    assert {term.key: bool(term.when_nan) for term in found} == {term.key: nan for term, nan in found.items()}


@pytest.mark.parametrize("name", EMPTY)
def test_a_term_says_all_that_a_reader_needs(name: str) -> None:
    for term in EMPTY[name]().terms:
        assert term.name[0].isupper() or term.name == "p-value" or term.name.startswith("p-value "), term
        assert not term.name.endswith("."), term
        assert term.meaning.endswith("."), term
        assert term.range, term
        assert term.direction, term


def test_a_run_is_told_by_few_headlines() -> None:
    headlines = {term.short for column in COLUMNS for term in column.terms if term.headline and term.short}
    of_tasks = {"label_error", "worst_label"}  # of several labels an image, where there is no accuracy
    assert headlines - of_tasks == {
        "accuracy",
        "classes_used",
        "gap",
        "kept",
        "leans_on",
        "linear_model",
        "one_band",
        "one_direction",
        "worst_factor",
        "worst_group",
        "worst_property",
    }


def test_no_two_columns_give_the_same_short_name() -> None:
    owners = [(term.short, column.noun) for column in COLUMNS for term in column.terms if term.short]
    assert len({short for short, _ in owners}) == len(set(owners))


def literally(terms: Sequence[Term], key: str) -> Term | None:
    """The term without a star that is the key, or that with the longest part before its star that begins it."""
    found: Term | None = None
    for term in terms:
        if term.key == key:
            return term
        if term.matches(key) and (found is None or len(term.key) > len(found.key)):
            found = term
    return found


def test_many_keys_are_explained_by_the_terms_that_a_literal_search_finds() -> None:
    terms = [Term(key, "", "", "", "") for key in ("a", "a/*", "a/b*", "a/b/*", "b/c", "b/*", "*")]
    keys = ["a", "a/", "a/b", "a/bc", "a/b/", "a/b/c", "b/c", "b/", "b/cd", "", "c"]
    assert find_terms(terms, keys) == {key: literally(terms, key) for key in keys}
    assert find_terms(terms[:-1], keys) == {key: literally(terms[:-1], key) for key in keys}
    assert find_terms([], keys) == dict.fromkeys(keys)
