"""Tasks: scores and labels in the one shape that all monitors take."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_failures import Probe, failure_monitors
from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.observe import Task, errors_of_answers, known_labels, logits_of_scores, task_of_shapes
from tests.runs import Classifier, fit

BINARY = Task("binary", 2, one_score=True)


@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 1, 1, 1)])
def test_one_logit_becomes_two_columns_whose_softmax_is_its_sigmoid(shape: tuple[int, ...]) -> None:
    scores = torch.randn(shape)
    logits = logits_of_scores(scores, BINARY)
    torch.testing.assert_close(logits.softmax(1)[:, 1], scores.flatten().sigmoid())
    assert torch.equal(logits.argmax(1), (scores.flatten() > 0).long())
    loss = F.binary_cross_entropy_with_logits(scores.flatten(), torch.ones(5))
    torch.testing.assert_close(F.cross_entropy(logits, torch.ones(5, dtype=torch.long)), loss)


def test_probabilities_become_logits_of_the_same_probabilities() -> None:
    likely = torch.rand(4, 3).softmax(1)
    logits = logits_of_scores(likely, Task("multiclass", 3, scale="probabilities"))
    torch.testing.assert_close(logits.softmax(1), likely)
    one = torch.tensor([0.0, 0.25, 1.0])
    of_one = logits_of_scores(one, Task("binary", 2, one_score=True, scale="probabilities"))
    torch.testing.assert_close(of_one.softmax(1)[:, 1], one, atol=1e-6, rtol=0)


def test_half_precision_becomes_single() -> None:
    assert logits_of_scores(torch.ones(2, 3, dtype=torch.bfloat16), Task("multiclass", 3)).dtype == torch.float32


@pytest.mark.parametrize(
    ("labels", "known"),
    [
        (torch.tensor([0, 3, -1, 2]), [0, -100, -100, 2]),
        (torch.tensor([0, 3, -1, 2], dtype=torch.int32)[:, None], [0, -100, -100, 2]),
        (torch.tensor([0.0, 0.5, 2.0, 1.0]), [0, -100, 2, 1]),
        (F.one_hot(torch.tensor([0, 2, 1, 1]), 3), [0, 2, 1, 1]),
        (torch.tensor([[0.95, 0.03, 0.02], [0.6, 0.4, 0.0]]), [0, -100]),
    ],
)
def test_labels_of_any_shape_become_one_class_an_image(labels: Tensor, known: list[int]) -> None:
    assert known_labels(labels, Task("multiclass", 3)).tolist() == known


def test_labels_that_the_loss_leaves_out_are_left_out() -> None:
    masks = torch.tensor([[[0, 1], [255, 1]]])
    assert known_labels(masks, Task("pixel_multiclass", 3, ignore_index=0)).tolist() == [[[-100, 1], [-100, 1]]]
    assert known_labels(masks[:, None], Task("pixel_multiclass", 3)).shape == (1, 2, 2)


def test_labels_of_another_shape_say_what_they_are() -> None:
    with pytest.raises(InputError) as error:
        known_labels(torch.rand(4, 2, 2), Task("multiclass", 3), "Probe(targets=...)")
    assert str(error.value) == (
        "Probe(targets=...): targets are not labels of the classes; given (4, 2, 2) float32 for classification. "
        "Name a field that holds one label per image, or per pixel: targets='label'."
    )


@pytest.mark.parametrize(
    ("scores", "labels", "kind"),
    [
        (torch.rand(4, 3), torch.tensor([0, 2, 1, 1]), "multiclass"),
        (torch.rand(4), torch.tensor([0, 1, 1, 1]), "binary"),
        (torch.rand(4, 3), torch.tensor([[1, 1, 0], [0, 0, 0], [0, 1, 0], [1, 0, 0]]), "multilabel"),
        (torch.rand(4, 3), F.one_hot(torch.tensor([0, 2, 1, 1]), 3), "multiclass"),
        (torch.rand(4, 3), torch.rand(4, 3), "regression"),
        (torch.rand(4, 3, 2, 2), torch.zeros(4, 2, 2), "pixel_multiclass"),
        (torch.rand(4, 1, 2, 2), torch.zeros(4, 1, 2, 2), "pixel_binary"),
    ],
)
def test_shapes_say_the_task_where_no_loss_was_heard(scores: Tensor, labels: Tensor, kind: str) -> None:
    found = task_of_shapes(scores, labels)
    assert found is not None
    assert found.kind == kind


def test_maps_without_a_label_a_pixel_say_nothing() -> None:
    assert task_of_shapes(torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 2, 2])) is None


def test_the_error_of_an_image_is_its_share_of_wrong_labels_or_its_loss() -> None:
    scores, answers = torch.tensor([[1.0, -1.0], [2.0, 3.0]]), torch.tensor([[1, 1], [1, 1]])
    assert errors_of_answers(scores, answers, Task("multilabel", 2)).tolist() == [0.5, 0.0]
    assert errors_of_answers(scores, answers, Task("regression", loss="mse_loss")).tolist() == [2.0, 2.5]
    assert errors_of_answers(scores, answers, Task("regression", loss="l1_loss")).tolist() == [1.0, 1.5]
    assert errors_of_answers(scores[:, 0], answers, Task("regression")) is None


def test_a_task_that_there_is_not_and_a_monitor_that_there_is_not_are_refused() -> None:
    with pytest.raises(
        UnknownNameError, match=r"Probe\(task=\.\.\.\): there is no such task; given 'classes'\. Choose"
    ):
        Probe(task="classes")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError) as error:
        failure_monitors(without=["colour"])
    assert str(error.value) == (
        "failure_monitors(without=...): there is no such monitor; given 'colour'. "
        "Choose from 'causes', 'channels', 'collapse', 'data', 'factors', 'groups', 'images', 'properties', "
        "'simplicity', 'training'."
    )


def test_monitors_can_be_left_out_by_name() -> None:
    names = [type(callback).__name__ for callback in failure_monitors(without="channels")]
    others = ["CollapseMonitor", "SimplicityBiasMonitor", "TrainingMonitor", "CauseMonitor", "DataMonitor"]
    others += ["PropertyErrorMonitor", "FailingImagesMonitor"]
    assert names == [*others, "FailureDiagnosis"]


def test_what_was_understood_is_told_as_a_table() -> None:
    monitors = failure_monitors(on_error="raise")
    assert monitors[0].probe.describe() == "nothing was understood yet: no batch has been seen"
    fit(monitors, epochs=1)
    told = dict(line.split("  ", 1) for line in monitors[0].probe.describe().splitlines())
    assert {name: text.strip() for name, text in told.items()} == {
        "inputs": "batch['0'] (8, 6, 5, 5)",
        "targets": "batch['1']",
        "task": "classification by cross_entropy, 3 classes",
        "logits": "output of net.6 (8, 3)",
        "features": "penultimate (8, 8)",
        "CollapseMonitor": "collapse of features and predictions",
        "SimplicityBiasMonitor": "what decides the predictions",
        "ChannelAttributionMonitor": "which bands the predictions depend on",
        "TrainingMonitor": "faults of the training step",
        "CauseMonitor": "why it fails",
        "DataMonitor": "images on both sides of the split",
        "PropertyErrorMonitor": "errors by brightness, sharpness and other properties of the image",
        "FailingImagesMonitor": "the images that fail, to look at",
    }


def test_a_label_that_is_named_counts_nowhere() -> None:
    def accuracy(ignored: int | None) -> float:
        run, _ = fit(failure_monitors(ignore_index=ignored, on_error="raise"), epochs=1)
        return float(run.callback_metrics["failures/collapse/unlabelled"])

    assert accuracy(None) == 0
    assert accuracy(0) > 0


def test_a_task_that_is_named_is_believed() -> None:
    class Own(Classifier):
        """Its classes are columns that a loss of its own compares with a label, which nobody hears."""

        def training_step(self, batch, _):  # type: ignore[no-untyped-def]
            return (self.net(batch[0]) - torch.eye(3)[batch[1]]).square().mean()

        def validation_step(self, batch, _):  # type: ignore[no-untyped-def]
            self.net(batch[0])

    monitors = failure_monitors(task="regression", on_error="raise")
    fit(monitors, Own(), epochs=1)
    assert monitors[0].probe.task.kind == "regression"
    assert (
        monitors[1].not_watched["what decides the predictions"].startswith("it needs classes, and this is regression")
    )
    assert monitors[2].undefined == {}  # no figure of it is missing: it has none
