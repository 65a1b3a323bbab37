"""How many cores there are for this process."""

import os


def available() -> int:
    """How many cores this process may use; all of the machine's where nothing says otherwise.

    OMP_NUM_THREADS, where it is set, says how many of them: Spark sets it for each of its workers.
    """
    known = hasattr(os, "sched_getaffinity")  # not on macOS, nor on Windows
    own = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(own, max(1, int(wanted))) if wanted.isdecimal() else own
