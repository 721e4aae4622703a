"""Verdicts and findings in an offline W&B run, in a process of its own, read back with W&B's own reader."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_wandb import inspect

pytest.importorskip("wandb")

ROOT = Path(__file__).resolve().parents[1]
WORST = "failures/factors/error_ratio/worst"

SCRIPT = """
import json, sys
from pathlib import Path

from lightning.pytorch.loggers import WandbLogger

from lightning_failures.callbacks.findings.diagnosis import FailureDiagnosis
from tests.gates import CONSTRAINT, WORST, fit, gate, script

folder, uploads = Path(sys.argv[1]), sys.argv[2]
logger = WandbLogger(project="test", offline=True, save_dir=folder)
logger._log_model = {"all": "all", "end": True}[uploads]  # Lightning refuses it offline, where W&B keeps it for later
run, logged = logger.experiment, []
log_artifact = run.log_artifact
def keep(artifact, *args, **options):
    if artifact.type == "model":  # the table of findings is an artifact too
        logged.append(artifact.metadata)
    return log_artifact(artifact, *args, **options)
run.log_artifact = keep
words = {"message": "Too high.", "advice": "Rest."}
rule = {"kind": "own_rule", "when": f"{WORST} > 1.9", "warmup": 0, "persistence": 1} | words
fit(gate(folder, filename="{epoch}"), folder, script([3, 2, 1], [1.0, 1.2, 2.0]), logger=logger,
    callbacks=[FailureDiagnosis([rule], on_error="raise")])
run.finish()
(folder / "metadata.json").write_text(json.dumps(logged))
"""


def write(folder, uploads):
    private = {f"WANDB_{name}_DIR": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA", "ARTIFACT")}
    settings = {"WANDB_SILENT": "true", "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")} | private | settings
    command = [sys.executable, "-c", SCRIPT, str(folder), uploads]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (run,) = (folder / "wandb").glob("offline-run-*")
    return run, json.loads((folder / "metadata.json").read_text())


@pytest.mark.slow
def test_the_verdict_is_in_the_summary_and_in_each_artifact_and_a_finding_is_an_alert(tmp_path):
    run, metadata = write(tmp_path, "all")
    assert [(each["original_filename"], each["failures_verdict"]["epoch"]) for each in metadata] == [
        ("epoch=0.ckpt", 0),
        ("epoch=1.ckpt", 1),
    ]
    assert all(each["failures_verdict"]["feasible"] for each in metadata)
    summary = json.loads(inspect(run, "--summary"))["summary"]
    assert summary["failures/gate/feasible"] == 0
    assert summary["failures/gate/why"] == f"{WORST} = 2 violates <= 1.5 by 0.5"
    assert (summary["failures/gate/passed"], summary["failures/gate/rejected"]) == (2, 1)
    assert summary["failures/gate/best"] == "epoch=1.ckpt"
    records = [json.loads(line) for line in inspect(run).splitlines()]
    (alert,) = (record["alert"] for record in records if record["type"] == "alert")
    assert (alert["title"], alert["level"]) == ("own_rule", "ERROR")
    assert alert["text"] == "Epoch 2, step 12. Too high. Try: Rest."


@pytest.mark.slow
def test_an_artifact_that_is_logged_at_the_end_bears_it_too(tmp_path):
    _, metadata = write(tmp_path, "end")
    (only,) = metadata
    assert (only["original_filename"], only["failures_verdict"]["step"]) == ("epoch=1.ckpt", 8)
