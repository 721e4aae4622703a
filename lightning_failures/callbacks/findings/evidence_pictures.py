"""Pictures of images for the report, drawn at the end of a run beside the findings that they show."""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lightning_failures.callbacks.images.monitor import FailingImagesMonitor
from lightning_failures.callbacks.monitor import Monitor
from lightning_failures.records.finding import Finding
from lightning_failures.records.kind import CLASS_COLLAPSE, GENERALISATION_GAP
from lightning_failures.records.picture import Picture
from lightning_failures.reporting.figure_style import close, to_small_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_evidence"]

MOST = 4  # pictures of a run
#: Kinds of findings that speak of all images: the worst of all are shown.
OF_ALL = (GENERALISATION_GAP, CLASS_COLLAPSE)
LARGEST = 400_000  # bytes of one, so that a page of one run with its charts stays well below 3 MB


def draw_evidence(findings: Sequence[Finding], monitors: Sequence[Monitor]) -> list[Picture]:
    """Pictures of some findings, those of the first ones where there are many; none without matplotlib.

    A picture that cannot be drawn is its monitor's failure, and the others are drawn.

    Args:
        findings: that stand, the most severe first.
        monitors: of the run, by which they were found.
    """
    found: list[Picture] = []
    if find_spec("matplotlib") is None:
        return found
    shows = [each for each in monitors if isinstance(each, FailingImagesMonitor) and not each.idle]
    for finding in findings:
        for monitor in _finders(finding, [each for each in monitors if not each.idle]):
            with monitor.guard():
                _add(found, finding, monitor.evidence(finding))
            for shown in shows:
                with shown.guard():
                    sheet = _sheet(finding, monitor, shown)
                    _add(found, finding, {} if sheet is None else dict([sheet]))
    return found


def _add(found: list[Picture], finding: Finding, pictures: "Mapping[str, Callable[[], Figure | None]]") -> None:
    """Draw what is not among those of the finding by now, as every monitor of a run may be asked for one sheet."""
    for caption, make in pictures.items():
        known = (finding.rule, finding.subject, caption) in {(p.rule, p.subject, p.caption) for p in found}
        figure = make() if len(found) < MOST and not known else None
        if figure is None:
            continue
        png = to_small_png(figure)
        close(figure)
        if len(png) <= LARGEST:
            found.append(Picture(finding.rule, finding.subject, caption, b64encode(png).decode()))


def _sheet(
    finding: Finding, monitor: Monitor, shown: FailingImagesMonitor
) -> "tuple[str, Callable[[], Figure | None]] | None":
    """Failing images of a finding: those that carry what it is about; of some kinds, of all images."""
    carried = monitor.carriers(finding)
    if carried is None and finding.kind not in OF_ALL:
        return None
    return shown.sheet(carried, finding.subject)


def _finders(finding: Finding, monitors: Sequence[Monitor]) -> list[Monitor]:
    """The monitors that may have logged what a finding is about: a rule of a named one has its name behind its own."""
    named = [each for each in monitors if finding.rule.endswith(f" ({each.name})")]
    return named or [each for each in monitors if each.name == each.noun]
