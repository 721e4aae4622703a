"""An audit that was made before a training, as the run is given it: what each content tells of the labels."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lightning_failures.audit.data_audit import ContentReading, DataAudit, without_view
from lightning_failures.errors import InputError
from lightning_failures.functional.content_descriptors import CONTENTS
from lightning_failures.functional.estimate import Estimate

__all__ = ["GivenAudit", "read_audit"]

_FIX = "Pass what audit_data returned, or the file of `lightning-failures audit DATA --json FILE`."


class GivenAudit(NamedTuple):
    """What a run takes of an audit.

    Args:
        name: of the data.
        classes: with training images.
        channels: of an image.
        pixels: whether each pixel has a label.
        chance: accuracy of naming the most frequent class of the images that were held out.
        contents: content -> what linear models read with and without it; channels by number, ``"channel 0"``.
        trials: content -> what a small network reads without it, of those without which one was trained.
    """

    name: str
    classes: int
    channels: int
    pixels: bool
    chance: float
    contents: Mapping[str, ContentReading]
    trials: Mapping[str, Estimate]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "GivenAudit":
        """The audit of :meth:`.DataAudit.to_dict`."""
        given: dict[str, ContentReading] = {}
        for content, reading in data["contents"].items():
            # a channel may be called by its wavelength, and they stand in their order
            channels = sum(each.startswith("channel ") for each in given)
            name = f"channel {channels}" if content.startswith("channel ") else content
            without = reading["without"]
            given[name] = ContentReading(_estimate(reading["alone"]), None if without is None else _estimate(without))
        singles = [name for name in given if name not in CONTENTS]
        tried = [*CONTENTS, *([max(singles, key=lambda name: given[name].alone.value)] if singles else [])]
        trials = {
            name: _estimate(data["trials"][view]) for name in tried if (view := without_view(name)) in data["trials"]
        }
        chance, shape = float(data["chance"]["value"]), data["shape"]
        pixels, classes = data["unit"] == "pixels", int(data["classes"])
        return cls(str(data["name"]), classes, int(shape[0]), pixels, chance, given, trials)

    def most_without(self, content: str) -> Estimate | None:
        """The most that a model read without a content; None where that was not looked at."""
        reading, tried = self.contents.get(content), self.trials.get(content)
        found = [rest for rest in (None if reading is None else reading.without, tried) if rest is not None]
        return max(found, key=lambda rest: rest.low, default=None)

    def without(self, content: str) -> Estimate | None:
        """The same; None also where that is open, since a linear model read nothing and no network was tried."""
        most = self.most_without(content)
        return None if most is None or (most.low <= self.chance and content not in self.trials) else most

    def check(self, where: str, outputs: int, trained: int, channels: int, pixels: bool) -> None:
        """Refuse an audit that cannot be of the data of a run.

        Args:
            where: the public name to put into an error.
            outputs: classes that the network tells apart.
            trained: classes with training images.
            channels: of its inputs.
            pixels: whether each pixel has a label.

        Raises:
            InputError: classes, channels or what has a label differ.
        """
        words = {True: "pixels", False: "images"}
        run = f"{trained} of {outputs}" if trained < outputs else f"{outputs}"
        for differ, what, mine, theirs in (
            (self.channels != channels, "channels", str(self.channels), str(channels)),
            (not trained <= self.classes <= outputs, "classes", str(self.classes), run),
            (self.pixels != pixels, "labels", f"labels of {words[self.pixels]}", f"labels of {words[pixels]}"),
        ):
            if differ:
                given = f"{mine} in the audit {self.name!r}, {theirs} in the run"
                fix = "Audit the training and validation batches of this run."
                raise InputError(where, f"the audit is of other {what} than the run", given, fix)


def read_audit(source: DataAudit | str | Path, where: str = "read_audit") -> GivenAudit:
    """What a run takes of an audit, from the audit or from the file that it was written to.

    Args:
        source: what :func:`.audit_data` returned, or a file of ``lightning-failures audit --json`` on one data set.
        where: the public name to put into an error.

    Raises:
        InputError: a file that cannot be read, that is no audit or that holds several.
    """
    if isinstance(source, DataAudit):
        return GivenAudit.from_dict(source.to_dict())
    if not isinstance(source, str | Path):
        raise InputError(where, "this is no audit", f"a {type(source).__name__}", _FIX)
    try:
        data = json.loads(Path(source).read_text(encoding="utf-8"))
        audits = data.get("audits", [data])
    except OSError as error:
        raise InputError(where, "the audit cannot be read", f"{source}: {error.strerror}", _FIX) from error
    except (ValueError, AttributeError) as error:
        raise InputError(where, "this is no audit", f"{source}", _FIX) from error
    try:
        found = [GivenAudit.from_dict(each) for each in audits]
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        given = f"{source}: {type(error).__name__} {error}"
        raise InputError(where, "this is no audit", given, _FIX) from error
    if len(found) != 1:
        given = f"{source}: {', '.join(repr(each.name) for each in found) or 'none'}"
        raise InputError(where, "the file does not hold one audit", given, "Audit the data of this run alone.")
    return found[0]


def _estimate(given: Mapping[str, Any]) -> Estimate:
    """An estimate of strict JSON, where null is nan."""
    return Estimate(*(math.nan if given[part] is None else float(given[part]) for part in Estimate._fields))
