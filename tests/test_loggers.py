import json
import math
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities import rank_zero_only

from lightning_failures.callbacks.simplicity import accuracy_figure
from lightning_failures.errors import InputError
from lightning_failures.reporting.loggers import log_alert, log_figure, log_summary, log_table
from tests.records import failing

KEY, COLUMNS = "failures/factors/table", ["epoch", "factor", "error_ratio"]
ROWS = [[0, "dark", 1.5], [0, "a|b", math.nan]]


class Nowhere(Logger):
    """A logger of the user's own, without any folder."""

    name, version = "nowhere", 0

    def log_metrics(self, *args: Any, **kwargs: Any) -> None: ...

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...


def everything(loggers: list[Logger]) -> None:
    log_table(loggers, KEY, COLUMNS, ROWS, 10)
    log_table(loggers, KEY, COLUMNS, [[1, "dark", 1.25]], 20)
    if pytest.importorskip("matplotlib"):
        log_figure(loggers, "failures/simplicity/accuracy", accuracy_figure(failing()), 20)
    log_alert(loggers, "untapped information", "The network gets 52%.", "failure", 7)
    log_summary(loggers, {"failures/findings": 1})


def test_a_logger_with_a_folder_gets_lines_of_json_and_pictures(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    everything([logger])
    folder = Path(logger.log_dir) / "failures"
    lines = [json.loads(line) for line in (folder / "factors" / "table.jsonl").read_text().splitlines()]
    assert lines == [
        {"step": 10, "epoch": 0, "factor": "dark", "error_ratio": 1.5},
        {"step": 10, "epoch": 0, "factor": "a|b", "error_ratio": None},
        {"step": 20, "epoch": 1, "factor": "dark", "error_ratio": 1.25},
    ]
    assert (folder / "simplicity" / "accuracy-00000020.png").read_bytes().startswith(b"\x89PNG")
    alert = json.loads((folder / "alerts.jsonl").read_text())
    assert alert == {"step": 7, "level": "failure", "title": "untapped information", "text": "The network gets 52%."}


def test_tensorboard_gets_a_table_as_text_and_an_image(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path)
    everything([logger])
    logger.experiment.flush()
    events = EventAccumulator(logger.log_dir, size_guidance={"images": 0, "tensors": 0})
    events.Reload()
    tables = events.Tensors(f"{KEY}/text_summary")
    assert [event.step for event in tables] == [10, 20]
    text = tables[0].tensor_proto.string_val[0].decode()
    assert text == "| epoch | factor | error_ratio |\n| --- | --- | --- |\n| 0 | dark | 1.5 |\n| 0 | a\\|b |  |"
    assert [event.step for event in events.Images("failures/simplicity/accuracy")] == [20]
    (alert,) = events.Tensors("failures/alerts/failure/text_summary")
    assert alert.step == 7
    assert alert.tensor_proto.string_val[0].decode() == "**untapped information**: The network gets 52%."


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_mlflow_gets_one_table_that_grows_and_an_image(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    logger = MLFlowLogger(tracking_uri=store, artifact_location=str(tmp_path / "artifacts"))
    everything([logger])
    folder = tmp_path / "artifacts" / str(logger.run_id) / "artifacts" / "failures"
    table = json.loads((folder / "factors" / "table.json").read_text())
    assert table["columns"] == ["step", *COLUMNS]
    assert table["data"] == [[10, 0, "dark", 1.5], [10, 0, "a|b", None], [20, 1, "dark", 1.25]]
    assert (folder / "simplicity" / "accuracy-00000020.png").is_file()
    tags = logger.experiment.get_run(str(logger.run_id)).data.tags
    assert tags["failures.failure.untapped information"] == "The network gets 52%."


@pytest.mark.parametrize("loggers", [[], [Nowhere()], [DummyLogger()]], ids=["none", "no folder", "dummy"])
def test_without_a_place_nothing_is_written(
    loggers: list[Logger], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    everything(loggers)
    assert list(tmp_path.iterdir()) == []


def test_other_ranks_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    everything([CSVLogger(tmp_path / "logs")])
    assert list(tmp_path.iterdir()) == []


def test_a_logged_figure_is_closed() -> None:
    pytest.importorskip("matplotlib")
    figure = accuracy_figure(failing())
    log_figure([], "failures/simplicity/accuracy", figure, 1)
    assert figure.axes == []


def test_a_row_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(InputError) as caught:
        log_table([], KEY, COLUMNS, [[1, "dark"]], 1)
    assert str(caught.value) == (
        "log_table: a row of 'failures/factors/table' does not fit; given 2 values for 3 columns. "
        "Pass one value per column."
    )


def test_an_unknown_level_is_an_error() -> None:
    with pytest.raises(InputError) as caught:
        log_alert([], "title", "text", "fatal")
    assert str(caught.value) == "log_alert: unknown level; given 'fatal'. Use one of info, watch, warning, failure."
