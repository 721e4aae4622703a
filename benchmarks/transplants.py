"""Planted shortcuts in four networks: does the exchange of one content say what the predictions follow?

    python benchmarks/transplants.py --out transplants [--seeds 1 2 3] [--networks cnn resnet10t mobilenetv3 vit]
        [--only PLANT PLANT] [--processes 2] [--page docs/transplants.md]

Digits of scikit-learn carry a cue that goes with the class, always or in nine of ten images: colour, level, a mark at
the edge, a slow wave, a grating, the offset of one channel of sixteen; and twins without one. Each network is trained
without any monitor. Then the truth is measured by behaviour: the planted cue alone is drawn anew, and counted is how
often the prediction follows it. Beside it stands what ``lf.transplant`` says of 128 images without knowing the cue. A
run whose file stands in ``--out`` is not done again.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from digit_runs import cnn, ink_of_digits, resnet10t
from run_folder import Planned, RunFolder
from scipy.stats import spearmanr
from shares import share, table
from torch import Tensor, nn

import lightning_failures as lf
from lightning_failures.callbacks.simplicity.contents import FEW, unexplained
from lightning_failures.functional.transplants import CARRIES, leads
from lightning_failures.interventions import exchange_channel_statistics
from lightning_failures.observe import donor_rows

PAGE = Path(__file__).resolve().parents[1] / "docs" / "transplants.md"
SIZE, EPOCHS, RATE, BATCH, IMAGES = 32, 8, 2e-3, 64, 128
HUES = torch.tensor([[1, 0, 0], [1, 0.6, 0], [0.8, 1, 0], [0.2, 1, 0], [0, 1, 0.4], [0, 1, 1], [0, 0.4, 1], [0.2, 0, 1],
                     [0.8, 0, 1], [1, 0, 0.6]])  # fmt: skip
PLACES = [(0, 0), (0, 8), (0, 16), (0, 24), (8, 29), (18, 29), (29, 29), (29, 18), (29, 8), (18, 0)]
TITLE = "# Planted shortcuts in four networks: does the exchange of one content say what the predictions follow?"
CONTENTS = ("level", "colour", "channel", "channel_statistics", "low_frequencies", "texture", "border")


def in_colour(ink: Tensor, cue: Tensor) -> Tensor:
    """Ink of one of ten hues."""
    return ink * HUES[cue][:, :, None, None]


def in_grey(ink: Tensor, cue: Tensor) -> Tensor:
    """Ink as it is."""
    return ink


def of_level(ink: Tensor, cue: Tensor) -> Tensor:
    """Dark ink on paper of one of ten levels, in three channels."""
    return ((0.25 + 0.08 * cue)[:, None, None, None] * (1 - 0.5 * ink)).expand(-1, 3, -1, -1)


def with_mark(ink: Tensor, cue: Tensor) -> Tensor:
    """A bright mark at one of ten places of the edge."""
    images = ink.clone()
    for place, (row, column) in enumerate(PLACES):
        images[cue == place, :, row : row + 3, column : column + 3] = 3.0
    return images


def with_wave(ink: Tensor, cue: Tensor) -> Tensor:
    """A slow wave in one of ten directions."""
    return ink + 0.5 * _waves(cue * math.pi / 10, 1.0)


def of_grating(ink: Tensor, cue: Tensor) -> Tensor:
    """Ink that is filled with a fine grating in one of five directions, of a random phase."""
    phase = 2 * math.pi * torch.rand(len(ink), generator=torch.Generator().manual_seed(7))
    return ink * (0.5 + 0.5 * _waves((cue % 5) * math.pi / 5, 8.0, phase))


def with_offset(ink: Tensor, cue: Tensor) -> Tensor:
    """Smooth spectra of sixteen channels, the eleventh of which is offset by one of ten amounts."""
    axis = torch.linspace(0, 1, 16)
    band = (-((axis - 0.3) ** 2) / 0.02).exp()
    images = (0.6 + 0.3 * axis)[:, None, None] + ink * band[:, None, None]
    return images + 0.3 * cue[:, None, None, None] * (torch.arange(16) == 10).float()[:, None, None]


def _waves(angle: Tensor, number: float, phase: Tensor | float = 0.0) -> Tensor:
    pixels = 2 * math.pi * number * torch.arange(SIZE) / SIZE
    along = angle.cos()[:, None, None] * pixels + angle.sin()[:, None, None] * pixels[:, None]
    return (along + torch.as_tensor(phase).reshape(-1, 1, 1)).sin()[:, None]


class Plant(NamedTuple):
    """A cue, and how often it goes with the class."""

    draw: Callable[[Tensor, Tensor], Tensor]
    share: float
    named: tuple[str, ...]  # contents that are right to name; none: nothing is planted
    noise: float = 0.1


PLANTS = {
    "grey digits": Plant(in_grey, 0.0, ()),
    "random colour": Plant(in_colour, 0.0, ()),
    "random level": Plant(of_level, 0.0, ()),
    "random offset": Plant(with_offset, 0.0, (), 0.4),
    "colour": Plant(in_colour, 1.0, ("colour",)),
    "colour, 9 of 10": Plant(in_colour, 0.9, ("colour",)),
    "level": Plant(of_level, 1.0, ("level", "grey_level")),
    "level, 9 of 10": Plant(of_level, 0.9, ("level", "grey_level")),
    "mark": Plant(with_mark, 1.0, ("border",), 0.5),
    "slow wave": Plant(with_wave, 1.0, ("low_frequencies",), 0.2),
    "grating": Plant(of_grating, 1.0, ("texture",)),
    "offset of one channel": Plant(with_offset, 1.0, ("channel 10",), 0.4),
}


def mobilenetv3(channels: int, classes: int) -> nn.Module:
    """The small MobileNetV3 of timm at half its width."""
    model: nn.Module = timm.create_model("mobilenetv3_small_050", num_classes=classes, in_chans=channels)
    return model


def vit(channels: int, classes: int) -> nn.Module:
    """A transformer of four blocks on patches of four pixels a side."""
    size = {"img_size": SIZE, "patch_size": 4, "embed_dim": 96, "depth": 4, "num_heads": 4}
    model: nn.Module = timm.create_model("vit_tiny_patch16_224", num_classes=classes, in_chans=channels, **size)
    return model


NETWORKS = {"cnn": cnn, "resnet10t": resnet10t, "mobilenetv3": mobilenetv3, "vit": vit}


def work(planned: Planned) -> dict[str, Any]:
    """One run: train, measure what the predictions follow, and exchange contents."""
    plant, generator = PLANTS[planned.case], torch.Generator().manual_seed(planned.seed)
    ink, labels = ink_of_digits(generator)
    ink = nn.functional.interpolate(ink[:, None], size=(SIZE, SIZE), mode="bilinear")
    anything = torch.randint(10, labels.shape, generator=generator)
    cue = torch.where(torch.rand(labels.shape, generator=generator) < plant.share, labels, anything)
    noise = plant.noise * torch.randn(
        plant.draw(ink[:1], cue[:1]).expand(len(ink), -1, -1, -1).shape, generator=generator
    )
    raw = (plant.draw(ink, cue) + noise).clamp(min=0)  # as a detector gives it
    mean, deviation = raw.mean((0, 2, 3), keepdim=True), raw.std((0, 2, 3), keepdim=True)
    images = (raw - mean) / deviation
    torch.manual_seed(planned.seed)
    network = NETWORKS[planned.network](images.shape[1], 10)
    with torch.no_grad():
        network(images[:2])  # the sizes of lazy layers
    held = torch.arange(len(images)) >= 1280
    _fit(network, images[~held], labels[~held])
    new = torch.randint(10, labels.shape, generator=generator)
    changed = ((plant.draw(ink, new) + noise).clamp(min=0) - mean) / deviation
    with torch.no_grad():
        preds, after = (network(part[held]).argmax(1) for part in (images, changed))
    told = new[held] % 5 != preds % 5 if plant.draw is of_grating else new[held] != preds
    hit = after % 5 == new[held] % 5 if plant.draw is of_grating else after == new[held]
    some = images[held][torch.linspace(0, int(held.sum()) - 1, IMAGES).round().long()]
    with torch.no_grad():
        donors = some[donor_rows(network(some).argmax(1))]
    kinds = {name: name for name in ("level", "colour", "channel_statistics", "low_frequencies", "texture", "border")}
    if images.shape[1] > FEW:
        single = torch.eye(images.shape[1], dtype=torch.bool)
        kinds |= {f"channel {k}": exchange_channel_statistics(which) for k, which in enumerate(single)}
    found = lf.transplant(network, some, donors, kinds, denormalize=lambda x: x * deviation[0] + mean[0])
    shares = {name: (each.donor, each.own) for name, each in found.shares.items()}
    if images.shape[1] != 3:
        shares.pop("colour", None)
    beyond = unexplained(shares)
    named = [name for name, each in beyond.items() if each >= CARRIES and leads(*shares[name])]
    if images.shape[1] > FEW:
        named = [name for name in named if name != "channel_statistics"]
    return {
        "accuracy": float((preds == labels[held]).float().mean()),
        "follows": float(hit[told].float().mean()) if plant.draw is not in_grey else 0.0,
        "shares": shares,
        "controls": {name: each.control for name, each in found.shares.items()},
        "named": named,
        "findings": [],
        "crash": "",
    }


def _fit(network: nn.Module, images: Tensor, labels: Tensor) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * -(-len(images) // BATCH))
    network.train()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()
    network.eval()


def page(records: Sequence[Mapping[str, Any]]) -> str:
    """The whole page."""
    runs = [one for one in records if not one["crash"]]
    true = [one["follows"] for one in runs]
    most = [max((one["shares"].get(name, (0.0, 1.0))[0] for name in _named_of(one)), default=0.0) for one in runs]
    above = [one for one in runs if one["follows"] > 0.5]
    below = [one for one in runs if one["follows"] < 0.2]
    right = [bool(set(one["named"]) & set(PLANTS[one["case"]].named)) for one in above]
    head = ["plant", "network", "runs", "accuracy", "follows the cue", *CONTENTS, "named (runs)"]
    rows = []
    for case in dict.fromkeys(one["case"] for one in runs):
        for network in dict.fromkeys(one["network"] for one in runs):
            cell = [one for one in runs if (one["case"], one["network"]) == (case, network)]
            if cell:
                rows.append(_row(case, network, cell))
    rank = float(spearmanr(true, most).statistic) if len(runs) > 2 else math.nan
    parts = [
        TITLE,
        "Made by `python benchmarks/transplants.py`; what each run does stands at its head. Each figure is the mean "
        "over the seeds of the share of pairs that are predicted as the donor; *channel*: of the channel with the "
        "largest share, its mean and deviation exchanged.",
        f"- Where the predictions follow the planted cue in more than half of the cases, it is named: {share(right)}.\n"
        "- Where they follow in less than a fifth, nothing is named: "
        f"{share([not one['named'] for one in below])}.\n"
        f"- Rank correlation over all {len(runs)} runs of what follows and the share of the content that holds the "
        f"cue: {rank:.2f}.",
        table(head, rows),
    ]
    return "\n\n".join(parts) + "\n"


def _named_of(one: Mapping[str, Any]) -> Sequence[str]:
    """The contents that hold what was drawn anew."""
    holding = {in_grey: (), in_colour: ("colour",), of_level: ("level",), with_mark: ("border",)}
    holding |= {with_wave: ("low_frequencies",), of_grating: ("texture",), with_offset: ("channel 10",)}
    return holding[PLANTS[one["case"]].draw]


def _row(case: str, network: str, cell: Sequence[Mapping[str, Any]]) -> list[str]:
    def mean(values: Sequence[float]) -> str:
        known = [value for value in values if not math.isnan(value)]
        return f"{sum(known) / len(known):.2f}" if known else "-"

    def donor(one: Mapping[str, Any], content: str) -> float:
        if content == "channel":
            return max(
                (pair[0] for name, pair in one["shares"].items() if name.startswith("channel ")), default=math.nan
            )
        return one["shares"].get(content, (math.nan, math.nan))[0]

    named = [", ".join(one["named"]) or "nothing" for one in cell]
    said = ", ".join(f"{name} ({named.count(name)})" for name in dict.fromkeys(named))
    figures = [mean([one["accuracy"] for one in cell]), mean([one["follows"] for one in cell])]
    figures += [mean([donor(one, content) for one in cell]) for content in CONTENTS]
    return [case, network, str(len(cell)), *figures, said]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--only", nargs="+", choices=list(PLANTS), default=list(PLANTS), metavar="PLANT")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args(arguments)
    plan = [
        Planned(case, network, seed) for seed in options.seeds for network in options.networks for case in options.only
    ]
    folder = RunFolder(options.out)
    for record in folder.fill(plan, work, options.processes):
        print(record["case"], record["network"], record["seed"], record["crash"] or record.get("named"), flush=True)
    options.page.write_text(page(folder.records(plan)))


if __name__ == "__main__":
    main()
