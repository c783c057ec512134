"""How many replicas a Deployment has: read and set through its scale, and nothing else of it."""

from tools.errors import Conflict, PermanentError
from tools.kubernetes.cluster import Cluster, Object
from tools.kubernetes.kinds import DEPLOYMENT
from tools.values import Frozen

_TRIES = 5
"""At a change that its controller gets in between of: each pod that gets ready makes another version."""


class Replicas(Frozen):
    name: str
    wanted: int
    present: int
    """That the controller has made so far; whether they are ready, their service says."""
    version: str
    """The resourceVersion."""


class Deployments:
    def __init__(self, cluster: Cluster, *, most: int) -> None:
        """`most`: replicas that may be asked for."""
        self._cluster = cluster
        self._most = most

    async def replicas(self, name: str) -> Replicas:
        """Raises NotFound."""
        return _read(await self._cluster.get(DEPLOYMENT, name, "scale"))

    async def scale(self, name: str, wanted: int, *, expected: int) -> Replicas:
        """From `expected` to `wanted`; a repetition finds it done. Conflict when it has another number."""
        if not 0 <= wanted <= self._most:
            raise PermanentError(f"replicas: {wanted} is not between 0 and {self._most}")
        for attempt in range(_TRIES):
            now = await self.replicas(name)
            if now.wanted == wanted:
                return now
            if now.wanted != expected:
                raise Conflict(f"expected: {name} has {now.wanted} replicas, not {expected}")
            change = {"metadata": {"resourceVersion": now.version}, "spec": {"replicas": wanted}}
            try:
                return _read(await self._cluster.patch(DEPLOYMENT, name, change, "scale"))
            except Conflict:  # its status has moved, or somebody has scaled it: the next look tells which
                if attempt == _TRIES - 1:
                    raise
        raise AssertionError("unreachable")


def _read(scale: Object) -> Replicas:
    return Replicas(
        name=scale["metadata"]["name"],
        wanted=scale["spec"].get("replicas", 0),
        present=scale.get("status", {}).get("replicas", 0),
        version=scale["metadata"]["resourceVersion"],
    )
