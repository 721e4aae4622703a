"""A small network, trained for a fixed number of steps: what a first attempt would reach on these images."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from einops import rearrange, reduce
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SmallNetwork", "SmallNetworkRun", "SmallNetworkTraining", "image_views", "run_small_network"]

BATCH = 64
WIDTH = 32
ROUNDING = 1e-5  # of a channel's root mean square; what float32 leaves of a difference, with room


class SmallNetwork(nn.Sequential):
    """A 1 x 1 convolution and two of 3 x 3 with stride 2, each with batch norm and ReLU, an average pool and a head.

    Args:
        channels: of the images.
        classes: number of classes.

    Example:
        >>> SmallNetwork(5, 3)(torch.zeros(2, 5, 9, 9)).shape
        torch.Size([2, 3])
    """

    def __init__(self, channels: int, classes: int) -> None:
        layers: list[nn.Module] = []
        for before, after, size, stride in ((channels, WIDTH, 1, 1), (WIDTH, WIDTH, 3, 2), (WIDTH, 2 * WIDTH, 3, 2)):
            conv = nn.Conv2d(before, after, size, stride, padding=size // 2, bias=False)
            layers += [conv, nn.BatchNorm2d(after), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * WIDTH, classes))


class SmallNetworkRun(NamedTuple):
    """Which held-out images a small network gets right, each (m), bool; and what it says of them."""

    right: Tensor  # as networks predict: with the running statistics of batch norm
    batch_right: Tensor  # with the statistics of each batch of held-out images
    scores: Tensor  # its logits, with the running statistics; (m c)


def run_small_network(
    train: Tensor, target: Tensor, held: Tensor, held_target: Tensor, classes: int, steps: int, seed: int = 0
) -> SmallNetworkRun:
    """Train a :class:`SmallNetwork` with AdamW as it comes, batches of 64, and predict the held-out images.

    The same arguments give the same result; torch's own random state stays as it is.

    Args:
        train: training images; (n b h w).
        target: their classes; (n).
        held: held-out images; (m b h w).
        held_target: their classes; (m).
        classes: number of classes.
        steps: of training.
        seed: of weights and order.
    """
    training = SmallNetworkTraining(train, target, classes, steps, seed)
    while not training.done:
        training.step()
    return training.judge(held, held_target)


class SmallNetworkTraining:
    """The training of a :class:`SmallNetwork` step by step, so that it may go on later; see :func:`run_small_network`.

    Args:
        train: training images; (n b h w).
        target: their classes; (n).
        classes: number of classes.
        steps: of training.
        seed: of weights and order.

    Example:
        >>> training = SmallNetworkTraining(torch.rand(8, 1, 4, 4), torch.arange(8) % 2, 2, steps=3)
        >>> training.step()
        >>> training.left
        2
    """

    def __init__(self, train: Tensor, target: Tensor, classes: int, steps: int, seed: int = 0) -> None:
        self.train, self.target = train, target
        size = min(BATCH, len(train))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = SmallNetwork(train.shape[1], classes)
            epochs = -(-steps // max(1, len(train) // size)) if size else 0
            # what an epoch leaves over is skipped
            batches = [part for _ in range(epochs) for part in torch.randperm(len(train)).split(size)]
        self._batches = [part for part in batches if len(part) == size][:steps]
        self._optimizer = torch.optim.AdamW(self.network.parameters())

    @property
    def left(self) -> int:
        """Steps that are still to be made."""
        return len(self._batches)

    @property
    def done(self) -> bool:
        """Whether all steps are made."""
        return not self._batches

    def step(self) -> None:
        """Make one step."""
        chosen = self._batches.pop(0)
        with torch.enable_grad():
            loss = F.cross_entropy(self.network(self.train[chosen]), self.target[chosen])
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()

    def judge(self, held: Tensor, held_target: Tensor) -> SmallNetworkRun:
        """Predict held-out images.

        Args:
            held: images; (m b h w).
            held_target: their classes; (m).
        """
        with torch.no_grad():
            scores = []
            for evaluating in (True, False):
                self.network.train(not evaluating)
                # in batch mode the network looks at all held-out images at once
                parts = held.split(4 * BATCH) if evaluating else (held,)
                scores.append(torch.cat([self.network(part) for part in parts]))
        right, batch_right = (each.argmax(1) == held_target for each in scores)
        return SmallNetworkRun(right, batch_right, scores[0])


def image_views(
    train: Tensor, held: Tensor, raw: tuple[Tensor, Tensor] | None, first: Tensor | None
) -> dict[str, tuple[Tensor, Tensor]]:
    """The images as given, and with one part of their information alone or taken away.

    ``as_given``; ``standardised``: each channel to mean 0 and deviation 1, as all that follow; ``spectra_only``: the
    mean spectrum of each image; ``shapes_only``: a grey image, the mean over the channels, less its mean;
    ``without_mean_spectrum``: each image less its mean spectrum; ``without_first_component``: less its coordinate on
    the first principal direction, at each pixel; ``without_total``: each pixel divided by its total over the channels.
    Of images of one pixel and of one channel, those that leave nothing are left out.

    Args:
        train: training images; (n b h w).
        held: held-out images; (m b h w).
        raw: both in raw units, where every pixel has a positive total; None: no view without the total.
        first: the first principal direction of the mean spectra; (b).
    """
    given, spatial, spectral = (train, held), train[0, 0].numel() > 1, train.shape[1] > 1
    scale = _by_channel(train.square()).sqrt()
    views = {"as_given": given, "standardised": _standardised(given, scale)}
    standard = views["standardised"]
    if spatial:
        views["spectra_only"] = _each(standard, lambda images: reduce(images, "n b h w -> n b 1 1", "mean"))
        views["shapes_only"] = _each(standard, lambda images: _less_mean(reduce(images, "n b h w -> n 1 h w", "mean")))
        if spectral:
            views["without_mean_spectrum"] = _each(standard, _less_mean)
    if spectral and first is not None:
        along = rearrange(first.to(train), "b -> b 1 1")
        rest = _each(given, lambda images: images - reduce(images * along, "n b h w -> n 1 h w", "sum") * along)
        views["without_first_component"] = _standardised(rest, scale)
    if spectral and raw is not None:
        shares = _each(raw, lambda images: images / reduce(images, "n b h w -> n 1 h w", "sum"))
        views["without_total"] = _standardised(shares, _by_channel(shares[0].square()).sqrt())
    return views


def _each(pair: tuple[Tensor, Tensor], change: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    return change(pair[0]), change(pair[1])


def _less_mean(images: Tensor) -> Tensor:
    return images - reduce(images, "n b h w -> n b 1 1", "mean")


def _standardised(pair: tuple[Tensor, Tensor], scale: Tensor) -> tuple[Tensor, Tensor]:
    """Each channel to mean 0 and deviation 1 over the training images; all 0 where rounding alone is left."""
    train, held = pair
    mean = rearrange(_by_channel(train), "b -> b 1 1")
    deviation = _by_channel((train - mean).square()).sqrt()
    factor = rearrange(torch.where(deviation > ROUNDING * scale, 1 / deviation, 0.0), "b -> b 1 1")
    return (train - mean) * factor, (held - mean) * factor


def _by_channel(images: Tensor) -> Tensor:
    """The mean of each channel over all images and pixels; (b)."""
    return reduce(images, "n b h w -> b", "mean")
