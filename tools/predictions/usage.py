"""What the versions of a language model read and wrote in a window, how soon, and what it cost."""

from collections import defaultdict
from decimal import Decimal
from typing import Any

from tools.clickhouse.connection import NoTable
from tools.predictions.port import TokenCost, TokenUsage
from tools.predictions.statements import Query


def usages(query: Query) -> tuple[TokenUsage, ...]:
    """Of the query's one window; empty for a model that is no language model. Sums are exact, quantiles too."""
    try:
        rows = query.rows(f"""
        SELECT version, count(), countIf(prompt_tokens IS NOT NULL AND completion_tokens IS NOT NULL),
            sum(prompt_tokens), sum(completion_tokens), avg(first_token_us), quantilesExact(0.5, 0.95)(first_token_us),
            count(first_token_us)
        FROM {query.usage(("version", "prompt_tokens", "completion_tokens", "first_token_us"))}
        GROUP BY version ORDER BY version
        """)
    except NoTable:
        return ()
    finishes, costs = _finishes(query), _costs(query)
    return tuple(
        TokenUsage(
            model=query.model,
            version=version,
            window=query.windows[0],
            calls=calls,
            counted=counted,
            prompt_tokens=prompt or 0,
            completion_tokens=completion or 0,
            first_token_mean_ms=mean / 1000 if timed else None,
            first_token_p50_ms=quantiles[0] / 1000 if timed else None,
            first_token_p95_ms=quantiles[1] / 1000 if timed else None,
            finishes=finishes[version],
            costs=tuple(costs[version]),
        )
        for version, calls, counted, prompt, completion, mean, quantiles, timed in rows
    )


def _finishes(query: Query) -> dict[str, dict[str, int]]:
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    rows = query.rows(f"""
    SELECT version, assumeNotNull(finish) AS reason, count() FROM {query.usage(("version", "finish"))}
    WHERE finish IS NOT NULL GROUP BY version, reason ORDER BY version, reason
    """)
    for version, reason, count in rows:
        found[version][reason] = count
    return found


def _costs(query: Query) -> dict[str, list[TokenCost]]:
    found: defaultdict[str, list[TokenCost]] = defaultdict(list)
    rows: Any = query.rows(f"""
    SELECT version, assumeNotNull(currency) AS money, sum(cost), count(), sum(prompt_tokens), sum(completion_tokens)
    FROM {query.usage(("version", "currency", "cost", "prompt_tokens", "completion_tokens"))}
    WHERE cost IS NOT NULL GROUP BY version, money ORDER BY version, money
    """)
    for version, currency, amount, calls, prompt, completion in rows:
        cost = TokenCost(currency=currency, amount=Decimal(str(amount)), calls=calls, tokens=(prompt or 0) + (completion or 0))
        found[version].append(cost)
    return found
