"""Whether more is there to be had: what a small model reads of the label in images whose content is taken away."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from lightning_failures.audit.given_audit import GivenAudit
from lightning_failures.audit.small_network import SmallNetworkTraining
from lightning_failures.callbacks.ranks import gather
from lightning_failures.functional.content_descriptors import typical_row
from lightning_failures.functional.cues import by_pixel
from lightning_failures.functional.discriminant import linear_discriminant
from lightning_failures.functional.moments import class_moments
from lightning_failures.functional.proportions import wilson
from lightning_failures.interventions.changes import Transplant
from lightning_failures.interventions.transplants import exchanges
from lightning_failures.observe.observation import Observation
from lightning_failures.observe.reference_batch import ReferenceBatch

__all__ = ["Reading", "TrainingSample", "Without", "WithoutContents", "few_pixels"]

IMAGES = 768  # of training, over all ranks; two thirds to learn from and one to judge by
SIDE = 16  # larger images are averaged down to between this and twice as many pixels per side
VALUES = 2**23  # most of the sample on a rank: 32 MiB
CHANNELS = 64  # whose means a closed-form model sees
A_CLASS = 8  # images that each class has, at least, on average
CELLS = 8  # along each side, of which it sees the mean
STEPS = 120  # of the small network
#: Seconds that the linear model, and a step of the small network, are expected to take, until one was timed.
LINEAR, STEP = 0.1, 0.02
#: A coarse pattern that is the label, such as the bright half of an image, has edges: that something is read without
#: its low frequencies is no sign of anything else.
LEAVES_TRACES = "low_frequencies"
#: Nor is a texture wholly gone with its amplitudes: a wave that does not end with the image leaves its direction in the
#: phases of its neighbours. Of stripes whose direction is the label, 0.02 to 0.31 of what there is was read in 15 of
#: 16 draws, and 0.55 in one; of digits that a texture goes with, 0.76 to 0.80. Less than this is nothing.
LEFT_OF_TEXTURE = 0.4
ROUNDING = 1e-3  # of the deviation that a feature had; less is what float32 leaves of a content that was exchanged

#: Contents that the mean and the deviation of each channel hold: without these, none of them is left.
OF_STATISTICS = ("total_absorbance", "grey_level", "level", "colour", "first_direction")

#: An audit tells of these by the level, of which they are multiples. Without them an image is scaled, and without the
#: level shifted, which leaves other things, so that its answer to what is left is not theirs.
AS_AUDITED = {"total_absorbance": "level", "grey_level": "level"}


class Judged(NamedTuple):
    """What a small model made, on one rank, of images that it did not learn from."""

    right: int
    often: int  # images of their most frequent class
    images: int


class Without(NamedTuple):
    """Accuracy of a small model on images without a content; of all ranks."""

    accuracy: float
    low: float
    high: float
    often: float  # share of the most frequent class of the images that were judged

    @property
    def nothing(self) -> bool:
        """Whether no more was read than naming one class gives, beyond chance."""
        return self.low <= self.often

    def adjusted(self) -> tuple[float, float]:
        """Accuracy above that of naming one class, as a share of what there is above it, and its lower end.

        Example:
            >>> [round(share, 3) for share in Without(0.55, 0.46, 0.64, 0.1).adjusted()]
            [0.5, 0.4]
        """
        room = 1 - self.often
        if not room > 0:
            return math.nan, math.nan
        return (self.accuracy - self.often) / room, (self.low - self.often) / room


class TrainingSample:
    """Some training images of the first epoch as the step saw them, averaged down to few pixels, with their labels."""

    def __init__(self) -> None:
        self._batch = ReferenceBatch(IMAGES)
        self._epoch: int | None = None  # whose images are kept; None before the first batch
        self._over = False

    def add(self, seen: Observation, batches: float, processes: int, epoch: int = 0) -> None:
        """Keep some images of a training batch, without a device synchronisation.

        Args:
            seen: the batch, with inputs (n b h w) or (n b) and targets (n); others are not kept.
            batches: of an epoch.
            processes: of the run.
            epoch: of the batch. Of a later one than the first none is kept: an image that was learnt from would be
                judged too.
        """
        self._over = self._over or (self._epoch is not None and epoch != self._epoch)
        if self._over or seen.inputs is None or seen.targets is None or seen.targets.ndim != 1 or self._batch.complete:
            return
        if self._epoch is None:
            self._epoch = epoch
            fit = VALUES // max(1, few_pixels(seen.inputs[:1]).numel())
            self._batch.restrict(max(1, min(-(-IMAGES // processes), fit)))
            self._batch.begin(batches)
        if self._batch.kept < self._batch.images:
            self._batch.add(few_pixels(seen.inputs), None, seen.targets)

    @property
    def wanting(self) -> bool:
        """Whether there are not images enough yet."""
        if self._over or self._batch.complete:
            return False
        return self._epoch is None or self._batch.kept < self._batch.images

    def fixed(self) -> tuple[Tensor, Tensor]:
        """The images and labels, on the CPU; none where none were kept."""
        self._batch.fix()
        inputs, targets = self._batch.inputs, self._batch.targets
        if inputs is None or targets is None:
            return torch.zeros(0, 1), torch.zeros(0, dtype=torch.int64)
        return inputs, targets.long()


def few_pixels(images: Tensor) -> Tensor:
    """Images averaged over squares of pixels, so that a side has no more than twice :data:`SIDE`; others as they are.

    Example:
        >>> few_pixels(torch.zeros(2, 3, 224, 100)).shape, few_pixels(torch.zeros(2, 3, 24, 24)).shape
        (torch.Size([2, 3, 16, 16]), torch.Size([2, 3, 24, 24]))
    """
    images = images.float()
    if images.ndim != 4:
        return images
    sides = [max(1, side // SIDE) for side in images.shape[2:]]
    return images if sides == [1, 1] else F.avg_pool2d(images, sides)


class Reading:
    """How many of a third of the images a small model of the others gets right once all have the content of one image.

    First a linear model in closed form, of the pattern of intensities and the mean of each channel; where it is no
    better than naming one class, a small convolutional network, see :class:`.SmallNetwork`. The linear model is read at
    once, the network step by step, so that each step can wait for its turn.

    Args:
        exchange: from receivers and donors to receivers with the donors' content.
        images: of training, on the CPU; validation may hold the same ones, or others than these. (n b h w), (n b t) or
            (n b).
        labels: (n).
        classes: number of classes c.
    """

    def __init__(self, exchange: Transplant, images: Tensor, labels: Tensor, classes: int) -> None:
        self.judged: Judged | None = None  #: how far it is known by now; None where there are too few images
        self._training: SmallNetworkTraining | None = None
        judged = torch.arange(len(images)) % 3 == 2
        donor, varied = images[typical_row(images)].unsqueeze(0), _features(images).std(0)
        images = torch.cat([exchange(part, donor.expand_as(part)) for part in images.split(256)]).float()
        known = (labels >= 0) & (labels < classes) & images.flatten(1).isfinite().all(1)
        learnt, judged = ~judged & known, judged & known
        if int(learnt.sum()) < A_CLASS * classes or int(judged.sum()) < A_CLASS * classes:
            return
        train, target, self._test, self._truth = images[learnt], labels[learnt], images[judged], labels[judged]
        features, tested = _features(train), _features(self._test)
        left = features.std(0) > ROUNDING * varied  # what rounding leaves of a content that was exchanged is no feature
        model = linear_discriminant(class_moments(features * left, target, classes))
        right = int((model.predict(tested * left) == self._truth).sum())
        often = int(self._truth.bincount(minlength=classes).max())
        self.judged = Judged(right, often, len(self._truth))
        nothing = judge(*self.judged).low <= often / len(self._truth)
        if images.ndim == 4 and images[0, 0].numel() > 1 and nothing:
            center, spread = train.mean((0, 2, 3), keepdim=True), train.std((0, 2, 3), keepdim=True).clamp(min=1e-12)
            self._test = (self._test - center) / spread
            self._training = SmallNetworkTraining((train - center) / spread, target, classes, STEPS)

    @property
    def done(self) -> bool:
        """Whether the answer is known."""
        return self._training is None

    def step(self) -> None:
        """Train the small network a step further; after the last one, judge by it."""
        assert self._training is not None
        assert self.judged is not None
        if not self._training.done:
            self._training.step()
        if self._training.done:
            right = int(self._training.judge(self._test, self._truth).right.sum())
            self.judged = self.judged._replace(right=max(self.judged.right, right))
            self._training = None


def judge(right: int, often: int, images: int) -> Without:
    """The accuracy with its 95% interval; nan without images."""
    low, high = wilson(torch.tensor(right), torch.tensor(images))
    return Without(right / images if images else math.nan, float(low), float(high), often / max(images, 1))


def _features(images: Tensor) -> Tensor:
    """The pattern of the mean over the channels on 8 cells along each side, and means of channels; (n d), float64."""
    flat = rearrange(by_pixel(images), "n b p -> n p b").mean(1, keepdim=True)
    channels = F.adaptive_avg_pool1d(flat, min(CHANNELS, images.shape[1]))[:, 0]  # neighbours averaged, where many
    if images.ndim == 2:
        return channels.double()
    mean = images.mean(1, keepdim=True)
    if images.ndim == 3:
        pattern = F.adaptive_avg_pool1d(mean, min(CELLS, images.shape[2]))
    else:
        pattern = F.adaptive_avg_pool2d(mean, (min(CELLS, images.shape[2]), min(CELLS, images.shape[3])))
    return torch.cat([pattern.flatten(1), channels], 1).double()


class WithoutContents:
    """What is left to be had without each content that carried the decision, looked at once in a run, as time allows.

    Args:
        audit: of the data, made before: its answers stand where it has some; None: there is none.
        clock: gives seconds.
    """

    def __init__(self, audit: GivenAudit | None = None, clock: Callable[[], float] = time.perf_counter) -> None:
        self.audit, self.clock = audit, clock
        self.found: dict[str, Without | None] = {}  #: content -> without it; None: that cannot be told
        self.rest: dict[str, Without | None] = {}  #: content -> without all that the channels' statistics hold
        self.open: tuple[str, ...] = ()  #: contents that were begun, and are not known yet
        self._readings: dict[str, Reading] = {}  # of this rank, begun or done
        self._linear, self._step = LINEAR, STEP  # seconds

    def look(
        self,
        leading: Mapping[str, Transplant],
        sample: TrainingSample,
        classes: int,
        numbers: Mapping[str, str] | None = None,
        left: Callable[[], float] = lambda: math.inf,
    ) -> None:
        """Look at those that are not known yet; every rank must call it, with the same contents and audit.

        Args:
            leading: contents that carry the decision, and what exchanges them.
            sample: of training images.
            classes: number of classes c.
            numbers: content -> what an audit calls it, where that is something else; None: nowhere.
            left: seconds that may be spent by now; what they do not suffice for stays open for a later call.
        """
        for name in leading:
            if name not in self.found:
                self._ask(name, (numbers or {}).get(name, name))
        self.open = tuple(name for name in leading if name not in self.found)
        if not self.open:
            return
        images, labels = sample.fixed()
        told: dict[str, tuple[Judged | None, Judged | None]] = {}  # of contents that this rank is done with
        failed: Exception | None = None
        for name in self.open:
            made = {"itself": leading[name]}
            if _of_statistics(name) and len(images):
                made |= exchanges({"rest": "channel_statistics"}, images, None)[0]
            try:
                done = [self._go_on(f"{which}/{name}", made[which], images, labels, classes, left) for which in made]
                if all(done):
                    judged = [self._readings[f"{which}/{name}"].judged if len(images) else None for which in made]
                    told[name] = judged[0], judged[-1]
            except Exception as error:  # raised below: the other ranks wait for this one
                failed = failed or error
        everywhere = gather(told)
        if failed is not None:
            raise failed
        for name in self.open:
            if all(name in of_rank for of_rank in everywhere):
                self.found[name] = _joined([of_rank[name][0] for of_rank in everywhere])
                self.rest[name] = _joined([of_rank[name][1] for of_rank in everywhere])
        self.open = tuple(name for name in self.open if name not in self.found)

    def _go_on(
        self,
        key: str,
        exchange: Transplant,
        images: Tensor,
        labels: Tensor,
        classes: int,
        left: Callable[[], float],
    ) -> bool:
        """Read on what one exchange leaves, while there is time; whether that is known."""
        if not len(images):
            return True
        began = self.clock()
        if key not in self._readings:
            if left() < self._linear:
                return False
            self._readings[key] = Reading(exchange, images, labels, classes)
            self._linear = self.clock() - began
        reading = self._readings[key]
        while not reading.done and left() >= self._step:
            began = self.clock()
            reading.step()
            self._step = self.clock() - began
        return reading.done

    def _ask(self, name: str, called: str) -> None:
        """Take the audit's answer on a content, where it has one."""
        if self.audit is None or (itself := self._told(called)) is None:
            return
        rest = self._told("channel_statistics") if _of_statistics(name) else itself
        if rest is None and itself.nothing:
            rest = itself  # with more taken away there is no more
        if rest is not None:
            self.found[name], self.rest[name] = itself, rest

    def _told(self, called: str) -> Without | None:
        """What the audit read without a content; None: that is open."""
        assert self.audit is not None
        read = self.audit.without(called)
        return None if read is None else Without(*read, self.audit.chance)

    def audited(self, leading: Iterable[str], numbers: Mapping[str, str]) -> dict[str, Tensor]:
        """``audit_alone/<content>`` and ``audit_without/<content>``: accuracies, of contents that the audit looked at.

        Args:
            leading: contents that carry the decision.
            numbers: content -> what an audit calls it, where that is something else.
        """
        values: dict[str, float] = {}
        if self.audit is None:
            return {}
        for name in leading:
            called = AS_AUDITED.get(name, numbers.get(name, name))
            reading, most = self.audit.contents.get(called), self.audit.most_without(called)
            if reading is not None:
                values[f"audit_alone/{name}"] = reading.alone.value
                values[f"audit_without/{name}"] = math.nan if most is None else most.value
        return {key: torch.tensor(value, dtype=torch.float64) for key, value in values.items()}

    def figures(self, leading: Iterable[str], few_channels: bool) -> dict[str, Tensor]:
        """``without/<content>``, its lower end, and ``all_there_is/<content>`` of the contents that lead.

        Args:
            leading: contents that carry the decision.
            few_channels: whether the statistics of the channels are colour and contrast, and no spectrum: a spectrum
                without its total may hold all there is to know.
        """
        values: dict[str, float] = {}
        for name in leading:
            if name in self.open:
                continue
            itself, rest = self.found[name], self.rest[name]
            judged = [each for each in (itself, rest if few_channels else None) if each is not None]
            least = LEFT_OF_TEXTURE if name == "texture" else 0.0
            nothing = [each.nothing or each.adjusted()[1] < least for each in judged]
            values[f"all_there_is/{name}"] = float(any(nothing))
            if rest is not None and name != LEAVES_TRACES:
                values[f"without/{name}"], values[f"without_low/{name}"] = rest.adjusted()
        return {key: torch.tensor(value, dtype=torch.float64) for key, value in values.items()}

    def state_dict(self) -> dict[str, Any]:
        """Plain containers."""
        return {
            part: {name: None if known is None else list(known) for name, known in getattr(self, part).items()}
            for part in ("found", "rest")
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the checkpoint stood."""
        for part in ("found", "rest"):
            known = {name: None if given is None else Without(*given) for name, given in state[part].items()}
            setattr(self, part, known)


def _of_statistics(name: str) -> bool:
    """Whether a content is one of those that the statistics of the channels hold."""
    return name in OF_STATISTICS or name.startswith("channel")


def _joined(of_ranks: list[Judged | None]) -> Without | None:
    """The accuracy over all ranks that could tell."""
    known = [each for each in of_ranks if each is not None]
    return judge(*map(sum, zip(*known, strict=True))) if known else None
