"""Planted shortcuts in four networks: does the exchange of one content say what the predictions follow?

    python benchmarks/transplants.py --out transplants [--data digits fashion spectra] [--fashion FOLDER]
        [--spectra FOLDER] [--seeds 1 2 3] [--networks cnn resnet10t mobilenetv3 vit] [--only PLANT PLANT]
        [--processes 2] [--page docs/transplants.md]

Images carry a cue that goes with the class, always or in nine of ten images, and twins of them one that goes with none
(benchmarks/planted_contents.py). ``digits``: scikit-learn's digits with colour, level, a mark at the edge, a slow wave,
a grating, the offset of one channel of sixteen. ``fashion``: garments of Fashion-MNIST with colour, a mark, a grating;
``--fashion`` is the folder of its files. ``spectra``: scenes of measured spectra of polymers in forty bands with the
level, the offset of one band; ``--spectra`` is the folder of the tables (benchmarks/real_images.py says where to have
both from). The page of digits is docs/transplants.md, that of others docs/transplants-real-data.md.

Each network is trained without any monitor. Then the truth is measured by behaviour: the planted cue alone is drawn
anew, and counted is how often the prediction follows it. Beside it stands what ``lf.transplant`` says of 128 images
without knowing the cue, and what others say of the same run (benchmarks/peers.py): the accuracy on validation images,
captum's attributions, and ImageNet-X' error ratios. A run whose file stands in ``--out`` is not done again: begin with
an empty folder after a change of the package.
"""

import argparse
import functools
import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from digit_runs import cnn, resnet10t
from peers import CAPTUM, METHODS, ErrorsByCue, attributions, can_name, errors_by_cue, named_parts
from planted_contents import PLANTS, as_it_is, twin
from real_images import IMAGES, why_missing
from run_folder import Planned, RunFolder
from scipy.stats import spearmanr
from shares import share, table
from torch import Tensor, nn

import lightning_failures as lf
from lightning_failures.callbacks.simplicity.contents import FEW, unexplained
from lightning_failures.functional.transplants import CARRIES, leads
from lightning_failures.interventions import cue_exchanges, exchange_channel_statistics, raw_units
from lightning_failures.observe import donor_rows

DOCS = Path(__file__).resolve().parents[1] / "docs"
SIZE, EPOCHS, RATE, BATCH, SHOWN = 32, 8, 2e-3, 64, 128
KINDS = ("level", "colour", "channel_statistics", "low_frequencies", "texture", "border")
CONTENTS = ("level", "colour", "channel", "channel_statistics", "low_frequencies", "texture", "border")
LEVELS = ("level", "grey_level", "total_absorbance")
MOST, FEW_FOLLOW = 0.5, 0.2  # of the predictions follow the cue: it is to be named; nothing is


def mobilenetv3(channels: int, classes: int) -> nn.Module:
    """The small MobileNetV3 of timm at half its width."""
    model: nn.Module = timm.create_model("mobilenetv3_small_050", num_classes=classes, in_chans=channels)
    return model


def vit(channels: int, classes: int) -> nn.Module:
    """A transformer of four blocks on patches of four pixels a side."""
    size = {"img_size": SIZE, "patch_size": 4, "embed_dim": 96, "depth": 4, "num_heads": 4, "dynamic_img_size": True}
    how: dict[str, Any] = {"num_classes": classes, "in_chans": channels, **size}
    model: nn.Module = timm.create_model("vit_tiny_patch16_224", **how)
    return model


NETWORKS = {"cnn": cnn, "resnet10t": resnet10t, "mobilenetv3": mobilenetv3, "vit": vit}


def work(planned: Planned, folders: Mapping[str, Path]) -> dict[str, Any]:
    """One run: train, measure what the predictions follow, exchange contents, and ask the others.

    Args:
        planned: the run.
        folders: of the sets of images that are read from files.
    """
    plant, generator = PLANTS[planned.case], torch.Generator().manual_seed(planned.seed)
    data = IMAGES[plant.data]
    contents, labels = data.read(folders.get(plant.data, Path()), generator)
    anything = torch.randint(data.classes, labels.shape, generator=generator)
    cue = torch.where(torch.rand(labels.shape, generator=generator) < plant.share, labels, anything)
    shape = plant.draw(contents[:1], cue[:1]).expand(len(contents), -1, -1, -1).shape
    noise = plant.noise * torch.randn(shape, generator=generator)
    raw = (plant.draw(contents, cue) + noise).clamp(min=0)  # as a detector gives it
    mean, deviation = raw.mean((0, 2, 3), keepdim=True), raw.std((0, 2, 3), keepdim=True)
    images = (raw - mean) / deviation
    torch.manual_seed(planned.seed)
    network = NETWORKS[planned.network](images.shape[1], data.classes)
    with torch.no_grad():
        network(images[:2])  # the sizes of lazy layers
    held = torch.arange(len(images)) >= data.training
    _fit(network, images[~held], labels[~held])
    new = torch.randint(data.classes, labels.shape, generator=generator)
    changed = ((plant.draw(contents, new) + noise).clamp(min=0) - mean) / deviation
    with torch.no_grad():
        preds, after = (
            torch.cat([network(some).argmax(1) for some in part[held].split(256)]) for part in (images, changed)
        )
    told = new[held] % plant.values != preds % plant.values
    hit = after % plant.values == new[held] % plant.values
    some = images[held][torch.linspace(0, int(held.sum()) - 1, SHOWN).round().long()]
    shares = _exchanged(network, some, lambda inputs: inputs * deviation[0] + mean[0])
    unlike = cue[held] % plant.values != labels[held] % plant.values
    return {
        "accuracy": float((preds == labels[held]).float().mean()),
        "accuracy_anew": float((after == labels[held]).float().mean()),
        "follows": float(hit[told].float().mean()) if plant.draw is not as_it_is else 0.0,
        "shares": shares,
        "attributions": attributions(network, some),
        "errors_by_cue": errors_by_cue(preds != labels[held], unlike) if plant.draw is not as_it_is else None,
        "findings": [],
        "crash": "",
    }


def _exchanged(
    network: nn.Module, images: Tensor, denormalize: Callable[[Tensor], Tensor]
) -> dict[str, tuple[float, float]]:
    """Donor share and own share of each content, as the monitor exchanges them but for regions."""
    with torch.no_grad():
        donors = images[donor_rows(network(images).argmax(1))]
    units = raw_units(denormalize, images)
    kinds = cue_exchanges(units, images.shape[1]) | {kind: kind for kind in KINDS}
    if images.shape[1] > FEW:
        single = torch.eye(images.shape[1], dtype=torch.bool)
        kinds |= {f"channel {k}": exchange_channel_statistics(which) for k, which in enumerate(single)}
    found = lf.transplant(network, images, donors, kinds, denormalize=denormalize)
    shares = {name: (each.donor, each.own) for name, each in found.shares.items()}
    if images.shape[1] != 3:
        shares.pop("colour", None)
    return shares


def named(shares: Mapping[str, Sequence[float]]) -> list[str]:
    """The contents that the monitor would name, by its rule, from the shares of a run."""
    pairs = {name: (donor, own) for name, (donor, own) in shares.items()}
    found = [name for name, each in unexplained(pairs).items() if each >= CARRIES and leads(*pairs[name])]
    many = any(name.startswith("channel ") for name in pairs)  # whose statistics are no simple cue
    return [name for name in found if not (many and name == "channel_statistics")]


def learnt(one: Mapping[str, Any]) -> bool:
    """Whether a run has learnt so much that the monitor's rule may speak of it: 0.1 above chance."""
    return bool(one["accuracy"] > 1 / IMAGES[PLANTS[one["case"]].data].classes + 0.1)


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


class Voice(NamedTuple):
    """Who says something of a run: transplants, or another tool."""

    said: Callable[[Mapping[str, Any]], Sequence[str]]  # contents that it names
    can: Callable[[Mapping[str, Any]], bool]  # whether it could name the content that holds the cue
    figure: Callable[[Mapping[str, Any]], float]  # what it rests on; nan: nothing of the kind


def _errors(one: Mapping[str, Any]) -> ErrorsByCue:
    given = one["errors_by_cue"]
    return ErrorsByCue(math.nan, math.nan, math.nan, 0) if given is None else ErrorsByCue(*given)


def _held(one: Mapping[str, Any], shares: Mapping[str, float]) -> float:
    """The largest share among the contents that hold the cue."""
    return max((shares[name] for name in PLANTS[one["case"]].holds if name in shares), default=math.nan)


def _attributing(method: str) -> Voice:
    return Voice(
        lambda one: named_parts(one["attributions"].get(method, {})),
        lambda one: any(map(can_name, PLANTS[one["case"]].holds)) and method in one["attributions"],
        lambda one: _held(one, one["attributions"].get(method, {})),
    )


VOICES = {
    "transplants": Voice(
        lambda one: named(one["shares"]) if learnt(one) else (),
        lambda one: True,
        lambda one: _held(one, {name: pair[0] for name, pair in one["shares"].items()}),
    ),
    "accuracy": Voice(lambda one: (), lambda one: False, lambda one: one["accuracy"]),
    **{method: _attributing(method) for method in METHODS},
    "error ratio": Voice(
        lambda one: PLANTS[one["case"]].holds[:1] if _errors(one).low > 1 else (),
        lambda one: not math.isnan(_errors(one).ratio),
        lambda one: _errors(one).ratio,
    ),
}


def answer(one: Mapping[str, Any], voice: Voice) -> str:
    """Whether a voice names the content that a run's predictions follow; and what it names that they do not follow.

    Returns:
        ``yes``; ``no``, though it could; ``cannot``; or ``nothing``, where nothing is to be named and nothing is. What
        is named wrongly stands behind it in brackets.
    """
    holds, said = PLANTS[one["case"]].holds, voice.said(one)
    right = [name for name in said if name in holds and one["follows"] >= FEW_FOLLOW]
    wrong = ", ".join(name for name in said if name not in right)
    if right:
        word = "yes"
    elif one["follows"] > MOST:
        word = "no" if voice.can(one) else "cannot"
    else:
        word = "" if wrong else "nothing"
    return f"{word} ({wrong})".strip() if wrong else word


PAGES = {
    "digits": (
        DOCS / "transplants.md",
        "# Planted shortcuts in four networks: does the exchange of one content say what the predictions follow?",
    ),
    "real": (
        DOCS / "transplants-real-data.md",
        "# Planted shortcuts in real images: does the exchange of one content say what the predictions follow?",
    ),
}
OF_THE_DATA = {
    "digits": "*Digits*: scikit-learn's, 32 x 32, 1,280 for training and 517 for validation.",
    "fashion": "*Garments*: 3,000 of Fashion-MNIST, 32 x 32, of which 2,400 are for training.",
    "spectra": (
        "*Spectra*: 2,000 scenes of 12 x 12 pixels in 40 bands, of which 1,500 are for training, from measured "
        "infrared spectra of five polymers (PE, PET, PP, PS, PVC), as shares of full transmission. They are those of "
        "one study of four: in a mix of studies the study itself goes with the class. The noise and the offset of one "
        "band were made larger in three steps, in runs of another seed, until predictions followed the offset; at the "
        "smaller ones they did so in 0% to 42% of the cases, and it was not named."
    ),
}
OTHERS = """## What others say of the same runs

For each run: whether the content that the predictions follow is named. *yes*; *no*, though it could; *cannot*;
*nothing*: nothing is to be named, and nothing is. What is named though predictions do not follow it stands in brackets.
Before it stands what the answer rests on, as a mean over the seeds.

- *accuracy*: on validation images, in which the cue is as in training images; in brackets that of the twin whose cue
  goes with no class, and behind it what is left once the cue is drawn anew, which nobody sees. It never says why.
- *integrated gradients*, *ablation* (captum): share of the attribution of the predicted class that lies on the content,
  where that is a set of pixels or of channels; by the rule for transplants it is named from 0.55. Level, colour and
  texture are none. The border is {border}.
- *error ratio* (ImageNet-X): errors on images whose cue is unlike that of their class, to those on all images; the
  content is named where the 95% interval lies above 1. This needs an annotation of just that cue, such images, and
  errors. It tells that errors go with the cue, which is true also where few predictions follow it: in brackets."""


def page(records: Sequence[Mapping[str, Any]]) -> str:
    """The whole page."""
    runs = [one for one in records if not one["crash"]]
    seen = [data for data in IMAGES if any(PLANTS[one["case"]].data == data for one in records)]
    real = seen != ["digits"]
    cells = [
        cell
        for case in dict.fromkeys(one["case"] for one in runs)
        for network in dict.fromkeys(one["network"] for one in runs)
        if (cell := [one for one in runs if (one["case"], one["network"]) == (case, network)])
    ]
    head = ["plant", "network", "runs", "accuracy", "follows the cue", *CONTENTS, "named (runs)"]
    border = "an eighth of each side: 44% of the area" + (", 56% of the scenes'" if "spectra" in seen else "")
    parts = [
        PAGES["real" if real else "digits"][1],
        f"Made by `python benchmarks/transplants.py{_options(records)}`; what each run does stands at its head. "
        + " ".join(OF_THE_DATA[data] for data in seen),
        "Each figure is the mean over the seeds of the share of pairs that are predicted as the donor; *level*: the "
        "larger one of level and grey level, or total absorbance; *channel*: of the channel with the largest share, "
        "its mean and deviation exchanged.",
        "\n".join(_summary(runs)),
        table(head, [_row(cell) for cell in cells]),
        OTHERS.format(border=border),
        *([] if CAPTUM else ["captum was not installed: there are no attributions."]),
        table(["who", f"followed above {MOST}: named", "of these, cannot", "between: named",
               f"below {FEW_FOLLOW}: nothing named", "cue with no class: nothing named"],
              [_scored(name, voice, runs) for name, voice in VOICES.items()]),
        "\n".join(_separation(runs)),
        table(["plant", "network", "follows the cue", *VOICES], [_answers(cell, runs) for cell in cells]),
    ]  # fmt: skip
    broken = ", ".join(f"{one['case']} ({one['network']}, {one['seed']})" for one in records if one["crash"])
    return "\n\n".join([part for part in parts if part] + ([f"Broke off: {broken}."] if broken else [])) + "\n"


def _options(records: Sequence[Mapping[str, Any]]) -> str:
    """What stands behind the command for just these runs, but for folders, where it is not what stands there anyway."""
    given = {"data": [PLANTS[one["case"]].data for one in records], "networks": [one["network"] for one in records]}
    usual = {"data": ["digits"], "networks": list(NETWORKS)}
    some = {name: list(dict.fromkeys(values)) for name, values in given.items()}
    return "".join(f" --{name} {' '.join(values)}" for name, values in some.items() if values != usual[name])


def _summary(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """How often the right content is named, and how far the shares go with behaviour."""
    transplants = VOICES["transplants"]
    above = [one for one in runs if one["follows"] > MOST]
    below = [one for one in runs if one["follows"] < FEW_FOLLOW]
    true = [one["follows"] for one in runs]
    most = [0.0 if math.isnan(held := transplants.figure(one)) else held for one in runs]
    rank = float(spearmanr(true, most).statistic) if len(runs) > 2 else math.nan
    right = [answer(one, transplants).startswith("yes") for one in above]
    alone = [answer(one, transplants) == "yes" for one in above]
    missed = [one for one, each in zip(above, right, strict=True) if not each]
    return [
        f"- Where the predictions follow the planted cue in more than half of the cases, it is named: {share(right)}; "
        f"and nothing beside it: {share(alone)}.",
        *([f"- {_of_missed(missed)}"] if missed else []),
        "- Where they follow in less than a fifth, nothing is named: "
        f"{share([not transplants.said(one) for one in below])}.",
        f"- Rank correlation over all {len(runs)} runs of what follows and the share of the content that holds the "
        f"cue: {rank:.2f}.",
    ]  # fmt: skip


def _of_missed(missed: Sequence[Mapping[str, Any]]) -> str:
    """In which networks nothing was named, how far predictions follow there, and what became of the others."""
    networks = ", ".join(f"{n} are of {name}" for name, n in Counter(one["network"] for one in missed).items())
    close = sum(one["follows"] <= 0.6 for one in missed)
    neither = [1 - donor - own for one in missed for donor, own in [_most_held(one)]]
    return (
        f"Of the {len(missed)} that are not, {networks}. In {close} of them predictions follow in 50% to 60%, and the "
        f"exchange leaves a median of {statistics.median(neither):.0%} of the pairs at a third class, neither the "
        "donor's nor the receiver's."
    )


def _most_held(one: Mapping[str, Any]) -> tuple[float, float]:
    """Donor share and own share of the content that holds the cue; of several, of that with the larger donor share."""
    pairs = [one["shares"][name] for name in PLANTS[one["case"]].holds if name in one["shares"]]
    donor, own = max(pairs, default=(math.nan, math.nan))
    return donor, own


def _scored(name: str, voice: Voice, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    above = [answer(one, voice) for one in runs if one["follows"] > MOST]
    between = [answer(one, voice) for one in runs if FEW_FOLLOW <= one["follows"] <= MOST]
    below = [answer(one, voice) for one in runs if one["follows"] < FEW_FOLLOW]
    twins = [answer(one, voice) for one in runs if PLANTS[one["case"]].share == 0]
    right, at_times = (share(each.startswith("yes") for each in some) for some in (above, between))
    cannot = str(sum(each.startswith("cannot") for each in above))
    silent = [share(each == "nothing" for each in some) for some in (below, twins)]
    return [name, right, cannot, at_times, *(["cannot name"] * 2 if name == "accuracy" else silent)]


def _separation(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Whether another rule would let attributions tell the runs that follow a part from those that do not."""
    lines = []
    for part in ("border", "channel"):
        for method in METHODS:
            followed, others, first = [], [], []
            for one in runs:
                shares = one["attributions"].get(method, {})
                share_of = {name: each for name, each in shares.items() if name.split(" ")[0] == part}
                held, most = _held(one, share_of), max(share_of.values(), default=math.nan)
                if one["follows"] > MOST and not math.isnan(held):
                    followed.append(held)
                    first.append(held == most)
                elif one["follows"] < FEW_FOLLOW or math.isnan(held):
                    others.append(most)
            others = [each for each in others if not math.isnan(each)]
            if followed and others:
                line = (
                    f"- {method}, {part}: {min(followed):.2f} to {max(followed):.2f} where it is followed, "
                    f"{min(others):.2f} to {max(others):.2f} where it is not"
                )
                ranked = f"; where it is followed it is the first of all channels in {sum(first)} of {len(first)}"
                lines.append(line + (ranked if part == "channel" else "") + ".")
    if lines:
        lines.insert(0, "Would another threshold do? Share of the attribution on the part, least to greatest:\n")
    return lines


def _mean(values: Sequence[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    return f"{sum(known) / len(known):.2f}" if known else "-"


def _counted(words: Sequence[str]) -> str:
    return ", ".join(f"{word} ({words.count(word)})" for word in dict.fromkeys(words))


def _row(cell: Sequence[Mapping[str, Any]]) -> list[str]:
    def donor(one: Mapping[str, Any], content: str) -> float:
        names = LEVELS if content == "level" else [content]
        if content == "channel":
            names = [name for name in one["shares"] if name.startswith("channel ")]
        return max((one["shares"][name][0] for name in names if name in one["shares"]), default=math.nan)

    said = _counted([", ".join(named(one["shares"])) or "nothing" for one in cell])
    figures = [_mean([one["accuracy"] for one in cell]), _mean([one["follows"] for one in cell])]
    figures += [_mean([donor(one, content) for one in cell]) for content in CONTENTS]
    return [cell[0]["case"], cell[0]["network"], str(len(cell)), *figures, said]


def _answers(cell: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]) -> list[str]:
    case, network = cell[0]["case"], cell[0]["network"]
    row = [case, network, _mean([one["follows"] for one in cell])]
    healthy = [one["accuracy"] for one in runs if (one["case"], one["network"]) == (twin(case), network)]
    for name, voice in VOICES.items():
        figure = _mean([voice.figure(one) for one in cell])
        if name == "accuracy":
            figure += f" ({_mean(healthy)}), {_mean([one['accuracy_anew'] for one in cell])}"
        said = [answer(one, voice) for one in cell]
        row.append(f"{figure}: {_counted(said) if len(set(said)) > 1 else said[0]}")
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--data", nargs="+", choices=list(IMAGES), default=["digits"])
    parser.add_argument("--fashion", type=Path, help="folder of Fashion-MNIST's files", metavar="FOLDER")
    parser.add_argument("--spectra", type=Path, help="folder of the tables of spectra", metavar="FOLDER")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--only", nargs="+", choices=list(PLANTS), metavar="PLANT", help="of the data that are named")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args(arguments)
    folders = {"fashion": options.fashion, "spectra": options.spectra}
    for data in options.data:
        if (why := why_missing(data, folders.get(data))) is not None:
            parser.error(why)
    if not CAPTUM:
        print("captum is not installed: there will be no attributions")
    cases = [name for name in options.only or PLANTS if PLANTS[name].data in options.data]
    plan = [Planned(case, network, seed) for seed in options.seeds for network in options.networks for case in cases]
    folder = RunFolder(options.out)
    for record in folder.fill(plan, functools.partial(work, folders=folders), options.processes):
        print(record["case"], record["network"], record["seed"], record["crash"] or named(record["shares"]), flush=True)
    kind = "digits" if options.data == ["digits"] else "real"
    (options.page or PAGES[kind][0]).write_text(page(folder.records(plan)))


if __name__ == "__main__":
    main()
