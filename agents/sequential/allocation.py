"""Whether units went to the versions in the shares that they were meant to: a mismatch makes every comparison worthless.

Lindon and Malek (2022), Anytime-valid inference for multinomial count data, NeurIPS: the Dirichlet-multinomial mixture against
the intended shares. Exact; may be looked at after every unit.
"""

import math
from collections.abc import Mapping, Sequence

_CONCENTRATION = 1_000.0
"""Of the Dirichlet prior: bets on mismatches of about three points (one over its square root), the size that faults make."""


def log_capital(phases: Sequence[tuple[Mapping[str, int], Mapping[str, float]]]) -> float:
    """Against "units come in the intended shares". Each phase: units by version, and the weights they were sent by.

    Weights need not add up to one; a version with weight 0 that got units is certain to be a mismatch. Raises ValueError
    where a version has units and no weight is known.
    """
    return sum(_of_phase(units, weights) for units, weights in phases)


def _of_phase(units: Mapping[str, int], weights: Mapping[str, float]) -> float:
    if strange := units.keys() - weights.keys():
        raise ValueError(f"units: no weight is known for {', '.join(sorted(strange))}")
    total = sum(weights.values())
    meant = {name: weight / total for name, weight in weights.items() if weight > 0}
    if any(count for name, count in units.items() if name not in meant):
        return math.inf
    count = sum(units.values())
    capital = math.lgamma(_CONCENTRATION) - math.lgamma(_CONCENTRATION + count)
    for name, share in meant.items():
        prior, got = _CONCENTRATION * share, units.get(name, 0)
        capital += math.lgamma(prior + got) - math.lgamma(prior) - got * math.log(share)
    return capital


def p_value(phases: Sequence[tuple[Mapping[str, int], Mapping[str, float]]]) -> float:
    """Valid whenever one looks: the inverse of the capital, at most one."""
    return math.exp(min(0.0, -log_capital(phases)))
