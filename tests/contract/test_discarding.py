"""Taking away the files of versions that nobody needs, over the registry's backends: what is needed is never touched."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.contract.registries import Backend, MlflowWorld
from tests.mlflow import fresh_model
from tools.errors import Conflict, PermanentError
from tools.leftovers import Leftover
from tools.registry import discarding
from tools.registry.port import Alias, Registry
from tools.registry.tracking import Tracking

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("mlflow")]


@pytest.fixture(params=["twin", "embedded", "server"])
def backend(request: pytest.FixtureRequest) -> Backend:
    found: Backend = request.getfixturevalue(f"{request.param}_backend")
    return found


def published(backend: Backend, model: str, count: int = 1) -> list[str]:
    """By runs of their own."""
    if isinstance(backend.world, MlflowWorld):
        return [backend.world.publish(model) for _ in range(count)]
    from tests.twins.registry import TwinRegistry
    from tools.registry.port import TrainingRun

    twin = backend.registry
    assert isinstance(twin, TwinRegistry)

    def run(number: int) -> TrainingRun:
        at = backend.clock.now()
        return TrainingRun(
            run_id=f"{model}-{number}", status="FINISHED", started_at=at, ended_at=at, params={}, metrics={}, tags={}
        )

    return [twin.publish(model, files={"model.pt2": b"a pt2 model"}, run=run(number)) for number in range(count)]


async def listed(registry: Registry, model: str, version: str) -> Leftover:
    return next(each for each in await registry.stored(model) if each.name == version)


async def crown(registry: Registry, model: str, version: str, expected: str | None) -> None:
    await registry.set_alias(
        model, Alias.CHAMPION, version, expected=expected, key=f"{model}/{version}", actor="ann", reason="better"
    )


async def test_a_version_that_nobody_needs_is_discarded_once_and_stays_on_record(backend: Backend, tmp_path: Path) -> None:
    registry, model = backend.registry, fresh_model()
    old, new = published(backend, model, 2)
    await crown(registry, model, new, None)
    item = await listed(registry, model, old)
    assert (item.kind, item.model, item.since) == ("version", model, (await registry.version(model, old)).created_at)
    assert item.size_bytes >= len("a pt2 model")
    first = await registry.discard(item)
    assert first.size_bytes == item.size_bytes
    assert await registry.discard(item) == first, "a repetition is told the same"
    assert [each.name for each in await registry.stored(model)] == [new]
    assert [each.version for each in await registry.versions(model)] == [new, old], "it stays on record"
    if isinstance(backend.world, MlflowWorld):
        assert (await registry.version(model, old)).format == "unknown", "listed, but not served"
    assert (await registry.fetch(model, new, tmp_path)).format == "pt2"


async def test_what_was_put_aside_can_be_had_back_until_it_is_emptied(backend: Backend, tmp_path: Path) -> None:
    registry, model = backend.registry, fresh_model()
    old, new = published(backend, model, 2)
    await crown(registry, model, new, None)
    item = await listed(registry, model, old)
    discarded = await registry.discard(item)
    if discarded.undo_until is None:
        # A store that can only delete has said so, and does not pretend to bring it back.
        with pytest.raises(PermanentError, match="gone for good"):
            await registry.restore(model, old)
        return
    await registry.restore(model, old)
    await registry.restore(model, old)
    assert await listed(registry, model, old) == item
    assert (await registry.fetch(model, old, tmp_path)).format == "pt2"
    again = await registry.discard(item)
    assert again.undo_until is not None
    assert await registry.empty(backend.clock.now() - timedelta(days=300)) == 0
    assert await registry.empty(backend.clock.now() + timedelta(days=300)) >= item.size_bytes
    assert await registry.empty(backend.clock.now() + timedelta(days=300)) == 0
    with pytest.raises(PermanentError, match="gone for good"):
        await registry.restore(model, old)
    assert (await registry.discard(item)).undo_until is None


@pytest.mark.parametrize("alias", [Alias.CHAMPION, Alias.CHALLENGER])
async def test_what_was_given_an_alias_since_the_listing_is_refused(backend: Backend, tmp_path: Path, alias: Alias) -> None:
    registry, model = backend.registry, fresh_model()
    (only,) = published(backend, model)
    item = await listed(registry, model, only)
    backend.world.move_externally(model, alias, only)
    with pytest.raises(Conflict, match=alias):
        await registry.discard(item)
    assert (await registry.fetch(model, only, tmp_path)).format == "pt2"
    assert await listed(registry, model, only) == item


async def test_the_champion_before_and_what_is_protected_are_refused(backend: Backend) -> None:
    registry, model = backend.registry, fresh_model()
    oldest, old, now, other = published(backend, model, 4)
    await crown(registry, model, oldest, None)
    await crown(registry, model, old, oldest)
    await crown(registry, model, now, old)
    with pytest.raises(Conflict, match="rollback"):
        await registry.discard(await listed(registry, model, old))
    with pytest.raises(Conflict, match="needed"):
        await registry.discard(await listed(registry, model, other), protected=(other,))
    await registry.discard(await listed(registry, model, oldest))
    assert {each.name for each in await registry.stored(model)} == {old, now, other}


async def test_what_is_not_what_was_listed_is_refused(backend: Backend) -> None:
    registry, model = backend.registry, fresh_model()
    (only,) = published(backend, model)
    item = await listed(registry, model, only)
    with pytest.raises(Conflict, match="listed"):
        await registry.discard(item.model_copy(update={"seen": "another"}))
    with pytest.raises(PermanentError):
        await registry.discard(item.model_copy(update={"name": "99"}))
    assert await listed(registry, model, only) == item


# Of MLflow.


@pytest.fixture
def world(embedded_backend: Backend) -> MlflowWorld:
    assert isinstance(embedded_backend.world, MlflowWorld)
    return embedded_backend.world


async def test_an_alias_of_any_name_protects(embedded_backend: Backend, world: MlflowWorld) -> None:
    registry, model = embedded_backend.registry, fresh_model()
    version = world.publish(model)
    item = await listed(registry, model, version)
    world.outside.name(model, "blessed-by-legal", version)
    with pytest.raises(Conflict, match="blessed-by-legal"):
        await registry.discard(item)


async def test_files_of_two_versions_are_the_files_of_neither(embedded_backend: Backend, world: MlflowWorld) -> None:
    registry, model = embedded_backend.registry, fresh_model()
    version = world.publish(model)
    item = await listed(registry, model, version)
    world.outside.register(model, version, "")
    assert await registry.stored(model) == ()
    with pytest.raises(PermanentError, match="the same files"):
        await registry.discard(item)


async def test_a_source_that_leads_elsewhere_is_never_touched(
    embedded_backend: Backend, world: MlflowWorld, tmp_path: Path
) -> None:
    """Whoever registers a version says where it lies; that is no reason to move somebody's folder."""
    registry, model = embedded_backend.registry, fresh_model()
    world.publish(model)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "model.pt2").write_text("mine")
    elsewhere = world.outside.register(model, "1", precious.as_uri())
    assert [each.name for each in await registry.stored(model)] == ["1"]
    made = (await registry.version(model, elsewhere)).created_at
    seen = discarding.seen(precious.as_uri(), round(made.timestamp() * 1000))
    item = Leftover(kind="version", model=model, name=elsewhere, size_bytes=4, since=made, seen=seen)
    with pytest.raises(PermanentError, match="its files"):
        await registry.discard(item)
    assert (precious / "model.pt2").read_text() == "mine"


class Raced(Tracking):
    """Somebody who does not use the platform's rules gives the version an alias between the look and the deed."""

    looks = 0

    def _refuse_carrier(self, item: Leftover) -> None:
        self.looks += 1
        if self.looks == 2:
            self._client.set_registered_model_alias(item.model, "prod", item.name)
        super()._refuse_carrier(item)


def _discard_in_a_race(uri: str, model: str) -> str:
    tracking = Raced(uri)
    (item,) = tracking.stored(model)
    try:
        tracking.discard(item, datetime(2026, 3, 1, tzinfo=UTC))
    except Conflict as error:
        return str(error)
    return "it was discarded"


async def test_an_alias_set_in_the_same_moment_brings_the_files_back(
    embedded_backend: Backend, world: MlflowWorld, tmp_path: Path
) -> None:
    registry, model = embedded_backend.registry, fresh_model()
    version = world.publish(model)
    item = await listed(registry, model, version)
    said = await asyncio.to_thread(
        lambda: world.outside.process.submit(_discard_in_a_race, world.outside.uri, model).result(60)
    )
    assert "prod" in said
    assert (await registry.fetch(model, version, tmp_path)).format == "pt2"
    assert await listed(registry, model, version) == item


async def test_a_deed_that_a_crash_cut_off_is_finished_by_the_repetition(embedded_backend: Backend, world: MlflowWorld) -> None:
    """Killed between the note and the deed: the note is there, and so are the files."""
    registry, model = embedded_backend.registry, fresh_model()
    version = world.publish(model)
    item = await listed(registry, model, version)
    at = embedded_backend.clock.now()
    noted = discarding.Mark(at=at, size_bytes=item.size_bytes, aside=True)
    world.outside.tag(model, version, discarding.TAG, noted.model_dump_json())
    assert (await registry.version(model, version)).format == "pt2"
    assert await registry.discard(item) == noted.told
    await registry.restore(model, version)
    assert await listed(registry, model, version) == item
