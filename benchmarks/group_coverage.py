"""How often 95% intervals hold the truth where images come in groups that are alike, with and without counting groups.

    python benchmarks/group_coverage.py [--repeats 4000] [--page docs/group-intervals.md] [--json FILE]

Groups of 5 to 35 images have error rates of their own, drawn from a beta distribution with the intra-class correlation
asked for; the truth is its mean. A factor is carried either by a third of the images of each group ("inside groups"),
or by all images of a third of the groups ("whole groups"). The error rate is 0.3 with and without it. Covered is the
difference of the two error rates, in `groups` by intervals that count groups and in `images` by those that take images
as independent; beside it the ratio and the odds ratio, the share of p-values below 0.05, and the width.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from lightning_failures.functional import (
    FactorCounts,
    error_difference_interval,
    error_ratio_interval,
    factor_p_value,
    odds_ratio_interval,
)

ERROR, SHARE = 0.3, 1 / 3
HEAD = ("groups", "alike", "factor", "difference", "ratio", "odds", "p < 0.05", "by images", "width", "undefined")
#: What is printed, in the order of HEAD.
Row = tuple[int, float, str, float, float, float, float, float, float, float]


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


def cell(value: float | str) -> str:
    """A number in three digits, as printed; a dash where there is none."""
    if not isinstance(value, float):
        return str(value)
    return "-" if value != value else f"{value:.3f}"


def table(rows: list[Row]) -> str:
    """As Markdown."""
    cells = [
        ["-" if value != value else f"{value:.3f}" if isinstance(value, float) else str(value) for value in row]
        for row in rows
    ]
    lines = [HEAD, ["---"] * len(HEAD), *cells]
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
    text = table(rows)
    print(text)
    if options.page is not None:
        said = """Share of repeats in which a nominal 95% interval holds the truth, with an error rate of 0.3 with and
without a factor. `alike` is the intra-class correlation: 0 where images of a group are no more alike than others.
`by images` is the interval of the difference that takes images as independent. Below four groups with or without the
factor there is no interval (`undefined`)."""
        command = f"python benchmarks/group_coverage.py --repeats {options.repeats} --page {options.page.as_posix()}"
        options.page.write_text(f"# Intervals that count groups\n\n`{command}`\n\n{said}\n\n{text}\n")
    if options.json is not None:
        named: list[dict[str, Any]] = [dict(zip(HEAD, row, strict=True)) for row in rows]
        options.json.write_text(json.dumps(named, indent=1))


if __name__ == "__main__":
    main()
