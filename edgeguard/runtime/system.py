"""What is asked of the operating system and not every one answers: Windows lacks much that POSIX has."""

import os
import signal
import sys
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
"""The signal that no process can ignore; on Windows SIGTERM, by which `os.kill` ends a process at once."""


def processor_cores() -> int:
    """Cores that this process may use; all that there are where the system does not say."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_rss_bytes() -> int | None:
    """Largest resident memory of this process so far; None where the system does not say.

    Linux hands a child the `ru_maxrss` of the process that started it: there the process's own mark is read.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
