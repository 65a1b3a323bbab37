"""Freed memory is kept for the next array, where the C library is GNU's.

Its default gives each large array back to the system when it is freed. The next one is then made of
new pages, which the kernel fills with zeros. `benchmarks/heap.py` measures what that takes.
"""

import ctypes
from contextlib import suppress

# mallopt(3): the names of its params, from malloc.h.
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
KEPT = 2**30
"""Bytes: an array up to this size is cut from the heap; so much free at its end is kept."""
KEPT_BEFORE = 2**25
"""Likewise, in versions of the library that allow no more."""
GROWN = 2**26
"""Bytes that the heap grows by at least."""


def keep_freed() -> bool:
    """Ask the C library to keep what is freed; False where it can't be asked, as on macOS."""
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        done = any(mallopt(MMAP_THRESHOLD, size) == 1 for size in (KEPT, KEPT_BEFORE))
        rest = [mallopt(TRIM_THRESHOLD, KEPT), mallopt(TOP_PAD, GROWN)]
        return done and rest == [1, 1]
    return False
