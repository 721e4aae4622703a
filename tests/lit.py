"""What `LitLogger` speaks to, without an account: the real package where it is installed, and a stand-in elsewhere.

Nothing is sent: what would be is kept, as key, step and value.
"""

import sys
from types import ModuleType
from typing import Any

import pytest

__all__ = ["Experiment", "Image", "Series", "Text", "litlogger", "offline"]


class Text:
    """A text, to be shown."""

    def __init__(self, content: str, description: str = "") -> None:
        self._content = content


class Image:
    """A picture, to be shown."""

    def __init__(self, data: Any, format: str = "png", description: str = "") -> None:
        self._data = data


class Series:
    """What has a value at each step: figures, or media."""

    def __init__(self, experiment: "Experiment", key: str) -> None:
        self.experiment, self.key = experiment, key

    def append(self, value: "float | Text | Image", step: int | None = None) -> None:
        """Add one; a key that holds figures takes no media, and the reverse."""
        self.experiment.take(self.key, "metric" if isinstance(value, int | float) else "file_series", step, value)


class Experiment:
    """A run: by key a series, a text that describes it, or one medium."""

    def __init__(self) -> None:
        self.kinds: dict[str, str] = {}
        self.sent: list[tuple[str, int | None, Any]] = []

    def __getitem__(self, key: str) -> Series:
        """The series of a key, which may be new."""
        return Series(self, key)

    def __setitem__(self, key: str, value: "str | Text | Image") -> None:
        """Say the one value of a key."""
        if not isinstance(value, str | Text | Image):
            raise TypeError(f"Can only assign str or File, got {type(value).__name__}")
        self.take(key, "metadata" if isinstance(value, str) else "static_file", None, value)

    def finalize(self, status: str | None = None, print_summary: bool = True) -> None:
        """End the run."""

    def take(self, key: str, kind: str, step: int | None, value: Any) -> None:
        """Keep what would be sent."""
        if self.kinds.setdefault(key, kind) != kind:
            raise KeyError(f"Key {key!r} is already used as {self.kinds[key]}, cannot use as {kind}")
        self.sent.append((key, step, value))


def litlogger() -> ModuleType | None:
    """The real package; None where it is not installed."""
    try:
        import litlogger as found
    except ImportError:
        return None
    return found


def offline(patch: pytest.MonkeyPatch) -> Any:
    """An experiment that sends nothing, under the name of the package where that is not installed."""
    real = litlogger()
    if real is None:
        package = ModuleType("litlogger")
        package.__dict__.update(Experiment=Experiment, Image=Image, Text=Text)
        patch.setitem(sys.modules, "litlogger", package)
        return Experiment()

    class Offline(real.Experiment):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:  # what the real one begins with before it asks for an account
            self._key_types: dict[str, str] = {}
            self._series: dict[str, Any] = {}
            self._metadata_values: dict[str, str] = {}
            self._static_files: dict[str, Any] = {}
            self.sent: list[tuple[str, int | None, Any]] = []

        def _resolve_remote_model(self, key: str) -> None:
            return None

        def _log_metric_value(self, key: str, value: float, step: int | None = None) -> None:
            self.sent.append((key, step, value))

        def _log_file_series_value(self, key: str, value: Any, index: int, step: int | None = None) -> None:
            self.sent.append((key, step, value))

        def _set_metadata_value(self, key: str, value: str) -> None:
            self.sent.append((key, None, value))

        def _set_static_file(self, key: str, value: Any) -> None:
            self.sent.append((key, None, value))

        def finalize(self, status: str | None = None, print_summary: bool = True) -> None:
            """Nothing waits to be sent."""

    return Offline()
