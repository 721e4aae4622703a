"""The words of an audit that the console, the figure and the page share."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite, isnan

from lightning_failures.audit.data_audit import ContentReading, DataAudit, without_view
from lightning_failures.functional.estimate import Estimate
from lightning_failures.records.numbers import number

__all__ = [
    "CONTENT",
    "RUNGS",
    "SECTIONS",
    "VIEWS",
    "carriers",
    "compare",
    "describe",
    "facts",
    "group_facts",
    "in_digits",
    "rows",
    "two_digits",
]

SECTIONS = (
    "The inputs",
    "Images that occur more than once",
    "Directions: variance, labels, accuracy",
    "Simple models, in closed form",
    "A small network, briefly trained",
)

FIRST = (1, 2, 4, 8, 16, 32, 64)  # directions that are told of

RUNGS = {
    "total_absorbance": "total over the channels",
    "grey_level": "grey level",
    "pixel_intensity": "intensities of the pixels",
    "first_component": "first principal component",
    "best_channel": "best channel",
    "mean_spectrum": "linear in the mean spectrum",
    "mean_color": "linear in the mean colour",
    "mean_intensity": "mean intensity",
    "low_frequencies": "linear in a 2 x 2 grid",
}
VIEWS = {
    "as_given": "images as given",
    "standardised": "standardised",
    "spectra_only": "spectra alone, no shapes",
    "shapes_only": "shapes alone, no spectra",
    "without_mean_spectrum": "without the mean spectrum",
    "without_first_component": "without the first component",
    "without_total": "without the total",
    "without_level": "without the level",
    "without_channel": "without the channel that tells most",
    "without_colour": "without the colour",
    "without_channel_statistics": "without channel statistics",
    "without_texture": "without the texture",
    "without_border": "without the border",
}
#: The heading of what :func:`carriers` gives.
CONTENT = "What can carry the label"
_CONTENTS = {
    "level": "level: the mean of all values",
    "colour": "colour: shares of the channels",
    "channel_statistics": "means and deviations of channels",
    "texture": "texture: Fourier amplitudes",
    "border": "border: an eighth of each side",
    "low_frequencies": "low frequencies",
    "centre": "centre: all but the border",
}
_SHORT = {
    "level": "level",
    "colour": "colour",
    "channel_statistics": "means and deviations of the channels",
    "texture": "texture",
    "border": "border",
}
_FIGURES = {
    "offset_ratio": "mean over deviation",
    "effective_rank": "effective rank of the pixels",
    "image_effective_rank": "effective rank of image means",
    "half_slowdown": "variance ratio at half the labels",
}
_COMPARED = {
    *(_FIGURES[key] for key in ("offset_ratio", "image_effective_rank")),
    *(RUNGS[key] for key in ("first_component", "mean_spectrum", "mean_color")),
    *(VIEWS[key] for key in ("as_given", "standardised", "spectra_only", "shapes_only")),
}


def rows(audits: Sequence[DataAudit]) -> dict[str, list[tuple[str, list[Estimate | str | None]]]]:
    """Every figure of some audits: section -> (name, one cell an audit); None where an audit has none."""
    inputs: list[tuple[str, list[Estimate | str | None]]] = [
        (label, [audit.figures[key] for audit in audits]) for key, label in _FIGURES.items()
    ]
    inputs.insert(3, ("directions that hold 95%", [f"{audit.main} of {len(audit.channels)}" for audit in audits]))
    rungs = [("chance: the largest class", [audit.chance for audit in audits])]
    trials = _table(audits, VIEWS, lambda audit: audit.trials)
    if trials:
        batch = [audit.batch_trials.get("as_given") for audit in audits]
        trials.insert(1, ("  by each batch's statistics", list(batch)))
    mixed = len({audit.linear for audit in audits}) > 1  # a mean colour beside a mean spectrum

    def called(audit: DataAudit) -> Mapping[str, Estimate]:
        return {"mean_spectrum" if mixed and name == audit.linear else name: v for name, v in audit.rungs.items()}

    ladder = _table(audits, RUNGS, called)
    return dict(zip(SECTIONS, (inputs, _copies(audits), _directions(audits), [*rungs, *ladder], trials), strict=True))  # type: ignore[list-item]


def carriers(audits: Sequence[DataAudit]) -> list[tuple[str, list[ContentReading | None]]]:
    """What can carry the label: each content, and what is read from it alone and without it, one cell an audit.

    Of single channels, those that tell most. First the whole image, without which there is chance; none where the
    inputs have no content that was looked at.
    """
    if not any(audit.contents for audit in audits):
        return []
    channels = [
        kind
        for audit in audits
        for kind, reading in audit.contents.items()
        if kind not in _CONTENTS and reading.without is not None
    ]
    whole = [None if audit.whole is None else ContentReading(audit.whole, audit.chance) for audit in audits]
    return [
        ("the whole image", whole),
        *(
            (_CONTENTS.get(kind, kind), [audit.contents.get(kind) for audit in audits])
            for kind in (*_CONTENTS, *dict.fromkeys(channels))
            if any(kind in audit.contents for audit in audits)
        ),
    ]


def describe(audit: DataAudit) -> str:
    """What was audited, in one sentence."""
    size = f"{audit.shape[0]} channel{'s' * (audit.shape[0] != 1)}"
    if len(audit.shape) == 3:
        size = f"{audit.shape[1]} x {audit.shape[2]} pixels and {size}"
    return (
        f"{audit.train:,} training and {audit.held:,} held-out {audit.unit} of {size}, {audit.classes} classes; "
        f"{audit.seconds:.0f} s."
    )


def facts(audit: DataAudit) -> list[str]:
    """What holds whether or not it is a risk; one sentence each."""
    linear, chance = audit.rungs[audit.linear], audit.chance
    told = []
    copies = audit.copies
    if 0 < copies.leaked < 0.01 * copies.held:
        are = "is" if copies.leaked == 1 else "are"
        rows = ", ".join(str(row) for row, _ in copies.rows["leaked"])
        told.append(f"{copies.leaked:,} of {copies.held:,} held-out images {are} training images too: rows {rows}.")
    if linear.low > chance.high and len(audit.channels) > 1:
        hold = f"{audit.main} of {len(audit.channels)} directions hold"
        hold = hold if audit.main > 1 else f"One of {len(audit.channels)} directions holds"
        told.append(
            f"{hold} 95% of the variance of the mean spectra; a linear model of {'these' if audit.main > 1 else 'it'} "
            f"has {two_digits(audit.first[audit.main])}, of all directions {two_digits(linear)}."
        )
        slow = audit.figures["half_slowdown"]
        if slow.low > 10:
            sentence = (
                "Half of the label information lies where the variance is "
                f"{number(slow.value)} times smaller than along the main direction"
            )
            short = audit.differences.get("linear - standardised")
            if short is not None and short.value <= 0.05:
                sentence += "; a small network gets there all the same"
            told.append(sentence + ".")
    elif len(audit.channels) > 1:
        told.append(f"The mean spectra say nothing of the labels: a linear model of them has {two_digits(linear)}.")
    if audit.poor_content is not None:
        told.append(_leaning(audit, audit.poor_content))
    if audit.trials and {"spectra_only", "shapes_only"} <= audit.trials.keys() and len(audit.channels) > 1:
        spectra, shapes = audit.trials["spectra_only"], audit.trials["shapes_only"]
        told.append(
            f"Of the {two_digits(audit.trials['standardised'])} that a small network has on standardised images, "
            f"spectra alone give {two_digits(spectra)}, shapes alone {two_digits(shapes)}; chance is "
            f"{two_digits(chance)}."
        )
    return told


def group_facts(audit: DataAudit) -> list[str]:
    """What is told of the groups beside their table; none without groups."""
    found = audit.groups
    if found is None:
        return []
    unit = audit.unit
    lines = [
        f"{found.number} groups. {unit.capitalize()} of one group are no independent draws: intervals of single groups "
        f"are of their own {unit}, those over all groups count groups, and need four of them."
    ]
    if found.together:
        lines.append(f"Of more than 20 groups, several are left out together: {len(found.left_out)} times.")
    if isfinite(found.read.value):
        said = f"The group itself is read of {found.read.value:.0%} of the {unit} (most frequent: {found.chance:.0%})"
        if isfinite(found.read_within.value):
            said += f", and of {found.read_within.value:.0%} (most frequent: {found.chance_within:.0%}) within a class"
        lines.append(f"{said}. That alone is no fault.")
    if isfinite(found.robustness):
        lines.append(
            f"Robustness index {found.robustness:.2f}, or {found.robustness_snv:.2f} with each spectrum at mean 0 and "
            "deviation 1: of the nearest neighbours that share either class or group, the share that shares the class."
        )
    lost = sum(one.alone for one in found.left_out)
    if lost:
        lines.append(f"{lost:,} of the {unit} are of a class that stands in their group alone, and are not scored.")
    if found.both is None:
        lines.append("The held-out part was drawn at random across groups: pass batches that hold whole groups.")
    return lines


def compare(audits: Sequence[DataAudit]) -> list[str]:
    """What is alike in all audits, and what differs: figures whose intervals do not meet."""
    alike: list[str] = []
    differs: list[str] = []
    for section in rows(audits).values():
        for name, cells in section:
            found = [cell for cell in cells if isinstance(cell, Estimate) and isfinite(cell.value)]
            if len(found) < len(audits) or name not in _COMPARED:
                continue
            values = " and ".join(in_digits(cell)[0] for cell in found)
            apart = max(cell.low for cell in found) > min(cell.high for cell in found)
            (differs if apart else alike).append(f"{name} ({values})")
    names = " and ".join(audit.name for audit in audits)
    lines = [f"Different between {names}: {'; '.join(differs)}."] if differs else []
    return [*lines, f"Alike, within their intervals: {'; '.join(alike)}."] if alike else lines


def two_digits(estimate: Estimate) -> str:
    """A value with two digits."""
    return "undefined" if isnan(estimate.value) else f"{estimate.value:.2f}"


def in_digits(estimate: Estimate) -> tuple[str, str, str]:
    """A value and the ends of its interval, with as many digits each.

    Example:
        >>> in_digits(Estimate(0.841, 0.8, 0.9)), in_digits(Estimate(1886.2, 1720.0, 2069.0))
        (('0.84', '0.80', '0.90'), ('1,886', '1,720', '2,069'))
    """
    value, low, high = (number(part) if estimate.value >= 10 else f"{part:.2f}" for part in estimate)
    return value, low, high


def _leaning(audit: DataAudit, content: str) -> str:
    """That a poor content alone gives nearly all, and what there is without it."""
    reading, chance = audit.contents[content], audit.chance.value
    trial = audit.trials.get(without_view(content))
    found = [rest for rest in (reading.without, trial) if rest is not None]
    tried = [*(["a linear model"] if reading.without else []), *(["a small network"] if trial else [])]
    rest = max(found, key=lambda estimate: estimate.value)
    said = " and ".join(f"{two_digits(each)} in {name}" for name, each in zip(tried, found, strict=True))
    more = rest.low > chance + 0.5 * (audit.most.value - chance)
    called = f"the {_SHORT[content]}" if content in _SHORT else f"the mean of {content}"
    alone, most = two_digits(reading.alone), two_digits(audit.most)
    told = "more can be had, which a network may never look for" if more else "little else was found"
    return (
        f"{called[0].upper()}{called[1:]} alone {'give' if called.endswith('s') else 'gives'} {alone} of the {most} "
        f"that anything tried has, so that a network may lean on it. Without it there is {said}: {told}. Whether a "
        f"network leans on it, a run says: failures/simplicity/transplant/{content}."
    )


def _copies(audits: Sequence[DataAudit]) -> list[tuple[str, list[Estimate | str | None]]]:
    """How many images occur more than once."""

    def counted(some: str, of: str) -> list[Estimate | str | None]:
        return [f"{getattr(audit.copies, some):,} of {getattr(audit.copies, of):,}" for audit in audits]

    table = [
        ("held-out ones among the training images", counted("leaked", "held")),
        ("held-out ones equal to an earlier one", counted("repeated", "held")),
        ("held-out ones under another label too", counted("contradicting", "held")),
        ("training images equal to an earlier one", counted("train_repeated", "train")),
        ("training images under another label too", counted("train_contradicting", "train")),
    ]
    if any(isfinite(audit.copies.near.value) for audit in audits):
        table.append(("near copies of a training image", [audit.copies.near for audit in audits]))
        table.append(("  as near by chance", [audit.copies.by_chance for audit in audits]))
    return table


def _directions(audits: Sequence[DataAudit]) -> list[tuple[str, list[Estimate | str | None]]]:
    """Of the first so many directions: share of the variance, share of the label information, linear accuracy."""
    table: list[tuple[str, list[Estimate | str | None]]] = []
    for number_of in FIRST:
        if not any(number_of in audit.first and len(audit.first) > 1 for audit in audits):
            continue
        cells: list[Estimate | str | None] = []
        for audit in audits:
            if number_of not in audit.first:
                cells.append(None)
                continue
            variance, collected = audit.directions.variance, float(audit.directions.collected[number_of - 1])
            held = float(variance[:number_of].sum() / variance.sum())
            told = "-" if isnan(collected) else f"{collected:.0%}"
            cells.append(f"{held:.1%}  {told:>4}  {two_digits(audit.first[number_of])}")
        table.append((f"the first {number_of}" if number_of > 1 else "the first", cells))
    return table


def _table(
    audits: Sequence[DataAudit], names: Mapping[str, str], of: Callable[[DataAudit], Mapping[str, Estimate]]
) -> list[tuple[str, list[Estimate | str | None]]]:
    """One row a name that an audit has, in the order of the names, the users' own first."""
    own = [name for audit in audits for name in of(audit) if name not in names]
    found = [name for name in (*dict.fromkeys(own), *names) if any(name in of(audit) for audit in audits)]
    table: list[tuple[str, list[Estimate | str | None]]] = []
    for name in found:
        cells: list[Estimate | str | None] = [of(audit).get(name) for audit in audits]
        table.append((names.get(name, name), cells))
    return table
