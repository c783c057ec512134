"""Flagger's own kinds, by hand after its CustomResourceDefinitions (`artifacts/flagger/crd.yaml`), and strict: what it does not
know is refused, as the API server refuses it when it is asked to."""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
SPAN: Schema = {"type": "string", "pattern": "^[0-9]+(m|s)"}


def one_of(*words: str) -> Schema:
    return {"type": "string", "enum": list(words)}


def many(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def only(*required: str, **properties: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


def reference(*kinds: str, **more: Schema) -> Schema:
    return only("apiVersion", "kind", "name", apiVersion=TEXT, kind=one_of(*kinds), name=TEXT, **more)


_ANY: Schema = {}
_METADATA = only(
    "name",
    name=TEXT,
    namespace=TEXT,
    labels=TEXTS,
    annotations=TEXTS,
    uid=TEXT,
    resourceVersion=TEXT,
    generation={"type": "integer"},
    creationTimestamp=TEXT,
    ownerReferences=_ANY,
    finalizers=_ANY,
    managedFields=_ANY,
    deletionTimestamp=TEXT,
)
_METRIC = only(
    "name",
    name=TEXT,
    interval=SPAN,
    threshold=NUMBER,
    thresholdRange=only(min=NUMBER, max=NUMBER),
    query=TEXT,
    templateRef=only("name", name=TEXT, namespace=TEXT),
    templateVariables=TEXTS,
)
_WEBHOOK = only(
    "name",
    "url",
    name=TEXT,
    type=one_of(
        "",
        "confirm-rollout",
        "pre-rollout",
        "rollout",
        "confirm-promotion",
        "post-rollout",
        "event",
        "rollback",
        "confirm-traffic-increase",
    ),
    muteAlert=FLAG,
    url=TEXT,
    timeout=SPAN,
    retries=NUMBER,
    disableTLS=FLAG,
    metadata=TEXTS,
)
_ANALYSIS = only(
    interval=SPAN,
    iterations=NUMBER,
    threshold=NUMBER,
    primaryReadyThreshold=NUMBER,
    canaryReadyThreshold=NUMBER,
    stepWeight=NUMBER,
    stepWeights=many(NUMBER),
    stepWeightPromotion=NUMBER,
    maxWeight=NUMBER,
    mirror=FLAG,
    mirrorWeight=NUMBER,
    match=many({"type": "object"}),
    metrics=many(_METRIC),
    webhooks=many(_WEBHOOK),
    alerts=many(
        only(
            "name",
            "providerRef",
            name=TEXT,
            severity=one_of("", "info", "warn", "error"),
            providerRef=only("name", name=TEXT, namespace=TEXT),
        )
    ),
    sessionAffinity={"type": "object", "required": ["cookieName"]},
)
_SERVICE = only(
    "port",
    name=TEXT,
    port=NUMBER,
    portName=TEXT,
    appProtocol=TEXT,
    trafficDistribution=TEXT,
    targetPort={"type": ["integer", "string"]},
    portDiscovery=FLAG,
    headless=FLAG,
    timeout=TEXT,
    backendTimeout=TEXT,
    meshName=TEXT,
    backends=many(TEXT),
    hosts=many(TEXT),
    delegation=FLAG,
    match=many({"type": "object"}),
    gateways=many(TEXT),
    gatewayRefs=many({"type": "object"}),
    retries={"type": "object"},
    headers={"type": "object"},
    rewrite={"type": "object"},
    mirror=many({"type": "object"}),
    corsPolicy={"type": "object"},
    trafficPolicy={"type": "object"},
    apex={"type": "object"},
    primary={"type": "object"},
    canary={"type": "object"},
)
_CANARY = only(
    "targetRef",
    "analysis",
    provider=one_of(
        "apisix",
        "appmesh",
        "appmesh:v1beta2",
        "contour",
        "gatewayapi:v1",
        "gatewayapi:v1beta1",
        "gloo",
        "istio",
        "knative",
        "kubernetes",
        "kuma",
        "linkerd",
        "nginx",
        "osm",
        "skipper",
        "smi:v1alpha1",
        "smi:v1alpha2",
        "smi:v1alpha3",
        "traefik",
    ),
    metricsServer=TEXT,
    progressDeadlineSeconds=NUMBER,
    targetRef=reference("DaemonSet", "Deployment", "Service"),
    autoscalerRef=reference(
        "HorizontalPodAutoscaler", "ScaledObject", primaryScalerQueries=TEXTS, primaryScalerReplicas={"type": "object"}
    ),
    ingressRef=reference("Ingress"),
    routeRef=reference("ApisixRoute"),
    upstreamRef=reference("Upstream", namespace=TEXT),
    service=_SERVICE,
    skipAnalysis=FLAG,
    revertOnDeletion=FLAG,
    suspend=FLAG,
    analysis=_ANALYSIS,
)
_TEMPLATE = only(
    "provider",
    "query",
    provider=only(
        "type",
        type=one_of(
            "prometheus",
            "influxdb",
            "datadog",
            "stackdriver",
            "cloudwatch",
            "newrelic",
            "graphite",
            "dynatrace",
            "keptn",
            "skywalking",
            "splunk",
        ),
        address=TEXT,
        secretRef=only("name", name=TEXT),
        region=TEXT,
        headers=_ANY,
        insecureSkipVerify=FLAG,
    ),
    query=TEXT,
)


def _kind(spec: Schema) -> Schema:
    return only("apiVersion", "kind", "metadata", "spec", apiVersion=TEXT, kind=TEXT, metadata=_METADATA, spec=spec)


SCHEMAS = {
    ("flagger.app/v1beta1", "Canary"): _kind(_CANARY),
    ("flagger.app/v1beta1", "MetricTemplate"): _kind(_TEMPLATE),
}
