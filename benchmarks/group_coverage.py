"""How often 95% intervals hold the truth where images come in groups that are alike, with and without counting groups.

    python benchmarks/group_coverage.py [--repeats 4000] [--page docs/group-intervals.md] [--json FILE]

Groups of 5 to 35 images have error rates of their own, drawn from a beta distribution with the intra-class correlation
asked for; the truth is its mean. A factor is carried either by a third of the images of each group ("inside groups"),
or by all images of a third of the groups ("whole groups"). The error rate is 0.3 with and without it. Covered is the
difference of the two error rates, in `groups` by intervals that count groups and in `images` by those that take images
as independent; beside it the ratio and the odds ratio, the share of p-values below 0.05, and the width.

A second table does the same for more figures of such groups: mean confidence minus accuracy, of a network that is
surer where it is right and in groups in which it is often right; accuracy on training images minus accuracy on
validation images, where each group is in one of the two ("apart") or in both; the accuracy that an experiment mends,
where groups differ in how many of their images are wrong and in how many of these become right; the ratio of mean
errors, where an image has a number for an error and groups have means of their own; and how often no trend of the
errors is found along a value that has none.
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
    MeanErrorSums,
    MendingCounts,
    TrendCounts,
    error_difference_interval,
    error_ratio_interval,
    factor_p_value,
    generalisation_gap,
    mean_error_interval,
    mending,
    odds_ratio_interval,
    overconfidence_interval,
    trend_p_value,
)
from lightning_failures.functional.calibration import UNIT

ERROR, SHARE = 0.3, 1 / 3
HEAD = ("groups", "alike", "factor", "difference", "ratio", "odds", "p < 0.05", "by images", "width", "undefined")
#: How far confidence rises with a group's rate and with an image that is right, in the second table.
OF_GROUP, OF_IMAGE = 0.2, 0.1
SPOILT = 0.05  # of the images that are right before an experiment are wrong after it
BINS = 4  # of a value along which errors might rise
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


def mended(rate: Tensor, healing: Tensor, generator: torch.Generator) -> tuple[Interval, Interval]:
    """Intervals of the accuracy that an experiment mends, by groups and by images, from rates of groups; (r) each."""
    seen = torch.randint(5, 36, rate.shape, generator=generator).double()
    before = torch.binomial(seen, rate, generator=generator)
    healed = torch.binomial(seen - before, healing, generator=generator)
    spoilt = torch.binomial(before, torch.full_like(before, SPOILT), generator=generator)
    parts = MendingCounts(before - spoilt, healed, spoilt, seen - before - healed)
    by_group = MendingCounts(*(part.long() for part in parts))
    total = MendingCounts(*(part.sum(0) for part in by_group))
    found = [mending(total, each) for each in (by_group, None)]
    by_groups, by_images = (Interval(each.gain_low, each.gain_high) for each in found)
    return by_groups, by_images


def of_mean_errors(rate: Tensor, generator: torch.Generator) -> tuple[Interval, Interval]:
    """Intervals of the ratio of mean errors, by groups and by images, each repeat in the place of a factor; (r) each.

    Errors are uniform from 0 to twice the rate of their group; a third of the images carries the factor.
    """
    groups, repeats = rate.shape
    there = torch.arange(35)[:, None] < torch.randint(5, 36, (groups, 1, repeats), generator=generator)
    shape = (groups, 35, repeats)
    error = 2 * rate[:, None] * torch.rand(shape, generator=generator, dtype=torch.float64) * there
    carried = (torch.rand(shape, generator=generator) < SHARE) & there
    values = (error * carried, error.square() * carried, carried.long(), error, error.square(), there.long())
    by_group = MeanErrorSums(*(value.sum(1) for value in values))
    ends: list[Interval] = []
    for parts in (by_group, None):
        each = [_of_one(by_group, column, parts is not None) for column in range(repeats)]
        ends.append(Interval(*(torch.stack(side) for side in zip(*each, strict=True))))
    return ends[0], ends[1]


def _of_one(by_group: MeanErrorSums, column: int, counts_groups: bool) -> tuple[Tensor, Tensor]:
    one = MeanErrorSums(
        *(value[:, column, None] for value in by_group[:3]), *(value[:, column] for value in by_group[3:])
    )
    total = MeanErrorSums(*(value.sum(0) for value in one))
    low, high = mean_error_interval(total, by_group=one if counts_groups else None)
    return low[0], high[0]


def no_trend(rate: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Whether no trend is told at 5%, by groups and by images, of errors that do not go with the value; (r) each."""
    bins = torch.arange(len(rate))[:, None, None] % BINS == torch.arange(BINS)  # all images of a group are in one
    seen = torch.randint(5, 36, (*rate.shape, 1), generator=generator) * bins
    wrong = torch.binomial(seen.double(), (1 - rate)[..., None].expand(seen.shape).contiguous(), generator=generator)
    by_group = TrendCounts(wrong.long(), seen, wrong.long().sum(2), seen.sum(2))
    total = TrendCounts(*(value.sum(0) for value in by_group))
    values = [trend_p_value(total, each) for each in (by_group, None)]
    held_back = [torch.where(value.isnan(), torch.nan, (value >= 0.05).double()) for value in values]
    return held_back[0], held_back[1]


def more(groups: int, alike: float, repeats: int, generator: torch.Generator) -> list[OtherRow]:
    """Rows of the second table."""
    found: dict[str, list[Tensor]] = {}
    for some in torch.arange(repeats).split(200):
        rate = rates(groups, alike, len(some), generator)
        counts, by_group = calibrated(rate, generator)
        truth = 0.3 + 0.4 / 2 + (OF_GROUP + OF_IMAGE - 1) * (1 - ERROR)
        ends = overconfidence_interval(counts, 0.95, by_group), overconfidence_interval(counts)
        found.setdefault("mean confidence minus accuracy", []).append(held(truth, *ends))
        seen = torch.randint(5, 36, (2, *rate.shape), generator=generator).double()
        good = torch.binomial(seen, rate.expand(2, -1, -1).contiguous(), generator=generator)
        here = (torch.arange(groups) % 2 == 0)[:, None]
        for name, kept in (("gap, apart", (here, ~here)), ("gap, both", (here | True,) * 2)):
            parts = GapCounts(*(value * kept[part] for part in (0, 1) for value in (good[part], seen[part])))
            total = GapCounts(*(value.sum(0) for value in parts))
            limits = (Interval(*generalisation_gap(total, each)[1:]) for each in (parts, None))
            found.setdefault(name, []).append(held(0.0, *limits))
        ends = mended(rate, rates(groups, alike, len(some), generator), generator)
        truth = ERROR * (1 - ERROR) - SPOILT * (1 - ERROR)
        found.setdefault("accuracy that is mended", []).append(held(truth, *ends))
        found.setdefault("ratio of mean errors", []).append(held(1.0, *of_mean_errors(rate, generator)))
        untold = no_trend(rate, generator)
        found.setdefault("no trend", []).append(torch.stack([*untold, torch.full_like(untold[0], torch.nan)]))
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
            print(*others[-6:], sep="\n", flush=True)
    text, other_text = table(rows), table(others, OTHER_HEAD)
    print(text, other_text, sep="\n\n")
    if options.page is not None:
        said = """Share of repeats in which a nominal 95% interval holds the truth, with an error rate of 0.3 with and
without a factor. `alike` is the intra-class correlation: 0 where images of a group are no more alike than others.
`by images` is the interval of the difference that takes images as independent. Below four groups with or without the
factor there is no interval (`undefined`)."""
        command = f"python benchmarks/group_coverage.py --repeats {options.repeats} --page {options.page.as_posix()}"
        more_said = """More figures of such groups. Mean confidence minus accuracy is that of a network that is
surer where it is right and in groups in which it is often right. The gap is accuracy on training images minus
accuracy on validation images, in truth 0, where each group is in one of the two (`apart`) or in both. The accuracy
that is mended is that of an experiment after which most wrong images are right, in some groups more than in others,
and one right image in twenty is wrong; the same interval is that of what is lost on changed images. The ratio of mean
errors is in truth 1, with errors that are numbers around the mean of their group. *No trend*: how often none of the
errors along a value that groups have is told at 5%, where there is none. The interval of a donor share is that of a
single proportion."""
        page = ("# Intervals that count groups", f"`{command}`", said, text, more_said, other_text)
        options.page.write_text("\n\n".join(page) + "\n")
    if options.json is not None:
        named: list[dict[str, Any]] = [dict(zip(HEAD, row, strict=True)) for row in rows]
        named += [dict(zip(OTHER_HEAD, row, strict=True)) for row in others]
        options.json.write_text(json.dumps(named, indent=1))


if __name__ == "__main__":
    main()
