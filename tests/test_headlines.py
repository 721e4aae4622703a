import csv
import math

import pytest
from lightning.pytorch.loggers import CSVLogger

from lightning_failures import CollapseMonitor, FactorErrorMonitor, GatedCheckpoint, failure_monitors
from lightning_failures.callbacks import monitor
from lightning_failures.callbacks.findings import diagnosis
from lightning_failures.records.headlines import curves, told_by, worst_of
from lightning_failures.records.term import Term
from tests.runs import fit, noted, table

# -- which figures are curves


def term(key):
    return Term(key, "Name", "Meaning.", "any", "none")


def test_a_short_name_is_the_worst_of_the_names_and_never_one_of_the_totals():
    terms = told_by([term("ratio/*"), term("ratio/worst")], {"ratio/*": ("worst_factor", "max")})
    assert worst_of(terms, {"ratio/dark": 1.0, "ratio/pose": 3.0, "ratio/worst": 9.0}) == {"worst_factor": 3.0}
    terms = told_by([term("kept/*")], {"kept/*": ("kept", "min")})
    assert worst_of(terms, {"kept/a": 0.9, "kept/b": math.nan, "kept/c": 0.1}) == {"kept": 0.1}


def test_of_two_figures_with_one_short_name_that_stands_which_is_defined():
    short = {"ratio/worst": ("worst_factor", "max"), "mean/worst": ("worst_factor", "max")}
    terms = told_by([term("ratio/worst"), term("mean/worst")], short)
    assert worst_of(terms, {"ratio/worst": math.nan, "mean/worst": 2.0}) == {"worst_factor": 2.0}
    assert worst_of(terms, {"ratio/worst": 4.0, "mean/worst": math.nan}) == {"worst_factor": 4.0}
    assert math.isnan(worst_of(terms, {"ratio/worst": math.nan})["worst_factor"])
    assert worst_of(terms, {}) == {}


@pytest.mark.parametrize(("names", "drawn"), [(1, 1), (16, 16), (17, 0), (500, 0)])
def test_a_family_with_many_names_is_no_set_of_curves(names, drawn):
    terms = told_by([term("error/*"), term("other/*")], {}, ["error/*"])
    assert len(curves(terms, [f"error/{i}" for i in range(names)] + ["other/1"])) == drawn


# -- in a run


def columns_of(path):
    with (path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {key: [row[key] for row in rows if row[key]] for key in rows[0] if key.startswith("failures/")}


def watched(path, **options):
    callbacks = failure_monitors(factors=table(), on_error="raise", **options)
    callbacks[-1].announce = "nothing"
    run, _ = fit(callbacks, epochs=3, logger=CSVLogger(path, name="", version=""), log_every_n_steps=50)
    return run, columns_of(path)


def test_a_run_logs_few_curves_by_default_and_gates_and_rules_reach_every_figure(tmp_path):
    run, logged = watched(tmp_path)
    assert len(logged) <= 40
    short = {key for key in logged if key.count("/") == 1}
    assert {"failures/accuracy", "failures/kept", "failures/worst_factor", "failures/findings"} <= short
    assert len(short) <= 12
    every = {key for key in run.callback_metrics if key.startswith("failures/")}
    assert set(logged) < every
    assert {"failures/factors/high/dark", "failures/collapse/accuracy", "failures/accuracy"} <= every
    assert float(run.callback_metrics["failures/accuracy"]) == float(run.callback_metrics["failures/collapse/accuracy"])


@pytest.mark.parametrize(("evaluations", "axis"), [(1.0, "epoch"), (0.5, "trainer/global_step")])
def test_the_count_of_findings_is_drawn_over_the_axis_of_the_other_headlines(monkeypatch, evaluations, axis):
    told = []
    for module in (diagnosis, monitor):
        monkeypatch.setattr(module, "define_curves", lambda _, keys, over: told.extend((key, over) for key in keys))
    callbacks = failure_monitors(on_error="raise")
    callbacks[-1].announce = "nothing"
    fit(callbacks, epochs=2, val_check_interval=evaluations)
    assert {over for _, over in told} == {axis}
    keys = [key for key, _ in told]
    assert keys.count("failures/findings") == keys.count("failures/accuracy") == 1


def test_every_figure_is_a_curve_where_that_is_asked_for(tmp_path):
    run, logged = watched(tmp_path, detail="full")
    defined = {key for key, value in run.callback_metrics.items() if key.startswith("failures/") and value == value}
    assert defined <= set(logged)
    assert len(logged) > 100


def test_what_is_nan_at_every_evaluation_is_no_curve_and_its_reason_stands_in_the_record(tmp_path):
    collapse = CollapseMonitor(detail="full", on_error="raise")
    figures = noted(collapse)
    fit([collapse], epochs=2, logger=CSVLogger(tmp_path, name="", version=""), log_every_n_steps=50)
    never = {key for key, value in figures.items() if math.isnan(value)}
    assert never
    assert {collapse.key(key) for key in never} & set(columns_of(tmp_path)) == set()
    assert all(collapse.undefined[key] for key in never)


def test_a_monitor_with_a_name_of_its_own_has_short_names_under_that(tmp_path):
    named = FactorErrorMonitor(table(), name="scanner", on_error="raise")
    plain = FactorErrorMonitor(table(), on_error="raise")
    run, _ = fit([named, plain], epochs=1)
    assert {"failures/scanner/worst_factor", "failures/worst_factor"} <= set(run.callback_metrics)


def test_a_checkpoint_is_gated_on_a_figure_that_is_no_curve_and_on_a_short_name(tmp_path):
    gate = GatedCheckpoint(
        ["failures/collapse/effective_classes >= 1", "failures/accuracy >= 0"], dirpath=tmp_path, monitor="val_loss"
    )
    fit([*failure_monitors(on_error="raise"), gate], epochs=1, enable_checkpointing=True)
    assert len(list(tmp_path.glob("*.ckpt"))) == 1


def test_no_such_detail_is_an_error():
    with pytest.raises(ValueError, match="CollapseMonitor: there is no such detail; given 'few'") as caught:
        CollapseMonitor(detail="few")
    assert "Use 'headline' or 'full'." in str(caught.value)
