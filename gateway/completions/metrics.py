"""What Prometheus sees of language models, beside the counters that all models have. Labels come from loaded versions only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram

Outcome = Literal["answered", "failed", "cancelled", "refused"]
"""`refused`: by the server, for what was asked; `cancelled`: the client left."""

_FIRST_TOKEN_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_DURATION_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


@dataclass(frozen=True, slots=True)
class VersionCompletions:
    """Bound to one model and version."""

    outcome: Callable[[Outcome], None]
    prompt_tokens: Callable[[float], None]
    completion_tokens: Callable[[float], None]
    first_token: Callable[[float], None]
    duration: Callable[[float], None]


class CompletionMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("model", "version")
        self._calls = Counter(
            "oppen_gateway_completions", "Calls of language models by how they ended", (*labels, "outcome"), registry=registry
        )
        self._prompt = Counter("oppen_gateway_prompt_tokens", "Tokens that were read", labels, registry=registry)
        self._completion = Counter("oppen_gateway_completion_tokens", "Tokens that were written", labels, registry=registry)
        self._first = Histogram(
            "oppen_gateway_time_to_first_token_seconds",
            "From the request's body to the first token of a stream",
            labels,
            buckets=_FIRST_TOKEN_S,
            registry=registry,
        )
        self._duration = Histogram(
            "oppen_gateway_completion_duration_seconds",
            "From the request's body to the end of the answer",
            labels,
            buckets=_DURATION_S,
            registry=registry,
        )

    def of(self, model: str, version: str) -> VersionCompletions:
        calls = self._calls
        return VersionCompletions(
            lambda outcome: calls.labels(model, version, outcome).inc(),
            self._prompt.labels(model, version).inc,
            self._completion.labels(model, version).inc,
            self._first.labels(model, version).observe,
            self._duration.labels(model, version).observe,
        )
