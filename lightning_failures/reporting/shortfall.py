"""Where an accuracy falls short of what needs no network: chance, or a simple model on the same images."""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from lightning_failures.records.run_record import RunRecord
from lightning_failures.records.validation_keys import MEASURED
from lightning_failures.reporting.intervals import wilson

__all__ = ["Shortfall", "chance_key", "shortfall"]


class Shortfall(NamedTuple):
    """What an accuracy is not better than.

    Args:
        than: in a few words, to be said behind "the accuracy is": ``"no better than chance"``.
        figures: the same with its figures, to be said behind "the accuracy, 0.10, is".
    """

    than: str
    figures: str


def chance_key(record: RunRecord) -> str | None:
    """The logged key of the chance that words and pictures set beside the accuracy; None without one.

    It is the share of the most frequent class of the images that the accuracy is of; where that was not logged, of the
    images of training.

    Example:
        >>> from lightning_failures.records.run_record import Evaluation
        >>> of_training = {"failures/simplicity/model_accuracy": 0.4, "failures/simplicity/chance": 0.25}
        >>> chance_key(RunRecord("run", [Evaluation(0, 10, of_training)]))
        'failures/simplicity/chance'
        >>> of_validation = {"failures/collapse/accuracy": 0.4, "failures/collapse/chance": 0.22}
        >>> chance_key(RunRecord("run", [Evaluation(0, 10, of_training | of_validation)]))
        'failures/collapse/chance'
    """
    found = (f"{folder}chance" for folder, _, logged in _measured(record.last_values()) if _has_chance(logged))
    return next(found, None)


def shortfall(record: RunRecord) -> Shortfall | None:
    """Where the accuracy that monitors measured at the last evaluation falls short; None where it does not.

    It falls short of chance where that lies in or above its 95% interval; of the linear reference where the paired 95%
    interval of the difference says so; and of the best simple model where the 95% interval of the difference, made of
    those of both (Newcombe's), lies above 0. Where the images are not counted, only an accuracy that is not above
    chance falls short.

    Example:
        >>> from lightning_failures.records.run_record import Evaluation
        >>> values = {"accuracy": 0.104, "chance": 0.1, "images": 500.0}
        >>> logged = {f"failures/collapse/{name}": value for name, value in values.items()}
        >>> shortfall(RunRecord("run", [Evaluation(0, 10, logged)])).figures
        'not told from chance, 0.10, on 500 images (95% interval 0.08 to 0.13)'
    """
    measured = [(accuracy, logged) for _, accuracy, logged in _measured(record.last_values())]
    of_chance = [each for each in measured if _has_chance(each[1])][:1]
    tests = [(_of_chance, of_chance), (_of_reference, measured), (_of_rungs, measured)]
    return next((short for test, among in tests for each in among if (short := test(*each)) is not None), None)


def _has_chance(logged: dict[str, float]) -> bool:
    return math.isfinite(logged.get("chance", math.nan))


def _measured(values: dict[str, float]) -> Iterator[tuple[str, float, dict[str, float]]]:
    """The folder of each monitor that measured an accuracy, that accuracy, and all that the same monitor logged.

    Those that stand beside the chance of the same images come first; ``model_accuracy`` stands beside that of training.
    """
    for name in reversed(MEASURED):
        for key, accuracy in values.items():
            match = re.fullmatch(rf"(failures/[^/]+/){name}", key)
            if match and not math.isnan(accuracy):
                start = match[1]
                logged = {each.removeprefix(start): x for each, x in values.items() if each.startswith(start)}
                yield start, accuracy, logged


def _of_chance(accuracy: float, logged: dict[str, float]) -> Shortfall | None:
    chance, images = logged.get("chance", math.nan), logged.get("images", math.nan)
    if accuracy <= chance:
        return Shortfall("no better than chance", f"no better than chance, {chance:.2f}")
    low, high = wilson(accuracy, images)
    if low <= chance:
        within = f"(95% interval {low:.2f} to {high:.2f})"
        return Shortfall(
            "not told from chance", f"not told from chance, {chance:.2f}, on {images:,.0f} images {within}"
        )
    return None


def _of_reference(accuracy: float, logged: dict[str, float]) -> Shortfall | None:
    reference = logged.get("reference_accuracy", math.nan)
    if logged.get("low", math.nan) > 0 and reference > accuracy:
        return _below(reference, "linear model", " of each channel's mean")
    return None


def _of_rungs(accuracy: float, logged: dict[str, float]) -> Shortfall | None:
    best, images = logged.get("best_reach", math.nan), logged.get("images", math.nan)
    low, _ = wilson(best, images)
    _, high = wilson(accuracy, images)
    return _below(best, "simple model") if best - accuracy > math.hypot(best - low, high - accuracy) else None


def _below(accuracy: float, model: str, of: str = "") -> Shortfall:
    return Shortfall(f"below that of a {model}", f"below the {accuracy:.2f} of a {model}{of} on the same images")
