"""Terms of channels: every key that the monitor can log has one, and none is of a key that nobody logs."""

import pytest

from lightning_failures import ChannelAttributionMonitor
from lightning_failures.callbacks.channels import TERMS
from lightning_failures.metrics import ChannelDependence
from lightning_failures.records import find_term
from tests.runs import Classifier, fit, loaders, noted
from tests.test_channels_monitor import AXIS, BANDS, KEY, Flexible, images, monitor


def logged(*args, channels=None, **options):
    """Keys of a fit of two epochs and of a test, without what stands before them."""
    watch = monitor(*args, **options)
    figures = noted(watch)
    module, data = (Classifier(), loaders()) if channels is None else (Flexible(channels), images(channels))
    run, module = fit([watch], module, data=data)
    run.test(module, data[1], verbose=False)
    return set(figures)


@pytest.fixture(scope="module")
def keys():
    return {
        "named bands": logged(AXIS, "cm-1", BANDS),
        "channels by number": logged(),
        "many bands": logged(method="window_conditional_permutation", channels=40),
        "Shapley values": logged(bands=2, method="shapley"),
        "between evaluations": logged(AXIS, "cm-1", every_n_steps=2),
        "no null": logged(null=None, target="predicted", baseline="zero"),
        "gradients": logged(bands=2, method="gradient_x_input"),
    }


def test_every_key_that_any_option_logs_has_a_term(keys):
    assert {"share/Low", "centroid"} <= keys["named bands"]
    assert "change/channel 0" in keys["channels by number"]
    assert not any(key.startswith("change/") for key in keys["many bands"])
    assert "total" in keys["Shapley values"]
    without = {key for each in keys.values() for key in each if find_term(TERMS, key) is None}
    assert without == set()


def test_no_term_is_of_a_key_that_nobody_logs(keys):
    used = {find_term(TERMS, key) for each in keys.values() for key in each}
    assert [term.key for term in TERMS if term not in used] == []


def test_a_term_has_one_star_at_most_and_it_is_last():
    assert [term.key for term in TERMS if "*" in term.key.removesuffix("/*")] == []


def test_what_is_in_nats_says_so_and_two_terms_are_headlines():
    in_nats = {"change/*", "error/*", "floor", "largest_change", "total"}
    assert {term.key for term in TERMS if term.unit == "nats"} == in_nats
    assert [term.key for term in TERMS if term.headline] == ["effective_channels", "largest_share"]
    assert [term.key for term in TERMS if not (term.name and term.meaning and term.range and term.direction)] == []


def test_what_may_be_nan_says_when_and_what_the_metric_knows_is_nan_has_a_term(keys):
    never = {term.key for term in TERMS if not term.when_nan}
    assert never == {"bands", "total"}
    watch = monitor()
    fit([watch], epochs=1)
    assert {"spearman", "jensen_shannon"} <= set(watch.undefined)
    assert [key for key in watch.undefined if not find_term(TERMS, key).when_nan] == []


def test_the_evidence_of_the_rule_is_logged(keys):
    (rule,) = ChannelAttributionMonitor.rules
    subject = "channel 0"
    needed = {key.removeprefix(KEY).replace("*", subject) for key in rule.evidence.values()}
    assert needed <= keys["channels by number"]


def test_what_says_effective_bands_once_more_is_computed_and_not_logged(keys):
    twice = {"entropy_channels", "gini"}
    assert twice <= set(ChannelDependence(["a", "b"]).compute())
    assert not any(twice & each for each in keys.values())
