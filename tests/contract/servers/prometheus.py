"""Two metrics systems with the same series: one that speaks Prometheus' API, and Prometheus itself if it is installed."""

import asyncio
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import httpx

from tests.contract.servers.local import Posted, Reply, serving
from tests.twins.telemetry import RememberedTelemetry
from tools.errors import PermanentError
from tools.telemetry.port import Series
from tools.values import Window


@contextmanager
def speaking(series: Sequence[Series]) -> Iterator[str]:
    """Prometheus' API over the twin."""
    twin = RememberedTelemetry(series)

    def answer(posted: Posted) -> Reply:
        form = {name: values[0] for name, values in parse_qs(posted.body.decode()).items()}
        try:
            data = asyncio.run(_ranges(twin, form) if posted.path.endswith("query_range") else _instants(twin, form))
        except PermanentError as error:
            refusal = {"status": "error", "errorType": "bad_data", "error": str(error)}
            return Reply(400, "application/json", json.dumps(refusal).encode())
        return Reply(200, "application/json", json.dumps({"status": "success", "data": data}).encode())

    with serving(answer) as url:
        yield url


async def _instants(twin: RememberedTelemetry, form: dict[str, str]) -> dict[str, object]:
    at = datetime.fromtimestamp(float(form.get("time", time.time())), UTC)
    samples = await twin.query(form["query"], at)
    if form["query"].isdigit():
        return {"resultType": "scalar", "result": [at.timestamp(), form["query"]]}
    result = [{"metric": each.labels, "value": [at.timestamp(), repr(each.value)]} for each in samples]
    return {"resultType": "vector", "result": result}


async def _ranges(twin: RememberedTelemetry, form: dict[str, str]) -> dict[str, object]:
    start, end = (datetime.fromtimestamp(float(form[name]), UTC) for name in ("start", "end"))
    # The real one includes the end.
    window = Window(start=start, end=end + timedelta(milliseconds=1))
    found = await twin.query_range(form["query"], window, timedelta(seconds=float(form["step"])))
    values = [[[at.timestamp(), repr(value)] for at, value in each.points] for each in found]
    result = [{"metric": each.labels, "values": points} for each, points in zip(found, values, strict=True)]
    return {"resultType": "matrix", "result": result}


def installed() -> bool:
    return shutil.which("prometheus") is not None and shutil.which("promtool") is not None


@contextmanager
def real(series: Sequence[Series], folder: Path) -> Iterator[str]:
    """Prometheus with `series` filled into its store beforehand."""
    text = folder / "series.txt"
    text.write_text(_openmetrics(series))
    blocks = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(folder / "data")]
    subprocess.run(blocks, check=True, capture_output=True)
    config = folder / "prometheus.yml"
    config.write_text("global: {scrape_interval: 1h}\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--storage.tsdb.retention.time=20y",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            _wait_ready(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)


def _wait_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/-/ready").status_code == httpx.codes.OK:
                return
        time.sleep(0.02)
    raise AssertionError("Prometheus did not get ready")


def _openmetrics(series: Sequence[Series]) -> str:
    lines = []
    for name in sorted({each.labels["__name__"] for each in series}):
        lines.append(f"# TYPE {name} gauge")
        for each in series:
            if each.labels["__name__"] == name:
                labels = ",".join(f'{key}="{value}"' for key, value in each.labels.items() if key != "__name__")
                lines += [f"{name}{{{labels}}} {value} {at.timestamp():.3f}" for at, value in each.points]
    return "\n".join([*lines, "# EOF", ""])
