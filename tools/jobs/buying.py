"""How the trainings of each model are bought on a cluster: kept in a ConfigMap, with the keys of the changes beside it."""

import json
from contextlib import suppress

from pydantic import TypeAdapter, ValidationError

from tools.costs.port import Pricing
from tools.errors import Conflict, PermanentError, TemporaryError
from tools.jobs.manifests import Settings, label
from tools.jobs.port import Buying
from tools.kubernetes.cluster import Cluster
from tools.kubernetes.config_maps import ConfigMaps, Configuration
from tools.values import Frozen

_REMEMBERED = 50
"""Changes of one model: a run repeats its own within days."""
_TRIES = 5
"""At the record, which is one for all models."""


class _Chosen(Frozen):
    pricing: Pricing
    changes: dict[str, Pricing]
    """By key, oldest first: what it asked for."""


_CHOSEN = TypeAdapter(_Chosen)
_NONE = _Chosen(pricing=Pricing.STANDARD, changes={})


class ClusterBuying:
    """A cluster without spot nodes, lasting checkpoints, or the record offers nothing but standard capacity."""

    def __init__(self, cluster: Cluster, settings: Settings) -> None:
        self._records = ConfigMaps(cluster)
        # Without a claim checkpoints go with their pod, so that every interruption would begin anew.
        able = settings.spot_node_selector and settings.checkpoints_claim
        self._record = settings.capacity_record if able else None

    async def now(self, model: str) -> Buying:
        if self._record is None:
            return Buying(pricing=Pricing.STANDARD, offered=(Pricing.STANDARD,))
        return _as_told(_chosen(await self._records.read(self._record), model))

    async def change(self, model: str, pricing: Pricing, *, expected: Pricing, key: str) -> Buying:
        if self._record is None or pricing is Pricing.COMMITTED:
            require_offered(pricing, (Pricing.STANDARD,) if self._record is None else _OFFERED)
            return await self.now(model)
        for _ in range(_TRIES):
            record = await self._records.read(self._record)
            chosen = _chosen(record, model)
            if (known := chosen.changes.get(key)) is not None:
                if known is not pricing:
                    raise Conflict(f"key: {key!r} has already asked for {known}")
                return _as_told(chosen)
            if chosen.pricing is not expected:
                raise Conflict(f"expected: trainings of {model} are bought as {chosen.pricing}, not {expected}")
            changes = dict([*chosen.changes.items(), (key, pricing)][-_REMEMBERED:])
            made = _Chosen(pricing=pricing, changes=changes)
            with suppress(Conflict):  # another model's was written meanwhile
                text = _CHOSEN.dump_json(made).decode()
                await self._records.change(record.name, {label(model): text}, expected_version=record.version, key=key)
                return _as_told(made)
        raise TemporaryError(f"the ConfigMap {self._record} is changed by too many at once")


_OFFERED = (Pricing.STANDARD, Pricing.SPOT)


def require_offered(pricing: Pricing, offered: tuple[Pricing, ...]) -> None:
    """Raises PermanentError."""
    if pricing not in offered:
        raise PermanentError(f"pricing: jobs are not bought as {pricing} here, but as {' or '.join(offered)}")


def _as_told(chosen: _Chosen) -> Buying:
    return Buying(pricing=chosen.pricing, offered=_OFFERED)


def _chosen(record: Configuration, model: str) -> _Chosen:
    text = record.data.get(label(model))
    if text is None:
        return _NONE
    try:
        return _CHOSEN.validate_python(json.loads(text))
    except (ValueError, ValidationError) as error:
        raise PermanentError(f"the ConfigMap {record.name}: its entry {label(model)} is not ours: {error}") from error
