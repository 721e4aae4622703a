"""Where the time went, and where it goes: a picture of three costs, before and after their mends.

    python benchmarks/profiles.py [--out docs/profiles] [--only monitors cues table] [--predictions FOLDER]
        [--json FOLDER]

Each piece of work runs in a process of its own on one thread, with the package as it was at the commit before the mend,
which git lays in a folder beside, and as it is now. A sampling profiler looks a thousand times a second at where the
program stands; what is not this package's, such as torch, counts for the function of this package that called it.
``--json`` keeps the seconds that a picture shows. Needs pyinstrument; ``table`` also
imagenet-x. The longest, ``monitors``, takes some ten minutes.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PREDICTIONS = ROOT.parent / "shared" / "data" / "imagenetx" / "model_predictions"
PACKAGE = "lightning_failures"
LEVELS = 5  # of calls within the package that are drawn
PASSED_ON = "observe.loss_listener.__torch_function__"  # what runs within it is the user's own
NARROW = 0.004  # of the width, below which a box is left out
LETTERS = 150  # of a name, over the whole width


@dataclass
class Span:
    """Time within one function, and within those that it calls; those of one name are one."""

    name: str
    seconds: float = 0.0
    calls: "dict[str, Span]" = field(default_factory=dict)

    def within(self, name: str) -> "Span":
        """The part that one function took which this one called."""
        return self.calls.setdefault(name, Span(name))

    def plain(self) -> dict[str, Any]:
        """As JSON: name, seconds and calls, the longest first."""
        calls = sorted(self.calls.values(), key=lambda call: -call.seconds)
        return {"name": self.name, "seconds": round(self.seconds, 4), "calls": [call.plain() for call in calls]}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Span":
        """What :meth:`plain` gave.

        Example:
            >>> whole = {"name": "all", "seconds": 2.0, "calls": [{"name": "sums", "seconds": 1.5, "calls": []}]}
            >>> Span.of(whole).plain() == whole
            True
        """
        calls = {call["name"]: cls.of(call) for call in plain["calls"]}
        return cls(plain["name"], float(plain["seconds"]), calls)


class Box(NamedTuple):
    """One function in a picture: from where to where, in seconds, and how deep."""

    name: str
    start: float
    seconds: float
    depth: int


def boxes(span: Span, narrowest: float, start: float = 0.0, depth: int = 0) -> Iterator[Box]:
    """What is drawn of a span: itself, and what it calls from its left edge on, the longest first.

    Args:
        span: the whole.
        narrowest: seconds below which a box is left out.
        start: where it begins, in seconds.
        depth: how deep it lies.

    Example:
        >>> whole = Span("all", 2.0, {"sums": Span("sums", 1.5), "rest": Span("rest", 0.001)})
        >>> [(box.name, box.start, box.depth) for box in boxes(whole, 0.01)]
        [('all', 0.0, 0), ('sums', 0.0, 1)]
    """
    yield Box(span.name, start, span.seconds, depth)
    if depth == LEVELS:
        return
    for call in sorted(span.calls.values(), key=lambda call: -call.seconds):
        if call.seconds >= narrowest:
            yield from boxes(call, narrowest, start, depth + 1)
        start += call.seconds


# -- the work


def all_monitors() -> Callable[[], object]:
    """A run of ResNet-18 at 64 pixels, 2,000 training and 500 validation images, six epochs, all monitors."""
    import lightning as L
    import torch
    from monitor_overhead import Classifier
    from torch.utils.data import DataLoader, TensorDataset

    from lightning_failures import failure_monitors

    def images(count: int, seed: int) -> DataLoader[Any]:
        generator = torch.Generator().manual_seed(seed)
        made = torch.randn(count, 3, 64, 64, generator=generator)
        return DataLoader(TensorDataset(made, torch.randint(0, 10, (count,), generator=generator)), 64)

    L.seed_everything(0, verbose=False)
    callbacks = failure_monitors()
    callbacks[-1].announce = "nothing"  # type: ignore[attr-defined]
    trainer = L.Trainer(
        max_epochs=6,
        accelerator="cpu",
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model, training, held = Classifier("resnet18", 10), images(2000, 0), images(500, 1)
    return lambda: trainer.fit(model, training, held)  # above a minute, from where on the budget is a share


def cue_of_many_classes() -> Callable[[], object]:
    """What a cue explains of the logits of 1,000 classes, 50,000 images in batches of 256."""
    import torch

    import lightning_failures as lf

    batches = [(torch.randn(256, 1000), torch.rand(256), torch.randint(0, 1000, (256,))) for _ in range(8)]
    metric = lf.CueExplainedVariance(torch.linspace(0.1, 0.9, 9), 1000)

    def work() -> None:
        for number in range(50_000 // 256):
            metric.update(*batches[number % 8])
        metric.compute()

    return work


def table_of_models() -> Callable[[], object]:
    """Error ratios by factor of four models, ten times from files of predictions and annotations."""
    import factors

    source = Path(os.environ["PREDICTIONS"])
    folder = Path(tempfile.mkdtemp())
    for path in sorted(source.glob("*.csv.gz")):
        for copy in range(2):
            stem = path.name.removesuffix(".csv.gz")
            (folder / f"{stem}_{copy}.csv").write_bytes(gzip.decompress(path.read_bytes()))

    def work() -> None:
        for _ in range(10):
            factors.our_ratios(factors.our_reading(folder))

    work()  # imports count for neither
    return work


class Cost(NamedTuple):
    """Work whose cost was mended, and the commit before."""

    work: Callable[[], Callable[[], object]]
    before: str
    title: str


COSTS = {
    "monitors": Cost(all_monitors, "23605f8^", "All monitors in a run of ResNet-18, six epochs"),
    "cues": Cost(cue_of_many_classes, "04eef26^", "A cue and 1,000 classes, 50,000 images"),
    "table": Cost(table_of_models, "69cb4e1", "Ten tables of factors of four models, from files"),
}


# -- the profile


def package_frame(path: str | None, function: str) -> str | None:
    """A function of this package by module and name; None where it is of another, or has no name of its own.

    Example:
        >>> package_frame("/x/lightning_failures/callbacks/collapse/monitor.py", "update")
        'collapse.monitor.update'
        >>> package_frame("/x/lightning_failures/data/csv_file.py", "<lambda>") is None
        True
        >>> package_frame("/x/torch/functional.py", "einsum") is None
        True
    """
    parts = Path(path or "").parts
    if PACKAGE not in parts or function.startswith("<"):
        return None
    parts = (*parts[:-1], Path(parts[-1]).stem)
    module = parts[len(parts) - parts[::-1].index(PACKAGE) :]
    return ".".join([*module[-2:], function])


def summed(frame: Any, into: Span) -> None:
    """Add the time of a profiler's frame, and of what it calls, to the functions of this package."""
    name = package_frame(frame.file_path, frame.function)
    if name is not None and name not in (PASSED_ON, into.name):
        into = into.within(name)
        into.seconds += frame.time
    for child in frame.children:
        summed(child, into)


def profiled(work: Callable[[], object], name: str) -> Span:
    """Where a piece of work spends its time, as far as this package is in it."""
    from pyinstrument import Profiler

    profiler = Profiler(interval=0.001, async_mode="disabled")
    with profiler:
        work()
    session = profiler.last_session
    assert session is not None
    whole = Span(name)
    root = session.root_frame()
    if root is not None:
        summed(root, whole)
    whole.seconds = sum(call.seconds for call in whole.calls.values())
    return whole


def in_process(name: str, folder: Path, options: argparse.Namespace) -> Span:
    """The profile of a piece of work in a process of its own, with the package of a folder."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(folder), str(folder / "benchmarks")]),
        "OMP_NUM_THREADS": "1",
        "PREDICTIONS": str(options.predictions),
    }
    command = [sys.executable, "-P", str(HERE / "profiles.py"), "--child", name]  # -P: its own benchmarks, not these
    done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True)
    return Span.of(json.loads(done.stdout.splitlines()[-1]))


def both(name: str, options: argparse.Namespace) -> dict[str, Span]:
    """The profile before the mend and now."""
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder) / "before"
        commit = COSTS[name].before
        subprocess.run(["git", "worktree", "add", "-q", "--detach", str(before), commit], check=True, cwd=ROOT)
        try:
            found = {"before": in_process(name, before, options)}
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(before)], check=True, cwd=ROOT)
    return found | {"now": in_process(name, ROOT, options)}


# -- the picture


def picture(title: str, found: Mapping[str, Span]) -> bytes:
    """Two bars on one axis, and beneath them where each spends its time, each as wide as the page.

    Args:
        title: what was done.
        found: by when.
    """
    from lightning_failures.reporting.figure_style import COLOURS, canvas, close, to_small_png

    shades = (COLOURS["second"], COLOURS["first"])
    with canvas(9.0, 1.1 + 1.7 * len(found)) as figure:
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)
        bars, *panels = figure.subplots(1 + len(found), 1, height_ratios=[1.1, *[2.6] * len(found)])
        seconds = [span.seconds for span in found.values()]
        bars.barh(list(found), seconds, color=shades, height=0.62)
        for place, value in enumerate(seconds):
            bars.text(value, place, f" {value:.3g} s", va="center", fontsize=7.5)
        bars.set(xlim=(0, max(seconds) * 1.08), xticks=[])
        bars.invert_yaxis()
        bars.spines[["left", "bottom"]].set_visible(False)
        bars.tick_params(left=False)
        for axes, (when, span), shade in zip(panels, found.items(), shades, strict=True):
            draw_boxes(axes, span, shade)
            axes.set_title(when, loc="left", fontsize=8.5)
        panels[-1].set_xlabel("seconds within this package; below a function is what it calls, the longest first")
        drawn = to_small_png(figure)
        close(figure)
    return drawn


def names(name: str) -> list[str]:
    """A function's name, and ever less of it.

    Example:
        >>> names("collapse.monitor.update")
        ['collapse.monitor.update', 'monitor.update', 'update']
    """
    parts = name.split(".")
    return [".".join(parts[left:]) for left in range(len(parts))]


def draw_boxes(axes: Any, span: Span, shade: str) -> None:
    """A span from edge to edge: a box for each function, with its name where that fits."""
    from matplotlib.patches import Rectangle

    from lightning_failures.reporting.figure_style import COLOURS

    for box in list(boxes(span, span.seconds * NARROW))[1:]:  # without the whole
        corner = (box.start, -box.depth)
        look = {"facecolor": shade, "alpha": 0.16 + 0.1 * (box.depth % 2), "edgecolor": COLOURS["paper"]}
        axes.add_patch(Rectangle(corner, box.seconds, 0.92, linewidth=0.6, **look))
        letters = int(box.seconds / span.seconds * LETTERS) - 1
        name = next((name for name in names(box.name) if len(name) <= letters), "")
        axes.text(box.start + span.seconds * 0.004, 0.44 - box.depth, name, va="center", fontsize=6.5)
    axes.set(xlim=(0, span.seconds), ylim=(-LEVELS, 0), yticks=[])
    axes.spines["left"].set_visible(False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Profile and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "profiles")
    parser.add_argument("--only", nargs="+", choices=list(COSTS), default=list(COSTS))
    parser.add_argument("--predictions", type=Path, default=PREDICTIONS, help="of two models, for the table")
    parser.add_argument("--json", type=Path, metavar="FOLDER")
    parser.add_argument("--child", choices=list(COSTS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child is not None:
        import torch

        torch.set_num_threads(1)
        print(json.dumps(profiled(COSTS[options.child].work(), options.child).plain()))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        found = both(name, options)
        seconds = {when: span.plain() for when, span in found.items()}
        if options.json is not None:
            options.json.mkdir(parents=True, exist_ok=True)
            (options.json / f"{name}.json").write_text(json.dumps(seconds, indent=1))
        (options.out / f"{name}.png").write_bytes(picture(COSTS[name].title, found))
        print(name, ", ".join(f"{span.seconds:.2f} s {when}" for when, span in found.items()))


if __name__ == "__main__":
    main()
