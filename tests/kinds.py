"""Small LightningModules of the kinds that people train, each with what is true of it by a direct computation."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch import Callback
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, default_collate

from lightning_failures import FactorErrorMonitor, failure_monitors
from lightning_failures.functional import feature_statistics, feature_sums

CLASSES, SIDE, TRAIN, HELD, BATCH = 4, 8, 48, 32, 16

Compute = Callable[[L.LightningModule, Any], Tensor]


class Kind(NamedTuple):
    """One kind of module."""

    make: Callable[[], L.LightningModule]
    item: Callable[[int], Any]
    task: str  # that is to be found
    right: Compute | None = None  # whether each image is predicted right, or each pixel; (n) or (n ...), bool
    error: Compute | None = None  # of each image, where no class is right or wrong; (n)
    features: tuple[str, Compute] | None = None  # name of the layer that is watched, and its rows (n d)
    collate: Callable[[list[Any]], Any] = default_collate
    aside: str = ""  # what the reason says, where no logits can be read
    labels: Callable[[Any], Tensor] = lambda batch: batch[1]


def image(index: int, channels: int = 3) -> Tensor:
    """An image whose class brightens a stripe of it."""
    pixels = torch.rand(channels, SIDE, SIDE, generator=torch.Generator().manual_seed(index))
    pixels[:, 2 * (index % CLASSES) : 2 * (index % CLASSES) + 2] += 0.5
    return pixels


def mask(index: int, classes: int = CLASSES) -> Tensor:
    """One label per pixel, in blocks."""
    coarse = torch.randint(0, classes, (4, 4), generator=torch.Generator().manual_seed(index))
    return coarse.repeat_interleave(2, 0).repeat_interleave(2, 1)


def classified(index: int) -> tuple[Tensor, int]:
    return image(index), index % CLASSES


def of_two(index: int) -> tuple[Tensor, int]:
    return image(index), index % 2


def body(channels: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())


class Module(L.LightningModule):
    """A network with a loss; steps and forward as they are usual."""

    def __init__(self, net: nn.Module, loss: Callable[[Any, Any], Tensor] = F.cross_entropy) -> None:
        super().__init__()
        self.net, self.loss = net, loss

    def forward(self, x: Tensor) -> Any:
        return self.net(x)

    def training_step(self, batch: Any, _: int) -> Any:
        return self.loss(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, _: int) -> Any:
        self.log("val_loss", self.loss(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.05)


def network(outputs: int = CLASSES, hidden: int = 0, channels: int = 3) -> nn.Sequential:
    """Layers before the head, and the head, as the last of them."""
    middle = [nn.Linear(24, hidden), nn.ReLU()] if hidden else []
    return nn.Sequential(*body(channels), *middle, nn.Linear(hidden or 24, outputs))


def of_last(module: L.LightningModule, batch: Any) -> Tensor:
    """What enters the last layer of a sequence."""
    return module.net[:-1](batch[0])


def largest(module: L.LightningModule, batch: Any) -> Tensor:
    return module.net(batch[0]).argmax(1) == batch[1]


def positive(module: L.LightningModule, batch: Any) -> Tensor:
    return (module.net(batch[0]).flatten() > 0) == batch[1].flatten().bool()


def penultimate(compute: Compute = of_last) -> tuple[str, Compute]:
    return "penultimate", compute


def with_logits(scores: Tensor, labels: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(scores, labels.float())


class Quiet(Module):
    """Its validation computes no loss."""

    def validation_step(self, batch: Any, _: int) -> Any:
        self.log("val_acc", (self(batch[0]).argmax(1) == batch[1]).float().mean())


class Silent(Module):
    """Its validation computes a metric that no class is chosen for."""

    def validation_step(self, batch: Any, _: int) -> Any:
        self.log("val_mean", self(batch[0]).mean())


class Returning(Module):
    """Returns its logits."""

    def validation_step(self, batch: Any, _: int) -> Any:
        return {"logits": self(batch[0]), "labels": batch[1]}


class Probabilities(Module):
    """Returns probabilities under a usual name of logits."""

    def validation_step(self, batch: Any, _: int) -> Any:
        return {"preds": self(batch[0]).softmax(1)}


class TwoHeads(Module):
    """Gives classes, and then a box by a second head on the same features."""

    def __init__(self) -> None:
        super().__init__(body())
        self.classes, self.box = nn.Linear(24, CLASSES), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Any:
        features = self.net(x)
        return self.classes(features), self.box(features)

    def training_step(self, batch: Any, _: int) -> Any:
        classes, box = self(batch[0])
        return F.cross_entropy(classes, batch[1]) + box.square().mean()

    def validation_step(self, batch: Any, _: int) -> Any:
        classes, _ = self(batch[0])
        self.log("val_acc", (classes.argmax(1) == batch[1]).float().mean())


class FeaturesFirst(nn.Module):
    """Returns features before logits."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = body(), nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(x)
        return features, self.head(features)


@dataclasses.dataclass
class Output:
    features: Tensor
    logits: Tensor


class Structured(FeaturesFirst):
    """Returns a dataclass."""

    def forward(self, x: Tensor) -> Any:
        return Output(*super().forward(x))


class ByKeyword(FeaturesFirst):
    """Is called with keywords, labels among them, and computes its loss, as models of Hugging Face do."""

    def forward(self, pixel_values: Tensor, labels: Tensor) -> Any:  # type: ignore[override]
        _, logits = super().forward(pixel_values)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


class HuggingFace(Module):
    def training_step(self, batch: Any, _: int) -> Any:
        return self.net(**batch)["loss"]

    def validation_step(self, batch: Any, _: int) -> Any:
        self.log("val_loss", self.net(**batch)["loss"])


class Mixed(Module):
    """Mixes images and labels in training."""

    def training_step(self, batch: Any, _: int) -> Any:
        images, labels = batch[0], F.one_hot(batch[1], CLASSES).float()
        return self.loss(self(0.7 * images + 0.3 * images.flip(0)), 0.7 * labels + 0.3 * labels.flip(0))


class Averaging(Module):
    """Averages the logits of an image and of its mirror image in validation."""

    def validation_step(self, batch: Any, _: int) -> Any:
        mean = (self(batch[0]) + self(batch[0].flip(-1))) / 2
        self.log("val_acc", (mean.argmax(1) == batch[1]).float().mean())


class AveragingReturned(Averaging):
    def validation_step(self, batch: Any, _: int) -> Any:
        return {"logits": (self(batch[0]) + self(batch[0].flip(-1))) / 2}


class Members(Module):
    """An ensemble whose members' logits stand after each other."""

    def __init__(self) -> None:
        super().__init__(nn.ModuleList(network() for _ in range(2)))

    def forward(self, x: Tensor) -> Any:
        return torch.cat([member(x) for member in self.net])

    def training_step(self, batch: Any, _: int) -> Any:
        return F.cross_entropy(self(batch[0]), batch[1].repeat(2))

    def validation_step(self, batch: Any, _: int) -> Any:
        mean = self(batch[0]).unflatten(0, (2, -1)).softmax(2).mean(0)
        self.log("val_acc", (mean.argmax(1) == batch[1]).float().mean())


class Autoencoder(Module):
    def __init__(self) -> None:
        layers = (nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 3), nn.Linear(3, 16), nn.Linear(16, 192))
        super().__init__(nn.Sequential(*layers), F.mse_loss)

    def training_step(self, batch: Any, _: int) -> Any:
        return self.loss(self(batch[0]), batch[0].flatten(1))

    def validation_step(self, batch: Any, _: int) -> Any:
        self.log("val_loss", self.training_step(batch, 0))


class Uncertain(Module):
    """A regression with a mean and a variance, whose batch holds a row number too."""

    def __init__(self) -> None:
        super().__init__(network(2))

    def training_step(self, batch: Any, _: int) -> Any:
        mean, spread = self(batch["image"]).T
        return F.gaussian_nll_loss(mean, batch["target"], F.softplus(spread) + 1e-3)

    def validation_step(self, batch: Any, _: int) -> Any:
        self.log("val_loss", self.training_step(batch, 0))


class Table(Module):
    """A regression on a table, whose batch holds the answer first."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1)), F.mse_loss)

    def training_step(self, batch: Any, _: int) -> Any:
        return self.loss(self(batch["continuous"]), batch["target"])

    def validation_step(self, batch: Any, _: int) -> Any:
        self.log("val_loss", self.training_step(batch, 0))


class Contrastive(Module):
    """Two views, compared by a cross-entropy whose classes are the images of the batch."""

    def __init__(self) -> None:
        super().__init__(body())
        self.projector = nn.Linear(24, 8)

    def training_step(self, batch: Any, _: int) -> Any:
        one, other = (F.normalize(self.projector(self.net(view)), dim=1) for view in (batch[0], batch[0].flip(-1)))
        return F.cross_entropy(one @ other.T / 0.1, torch.arange(len(one)))

    def validation_step(self, batch: Any, _: int) -> Any:
        self.log("val_loss", self.training_step(batch, 0))


class Teacher(Module):
    """A student is drawn to a teacher that is not trained."""

    def __init__(self) -> None:
        super().__init__(body())
        self.predictor, self.teacher = nn.Linear(24, 24), body().requires_grad_(False)

    def training_step(self, batch: Any, _: int) -> Any:
        with torch.no_grad():
            wanted = self.teacher(batch[0])
        return F.mse_loss(self.predictor(self.net(batch[0])), wanted)

    def validation_step(self, batch: Any, _: int) -> Any:
        self.log("val_loss", self.training_step(batch, 0))


class Focal(nn.Module):
    """A loss of somebody's own, as a module."""

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        likely = scores.log_softmax(1).gather(1, labels[:, None])[:, 0]
        return -((1 - likely.exp()) ** 2 * likely).mean()


def focal(scores: Tensor, labels: Tensor) -> Tensor:
    """A loss of somebody's own, as a function."""
    likely = (scores - scores.logsumexp(1, keepdim=True)).gather(1, labels[:, None])[:, 0]
    return -((1 - likely.exp()) ** 2 * likely).mean()


class Pyramid(Module):
    """One head on maps of several sizes, as detectors have."""

    def __init__(self) -> None:
        super().__init__(nn.ModuleList((nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1))))
        self.head = nn.Conv2d(6, 5, 1)

    def training_step(self, batch: Any, _: int) -> Any:
        x, total = batch[0], torch.zeros(())
        for block in self.net:
            x = F.max_pool2d(block(x).relu(), 2)
            total = total + self.head(x).square().mean()
        return total

    def validation_step(self, batch: Any, _: int) -> Any:
        self.log("val_loss", self.training_step(batch, 0))


class Sequence(Module):
    """A label at each place of a sequence."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 9)))

    def training_step(self, batch: Any, _: int) -> Any:
        return F.cross_entropy(self(batch[0]).flatten(0, 1), batch[1].flatten())

    def validation_step(self, batch: Any, _: int) -> Any:
        self.log("val_loss", self.training_step(batch, 0))


class Lists(Module):
    """Its batch is a list of images and a list of labels."""

    def training_step(self, batch: Any, _: int) -> Any:
        return self.loss(self(torch.stack(batch[0])), torch.stack(batch[1]))

    def validation_step(self, batch: Any, _: int) -> Any:
        self.log("val_loss", self.training_step(batch, 0))


class TwoInputs(Module):
    """Its forward takes an image and a number, on which its logits depend."""

    def __init__(self) -> None:
        super().__init__(body())
        self.head = nn.Linear(25, CLASSES)

    def forward(self, x: Tensor, number: Tensor) -> Any:  # type: ignore[override]
        return self.head(torch.cat([self.net(x), number], 1))

    def training_step(self, batch: Any, _: int) -> Any:
        return self.loss(self(batch[0], batch[2]), batch[1])

    def validation_step(self, batch: Any, _: int) -> Any:
        self.log("val_loss", self.training_step(batch, 0))


class Adversarial(Module):
    """A generator and a critic, each with its own optimiser and a loss of what is real and what is made."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Linear(5, 192), nn.Unflatten(1, (3, SIDE, SIDE))))
        self.critic = network(1)
        self.automatic_optimization = False

    def training_step(self, batch: Any, _: int) -> Any:
        made = self.net(torch.randn(len(batch[0]), 5))
        steps = ((self.critic, batch[0], 1.0), (self.critic, made.detach(), 0.0), (self.critic, made, 1.0))
        for optimizer, (critic, images, label) in zip((0, 0, 1), steps, strict=True):
            chosen = self.optimizers()[optimizer]  # type: ignore[index]
            chosen.zero_grad()
            scores = critic(images)
            self.manual_backward(with_logits(scores, torch.full_like(scores, label)))
            chosen.step()

    def validation_step(self, batch: Any, _: int) -> Any:
        self.log("val_mean", self.critic(batch[0]).mean())

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(part.parameters(), 0.01) for part in (self.critic, self.net)]


class Squeeze(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.squeeze(1)


def pixelwise(outputs: int, *last: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, outputs, 1), *last)


def ignoring(index: int) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda scores, labels: F.cross_entropy(scores, labels, ignore_index=index)


def partly(label: int) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Masks whose left half has no label."""

    def item(index: int) -> tuple[Tensor, Tensor]:
        labels = mask(index)
        labels[:, : SIDE // 2] = label
        return image(index), labels

    return item


def wrong_pixels(ignored: int) -> Compute:
    def error(module: L.LightningModule, batch: Any) -> Tensor:
        known = batch[1] != ignored
        wrong = (module.net(batch[0]).argmax(1) != batch[1]) & known
        return wrong.flatten(1).sum(1) / known.flatten(1).sum(1)

    return error


def wrong_labels(module: L.LightningModule, batch: Any) -> Tensor:
    return (module.net(batch[0]).flatten(1) > 0) != batch[1].flatten(1).bool()


def wrong_of_two(module: L.LightningModule, batch: Any) -> Tensor:
    return wrong_labels(module, batch).float().mean(1)


def answers(index: int) -> Tensor:
    return (torch.rand(5, generator=torch.Generator().manual_seed(index)) < 0.4).long()


def spectrum(index: int) -> Tensor:
    values = torch.rand(12, generator=torch.Generator().manual_seed(index))
    values[3 * (index % CLASSES) :][:3] += 0.6
    return values


def convolved() -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(40, CLASSES))


def cubes() -> nn.Sequential:
    layers = (nn.Conv3d(1, 3, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d((12, 1, 1)), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(36, CLASSES))


KINDS: dict[str, Kind] = {
    "classes, loss returned": Kind(lambda: Module(network()), classified, "multiclass", largest, None, penultimate()),
    "classes, logits returned": Kind(
        lambda: Returning(network()), classified, "multiclass", largest, None, penultimate()
    ),
    "classes, probabilities returned": Kind(
        lambda: Probabilities(network()), classified, "multiclass", largest, None, penultimate()
    ),
    "classes, no loss in validation": Kind(
        lambda: Quiet(network()), classified, "multiclass", largest, None, penultimate()
    ),
    "classes, nothing told in validation": Kind(
        lambda: Silent(network()), classified, "multiclass", largest, None, penultimate()
    ),
    "classes, a loss module of one's own": Kind(
        lambda: Module(network(), Focal()), classified, "multiclass", largest, None, penultimate()
    ),
    "classes, a loss function of one's own": Kind(
        lambda: Module(network(), focal), classified, "multiclass", largest, None, penultimate()
    ),
    "class head, then a box head": Kind(
        TwoHeads,
        classified,
        "multiclass",
        lambda module, batch: module.classes(module.net(batch[0])).argmax(1) == batch[1],
        None,
        penultimate(lambda module, batch: module.net(batch[0])),
    ),
    "forward returns (features, logits)": Kind(
        lambda: Module(FeaturesFirst(), lambda output, labels: F.cross_entropy(output[1], labels)),
        classified,
        "multiclass",
        lambda module, batch: module.net(batch[0])[1].argmax(1) == batch[1],
        None,
        penultimate(lambda module, batch: module.net(batch[0])[0]),
    ),
    "forward returns a dataclass": Kind(
        lambda: Module(Structured(), lambda output, labels: F.cross_entropy(output.logits, labels)),
        classified,
        "multiclass",
        lambda module, batch: module.net(batch[0]).logits.argmax(1) == batch[1],
        None,
        penultimate(lambda module, batch: module.net(batch[0]).features),
    ),
    "called with keywords, labels among them": Kind(
        lambda: HuggingFace(ByKeyword()),
        lambda index: {"pixel_values": image(index), "labels": index % CLASSES},
        "multiclass",
        lambda module, batch: module.net(**batch)["logits"].argmax(1) == batch["labels"],
        None,
        penultimate(lambda module, batch: module.net.body(batch["pixel_values"])),
        labels=lambda batch: batch["labels"],
    ),
    "labels of one class per column": Kind(
        lambda: Module(network(), lambda scores, labels: F.cross_entropy(scores, labels.float())),
        lambda index: (image(index), F.one_hot(torch.tensor(index % CLASSES), CLASSES)),
        "multiclass",
        lambda module, batch: module.net(batch[0]).argmax(1) == batch[1].argmax(1),
        None,
        penultimate(),
    ),
    "classes as columns by binary losses": Kind(
        lambda: Module(network(), lambda scores, labels: with_logits(scores, F.one_hot(labels, CLASSES))),
        classified,
        "multiclass",
        largest,
        None,
        penultimate(),
    ),
    "labels of one class per column, by squares": Kind(
        lambda: Module(network(), F.mse_loss),
        lambda index: (image(index), F.one_hot(torch.tensor(index % CLASSES), CLASSES).float()),
        "multiclass",
        lambda module, batch: module.net(batch[0]).argmax(1) == batch[1].argmax(1),
        None,
        penultimate(),
    ),
    "probabilities and one class per column, by squares": Kind(
        lambda: Module(network(), lambda scores, labels: F.mse_loss(scores.softmax(1), labels)),
        lambda index: (image(index), F.one_hot(torch.tensor(index % CLASSES), CLASSES).float()),
        "multiclass",
        lambda module, batch: module.net(batch[0]).argmax(1) == batch[1].argmax(1),
        None,
        penultimate(),
    ),
    "a softmax as the last layer, by squares": Kind(
        lambda: Module(
            nn.Sequential(*network(), nn.Softmax(1)),
            lambda likely, labels: F.mse_loss(likely, F.one_hot(labels, CLASSES).float()),
        ),
        classified,
        "multiclass",
        largest,
        None,
        penultimate(lambda module, batch: module.net[:-2](batch[0])),
    ),
    "labels (n, 1) of int32": Kind(
        lambda: Module(network(), lambda scores, labels: F.cross_entropy(scores, labels.squeeze(1).long())),
        lambda index: (image(index), torch.tensor([index % CLASSES], dtype=torch.int32)),
        "multiclass",
        lambda module, batch: module.net(batch[0]).argmax(1) == batch[1][:, 0],
        None,
        penultimate(),
    ),
    "images and labels mixed in training": Kind(
        lambda: Mixed(network()), classified, "multiclass", largest, None, penultimate()
    ),
    "one logit (n, 1)": Kind(
        lambda: Module(network(1, 10), lambda scores, labels: with_logits(scores, labels[:, None])),
        of_two,
        "binary",
        positive,
        None,
        penultimate(),
    ),
    "one logit, squeezed": Kind(
        lambda: Module(nn.Sequential(*network(1, 10), nn.Flatten(0)), with_logits),
        of_two,
        "binary",
        positive,
        None,
        penultimate(lambda module, batch: module.net[:-2](batch[0])),
    ),
    "one probability": Kind(
        lambda: Module(
            nn.Sequential(*network(1), nn.Sigmoid(), nn.Flatten(0)),
            lambda likely, labels: F.binary_cross_entropy(likely, labels.float()),
        ),
        of_two,
        "binary",
        lambda module, batch: (module.net(batch[0]) > 0.5) == batch[1].bool(),
        None,
        penultimate(lambda module, batch: module.net[:-3](batch[0])),
    ),
    "several labels, integers": Kind(
        lambda: Module(network(5), with_logits),
        lambda index: (image(index), answers(index)),
        "multilabel",
        None,
        wrong_of_two,
        penultimate(),
    ),
    "several labels, floats": Kind(
        lambda: Module(network(5), nn.BCEWithLogitsLoss()),
        lambda index: (image(index), answers(index).float()),
        "multilabel",
        None,
        wrong_of_two,
        penultimate(),
    ),
    "regression": Kind(
        lambda: Module(network(1, 10), lambda scores, labels: F.mse_loss(scores[:, 0], labels)),
        lambda index: (image(index), torch.tensor(20.0 + index % 60) / 60),
        "regression",
        None,
        lambda module, batch: (module.net(batch[0])[:, 0] - batch[1]).square(),
        penultimate(),
    ),
    "regression with a variance and a row number": Kind(
        Uncertain,
        lambda index: {"image": image(index), "target": image(index).mean(), "index": index},
        "regression",
        None,
        None,
        penultimate(lambda module, batch: module.net[:-1](batch["image"])),
    ),
    "regression on a table, the answer first": Kind(
        Table,
        lambda index: {"target": image(index)[0, 0, :1], "continuous": image(index)[0, 0, 1:7]},
        "regression",
        None,
        lambda module, batch: (module.net(batch["continuous"]) - batch["target"]).square()[:, 0],
        penultimate(lambda module, batch: module.net[:-1](batch["continuous"])),
    ),
    "autoencoder, with class labels beside": Kind(
        Autoencoder,
        classified,
        "regression",
        None,
        lambda module, batch: (module.net(batch[0]) - batch[0].flatten(1)).square().mean(1),
        ("net.3", lambda module, batch: module.net[:4](batch[0])),
    ),
    "segmentation, label 255 left out": Kind(
        lambda: Module(pixelwise(CLASSES), ignoring(255)), partly(255), "pixel_multiclass", None, wrong_pixels(255)
    ),
    "segmentation, label -1 left out": Kind(
        lambda: Module(pixelwise(CLASSES), ignoring(-1)), partly(-1), "pixel_multiclass", None, wrong_pixels(-1)
    ),
    "segmentation, the label above the classes left out": Kind(
        lambda: Module(pixelwise(CLASSES), ignoring(CLASSES)),
        partly(CLASSES),
        "pixel_multiclass",
        None,
        wrong_pixels(CLASSES),
    ),
    "segmentation, label 0 left out": Kind(
        lambda: Module(pixelwise(CLASSES), ignoring(0)), partly(0), "pixel_multiclass", None, wrong_pixels(0)
    ),
    "segmentation by a flattened loss": Kind(
        lambda: Module(
            pixelwise(CLASSES),
            lambda scores, labels: F.cross_entropy(scores.permute(0, 2, 3, 1).reshape(-1, CLASSES), labels.reshape(-1)),
        ),
        lambda index: (image(index), mask(index)),
        "pixel_multiclass",
        None,
        wrong_pixels(-1),
    ),
    "binary segmentation (n, 1, h, w)": Kind(
        lambda: Module(pixelwise(1), with_logits),
        lambda index: (image(index), mask(index, 2)[None]),
        "pixel_binary",
        None,
        wrong_of_two,
    ),
    "binary segmentation, squeezed": Kind(
        lambda: Module(pixelwise(1, Squeeze()), with_logits),
        lambda index: (image(index), mask(index, 2)),
        "pixel_binary",
        None,
        wrong_of_two,
    ),
    "two views, compared": Kind(
        Contrastive,
        classified,
        "embedding",
        features=(
            "net",
            lambda module, batch: torch.cat([module.net(batch[0]), module.net(batch[0].flip(-1))]),
        ),
    ),
    "student and teacher": Kind(
        Teacher, classified, "embedding", features=("net", lambda module, batch: module.net(batch[0]))
    ),
    "spectra (n, 1, L)": Kind(
        lambda: Module(convolved()),
        lambda index: (spectrum(index)[None], index % CLASSES),
        "multiclass",
        largest,
        None,
        penultimate(),
    ),
    "spectra (n, L, 1)": Kind(
        lambda: Module(nn.Sequential(nn.Flatten(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, CLASSES))),
        lambda index: (spectrum(index)[:, None], index % CLASSES),
        "multiclass",
        largest,
        None,
        penultimate(),
    ),
    "spectral cubes (n, 1, b, h, w)": Kind(
        lambda: Module(cubes()),
        lambda index: (spectrum(index)[None, :, None, None].expand(1, 12, 4, 4).clone(), index % CLASSES),
        "multiclass",
        largest,
        None,
        penultimate(),
    ),
    "forward of two inputs": Kind(
        TwoInputs,
        lambda index: (image(index), index % CLASSES, image(index)[0, 0, :1]),
        "multiclass",
        lambda module, batch: module(batch[0], batch[2]).argmax(1) == batch[1],
    ),
    "mirror images averaged, logits returned": Kind(
        lambda: AveragingReturned(network()),
        classified,
        "multiclass",
        lambda module, batch: (module.net(batch[0]) + module.net(batch[0].flip(-1))).argmax(1) == batch[1],
    ),
    "mirror images averaged": Kind(
        lambda: Averaging(network()), classified, "multiclass", aside="called 2 times in one step"
    ),
    "ensemble of members": Kind(Members, classified, "unknown", aside="cross_entropy takes what no layer gave"),
    "lists of images": Kind(
        lambda: Lists(network()),
        lambda index: (image(index), torch.tensor(index % CLASSES)),
        "multiclass",
        collate=lambda items: tuple(map(list, zip(*items, strict=True))),
        aside="no inputs were found",
    ),
    "labels of a volume": Kind(
        lambda: Module(nn.Sequential(nn.Conv3d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv3d(3, CLASSES, 1))),
        lambda index: (
            torch.rand(1, 4, 8, 8, generator=torch.Generator().manual_seed(index)),
            mask(index)[None].expand(4, 8, 8).clone(),
        ),
        "unknown",
        aside="it needs classes, and this is a task that is not known",
    ),
    "detector's head on several maps": Kind(Pyramid, classified, "unknown", aside="it needs classes, and this is"),
    "labels along a sequence": Kind(
        Sequence,
        lambda index: (torch.arange(7) + index % 2, torch.arange(7)),
        "unknown",
        aside="it needs classes, and this is",
    ),
    "generator and critic": Kind(Adversarial, classified, "unknown", aside="it needs classes, and this is"),
}


class Row(NamedTuple):
    """What a run of one kind showed."""

    task: str
    watched: tuple[str, ...]
    left_out: dict[str, str]
    figures: dict[str, tuple[float, float]]  # key -> logged, computed directly
    same_weights: bool
    hooks: int


def run(kind: Kind, monitors: Iterable[Callback], logger: Any = False) -> tuple[L.Trainer, L.LightningModule]:
    """Two epochs from the same seed."""
    L.seed_everything(3, verbose=False)
    train, held = (
        DataLoader([kind.item(index) for index in indices], BATCH, collate_fn=kind.collate)
        for indices in (range(TRAIN), range(100, 100 + HELD))
    )
    trainer = L.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=logger,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(monitors),
    )
    module = kind.make()
    trainer.fit(module, train, held)
    return trainer, module


def row(kind: Kind) -> Row:
    """Run one kind with and without the monitors, and compare what is logged with a direct computation."""
    _, alone = run(kind, [])
    monitors = failure_monitors(budget=1e9)
    dark = FactorErrorMonitor({"dark": lambda batch: torch.arange(BATCH) % 2}, probe=monitors[0].probe)
    trainer, module = run(kind, [dark, *monitors])
    pairs = zip(alone.state_dict().values(), module.state_dict().values(), strict=True)
    same = all(torch.equal(one, other) for one, other in pairs)
    hooks = sum(len(child._forward_hooks.items()) + len(child._forward_pre_hooks) for child in module.modules())
    mine = [dark, *monitors[:-1]]
    left_out = {what: why for monitor in mine for what, why in monitor.not_watched.items()}
    watched = tuple(monitor.noun for monitor in mine if monitor.values)
    return Row(monitors[0].probe.task.kind, watched, left_out, _figures(kind, trainer, module), same, hooks)


def _figures(kind: Kind, trainer: L.Trainer, module: L.LightningModule) -> dict[str, tuple[float, float]]:
    """Logged figures beside what the last weights give on the same images."""
    batches = [kind.collate([kind.item(i) for i in range(at, at + BATCH)]) for at in range(100, 100 + HELD, BATCH)]
    logged = trainer.callback_metrics
    found: dict[str, tuple[float, float]] = {}
    module.eval()
    with torch.no_grad():
        if kind.right is not None:
            right = torch.cat([kind.right(module, batch) for batch in batches]).float().mean()
            for key in ("failures/collapse/accuracy", "failures/simplicity/model_accuracy"):
                found[key] = float(logged[key]), float(right)
        if kind.error is not None:
            error = torch.cat([kind.error(module, batch) for batch in batches]).mean()
            found["failures/factors/mean_error/all"] = float(logged["failures/factors/mean_error/all"]), float(error)
        if kind.task == "multilabel":
            wrong = torch.cat([wrong_labels(module, batch) for batch in batches]).double().mean(0)
            for key, rate in (("1", wrong[1]), ("all", wrong.mean())):
                found[f"failures/collapse/label_error/{key}"] = (
                    float(logged[f"failures/collapse/label_error/{key}"]),
                    float(rate),
                )
        if kind.features is not None:
            name, compute = kind.features
            rows = torch.cat([compute(module, batch) for batch in batches])
            rank = feature_statistics(feature_sums(rows))["effective_rank"]
            key = f"failures/collapse/effective_rank/{name}"
            found[key] = float(logged[key]), float(rank)
    return found
