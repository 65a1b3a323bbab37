"""Which photographs have been answered, by a number for each: few bytes for very many."""

from hashlib import blake2b

import numpy as np

RECENT = 4096
"""Numbers that are held as a set until they are sorted in."""


class Answered:
    """Photographs that have been answered, in eight bytes each."""

    @staticmethod
    def number(name: str) -> int:
        """64 bits for what a photograph is known by."""
        return int.from_bytes(blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest())

    def __init__(self) -> None:
        self._sorted = np.empty(0, np.uint64)
        self._recent: set[int] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def __contains__(self, number: int) -> bool:
        """number: of a photograph."""
        if number in self._recent:
            return True
        place = np.searchsorted(self._sorted, np.uint64(number))
        return bool(place < len(self._sorted) and self._sorted[place] == number)

    def add(self, number: int) -> None:
        if number in self:
            return
        self._recent.add(number)
        if len(self._recent) >= RECENT:
            more = np.fromiter(self._recent, np.uint64, len(self._recent))
            self._sorted = np.sort(np.concatenate([self._sorted, more]))
            self._recent.clear()
