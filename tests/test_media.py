"""Pictures and tables that the logger gets: each is declared by its column, and there are few of them."""

import json
import math
import re
from itertools import pairwise

import pytest
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.trainer.states import TrainerFn

from lightning_failures import failure_monitors
from lightning_failures.callbacks.budget import Budget
from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.callbacks.findings.logged import COUNT, HEAD, TABLE
from lightning_failures.callbacks.picture import DENSE, Pictures
from lightning_failures.reporting.thinning import most_logged
from tests.runs import fit, table, trainer

DECLARED = {(f"failures/{column.noun}/{each.key}", each.kind) for column in COLUMNS for each in column.media} | {
    (f"{COUNT.key}/{TABLE.key}", TABLE.kind)
}


def media(folder):
    """What lies in the folder of a logger: key and kind of each -> how many files, or rows."""
    found = {}
    for path in folder.rglob("*"):
        if path.suffix == ".png":
            name = re.sub(r"-\d{8}$", "", path.stem)
            key = ("failures/" + str(path.relative_to(folder).with_name(name)), "picture")
            found[key] = found.get(key, 0) + 1
        elif path.suffix == ".jsonl":
            key = ("failures/" + str(path.relative_to(folder).with_suffix("")), "table")
            found[key] = len(path.read_text().splitlines())
    return found


def test_each_picture_and_table_of_a_run_is_declared_by_its_column(tmp_path):
    pytest.importorskip("matplotlib")
    always = {"name": "always", "kind": "own_rule", "when": "val_loss > 0", "message": "It is above 0."}
    rules = [always | {"persistence": 1, "warmup": 0}]
    monitors = failure_monitors(factors=table(), rules=rules, budget=None, on_error="raise")
    monitors[-1].announce = "nothing"
    fit(monitors, epochs=2, logger=CSVLogger(tmp_path, name="", version=""), log_every_n_steps=50)
    found = media(tmp_path / "failures")
    found.pop(("failures/alerts", "table"), None)  # those are said, and no panel shows them
    assert set(found) <= DECLARED
    nouns = {key.split("/")[1] for key, kind in found if kind == "picture"}
    assert {"simplicity", "channels", "factors", "images"} <= nouns
    assert {("failures/factors/table", "table"), ("failures/findings/table", "table")} <= set(found)
    rows = [json.loads(line) for line in (tmp_path / "failures" / "findings" / "table.jsonl").read_text().splitlines()]
    assert all(set(row) == {*HEAD, "step"} for row in rows)
    (row,) = [row for row in rows if row["finding"] == "always"]
    assert (row["event"], row["epoch"], row["step"], row["message"]) == ("raised", 0, 5, "It is above 0.")


def test_fifty_evaluations_log_no_more_pictures_than_is_declared(tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    run = trainer([], logger=CSVLogger(tmp_path, name="", version=""))
    run.state.fn = TrainerFn.FITTING
    pictures = Pictures("CollapseMonitor", Budget(None))
    made = []

    def make(key, evaluation):
        return lambda: made.append((key, evaluation)) or Figure()

    keys = ["failures/collapse/layers", "failures/factors/error_ratios"]
    for evaluation in range(50):
        pictures.draw(run, {key: make(key, evaluation) for key in keys})
    pictures.finish(run)
    for key in keys:
        at = [evaluation for each, evaluation in made if each == key]
        assert at[:4] == [0, 1, 2, 3]
        assert at[-1] == 49  # the last one is drawn at any rate
        assert len(at) == len(set(at)) <= most_logged(50, DENSE)
        assert all(after + 1 <= math.ceil(1.25 * (before + 1)) for before, after in pairwise(at[4:-1]))
    assert media(tmp_path / "failures")[keys[0], "picture"] <= most_logged(50, DENSE)


class Run:
    """What a run of W&B is to a logger, which keeps what it is given."""

    id = "run"

    def __init__(self):
        self.rows, self.step, self._row = [], 0, {}

    def log(self, data, commit=None):
        self._row.update(data)
        if commit is not False:
            self.rows.append(self._row)
            self.step, self._row = self.step + 1, {}


class Wandb:
    """As much of Lightning's logger as its file here reads."""

    _prefix, LOGGER_JOIN_CHAR = "", "-"

    def __init__(self, **init):
        self.experiment, self._wandb_init = Run(), init


KEY = "failures/factors/table"


@pytest.fixture
def sent(monkeypatch):
    """Rows of the table that each of its increments brought."""
    wandb = pytest.importorskip("wandb")
    grown = []

    class Growing:
        def __init__(self, columns, log_mode):
            assert log_mode == "INCREMENTAL"
            self.columns, self.data = columns, []

        def add_data(self, *row):
            self.data.append(row)

    monkeypatch.setattr(wandb, "Table", Growing)
    log = Run.log

    def noted(self, data, commit=None):
        grown.extend(len(value.data) for value in data.values() if isinstance(value, Growing))
        log(self, data, commit)

    monkeypatch.setattr(Run, "log", noted)
    return grown


def test_a_table_of_many_evaluations_loses_no_row_and_has_no_more_increments_than_wandb_shows(sent):
    from lightning_failures.reporting.wandb import DENSE as AT_ONCE
    from lightning_failures.reporting.wandb import flush, log_table

    logger = Wandb()
    for evaluation in range(3000):
        log_table(logger, KEY, ["epoch"], [[evaluation]], evaluation)
        logger.experiment.log({"val_loss": 1.0})
    assert sent[:AT_ONCE] == list(range(1, AT_ONCE + 1))  # one at each evaluation
    flush(logger, last=True)
    flush(logger, last=True)  # nothing is left
    assert sent[-1] == 3000
    assert len(sent) <= most_logged(3000, AT_ONCE) <= 100
    assert logger.experiment.rows[-1]["trainer/global_step"] == 2999


def test_what_no_figures_follow_gets_a_row_of_its_own_and_nothing_else_does(sent):
    from lightning_failures.reporting.wandb import flush, log_table

    logger = Wandb()
    flush(logger)
    assert logger.experiment.rows == []
    log_table(logger, KEY, ["epoch"], [[0]], 7)
    logger.experiment.log({"val_loss": 1.0, "trainer/global_step": 7})
    flush(logger)
    (row,) = logger.experiment.rows
    assert set(row) == {KEY, "val_loss", "trainer/global_step"}
    log_table(logger, KEY, ["epoch"], [[1]], 9)
    flush(logger)
    assert logger.experiment.rows[1]["trainer/global_step"] == 9
    assert len(logger.experiment.rows) == 2


def test_what_belongs_to_two_steps_stands_in_two_rows(sent):
    from lightning_failures.reporting.wandb import flush, log_table

    logger = Wandb()
    for step in (7, 7, 9):
        log_table(logger, KEY, ["epoch"], [[0]], step)
    flush(logger)
    assert [row["trainer/global_step"] for row in logger.experiment.rows] == [7, 9]


def test_rows_that_tensorboard_makes_are_left_to_it(sent):
    from lightning_failures.reporting.wandb import flush, log_table

    logger = Wandb(sync_tensorboard=True)
    log_table(logger, KEY, ["epoch"], [[0]], 7)
    flush(logger)
    (row,) = logger.experiment.rows
    assert set(row) == {KEY}


def test_a_prefix_of_the_logger_stands_before_tables_too(sent):
    from lightning_failures.reporting.wandb import flush, log_table

    logger = Wandb()
    logger._prefix = "mine"
    log_table(logger, KEY, ["epoch"], [[0]], 7)
    flush(logger)
    (row,) = logger.experiment.rows
    assert set(row) == {f"mine-{KEY}", "trainer/global_step"}
