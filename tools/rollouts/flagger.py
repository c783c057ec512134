"""Rollouts that Flagger drives: we say on its `Canary` how far it may go, and it asks us before each step (`agents/gates.py`).

A version is an entry of the ConfigMap that the Deployment reads; a changed ConfigMap is a new revision to Flagger. What we ask
for is kept on the Canary, in the same write as what Flagger is told; the ConfigMap follows, changed on the version that it was
read at. Killed between the two, the repetition goes on; somebody's change in between is a Conflict, and nothing has begun.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from tools.errors import Conflict, PermanentError, TemporaryError
from tools.kubernetes.cluster import Cluster, Object
from tools.kubernetes.config_maps import ConfigMaps
from tools.kubernetes.errors import AlreadyExists, NotFound
from tools.kubernetes.kinds import CANARY, METRIC_TEMPLATE
from tools.rollouts import canaries
from tools.rollouts.canaries import RECORD, REVISION, Record, Settings
from tools.rollouts.found import Found, share_of
from tools.rollouts.port import Permit, Phase, Plan, Standing

T = TypeVar("T")

_TRIES = 5
"""Flagger writes its status between our reading and our writing, at most every few seconds."""
_QUIET = ("Initialized", "Succeeded", "Failed", "Waiting")
_BUSY = ("", "Initializing", "Promoting", "Finalising", "Terminating")
"""Phases in which Flagger copies what there is, and a new revision would be taken for the old one."""
_CREATED = "oppen/created-for"
_AS_IT_WAS = "as it was"


class FlaggerTraffic:
    mirrors = False

    def __init__(self, cluster: Cluster, settings: Settings, key: str) -> None:
        """`key`: that each Canary's own password is made of, see `canaries.webhooks`."""
        self._cluster = cluster
        self._settings = settings
        self._key = key
        self._configs = ConfigMaps(cluster)

    @property
    def namespace(self) -> str:
        return self._cluster.namespace

    async def ping(self) -> None:
        await self._cluster.list(CANARY, limit=1, most=1)

    async def state(self, model: str) -> Standing:
        return (await self._read(model)).standing()

    async def permit(self, model: str) -> Permit | None:
        """None: we have asked for nothing there. One read, for those who are waited for."""
        try:
            canary = await self._cluster.get(CANARY, self._settings.canary(model))
        except NotFound:
            return None
        record = canaries.record_of(canary)
        if record is None or record.model != model:
            return None
        return Permit(
            rollout=record.rollout,
            revision=record.revision,
            model=record.model,
            version=record.version,
            weight=share_of(canary),
            asked=record.asked,
            ending=record.ending,
            untouched=canary["metadata"].get("generation") == record.generation,
        )

    def is_canary(self, model: str, name: str) -> bool:
        """Whether the Canary of that name is the model's."""
        try:
            return self._settings.canary(model) == name
        except PermanentError:
            return False

    async def begin(self, plan: Plan, *, expected: int, key: str) -> Standing:
        if plan.steps[0] == 0:
            raise PermanentError("stages: Flagger copies no requests to a version that reads its name from a ConfigMap")

        async def attempt(found: Found) -> Standing:
            if found.canary is None:
                await self._create(found, plan, expected, key)
                raise self._busy(found)
            wish = f"{plan.version} {plan.steps}"
            made = _made(found, key, wish)
            if made is None:
                if found.token != expected and not _created_for(found, key):
                    raise _moved(found)
                record, steps = self._begun(found, plan)
                spec = self._spec(found, plan.key, steps, skip=False)
                after = {**found.config.data, self._settings.entry: plan.version, REVISION: record.revision}
                found, made = await self._keep(found, record, key, wish, spec, after)
            await self._serve(found, key)
            return (await self._read(plan.model)).standing(made)

        return await self._try(plan.model, attempt)

    async def shift(self, plan: Plan, step: int, *, expected: int, key: str) -> Standing:
        async def attempt(found: Found) -> Standing:
            wish = f"{plan.version} {plan.steps[step]}%"
            made = _made(found, key, wish)
            if made is None:
                record = _expected(found, expected)
                if record.version != plan.version or record.ending:
                    raise _moved(found)
                asking = record.model_copy(update={"asked": plan.steps[step]})
                found, made = await self._keep(found, asking, key, wish, None, found.config.data)
            return found.standing(made)

        return await self._try(plan.model, attempt)

    async def split(self, model: str, weights: dict[str, int], *, salt: str, expected: int, key: str) -> Standing:  # noqa: ARG002
        raise PermanentError(
            f"the traffic of {model} is moved by Flagger, which keeps no entity with its arm: experiments need the gateway"
        )

    async def give(self, model: str, version: str, *, expected: int, key: str) -> Standing:
        async def attempt(found: Found) -> Standing:
            wish = f"{version} for good"
            made = _made(found, key, wish)
            if made is None:
                if found.token != expected:
                    raise _moved(found)
                found, made = await self._given(found, version, key, wish)
            await self._serve(found, key)
            return self._arrived(await self._read(model), made)

        return await self._try(model, attempt)

    async def abort(self, model: str, to_version: str, *, expected: int, key: str) -> Standing:
        async def attempt(found: Found) -> Standing:
            wish = f"back to {to_version}"
            made = _made(found, key, wish)
            if made is None and found.record is None and found.token == expected:
                return self._back(found.standing(), to_version)
            if made is None:
                record = _expected(found, expected)
                ending = record.model_copy(update={"ending": "abort"})
                found, made = await self._keep(found, ending, key, wish, None, found.config.data)
            return self._back(self._arrived(found, made), to_version)

        return await self._try(model, attempt)

    async def restore(self, model: str, weights: dict[str, int], *, expected: int, key: str) -> Standing:
        found = await self._read(model)
        record = found.record
        made = record.made.get(key) if record is not None else None
        if made is not None and made[0] == _AS_IT_WAS:
            return found.standing(made[1])
        if made is None:
            if record is not None and record.ending == "promotion" and found.on_its_way and found.weights == weights:
                return await self._stay(model, expected, key)
            if len(weights) != 1:
                raise PermanentError(f"Flagger has no way back to {weights}: the traffic stays with {found.weights}")
        (version,) = weights
        return await self.give(model, version, expected=expected, key=key)

    # What is written.

    def _begun(self, found: Found, plan: Plan) -> tuple[Record, list[int]]:
        record, spec = found.record, (found.canary or {})["spec"]
        if spec.get("suspend"):
            raise PermanentError(f"{found.name}: the Canary is suspended")
        steps, revision = list(plan.steps), plan.key
        if record is not None and found.on_its_way and record.version == plan.version and not record.ending:
            share = found.weights.get(plan.version, 0)
            before = [step for step in spec["analysis"].get("stepWeights") or () if step <= share]
            steps, revision = [*before, *(step for step in plan.steps if step > share)], record.revision
        else:
            self._ready(found)
        return (
            Record(
                rollout=plan.key,
                model=plan.model,
                version=plan.version,
                from_version=plan.from_version,
                asked=plan.steps[0],
                revision=revision,
                found=canaries.digest(found.config.data),
                condition=canaries.condition_of(found.status),
                generation=0,
            ),
            steps,
        )

    async def _given(self, found: Found, version: str, key: str, wish: str) -> tuple[Found, int]:
        record = found.record
        if found.canary is None:
            raise PermanentError(f"there is no Canary {found.name}: Flagger has nothing to move")
        if record is not None and found.on_its_way and record.version == version and not record.ending:
            promoted = record.model_copy(update={"ending": "promotion", "asked": 100})
            return await self._keep(found, promoted, key, wish, None, found.config.data)
        if found.phase in _BUSY:
            raise self._busy(found)
        handed = Record(
            rollout=key,
            model=found.model,
            version=version,
            from_version=found.primary or "",
            asked=100,
            ending="hand over",
            revision=key,
            found=canaries.digest(found.config.data),
            condition=canaries.condition_of(found.status),
            generation=0,
        )
        spec = self._spec(found, key, list(found.canary["spec"]["analysis"].get("stepWeights") or [100]), skip=True)
        after = {**found.config.data, self._settings.entry: version, REVISION: key}
        return await self._keep(found, handed, key, wish, spec, after)

    async def _stay(self, model: str, expected: int, key: str) -> Standing:
        """A promotion that Flagger has not begun is not to be."""

        async def attempt(found: Found) -> Standing:
            staying = _expected(found, expected).model_copy(update={"ending": ""})
            found, made = await self._keep(found, staying, key, _AS_IT_WAS, None, found.config.data)
            return found.standing(made)

        return await self._try(model, attempt)

    async def _keep(
        self, found: Found, record: Record, key: str, wish: str, spec: Object | None, after: dict[str, str]
    ) -> tuple[Found, int]:
        """Write what is asked for, with what Flagger is told; the token that it makes, once the ConfigMap is `after`."""
        assert found.canary is not None
        metadata = found.canary["metadata"]
        # Each rollout's key is in its webhooks, so that a spec that is written is always another one.
        generation = metadata["generation"] + (0 if spec is None else 1)
        wanted = {**found.canary, "metadata": {**metadata, "generation": generation}}
        record = record.model_copy(update={"generation": generation})
        made = canaries.token(wanted, record, after)
        record = record.remembering(key, wish, made)
        noted = {"resourceVersion": metadata["resourceVersion"], "annotations": {RECORD: record.model_dump_json()}}
        change = {"metadata": noted, **({} if spec is None else {"spec": spec})}
        written = await self._cluster.patch(CANARY, found.name, change)
        if written["metadata"]["generation"] != generation:
            raise PermanentError(f"{found.name}: the API server counts its changes in another way than Kubernetes does")
        return Found(found.model, found.name, written, record, found.config, found.primary, found.target), made

    async def _serve(self, found: Found, key: str) -> None:
        """The ConfigMap after the Canary; done already where the revision is there."""
        record, data = found.record, found.config.data
        assert record is not None
        if data.get(REVISION) == record.revision:
            return
        if canaries.digest(data) != record.found:
            raise _Moved(f"somebody has changed the ConfigMap {found.config.name} since; {record.version} was not begun")
        change: dict[str, str | None] = {self._settings.entry: record.version, REVISION: record.revision}
        await self._configs.change(found.config.name, change, expected_version=found.config.version, key=key)

    async def _create(self, found: Found, plan: Plan, expected: int, key: str) -> None:
        if found.token != expected:
            raise _moved(found)
        for template in canaries.metric_templates(self._settings):
            try:
                await self._cluster.create(METRIC_TEMPLATE, template)
            except AlreadyExists:
                continue  # somebody's own words for it stand
        made = canaries.manifest(found.name, self._settings, self._spec(found, plan.key, list(plan.steps), skip=False))
        made["metadata"]["annotations"] = {_CREATED: key}
        await self._cluster.create(CANARY, made)

    def _spec(self, found: Found, key: str, steps: list[int], *, skip: bool) -> Object:
        metadata = {"model": found.model, "rollout": key}
        hooks = canaries.webhooks(self._settings, self.namespace, found.name, self._key, metadata)
        checks = canaries.metrics(self._settings, self.namespace, found.model)
        before = ((found.canary or {}).get("spec") or {}).get("analysis") or {}
        return {"skipAnalysis": skip, "analysis": canaries.analysis(before, self._settings, steps, hooks, checks)}

    # What is read.

    async def _read(self, model: str) -> Found:
        name, serving = self._settings.canary(model), self._settings.serving(model)
        canary, config, primary = await asyncio.gather(
            _or_none(self._cluster.get(CANARY, name)),
            self._configs.read(serving),
            _or_none(self._configs.read(f"{serving}-primary")),
        )
        copied = None if primary is None or canary is None else primary.data.get(self._settings.entry)
        record = None if canary is None else canaries.record_of(canary)
        return Found(model, name, canary, record, config, copied, config.data.get(self._settings.entry))

    async def _try(self, model: str, attempt: Callable[[Found], Awaitable[Standing]]) -> Standing:
        """Again where something was written between reading and writing, as long as it is not what we were told to expect."""
        for _ in range(_TRIES):
            found = await self._read(model)
            try:
                return await attempt(found)
            except _Moved as error:
                raise Conflict(str(error)) from error
            except Conflict as error:
                lost = error
        raise TemporaryError(f"{model}: it is written to all the time: {lost}") from lost

    def _ready(self, found: Found) -> None:
        if found.phase in _QUIET:
            return
        if found.phase in _BUSY or (found.record is not None and found.record.ending):
            raise self._busy(found)
        raise _Moved(f"{found.name}: Flagger is rolling out {found.target} for somebody else")

    def _arrived(self, found: Found, made: int) -> Standing:
        standing = found.standing(made)
        if standing.phase is Phase.FAILED:
            raise PermanentError(f"Flagger has taken it back: {standing.detail}")
        if standing.phase is Phase.MOVING:
            raise self._later(f"the traffic of {found.model} is still {standing.weights}: {standing.detail}")
        return standing

    def _back(self, standing: Standing, to_version: str) -> Standing:
        if standing.weights != {to_version: 100}:
            raise PermanentError(f"the rollout is over, and the traffic with {standing.weights}: deploy {to_version}")
        return standing

    def _busy(self, found: Found) -> TemporaryError:
        return self._later(f"Flagger is {found.phase}" if found.phase else f"Flagger has to take {found.name} in hand first")

    def _later(self, reason: str) -> TemporaryError:
        return TemporaryError(reason, retry_after=timedelta(seconds=self._settings.interval_s))


class _Moved(Conflict):
    """Somebody has: trying again would not help."""


def _made(found: Found, key: str, wish: str) -> int | None:
    if found.record is None or key not in found.record.made:
        return None
    before, token = found.record.made[key]
    if before != wish:
        raise _Moved(f"key: {key!r} has already asked for {before}")
    return token


def _expected(found: Found, expected: int) -> Record:
    if found.record is None or found.token != expected:
        raise _moved(found)
    return found.record


def _created_for(found: Found, key: str) -> bool:
    """Made by the try before this one, and nobody else has been there since."""
    metadata = (found.canary or {})["metadata"]
    annotations = metadata.get("annotations") or {}
    return found.record is None and annotations.get(_CREATED) == key and metadata.get("generation") == 1


def _moved(found: Found) -> "_Moved":
    return _Moved(f"{found.name}: somebody has changed the Canary or {found.config.name} since, the traffic is {found.weights}")


async def _or_none(reading: Awaitable[T]) -> T | None:
    try:
        return await reading
    except NotFound:
        return None
