"""A picture that shows what a finding says, drawn in the run, since no figure in the record tells what images hold."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_failures.records.finding import Finding

__all__ = ["Picture", "pictures_of"]


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture of images of a run.

    Args:
        rule: that raised the finding it belongs to.
        subject: of that finding.
        caption: what is seen, in plain sentences.
        png: the file, in base64.

    Example:
        >>> Picture("simple_cue_reliance", "colour", "Images.", "iVBORw0KGgo=").to_dict()["subject"]
        'colour'
    """

    rule: str
    subject: str
    caption: str
    png: str

    def to_dict(self) -> dict[str, str]:
        """Plain containers that strict JSON accepts."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Picture":
        """The picture of :meth:`to_dict`."""
        return cls(*(str(data[each.name]) for each in dataclasses.fields(cls)))


def pictures_of(finding: Finding, pictures: Sequence[Picture]) -> list[Picture]:
    """Those of some pictures that belong to a finding, as long as it stands.

    Args:
        finding: of a run.
        pictures: of the same run, drawn at its end.
    """
    return [
        each for each in pictures if finding.standing and (each.rule, each.subject) == (finding.rule, finding.subject)
    ]
