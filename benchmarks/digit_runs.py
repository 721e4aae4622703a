"""Short runs on scikit-learn's digits in four channels, which the planted failures and the faults are put into."""

import dataclasses
import logging
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import lightning as L
import torch
from lightning.pytorch import Callback
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lightning_failures as lf

__all__ = [
    "NETWORKS",
    "RECIPES",
    "Classifier",
    "Labelled",
    "Setup",
    "Source",
    "Statistics",
    "four_channels",
    "healthy_setup",
    "new_network",
    "prepared",
    "shapes",
    "spectra",
    "statistics",
    "train",
    "with_true_valid",
]


class Labelled(NamedTuple):
    """Images and their labels."""

    images: Tensor  # (n b h w)
    labels: Tensor  # (n)


class Statistics(NamedTuple):
    """What images are standardised by."""

    mean: Tensor  # (b)
    deviation: Tensor  # (b)


def cnn(channels: int, classes: int) -> nn.Module:
    """Three convolutions without normalisation, and dropout before the head."""
    return nn.Sequential(
        nn.Sequential(
            nn.Conv2d(channels, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
        ),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.LazyLinear(classes),
    )


def resnet10t(channels: int, classes: int) -> nn.Module:
    """The smallest residual network of timm, with batch norm, at a quarter of its width."""
    import timm

    network: nn.Module = timm.create_model(
        "resnet10t", in_chans=channels, num_classes=classes, channels=(16, 32, 64, 128), stem_width=16
    )
    return network


NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {"cnn": cnn, "resnet10t": resnet10t}


class Recipe(NamedTuple):
    """How a network is trained; ten times the learning rate is too much for it, and a tenth too little."""

    rate: float  # of SGD with momentum
    adamw_rate: float
    epochs: int
    batch: int


RECIPES = {"cnn": Recipe(0.02, 0.003, 10, 64), "resnet10t": Recipe(0.1, 0.01, 8, 128)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
    """All of a run. The images are raw; each side is standardised by its own statistics, which a healthy run shares.

    Args:
        network: what is trained.
        rate: learning rate.
        train: training images.
        valid: validation images.
        train_by: what the training images are standardised by.
        valid_by: what the validation images are standardised by.
        true_valid: validation images as they should be, prepared: by these it is measured what the fault costs.
        epochs: how long.
        batch: images a step.
        optimizer: ``"sgd"`` with momentum, or ``"adamw"``.
        schedule: the learning rate is ``"constant"``, or goes through ``"one_cycle"``.
        augment: what happens to the images of a training batch.
        module: the LightningModule.
        callbacks: what is planted by callbacks.
    """

    network: nn.Module
    rate: float
    train: Labelled
    valid: Labelled
    train_by: Statistics
    valid_by: Statistics
    true_valid: Labelled
    epochs: int
    batch: int
    optimizer: Literal["sgd", "adamw"] = "sgd"
    schedule: Literal["constant", "one_cycle"] = "constant"
    augment: Callable[[Tensor], Tensor] = lambda images: images
    module: "type[Classifier] | None" = None
    callbacks: Sequence[Callback] = ()


class Classifier(L.LightningModule):
    """An ordinary classifier; nothing in it knows of the monitors."""

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.net, self.setup_of_run = setup.network, setup

    def forward(self, images: Tensor) -> Tensor:
        """Logits; (n c)."""
        logits: Tensor = self.net(images)
        return logits

    def training_step(self, batch: Any, _: int) -> Tensor:
        """Cross-entropy."""
        return nn.functional.cross_entropy(self(self.setup_of_run.augment(batch[0])), batch[1])

    def validation_step(self, batch: Any, _: int) -> None:
        """Loss and accuracy."""
        logits = self(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(logits, batch[1]))
        self.log("val_acc", logits.argmax(1).eq(batch[1]).float().mean())

    def configure_optimizers(self) -> Any:
        """SGD with momentum or AdamW, over the parameters of the network."""
        return self.optimizer_over(self.net.parameters())

    def optimizer_over(self, parameters: Iterable[nn.Parameter]) -> Any:
        """What Lightning wants from ``configure_optimizers``."""
        given, rate = self.setup_of_run, self.setup_of_run.rate
        optimizer: torch.optim.Optimizer = (
            torch.optim.AdamW(parameters, rate)
            if given.optimizer == "adamw"
            else torch.optim.SGD(parameters, rate, momentum=0.9)
        )
        if given.schedule == "constant":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


Source = Callable[[torch.Generator], Labelled]


def ink_of_digits(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """scikit-learn's digits (n h w) in [0, 1] and their labels (n), in a random order."""
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=generator)
    return torch.tensor(digits.images, dtype=torch.float32)[order] / 16, torch.tensor(digits.target)[order]


def four_channels(generator: torch.Generator) -> Labelled:
    """Digits in four channels of unlike content: ink, paper, another digit in the way, and a dark detector."""
    ink, labels = ink_of_digits(generator)
    other = ink[torch.randperm(len(ink), generator=generator)]
    images = torch.stack([0.1 + ink, 0.9 - 0.4 * ink, 0.3 + 0.5 * other, 0.05 * torch.ones_like(ink)], 1)
    noise = torch.tensor([0.05, 0.05, 0.05, 0.02])[:, None, None]
    return Labelled(images + noise * torch.randn(images.shape, generator=generator), labels)


def spectra(generator: torch.Generator) -> Labelled:
    """Digits in ink with two bands on paper with a slope, in 16 channels; the thickness differs from image to image."""
    ink, labels = ink_of_digits(generator)
    axis = torch.linspace(0, 1, 16)
    bands = (-((axis - 0.3) ** 2) / 0.02).exp() + 0.5 * (-((axis - 0.7) ** 2) / 0.01).exp()
    images = (0.6 + 0.3 * axis)[:, None, None] + ink[:, None] * bands[:, None, None]
    images = images * (1 + 0.1 * torch.randn(len(ink), 1, 1, 1, generator=generator))
    return Labelled(images + 0.1 * torch.randn(images.shape, generator=generator), labels)


def shapes(generator: torch.Generator) -> Labelled:
    """Squares, discs, crosses and frames in any colour on paper of any colour, at any place."""
    count, size = 1600, 12
    labels = torch.randint(4, (count,), generator=generator)
    centres = 4 + (size - 9) * torch.rand(2, count, 1, 1, generator=generator)
    pixels = torch.arange(size, dtype=torch.float32)
    rows, columns = (pixels[:, None] - centres[0]).abs(), (pixels[None, :] - centres[1]).abs()
    square, far = (rows < 3.5) & (columns < 3.5), torch.maximum(rows, columns) > 2
    disc, cross = rows**2 + columns**2 < 13, square & ((rows < 1.2) | (columns < 1.2))
    masks = torch.stack([square, disc, cross, square & far])[labels, torch.arange(count)].float()[:, None]
    paper, paint = 0.4 * torch.rand(2, count, 3, 1, 1, generator=generator)
    images = paper + masks * (0.4 + paint)
    return Labelled(images + 0.05 * torch.randn(images.shape, generator=generator), labels)


def statistics(images: Tensor) -> Statistics:
    """Mean and deviation of each channel."""
    return Statistics(images.mean((0, 2, 3)), images.std((0, 2, 3)))


def prepared(images: Tensor, by: Statistics) -> Tensor:
    """Standardised images."""
    return (images - by.mean[:, None, None]) / by.deviation[:, None, None]


def healthy_setup(network: str, seed: int, source: Source = four_channels) -> Setup:
    """A run with nothing wrong in it."""
    images, labels = source(torch.Generator().manual_seed(seed))
    train, valid = Labelled(images[:1280], labels[:1280]), Labelled(images[1280:], labels[1280:])
    by, recipe = statistics(train.images), RECIPES[network]
    return Setup(
        network=new_network(network, train),
        rate=recipe.rate,
        train=train,
        valid=valid,
        train_by=by,
        valid_by=by,
        true_valid=Labelled(prepared(valid.images, by), valid.labels),
        epochs=recipe.epochs,
        batch=recipe.batch,
    )


def with_true_valid(setup: Setup) -> Setup:
    """The same run, where validation is as it should be once it is standardised as training is."""
    by = statistics(setup.train.images)
    return dataclasses.replace(
        setup, train_by=by, valid_by=by, true_valid=Labelled(prepared(setup.valid.images, by), setup.valid.labels)
    )


def new_network(name: str, train: Labelled) -> nn.Module:
    """A network for such images and labels."""
    network = NETWORKS[name](train.images.shape[1], int(train.labels.max()) + 1)
    with torch.no_grad():
        network(train.images[:2])  # the sizes of lazy layers
    return network


def quiet_trainer(epochs: int, callbacks: list[L.Callback]) -> L.Trainer:
    """One that trains on the processor, writes nothing and prints nothing."""
    return L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
    )


def train(setup: Setup, budget: float | None = None) -> dict[str, Any]:
    """Train it under all monitors, as a user has them; the findings beside what is true by behaviour."""
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    monitors = lf.failure_monitors() if budget is None else lf.failure_monitors(budget=budget)
    (diagnosis,) = (each for each in monitors if isinstance(each, lf.FailureDiagnosis))
    diagnosis.announce = "nothing"
    trainer = quiet_trainer(setup.epochs, [*setup.callbacks, *monitors])
    module = (setup.module or Classifier)(setup)
    train_set = TensorDataset(prepared(setup.train.images, setup.train_by), setup.train.labels)
    valid_set = TensorDataset(prepared(setup.valid.images, setup.valid_by), setup.valid.labels)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", lf.FailuresWarning)
        trainer.fit(module, DataLoader(train_set, setup.batch, shuffle=True), DataLoader(valid_set, 128))
    module.eval()
    return {
        "findings": [finding.to_dict() for finding in diagnosis.history],
        "steps": trainer.global_step,
        "train_accuracy": accuracy(module, Labelled(*train_set.tensors)),
        "accuracy": float(trainer.callback_metrics["val_acc"]),
        "true_accuracy": accuracy(module, setup.true_valid),
        "warnings": sorted({str(each.message) for each in caught if issubclass(each.category, lf.FailuresWarning)}),
    }


def accuracy(module: nn.Module, part: Labelled) -> float:
    """Share of images that are predicted right."""
    with torch.no_grad():
        return float(module(part.images).argmax(1).eq(part.labels).float().mean())
