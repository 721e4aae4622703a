"""Runs whose cause is planted, and their healthy twin: the cause is proven on the spot; nothing of the run changes."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import CauseMonitor, FailureDiagnosis
from lightning_failures.callbacks.causes import Experiments, Preparation
from lightning_failures.callbacks.causes.orientation import put_back
from lightning_failures.callbacks.causes.training_content import give_content
from lightning_failures.functional import input_sums
from tests.quarters import CLASSES, Net, images
from tests.runs import Classifier, fit, hooks_on


class InTrainingMode(Net):
    """Dropout is left on while it is validated, as by a train() that somebody forgot."""

    def __init__(self):
        super().__init__()
        self.net.insert(4, nn.Dropout(0.9))

    def on_validation_batch_start(self, *_):
        self.train()


@pytest.fixture(autouse=True)
def _same_weights_in_any_order():
    torch.manual_seed(0)


def run(
    module,
    validation,
    training=None,
    epochs=4,
):
    monitor, diagnosis = CauseMonitor(budget=5.0, on_error="raise"), FailureDiagnosis(announce="nothing")
    data = (
        DataLoader(TensorDataset(*(training or images(320, 0))), batch_size=16, shuffle=True),
        DataLoader(TensorDataset(*validation), batch_size=32),
    )
    fit([monitor, diagnosis], module, data=data, epochs=epochs)
    return monitor, [finding for finding in diagnosis.findings if finding.severity != "watch"]


def test_another_scale_of_validation_is_proven_by_the_mapping_that_mends_it():
    inputs, target = images(160, 1)
    monitor, findings = run(Net(), (inputs * 0.05 + 2, target))
    assert {finding.cause for finding in findings} == {"input_mismatch"}
    (finding,) = (finding for finding in findings if finding.rule == "proven_mismatch")
    assert finding.epoch == 0
    assert float(finding.experiment["after"]) > 0.9
    assert float(finding.experiment["share"]) > 0.8
    assert "In 3 channels validation images are on another scale" in finding.why
    assert float(monitor.values["input_scale"]) == pytest.approx(20, rel=0.1)


def test_the_negative_of_validation_images_is_proven_by_turning_it_upside_down():
    inputs, target = images(160, 1)
    monitor, findings = run(Net(), (3 - inputs, target))
    (finding,) = (finding for finding in findings if finding.rule == "proven_mismatch")
    assert (finding.cause, finding.epoch) == ("input_mismatch", 0)
    assert "In 3 channels what is large in validation images is small in those of training." in finding.why
    assert "Turned upside down, with training's mean and deviation, the accuracy" in finding.why
    assert float(finding.experiment["after"]) > 0.9 > float(monitor.values["after/input_scale"])
    assert -float(monitor.values["input_scale"]) == pytest.approx(-1, rel=0.1)
    assert float(monitor.values["input_turned_offset"]) == pytest.approx(3, abs=0.3)


@pytest.mark.parametrize(
    ("turn", "way"),
    [
        (lambda images: images.flip(3), 0),
        (lambda images: images.flip(2), 1),
        (lambda images: images.flip(2, 3), 2),
        (lambda images: images.transpose(2, 3), 3),
        (lambda images: images.rot90(1, (2, 3)), 4),
        (lambda images: images.rot90(-1, (2, 3)), 5),
    ],
)
def test_images_that_lie_otherwise_are_put_back_in_the_way_in_which_they_were_turned(turn, way):
    images = torch.randn(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    weights = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))

    def model(some):
        return some.flatten(1) @ weights.T

    target = model(images).argmax(1)
    before = model(turn(images)).argmax(1)
    after, ways = put_back(model, turn(images), before, target)
    assert after.equal(target)
    assert (ways == target).all(1).nonzero().flatten().tolist() == [way]
    assert put_back(model, images, target, target)[0].equal(target)  # as they are is best
    assert put_back(model, images[:, 0], before, target) is None  # no images
    assert put_back(model, images, before, target[:, None, None].expand(-1, 4, 4)) is None  # maps of labels
    assert put_back(model, images[:, :, :, :1], before, target) is None


def test_of_images_that_are_not_square_only_what_keeps_their_size_is_tried():
    images = torch.randn(40, 1, 2, 8, generator=torch.Generator().manual_seed(0))
    target = images.flatten(1).argmax(1)
    after, ways = put_back(lambda some: some.flatten(1), images.flip(2), images.flip(2).flatten(1).argmax(1), target)
    assert after.equal(target)
    assert (ways[3:] == -1).all()


def test_the_best_of_several_ways_is_no_better_by_chance():
    generator = torch.Generator().manual_seed(0)
    gains = []
    for _ in range(200):
        images = torch.randn(40, 1, 4, 4, generator=generator)
        weights = torch.randn(3, 16, generator=generator)
        target = torch.randint(3, (40,), generator=generator)
        before = (images.flatten(1) @ weights.T).argmax(1)
        after, _ = put_back(lambda some, weights=weights: some.flatten(1) @ weights.T, images, before, target)
        gains.append(float((after == target).double().mean() - (before == target).double().mean()))
    assert abs(sum(gains) / 200) < 0.015  # four standard errors; the best way as such gains 0.08


def test_mirrored_validation_images_are_proven_once_a_gap_was_seen():
    generator = torch.Generator().manual_seed(0)

    def halves(n):
        """Bright on the left, above or below, so that no other names of the labels say what a mirror does."""
        target = torch.arange(n) % 3
        images = 0.2 * torch.randn(n, 3, 8, 8, generator=generator)
        for image, label in zip(images, target.tolist(), strict=True):
            half = image[:, :, :4] if label == 0 else image[:, :4] if label == 1 else image[:, 4:]
            half += 1
        return images, target

    (inputs, target), training = halves(160), halves(320)
    monitor, findings = run(Net(), (inputs.flip(3), target), training)
    (finding,) = (finding for finding in findings if finding.rule == "proven_mismatch")
    assert (finding.cause, finding.epoch) == ("input_mismatch", 1)
    assert (
        "Validation images are mirrored, left to right, beside those of training: put back, the accuracy" in finding.why
    )
    assert float(monitor.values["orientation"]) == 0
    assert float(monitor.values["after/orientation"]) > 0.9
    healthy, none = run(Net(), (inputs, target), training)
    assert none == []
    assert math.isnan(float(healthy.values["orientation"]))
    assert healthy.undefined["orientation"].startswith("not tried: no gap to training")


def marked(inputs, target):
    """With a mark, upper left, in the colour of the class."""
    inputs = inputs.clone()
    inputs[:, :, :3, :3] = torch.tensor([[2.0, 0, 0], [0, 2, 0], [0, 0, 2], [2, 2, 2]])[target][:, :, None, None]
    return inputs, target


def test_a_mark_that_tells_the_class_in_training_images_alone_is_proven_by_giving_it_to_validation_images():
    def faint(n, seed):
        inputs, target = images(n, seed)
        return inputs + 2 * torch.randn(inputs.shape, generator=torch.Generator().manual_seed(seed + 9)), target

    monitor, findings = run(Net(), faint(160, 1), marked(*faint(320, 0)), epochs=6)
    (finding,) = (finding for finding in findings if finding.rule == "proven_mismatch")
    assert finding.cause == "shortcut"
    assert finding.why.startswith("Training images hold something that tells their class, and validation images lack")
    assert "given the upper left quarter of another image of their own class" in finding.why
    assert "watermark" in finding.advice
    assert float(monitor.values["training_content"]) == 0
    assert float(monitor.values["after/training_content"]) > 0.95
    assert float(monitor.values["before/training_content"]) < 0.7


def test_what_all_training_images_share_or_what_only_they_are_is_no_content_that_tells_the_class():
    def model(some):
        return some.flatten(1)[:, :CLASSES]

    (inputs, target), (training, labels) = images(64, 1), images(48, 0)
    assert give_content(model, inputs, target, training, labels) is None
    logo = training.clone()
    logo[:, :, :3, :3] += 2
    assert give_content(model, inputs, target, logo, labels) is None
    *_, with_mark = give_content(model, inputs, target, *marked(training, labels))
    assert (with_mark[0] >= 0).all()
    assert (with_mark[1:4] == -1).all()


@pytest.mark.parametrize("inputs", [torch.rand(8, 3), torch.rand(8, 3, 2, 2), torch.randint(9, (8, 3, 8, 8))])
def test_inputs_that_have_no_contents_are_given_none(inputs):
    target = torch.arange(8) % 2
    assert give_content(lambda some: some.flatten(1), inputs, target, inputs, target) is None


def test_channels_in_another_order_are_proven_by_putting_them_back():
    inputs, target = images(160, 1)
    channelled = torch.cat([inputs, inputs.flip(0)[:, :1] + 5], 1)[:, [0, 1, 2]]
    train, labels = images(320, 0)
    only_first = train.clone()
    only_first[:, 1:] = 0.2 * torch.randn(320, 2, 8, 8, generator=torch.Generator().manual_seed(5)) - 1
    moved = channelled.clone()
    moved[:, 1:] = 0.2 * torch.randn(160, 2, 8, 8, generator=torch.Generator().manual_seed(6)) - 1
    monitor, findings = run(Net(), (moved[:, [2, 1, 0]], target), (only_first, labels))
    assert {finding.cause for finding in findings} == {"input_mismatch"}
    assert float(monitor.values["channels_moved"]) >= 2
    assert float(monitor.values["after/channel_order"]) > 0.9


def test_an_order_that_was_hidden_by_the_scale_is_proven_by_undoing_both():
    """Read as BGR, and then standardised with the statistics of RGB."""
    (inputs, target), (train, labels) = images(160, 1), images(320, 0)
    scale, offset = torch.tensor([5.0, 1.0, 40.0]).view(1, 3, 1, 1), torch.tensor([10.0, 60.0, 200.0]).view(1, 3, 1, 1)
    noise = torch.Generator().manual_seed(7)

    def raw(of):
        others = 0.5 * torch.randn(len(of), 2, *of.shape[2:], generator=noise)
        return scale * torch.cat([of[:, :1], others], 1) + offset

    def standardised(of):
        return (of - mean) / deviation

    known = raw(train)
    deviation, mean = torch.std_mean(known, (0, 2, 3), keepdim=True)
    read = raw(inputs)
    _, healthy = run(Net(), (standardised(read), target), (standardised(known), labels))
    monitor, findings = run(Net(), (standardised(read.flip(1)), target), (standardised(known), labels))
    assert healthy == []
    assert {finding.cause for finding in findings} == {"input_mismatch"}
    assert "stand in another order than those of training" in findings[0].why
    assert (float(monitor.values["channels_moved"]), float(monitor.values["channels_tried"])) == (0, 2)
    assert float(monitor.values["after/order_and_scale"]) > 0.9 > float(monitor.values["after/input_scale"])


def test_the_order_to_try_is_that_of_the_correlations_where_they_tell_one():
    generator = torch.Generator().manual_seed(0)
    first, last = torch.randn(2, 300, 1, 4, 4, generator=generator)
    noise = torch.randn(300, 5, 4, 4, generator=generator)
    channels = (
        torch.cat([first, first, first, last, last], 1) + torch.tensor([0.1, 0.3, 0.9, 0.2, 0.6])[:, None, None] * noise
    )
    order = torch.tensor([3, 0, 4, 1, 2])
    moved = channels[150:, order] * torch.tensor([9.0, 1.0, 0.1, 30.0, 4.0])[:, None, None] + 70
    found = Preparation.of(input_sums(channels[:150]), input_sums(moved))
    assert not found.moved
    assert found.tried.tolist() == order.argsort().tolist()
    (undo,) = found.trial().values()
    torch.testing.assert_close(undo(moved).mean((0, 2, 3)), channels[:150].mean((0, 2, 3)), atol=1e-4, rtol=1e-4)
    alike = Preparation.of(input_sums(channels[:150]), input_sums(channels[150:]))
    assert (alike.tries, alike.trial()) == (0, {})


def test_labels_that_are_shifted_are_proven_by_renaming_them():
    inputs, target = images(160, 1)
    monitor, findings = run(Net(), (inputs, (target + 1) % CLASSES))
    assert {finding.cause for finding in findings} == {"label_mismatch"}
    assert float(monitor.values["label_shift"]) == 1
    assert "4 classes, each label 1 above the prediction" in findings[0].why


def test_running_statistics_that_lag_are_proven_by_those_of_the_batch():
    inputs, target = images(160, 1)
    train, labels = images(320, 0)
    _, findings = run(Net(norm=True, momentum=0.001), (inputs + 20, target), (train + 20, labels), epochs=6)
    assert {finding.cause for finding in findings} == {"evaluation_mode"}
    assert "Batch norm's running statistics" in findings[0].why
    assert "input_mismatch" in findings[0].excluded


def test_a_validation_in_training_mode_is_proven_by_evaluation_mode():
    _, findings = run(InTrainingMode(), images(160, 1), epochs=6)
    assert {finding.cause for finding in findings} == {"evaluation_mode"}
    told = {finding.rule: finding for finding in findings}
    assert told["validated_in_training_mode"].epoch == 0
    assert told["evaluation_gap"].why.startswith("The network is validated in training mode; in evaluation mode, the ")


def test_a_validation_in_training_mode_is_said_where_it_does_no_harm_to_the_accuracy():
    class Harmless(Net):
        def __init__(self):
            super().__init__(norm=True)

        def on_validation_batch_start(self, *_):
            self.train()

    _, (finding,) = run(Harmless(), images(160, 1))
    assert (finding.rule, finding.severity, finding.cause) == (
        "validated_in_training_mode",
        "warning",
        "evaluation_mode",
    )


def test_labels_that_nothing_tells_are_no_learning():
    (inputs, target), (train, labels) = images(160, 1), images(320, 0)
    generator = torch.Generator().manual_seed(3)
    mixed = labels[torch.randperm(len(labels), generator=generator)]
    _, findings = run(Net(), (inputs, target[torch.randperm(len(target), generator=generator)]), (train, mixed), 8)
    assert "no_learning" in {finding.kind for finding in findings}


@pytest.mark.parametrize("norm", [False, True])
def test_a_healthy_run_has_no_finding(norm):
    monitor, findings = run(Net(norm), images(160, 1), epochs=6)
    assert findings == []
    assert float(monitor.values["gap"]) < 0.05
    assert float(monitor.values["proven"]) == 0


def test_figures_are_those_of_the_network_itself():
    module = Net()
    inputs, target = images(160, 1)
    moved = inputs * 0.1
    monitor, _ = run(module, (moved, target), epochs=2)
    module.eval()
    kept = monitor.examining.batch.inputs[monitor.examining._taken]
    labels = monitor.examining.targets
    with torch.no_grad():
        before = module(kept).argmax(1) == labels
        undo = monitor.preparation
        after = module(kept * undo.scale.float()[:, None, None] + undo.offset.float()[:, None, None]).argmax(1)
    assert float(monitor.values["before/input_scale"]) == pytest.approx(float(before.double().mean()))
    assert float(monitor.values["after/input_scale"]) == pytest.approx(float((after == labels).double().mean()))


def test_trained_weights_are_bitwise_the_same_with_and_without():
    _, alone = fit([], epochs=3)
    _, watched = fit([CauseMonitor(budget=5.0, on_error="raise")], epochs=3)
    for one, other in zip(alone.state_dict().values(), watched.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert hooks_on(watched) == 0


def test_what_was_not_examined_is_nan_and_says_why():
    class Refused(Classifier):
        def validation_step(self, batch, index):
            return {"logits": self.net(batch[0] + 1)}

    monitor = CauseMonitor(on_error="raise")
    fit([monitor], Refused())
    assert math.isnan(float(monitor.values["gap"]))
    assert monitor.undefined["gap"].startswith("rerun: the module's forward does not give the step's logits back")
    assert monitor.not_watched == {"why it fails": monitor.undefined["gap"]}


def in_the_first_channel(n, seed):
    """The class shows in the first channel; the others are noise."""
    inputs, target = images(n, seed)
    inputs[:, 1:] = 0.2 * torch.randn(n, 2, 8, 8, generator=torch.Generator().manual_seed(seed + 20))
    return inputs, target


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_channel_with_one_value_in_validation_is_proven_by_training_images_with_the_same(value):
    inputs, target = in_the_first_channel(160, 1)
    inputs[:, 0] = value
    monitor, findings = run(Net(), (inputs, target), in_the_first_channel(320, 0), epochs=6)
    assert {finding.cause for finding in findings} == {"input_mismatch"}
    (finding,) = (finding for finding in findings if finding.rule == "proven_mismatch")
    assert finding.why.startswith(
        f"Channel 0 is {value:.4g} everywhere in validation images, and varies in training images. With the same put "
        "into training images, the accuracy on them falls from 1.00 to 0.2"
    )
    assert finding.advice.startswith("Read channel 0 of validation images as that of training images")
    assert float(finding.experiment["before"]) < 0.4 < 0.9 < float(finding.experiment["after"])
    assert float(monitor.values["share/constant_channels"]) > 0.7
    kind = "empty" if value == 0 else "constant"
    assert float(monitor.values[f"faults/{kind} in validation only"]) == 1
    assert float(monitor.values["channels_differ"]) == 0


def test_a_channel_with_one_value_that_decides_nothing_is_worth_watching_alone():
    inputs, target = in_the_first_channel(160, 1)
    inputs[:, 2] = 0
    monitor, findings = run(Net(), (inputs, target), in_the_first_channel(320, 0), epochs=6)
    assert findings == []
    assert float(monitor.values["proven"]) == 0
    assert float(monitor.values["before/constant_channels"]) > 0.9


@pytest.mark.parametrize(
    ("spoil", "subject"),
    [
        (lambda channel: channel.clamp(max=0.1), "saturated in validation only"),
        (lambda channel: channel * 0, "empty in validation only"),
        (lambda channel: channel * 0 + 1, "constant in validation only"),
        (
            lambda channel: torch.where(torch.arange(8) == 3, torch.nan, channel),
            "not finite in validation only",
        ),
    ],
)
def test_a_faulty_channel_is_named_in_words(spoil, subject):
    inputs, target = in_the_first_channel(160, 1)
    inputs[:, 2] = spoil(inputs[:, 2])
    monitor, diagnosis = CauseMonitor(budget=5.0, on_error="raise"), FailureDiagnosis(announce="nothing")
    data = (
        DataLoader(TensorDataset(*in_the_first_channel(320, 0)), batch_size=16),
        DataLoader(TensorDataset(inputs, target), batch_size=32),
    )
    fit([monitor, diagnosis], Net(), data=data, epochs=1)
    (finding,) = (finding for finding in diagnosis.findings if finding.rule == "channels_faulty")
    assert (finding.subject, finding.severity) == (subject, "watch")
    assert finding.message == (f"In 1 of the channels the images are {subject}, first in channel 2 (counted from 0).")


@pytest.mark.parametrize(("n", "proven"), [(240, True), (15, False)])
def test_a_gain_of_few_images_leaves_open_whether_a_mismatch_is_proven(n, proven):
    """The class is the channel that is brightest; validation lacks the first."""
    target = torch.arange(n) % 3
    noise = 0.1 * torch.randn(n, 3, 4, generator=torch.Generator().manual_seed(0))
    train = nn.functional.one_hot(target, 3)[..., None] + noise
    held = train * torch.tensor([0.0, 1.0, 1.0])[:, None] + torch.tensor([-1.0, 0.0, 0.0])[:, None]
    preparation = Preparation.of(input_sums(train), input_sums(held))
    experiments = Experiments(3)
    experiments.begin(torch.device("cpu"))
    experiments.pass_by(held.mean(2), target)
    experiments.validate(lambda given: given.mean(2), held, target, None, preparation)
    experiments.train(lambda given: given.mean(2), train, target, [], preparation)
    values = experiments.compute()
    assert float(values["share/constant_channels"]) == 1
    assert (float(values["proven"]), float(values["undecided"])) == (float(proven), float(not proven))


def test_what_passes_by_is_counted_where_it_is_from_the_first_batch_on():
    experiments = Experiments(3)
    experiments.pass_by(torch.rand(8, 3, device="meta"), torch.zeros(8, dtype=torch.int64, device="meta"))
    assert experiments.gap.where.type == experiments.labels.where.type == "meta"


def few_of(data, label, number):
    """The images of all other classes, and so many of one."""
    keep = (data[1] != label) | ((data[1] == label).cumsum(0) <= number)
    return data[0][keep], data[1][keep]


def test_scores_that_hold_how_frequent_classes_were_are_proven_by_taking_that_off():
    experiments = Experiments(3)
    target = torch.arange(300) % 3
    counts = torch.tensor([98, 98, 4])

    def model(images):  # right, but for the logarithm of the shares
        return 2.0 * images + (counts / 200).log()

    inputs, frequent = nn.functional.one_hot(target, 3).float(), target != 2
    values = {}
    for uneven in (counts, None):
        experiments.class_counts = uneven
        experiments.begin(torch.device("cpu"))
        experiments.pass_by(model(inputs), target)
        experiments.train(model, inputs[frequent], target[frequent], [], None)
        experiments.validate(model, inputs, target, None, None)
        values[uneven is None] = {key: float(value) for key, value in experiments.compute().items()}
    made = {key: values[False][f"{key}/class_imbalance"] for key in ("before", "after", "share")}
    assert made == {"before": pytest.approx(2 / 3), "after": 1, "share": pytest.approx(1)}
    assert math.isnan(values[True]["after/class_imbalance"])


def test_uneven_classes_of_training_are_counted_and_even_ones_tell_nothing():
    monitor, _ = run(Net(), images(160, 1), few_of(images(320, 0), 2, 6))
    assert monitor.values["uneven_classes"] == 1
    assert monitor.values["smallest_class_share"] < 0.05 < 0.3 < monitor.values["largest_class_share"]
    assert not monitor.values["after/class_imbalance"].isnan()
    monitor, _ = run(Net(), images(160, 1))
    assert monitor.values["uneven_classes"] == 0
    assert monitor.values["after/class_imbalance"].isnan()
