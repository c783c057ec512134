"""TorchServe for the tests: as it was recorded, and the real one where `OPPEN_TEST_TORCHSERVE` names its program
(`make test-servers` does)."""

import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import httpx
import pytest

from simulations.processes import free_port
from tests.twins.torchserve import TwinTorchServe

_START_LIMIT_S = 90.0


class RunningTorchServe(Protocol):
    @property
    def store(self) -> Path: ...
    @property
    def key_file(self) -> Path: ...
    @property
    def inference(self) -> str: ...
    @property
    def management(self) -> str: ...
    def start(self) -> None: ...
    def stop(self) -> None:
        """As a crash would."""
        ...

    def freeze(self) -> None: ...
    def thaw(self) -> None: ...


class RealTorchServe:
    def __init__(self, program: Path, folder: Path) -> None:
        self.store = folder / "store"
        self.key_file = folder / "key_file.json"
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        inference, management, metrics, *grpc = (free_port() for _ in range(5))
        self.inference = f"http://127.0.0.1:{inference}"
        self.management = f"http://127.0.0.1:{management}"
        self._config = folder / "config.properties"
        for made in (self.store, folder / "tmp"):
            made.mkdir()
        self._config.write_text(
            f"inference_address={self.inference}\n"
            f"management_address={self.management}\n"
            f"metrics_address=http://127.0.0.1:{metrics}\n"
            f"grpc_inference_port={grpc[0]}\n"
            f"grpc_management_port={grpc[1]}\n"
            f"model_store={self.store}\n"
            "enable_model_api=true\n"
            "disable_system_metrics=true\n"
        )

    def start(self) -> None:
        """The key file is written where it is started, and its workers' sockets in TEMP."""
        environment = {**os.environ, "TEMP": str(self._folder / "tmp"), "LOG_LOCATION": str(self._folder / "logs")}
        environment["PATH"] = f"{self._program.parent}{os.pathsep}{environment['PATH']}"
        self.key_file.unlink(missing_ok=True)
        with (self._folder / "out.log").open("ab") as out:
            self._process = subprocess.Popen(
                [self._program, "--foreground", "--ncs", "--ts-config", self._config],
                cwd=self._folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        end = time.monotonic() + _START_LIMIT_S
        while not (self.key_file.exists() and self._listens()):
            assert self._process.poll() is None, f"TorchServe ended:\n{(self._folder / 'out.log').read_text()[-3000:]}"
            assert time.monotonic() < end, "TorchServe was not ready in time"
            time.sleep(0.1)

    def stop(self) -> None:
        """Its program leaves the Java process behind when it is told to end, so the whole group is."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGCONT)

    def _listens(self) -> bool:
        """Without a token it says 400, which will do."""
        try:
            return httpx.get(f"{self.inference}/ping").status_code == httpx.codes.BAD_REQUEST
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def real_torchserve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealTorchServe]:
    """Skips where there is none. Four seconds to start, so one for all tests of a module: they use models of their own."""
    program = os.environ.get("OPPEN_TEST_TORCHSERVE")
    if not program:
        pytest.skip("no TorchServe: `make test-servers` installs one, or set OPPEN_TEST_TORCHSERVE to its program")
    server = RealTorchServe(Path(program), tmp_path_factory.mktemp("torchserve"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def twin_torchserve(tmp_path: Path) -> Iterator[TwinTorchServe]:
    folder = tmp_path / "torchserve"
    folder.mkdir()
    twin = TwinTorchServe(folder)
    try:
        twin.start()
        yield twin
    finally:
        twin.stop()


@pytest.fixture(
    params=["recorded", pytest.param("real", marks=[pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(600)])]
)
def torchserve(request: pytest.FixtureRequest) -> Iterator[RunningTorchServe]:
    server: RunningTorchServe = request.getfixturevalue("twin_torchserve" if request.param == "recorded" else "real_torchserve")
    yield server
    server.thaw()


def fresh_model() -> str:
    """The real server outlives a test."""
    return f"late-{uuid.uuid4().hex[:8]}"
