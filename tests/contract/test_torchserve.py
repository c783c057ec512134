"""The model server port over TorchServe: as it was recorded, and the real one (`make test-servers`)."""

import json
import zipfile
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.gateway.model_files import write_pt2
from tests.torchserve import RunningTorchServe, fresh_model
from tests.twins.torchserve import TwinTorchServe
from tools.errors import Conflict, PermanentError, TemporaryError
from tools.registry.port import ModelFiles
from tools.serving.archives import write_archive
from tools.serving.model_servers import HostedVersion, ModelServer, Unregistered
from tools.serving.torchserve import TorchServe, open_torchserve
from tools.serving.torchserve_keys import KeyFile

Archives = dict[str, str]


@pytest.fixture
async def server(torchserve: RunningTorchServe) -> AsyncIterator[TorchServe]:
    async with open_torchserve(torchserve.management, torchserve.key_file) as opened:
        yield opened


@pytest.fixture
def model() -> str:
    return fresh_model()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {version: write_pt2(root / version, slope) for version, slope in (("1", 1.0), ("2", 2.0), ("other", 3.0))}


@pytest.fixture
def archives(torchserve: RunningTorchServe, folders: dict[str, Path], model: str) -> Archives:
    """Of versions 1 and 2; `other` is another archive of version 1."""

    def write(version: str, folder: Path) -> str:
        return write_archive(ModelFiles(model=model, version=version, folder=folder, format="pt2"), torchserve.store)

    return {name: write("1" if name == "other" else name, folder) for name, folder in folders.items()}


async def test_it_is_a_model_server_and_lets_us_in(server: TorchServe, model: str) -> None:
    assert isinstance(server, ModelServer)
    await server.ping()
    assert await server.versions(model) == ()
    assert model not in await server.models()


async def test_a_version_is_registered_with_its_workers_and_the_first_is_the_default(
    server: TorchServe, archives: Archives, model: str
) -> None:
    first = await server.register(model, "1", archives["1"], workers=1)
    assert first == HostedVersion(model=model, version="1", archive=archives["1"], workers=1, ready=1, default=True)
    await server.register(model, "2", archives["2"], workers=0)
    assert [(v.version, v.workers, v.ready, v.default) for v in await server.versions(model)] == [
        ("1", 1, 1, True),
        ("2", 0, 0, False),
    ]
    assert model in await server.models()


async def test_registering_it_again_is_no_error_and_brings_its_workers(
    server: TorchServe, archives: Archives, model: str
) -> None:
    await server.register(model, "1", archives["1"], workers=0)
    again = await server.register(model, "1", archives["1"], workers=1)
    assert (again.workers, again.ready) == (1, 1)
    assert await server.register(model, "1", archives["1"], workers=1) == again


async def test_another_archive_of_the_same_version_is_a_conflict(server: TorchServe, archives: Archives, model: str) -> None:
    await server.register(model, "1", archives["1"], workers=0)
    with pytest.raises(Conflict, match=archives["1"]):
        await server.register(model, "1", archives["other"], workers=0)
    assert [v.archive for v in await server.versions(model)] == [archives["1"]]


async def test_workers_are_changed_as_often_as_one_likes(server: TorchServe, archives: Archives, model: str) -> None:
    await server.register(model, "1", archives["1"], workers=0)
    for workers in (2, 2, 0):
        await server.scale(model, "1", workers)
        (found,) = await server.versions(model)
        assert (found.workers, found.ready) == (workers, workers)


async def test_the_default_is_set_and_only_others_can_be_removed(server: TorchServe, archives: Archives, model: str) -> None:
    for version in ("1", "2"):
        await server.register(model, version, archives[version], workers=0)
    for _ in range(2):
        await server.set_default(model, "2")
    with pytest.raises(Conflict, match="make another version the default"):
        await server.remove(model, "2")
    for _ in range(2):
        await server.remove(model, "1")
    assert [(v.version, v.default) for v in await server.versions(model)] == [("2", True)]
    # The last one may go.
    await server.remove(model, "2")
    assert await server.versions(model) == ()


async def test_what_is_not_registered_is_named(server: TorchServe, archives: Archives, model: str) -> None:
    with pytest.raises(Unregistered, match=model):
        await server.scale(model, "1", 1)
    await server.register(model, "1", archives["1"], workers=0)
    for refused in (server.scale(model, "9", 1), server.set_default(model, "9")):
        with pytest.raises(Unregistered, match="9"):
            await refused


async def test_an_archive_that_is_none_is_refused(
    server: TorchServe, torchserve: RunningTorchServe, archives: Archives, model: str
) -> None:
    (torchserve.store / "broken.mar").write_text("no zip")
    for archive, why in (("nowhere.mar", "not found"), ("../nowhere.mar", "not allowed"), ("broken.mar", "not defined")):
        with pytest.raises(PermanentError, match=why):
            await server.register(model, "1", archive, workers=0)
    with pytest.raises(PermanentError, match="holds no"):
        await server.register(model, "7", archives["1"], workers=0)


async def test_a_version_whose_workers_do_not_start_is_refused_and_gone(
    server: TorchServe, torchserve: RunningTorchServe, model: str
) -> None:
    with zipfile.ZipFile(torchserve.store / f"{model}.mar", "w") as archive:
        named = {"modelName": model, "modelVersion": "1", "handler": "dying.py"}
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps({"runtime": "python", "model": named}))
        archive.writestr("dying.py", "raise RuntimeError('no')\n")
    with pytest.raises(PermanentError, match="start workers"):
        await server.register(model, "1", f"{model}.mar", workers=1)
    assert await server.versions(model) == ()


async def test_a_wrong_token_is_explained_and_not_shown(torchserve: RunningTorchServe, tmp_path: Path) -> None:
    keys = {"management": {"key": "of-another"}, "inference": {"key": "of-another"}, "API": {"key": "of-another"}}
    wrong = tmp_path / "key_file.json"
    wrong.write_text(json.dumps(keys))
    async with open_torchserve(torchserve.management, wrong) as server:
        with pytest.raises(PermanentError, match="in the folder where this very server was started") as raised:
            await server.ping()
    assert "of-another" not in str(raised.value)


async def test_a_token_that_somebody_else_has_renewed_is_read_again(torchserve: RunningTorchServe, server: TorchServe) -> None:
    await server.ping()
    renewal = json.loads(torchserve.key_file.read_text())["API"]["key"]
    async with httpx.AsyncClient(base_url=torchserve.management) as client:
        query, headers = {"type": "management"}, {"authorization": f"Bearer {renewal}"}
        assert (await client.get("/token", params=query, headers=headers)).status_code == 200
    await server.ping()


async def test_a_token_that_has_expired_is_renewed(twin_torchserve: TwinTorchServe) -> None:
    async with open_torchserve(twin_torchserve.management, twin_torchserve.key_file) as server:
        await server.ping()
        twin_torchserve.expire()
        await server.ping()


def test_many_that_find_it_expired_at_once_renew_it_once(twin_torchserve: TwinTorchServe) -> None:
    auth = KeyFile(twin_torchserve.key_file, "inference", twin_torchserve.management)
    with (
        httpx.Client(base_url=twin_torchserve.inference, auth=auth) as client,
        ThreadPoolExecutor(8, initializer=client.get, initargs=("/ping",)) as threads,
    ):
        for _ in range(5):
            twin_torchserve.expire()
            renewed = twin_torchserve.renewals
            answers = list(threads.map(lambda _: client.get("/ping").status_code, range(8)))
            assert answers == [200] * 8
            assert twin_torchserve.renewals == renewed + 1


@pytest.mark.parametrize("content", [None, "{", '{"management": {}}'])
async def test_a_key_file_that_is_not_there_yet_is_waited_for(twin_torchserve: TwinTorchServe, content: str | None) -> None:
    written = twin_torchserve.key_file.read_text()
    if content is None:
        twin_torchserve.key_file.unlink()
    else:
        twin_torchserve.key_file.write_text(content)
    async with open_torchserve(twin_torchserve.management, twin_torchserve.key_file) as server:
        with pytest.raises(TemporaryError, match="key file"):
            await server.ping()
        twin_torchserve.key_file.write_text(written)
        await server.ping()


async def test_a_server_without_the_model_api_is_explained(tmp_path: Path) -> None:
    twin = TwinTorchServe(tmp_path, model_api=False)
    twin.start()
    try:
        async with open_torchserve(twin.management, twin.key_file) as server:
            with pytest.raises(PermanentError, match="--enable-model-api"):
                await server.register("late", "1", "late.mar", workers=1)
    finally:
        twin.stop()


async def test_more_models_than_fit_on_a_page_are_all_listed(twin_torchserve: TwinTorchServe, folders: dict[str, Path]) -> None:
    async with open_torchserve(twin_torchserve.management, twin_torchserve.key_file) as server:
        names = [f"m{n}" for n in range(3)]
        for name in names:
            files = ModelFiles(model=name, version="1", folder=folders["1"], format="pt2")
            await server.register(name, "1", write_archive(files, twin_torchserve.store), workers=0)
        server.page = 2
        assert list(await server.models()) == names


async def test_a_server_that_is_down_is_a_temporary_error(twin_torchserve: TwinTorchServe) -> None:
    async with open_torchserve(twin_torchserve.management, twin_torchserve.key_file) as server:
        twin_torchserve.stop()
        with pytest.raises(TemporaryError, match="does not answer"):
            await server.ping()
