"""Named cues of an image, the standard ones and the user's own: where they are read, and what each explains."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.cues import cue_edges
from lightning_failures.functional.reliance import reliance
from lightning_failures.metrics.cues import CueExplainedVariance
from lightning_failures.observe.batch_fields import Field, read_field
from lightning_failures.observe.observation import Observation

__all__ = ["STANDARD_CUES", "CueBins", "CueReader", "CueWatch", "cue_reliance", "why_no_reliance"]

#: Rungs of the ladder that are one number per image and can be exchanged by scaling it, in raw units.
STANDARD_CUES = ("total_absorbance", "grey_level")
BINS = 16
MOST_CLASSES = 128  # whose logits are summed by label and bin: 16 MB a cue
_WHERE = "SimplicityBiasMonitor(cues=...)"


class CueReader:
    """Reads the user's cues of a batch: one number per image, or per pixel.

    Args:
        cues: name -> path or callable into the batch.

    Raises:
        InputError: cues without names, or a name that cannot be one.
    """

    def __init__(self, cues: Mapping[str, Field] | None = None) -> None:
        if not isinstance(cues, Mapping | None):
            fix = "Pass name -> path or callable into the batch, such as {'scanner': 'meta.scanner'}."
            raise InputError(_WHERE, "cues have no names", repr(cues), fix)
        self.cues = dict(cues or {})
        for name in self.cues:
            if not name or "/" in name or "*" in name or name in STANDARD_CUES:
                fix = f"Use a name without / and *, other than {', '.join(STANDARD_CUES)}."
                raise InputError(_WHERE, "the name of a cue cannot be used", repr(name), fix)

    def read(self, seen: Observation, device: torch.device) -> dict[str, Tensor]:
        """Name -> (n), or (n h w), float64, of the images that an observation has left.

        Args:
            seen: one batch.
            device: where the values go.
        """
        fields = {name: read_field(seen.batch, field, _WHERE) for name, field in self.cues.items()}
        return {n: seen.of_batch(self._one(n, found, seen.batch_images)).to(device) for n, found in fields.items()}

    def _one(self, name: str, found: Any, images: int) -> Tensor:
        try:
            values = torch.as_tensor(found)
        except (TypeError, ValueError, RuntimeError):
            given = f"a {type(found).__name__}"
            fix = "Pass a callable that gives numbers, such as the index of each scanner."
            raise InputError(_WHERE, f"the cue {name!r} holds no numbers", given, fix) from None
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim not in (1, 3) or len(values) != images:
            given = f"{tuple(values.shape)} for {images} images"
            raise InputError(
                _WHERE, f"the cue {name!r} does not have one value per image", given, "Give one number per image."
            )
        return values.detach().double()


class CueBins:
    """A cue cut into bins, fixed once, and the class that most training images of each bin have.

    Args:
        edges: inner edges of the bins; (q - 1).
        labels: most frequent class of each bin, -1 where it had no image; (q), int64.
    """

    def __init__(self, edges: Tensor, labels: Tensor) -> None:
        self.edges, self.labels = edges, labels

    @classmethod
    def fit(cls, values: Tensor, target: Tensor, num_classes: int) -> "CueBins":
        """Cut a sample: a cue of at most 16 different values, such as a scanner's index, at each of them.

        Args:
            values: the cue; (n), in the precision that it was computed in.
            target: classes; (n), int64.
            num_classes: number of classes c.

        Raises:
            InputError: a sample that cannot be cut: constant, NaN, or fewer images than bins.

        Example:
            >>> bins = CueBins.fit(torch.tensor([7.0, 3.0] * 8), torch.tensor([1, 0] * 8), num_classes=2)
            >>> bins.edges.tolist(), bins.predict(torch.tensor([3.0, 8.0, torch.nan])).tolist()
            ([5.0], [0, 1, -1])
        """
        edges = cue_edges(values, BINS)
        values = values.double().contiguous()  # a column of a sample is not
        kinds = values.unique()
        if len(kinds) <= BINS:
            edges = (kinds[1:] + kinds[:-1]) / 2
        known = (target >= 0) & (target < num_classes)
        place = torch.bucketize(values, edges, right=True)
        counts = torch.zeros((len(edges) + 1) * num_classes, dtype=torch.int64, device=values.device)
        counts.index_add_(0, place * num_classes + torch.where(known, target, 0), known.long())
        most = rearrange(counts, "(bins classes) -> bins classes", classes=num_classes).max(1)
        return cls(edges, torch.where(most.values > 0, most.indices, -1))

    def predict(self, values: Tensor) -> Tensor:
        """The class of each value's bin, -1 for NaN; (n), int64."""
        place = torch.bucketize(values.nan_to_num(), self.edges.to(values), right=True)
        return torch.where(values.isfinite(), self.labels.to(values.device)[place], -1)


class CueWatch:
    """What each cue explains of the logits over an evaluation.

    ``compute`` returns ``eta2/<cue>`` and ``eta2_within/<cue>``, from which the mean by chance is taken off. Nothing
    above 128 classes, whose sums by label and class would fill the memory.

    Args:
        bins: name -> the cue's bins.
        num_classes: number of logits c.
    """

    def __init__(self, bins: Mapping[str, CueBins], num_classes: int) -> None:
        some = bins if num_classes <= MOST_CLASSES else {}
        self.metrics = {name: CueExplainedVariance(cut.edges.cpu(), num_classes) for name, cut in some.items()}
        self.undefined: dict[str, str] = {}

    def begin(self, device: torch.device) -> None:
        """Forget all images."""
        for metric in self.metrics.values():
            metric.to(device).reset()

    def update(self, logits: Tensor, cues: Mapping[str, Tensor], target: Tensor) -> None:
        """Add logits (n c), the cues (n) by name, and classes (n), int64."""
        for name, metric in self.metrics.items():
            metric.update(logits, cues[name], target)

    def compute(self) -> dict[str, Tensor]:
        """Both shares of each cue, of all ranks."""
        values: dict[str, Tensor] = {}
        self.undefined = {}
        for cue, metric in self.metrics.items():
            found, why = metric.compute(), metric.undefined
            for key in ("eta2", "eta2_within"):
                values[f"{key}/{cue}"] = found[key]
                if key in why:
                    self.undefined[f"{key}/{cue}"] = why[key]
        return values


def cue_reliance(values: Mapping[str, Tensor], cues: Sequence[str]) -> dict[str, Tensor]:
    """How far the predictions rest on each of the user's cues, ``reliance/<cue>``; see :func:`.reliance`.

    Args:
        values: what was computed.
        cues: their names.
    """
    found = {}
    for cue in cues:
        eta2, eta2_within = (values.get(f"{key}/{cue}") for key in ("eta2", "eta2_within"))
        if eta2 is not None:
            found[f"reliance/{cue}"] = reliance(eta2=eta2, eta2_within=eta2_within)
    return found


def why_no_reliance(undefined: Mapping[str, str], cues: Sequence[str]) -> dict[str, str]:
    """Why a reliance is nan: what its witnesses say."""
    causes = {cue: (f"eta2_within/{cue}", f"eta2/{cue}") for cue in cues}
    known = {cue: [undefined[key] for key in keys if key in undefined] for cue, keys in causes.items()}
    return {f"reliance/{cue}": why[0] for cue, why in known.items() if why}
