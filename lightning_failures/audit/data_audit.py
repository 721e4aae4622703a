"""All that an audit found in data: figures with their intervals, and the risks that they show."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from torch import Tensor

from lightning_failures.audit.copies import DataCopies
from lightning_failures.audit.groups import GroupAudit
from lightning_failures.audit.inputs import InputDifference
from lightning_failures.audit.labels import LabelNames
from lightning_failures.functional.content_descriptors import CONTENTS
from lightning_failures.functional.estimate import Estimate
from lightning_failures.functional.label_directions import LabelDirections
from lightning_failures.records.strict_json import strict
from lightning_failures.spectrum.axes import Axis

__all__ = ["ContentReading", "DataAudit", "Risk", "linear_rung", "without_view"]

#: Contents that say little of what is to be seen on an image, the smallest first; beside them each channel's mean.
POOR = ("level", "channel", "colour", "channel_statistics", "texture", "border")
NEARLY = 0.9  # of what anything reaches above chance, from which a content alone gives nearly all


class Risk(NamedTuple):
    """One thing that the data invite."""

    kind: str
    severity: Literal["high", "moderate"]
    message: str
    advice: str
    evidence: Mapping[str, Estimate]

    def to_dict(self) -> dict[str, Any]:
        """As strict JSON has it."""
        evidence = {name: [strict(part) for part in value] for name, value in self.evidence.items()}
        return self._asdict() | {"evidence": evidence}


class ContentReading(NamedTuple):
    """Held-out accuracy of linear models, with and without one content of the images."""

    alone: Estimate  # from this content, and nothing else
    without: Estimate | None  # from images that all have this content of one image; None: not looked at


@dataclass(frozen=True)
class DataAudit:
    """What :func:`audit_data` found; every figure with its 95% interval."""

    name: str
    images: int  # read
    unit: str  # "images"; "pixels" where each has a label
    train: int  # that sums were made of
    held: int  # that accuracies are measured on
    classes: int  # with training images
    shape: tuple[int, ...]  # (b h w) or (b)
    channels: tuple[str, ...]
    cues: tuple[str, ...]  # the user's own
    chance: Estimate  # share of the largest class among those held out
    figures: dict[str, Estimate]  # offset_ratio, effective_rank, top1_share, half_slowdown, ...
    rungs: dict[str, Estimate]  # accuracy of each rung of the ladder, lowest first
    trials: dict[str, Estimate]  # accuracy of a small network by view; see image_views
    batch_trials: dict[str, Estimate]  # the same with each batch's own statistics in batch norm
    differences: dict[str, Estimate]  # of accuracies on the same images, paired
    directions: LabelDirections  # of the mean spectra
    main: int  # directions that hold 95% of their variance
    first: dict[int, Estimate]  # accuracy of a linear model of the first 1, 2, 4, ... directions
    without: dict[int, Estimate]  # of all but these
    mean: Tensor  # (b) over all pixels
    deviation: Tensor  # (b)
    axis: Axis | None
    best_channel: str
    copies: DataCopies
    notes: dict[str, str]  # what is left out or undefined -> why
    seconds: float
    inputs: InputDifference | None = None  # between training and held-out batches, where these were given
    labels: LabelNames | None = None  # whether held-out labels stand for other classes, where a network was trained
    longer: Estimate | None = None  # accuracy of the small network after more steps, where nothing read the labels
    longer_steps: int = 0  # of that training
    contents: Mapping[str, ContentReading] = field(default_factory=dict)  # what can carry the label
    whole: Estimate | None = None  # accuracy of a linear model of the whole image, beside these
    groups: GroupAudit | None = None  # what is read of groups that were not seen, where groups were given
    risks: tuple[Risk, ...] = ()  # what a network is likely to do wrong on these data, gravest first

    def __repr__(self) -> str:
        """What was audited, what reads its labels best, and the risks; all figures stand in the fields."""
        best = self.best
        lines = [
            f"DataAudit {self.name}: {self.images} {self.unit} of {self.classes} classes, shape {self.shape}",
            f"  best accuracy {best.value:.2f} ({best.low:.2f} to {best.high:.2f}), chance {self.chance.value:.2f}",
        ]
        return "\n".join([*lines, *(f"  {risk.severity}: {risk.message}" for risk in self.risks)])

    @property
    def linear(self) -> str:
        """The rung of the linear model of mean spectra."""
        return linear_rung(self.shape[0])

    @property
    def best(self) -> Estimate:
        """The highest accuracy that anything reached on images as they are: a rung, or the small network."""
        tried = [*self.rungs.values(), *(self.trials[name] for name in ("as_given", "standardised") if self.trials)]
        return max(tried, key=lambda estimate: estimate.value)

    @property
    def most(self) -> Estimate:
        """The highest accuracy that anything reached: as :attr:`best`, or a linear model of the image or a content."""
        others = [self.contents[kind].alone for kind in CONTENTS if kind in self.contents]
        found = [self.best, *others, *([self.whole] if self.whole else [])]
        return max(found, key=lambda estimate: estimate.value)

    @property
    def poor_content(self) -> str | None:
        """The smallest poor content that alone gives nearly all that anything reached; None: none does."""
        return next(iter(self.poor_contents), None)

    @property
    def poor_contents(self) -> tuple[str, ...]:
        """The poor contents that alone give nearly all that anything reached, the smallest first; one channel only."""
        chance = self.chance
        enough = max(chance.high, chance.value + NEARLY * (self.most.value - chance.value))
        channels = [kind for kind in self.contents if kind not in CONTENTS]
        best = max(channels, key=lambda kind: self.contents[kind].alone.value, default="")
        poor = (best if kind == "channel" else kind for kind in POOR)
        return tuple(kind for kind in poor if kind in self.contents and self.contents[kind].alone.low > enough)

    @property
    def open_contents(self) -> tuple[str, ...]:
        """Those of them without which a network is tried: the smallest, and where a linear model read nothing.

        Of a mark at the border the texture gives nearly all too, and is the smaller content; that nothing is left
        without the border only a network can tell.
        """
        nothing = []
        for kind in self.poor_contents:
            rest = self.contents[kind].without
            if kind == self.poor_content or (rest is not None and rest.low <= self.chance.value):
                nothing.append(kind)
        return tuple(nothing)

    @property
    def reads(self) -> bool:
        """Whether anything that was tried reads the labels better than naming the most frequent class always."""
        return self.best.low > self.chance.high

    def to_dict(self) -> dict[str, Any]:
        """All figures as strict JSON has them: nan is null."""
        directions = self.directions
        tables = ("figures", "rungs", "trials", "batch_trials", "differences", "first", "without")
        return {
            "name": self.name,
            "images": self.images,
            "unit": self.unit,
            "train": self.train,
            "held": self.held,
            "classes": self.classes,
            "shape": list(self.shape),
            "chance": _plain(self.chance),
            **{table: {str(key): _plain(value) for key, value in getattr(self, table).items()} for table in tables},
            "directions": {
                "variance": [strict(value) for value in directions.variance.tolist()],
                "label": [strict(value) for value in directions.label.tolist()],
                "collected": [strict(value) for value in directions.collected.tolist()],
                "null": strict(float(directions.null)),
                "null_high": strict(float(directions.null_high)),
                "hold_95_percent": self.main,
            },
            "best_channel": self.best_channel,
            "contents": {
                kind: {
                    "alone": _plain(reading.alone),
                    "without": None if reading.without is None else _plain(reading.without),
                }
                for kind, reading in self.contents.items()
            },
            "whole_image": None if self.whole is None else _plain(self.whole),
            "longer": None if self.longer is None else _plain(self.longer) | {"steps": self.longer_steps},
            "copies": self.copies.to_dict(),
            "groups": None if self.groups is None else self.groups.to_dict(),
            "notes": self.notes,
            "risks": [risk.to_dict() for risk in self.risks],
        }


def linear_rung(channels: int) -> str:
    """The rung of the ladder that is a linear model of mean spectra, as it is called with so many channels."""
    return {1: "mean_intensity", 3: "mean_color"}.get(channels, "mean_spectrum")


def without_view(content: str | None) -> str:
    """The view of the small network that a content is taken away from; one name for all channels."""
    return f"without_{content if content in CONTENTS else 'channel'}"


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {name: strict(value) for name, value in estimate._asdict().items()}
