"""What the exchange of each kind of content costs, beside the forward passes that it needs anyway.

    python benchmarks/transplant_cost.py [--model resnet18] [--pixels 64] [--channels 3] [--images 32] [--repeats 3]
        [--page docs/transplant-cost.md]

Each content is exchanged alone, with ``lf.transplant``, on one thread. Beside it stand as many forward passes of as
many images as it runs. Seconds are those of the processor, medians of the repeats; networks are timm's, with random
weights.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

import lightning_failures as lf
from lightning_failures.interventions.transplants import KINDS, Transplanted

SETTINGS = (("resnet18", 64, 3),)


class Counted:
    """A network that counts the images that it is given."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.seen = 0

    def __call__(self, images: Tensor) -> Tensor:
        """Predict."""
        self.seen += len(images)
        answers: Tensor = self.network(images)
        return answers


def seconds(what: Callable[[], object], repeats: int) -> float:
    """Median of the processor's seconds."""
    what()
    found = []
    for _ in range(repeats):
        began = time.process_time()
        what()
        found.append(time.process_time() - began)
    return statistics.median(found)


def rows(model: str, pixels: int, channels: int, images: int, repeats: int) -> list[tuple[str, float, float, float]]:
    """Content, forward passes of the images that it needs, its seconds, and those of these passes alone."""
    torch.manual_seed(0)
    sized = {"img_size": pixels} if model.startswith("vit") else {}
    network = Counted(timm.create_model(model, num_classes=10, in_chans=channels, **sized).eval())
    receivers = torch.rand(images, channels, pixels, pixels)
    donors = receivers.roll(1, 0)
    with torch.no_grad():
        network.seen, once = 0, seconds(lambda: network(receivers), repeats)
    found = []
    for kind in KINDS:

        def exchange(kind: str = kind) -> Transplanted:
            with torch.no_grad():
                return lf.transplant(network, receivers, donors, [kind], batch_size=images)

        network.seen = 0
        if exchange().left_out:
            continue
        passes = network.seen / images
        found.append((kind, passes, seconds(exchange, repeats), passes * once))
    return found


def page(settings: list[tuple[str, int, int]], images: int, repeats: int) -> str:
    """The tables, in Markdown."""
    lines = [
        "# What the exchange of one content costs",
        "",
        f"Made by `python benchmarks/transplant_cost.py`: {images} images, one thread, the processor's seconds, median",
        f"of {repeats}; {platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}.",
        "*Passes*: how often all images are run, their own predictions included. *More*: seconds of the exchange over",
        "those of the passes alone: 1.00 is nothing beside them.",
    ]
    for model, pixels, channels in settings:
        lines += ["", f"## {model}, {pixels} pixels a side, channels: {channels}", ""]
        lines += ["| content | passes | seconds | of the passes alone | more |", "|---|---|---|---|---|"]
        for kind, passes, took, alone in rows(model, pixels, channels, images, repeats):
            lines.append(f"| {kind} | {passes:.3g} | {took:.2f} | {alone:.2f} | {took / alone:.2f} |")
            print(lines[-1], flush=True)
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    for name, default in (("pixels", 64), ("channels", 3), ("images", 32), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = [(options.model, options.pixels, options.channels)] if options.model else list(SETTINGS)
    text = page(settings, options.images, options.repeats)
    if options.page is not None:
        options.page.write_text(text)


if __name__ == "__main__":
    main()
