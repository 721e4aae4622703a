"""The failure bench: every kind of planted failure by network, over all seeds, as one table from all other benchmarks.

    python benchmarks/bench.py --out bench [--parts causes faults] [--seeds 4 5 6 7 8] [--only CASE CASE]
        [--networks cnn] [--cases FOLDER] [--fashion FOLDER] [--spectra FOLDER] [--processes 2] [--at PART=FOLDER]
        [--page-only] [--page docs/bench.md]
    python benchmarks/bench.py --small

Each part is one of the other benchmarks, with its own runs in a folder of its own below ``--out``. A run whose file
stands there is not done again, so that the bench can be broken off and taken up again: begin with an empty folder after
a change of the package. ``--at PART=FOLDER`` reads and fills another folder for one part, such as one that
benchmarks/causes.py has filled. The page is of all runs that stand in the folders; ``--page-only`` does none. The part
*given* needs ``--cases``, a folder with cases of one's own (benchmarks/given_cases.py), and *real shortcuts* a folder
of images (benchmarks/real_images.py); they are left out without.

``--small`` does a dozen runs afresh, in two minutes of one core: planted failures that are found and named rightly
today, and healthy runs. It fails where one is no longer found or named rightly, or a healthy run is called a failure.
"""

import argparse
import functools
import importlib.metadata
import platform
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import causes
import fault_injection
import planted_findings
import property_failures
import slices
import torch
import transplants
from faults import FAULTS
from given_cases import AS_GIVEN, TRUTHS, cases_of, truths_of
from judged_runs import line
from judgement import HEALTHY, Truth, findings_of, judge, told
from planted_causes import CASES
from planted_contents import PLANTS
from run_folder import Planned, RunFolder
from shares import middle, share, table

from lightning_failures import Finding

PAGE = Path(__file__).resolve().parents[1] / "docs" / "bench.md"
SET_ON = (1, 2, 3)  #: seeds on which thresholds were set, in every part that set any
SYMPTOM, NOTHING = "a symptom, no cause", "nothing"
HIT = 0.5  #: of the ten images that are most of all in a slice: from here on it is the slice that was planted

Record = Mapping[str, Any]


class Outcome(NamedTuple):
    """What one run gave, in whatever part it was done."""

    part: str
    case: str
    network: str
    seed: int
    planted: str  # the failure; empty: none
    detected: bool  # a warning or a failure stands at the end
    right: bool  # and names what is planted, and nothing else; of a healthy run: no alarm stands
    severe: bool | None  # it is as severe as it must be; None: not asked
    epoch: int | None
    lead: int | None  # epochs before the validation metric turned
    named: tuple[str, ...]  # what stands at the end, by the name it gives
    said: tuple[str, ...]  # false alarms that stand, in words
    passed: tuple[str, ...]  # false alarms that were cleared, in words
    findings: tuple[Finding, ...] = ()
    truth: Truth = HEALTHY


class Folders(NamedTuple):
    """Where the data lies that some parts need."""

    cases: Path | None = None
    fashion: Path | None = None
    spectra: Path | None = None


class Part(NamedTuple):
    """One benchmark as a part of the bench."""

    page: str  # its own page
    plan: Callable[[Sequence[int], Folders], list[Planned]]  # empty: what it needs is not there
    work: Callable[[Planned, Folders], dict[str, Any]]
    outcomes: Callable[[str, Record, Folders], list[Outcome]]  # of one record; empty: it counts nowhere


def by_findings(truth_of: Callable[[Record, Folders], Truth | None]) -> Callable[[str, Record, Folders], list[Outcome]]:
    """The outcome of a run by its findings, where it is known what is true of it."""

    def outcomes(part: str, record: Record, folders: Folders) -> list[Outcome]:
        truth = truth_of(record, folders)
        if truth is None:
            return []
        findings = tuple(findings_of(record))
        told_of = judge(truth, findings)
        return [
            Outcome(
                part=part,
                case=record["case"],
                network=record["network"],
                seed=record["seed"],
                planted=truth.name,
                detected=told_of.detected,
                right=told_of.cause_right if truth.failing else not told_of.alarms,
                severe=told_of.severity_right if truth.failing else None,
                epoch=told_of.epoch,
                lead=told_of.lead,
                named=names(truth, findings),
                said=told_of.alarms,
                passed=told_of.passing,
                findings=findings,
                truth=truth,
            )
        ]

    return outcomes


def names(truth: Truth, findings: Iterable[Finding]) -> tuple[str, ...]:
    """What the findings that stand name, each once; :data:`SYMPTOM` where none names anything, :data:`NOTHING`."""
    heard = [told(truth, each) for each in findings if each.standing and each.severity != "watch"]
    named = tuple(dict.fromkeys(name for name in heard if name))
    return named or ((SYMPTOM,) if heard else (NOTHING,))


def of_shortcuts(part: str, record: Record, folders: Folders) -> list[Outcome]:
    """A run of benchmarks/transplants.py; behaviour says whether there is something to be found."""
    follows, shares = record["follows"], record["shares"]
    if transplants.FEW_FOLLOW <= follows <= transplants.MOST:
        return []
    planted = "shortcut" if follows > transplants.MOST else ""
    contents, holds = transplants.named(shares), PLANTS[record["case"]].holds
    wrong = [name for name in contents if not planted or name not in holds]
    return [
        Outcome(
            part=part,
            case=record["case"],
            network=record["network"],
            seed=record["seed"],
            planted=planted,
            detected=bool(contents),
            right=not wrong and (bool(contents) or not planted),
            severe=None,
            epoch=None,
            lead=None,
            named=("shortcut",) if contents else (NOTHING,),
            said=tuple(f"shortcut {name}" for name in wrong),
            passed=(),
        )
    ]


def of_slices(part: str, record: Record, folders: Folders) -> list[Outcome]:
    """The samples of one run of benchmarks/slices.py; warned of is what counts."""
    found = []
    for one in record["evaluations"]:
        planted = "" if one["plant"] == "clean" else "slice_failure"
        loud = [name for name, low in one["slices"] if low > slices.WARNING]
        hit = bool(loud) and one["precision"] >= HIT
        found.append(
            Outcome(
                part=part,
                case=", ".join(word for word in (one["plant"], one["where"]) if word),
                network=record["network"],
                seed=record["seed"],
                planted=planted,
                detected=bool(loud),
                right=hit if planted else not loud,
                severe=None,
                epoch=None,
                lead=None,
                named=("slice_failure" if hit or not planted else "slice_failure of something else",)
                if loud
                else (NOTHING,),
                said=() if hit else tuple(f"slice_failure {name}" for name in loud),
                passed=(),
            )
        )
    return found


def plan_of_given(seeds: Sequence[int], folders: Folders) -> list[Planned]:
    """The cases of a folder of one's own, in their own networks."""
    return [] if folders.cases is None else causes.plan(folders.cases, list(cases_of(folders.cases)), [AS_GIVEN], seeds)


def plan_of_shortcuts(data: Sequence[str], networks: Sequence[str], seeds: Sequence[int]) -> list[Planned]:
    """All plants in some data."""
    cases = [name for name, plant in PLANTS.items() if plant.data in data]
    return [Planned(case, network, seed) for seed in seeds for network in networks for case in cases]


def folders_of_images(folders: Folders) -> dict[str, Path]:
    """The sets of images whose folders are known."""
    return {name: path for name, path in folders._asdict().items() if name != "cases" and path is not None}


def work_on_scene(planned: Planned, folders: Folders) -> dict[str, Any]:
    """A run of benchmarks/planted_findings.py."""
    return planted_findings.run(planned.case, planned.network, planned.seed, 8, 0.2)  # type: ignore[arg-type]


PARTS = {
    "causes": Part(
        "causes.md",
        lambda seeds, folders: causes.plan(None, list(CASES), list(causes.NETWORKS), seeds),
        lambda planned, folders: causes.work(planned, None),
        by_findings(lambda one, folders: CASES[one["case"]].truth if one["case"] in CASES else None),
    ),
    "given": Part(
        "causes.md",
        plan_of_given,
        lambda planned, folders: causes.work(planned, folders.cases),
        by_findings(
            lambda one, folders: (TRUTHS if folders.cases is None else truths_of(folders.cases)).get(one["case"])
        ),
    ),
    "faults": Part(
        "fault-injection.md",
        lambda seeds, folders: fault_injection.plan(
            list(fault_injection.NETWORKS), seeds, [*FAULTS, *fault_injection.HEALTHY_RUNS]
        ),
        lambda planned, folders: fault_injection.work(planned),
        by_findings(lambda one, folders: FAULTS[one["case"]].truth if one["case"] in FAULTS else HEALTHY),
    ),
    "properties": Part(
        "property-failures.md",
        lambda seeds, folders: property_failures.plan(seeds),
        lambda planned, folders: property_failures.work(planned),
        by_findings(lambda one, folders: property_failures.truth_of(one["case"])),
    ),
    "scenes": Part(
        "planted-findings.md",
        lambda seeds, folders: [
            Planned(case, network, seed)
            for seed in seeds
            for case in planted_findings.EXPECTED
            for network in planted_findings.RATES
        ],
        work_on_scene,
        by_findings(lambda one, folders: planted_findings.truth_of(one)),
    ),
    "shortcuts": Part(
        "transplants.md",
        lambda seeds, folders: plan_of_shortcuts(["digits"], list(transplants.NETWORKS), seeds),
        lambda planned, folders: transplants.work(planned, {}),
        of_shortcuts,
    ),
    "real shortcuts": Part(
        "transplants-real-data.md",
        lambda seeds, folders: plan_of_shortcuts(list(folders_of_images(folders)), list(transplants.NETWORKS), seeds),
        lambda planned, folders: transplants.work(planned, folders_of_images(folders)),
        of_shortcuts,
    ),
    "slices": Part(
        "slices.md",
        lambda seeds, folders: [
            Planned("digits" if folders.fashion is None else "fashion", "cnn", seed) for seed in seeds
        ],
        lambda planned, folders: slices.work(planned, folders.fashion),
        of_slices,
    ),
}

#: Runs of the small bench, on seeds on which no threshold was set; of each it is known what must be said.
SMALL = (
    ("causes", Planned("healthy", "cnn", 4)),
    ("causes", Planned("healthy", "resnet10t", 4)),
    ("causes", Planned("validation scaled otherwise", "cnn", 4)),
    ("causes", Planned("labels off by one", "cnn", 4)),
    ("causes", Planned("learnt by heart", "cnn", 4)),
    ("faults", Planned("learning rate times 10", "cnn", 4)),
    ("causes", Planned("learning rate over 100", "cnn", 4)),
    ("causes", Planned("dead units", "cnn", 4)),
    ("causes", Planned("NaN weights", "cnn", 4)),
    ("causes", Planned("batch norm lags", "resnet10t", 4)),
    ("faults", Planned("no zero_grad", "cnn", 4)),
    ("faults", Planned("copied images", "cnn", 4)),
    ("scenes", Planned("simple", "cnn", 4)),
)


def do(planned: Planned, part: str, folders: Folders) -> dict[str, Any]:
    """One run of a part."""
    return PARTS[part].work(planned, folders)


def small(runs: Sequence[tuple[str, Planned]] = SMALL) -> list[str]:
    """Do some runs afresh.

    Returns:
        What went wrong, a sentence for each run in which something did.
    """
    wrong = []
    for part, planned in runs:
        with tempfile.TemporaryDirectory() as nothing_done:
            work = functools.partial(do, part=part, folders=Folders())
            (record,) = RunFolder(Path(nothing_done)).fill([planned], work)
        print(line(record), flush=True)
        place = f"{planned.case} ({planned.network}, seed {planned.seed})"
        if record.get("crash"):
            wrong.append(f"{place} broke off: {record['crash'].splitlines()[-1]}")
            continue
        wrong += [f"{place}: {words}" for one in PARTS[part].outcomes(part, record, Folders()) if (words := lost(one))]
    return wrong


def lost(one: Outcome) -> str:
    """What is wrong with a run, in words; empty where all is right."""
    said = ", ".join(one.said or one.named)
    if not one.planted:
        return "" if one.right else f"nothing is planted, and there stands {said}"
    if not one.detected:
        return f"{one.planted} is not detected"
    if not one.right:
        return f"{one.planted} is detected and not named, or not alone: there stands {said}"
    return "" if one.severe is not False else f"{one.planted} is named, too mildly"


# -- the page

INTRODUCTION = """# The failure bench

How often a failure that was put into a run is found and named rightly, by kind of failure and network, summed over
seeds; and how often a healthy run is called a failure. Made from the runs of the other benchmarks by

    python benchmarks/bench.py --out bench

*detected*: a warning or a failure stands at the end of the run. *cause right*: what stands names what is planted, and
nothing that stands names anything else. *severity right*: it is as severe as it must be; empty where that is not asked.
*epoch*: at which it was raised. *lead*: how many epochs later the validation metric turned; empty where it never did.
Both are the median, with the least and the greatest. A finding that is "worth watching" counts as nothing. Shares have
Wilson's 95% intervals.

Some truths are known by behaviour alone. In the parts *shortcuts* and *real shortcuts* the planted cue is drawn anew: a
run counts as failing where more than half of the predictions follow it, as healthy where less than a fifth does, and
nowhere between. In *scenes* a run that passes the accuracy of the cue has left the cue behind, and is healthy. In
*slices* each sample of validation images is one run, and the slice counts as the planted one where at least five of
the ten images that are most of all in it were planted."""


OF_CONFUSION = f"""Rows: what is planted. Columns: what the findings that stand at the end name. A run counts in each
column whose name is given, so that a row may sum to more than its runs. *{SYMPTOM}*: something stands, and no
cause is proven."""

OF_ABLATION = """A detection is carried by a rule where a finding of that rule names what is planted; in brackets stands
in how many runs. *Lost without*: runs in which nothing names it any more once the findings of that rule are left out,
or all findings whose condition reads a figure of that monitor. What is measured to prove a cause stays in place: this
says which symptoms raise the alarm. Runs that have no findings of a monitor (*shortcuts*, *slices*) are not among
these."""


def page(outcomes: Sequence[Outcome], records: Mapping[str, Sequence[Record]]) -> str:
    """The whole page.

    Args:
        outcomes: of all runs.
        records: all runs by part, those that broke off or count nowhere included.
    """
    others = [one for one in outcomes if one.seed not in SET_ON]
    reported = others or list(outcomes)
    failing = [one for one in reported if one.planted]
    healthy = [one for one in reported if not one.planted]
    which = (
        "The tables below are of the seeds on which no threshold was set."
        if others
        else "There are only runs on seeds on which thresholds were set: these figures are not of other seeds."
    )
    parts = [
        INTRODUCTION,
        "## What was run",
        _provenance(),
        table(["part", "networks", "seeds", "runs", "broke off", "commits (runs)"], map(_run_row, records.items())),
        "*commits*: the last that changed the package; *dirty*: with changes that are in none. Each name in the first "
        "column has a page: " + ", ".join(f"[{part}]({PARTS[part].page})" for part in records) + "."
        f"{_not_run(records)}",
        "## Over all",
        table(
            ["runs", "detected", "cause right", "severity right", "healthy, an alarm stands", "an alarm passed"],
            [[name, *_overall(some)] for name, some in _divided(outcomes).items()],
        ),
        which,
        "## Kind of failure by network",
        table(
            ["planted", "network", "runs of", "detected", "cause right", "severity right", "epoch", "lead"],
            [_failing_row(*place, some) for place, some in _grouped(failing).items()],
        ),
        "## Healthy runs: false alarms",
        table(
            ["part", "network", "an alarm stands", "an alarm passed", "which (runs)"],
            [_healthy_row(*place, some) for place, some in _by_part(healthy).items()],
        ),
        "## Planted against said",
        OF_CONFUSION,
        confusion(reported),
        "## What carries which detection",
        OF_ABLATION,
        ablation(failing),
        _wrong_runs(reported),
        _not_counted(outcomes, records),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _not_run(records: Mapping[str, Sequence[Record]]) -> str:
    left = [part for part in PARTS if part not in records]
    return f" Parts of which there is no run here: {', '.join(left)}." if left else ""


def _provenance() -> str:
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "lightning", "timm"))
    return (
        f"Written with Python {platform.python_version()}, {packages}, {platform.machine()}; one thread for each run."
    )


def _run_row(item: tuple[str, Sequence[Record]]) -> list[str]:
    part, some = item
    broken = sum(bool(one.get("crash")) for one in some)
    networks, seeds = ({str(one[field]) for one in some} for field in ("network", "seed"))
    commits = _counted(one.get("commit") or "not noted" for one in some)
    return [part, ", ".join(sorted(networks)), ", ".join(sorted(seeds, key=int)), str(len(some)), str(broken), commits]


def _divided(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    seeds = ", ".join(map(str, SET_ON))
    found = {
        f"seeds {seeds}, on which thresholds were set": [one for one in outcomes if one.seed in SET_ON],
        "other seeds": [one for one in outcomes if one.seed not in SET_ON],
    }
    others = found["other seeds"] or list(outcomes)
    found |= {f"of these, {part}": [one for one in others if one.part == part] for part in PARTS}
    return {name: some for name, some in found.items() if some}


def _overall(some: Sequence[Outcome]) -> list[str]:
    failing, healthy = ([one for one in some if bool(one.planted) is there] for there in (True, False))
    return [
        share(one.detected for one in failing),
        share(one.right for one in failing),
        share(one.severe for one in failing if one.severe is not None),
        share(not one.right for one in healthy),
        share(bool(one.passed) for one in healthy),
    ]


def _grouped(failing: Iterable[Outcome]) -> dict[tuple[str, str], list[Outcome]]:
    found: dict[tuple[str, str], list[Outcome]] = {}
    for one in failing:
        found.setdefault((one.planted, one.network), []).append(one)
    return dict(sorted(found.items()))


def _by_part(healthy: Iterable[Outcome]) -> dict[tuple[str, str], list[Outcome]]:
    found: dict[tuple[str, str], list[Outcome]] = {}
    for one in healthy:
        found.setdefault((one.part, one.network), []).append(one)
    return found


def _failing_row(planted: str, network: str, some: Sequence[Outcome]) -> list[str]:
    asked = [one.severe for one in some if one.severe is not None]
    return [
        planted,
        network,
        _counted(one.part for one in some),
        share(one.detected for one in some),
        share(one.right for one in some),
        share(asked) if asked else "",
        middle(one.epoch for one in some),
        middle(one.lead for one in some),
    ]


def _healthy_row(part: str, network: str, some: Sequence[Outcome]) -> list[str]:
    which = _counted(text for one in some for text in one.said)
    return [part, network, share(not one.right for one in some), share(bool(one.passed) for one in some), which]


def confusion(outcomes: Sequence[Outcome]) -> str:
    """Planted failures against the names that stand; what is named rightly lies on the diagonal."""
    rows = sorted({one.planted for one in outcomes if one.planted})
    said = {name for one in outcomes for name in one.named}
    columns = [*(name for name in rows if name in said), *sorted(said - {*rows, SYMPTOM, NOTHING}), SYMPTOM, NOTHING]
    cells = []
    for planted in [*rows, ""]:
        some = [one for one in outcomes if one.planted == planted]
        counts = Counter(name for one in some for name in one.named)
        if some:
            cells.append([planted or "nothing", str(len(some)), *(str(counts[name] or "") for name in columns)])
    return table(["planted", "runs", *columns], cells)


def ablation(failing: Sequence[Outcome]) -> str:
    """Which rules and which monitors carry the detections of each failure, and what is lost without them."""
    rows = []
    for planted in sorted({one.planted for one in failing}):
        some = [one for one in failing if one.planted == planted and one.findings and _heard(one, one.findings)]
        if some:
            rules, columns = ([_carriers(some, of), _needed(some, of)] for of in (_rule, _monitors))
            rows.append([planted, str(len(some)), *rules, *columns])
    head = ["planted", "runs in which it is named", "by the rules (runs)", "lost without the rule (runs)"]
    return table([*head, "by figures of (runs)", "lost without these figures (runs)"], rows)


def _rule(finding: Finding) -> frozenset[str]:
    return frozenset({finding.rule or finding.kind})


def _monitors(finding: Finding) -> frozenset[str]:
    """The monitors whose figures the condition of a finding reads.

    Example:
        >>> fields = {"subject": "", "epoch": 1, "step": 9, "evidence": {"gap": 0.5}, "message": "It fails."}
        >>> both = "failures/factors/p_value/dark = 0 < 0.01, failures/causes/proven = 0 < 1, at 1 evaluation"
        >>> sorted(_monitors(Finding(kind="factor_failure", criterion=both, **fields)))
        ['causes', 'factors']
    """
    return frozenset(re.findall(r"failures/(\w+)/", finding.criterion))


def _heard(one: Outcome, findings: Iterable[Finding]) -> list[Finding]:
    """The findings that stand and name what is planted."""
    heard = [each for each in findings if each.standing and each.severity != "watch"]
    return [each for each in heard if told(one.truth, each) == one.planted]


def _carriers(some: Sequence[Outcome], of: Callable[[Finding], frozenset[str]]) -> str:
    found = [frozenset[str]().union(*map(of, _heard(one, one.findings))) for one in some]
    return _counted(name for names in found for name in sorted(names))


def _needed(some: Sequence[Outcome], of: Callable[[Finding], frozenset[str]]) -> str:
    """What no detection of a run is left without."""
    found = [frozenset[str].intersection(*map(of, _heard(one, one.findings))) for one in some]
    return _counted(name for names in found for name in sorted(names))


def _counted(words: Iterable[str]) -> str:
    return ", ".join(f"{word} ({count})" for word, count in Counter(words).most_common())


def _wrong_runs(outcomes: Sequence[Outcome]) -> str:
    rows = [[one.part, one.case, one.network, str(one.seed), words] for one in outcomes if (words := lost(one))]
    head = ["part", "case", "network", "seed", "what is wrong"]
    return "## Runs that are not all right\n\n" + table(head, rows) if rows else ""


def _not_counted(outcomes: Sequence[Outcome], records: Mapping[str, Sequence[Record]]) -> str:
    there, known = [(part, one) for part, some in records.items() for one in some], {one.case for one in outcomes}
    broken = [f"{one['case']} ({one['network']}, seed {one['seed']})" for _, one in there if one.get("crash")]
    open_cases = dict.fromkeys(one["case"] for part, one in there if part != "slices" and one["case"] not in known)
    said = [f"Runs that broke off, and count nowhere: {', '.join(broken)}."] if broken else []
    said += [f"Cases none of whose runs counts: {', '.join(open_cases)}."] if open_cases else []
    return " ".join(said)


# -- the command


def at_folder(text: str) -> tuple[str, Path]:
    """A part and its folder, from ``PART=FOLDER``."""
    part, equals, folder = text.partition("=")
    if not equals or part not in PARTS:
        raise argparse.ArgumentTypeError(f"{text!r} is not PART=FOLDER, with PART one of {', '.join(PARTS)}")
    return part, Path(folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, and write the page of all that stands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench"), help="folder of the folders of runs")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART")
    parser.add_argument("--seeds", nargs="+", type=int, default=[4, 5, 6, 7, 8])
    parser.add_argument("--only", nargs="+", metavar="CASE", help="these cases alone")
    parser.add_argument("--networks", nargs="+", metavar="NETWORK", help="these networks alone")
    parser.add_argument("--cases", type=Path, metavar="FOLDER", help="a folder with cases of your own")
    parser.add_argument("--fashion", type=Path, metavar="FOLDER", help="folder of Fashion-MNIST's files")
    parser.add_argument("--spectra", type=Path, metavar="FOLDER", help="folder of the tables of spectra")
    parser.add_argument("--at", nargs="+", type=at_folder, default=[], metavar="PART=FOLDER", help="runs lie there")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--page", type=Path, default=PAGE, help="where the tables are written")
    parser.add_argument("--page-only", action="store_true", help="do no run")
    parser.add_argument("--small", action="store_true", help="a dozen runs afresh; fails where a detection is lost")
    options = parser.parse_args(arguments)
    if options.small:
        if wrong := small():
            sys.exit("\n".join(wrong))
        return
    folders, where = Folders(options.cases, options.fashion, options.spectra), dict(options.at)
    records: dict[str, list[dict[str, Any]]] = {}
    for part in options.parts:
        folder = RunFolder(where.get(part, options.out / part))
        runs = [] if options.page_only else PARTS[part].plan(options.seeds, folders)
        runs = [one for one in runs if one.case in (options.only or [one.case])]
        runs = [one for one in runs if one.network in (options.networks or [one.network])]
        for record in folder.fill(runs, functools.partial(do, part=part, folders=folders), options.processes):
            print(part, line(record), flush=True)
        records[part] = folder.everything()
    there = {part: some for part, some in records.items() if some}
    if not there:
        parser.error("there is no run: the parts need data that was not given, or no run that is asked for exists")
    outcomes = [
        one
        for part, some in there.items()
        for record in some
        if not record.get("crash")
        for one in PARTS[part].outcomes(part, record, folders)
    ]
    options.page.write_text(page(outcomes, there))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
