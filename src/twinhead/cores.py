"""How many cores there are for this process."""

import os


def available() -> int:
    """How many cores this process may use; all of the machine's where nothing says otherwise."""
    known = hasattr(os, "sched_getaffinity")  # not on macOS, nor on Windows
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


def wanted() -> int:
    """How many of them a network may use: OMP_NUM_THREADS, as Spark sets it for its workers."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(available(), max(1, int(asked))) if asked.isdecimal() else available()
