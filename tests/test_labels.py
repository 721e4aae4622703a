"""Errors of each label: a literal restatement, scikit-learn, any cut of the data, and a live run."""

import json
import math

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import CollapseMonitor, LabelErrors, failure_monitors
from lightning_failures.callbacks.collapse import COLLAPSE
from lightning_failures.errors import FailuresWarning, InputError
from lightning_failures.functional import LabelCounts, balanced_label_error, worst_labels
from lightning_failures.observe import Task, errors_of_answers, label_answers
from tests.runs import fit

LABELS = 4
NO_OTHER = "no image has the label, or every one has"


def data(images: int = 300, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scores, and labels of which the last is rare and the first not known of a tenth of the images."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(images, LABELS, generator=generator) < torch.tensor([0.5, 0.3, 0.2, 0.02])).long()
    scores = torch.randn(images, LABELS, generator=generator) + labels - 0.5
    labels[::10, 0] = -1
    return scores, labels


def restated(scores: Tensor, labels: Tensor) -> dict[str, float]:
    """Every figure, image by image."""
    found: dict[str, float] = {}
    wrongs = knowns = never = 0
    balanced = []
    for place in range(labels.shape[1]):
        missed = alarms = yes = no = given = 0
        for score, label in zip(scores[:, place].tolist(), labels[:, place].tolist(), strict=True):
            if label < 0:
                continue
            yes, no = yes + (label == 1), no + (label == 0)
            given += score > 0
            missed += label == 1 and not score > 0
            alarms += label == 0 and score > 0
        found[f"label_error/{place}"] = (missed + alarms) / (yes + no)
        found[f"label_missed/{place}"] = missed / yes
        found[f"label_false_alarm/{place}"] = alarms / no
        found[f"label_balanced_error/{place}"] = (missed / yes + alarms / no) / 2
        found[f"label_images/{place}"] = yes
        balanced.append(found[f"label_balanced_error/{place}"])
        wrongs, knowns, never = wrongs + missed + alarms, knowns + yes + no, never + (yes > 0 and not given)
    found["label_error/all"] = wrongs / knowns
    found["label_balanced_error/all"] = sum(balanced) / len(balanced)
    found["label_balanced_error/worst"] = max(balanced)
    found["labels_never_given"] = never
    return found


def test_each_figure_is_the_one_that_counting_image_by_image_gives() -> None:
    scores, labels = data()
    scores[:, 3] -= 100  # never given
    metric = LabelErrors(LABELS)
    metric.update(scores, labels)
    values = {key: float(value) for key, value in metric.compute().items()}
    assert values == pytest.approx(restated(scores, labels))
    assert values["labels_never_given"] == 1
    assert (values["label_missed/3"], values["label_balanced_error/3"]) == (1, 0.5)
    assert values["label_error/3"] < 0.05  # it hides behind its rareness


def test_they_are_those_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    scores, labels = data()
    metric = LabelErrors(LABELS)
    metric.update(scores, labels)
    values = metric.compute()
    for place in range(LABELS):
        known = labels[:, place] >= 0
        true, given = labels[known, place].numpy(), (scores[known, place] > 0).numpy()
        (_, alarms), (missed, _) = sklearn.confusion_matrix(true, given, normalize="true")
        assert float(values[f"label_error/{place}"]) == pytest.approx(1 - sklearn.accuracy_score(true, given))
        assert float(values[f"label_balanced_error/{place}"]) == pytest.approx(
            1 - sklearn.balanced_accuracy_score(true, given)
        )
        assert float(values[f"label_missed/{place}"]) == pytest.approx(missed)
        assert float(values[f"label_false_alarm/{place}"]) == pytest.approx(alarms)


def test_any_cut_of_the_data_gives_the_same_to_the_last_digit() -> None:
    scores, labels = data()
    whole, parts = LabelErrors(LABELS), LabelErrors(LABELS)
    whole.update(scores, labels)
    for rows in torch.randperm(300).split([0, 1, 99, 200]):
        parts.update(scores[rows], labels[rows])
    assert whole.compute() == parts.compute()
    assert whole.rows == parts.rows


def test_the_rows_are_the_worst_labels_with_their_counts() -> None:
    scores, labels = data()
    metric = LabelErrors(LABELS, k=3)
    metric.update(scores, labels)
    values = metric.compute()
    errors = [row.balanced_error for row in metric.rows]
    assert errors == sorted(errors, reverse=True)
    assert len(errors) == 3
    assert metric.rows[0].balanced_error == values["label_balanced_error/worst"]
    for row in metric.rows:
        assert row.errors / row.images == row.error == float(values[f"label_error/{row.label}"])
        assert row.images == int((labels[:, row.label] >= 0).sum())
        assert row.with_label == int((labels[:, row.label] == 1).sum())
        assert row.low < row.error < row.high


def test_a_label_that_no_image_or_every_one_has_has_no_balanced_error_and_is_not_the_worst() -> None:
    metric = LabelErrors(3)
    metric.update(torch.ones(2, 3), torch.tensor([[0, 1, 0], [0, 1, 1]]))
    values = metric.compute()
    assert [math.isnan(values[f"label_balanced_error/{place}"]) for place in range(3)] == [True, True, False]
    assert metric.undefined["label_balanced_error/0"] == NO_OTHER
    assert metric.undefined["label_missed/0"] == "no image has the label"
    assert metric.undefined["label_false_alarm/1"] == "every image has the label"
    assert values["label_balanced_error/worst"] == values["label_balanced_error/all"] == 0.5
    assert [row.label for row in metric.rows] == [2]


def test_without_images_all_is_nan_and_there_is_no_worst_label() -> None:
    metric = LabelErrors(2)
    assert math.isnan(metric.compute()["label_balanced_error/worst"])
    assert metric.rows == []


def test_among_equal_labels_the_first_comes_first() -> None:
    counts = LabelCounts(*torch.tensor([[1, 1, 2], [0, 0, 0], [2, 2, 2], [2, 2, 2]]))
    assert balanced_label_error(counts).tolist() == [0.25, 0.25, 0.5]
    assert worst_labels(counts, 3).tolist() == [2, 0, 1]


def test_a_score_that_is_nan_is_a_wrong_answer() -> None:
    metric = LabelErrors(2)
    metric.update(torch.full((2, 2), torch.nan), torch.tensor([[1, 0], [1, 0]]))
    assert (metric.compute()["label_missed/0"], metric.compute()["label_false_alarm/1"]) == (1, 1)


def test_probabilities_have_their_own_threshold() -> None:
    metric = LabelErrors(1, threshold=0.5)
    metric.update(torch.tensor([[0.4], [0.6]]), torch.tensor([[0], [1]]))
    assert metric.compute()["label_error/0"] == 0


@pytest.mark.parametrize(
    ("preds", "target", "text"),
    [
        (
            torch.zeros(2, 3),
            torch.zeros(2, 2).long(),
            "LabelErrors.update: the scores and labels do not fit; given preds (2, 3) float32, target (2, 2) int64 "
            "for 2 labels. Pass both (n l): one column per label.",
        ),
        (
            torch.zeros(2, 2).long(),
            torch.zeros(2, 2).long(),
            "LabelErrors.update: preds are not scores, or target not labels; given preds (2, 2) int64, "
            "target (2, 2) int64. Pass scores as float, and labels of 0 and 1 as int or bool.",
        ),
    ],
)
def test_what_does_not_fit_says_what_to_pass(preds: Tensor, target: Tensor, text: str) -> None:
    with pytest.raises(InputError) as error:
        LabelErrors(2).update(preds, target)
    assert str(error.value) == text


def test_labels_that_are_not_known_count_in_no_error() -> None:
    task = Task("multilabel", 3, ignore_index=7)
    scores, answers = torch.tensor([[1.0, 1.0, -1.0], [1.0, 1.0, 1.0]]), torch.tensor([[1, 0, -1], [7, -1, 7]])
    found = label_answers(scores, answers, task)
    assert found is not None
    assert found.labels.tolist() == [[1, 0, -1], [-1, -1, -1]]
    errors = errors_of_answers(scores, answers, task)
    assert errors is not None
    assert errors[0] == 0.5
    assert math.isnan(errors[1])


# a live run


class Several(L.LightningModule):
    """Labels of which the last one is rare, and never given."""

    def __init__(self, labels: int = LABELS) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, labels))
        with torch.no_grad():
            self.net[-1].bias[-1] = -100

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(self.net(batch[0]), batch[1].float())

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val_loss", self.training_step(batch, batch_idx))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def several(images: int, labels: int = LABELS, seed: int = 0) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(images, 6, generator=generator)
    weights = torch.randn(6, labels, generator=torch.Generator().manual_seed(5))
    answers = (inputs @ weights > 1).long()
    answers[:, -1] = torch.arange(images) % 17 == 0
    return TensorDataset(inputs, answers)


def answered() -> tuple[DataLoader, DataLoader]:
    train, held = (DataLoader(several(images, seed=images), 16) for images in (64, 50))
    return train, held


def test_errors_of_each_label_are_logged_without_an_argument(tmp_path) -> None:
    train, held = answered()
    monitors = failure_monitors(on_error="raise")
    run, module = fit(monitors, Several(), data=(train, held), logger=CSVLogger(tmp_path, name="", version=""))
    inputs, labels = held.dataset.tensors
    with torch.no_grad():
        expected = restated(module.eval().net(inputs), labels)
    logged = {key: float(value) for key, value in run.callback_metrics.items()}
    for key, value in expected.items():
        assert logged[f"failures/collapse/{key}"] == pytest.approx(value, abs=1e-6), key
    assert expected["label_missed/3"] == 1
    assert expected["labels_never_given"] >= 1
    (path,) = tmp_path.glob("failures/**/labels.jsonl")
    last = [row for row in map(json.loads, path.read_text().splitlines()) if row["epoch"] == 1]
    assert {row["label"]: row["missed"] for row in last} == pytest.approx(
        {place: expected[f"label_missed/{place}"] for place in range(LABELS)}
    )
    record = monitors[-1].record
    assert "collapse of the predictions" not in record.not_watched
    worst = max((expected[f"label_balanced_error/{place}"], str(place)) for place in range(LABELS))
    tile, *_ = COLLAPSE.tiles(record)
    assert (tile.value, tile.note) == (f"{worst[0]:.2f}", f"label {worst[1]}")
    assert COLLAPSE.rows[-1][1](record) == f"{worst[0]:.2f} (label {worst[1]})"
    assert not [key for key in logged if key.endswith("/accuracy")]


def test_of_many_labels_those_of_all_together_are_logged() -> None:
    many = 101
    loaders = [DataLoader(several(24, many), 8) for _ in range(2)]
    monitor = CollapseMonitor(on_error="raise")
    run, _ = fit([monitor], Several(many), data=loaders, epochs=1)
    of_labels = {key for key in run.callback_metrics if key.startswith("failures/collapse/label")}
    assert of_labels == {
        f"failures/collapse/{key}"
        for key in ("label_error/all", "label_balanced_error/all", "label_balanced_error/worst", "labels_never_given")
    }
    assert not [key for key in monitor.undefined if key.startswith("label_missed")]
    assert len(monitor.parts.labels.rows) == 20


def test_errors_of_labels_are_not_told_from_training_images() -> None:
    monitor = CollapseMonitor(on_error="raise")
    with pytest.warns(FailuresWarning, match="nothing is evaluated"):
        fit([monitor], Several(), data=[DataLoader(several(64), 8)] * 2, limit_val_batches=0)
    assert math.isnan(monitor.values["label_missed/0"])
    assert monitor.undefined["label_missed/0"].startswith("there is no validation")
    assert monitor.values["labels_never_given"] > 0  # which these images do tell
