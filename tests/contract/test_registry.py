"""The registry's port over its backends: the twin, MLflow in a file, and a real MLflow tracking server.

The tests share a backend, so every test has a model of its own in it.
"""

import asyncio
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.contract.registries import Backend, World
from tests.mlflow import fresh_model
from tests.twins.clock import SteppedClock
from tests.twins.registry import TwinRegistry
from tests.unit.agents.quantizations import measured as quantised
from tools.errors import Conflict, PermanentError
from tools.registry.evaluations import Compared, Evaluation, Facts
from tools.registry.mlflow import MlflowRegistry
from tools.registry.port import Alias, AliasChange, ArtifactFormat, Registry, RegistryReader
from tools.registry.serving_spec import FILE, NumericFeature, ServingSpec
from tools.registry.signing import digest, sign, sign_quantization
from tools.tables import stored
from tools.tables.port import ColumnProfile, Distributions
from tools.values import Window

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("mlflow")]

CHAMPION, CHALLENGER = Alias.CHAMPION, Alias.CHALLENGER


@pytest.fixture(params=["twin", "embedded", pytest.param("server", marks=pytest.mark.slow)])
def backend(request: pytest.FixtureRequest) -> Backend:
    backend: Backend = request.getfixturevalue(f"{request.param}_backend")
    return backend


@pytest.fixture
def registry(backend: Backend) -> Registry:
    return backend.registry


@pytest.fixture
def world(backend: Backend) -> World:
    return backend.world


@pytest.fixture
def clock(backend: Backend) -> SteppedClock:
    backend.clock.pass_(timedelta(hours=1))
    return backend.clock


@pytest.fixture
def model() -> str:
    return fresh_model()


async def move(
    registry: Registry, model: str, to: str | None, *, expected: str | None, key: str, alias: Alias = CHAMPION
) -> AliasChange:
    # Keys are the installation's, and the tests share one.
    return await registry.set_alias(
        model, alias, to, expected=expected, key=f"{model}/{key}", actor="ann", reason="it is better"
    )


async def test_it_is_a_registry_and_answers(registry: Registry) -> None:
    assert isinstance(registry, Registry)
    assert isinstance(registry, RegistryReader)
    await registry.ping()


async def test_an_unknown_model_has_no_versions_no_alias_and_no_history(registry: Registry, model: str) -> None:
    assert await registry.versions(model) == ()
    assert await registry.alias(model, CHAMPION) is None
    assert await registry.history(model) == ()


async def test_a_registered_model_is_listed(registry: Registry, world: World, model: str) -> None:
    assert model not in await registry.models()
    world.publish(model)
    assert model in await registry.models()


async def test_versions_come_newest_first_with_what_is_known_of_them(registry: Registry, world: World, model: str) -> None:
    for _ in range(11):
        world.publish(model, tags={"data.to": "2013-03-01"})
    versions = await registry.versions(model)
    assert [version.version for version in versions] == [str(n) for n in range(11, 0, -1)]
    assert {version.format for version in versions} == {"pt2"}
    assert versions[0].tags == {"data.to": "2013-03-01"}
    assert versions[0].created_at >= versions[-1].created_at
    assert await registry.version(model, "11") == versions[0]


@pytest.mark.parametrize("version", ["9", "0", "latest", "../1", ""])
async def test_a_version_that_does_not_exist_is_a_permanent_error(
    version: str, registry: Registry, world: World, model: str
) -> None:
    world.publish(model)
    with pytest.raises(PermanentError):
        await registry.version(model, version)


async def test_an_alias_moves_and_the_history_says_who_when_and_why(
    registry: Registry, world: World, model: str, clock: SteppedClock
) -> None:
    first, second = world.publish(model), world.publish(model)
    one = await move(registry, model, first, expected=None, key="1")
    clock.pass_(timedelta(minutes=5))
    two = await move(registry, model, second, expected=first, key="2")
    assert await registry.alias(model, CHAMPION) == second
    assert await registry.history(model) == (one, two)
    assert (two.before, two.after, two.at, two.actor, two.reason) == (first, second, clock.now(), "ann", "it is better")
    assert await registry.history(model, since=two.at) == (two,)


async def test_the_two_aliases_move_apart(registry: Registry, world: World, model: str) -> None:
    first, second = world.publish(model), world.publish(model)
    await move(registry, model, first, expected=None, key="1")
    await move(registry, model, second, expected=None, key="2", alias=CHALLENGER)
    assert await registry.alias(model, CHAMPION) == first
    assert await registry.alias(model, CHALLENGER) == second


async def test_a_key_acts_once(registry: Registry, world: World, model: str) -> None:
    first, second = world.publish(model), world.publish(model)
    one = await move(registry, model, first, expected=None, key="1")
    await move(registry, model, second, expected=first, key="2")
    assert await move(registry, model, first, expected=None, key="1") == one
    assert await registry.alias(model, CHAMPION) == second


async def test_an_alias_that_is_elsewhere_is_a_conflict_and_stays(registry: Registry, world: World, model: str) -> None:
    first, second = world.publish(model), world.publish(model)
    await move(registry, model, first, expected=None, key="1")
    with pytest.raises(Conflict):
        await move(registry, model, second, expected=None, key="2")
    with pytest.raises(Conflict):
        await move(registry, model, first, expected=second, key="3")
    assert await registry.alias(model, CHAMPION) == first


async def test_an_alias_is_taken_off_once_and_may_be_given_again(registry: Registry, world: World, model: str) -> None:
    first = world.publish(model)
    await move(registry, model, first, expected=None, key="1", alias=CHALLENGER)
    with pytest.raises(Conflict):
        await move(registry, model, None, expected="2", key="2", alias=CHALLENGER)
    gone = await move(registry, model, None, expected=first, key="3", alias=CHALLENGER)
    assert (gone.before, gone.after, await registry.alias(model, CHALLENGER)) == (first, None, None)
    await move(registry, model, first, expected=None, key="4", alias=CHALLENGER)
    assert await move(registry, model, None, expected=first, key="3", alias=CHALLENGER) == gone
    assert await registry.alias(model, CHALLENGER) == first
    assert [each.origin for each in await registry.history(model)] == ["oppen"] * 3


async def test_of_moves_at_once_one_wins(registry: Registry, world: World, model: str) -> None:
    first, second = world.publish(model), world.publish(model)
    await move(registry, model, first, expected=None, key="0")
    tried = await asyncio.gather(
        *(move(registry, model, second, expected=first, key=str(n)) for n in range(1, 6)), return_exceptions=True
    )
    assert sum(isinstance(result, Conflict) for result in tried) == 4
    assert await registry.alias(model, CHAMPION) == second
    assert len(await registry.history(model)) == 2


async def test_an_alias_does_not_move_to_a_version_that_does_not_exist(registry: Registry, world: World, model: str) -> None:
    world.publish(model)
    with pytest.raises(PermanentError):
        await move(registry, model, "9", expected=None, key="1")
    assert await registry.alias(model, CHAMPION) is None
    assert await registry.history(model) == ()


async def test_moves_by_others_are_noticed_and_kept(registry: Registry, world: World, model: str, clock: SteppedClock) -> None:
    first, second = world.publish(model), world.publish(model)
    await move(registry, model, first, expected=None, key="1")
    clock.pass_(timedelta(minutes=5))
    world.move_externally(model, CHAMPION, second)
    (_, noticed) = await registry.history(model)
    assert (noticed.before, noticed.after, noticed.origin, noticed.at) == (first, second, "external", clock.now())
    world.move_externally(model, CHAMPION, None)
    assert [change.after for change in await registry.history(model)] == [first, second, None]


async def test_which_version_carried_the_alias_at_a_moment(
    registry: Registry, world: World, model: str, clock: SteppedClock
) -> None:
    first, second = world.publish(model), world.publish(model)
    before = clock.now()
    clock.pass_(timedelta(minutes=1))
    one = await move(registry, model, first, expected=None, key="1")
    clock.pass_(timedelta(minutes=1))
    two = await move(registry, model, second, expected=first, key="2")
    assert await registry.alias_at(model, CHAMPION, before) is None
    assert await registry.alias_at(model, CHAMPION, one.at) == first
    assert await registry.alias_at(model, CHAMPION, two.at - timedelta(microseconds=1)) == first
    assert await registry.alias_at(model, CHAMPION, two.at) == second
    assert await registry.alias_at(model, CHALLENGER, two.at) is None


@pytest.mark.parametrize("format", ["pt2", "onnx", "pickle", "unknown"])
async def test_a_version_is_fetched_in_its_format(
    format: ArtifactFormat, registry: Registry, world: World, model: str, tmp_path: Path
) -> None:
    version = world.publish(model, format=format)
    files = await registry.fetch(model, version, tmp_path)
    assert files.folder == tmp_path / model / version
    assert files.format == format == (await registry.version(model, version)).format
    assert (files.folder / FILE).read_text() == "{}"
    assert await registry.fetch(model, version, tmp_path) == files


async def test_versions_are_fetched_side_by_side(registry: Registry, world: World, model: str, tmp_path: Path) -> None:
    versions = [world.publish(model), world.publish(model, format="onnx")]
    fetched = await asyncio.gather(*(registry.fetch(model, versions[n % 2], tmp_path) for n in range(6)))
    assert [files.version for files in fetched] == versions * 3
    assert sorted(path.name for path in (tmp_path / model).iterdir()) == sorted(versions)


async def test_a_version_that_does_not_exist_is_not_fetched(registry: Registry, model: str, tmp_path: Path) -> None:
    with pytest.raises(PermanentError):
        await registry.fetch(model, "1", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "version"), [("..", "1"), ("a/b", "1"), ("/etc", "1"), ("model", ".."), ("model", "1/2")])
async def test_names_that_lead_out_of_the_folder_are_refused(
    name: str, version: str, registry: Registry, tmp_path: Path
) -> None:
    with pytest.raises(PermanentError):
        await registry.fetch(name, version, tmp_path / "models")
    assert list(tmp_path.rglob("*")) == []


async def test_what_a_version_was_trained_on_is_read_from_beside_it(registry: Registry, world: World, model: str) -> None:
    window = Window(start=datetime(2026, 1, 1, tzinfo=UTC), end=datetime(2026, 2, 1, tzinfo=UTC))
    learnt = Distributions(window=window, rows=3, features=(ColumnProfile("x", "numeric", 3, values={1.5: 3}).with_moments(),))
    told = world.publish(model, beside={stored.FILE: stored.written(learnt).encode()})
    silent, broken = world.publish(model), world.publish(model, beside={stored.FILE: b"not ours"})
    assert await registry.reference(model, told) == learnt
    assert await registry.reference(model, silent) is None
    with pytest.raises(PermanentError, match="reference"):
        await registry.reference(model, broken)
    with pytest.raises(PermanentError):
        await registry.reference(model, "77")


async def test_how_a_version_is_served_is_read_without_its_model(registry: Registry, world: World, model: str) -> None:
    spec = ServingSpec(features=(NumericFeature(name="distance"),), task="regression")
    told = world.publish(model, beside={"serving.json": spec.model_dump_json().encode()})
    odd = world.publish(model, beside={"serving.json": b"[]"})
    assert await registry.serving(model, told) == spec
    assert await registry.serving(model, odd) is None
    with pytest.raises(PermanentError):
        await registry.serving(model, "77")


def measured(model: str, candidate: str, champion: str, **more: object) -> Evaluation:
    given: dict[str, object] = {
        "model": model,
        "version": candidate,
        "champion": champion,
        "held_out": None,
        "recent": None,
        "facts": Facts(compared=(Compared(name="accuracy", window="held_out", candidate=0.9, champion=0.7, rows=9),)),
        "measured_at": datetime(2026, 1, 1, tzinfo=UTC),
        **more,
    }
    return Evaluation.model_validate(given)


async def of_the_files(registry: Registry, model: str, candidate: str, champion: str, folder: Path) -> Evaluation:
    ours, theirs = [digest((await registry.fetch(model, each, folder)).folder) for each in (candidate, champion)]
    return measured(model, candidate, champion, job="oppen-evaluation-1", artefact=ours, champion_artefact=theirs)


async def test_a_claim_is_read_from_the_run_of_the_candidate_and_is_no_evaluation(
    registry: Registry, world: World, model: str
) -> None:
    champion, candidate = world.publish(model), world.publish(model)
    assert await registry.claim(model, candidate, champion) is None
    said = measured(model, candidate, champion)
    world.boast(model, candidate, champion, said.model_dump_json())
    assert await registry.claim(model, candidate, champion) == said
    assert await registry.claim(model, champion, candidate) is None
    assert await registry.evaluation(model, candidate, champion) is None
    world.boast(model, champion, candidate, "not ours")
    with pytest.raises(PermanentError, match="claim"):
        await registry.claim(model, champion, candidate)
    with pytest.raises(PermanentError):
        await registry.claim(model, "77", champion)


async def test_an_evaluation_is_believed_that_is_signed_for_these_files(
    registry: Registry, world: World, model: str, tmp_path: Path
) -> None:
    champion, candidate = world.publish(model), world.publish(model)
    assert await registry.evaluation(model, candidate, champion) is None
    found = await of_the_files(registry, model, candidate, champion, tmp_path)
    world.evaluate(model, candidate, champion, sign(found, TwinRegistry.key))
    assert await registry.evaluation(model, candidate, champion) == found
    for text, why in (
        (found.model_dump_json(), "cannot be read"),
        (sign(found, "another"), "signature is not ours"),
        (sign(found.model_copy(update={"artefact": "0" * 64}), TwinRegistry.key), "have been changed"),
        (sign(found.model_copy(update={"champion_artefact": "0" * 64}), TwinRegistry.key), "have been changed"),
        (sign(found.model_copy(update={"version": champion}), TwinRegistry.key), "is really that of"),
    ):
        world.evaluate(model, candidate, champion, text)
        with pytest.raises(PermanentError, match=why):
            await registry.evaluation(model, candidate, champion)


@pytest.mark.parametrize("spoilt", ["candidate", "champion"])
async def test_an_evaluation_stands_for_the_files_that_it_was_made_of(
    spoilt: str, registry: Registry, world: World, model: str, tmp_path: Path
) -> None:
    champion, candidate = world.publish(model), world.publish(model)
    found = await of_the_files(registry, model, candidate, champion, tmp_path)
    world.evaluate(model, candidate, champion, sign(found, TwinRegistry.key))
    assert await registry.evaluation(model, candidate, champion) == found
    changed = candidate if spoilt == "candidate" else champion
    world.spoil(model, changed, "model.pt2", b"something else")
    with pytest.raises(PermanentError, match=f"the files of {model} {changed} have been changed"):
        await registry.evaluation(model, candidate, champion)


async def test_what_a_quantisation_measured_is_believed_that_is_signed_for_these_files(
    registry: Registry, world: World, model: str, tmp_path: Path
) -> None:
    original, other = world.publish(model), world.publish(model)
    assert await registry.quantization(model, original) is None
    now = [digest((await registry.fetch(model, each, tmp_path)).folder) for each in (original, other)]
    given = {"model": model, "version": original, "original_artefact": now[0], "artefact": now[1]}
    found = quantised().model_copy(update=given)
    registered = found.model_copy(update={"produced": other})
    for said in (found, registered):
        world.quantize(model, original, sign_quantization(said, TwinRegistry.key))
        assert await registry.quantization(model, original) == said
    for text, why in (
        (found.model_dump_json(), "cannot be read"),
        (sign_quantization(found, "another"), "signature is not ours"),
        (sign_quantization(found.model_copy(update={"version": other}), TwinRegistry.key), "is really that of"),
        (sign_quantization(found.model_copy(update={"original_artefact": "0"}), TwinRegistry.key), "have been changed"),
        (sign_quantization(registered.model_copy(update={"artefact": "0"}), TwinRegistry.key), f"{other} have been changed"),
    ):
        world.quantize(model, original, text)
        with pytest.raises(PermanentError, match=why):
            await registry.quantization(model, original)


async def test_files_are_read_where_nobody_else_waits_and_only_for_what_is_signed(
    embedded_backend: Backend, model: str, tmp_path: Path
) -> None:
    """A model of some gigabytes takes minutes to read; the process that reads it is stopped here for as long as it takes."""
    registry, world = embedded_backend.registry, embedded_backend.world
    assert isinstance(registry, MlflowRegistry)
    champion, candidate = world.publish(model), world.publish(model)
    found = await of_the_files(registry, model, candidate, champion, tmp_path)
    world.evaluate(model, candidate, champion, sign(found, TwinRegistry.key))
    world.evaluate(model, champion, candidate, sign(found, "another"))
    await registry._reading.start()
    child = registry._reading._child
    assert child is not None
    os.kill(child._process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(PermanentError, match="signature is not ours"):
            await registry.evaluation(model, champion, candidate)
        reading = asyncio.create_task(registry.evaluation(model, candidate, champion))
        while not child._pending:
            await asyncio.sleep(0)
        assert await registry.alias(model, CHAMPION) is None
        assert not reading.done()
    finally:
        os.kill(child._process.pid, signal.SIGCONT)
    assert await reading == found
