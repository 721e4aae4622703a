"""Every figure that the simplicity monitor logs is explained, and no term explains nothing."""

import torch
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import SimplicityBiasMonitor, audit_data
from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.callbacks.simplicity import SIMPLICITY
from lightning_failures.records.term import find_term
from lightning_failures.reporting.glossary import glossary
from tests.runs import fit
from tests.test_simplicity_monitor import EAGER, KEY, nearest, scene, thick, values_of, watch
from tests.test_simplicity_runs import Segmenter


def logged():
    """The keys of runs that together make use of every option, and of one before any training."""
    images, labels, thickness = scene(120)
    keys = set(watch(thick, images, labels, thickness, epochs=2, cues={"thickness": "2"})[0])
    keys |= set(watch(thick, images, labels, epochs=2, denormalize=lambda x: 2 * x + 1)[0])
    keys |= set(watch(thick, images, labels, epochs=2, audit=audit_data([(images, labels)], steps=0))[0])
    keys |= set(watch(lambda x: nearest(x.sum(1) / 4.8 - 1), images.mean((2, 3)), labels, epochs=2)[0])
    keys |= set(watch(lambda x: nearest(x.mean((1, 2, 3))), images[:, :3].clone(), labels, epochs=2)[0])
    pixels = TensorDataset(images[:24, :4].contiguous(), (images[:24, 0] > 1).long())
    batches = DataLoader(pixels, batch_size=8)
    depth = SimplicityBiasMonitor({"depth": lambda batch: batch[0][:, 0]}, **EAGER)
    keys |= set(values_of(fit([depth], Segmenter(), data=(batches, batches))[0]))
    data = DataLoader(TensorDataset(torch.rand(16, 6, 5, 5), torch.arange(16) % 3), batch_size=8)
    untrained = fit([], epochs=0, data=(data, data))[1]
    run, _ = fit([], epochs=0)
    run.callbacks.append(SimplicityBiasMonitor(**EAGER))
    run.validate(untrained, data, verbose=False)
    return keys | {key.removeprefix(KEY) for key in run.callback_metrics if key.startswith(KEY)}


def test_every_figure_that_is_logged_has_a_term_and_every_term_a_figure():
    keys = logged()
    found = {key: find_term(SIMPLICITY.terms, key) for key in keys}
    assert [key for key, term in found.items() if term is None] == []
    assert [term.key for term in SIMPLICITY.terms if term not in found.values()] == ["groups/all"]  # without groups
    assert len(glossary([KEY + key for key in keys], COLUMNS)) == len(SIMPLICITY.terms) - 1
    assert [term.name for term in glossary(["failures/leans_on"], COLUMNS)] == ["Reliance on one content"]


def test_a_term_has_one_star_at_most_and_a_few_of_them_are_headlines():
    for term in SIMPLICITY.terms:
        assert "*" not in term.key[:-1], term.key
        assert all([term.name, term.meaning, term.range, term.direction]), term.key
    headlines = {term.key for term in SIMPLICITY.terms if term.headline}
    assert headlines == {"reference_accuracy", "own/1", "reliance/*"}


def test_what_the_rules_read_has_a_term():
    for rule in SIMPLICITY.rules:
        for key in rule.evidence.values():
            noun, _, statistic = key.removeprefix("failures/").partition("/")
            (column,) = (column for column in COLUMNS if column.noun == noun)
            assert find_term(column.terms, statistic) is not None, key


def test_every_figure_that_is_undefined_says_why():
    images, labels, _ = scene(80)
    values, monitor, _ = watch(thick, images, labels, epochs=1, cues={"same": lambda batch: batch[1].float()})
    silent = [key for key, value in values.items() if value != value and key not in monitor.undefined]
    assert silent == []
    said = {find_term(SIMPLICITY.terms, key) for key in monitor.undefined}
    assert [term.key for term in said if not term.when_nan] == []
