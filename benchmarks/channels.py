"""What attributing channels costs: ratios to one no-grad forward and to captum, peak memory, and cost against C.

    python benchmarks/channels.py [--channels 64 200] [--scaling 3 16 64 200 500 1000] [--monitor 3 64 200]
        [--json FILE]

timm's resnet10t on 16 images of 64 x 64, one thread. Everything is timed in one run, in seconds of the processor rather
than of the clock, so that other work on the machine weighs little; the forward is timed before and after each of them.
Peak memory is the resident set while a contender runs, above what was there before it, with freed memory handed back.

The monitor: one examination by the default ChannelAttributionMonitor (128 images, at most 20 bands, the null floor) in
training steps of 64 images, the share that it would take of an epoch of 50,000 images if it came every epoch, and the
share that it takes of a short run through a Lightning Trainer within its budget, the first one included.
"""

import argparse
import ctypes
import json
import platform
import statistics
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import timm
import torch
from captum.attr import FeatureAblation, FeaturePermutation, IntegratedGradients, ShapleyValueSampling
from lightning.fabric.utilities.warnings import PossibleUserWarning
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import ChannelAttributionMonitor, attribute_channels
from lightning_failures.attribution import open_task, resolve_groups, score_sets
from lightning_failures.errors import FailuresWarning
from lightning_failures.functional import shapley_plan, shapley_values

IMAGES, SIZE, BANDS, DRAWS = 16, 64, 10, 8

#: Independent orders with the error of so many draws, by :func:`shapley_error`.
ORDERS = 49
PAGE = 4096


class Peak:
    """The largest resident set while inside, above that at the start; MiB."""

    def __enter__(self) -> "Peak":
        if platform.libc_ver()[0] == "glibc":
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        self.start = self.most = self._resident()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.mebibytes = (self.most - self.start) / 2**20

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            self.most = max(self.most, self._resident())

    @staticmethod
    def _resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def seconds(work: Callable[[], Any]) -> float:
    """Time of the processor."""
    began = time.process_time()
    work()
    return time.process_time() - began


def build(channels: int) -> tuple[nn.Module, Tensor, Tensor]:
    """A network, images and targets."""
    torch.manual_seed(0)
    model = timm.create_model("resnet10t", pretrained=False, in_chans=channels, num_classes=10).eval()
    return model, torch.randn(IMAGES, channels, SIZE, SIZE), torch.randint(0, 10, (IMAGES,))


def forward(model: nn.Module, inputs: Tensor) -> Callable[[], Any]:
    """The unit: one forward without gradients."""

    def run() -> None:
        with torch.no_grad():
            model(inputs)

    return run


def training_step(model: nn.Module, inputs: Tensor, targets: Tensor) -> Callable[[], Any]:
    """For scale: one forward and backward."""

    def run() -> None:
        model.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        model.zero_grad()

    return run


def contenders(model: nn.Module, inputs: Tensor, targets: Tensor) -> dict[str, Callable[[], Any]]:
    """What is compared; one call each."""
    channels = inputs.shape[1]
    width = -(-channels // BANDS)
    base = inputs.mean((0, 2, 3), keepdim=True).expand_as(inputs)
    each = torch.arange(channels).view(1, -1, 1, 1)

    def ours(method: Any, bands: Any = None, **kwargs: Any) -> Callable[[], Any]:
        return lambda: attribute_channels(model, inputs, targets, method, bands, **kwargs)

    def captums(method: Any, *args: Any, **kwargs: Any) -> Callable[[], Any]:
        def run() -> None:
            with torch.no_grad():
                method(model).attribute(inputs, *args, target=targets, **kwargs)

        return run

    def integrated() -> None:
        IntegratedGradients(model).attribute(inputs, base, targets)

    return {
        "training step": training_step(model, inputs, targets),
        "gradient x input": ours("gradient_x_input"),
        "integrated gradients, 8 points": ours("integrated_gradients", draws=8, output="logit"),
        "captum integrated gradients, 50 points": integrated,
        "ablation by channel": ours("ablation"),
        "ablation by channel, with null floor": ours("ablation", null="head"),
        "captum ablation by channel": captums(FeatureAblation, base, feature_mask=each),
        "permutation by channel": ours("permutation"),
        "captum permutation by channel": captums(FeaturePermutation, feature_mask=each),
        "window-conditional permutation, 5 channels": ours("window_conditional_permutation"),
        f"Shapley, {BANDS} bands, {DRAWS} draws": ours("shapley", width, draws=DRAWS),
        f"Shapley, {BANDS} bands, 25 draws": ours("shapley", width, draws=25),
        f"captum Shapley, {BANDS} bands, {ORDERS} orders": captums(
            ShapleyValueSampling, base, feature_mask=each // width, n_samples=ORDERS
        ),
        f"captum Shapley, {BANDS} bands, 25 orders": captums(
            ShapleyValueSampling, base, feature_mask=each // width, n_samples=25
        ),
    }


def measure(channels: int) -> list[dict[str, Any]]:
    """Every contender at one number of channels."""
    model, inputs, targets = build(channels)
    once = forward(model, inputs)
    once()
    rows = []
    for name, work in contenders(model, inputs, targets).items():
        before = [seconds(once) for _ in range(3)]
        with Peak() as peak:
            cost = seconds(work)
        unit = statistics.median([*before, *(seconds(once) for _ in range(3))])
        rows.append({"channels": channels, "name": name, "forwards": cost / unit, "MiB": peak.mebibytes})
        print(f"C = {channels:4d}  {name:44s} {cost / unit:8.1f} forwards {peak.mebibytes:8.0f} MiB", flush=True)
    costs = {row["name"]: row["forwards"] for row in rows}
    for one, other in (
        ("ablation by channel", "captum ablation by channel"),
        ("permutation by channel", "captum permutation by channel"),
        (f"Shapley, {BANDS} bands, {DRAWS} draws", f"captum Shapley, {BANDS} bands, {ORDERS} orders"),
        (f"Shapley, {BANDS} bands, 25 draws", f"captum Shapley, {BANDS} bands, 25 orders"),
    ):
        print(f"C = {channels:4d}  {one} against {other}: {costs[other] / costs[one]:.1f} times", flush=True)
        rows.append({"channels": channels, "name": f"{one} against {other}", "times": costs[other] / costs[one]})
    return rows


def scaling(channels: int) -> dict[str, Any]:
    """Exact ablation of every channel, beside the C + 1 forwards of the plain way."""
    model, inputs, targets = build(channels)
    once = forward(model, inputs)
    once()
    before = [seconds(once) for _ in range(3)]
    with Peak() as peak:
        cost = seconds(lambda: attribute_channels(model, inputs, targets))
    unit = statistics.median([*before, *(seconds(once) for _ in range(3))])
    plain = channels + 1
    print(
        f"C = {channels:4d}  one forward {unit * 1e3:6.0f} ms, all {channels} channels exactly {cost / unit:7.1f} "
        f"forwards, {plain / (cost / unit):5.1f} times fewer than {plain}, {peak.mebibytes:6.0f} MiB",
        flush=True,
    )
    return {"channels": channels, "forward_s": unit, "ablation_s": cost, "forwards": cost / unit, "MiB": peak.mebibytes}


def shapley_error(repeats: int = 1000) -> dict[str, float]:
    """Error of pairs of sets, and of independent orders as captum draws them, by the scores of all 1,024 sets."""
    torch.manual_seed(0)
    model = timm.create_model("resnet10t", pretrained=False, in_chans=64, num_classes=10).eval()
    inputs, targets = torch.randn(8, 64, 32, 32), torch.randint(0, 10, (8,))
    every = shapley_plan(BANDS, 2**BANDS)
    groups = resolve_groups(inputs, 1, -(-64 // BANDS), None, None)
    with open_task(model, inputs, targets, groups.members, 1) as task:
        scores = score_sets(task, every.replaced)[0]
    truth = shapley_values(every, scores)[0].mean(0)
    powers = 2 ** torch.arange(BANDS)
    place = torch.empty(2**BANDS, dtype=torch.int64)
    place[(every.replaced.long() * powers).sum(1)] = torch.arange(2**BANDS)
    errors: dict[str, list[Tensor]] = {f"{DRAWS} draws of pairs": [], f"{ORDERS} independent orders": []}
    for seed in range(repeats):
        generator = torch.Generator().manual_seed(seed)
        plan = shapley_plan(BANDS, DRAWS, generator)
        ours = shapley_values(plan, scores[place[(plan.replaced.long() * powers).sum(1)]])[0].mean(0)
        theirs = torch.zeros_like(truth)
        for order in [torch.randperm(BANDS, generator=generator) for _ in range(ORDERS)]:
            along = place[torch.cat([torch.zeros(1, dtype=torch.int64), powers[order].cumsum(0)])]
            theirs[order] -= scores[along].mean(1).diff() / ORDERS
        for found, estimate in zip(errors.values(), (ours, theirs), strict=True):
            found.append((estimate - truth).square().mean())
    said = {name: float(torch.stack(found).mean().sqrt() / truth.abs().mean()) for name, found in errors.items()}
    for name, error in said.items():
        print(f"Shapley, {BANDS} bands: error of {name}, over the mean size of the values: {error:.3f}", flush=True)
    return said


class Trained(L.LightningModule):
    """An ordinary classifier."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = timm.create_model("resnet10t", pretrained=False, in_chans=channels, num_classes=10)

    def training_step(self, batch: Any, _: int) -> Tensor:
        """The loss of a batch."""
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    validation_step = training_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain."""
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def monitored(channels: int, epochs: int = 20, steps: int = 16, pixels: int = 16) -> dict[str, Any]:
    """What the default monitor takes of a training."""
    torch.manual_seed(0)
    images = TensorDataset(torch.randn(64 * steps, channels, pixels, pixels), torch.randint(0, 10, (64 * steps,)))
    loader = DataLoader(images, batch_size=64)
    watch = ChannelAttributionMonitor(on_error="raise")
    spent: list[float] = []
    examine = watch.examine

    def timed(*args: Any) -> None:
        spent.append(seconds(lambda: examine(*args)))

    watch.examine = timed  # type: ignore[method-assign]
    module = Trained(channels)
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=epochs, logger=False, callbacks=[watch], num_sanity_val_steps=0, **quiet
    )
    whole = seconds(lambda: trainer.fit(module, loader, loader))
    step = statistics.median(seconds(training_step(module.net.train(), *images[:64])) for _ in range(5))
    once = statistics.median(spent)
    share, of_run = once / (step * 50_000 / 64), sum(spent) / (whole - sum(spent))
    found = {"steps": once / step, "share_of_epoch": share, "examinations": len(spent), "share_of_run": of_run}
    print(
        f"C = {channels:4d}  one examination {once / step:6.1f} training steps, {share:.1%} of an epoch of 50,000 "
        f"images; {len(spent)} examinations in {epochs} epochs of {steps} steps, {of_run:.1%} of the run",
        flush=True,
    )
    return {"channels": channels, **found}


def main() -> None:
    """Run and print; with ``--json`` write as well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, nargs="*", default=[64, 200])
    parser.add_argument("--scaling", type=int, nargs="*", default=[3, 16, 64, 200, 500, 1000])
    parser.add_argument("--monitor", type=int, nargs="*", default=[3, 64, 200])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FailuresWarning)  # 8 points are few, which is their point here
    warnings.simplefilter("ignore", PossibleUserWarning)
    found = {
        "machine": f"{platform.machine()}, torch {torch.__version__}, one thread",
        "costs": [row for channels in options.channels for row in measure(channels)],
        "shapley_error": shapley_error() if options.channels else {},
        "scaling": [scaling(channels) for channels in options.scaling],
        "monitor": [monitored(channels) for channels in options.monitor],
    }
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
