"""How often 95% intervals hold the truth where images come in groups that are alike, with and without counting groups.

    python benchmarks/group_coverage.py [--repeats 4000] [--page docs/group-intervals.md] [--json FILE]

Groups of 5 to 35 images have error rates of their own, drawn from a beta distribution with the intra-class correlation
asked for; the truth is its mean. A factor is carried either by a third of the images of each group ("inside groups"),
or by all images of a third of the groups ("whole groups"). The error rate is 0.3 with and without it. Covered is the
difference of the two error rates, in `groups` by intervals that count groups and in `images` by those that take images
as independent; beside it the ratio and the odds ratio, the share of p-values below 0.05, and the width.

A second table does the same for two more figures of such groups: mean confidence minus accuracy, of a network that is
surer where it is right and in groups in which it is often right; and accuracy on training images minus accuracy on
validation images, where each group is in one of the two ("apart") or in both.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_failures.functional import (
    CalibrationCounts,
    CalibrationOfGroups,
    FactorCounts,
    GapCounts,
    Interval,
    error_difference_interval,
    error_ratio_interval,
    factor_p_value,
    generalisation_gap,
    odds_ratio_interval,
    overconfidence_interval,
)
from lightning_failures.functional.calibration import UNIT

ERROR, SHARE = 0.3, 1 / 3
HEAD = ("groups", "alike", "factor", "difference", "ratio", "odds", "p < 0.05", "by images", "width", "undefined")
#: How far confidence rises with a group's rate and with an image that is right, in the second table.
OF_GROUP, OF_IMAGE = 0.2, 0.1
#: What is printed, in the order of HEAD.
Row = tuple[int, float, str, float, float, float, float, float, float, float]
#: The second table, and what is printed in it.
OTHER_HEAD = ("groups", "alike", "figure", "by groups", "by images", "width", "undefined")
OtherRow = tuple[int, float, str, float, float, float, float]


def draw(groups: int, alike: float, whole: bool, repeats: int, generator: torch.Generator) -> FactorCounts:
    """Counts of each group, a repeat a column: (g r) each, the totals too."""
    size = torch.randint(5, 36, (groups, repeats), generator=generator).double()
    if whole:
        carried = size * (torch.arange(groups) < round(groups * SHARE)).double()[:, None]
    else:
        carried = torch.binomial(size, torch.full_like(size, SHARE), generator=generator)
    rate = torch.full_like(size, ERROR)
    if alike > 0:
        scale = (1 - alike) / alike
        ends = (torch.full_like(size, scale * ERROR), torch.full_like(size, scale * (1 - ERROR)))
        one, other = (torch._standard_gamma(end, generator=generator) for end in ends)
        rate = one / (one + other)
    wrong, others = (torch.binomial(some, rate, generator=generator) for some in (carried, size - carried))
    return FactorCounts(*(value.long() for value in (wrong, carried, wrong + others, size)))


def measure(groups: int, alike: float, whole: bool, repeats: int, generator: torch.Generator) -> Row:
    """One row of the table."""
    found: list[list[float]] = []
    drawn = draw(groups, alike, whole, repeats, generator)
    for repeat in range(repeats):
        of_one = FactorCounts(*(value[:, repeat] for value in drawn))
        by_group = of_one._replace(wrong=of_one.wrong[:, None], seen=of_one.seen[:, None])
        counts = FactorCounts(*(value.sum(0) for value in by_group))
        low, high = error_difference_interval(counts, 0.95, by_group)
        if bool(low.isnan()):
            found.append([torch.nan] * 6)
            continue
        ends = (error_ratio_interval(counts, 0.95, by_group), odds_ratio_interval(counts, 0.95, by_group))
        plain = error_difference_interval(counts)
        found.append(
            [
                float(low <= 0 <= high),
                *(float(end.low <= 1 <= end.high) for end in ends),
                float(factor_p_value(counts, by_group) < 0.05),
                float(plain.low <= 0 <= plain.high),
                float(high - low),
            ]
        )
    values = torch.tensor(found, dtype=torch.float64)
    means = values.nanmean(0).tolist()
    undefined = float(values[:, 0].isnan().double().mean())
    return (groups, alike, "whole groups" if whole else "inside groups", *means, undefined)


def rates(groups: int, alike: float, repeats: int, generator: torch.Generator) -> Tensor:
    """Rates of groups around 1 - :data:`ERROR`, with this intra-class correlation; (g r), float64."""
    shape = (groups, repeats)
    if alike == 0:
        return torch.full(shape, 1 - ERROR, dtype=torch.float64)
    scale = (1 - alike) / alike
    ends = (torch.full(shape, scale * end, dtype=torch.float64) for end in (1 - ERROR, ERROR))
    one, other = (torch._standard_gamma(end, generator=generator) for end in ends)
    return one / (one + other)


def held(truth: float, by_groups: Interval, by_images: Interval) -> Tensor:
    """Whether each interval holds the truth, and how wide the first is; nan without it; (3 r), float64."""
    covered = [((end.low <= truth) & (truth <= end.high)).double() for end in (by_groups, by_images)]
    width = by_groups.high - by_groups.low
    return torch.where(width.isnan(), torch.nan, torch.stack([*covered, width]))


def calibrated(rate: Tensor, generator: torch.Generator) -> tuple[CalibrationCounts, CalibrationOfGroups]:
    """Counts of each repeat, in the place of a factor, and sums of its groups, from their rates; (r 1) and (g r)."""
    groups, repeats = rate.shape
    there = torch.arange(35)[:, None] < torch.randint(5, 36, (groups, 1, repeats), generator=generator)
    shape = (groups, 35, repeats)
    right = (torch.rand(shape, generator=generator) < rate[:, None]) & there
    noise = torch.rand(shape, generator=generator, dtype=torch.float64)
    sure = (0.3 + 0.4 * noise + OF_GROUP * rate[:, None] + OF_IMAGE * right) * there
    sums = [value.sum(1) for value in (right, sure / UNIT, there, sure.square() / UNIT, sure * right / UNIT)]
    by_group = [value.round().long() for value in sums]
    return CalibrationCounts(*(value.sum(0)[:, None] for value in by_group)), CalibrationOfGroups(*by_group[:3])


def more(groups: int, alike: float, repeats: int, generator: torch.Generator) -> list[OtherRow]:
    """Rows of the second table."""
    found: dict[str, list[Tensor]] = {"mean confidence minus accuracy": [], "gap, apart": [], "gap, both": []}
    for some in torch.arange(repeats).split(200):
        rate = rates(groups, alike, len(some), generator)
        counts, by_group = calibrated(rate, generator)
        truth = 0.3 + 0.4 / 2 + (OF_GROUP + OF_IMAGE - 1) * (1 - ERROR)
        ends = overconfidence_interval(counts, 0.95, by_group), overconfidence_interval(counts)
        found["mean confidence minus accuracy"].append(held(truth, *ends))
        seen = torch.randint(5, 36, (2, *rate.shape), generator=generator).double()
        good = torch.binomial(seen, rate.expand(2, -1, -1).contiguous(), generator=generator)
        here = (torch.arange(groups) % 2 == 0)[:, None]
        for name, kept in (("gap, apart", (here, ~here)), ("gap, both", (here | True,) * 2)):
            parts = GapCounts(*(value * kept[part] for part in (0, 1) for value in (good[part], seen[part])))
            total = GapCounts(*(value.sum(0) for value in parts))
            limits = (Interval(*generalisation_gap(total, each)[1:]) for each in (parts, None))
            found[name].append(held(0.0, *limits))
    rows: list[OtherRow] = []
    for name, values in found.items():
        all_of = torch.cat(values, 1)
        covered, by_images, width = all_of.nanmean(1).tolist()
        rows.append((groups, alike, name, covered, by_images, width, float(all_of[0].isnan().double().mean())))
    return rows


def table(rows: Sequence[tuple[int | float | str, ...]], head: Sequence[str] = HEAD) -> str:
    """As Markdown."""
    cells = [
        ["-" if value != value else f"{value:.3f}" if isinstance(value, float) else str(value) for value in row]
        for row in rows
    ]
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Simulate, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=4000)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    rows: list[Row] = []
    for whole in (False, True):
        for groups in (8, 12, 50, 200):
            for alike in (0.0, 0.2, 0.5):
                rows.append(measure(groups, alike, whole, options.repeats, generator))
                print(rows[-1], flush=True)
    others: list[OtherRow] = []
    generator = torch.Generator().manual_seed(0)
    for groups in (8, 12, 50, 200):
        for alike in (0.0, 0.2, 0.5):
            others += more(groups, alike, options.repeats, generator)
            print(*others[-3:], sep="\n", flush=True)
    text, other_text = table(rows), table(others, OTHER_HEAD)
    print(text, other_text, sep="\n\n")
    if options.page is not None:
        said = """Share of repeats in which a nominal 95% interval holds the truth, with an error rate of 0.3 with and
without a factor. `alike` is the intra-class correlation: 0 where images of a group are no more alike than others.
`by images` is the interval of the difference that takes images as independent. Below four groups with or without the
factor there is no interval (`undefined`)."""
        command = f"python benchmarks/group_coverage.py --repeats {options.repeats} --page {options.page.as_posix()}"
        more_said = """Two more figures of such groups. Mean confidence minus accuracy is that of a network that is
surer where it is right and in groups in which it is often right. The gap is accuracy on training images minus
accuracy on validation images, in truth 0, where each group is in one of the two (`apart`) or in both."""
        page = ("# Intervals that count groups", f"`{command}`", said, text, more_said, other_text)
        options.page.write_text("\n\n".join(page) + "\n")
    if options.json is not None:
        named: list[dict[str, Any]] = [dict(zip(HEAD, row, strict=True)) for row in rows]
        named += [dict(zip(OTHER_HEAD, row, strict=True)) for row in others]
        options.json.write_text(json.dumps(named, indent=1))


if __name__ == "__main__":
    main()
