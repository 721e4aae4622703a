"""The comparison of the network with the simple models, on samples by hand."""

import pytest
import torch

from lightning_failures.callbacks.simplicity import Comparison, SampleReader, Samples, TrainingStream, Turns
from lightning_failures.observe import Observation
from tests.test_simplicity_monitor import scene, thick


def compared(spoil):
    """Figures of a network of the thickness, with some of its logits spoiled; and which images it gets right."""
    images, labels, _ = scene()
    seen = Observation((images, labels), images, labels, thick(images))
    stream = TrainingStream(SampleReader())
    stream.update(seen, logits=4)
    comparison = Comparison(stream.fit(stream.shape, torch.device("cpu")))
    comparison.begin(torch.device("cpu"))
    samples = SampleReader().read(seen, spoil(thick(images)))
    comparison.update(samples)
    return comparison, comparison.compute(), thick(images).argmax(1) == labels


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_logits_that_are_not_finite_are_wrong_on_the_ladder_and_beside_the_reference(bad):
    rows = torch.arange(240) % 3 == 0

    def spoil(logits):
        """One logit an image that is not finite; the class of the largest one stays where that is possible."""
        lowest = logits.argmin(1, keepdim=True)
        return torch.where(rows[:, None], logits.scatter(1, lowest, bad), logits)

    comparison, values, right = compared(spoil)
    expected = float((right & ~rows).double().mean())
    assert float(values["model_accuracy"]) == pytest.approx(expected)
    for name, rung in comparison.ladder.reach.items():
        assert float(rung.compute()["model_accuracy"]) == pytest.approx(expected), name


def test_finite_logits_are_compared_as_they_are():
    comparison, values, right = compared(lambda logits: logits)
    assert float(values["model_accuracy"]) == pytest.approx(float(right.double().mean()))
    assert comparison.undefined == {}


def test_an_image_without_a_finite_cue_is_predicted_wrong_by_that_rung_alone():
    images, labels, thickness = scene()
    reader = SampleReader({"thickness": "2"})
    seen = Observation((images, labels, thickness), images, labels, thick(images))
    stream = TrainingStream(reader)
    stream.update(seen, logits=4)
    models = stream.fit(stream.shape, torch.device("cpu"))
    samples = reader.read(seen, seen.logits)
    simple = models.predict(
        Samples(samples.features, samples.cues | {"thickness": thickness * torch.nan}, labels, None)
    )
    assert simple["thickness"].tolist() == [-1] * len(images)
    assert bool((simple["total_absorbance"] >= 0).all())


def test_a_stream_keeps_a_share_of_the_sample_of_cues_on_each_process_and_forgets_it_once_fitted():
    images, labels, _ = scene(40)
    stream = TrainingStream(SampleReader())
    for _ in range(3):
        stream.update(Observation((images, labels), images, labels), logits=4, processes=64)
    assert sum(len(values) for values, _ in stream.state_dict()["values"]) == 4096 // 64
    stream.fit(stream.shape, torch.device("cpu"))
    assert stream.state_dict() == {}


def test_the_first_part_has_its_turn_at_every_evaluation_and_the_others_one_after_the_other():
    turns, work, plans = Turns(), {"headline": 10, "rings": 10, "clones": 10}, []
    for _ in range(4):
        plans.append(turns.choose(work, left=20))
        turns.follow(work, plans[-1])
    assert plans == [("headline", "rings"), ("headline", "clones")] * 2
    assert turns.choose(work, left=19) == turns.choose(work, left=0) == ("headline",)
    assert turns.waits == {"headline": 1, "rings": 2, "clones": 1}
