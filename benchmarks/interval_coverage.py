"""How often the interval of an error ratio holds the truth: MOVER-R, which is used, against the delta method.

    python benchmarks/interval_coverage.py [--repeats 10000] [--json FILE]

A factor of n images among 46,000 has error rate p, all other images 0.25; errors are drawn binomially, and the truth is
the ratio of the two rates through the factor's share. With n = 10 only eleven outcomes exist, so that at a fixed p no
interval can cover just 95%: what can be asked is that it covers 0.93 to 0.97 of the time over the rates that factors
have. The last row of each n draws p evenly from 0.05 to 0.75, in each repeat anew, and is checked.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_failures.functional import (
    FactorCounts,
    error_ratio,
    error_ratio_interval,
    log_ratio_error,
    normal_quantile,
)

IMAGES = 46_000
ELSEWHERE = 0.25


def coverage(n: int, p: Tensor, generator: torch.Generator) -> tuple[float, float]:
    """Share of repeats in which each interval holds the true ratio; an undefined interval does not hold it.

    Args:
        n: images that carry the factor.
        p: the factor's error rate in each repeat; (repeats), float64.
        generator: where the errors come from.
    """

    def draw(images: int, rate: Tensor) -> Tensor:
        return torch.binomial(torch.full_like(rate, images), rate, generator=generator).long()

    wrong, other = draw(n, p), draw(IMAGES - n, torch.full_like(p, ELSEWHERE))
    counts = FactorCounts(wrong, torch.full_like(wrong, n), wrong + other, torch.full_like(wrong, IMAGES))
    share = n / IMAGES
    truth = p / (share * p + (1 - share) * ELSEWHERE)
    low, high = error_ratio_interval(counts)
    ratio, spread = error_ratio(counts), (normal_quantile(0.95) * log_ratio_error(counts)).exp()
    delta = (ratio / spread <= truth) & (truth <= ratio * spread) & (wrong > 0)
    return float(((low <= truth) & (truth <= high)).double().mean()), float(delta.double().mean())


def main() -> None:
    """Simulate, print, check, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    rows: list[dict[str, Any]] = []
    print("     n           p  MOVER-R   delta")
    for n in (10, 40, 600):
        rates: dict[str, Tensor] = {
            f"{p:.2f}": torch.full((options.repeats,), p, dtype=torch.float64) for p in (0.05, 0.1, 0.25, 0.5, 0.75)
        }
        rates["0.05..0.75"] = 0.05 + 0.7 * torch.rand(options.repeats, generator=generator, dtype=torch.float64)
        for name, p in rates.items():
            mover, delta = coverage(n, p, generator)
            rows.append({"n": n, "p": name, "mover": mover, "delta": delta})
            print(f"{n:6d}  {name:>10s}    {mover:.3f}   {delta:.3f}")
        assert 0.93 <= rows[-1]["mover"] <= 0.97, rows[-1]
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
