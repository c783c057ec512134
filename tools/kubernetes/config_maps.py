"""Configuration that servers on the cluster read from a ConfigMap: changed only on the version that it was read at."""

from tools.errors import Conflict
from tools.kubernetes.cluster import Cluster, Object
from tools.kubernetes.kinds import CONFIG_MAP
from tools.values import Frozen

KEY = "oppen/key"
"""The annotation with the key of the last change."""


class Configuration(Frozen):
    name: str
    version: str
    """The resourceVersion."""
    data: dict[str, str]
    key: str | None
    """Of the change that made it, where that was ours."""


class ConfigMaps:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def read(self, name: str) -> Configuration:
        """Raises NotFound."""
        return _read(await self._cluster.get(CONFIG_MAP, name))

    async def change(self, name: str, data: dict[str, str | None], *, expected_version: str, key: str) -> Configuration:
        """Set these entries (None takes one away), leave the others.

        Repeating a `key` returns the configuration it made. Conflict when somebody else has changed it since
        `expected_version`, or when the key has made another change.
        """
        change = {"metadata": {"resourceVersion": expected_version, "annotations": {KEY: key}}, "data": data}
        try:
            return _read(await self._cluster.patch(CONFIG_MAP, name, change))
        except Conflict:
            now = await self.read(name)
            if now.key == key and all(now.data.get(entry) == text for entry, text in data.items()):
                return now
            raise


def _read(found: Object) -> Configuration:
    metadata = found["metadata"]
    return Configuration(
        name=metadata["name"],
        version=metadata["resourceVersion"],
        data=found.get("data") or {},
        key=(metadata.get("annotations") or {}).get(KEY),
    )
