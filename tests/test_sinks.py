"""One run with every kind of logger that is installed: each has the same figures, pictures, tables and verdict.

Lightning's CSV log is the oracle.
"""

import csv
import inspect
import json
import math
import os
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import CometLogger, CSVLogger, Logger, MLFlowLogger, TensorBoardLogger

from lightning_failures import failure_monitors
from lightning_failures.reporting.loggers import log_summary
from tests import lit
from tests.runs import fit, table

pytest.importorskip("matplotlib")

ALWAYS = {"name": "always", "kind": "own_rule", "when": "val_loss > 0", "message": "It is above 0.", "persistence": 1}
TABLES = ("factors/table", "factors/classes", "simplicity/table", "findings/table")


class TrackioLogger(Logger):
    """What a user of Trackio writes, of which Lightning has no logger."""

    name, version = "cells", ""

    def __init__(self, folder: Path) -> None:
        import trackio

        super().__init__()
        self.folder = folder
        self.experiment = trackio.init(self.name, "run", embed=False, auto_log_cpu=False, auto_log_gpu=False)

    @property
    def save_dir(self) -> str:
        """Of what is no curve."""
        return str(self.folder)

    def log_hyperparams(self, *arguments: Any) -> None:
        """There are none."""

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """All at one step."""
        self.experiment.log(dict(metrics), step=step)


def comet_offline(folder: Path) -> CometLogger:
    """One that writes a file, which Lightning's own ``online=False`` does not."""
    logger = CometLogger(online=False)
    import comet_ml

    folder.mkdir()
    quiet = dict.fromkeys(
        ("log_code", "log_graph", "log_git_metadata", "log_env_details", "auto_output_logging", "auto_metric_logging"),
        False,
    )
    options = comet_ml.ExperimentConfig(offline_directory=str(folder), **quiet)
    logger._experiment = comet_ml.start(online=False, project_name="cells", experiment_config=options)
    return logger


def lit_offline(folder: Path, patch: pytest.MonkeyPatch) -> Any:
    """One that keeps what it would send."""
    from lightning.pytorch.loggers import LitLogger

    logger = LitLogger(folder, name="cells")
    logger._experiment = lit.offline(patch)
    return logger


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Logger]:
    folder = tmp_path_factory.mktemp("sinks")
    loggers: dict[str, Logger] = {"csv": CSVLogger(folder, name="", version="")}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the loggers' own
        patch.chdir(folder)
        patch.setenv("TRACKIO_DIR", str(folder / "trackio"))
        patch.setenv("COMET_LOGGING_CONSOLE", "ERROR")
        with suppress(ModuleNotFoundError):
            loggers["tensorboard"] = TensorBoardLogger(folder / "tensorboard", name="", version="")
        with suppress(ModuleNotFoundError):
            store = f"sqlite:///{folder / 'runs.db'}"
            loggers["mlflow"] = MLFlowLogger(tracking_uri=store, artifact_location=str(folder / "artifacts"))
        with suppress(ModuleNotFoundError):
            loggers["trackio"] = TrackioLogger(folder / "beside")
        with suppress(ModuleNotFoundError):
            loggers["comet"] = comet_offline(folder / "comet")
        with suppress(ImportError):  # Lightning has it since 2.6
            loggers["litlogger"] = lit_offline(folder / "lit", patch)
        monitors = failure_monitors(factors=table(), rules=["standard", ALWAYS | {"warmup": 0}], budget=None)
        monitors[-1].announce = "nothing"  # type: ignore[attr-defined]
        fit(monitors, epochs=2, logger=list(loggers.values()), log_every_n_steps=1)  # type: ignore[no-untyped-call]
        warned = [each for each in monitors if getattr(each, "failure", None)]
        for name, end in (("trackio", "finish"), ("comet", "end")):
            if name in loggers:
                getattr(loggers[name].experiment, end)()  # type: ignore[attr-defined]
    assert not warned
    return loggers


def needs(run: dict[str, Logger], kind: str) -> Any:
    if kind not in run:
        pytest.skip(f"{kind} is not installed")
    return run[kind]


def folder_of(run: dict[str, Logger]) -> Path:
    return Path(str(run["csv"].save_dir))


def curves(run: dict[str, Logger]) -> dict[str, dict[int, float]]:
    """Key -> step -> value, from the CSV log; each once."""
    found: dict[str, dict[int, float]] = {}
    with (folder_of(run) / "metrics.csv").open() as file:
        for line in csv.DictReader(file):
            for key, cell in line.items():
                if cell and key.startswith("failures/"):
                    steps = found.setdefault(key, {})
                    assert int(line["step"]) not in steps, key
                    steps[int(line["step"])] = float(cell)
    return found


def pictures(run: dict[str, Logger]) -> set[tuple[str, int]]:
    """Key and step of each picture in the folder."""
    folder = folder_of(run) / "failures"
    names = [str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.png")]
    return {(f"failures/{name[:-9]}", int(name[-8:])) for name in names}


def rows(run: dict[str, Logger], name: str) -> list[dict[str, Any]]:
    text = (folder_of(run) / "failures" / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def summary(run: dict[str, Logger]) -> dict[str, str]:
    text = (folder_of(run) / "failures" / "summary.json").read_text(encoding="utf-8")
    said: dict[str, str] = json.loads(text)
    return said


def test_the_folder_has_figures_pictures_tables_the_verdict_and_how_it_was_watched(run: dict[str, Logger]) -> None:
    logged = curves(run)
    assert {"failures/accuracy", "failures/kept", "failures/findings", "failures/worst_factor"} <= set(logged)
    assert set(logged["failures/findings"]) == set(logged["failures/accuracy"]) == {5, 11}
    assert {step for _, step in pictures(run)} <= {5, 11, 12}  # 12: the end of the run
    for name in TABLES:
        assert {row["step"] for row in rows(run, name)} <= {5, 11, 12}
    assert "always" in summary(run)["failures/found"]
    config = json.loads((folder_of(run) / "failures" / "config.json").read_text(encoding="utf-8"))
    assert "CollapseMonitor" in config["lightning_failures"]["monitors"]


def test_tensorboard_has_the_same(run: dict[str, Logger]) -> None:
    logger = needs(run, "tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger.experiment.flush()
    events = EventAccumulator(logger.log_dir, size_guidance={"images": 0, "tensors": 0, "scalars": 0})
    events.Reload()
    tags = events.Tags()
    logged = curves(run)
    assert {tag for tag in tags["scalars"] if tag.startswith("failures/")} == set(logged)
    for key, steps in logged.items():
        assert {event.step: pytest.approx(event.value, nan_ok=True) for event in events.Scalars(key)} == steps
        assert len(events.Scalars(key)) == len(steps)
    assert {(tag, event.step) for tag in tags["images"] for event in events.Images(tag)} == pictures(run)
    for name in TABLES:
        tables = events.Tensors(f"failures/{name}/text_summary")
        assert sum(each.tensor_proto.string_val[0].count(b"\n") - 1 for each in tables) == len(rows(run, name))
    (verdict,) = events.Tensors("failures/verdict/text_summary")
    assert verdict.tensor_proto.string_val[0].decode() == summary(run)["failures/verdict"]
    (config,) = events.Tensors("failures/config/text_summary")
    assert b"CollapseMonitor" in config.tensor_proto.string_val[0]


def test_mlflow_has_the_same(run: dict[str, Logger]) -> None:
    logger = needs(run, "mlflow")
    client, name = logger.experiment, str(logger.run_id)
    data = client.get_run(name).data
    logged = curves(run)
    assert {key for key in data.metrics if key.startswith("failures/")} == set(logged)
    for key, steps in logged.items():
        history = client.get_metric_history(name, key)
        assert {each.step: pytest.approx(each.value, nan_ok=True) for each in history} == steps
        assert len(history) == len(steps)
    folder = folder_of(run) / "artifacts" / name / "artifacts" / "failures"
    files = [str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.png")]
    assert {(f"failures/{file[:-9]}", int(file[-8:])) for file in files} == pictures(run)
    for each in TABLES:
        assert len(json.loads((folder / f"{each}.json").read_text())["data"]) == len(rows(run, each))
    assert data.tags["failures.verdict"] == summary(run)["failures/verdict"]
    assert "CollapseMonitor" in (folder / "config.json").read_text()
    assert "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR" not in os.environ


def test_comet_has_the_same(run: dict[str, Logger]) -> None:
    needs(run, "comet")
    (archive,) = (folder_of(run) / "comet").glob("*.zip")
    with zipfile.ZipFile(archive) as file:
        told = [json.loads(line) for line in file.read("messages.json").splitlines()]
    found: dict[str, dict[int, float]] = {}
    for each in (one["payload"]["metric"] for one in told if one["type"] == "metric_msg"):
        if each["metricName"].startswith("failures/"):
            steps = found.setdefault(each["metricName"], {})
            assert each["step"] not in steps
            steps[each["step"]] = pytest.approx(each["metricValue"], nan_ok=True)
    assert found == curves(run)
    sent = [one["payload"]["additional_params"] for one in told if one["type"] == "file_upload"]
    assert {(each["figName"], each["step"]) for each in sent if each.get("figName")} == pictures(run)
    assert {each["fileName"].rpartition("-")[0] for each in sent if each.get("fileName", "").endswith(".csv")} >= {
        f"failures/{name}" for name in TABLES
    }
    others = {one["payload"]["key"]: one["payload"]["value"] for one in told if one["type"] == "log_other"}
    assert others["failures/verdict"] == summary(run)["failures/verdict"]


def test_lightnings_own_service_has_the_same(run: dict[str, Logger]) -> None:
    logger = needs(run, "litlogger")
    sent, logged = logger._experiment.sent, curves(run)
    found: dict[str, dict[int, float]] = {}
    for key, step, value in sent:
        if key.startswith("failures/") and isinstance(value, float):
            assert step not in found.setdefault(key, {})
            found[key][step] = value
    finite = {
        key: {step: value for step, value in steps.items() if math.isfinite(value)} for key, steps in logged.items()
    }
    known = {
        key: {step: pytest.approx(value) for step, value in steps.items() if math.isfinite(value)}
        for key, steps in found.items()
    }
    assert {key: steps for key, steps in known.items() if steps} == {
        key: steps for key, steps in finite.items() if steps
    }
    assert {(key, step) for key, step, value in sent if type(value).__name__ == "Image"} == pictures(run)
    texts = [(key, value._content) for key, _, value in sent if type(value).__name__ == "Text"]
    for name in TABLES:
        held = [list(csv.reader(text.splitlines()))[1:] for key, text in texts if key == f"failures/{name}"]
        assert sum(map(len, held)) == len(rows(run, name))
    assert ("failures/verdict", None, summary(run)["failures/verdict"]) in sent
    assert any(key == "failures/config" and "CollapseMonitor" in text for key, text in texts)
    assert not (Path(logger.log_dir) / "failures").exists()


def test_the_stand_in_for_lightnings_own_service_takes_what_that_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    real = lit.litlogger()
    if real is None:
        pytest.skip("litlogger is not installed")
    for name in ("Text", "Image"):
        assert list(inspect.signature(getattr(real, name)).parameters) == list(
            inspect.signature(getattr(lit, name)).parameters
        )
    for experiment, package in ((lit.offline(monkeypatch), real), (lit.Experiment(), lit)):
        experiment["curve"].append(1.0, step=3)
        experiment["words"].append(package.Text("a"), step=4)
        experiment["said"] = "b"
        with pytest.raises((KeyError, TypeError)):
            experiment["curve"].append(package.Text("a"), step=5)
        with pytest.raises(KeyError):
            experiment["said"] = package.Text("a")
        with pytest.raises(TypeError):
            experiment["new"] = 1.0
        assert [(key, step) for key, step, _ in experiment.sent] == [("curve", 3), ("words", 4), ("said", None)]


def test_an_earlier_version_of_that_service_without_media_has_them_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lightning.pytorch.loggers.litlogger")
    logger = lit_offline(tmp_path, monkeypatch)
    logger._experiment = object()
    log_summary([logger], {"failures/verdict": "No failure was found."})
    assert (tmp_path / "cells" / "failures" / "summary.json").exists()


def test_a_logger_of_ones_own_such_as_one_for_trackio_has_the_curves_and_its_folder_the_rest(
    run: dict[str, Logger], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = needs(run, "trackio")
    from trackio.sqlite_storage import SQLiteStorage

    found: dict[str, dict[int, float]] = {}
    for row in SQLiteStorage.get_logs(logger.name, "run"):
        for key, value in row.items():
            if key.startswith("failures/"):
                found.setdefault(key, {})[row["step"]] = pytest.approx(value, nan_ok=True)
    assert found == curves(run)
    beside = logger.folder / "failures"
    assert json.loads((beside / "summary.json").read_text()) == summary(run)
    assert {str(path.relative_to(beside)) for path in beside.rglob("*.png")} == {
        f"{name.removeprefix('failures/')}-{step:08d}.png" for name, step in pictures(run)
    }
