"""The loader as a program: between a gateway's folder and a server that is not always there."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from simulations.processes import free_port
from tests.contract.predictions import HOUR, fresh_model, predicted, segment
from tools.predictions.clickhouse import ClickHouseStore

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("predictions")]


@pytest.fixture
def programs() -> Iterator[list["subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for program in started:
        program.kill()
        program.communicate()


def start(folder: Path, url: str, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "gateway.loader", "--segments", str(folder), "--every-s", "0.05", *more]
    environment = {**os.environ, "OPPEN_PREDICTIONS_URL": url}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(program: "subprocess.Popen[str]", event: str) -> dict[str, object]:
    """Waits for it."""
    errors: IO[str] | None = program.stderr
    assert errors is not None
    for line in errors:
        found: dict[str, object] = json.loads(line)
        if found["event"] == event:
            return found
    raise AssertionError(f"it ended without {event}")


async def test_it_loads_what_comes_and_ends_when_it_is_told(
    programs: list["subprocess.Popen[str]"], clickhouse_url: str, server_predictions: ClickHouseStore, tmp_path: Path
) -> None:
    model = fresh_model()
    path = segment(tmp_path, [predicted(str(n), model) for n in range(3)])
    program = start(tmp_path, clickhouse_url, "--archive", str(tmp_path / "kept"))
    programs.append(program)
    assert said(program, "segments.loaded")["records"] == 3
    (version,) = await server_predictions.versions(model, HOUR)
    assert version.count == 3
    assert (tmp_path / "kept" / path.name).exists()
    program.send_signal(signal.SIGTERM)
    output, _ = program.communicate(timeout=10)
    assert (program.returncode, output) == (0, "")


async def test_it_waits_for_a_store_that_is_away_and_can_be_ended_meanwhile(
    programs: list["subprocess.Popen[str]"], tmp_path: Path
) -> None:
    path = segment(tmp_path, [predicted("a", "flights")])
    program = start(tmp_path, f"clickhouse://oppen:secret@127.0.0.1:{free_port()}/default")
    programs.append(program)
    waits = [said(program, "segments.waiting") for _ in range(2)]
    assert waits[0]["retry_s"] < waits[1]["retry_s"]  # type: ignore[operator]
    assert "secret" not in str(waits)
    assert path.exists()
    program.send_signal(signal.SIGTERM)
    program.communicate(timeout=10)
    assert program.returncode == 0


async def test_a_store_of_another_kind_is_wrong_use(programs: list["subprocess.Popen[str]"], tmp_path: Path) -> None:
    program = start(tmp_path, "postgresql://user:secret@host/database")
    programs.append(program)
    _, errors = program.communicate(timeout=30)
    assert program.returncode == 2
    assert "chdb:///absolute/folder" in errors
    assert "secret" not in errors
