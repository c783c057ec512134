"""The kinds of object that the platform reads or writes, and where the API server has them."""

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class Kind:
    api: str
    """`v1`, or group and version."""
    plural: str
    name: str

    def path(self, namespace: str, name: str | None = None, subresource: str | None = None) -> str:
        root = f"/api/{self.api}" if "/" not in self.api else f"/apis/{self.api}"
        parts = [root, "namespaces", quote(namespace, safe=""), self.plural]
        parts += [quote(part, safe="") for part in (name, subresource) if part is not None]
        return "/".join(parts)


JOB = Kind("batch/v1", "jobs", "Job")
POD = Kind("v1", "pods", "Pod")
EVENT = Kind("v1", "events", "Event")
CONFIG_MAP = Kind("v1", "configmaps", "ConfigMap")
DEPLOYMENT = Kind("apps/v1", "deployments", "Deployment")
CANARY = Kind("flagger.app/v1beta1", "canaries", "Canary")
METRIC_TEMPLATE = Kind("flagger.app/v1beta1", "metrictemplates", "MetricTemplate")
"""Flagger's."""
