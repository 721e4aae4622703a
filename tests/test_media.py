"""Pictures and tables that the logger gets: each is declared by its column, and there are few of them."""

import json
import re

import pytest
from lightning.pytorch.loggers import CSVLogger

from lightning_failures import failure_monitors
from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.callbacks.findings.logged import COUNT, HEAD, TABLE
from tests.runs import fit, table

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
    assert {"simplicity", "collapse", "channels", "factors", "images"} <= nouns
    assert {("failures/factors/table", "table"), ("failures/findings/table", "table")} <= set(found)
    rows = [json.loads(line) for line in (tmp_path / "failures" / "findings" / "table.jsonl").read_text().splitlines()]
    assert all(set(row) == {*HEAD, "step"} for row in rows)
    (row,) = [row for row in rows if row["finding"] == "always"]
    assert (row["event"], row["epoch"], row["step"], row["message"]) == ("raised", 0, 6, "It is above 0.")
