"""What Flagger is told: its `Canary` and its `MetricTemplate`s, and what we keep on the Canary to know our own changes by.

Fields after Flagger's `pkg/apis/flagger/v1beta1/canary.go`. Its metric checks are a net below ours: they take a canary back
that fails outright, also while the platform is away, and never bring one on; without traffic they say nothing.
"""

import hashlib
import hmac
import json
import re
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import Field, ValidationError

from tools.errors import PermanentError
from tools.kubernetes.cluster import Object
from tools.kubernetes.kinds import CANARY, METRIC_TEMPLATE
from tools.values import Frozen

GATES = ("confirm-rollout", "confirm-traffic-increase", "confirm-promotion", "rollback", "event")
RECORD = "oppen/rollout"
"""The annotation of a Canary with what we asked for last."""
REVISION = "oppen-rollout"
"""The entry of the ConfigMap that makes each rollout a revision of its own: a version that failed may be tried again."""
_OURS = "oppen-"
"""What the names of our webhooks and metrics begin with; others are somebody's, and stay."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,53}[a-z0-9])?")
"""Short enough for the suffixes that Flagger appends."""
_MADE = 40
"""Keys that are remembered: more than a rollout can have stages."""
_PODS = 'namespace="{{ namespace }}",pod=~"{{ target }}-[0-9a-z]+-[0-9a-z]+",model="{{ variables.model }}"'
"""The canary's pods; those of the primary have another word before their numbers."""


class Settings(Frozen):
    hooks: str = Field(pattern=r"^https?://[^\s/@]+(/\S*)?$")
    """Where Flagger reaches this service, e.g. `http://oppen.oppen:8000`."""
    prometheus: str = Field(pattern=r"^https?://\S+$")
    """Where Flagger reaches the Prometheus that scrapes the models' pods."""
    canaries: dict[str, str] = Field(default_factory=dict)
    """Model -> name of its Canary and Deployment, where that is not the model's own."""
    config_map: str = "{canary}-serving"
    """That the Deployment's pods read their version from."""
    entry: str = "model_version"
    port: int = Field(default=8080, ge=1, le=65535)
    """Of the pods."""
    provider: str | None = None
    """Of traffic; None: Flagger's own default."""
    interval_s: int = Field(default=30, ge=1, le=3600)
    """How often Flagger looks, and asks."""
    threshold: int = Field(default=5, ge=1)
    """Of Flagger's failed checks, after which it takes the canary back by itself."""
    max_error_percent: Annotated[float, Field(gt=0, le=100)] = 10.0
    """More of the canary's requests failing is a failed check: far beyond what the analysis lets pass."""
    max_latency_ms: Annotated[float, Field(gt=0)] | None = None
    """The canary's p99 above it is a failed check."""

    def canary(self, model: str) -> str:
        """Raises PermanentError where the model has no name that a Canary could have."""
        name = self.canaries.get(model, model)
        if not _NAME.fullmatch(name):
            raise PermanentError(f"canaries: {model!r} is no name of a Canary: give it one in OPPEN_ROLLOUTS_CLUSTER")
        return name

    def serving(self, model: str) -> str:
        return self.config_map.format(canary=self.canary(model))


class Record(Frozen):
    """What we asked for last."""

    rollout: str
    """Key of the proposal that began it; also in the metadata of our webhooks."""
    model: str
    version: str
    from_version: str
    asked: int
    """The version's share, in percent."""
    ending: Literal["", "promotion", "hand over", "abort"] = ""
    revision: str
    """In the ConfigMap while this rollout's revision is there."""
    found: str
    """Digest of the ConfigMap before it."""
    condition: str
    """Flagger's last word on the revision before."""
    generation: int
    """Of the Canary, as we left it."""
    made: dict[str, tuple[str, int]] = Field(default_factory=dict)
    """Key -> what was asked for under it, and the token it made."""

    def remembering(self, key: str, wish: str, token: int) -> "Record":
        made = dict([*self.made.items(), (key, (wish, token))][-_MADE:])
        return self.model_copy(update={"made": made})


def record_of(canary: Object) -> Record | None:
    """None: there is none, or none that we have written."""
    text = (canary["metadata"].get("annotations") or {}).get(RECORD)
    try:
        return None if text is None else Record.model_validate_json(text)
    except ValidationError:
        return None


def token(canary: Object | None, record: Record | None, data: dict[str, str]) -> int:
    """Of 48 bits, so that every JSON reader keeps it."""
    metadata: dict[str, Any] = canary["metadata"] if canary is not None else {}
    own = None if record is None else record.model_dump(exclude={"made"})
    content = [metadata.get("uid"), metadata.get("generation"), own, data]
    return int.from_bytes(hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=6).digest())


def digest(data: dict[str, str]) -> str:
    return hashlib.blake2b(json.dumps(data, sort_keys=True).encode(), digest_size=16).hexdigest()


def condition_of(status: Object) -> str:
    """Of the promotion: its reason and when it came, which tells this revision's failure from the one before."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Promoted":
            return f"{condition.get('reason')} at {condition.get('lastUpdateTime')}"
    return ""


def password(key: str, namespace: str, name: str) -> str:
    """Of one Canary: whoever reads it there can ask about that one, and nothing else."""
    return hmac.new(key.encode(), f"{namespace}/{name}".encode(), hashlib.sha256).hexdigest()


def webhooks(settings: Settings, namespace: str, name: str, key: str, metadata: dict[str, str]) -> list[Object]:
    """`key`: that passwords are made of. Flagger sends no headers of ours, but the user of a URL as basic authentication."""
    scheme, place, path, _, _ = urlsplit(settings.hooks)
    user = f"{quote(f'{namespace}.{name}')}:{password(key, namespace, name)}"
    address = f"{scheme}://{user}@{place}{path.rstrip('/')}/v1/hooks/flagger"
    return [
        {"name": f"{_OURS}{gate}", "type": gate, "url": f"{address}/{gate}", "timeout": "5s", "metadata": metadata}
        for gate in GATES
    ]


def metrics(settings: Settings, namespace: str, model: str) -> list[Object]:
    found: list[Object] = [_metric(settings, namespace, model, "error-percent", settings.max_error_percent)]
    if settings.max_latency_ms is not None:
        found.append(_metric(settings, namespace, model, "latency-p99-ms", settings.max_latency_ms))
    return found


def _metric(settings: Settings, namespace: str, model: str, name: str, most: float) -> Object:
    return {
        "name": f"{_OURS}{name}",
        "templateRef": {"name": f"{_OURS}{name}", "namespace": namespace},
        "templateVariables": {"model": model},
        "thresholdRange": {"max": most},
        "interval": f"{max(settings.interval_s, 60)}s",
    }


def metric_templates(settings: Settings) -> list[Object]:
    """On the gateway's metrics. `or vector(0)`: without traffic there is nothing to object to, and nothing brought on."""
    failed = f"sum(rate(oppen_gateway_errors_total{{{_PODS}}}[{{{{ interval }}}}]))"
    answered = f"sum(rate(oppen_gateway_request_duration_seconds_count{{{_PODS}}}[{{{{ interval }}}}]))"
    buckets = f"sum by (le) (rate(oppen_gateway_request_duration_seconds_bucket{{{_PODS}}}[{{{{ interval }}}}]))"
    queries = {
        "error-percent": f"(100 * {failed} / (({failed} + ({answered} or vector(0))) > 0)) or vector(0)",
        "latency-p99-ms": f"(1000 * histogram_quantile(0.99, {buckets}) > 0) or vector(0)",
    }
    return [
        {
            "apiVersion": METRIC_TEMPLATE.api,
            "kind": METRIC_TEMPLATE.name,
            "metadata": {"name": f"{_OURS}{name}"},
            "spec": {"provider": {"type": "prometheus", "address": settings.prometheus}, "query": query},
        }
        for name, query in queries.items()
    ]


def analysis(before: Object, settings: Settings, steps: list[int], hooks: list[Object], checks: list[Object]) -> Object:
    """As a merge patch over what is there: other people's webhooks and metrics stay, other ways of moving traffic go."""
    return {
        "interval": f"{settings.interval_s}s",
        "threshold": settings.threshold,
        "stepWeights": steps,
        **dict.fromkeys(("stepWeight", "maxWeight", "iterations", "match", "mirror", "mirrorWeight"), None),
        "webhooks": [*_theirs(before.get("webhooks")), *hooks],
        "metrics": [*_theirs(before.get("metrics")), *checks],
    }


def _theirs(items: list[Object] | None) -> list[Object]:
    return [item for item in items or () if not str(item.get("name")).startswith(_OURS)]


def manifest(name: str, settings: Settings, spec: Object) -> Object:
    """A Canary of a Deployment by that name. How traffic reaches it is the installation's: make the Canary before, with its
    `ingressRef`, `routeRef` or `service`, and it is only patched."""
    own = {part: value for part, value in spec["analysis"].items() if value is not None}
    return {
        "apiVersion": CANARY.api,
        "kind": CANARY.name,
        "metadata": {"name": name},
        "spec": {
            **({"provider": settings.provider} if settings.provider is not None else {}),
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "service": {"port": settings.port},
            "analysis": own,
        },
    }
