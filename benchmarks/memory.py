"""What a process needs of memory (Linux only) and has worked, asked from inside it."""

import time
from pathlib import Path


def peak_mib(_held: object = None) -> int:
    """The most that this process ever had resident."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM"))


def cpu_s(_held: object = None) -> float:
    """What this process has worked: what the machine does beside it makes waiting longer, and not this."""
    return time.process_time()
