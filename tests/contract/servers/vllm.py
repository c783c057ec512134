"""A real vLLM on loopback, with a model of random weights."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from tests.twins.vllm import BASE, KEY, LONGEST

_LIMIT_S = 900.0
"""Twenty seconds on cores of its own, and many minutes where ten other programs have them."""
_STOP_S = 30.0


@contextmanager
def vllm(program: Path, folder: Path) -> Iterator[str]:
    """Its address; `program`: vLLM's own command. `folder` gets the models: `base`, and adapters `tone` and `calm`."""
    quiet = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_API_KEY": KEY,
    }
    environment = {**os.environ, **quiet}
    script = Path(__file__).with_name("tiny_language_model.py")
    subprocess.run([program.with_name("python"), script, folder], env=environment, check=True, capture_output=True)
    port = _free_port()
    command = [program, "serve", folder / "base", "--served-model-name", BASE, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--enforce-eager", "--enable-lora", "--max-lora-rank", "8", "--max-loras", "2"]
    command += ["--max-model-len", str(LONGEST), "--max-num-seqs", "8"]
    url = f"http://127.0.0.1:{port}"
    log = folder / "vllm.log"
    with log.open("wb") as file:
        server = subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)
    try:
        _wait(server, url, log)
        yield url
    finally:
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(_STOP_S)
        # Its engine and workers are processes of their own.
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _wait(server: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    end = time.monotonic() + _LIMIT_S
    while server.poll() is None and time.monotonic() < end:
        try:
            if httpx.get(f"{url}/health", trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    sys.stderr.write(log.read_text()[-4000:])
    raise AssertionError("vLLM did not start")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
