"""How fast something grows, and how sure that is. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist, fmean

BLOCKS = 20
"""Neighbouring samples are alike. Means of so many blocks are nearly independent, as the interval takes for granted."""


@dataclass(frozen=True)
class Slope:
    """Units per second, and its confidence interval of 95 %."""

    value: float
    low: float
    high: float

    @property
    def contains_zero(self) -> bool:
        return self.low <= 0 <= self.high


def slope(times: Sequence[float], values: Sequence[float], blocks: int = BLOCKS) -> Slope:
    """The least-squares slope through the means of equal blocks of samples, in order of time.

    Raises ValueError for less than three samples.
    """
    blocks = min(blocks, len(times))
    if blocks < 3:
        raise ValueError("a slope with an interval needs three samples or more")
    edges = [round(number * len(times) / blocks) for number in range(blocks + 1)]
    xs = [fmean(times[start:end]) for start, end in pairwise(edges)]
    ys = [fmean(values[start:end]) for start, end in pairwise(edges)]
    x_mean, y_mean = fmean(xs), fmean(ys)
    spread = sum((x - x_mean) ** 2 for x in xs)
    value = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread
    rest = sum((y - y_mean - value * (x - x_mean)) ** 2 for x, y in zip(xs, ys, strict=True))
    freedom = blocks - 2
    margin = student(freedom) * math.sqrt(rest / freedom / spread)
    return Slope(value, value - margin, value + margin)


def student(freedom: int, confidence: float = 0.95) -> float:
    """The two-sided quantile of Student's t (Abramowitz and Stegun 26.7.5; within 0.2 % from five degrees on)."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return sum(term / freedom**power for power, term in enumerate(terms))
