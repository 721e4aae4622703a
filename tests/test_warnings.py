import warnings
from itertools import chain

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import (
    CollapseMonitor,
    FactorErrorMonitor,
    FailureDiagnosis,
    SimplicityBiasMonitor,
    failure_monitors,
)
from lightning_failures.callbacks.error_guard import ErrorGuard
from lightning_failures.errors import FailuresWarning, InputError, few
from tests.runs import Classifier, fit, table


class NoScores(Classifier):
    """A hundred layers, none of which gives the scores that the loss takes."""

    def __init__(self) -> None:
        super().__init__()
        layers = ([nn.Conv2d(1, 1, 3, padding=1), nn.ReLU()] for _ in range(100))
        self.net = nn.Sequential(*chain.from_iterable(layers))

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self.net(batch[0]).flatten(1)[:, :2], batch[1])

    def validation_step(self, batch, _):
        self.log("val_loss", self.training_step(batch, _))


def maps():
    data = TensorDataset(torch.rand(16, 1, 5, 5), torch.arange(16) % 2)
    return DataLoader(data, batch_size=8), DataLoader(data, batch_size=8)


def warned(callbacks, module=None, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(callbacks, module, **options)
    return [str(warning.message) for warning in caught if issubclass(warning.category, FailuresWarning)]


def test_monitors_that_step_aside_for_one_cause_are_named_in_one_warning_of_two_lines():
    callbacks = failure_monitors(factors=table())
    (said,) = warned(callbacks, NoScores(), data=maps())
    assert said == (
        "FactorErrorMonitor, SimplicityBiasMonitor and 2 more stepped aside, training goes on: "
        "no logits were found; given cross_entropy takes what no layer gave.\n"
        "Return them as 'logits', or name their layer: logits='net.head'."
    )
    assert len(said) <= 240
    aside = {finding.subject for finding in callbacks[-1].findings if finding.kind == "monitor_error"}
    assert aside == {"FactorErrorMonitor", "SimplicityBiasMonitor", "ChannelAttributionMonitor", "CauseMonitor"}


def test_a_cause_that_was_told_before_is_not_told_again_by_a_monitor_that_meets_it_later():
    callbacks = failure_monitors(factors=table())
    said = warned(callbacks, NoScores(), data=maps(), num_sanity_val_steps=0)
    assert [text.count("no logits were found") for text in said] == [1]
    assert all("no logits were found" in callbacks[place].failure for place in (0, 2, 3))


def test_different_causes_are_different_warnings():
    said = warned([FactorErrorMonitor(["fog"]), FactorErrorMonitor(["rain"], name="weather")])
    assert [text.partition(" stepped aside")[0] for text in said] == [
        "FactorErrorMonitor(factors=...)",
        "FactorErrorMonitor (weather)",
    ]


def test_an_error_that_nobody_foresaw_names_whose_fault_it_is(monkeypatch):
    def fault(self, evaluation):
        raise TypeError("cannot unpack\nnon-iterable NoneType object")

    monkeypatch.setattr(CollapseMonitor, "begin", fault)
    (theirs,) = warned([CollapseMonitor()])
    first, second = theirs.split("\n")
    assert first == (
        "CollapseMonitor stepped aside, training goes on: TypeError: cannot unpack non-iterable NoneType object."
    )
    assert second.startswith("It was raised in tests/test_warnings.py, line ")
    monkeypatch.undo()

    monkeypatch.setattr("lightning_failures.callbacks.simplicity.monitor.home_of", None)
    (ours,) = warned([SimplicityBiasMonitor()])
    assert "\nThis is a fault of lightning-failures, in simplicity/monitor.py, line " in ours


def test_what_a_library_refuses_is_the_fault_of_who_called_it():
    guard = ErrorGuard("CollapseMonitor")
    with pytest.warns(FailuresWarning, match=r"\nIt was raised in tests/test_warnings\.py, line \d+, which"), guard():
        torch.zeros(2) @ torch.zeros(3)


def test_what_was_given_is_cut_and_what_to_do_is_not():
    guard, fix = ErrorGuard("FailureDiagnosis"), "Pass one of the others: " + "word " * 30 + "end."
    with pytest.warns(FailuresWarning) as caught, guard():
        raise InputError("FailureDiagnosis", "too much", "x" * 5000, fix)
    (said,) = (str(warning.message) for warning in caught)
    assert said == f"FailureDiagnosis stepped aside, training goes on: too much; given {'x' * 79}….\n{fix}"


def test_an_error_that_comes_back_warns_once():
    guard = ErrorGuard("FailureDiagnosis")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            with guard():
                raise InputError("FailureDiagnosis", "wrong", "this", "Pass that.")
    assert len(caught) == 1


def test_where_a_warning_is_an_error_it_stops_the_run_as_the_user_asked():
    with warnings.catch_warnings():
        warnings.simplefilter("error", FailuresWarning)
        with pytest.raises(FailuresWarning, match="the batch does not hold the factors"):
            fit([FactorErrorMonitor(["fog"]), FailureDiagnosis(announce="nothing")])


def test_long_lists_are_cut_by_number_and_by_length():
    assert few([]) == ""
    assert few(f"net.{place}" for place in range(60)) == "net.0, net.1, net.2 and 57 more"
    assert few(["encoder.block.attention.query" + "x" * 20] * 9).endswith(" and 8 more")
    assert few(["a" * 200, "b"]) == "a" * 200 + " and 1 more"
