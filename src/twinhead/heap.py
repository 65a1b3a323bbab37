"""Freed memory is kept for the next array, where the C library is GNU's.

Its default gives each large array back to the system when it is freed. The next one is then made of
new pages, which the kernel fills with zeros: in training, a third of the time.
"""

import ctypes
from contextlib import suppress

# mallopt(3): the names of its params, from malloc.h.
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
KEPT = 2**30
"""Bytes: an array up to this size is cut from the heap; so much free at its end is kept."""
GROWN = 2**26
"""Bytes that the heap grows by at least."""


def keep_freed() -> bool:
    """Ask the C library to keep what is freed; False where it can't be asked, as on macOS."""
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        wanted = ((MMAP_THRESHOLD, KEPT), (TRIM_THRESHOLD, KEPT), (TOP_PAD, GROWN))
        return all(mallopt(name, value) == 1 for name, value in wanted)
    return False
