"""Pages of the site that are made of what the package declares: findings, causes, examples, mathematics, names."""

import ast
import inspect
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch

import lightning_failures
from lightning_failures.callbacks.causes.case import ENOUGH, LEAST_GAIN
from lightning_failures.callbacks.causes.diagnose import CAUSE_TESTS
from lightning_failures.callbacks.columns import COLUMNS, standard_rules
from lightning_failures.functional.proportions import wilson
from lightning_failures.records.cause import CAUSES
from lightning_failures.records.kind import KINDS
from lightning_failures.records.rule import Rule
from lightning_failures.records.term import find_term

__all__ = [
    "DECLARED",
    "MEASURED_ON",
    "Said",
    "as_said",
    "declared",
    "filled",
    "generated",
    "healthy",
    "link_to",
    "plain_roles",
    "planted",
    "rows_of",
    "spelt_out",
]

DOCS = Path(__file__).parent
ROOT = DOCS.parent

#: What stands in a page written by hand, in place of what is made here.
DECLARED = "<!-- declared -->"

#: Pages of runs whose truth is known. Of the networks "as given" the first has the same runs and more.
MEASURED_ON = ("causes.md", "causes-other-networks.md", "fault-injection.md")


class Said(NamedTuple):
    """What was said of one case in one network, over its seeds."""

    page: str
    case: str
    network: str
    runs: int
    kind: str
    cause: str  # empty: none was named
    told: int  # runs in which it was said of the subject of which it was said most often


def rows_of(text: str) -> Iterator[dict[str, str]]:
    r"""The rows of all tables of a page, each by the heads of its columns.

    Example:
        >>> list(rows_of("| a | b |\n|---|---|\n| 1 | 2 |"))
        [{'a': '1', 'b': '2'}]
    """
    heads: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            heads = []
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not heads:
            heads = cells
        elif set(line) - set("|-: "):
            yield dict(zip(heads, cells, strict=True))


def planted() -> list[Said]:
    """All that was said of runs with a planted failure, on the pages of :data:`MEASURED_ON`."""
    found = []
    for page, row in _measured("detected"):
        most: dict[tuple[str, str], int] = {}
        for kind, cause, told in _told(row.get("said", row.get("said (runs)", ""))):
            most[kind, cause] = max(told, most.get((kind, cause), 0))
        case, runs = row.get("case", row.get("fault", "")), int(row["detected"].split(" of ")[1])
        found += [Said(page, case, row["network"], runs, *names, told) for names, told in most.items()]
    return found


def healthy() -> tuple[int, list[tuple[str, str, int]]]:
    """Healthy runs on the same pages: how many, and the kinds, causes and runs of the alarms that stood in them."""
    runs, alarms = 0, []
    for _, row in _measured("runs"):
        runs += int(row["runs"])
        alarms += _told(row.get("alarms that stand", row.get("alarms that stand (runs)", "")))
    return runs, alarms


def filled(uri: str, by_hand: str) -> str:
    """A page of a finding or of a cause: what was written by hand, and what is made here of the declarations.

    Of a finding its picture and what to try stand before "When it is wrong", and all else at the end.

    Args:
        uri: of the page: ``"finding/NAME.md"`` or ``"cause/NAME.md"``.
        by_hand: its text.
    """
    folder, name = uri.removesuffix(".md").split("/")
    if folder == "finding":
        opening, rest = by_hand.split("## When it is wrong")
        parts = [opening.strip(), _pictures(name), _advice(name), f"## When it is wrong{rest}"]
        by_hand = "\n\n".join(filter(None, parts))
    return by_hand.replace(DECLARED, declared(uri))


def declared(uri: str) -> str:
    """What replaces :data:`DECLARED` in the page of a finding or of a cause.

    Args:
        uri: of the page: ``"finding/NAME.md"`` or ``"cause/NAME.md"``.
    """
    folder, name = uri.removesuffix(".md").split("/")
    return _of_kind(name) if folder == "finding" else _of_cause(name)


def generated() -> dict[str, str]:
    """The pages that nobody wrote by hand, by where they stand."""
    return {
        "finding/index.md": _index("Findings", "finding", _TITLES_OF_KINDS, _FINDINGS),
        "cause/index.md": _index("Causes", "cause", _TITLES_OF_CAUSES, _CAUSES),
        "examples.md": _examples(),
        "contributing.md": (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
        "changes.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        **_mathematics(),
        **_public(),
    }


def as_said(markdown: str) -> str:
    r"""The page with each finding that it quotes in a box, whose lines break where the screen is narrow.

    Example:
        >>> quoted = "warning Class collapse, since epoch 2 (step 60)\n        Few classes.\n        Try: Less."
        >>> print(as_said(f"```\n{quoted}\n```"))
        <div class="said" markdown>
        <BLANKLINE>
        **warning** Class collapse, since epoch 2 (step 60)
        <BLANKLINE>
        Few classes.
        <BLANKLINE>
        **Try:** Less.
        <BLANKLINE>
        </div>
    """
    return re.sub(r"^```\n((?:failure|warning|watch) .*?)^```$", _box, markdown, flags=re.DOTALL | re.MULTILINE)


def _box(fence: re.Match[str]) -> str:
    read = _HEAD.match(" ".join(fence[1].split()))
    assert read is not None, fence[1]
    parts = re.split(r" (?=(?:Why|Tested and excluded|Still open|Try): )", read["rest"])
    parts = [re.sub(r"^(Why|Tested and excluded|Still open|Try):", r"**\1:**", part) for part in parts]
    return "\n\n".join(['<div class="said" markdown>', f"**{read[1]}** {read[2]}", *parts, "</div>"])


_HEAD = re.compile(
    r"(failure|warning|watch) (.*? epoch \d+ \(step [\d,]+\)"
    r"(?:, cleared at epoch \d+)?(?:, [^.]*? got worse)?) (?P<rest>.*)"
)


_ROLE = re.compile(r":(?:class|func|meth|data|mod|attr|exc):`~?\.?([^`]+)`")


def plain_roles(text: str) -> str:
    """The text with each reference in Sphinx' form as a name in code type.

    Example:
        >>> plain_roles("Raises :class:`.InputError`; see :func:`~lightning_failures.transplant`.")
        'Raises `InputError`; see `lightning_failures.transplant`.'
    """
    return _ROLE.sub(r"`\1`", text)


def spelt_out(markdown: str) -> str:
    r"""A page for those who read Markdown: with the docstrings themselves in place of what asks for them.

    Example:
        >>> page = spelt_out("# wilson\n\n::: lightning_failures.functional.proportions.wilson\n    options: {}\n")
        >>> "Wilson" in page, ":::" in page
        (True, False)
    """
    return re.sub(r"^::: ([\w.]+)\n(?: +.*\n)*", lambda found: _in_words(found[1]), markdown, flags=re.MULTILINE)


def _in_words(name: str) -> str:
    """The docstring of an object, or those of all that a module lists, each below its signature."""
    thing: Any = pkgutil.resolve_name(name)
    if isinstance(thing, ModuleType):
        inside = "\n".join(_in_words(f"{name}.{each}") for each in thing.__all__)
        return f"{plain_roles(inspect.getdoc(thing) or '')}\n\n{inside}"
    try:
        signature = f"{name.rsplit('.', 1)[1]}{inspect.signature(thing)}"
    except (TypeError, ValueError):  # a constant has none
        signature = name.rsplit(".", 1)[1]
    said = plain_roles(inspect.getdoc(thing) or "") if callable(thing) else repr(thing)
    return f"## {name.rsplit('.', 1)[1]}\n\n```python\n{signature}\n```\n\n{said}\n"


def link_to(target: str, page: str) -> str:
    """Where a link out of ``docs/`` leads on the site, seen from a page; a README is the front page.

    Args:
        target: as it stands in the page: ``"../examples/plain_loop.py"``.
        page: in which it stands, ``"guide.md"``.

    Example:
        >>> link_to("../examples/plain_loop.py", "guide.md"), link_to("../README.md", "problems/a.md")
        ('examples.md#plain_looppy', '../index.md')
    """
    up = "../" * page.count("/")
    path = re.sub(r"^(\.\./)+", "", target)
    if path == "README.md":
        return f"{up}index.md"
    if path in ("CONTRIBUTING.md", "CHANGELOG.md"):
        return up + {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changes.md"}[path]
    if path.startswith("examples"):
        return f"{up}examples.md" + (f"#{_anchor(Path(path).name)}" if "/" in path else "")
    return f"{up}{path.removeprefix('docs/')}"


_TITLES_OF_KINDS = {kind: each.title for kind, each in KINDS.items()}
_TITLES_OF_CAUSES = {name: each.title for name, each in CAUSES.items()}

_FINDINGS = (
    "What can be wrong with a run, worst first. Each page says what the finding means, from which figure on it is "
    "raised and where that threshold comes from, how often it was right on runs whose truth is known, when it is "
    "wrong, and what to do. Not to be told a finding at all: `rules=` takes any of their rules away ([guide](../"
    "guide.md#findings-and-checkpoints-that-do-not-fail))."
)
_CAUSES = (
    "Why a finding stands. The causes are tested in this order, and an earlier one explains what a later one would be "
    "blamed for. Where undoing a cause can be tried on the spot, it is: on fixed batches, one thing at a time. It then "
    f"explains a finding where the gain is above {LEAST_GAIN:g} at the lower end of its 95% interval and closes at "
    f"least {ENOUGH:.0%} of the gap; of several, that which closes most."
)


def _index(title: str, folder: str, names: Mapping[str, str], opening: str) -> str:
    lines = [f"- [{what}]({name}.md): {_first_sentence(DOCS / folder / f'{name}.md')}" for name, what in names.items()]
    return "\n".join([f"# {title}", "", opening, "", *lines, "", _overall() if folder == "finding" else ""])


def _overall() -> str:
    runs, alarms = healthy()
    stood = sum(told for _, _, told in alarms)
    share = _share(stood, runs)
    return (
        f"Over all kinds, in {runs} healthy runs an alarm stood at the end in {share}; see "
        f"[runs whose cause is known](../causes.md) and [faults put into runs](../fault-injection.md)."
    )


def _of_kind(kind: str) -> str:
    rules = [rule for rule in standard_rules() if rule.kind == kind]
    explaining = [each.name for each in CAUSE_TESTS if kind in each.explains]
    parts = [
        "## How often it is right",
        _measured_of(kind=kind),
        "## Which causes are tested",
        _listed(explaining, "cause", _TITLES_OF_CAUSES) or "None: the finding says by itself what is wrong.",
        "## From which figure on it is raised",
        "\n\n".join(map(_rule, rules)) or "It has no standard rule: " + _WITHOUT_RULE[kind],
        "## The figures",
        _figures(rules),
    ]
    return "\n\n".join(part for part in _without_empty_sections(parts)) + "\n"


def _advice(kind: str) -> str:
    """What its rules advise, each once."""
    said = dict.fromkeys(rule.advice for rule in standard_rules() if rule.kind == kind and rule.advice)
    return "\n\n".join(["## What to try", "\n".join(f"- {advice}" for advice in said)]) if said else ""


#: Pictures that other pages show already: what stands above them, and the files.
_SHOWN = {
    "untapped_information": (
        "The demo on raw radiance, and with each band standardised:",
        ("demo-raw.png", "demo-standardised.png"),
    ),
    "simple_cue_reliance": (
        "Each digit beside one that gives its colour, and the digit in that colour, which is predicted as the other:",
        ("transplants.png",),
    ),
}


#: What the pictures that show images show; the others are of the figure that a rule reads.
_IMAGES = {
    "data_fault": "Validation images, and below each the nearest training image; orange: the same byte for byte.",
    "slice_failure": "Sevens of validation: left, inverted; right, as they were. Orange: predicted as another digit.",
}


def _pictures(kind: str) -> str:
    """A sick and a healthy run, where there are pictures of them.

    ``monitor_error`` has none, since it is about no model; nor has ``own_rule``, which is about what its author wrote.
    """
    if kind in _IMAGES:
        said = _IMAGES[kind]
        made = f"Made by `python benchmarks/course_pictures.py --only {kind}`, seed 1."
        return f"![{said}](../pictures/{kind}.png)\n\n{said} {made}"
    if (DOCS / "pictures" / f"{kind}.png").exists():
        return (
            f"![The figure that the rule reads, in a planted run and in its healthy twin](../pictures/{kind}.png)\n\n"
            "Dashed: from where on it is raised. Dotted: when it was. No point: the figure was not defined. Made by "
            "`python benchmarks/course_pictures.py`, seed 1."
        )
    if kind not in _SHOWN:
        return ""
    said, files = _SHOWN[kind]
    shown = " ".join(f"![{said.rstrip(':')}](../{file})" for file in files)
    return "\n\n".join([said, f'<div class="pictures" markdown>\n\n{shown}\n\n</div>'])


def _of_cause(name: str) -> str:
    test = next(each for each in CAUSE_TESTS if each.name == name)
    place = [each.name for each in CAUSE_TESTS].index(name) + 1
    how = (
        "It is tested by an experiment, which undoes the cause and sees what that mends. Where the experiment could "
        "not be made, no later cause is named without an experiment of its own."
        if test.undoes
        else "It is told from figures that were logged."
    )
    parts = [
        "## How it is tested",
        f"It is number {place} of {len(CAUSE_TESTS)} in the [order of testing](index.md). {how}",
        "## Which findings it can explain",
        _listed(test.explains, "finding", _TITLES_OF_KINDS),
        "## How often it is right",
        _measured_of(cause=name),
    ]
    return "\n\n".join(parts) + "\n"


_WITHOUT_RULE = {
    "own_rule": "you write it, and it is raised under this kind.",
    "monitor_error": "it is raised where a monitor fails.",
}


def _rule(rule: Rule) -> str:
    def all_of(conditions: Iterable[str]) -> str:
        return " and ".join(f"`{condition}`" for condition in conditions)

    listed = [f"raised where {all_of(rule.when)}"]
    listed += [f"one evaluation is enough where also {all_of(rule.plain_when)}"] if rule.plain_when else []
    listed += [f"the last evaluation of a run is enough where also {all_of(rule.last_when)}"] if rule.last_when else []
    listed += [f"cleared where {all_of(rule.clear)}" if rule.clear else "cleared as soon as that no longer holds"]
    severe = [
        f"a {severity} where also {all_of([each] if isinstance(each, str) else each)}"
        for severity, each in rule.severe_when.items()
    ]
    listed += [f"severity: {rule.severity}" + "".join(f"; {each}" for each in severe)]
    first = [f"epoch {rule.warmup} (counted from 0)"] if rule.warmup else []
    first += [f"step {rule.warmup_steps}"] if rule.warmup_steps else []
    listed += [f"no evaluation counts before {' and '.join(first)}"] if first else []
    listed += [f"evaluations in a row: {rule.persistence}"] if rule.persistence > 1 else []
    words = re.sub(r"\{(\w+)(?:[:!][^}]*)?\}", lambda found: f"⟨{found[1].replace('_', ' ')}⟩", rule.message)
    listed = [f"- {each[0].upper()}{each[1:]}." for each in listed]
    return "\n".join(
        [f"### `{rule.name}`", "", f"> {words}", "", *listed, f"- Where the thresholds come from: {rule.source}."]
    )


def _figures(rules: Sequence[Rule]) -> str:
    keys = dict.fromkeys(key for rule in rules for key in rule.evidence.values())
    lines = []
    for key in keys:
        _, noun, rest = key.split("/", 2)
        term = next((find_term(column.terms, rest) for column in COLUMNS if column.noun == noun), None)
        if term is not None:
            lines.append(f"- `{key}`: {term.meaning} ({term.range}; {term.direction})")
    return "\n".join(lines)


def _measured_of(kind: str = "", cause: str = "") -> str:
    """What stands in the tables of a kind or of a cause; at least that nobody measured it."""
    said = [each for each in planted() if (each.kind == kind if kind else each.cause == cause)]
    runs, alarms = healthy()
    false = sum(told for name, why, told in alarms if (name == kind if kind else why == cause))
    lines = []
    if said:
        lines += [
            "Runs with a planted failure in which it was said (of the subject of which it was said most often):",
            "",
        ]
        lines += [f"| planted | network | {'because of' if kind else 'finding'} | said in |", "|---|---|---|---|"]
        for each in said:
            other = _name_of_cause(each.cause) if kind else f"[`{each.kind}`](../finding/{each.kind}.md)"
            lines.append(f"| [{each.case}](../{each.page}) | {each.network} | {other} | {each.told} of {each.runs} |")
        if any(each.network == "as given" for each in said):
            lines += ["", '"As given": in the small network that the case comes with.']
    missed = _missed(kind, cause)
    if missed:
        lines += ["", "Runs in which it was planted, and nothing was said:", ""]
        lines += [f"- [{case}](../fault-injection.md), {network}: {count}" for case, network, count in missed]
    lines += ["", f"False alarms that stood at the end of healthy runs: {_share(false, runs)}."]
    if kind == "factor_failure":
        lines += _first_table("property-failures.md", "Images that nobody annotated")
    if kind == "slice_failure":
        lines += _first_table("slices.md", "Slices of garments")
    if kind == "simple_cue_reliance":
        for page in ("transplants.md", "transplants-real-data.md"):
            text = (DOCS / page).read_text(encoding="utf-8")
            told = re.findall(r"^- (Where (?:the predictions|they) follow.*)$", text, re.MULTILINE)
            lines += ["", f"[Planted shortcuts](../{page}):", "", *(f"- {each}" for each in told)]
    if kind and (scenes := _of_scenes(kind)):
        lines += ["", "On [planted scenes](../planted-findings.md):", "", *scenes]
    if not said and len(lines) == 2:
        lines = ["No run of the benchmarks holds it on purpose. " + lines[-1]]
    return "\n".join(lines)


def _missed(kind: str, cause: str) -> list[tuple[str, str, str]]:
    """Faults whose truth is this kind or cause, and in which nothing was found, from the page of faults."""
    truths = _truths_of_faults()
    rows = rows_of((DOCS / "fault-injection.md").read_text(encoding="utf-8"))
    found = []
    for row in rows:
        causes, kinds = truths.get(row.get("fault", ""), ((), ()))
        if "detected" in row and (kind in kinds if kind else cause in causes):
            seen, runs = map(int, row["detected"].split(" of "))
            if seen < runs:
                found.append((row["fault"], row["network"], f"{runs - seen} of {runs}"))
    return found


def _truths_of_faults() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Causes and kinds that are right of each fault, as benchmarks/faults.py says them."""
    tree = ast.parse((ROOT / "benchmarks" / "faults.py").read_text(encoding="utf-8"))
    (table,) = (node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "FAULTS")  # type: ignore[attr-defined]
    found = {}
    for name, fault in zip(table.keys, table.values, strict=True):  # type: ignore[attr-defined]
        given = [ast.literal_eval(each) for each in fault.args[1].args]
        found[name.value] = (tuple(given[0]), tuple(given[1]) if len(given) > 1 else ())
    return found


def _of_scenes(kind: str) -> list[str]:
    """In how many runs of each planted scene a kind was found, from the page of planted scenes."""
    text = (DOCS / "planted-findings.md").read_text(encoding="utf-8")
    lines = text.split("```")[1].strip().splitlines()
    heads = re.split(r"\s{2,}", lines[0])
    found = []
    for line in lines[1:]:
        row = dict(zip(heads, re.split(r"\s{2,}", line), strict=False))
        counts = [len(told.split()) for told in re.findall(rf"{kind}[^:;]*: ([\d -]+)", line)]
        if counts:
            found.append(f"- {row['case']}, {row['network']}: found in {max(counts)} of {row['runs']}")
    return found


def _first_table(page: str, what: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert table is not None
    return ["", f"{what} ([how it was measured](../{page})):", "", table[0].strip()]


def _measured(column: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows of the tables that have a column; runs in networks as given are counted on the first page alone."""
    for page in MEASURED_ON:
        for row in rows_of((DOCS / page).read_text(encoding="utf-8")):
            again = page != MEASURED_ON[0] and row.get("network") == "as given"
            if column in row and "network" in row and not again:
                yield page, row


def _told(text: str) -> list[tuple[str, str, int]]:
    """Kind, cause and runs of what a cell says: ``"no_learning because of no_signal (5); data_fault (1)"``."""
    found = []
    for part in filter(None, text.split("; ")):
        read = re.fullmatch(r"(?P<kind>\w+)(?P<subject>.*?)(?: because of (?P<cause>\w+))? \((?P<runs>\d+)\)", part)
        assert read is not None, part
        found.append((read["kind"], read["cause"] or "", int(read["runs"])))
    return found


def _share(some: int, of: int) -> str:
    """A count with its share and Wilson's interval: "2 of 60: 3% (1% to 11%)"."""
    interval = wilson(torch.tensor(some), torch.tensor(of))
    return f"{some} of {of}: {some / of:.0%} ({float(interval.low):.0%} to {float(interval.high):.0%})"


def _name_of_cause(name: str) -> str:
    return f"[`{name}`](../cause/{name}.md)" if name else ""


def _listed(names: Iterable[str], folder: str, titles: Mapping[str, str]) -> str:
    return "\n".join(f"- [{titles[name]}](../{folder}/{name}.md)" for name in names)


def _first_sentence(page: Path) -> str:
    """The first sentence below the title of a page written by hand."""
    body = page.read_text(encoding="utf-8").split("\n", 1)[1].strip()
    paragraph = " ".join(body.split("\n\n")[0].split())
    return re.split(r"(?<=[.?!]) (?=[A-Z])", paragraph)[0]


def _without_empty_sections(parts: Sequence[str]) -> Iterator[str]:
    for head, body in zip(parts[::2], parts[1::2], strict=True):
        if body:
            yield head
            yield body


def _examples() -> str:
    """Each example with its first sentence and its source."""
    parts = ["# Examples", "Each runs as it stands, in a few seconds on one core; tests run them."]
    for path in sorted((ROOT / "examples").iterdir()):
        if path.suffix in (".py", ".yaml"):
            kind = "python" if path.suffix == ".py" else "yaml"
            parts += [f"## {path.name}", f"```{kind}\n{path.read_text(encoding='utf-8').rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-")


def _module_doc(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def _mathematics() -> dict[str, str]:
    """One page per module of the lowest floor, and their list."""
    folder = ROOT / "lightning_failures" / "functional"
    modules = {path.stem: _module_doc(path) for path in sorted(folder.glob("*.py")) if path.stem != "__init__"}
    opening = (
        "Every indicator is a sum that adds up across batches and processes, and one pure function of it. Each "
        "function says the shapes, ranges and units of what it takes and gives, when it is undefined, where its "
        "formula comes from, and has an example that tests run."
    )
    pages = {
        f"mathematics/{name}.md": (
            f"# {name.replace('_', ' ').capitalize()}\n\n::: lightning_failures.functional.{name}\n"
            "    options: {show_root_heading: false, show_root_toc_entry: false}\n"
        )
        for name in modules
    }
    listed = "\n".join(f"- [{name.replace('_', ' ')}]({name}.md): {said}" for name, said in modules.items())
    return {"mathematics/index.md": f"# Mathematics\n\n{opening}\n\n{listed}\n", **pages}


def _public() -> dict[str, str]:
    """One page per public name, and their list by where they live."""
    homes: dict[str, str] = lightning_failures._HOME
    every = lightning_failures.__all__
    pages = {
        f"public/{name}.md": (
            f"---\ntitle: {name}\n---\n\n::: lightning_failures.{homes[name]}.{name}\n"
            "    options: {heading_level: 1}\n"
        )
        for name in every
    }
    floors: dict[str, list[str]] = {}
    for name in every:
        floors.setdefault(homes[name].split(".")[0], []).append(name)
    parts = ["# Public names", "`import lightning_failures as lf`, then `lf.NAME`."]
    for floor, names in floors.items():
        listed = (f"- [`{name}`]({name}.md): {_first_line(name)}" for name in names)
        parts += [f"## {floor.capitalize()}", "\n".join(listed)]
    return {"public/index.md": "\n\n".join(parts) + "\n", **pages}


def _first_line(name: str) -> str:
    said = (getattr(lightning_failures, name).__doc__ or "").strip().split("\n\n")[0]
    return plain_roles(" ".join(said.split()))
