"""`python -m tools.jobs.measured COMMAND...`: runs a command and leaves what it used where the job's backend looks for it.

For containers, whose cluster forgets what they used when they end. It passes signals on and ends as the command did; killed
for its memory it leaves nothing, which is told as unknown. Standard library alone.
"""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

_PEAK = Path("/sys/fs/cgroup/memory.peak")
"""Of the whole container; the machine's own root has none."""
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def main() -> None:
    """Exits with the command's code, or 128 + n after signal n."""
    command = sys.argv[1:]
    if not command:
        sys.exit("usage: python -m tools.jobs.measured COMMAND...")
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)  # until there is somebody to pass them on to
    process = subprocess.Popen(command, preexec_fn=_unblocked)  # noqa: PLW1509 - this process has one thread
    for number in _PASSED_ON:
        signal.signal(number, lambda received, _frame: process.send_signal(received))
    _unblocked()
    code = process.wait()
    if usage := os.environ.get("OPPEN_JOB_USAGE"):
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        peak = used.ru_maxrss * 1024
        with contextlib.suppress(OSError, ValueError):
            peak = int(_PEAK.read_text())
        said = {"cpu_seconds": round(used.ru_utime + used.ru_stime, 3), "peak_memory_bytes": peak}
        with contextlib.suppress(OSError):  # the command's own outcome counts
            Path(usage).write_text(json.dumps(said))
    sys.exit(code if code >= 0 else 128 - code)


def _unblocked() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)


if __name__ == "__main__":
    main()
