"""The few tests that tell a difference from chance, written out so that no numeric library is needed.

Each names its source. All are two-sided where that applies; none decides by itself: a difference counts only when it is also
large enough to matter, which is policy.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

_SMOOTHING = 0.5
"""Added to every bin before logarithms are taken, so that an empty one does not make a population infinitely far away."""

_PRECISION = 1e-14
_MAX_TERMS = 1_000
"""To the last digits of a float."""


def normal_tail(z: float) -> float:
    """P(|Z| >= |z|) for a standard normal Z. Abramowitz and Stegun, 7.1.2 and 26.2.3."""
    return math.erfc(abs(z) / math.sqrt(2))


def student_tail(t: float, degrees: float) -> float:
    """P(|T| >= |t|) for Student's T: the regularised incomplete beta function I_x(d / 2, 1 / 2) at x = d / (d + t²).

    Abramowitz and Stegun, 26.7.1 and 26.5.8 (continued fraction, by Lentz's method as in Numerical Recipes 6.4).
    """
    if degrees <= 0:
        raise ValueError("Student's distribution has more than 0 degrees of freedom")
    if not math.isfinite(t):
        return 0.0
    x, a, b = degrees / (degrees + t * t), degrees / 2, 0.5
    if x >= 1.0:
        return 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return min(1.0, front * _beta_fraction(a, b, x) / a)
    return max(0.0, 1.0 - front * _beta_fraction(b, a, 1 - x) / b)


def _beta_fraction(a: float, b: float, x: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    value = d
    for n in range(1, _MAX_TERMS):
        even = n * (b - n) * x / ((a + 2 * n - 1) * (a + 2 * n))
        odd = -(a + n) * (a + b + n) * x / ((a + 2 * n) * (a + 2 * n + 1))
        for step in (even, odd):
            d = 1 / ((1 + step * d) or tiny)
            c = (1 + step / c) or tiny
            value *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return value


def two_proportions(hits: int, total: int, other_hits: int, other_total: int) -> float:
    """p-value for two shares being one, by the pooled z-test.

    Fleiss, Levin and Paik, Statistical Methods for Rates and Proportions, 3rd ed., 3.1, without continuity correction. 1.0 when
    there is nothing to tell apart: an empty side, or no variation at all.
    """
    if not total or not other_total:
        return 1.0
    pooled = (hits + other_hits) / (total + other_total)
    variance = pooled * (1 - pooled) * (1 / total + 1 / other_total)
    if variance <= 0:
        return 1.0
    return normal_tail((hits / total - other_hits / other_total) / math.sqrt(variance))


def wilson(hits: int, total: int, significance: float) -> tuple[float, float]:
    """Score interval of a share at the level `1 - significance`; (0, 1) without observations.

    Wilson (1927); Agresti and Coull (1998), The American Statistician 52(2).
    """
    if not total:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(1 - significance / 2)
    share, correction = hits / total, z * z / total
    centre = (share + correction / 2) / (1 + correction)
    half = z * math.sqrt(share * (1 - share) / total + correction / (4 * total)) / (1 + correction)
    return max(0.0, centre - half), min(1.0, centre + half)


def chi_square_tail(x: float, degrees: int) -> float:
    """P(X >= x) for a chi-square X: the upper regularised incomplete gamma function Q(degrees / 2, x / 2).

    Abramowitz and Stegun, 6.5.29 (series) and 6.5.31 (continued fraction, by Lentz's method as in Numerical Recipes 6.2).
    """
    if degrees < 1:
        raise ValueError("chi-square has at least one degree of freedom")
    a, y = degrees / 2, x / 2
    if y <= 0:
        return 1.0
    scale = math.exp(a * math.log(y) - y - math.lgamma(a))
    return max(0.0, 1.0 - scale * _series(a, y)) if y < a + 1 else min(1.0, scale * _fraction(a, y))


def _series(a: float, y: float) -> float:
    term = total = 1 / a
    for n in range(1, _MAX_TERMS):
        term *= y / (a + n)
        total += term
        if term < total * _PRECISION:
            break
    return total


def _fraction(a: float, y: float) -> float:
    tiny = 1e-300
    b = y + 1 - a
    c, d = 1 / tiny, 1 / b
    value = d
    for n in range(1, _MAX_TERMS):
        step = -n * (n - a)
        b += 2
        d = 1 / (step * d + b or tiny)
        c = b + step / c or tiny
        value *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return value


def population_stability(counts: Sequence[int], other: Sequence[int]) -> tuple[float, float, float]:
    """(PSI, the PSI that chance alone explains, p-value) of two histograms on the same bins.

    Without any change, PSI is distributed as (1/n + 1/m) times chi-square with bins - 1 degrees of freedom (Yurdakul, 2018,
    Statistical Properties of Population Stability Index), so its mean is (bins - 1) (1/n + 1/m): at 100 against 100 in ten bins
    0.18, close to the usual threshold of 0.2. Bins that are empty on both sides do not count. (0, 0, 1) where nothing compares.
    """
    if len(counts) != len(other):
        raise ValueError(f"histograms on different bins: {len(counts)} and {len(other)}")
    pairs = [(a, b) for a, b in zip(counts, other, strict=True) if a or b]
    total, other_total = sum(counts), sum(other)
    if len(pairs) < 2 or not total or not other_total:
        return 0.0, 0.0, 1.0
    padded, other_padded = total + _SMOOTHING * len(pairs), other_total + _SMOOTHING * len(pairs)
    index = 0.0
    for a, b in pairs:
        share, other_share = (a + _SMOOTHING) / padded, (b + _SMOOTHING) / other_padded
        index += (share - other_share) * math.log(share / other_share)
    unit = 1 / total + 1 / other_total
    return index, (len(pairs) - 1) * unit, chi_square_tail(index / unit, len(pairs) - 1)


def mcnemar(for_it: int, against: int) -> float:
    """One-sided mid-p of McNemar's exact test: `for_it` or more of the discordant pairs, half of the chance of exactly as many.

    Fagerland, Lydersen and Laake (2013), The McNemar test for binary matched-pairs data: mid-p and asymptotic are better than
    exact conditional, BMC Medical Research Methodology 13:91. 0.5 where no pair differs.
    """
    count = for_it + against

    def log_chance(k: int) -> float:
        return math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) - count * math.log(2)

    return min(1.0, math.fsum(math.exp(log_chance(k)) for k in range(for_it + 1, count + 1)) + math.exp(log_chance(for_it)) / 2)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted so that the chance of any wrong claim among them is the level: Holm (1979), Scand. J. Statistics 6(2)."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = largest
    return adjusted


@lru_cache(maxsize=256)
def student_quantile(tail: float, degrees: float) -> float:
    """The t > 0 with P(T >= t) = `tail`, below one half, for Student's T; by bisection, to 9 digits."""
    if not 0 < tail < 0.5:
        raise ValueError("tail: between 0 and a half")
    low, high = 0.0, 1.0
    while student_tail(high, degrees) / 2 > tail:
        low, high = high, high * 2
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if student_tail(middle, degrees) / 2 > tail else (low, middle)
    return (low + high) / 2
