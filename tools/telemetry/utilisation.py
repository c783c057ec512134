"""Questions to the metrics system about what serves: how much of it is used, and how much is held.

Metrics of pods are cAdvisor's (`container_cpu_usage_seconds_total`), requests kube-state-metrics'
(`kube_pod_container_resource_requests`); that of a model is our gateway's own. Each is asked by the hour: a point tells of the
hour before it.
"""

import json
import re

from tools.errors import PermanentError

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def gateway_busy(model: str) -> str:
    """Workers of a model that were busy, on the clock: of the gateway's own or of a TorchServe behind it."""
    wanted = f"{{model={json.dumps(model, ensure_ascii=False)}}}"
    return f"sum(avg_over_time((oppen_gateway_utilisation{wanted} * oppen_gateway_workers{wanted})[1h:1m]))"


def deployment_cores(namespace: str, name: str) -> str:
    """Cores that the pods of a Deployment used. Raises PermanentError for what is no name."""
    return f'sum(rate(container_cpu_usage_seconds_total{{{_pods(namespace, name)},container!=""}}[1h]))'


def deployment_requests(namespace: str, name: str, resource: str) -> str:
    """What one pod of a Deployment holds: `cpu` in cores, `memory` in bytes. Raises PermanentError for what is no name."""
    if resource not in ("cpu", "memory"):
        raise PermanentError(f"resource: {resource!r} is neither cpu nor memory")
    held = f'kube_pod_container_resource_requests{{{_pods(namespace, name)},resource="{resource}"}}'
    return f"max(sum by (pod) ({held}))"


def _pods(namespace: str, name: str) -> str:
    """By their names: the Deployment's, its ReplicaSet's hash, and five characters."""
    for what, given in (("namespace", namespace), ("deployment", name)):
        if not _NAME.fullmatch(given):
            raise PermanentError(f"{what}: {given!r} is no name in a cluster")
    escaped = name.replace(".", r"\\.")
    return f'namespace="{namespace}",pod=~"{escaped}-[a-z0-9]{{1,10}}-[a-z0-9]{{5}}"'
