"""Which bit strings lie close to each other, exactly and below quadratic.

Multi-index hashing (Norouzi, Punjani, Fleet 2012, "Fast search in Hamming space with multi-index
hashing"), made into a join: the bits are cut into chunks so that two strings within the distance
sought differ in at most `errors` bits of some chunk. Those bits lie in as many of its blocks, so
the other blocks are equal, and sorting by these puts the two strings side by side. Each such pair
is then measured. None is missed: it is the pigeonhole principle, not chance.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

WORD = 64
CHOICES = [(errors, blocks) for errors in range(5) for blocks in range(errors + 1, errors + 6)]
"""Bits that may differ in a chunk, and blocks of a chunk, among which `_plan` chooses."""
SORT, CHECK, COMPARE = 20.0, 80.0, 9.0
"""Nanoseconds to sort a string, to check a pair that was found, to compare a pair outright."""
BATCH = 2**18
"""Pairs that are measured at once: their words take 32 MiB."""
FIRST = 64
STEP = 0.8
"""Strings whose limits lie within this factor are searched at once, for the largest of them."""
SEEN = 300
"""Strings from which is known how often keys agree by chance."""


def components(words: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Number the strings so that close ones, or those that close ones link, have one number.

    Args:
        words: the strings, (n, bits / 64), uint64.
        limits: (n,), int: strings i and j are close if they differ in at most
            min(limits[i], limits[j]) bits; below 0, never.

    Returns (n,), int32. The same as by comparing each with each, whatever their order.
    """
    search = _Search(words, limits)
    order = np.argsort(-limits, kind="stable")
    order = order[limits[order] >= 0]
    start = 0
    while start < len(order):  # those of larger limits are all before
        radius = int(limits[order[start]])
        stop = int(np.searchsorted(-limits[order], -STEP * radius, side="right"))
        search.join(order[:stop], start, radius)
        start = stop
    return search.number


def distances(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """In how many bits the strings differ, row by row: (n,), int64."""
    return np.bitwise_count(some ^ others).sum(axis=1, dtype=np.int64)


@dataclass(frozen=True)
class _Plan:
    chunks: int
    errors: int
    blocks: int


def _plan(radius: int, bits: int, count: int, pairs: float, apart: np.ndarray) -> _Plan | None:
    """The cheapest way to find the pairs within `radius`, or None: compare each with each.

    count: strings that are sorted. pairs: of them that are of interest. apart: the distances of a
    sample of these, from which follows how often keys of so many bits agree.
    """
    best, cheapest = None, pairs * COMPARE
    for errors, blocks in CHOICES:
        chunks = radius // (errors + 1) + 1
        if bits // chunks < blocks:
            continue
        key = bits / chunks * (blocks - errors) / blocks
        # Close ones are soon known to be one, and then passed over.
        agree = np.where(apart > radius, (1 - apart / bits) ** key, 0).mean()
        sorts = chunks * sum(1 for _ in itertools.combinations(range(blocks), errors))
        cost = sorts * (count * SORT + pairs * agree * CHECK)
        if cost < cheapest:
            best, cheapest = _Plan(chunks, errors, blocks), cost
    return best


class _Search:
    """The strings, and which of them are known to belong together."""

    def __init__(self, words: np.ndarray, limits: np.ndarray) -> None:
        self.words, self.limits = np.ascontiguousarray(words), limits
        self.bits = WORD * words.shape[1]
        self.number = np.arange(len(words), dtype=np.int32)
        # Neighbouring bits say much the same; scattered, each chunk tells strings apart.
        self.shuffled = np.random.default_rng(0).permutation(self.bits)

    def join(self, rows: np.ndarray, known: int, radius: int) -> None:
        """Join what lies within `radius` and its limits; of the first `known` rows that is done."""
        new = len(rows) - known
        pairs = new * known + new * (new - 1) / 2
        if not pairs:
            return
        plan = _plan(radius, self.bits, len(rows), pairs, self._apart(rows, known))
        if plan is None:
            self._compare(rows, known)
            return
        fresh = np.arange(len(rows)) >= known
        for key in self._keys(self.words[rows], plan):
            for some, others in _alike(key, lambda found: self.number[rows[found]]):
                of_interest = fresh[some] | fresh[others]
                self._link(rows[some[of_interest]], rows[others[of_interest]])

    def _apart(self, rows: np.ndarray, known: int) -> np.ndarray:
        """Distances of a sample of the pairs of interest: evenly spaced rows, always the same."""
        new = rows[known + np.linspace(0, len(rows) - known - 1, SEEN).astype(int)]
        others = rows[np.linspace(0, len(rows) - 1, SEEN + 1).astype(int)]
        some, others = (grid.ravel() for grid in np.meshgrid(new, others))
        kept = some != others
        return distances(self.words[some[kept]], self.words[others[kept]])

    def _keys(self, words: np.ndarray, plan: _Plan) -> Iterator[np.ndarray]:
        """For each choice of blocks a number per string, (n,), uint64: equal if the blocks are."""
        columns = np.ascontiguousarray(words.T)
        edges = np.linspace(0, self.bits, plan.chunks + 1).astype(int)
        for start, stop in itertools.pairwise(edges):
            cuts = np.linspace(start, stop, plan.blocks + 1).astype(int)
            blocks = [
                self._number_of(columns, self.shuffled[a:b]) for a, b in itertools.pairwise(cuts)
            ]
            for kept in itertools.combinations(range(plan.blocks), plan.blocks - plan.errors):
                key = np.zeros(len(words), np.uint64)
                for block in kept:  # odd factor, overflow wanted: equal blocks give equal keys
                    key = (key ^ blocks[block]) * np.uint64(0x9E3779B97F4A7C15)
                    key ^= key >> np.uint64(29)
                yield key

    @staticmethod
    def _number_of(columns: np.ndarray, bits: np.ndarray) -> np.ndarray:
        number = np.zeros(columns.shape[1], np.uint64)
        for bit in bits[:WORD]:  # of longer blocks the first bits tell enough apart
            number <<= np.uint64(1)
            number |= (columns[bit // WORD] >> np.uint64(bit % WORD)) & np.uint64(1)
        return number

    def _compare(self, rows: np.ndarray, known: int) -> None:
        """Each new row with all rows before it."""
        for place in range(max(known, 1), len(rows)):
            # A few first: who belongs with these is no longer compared with theirs.
            few = max(0, place - FIRST)
            for others in (rows[few:place], *np.array_split(rows[:few], few // BATCH + 1)):
                self._link(np.full(len(others), rows[place]), others)

    def _link(self, some: np.ndarray, others: np.ndarray) -> None:
        """Join those of these pairs that are close."""
        for start in range(0, len(some), BATCH):
            one, two = some[start : start + BATCH], others[start : start + BATCH]
            apart = self.number[one] != self.number[two]
            one, two = one[apart], two[apart]
            limit = np.minimum(self.limits[one], self.limits[two])
            # A part of the bits never differs in more than all of them; most pairs fall here.
            third = slice(0, self.words.shape[1] // 3 or None)
            near = distances(self.words[one, third], self.words[two, third]) <= limit
            one, two, limit = one[near], two[near], limit[near]
            near = distances(self.words[one], self.words[two]) <= limit
            if near.any():
                self._merge(self.number[one[near]], self.number[two[near]])

    def _merge(self, some: np.ndarray, others: np.ndarray) -> None:
        """Give the joined numbers the lowest of theirs."""
        names, place = np.unique(np.concatenate([some, others]), return_inverse=True)
        half = len(some)
        links = coo_array((np.ones(half, bool), (place[:half], place[half:])), (len(names),) * 2)
        joined = connected_components(links, directed=False)[1]
        lowest = np.full(joined.max() + 1, np.iinfo(np.int32).max, np.int32)
        np.minimum.at(lowest, joined, names)
        renamed = np.arange(len(self.number), dtype=np.int32)
        renamed[names] = lowest[joined]
        self.number = renamed[self.number]


def _alike(
    key: np.ndarray, number_of: Callable[[np.ndarray], np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of places with equal keys, but for runs whose members are all known to be one.

    number_of: the components of places, as they are now: they grow while the pairs are taken.
    """
    room = max(1, int(len(key) - 1).bit_length())
    # One sort of plain numbers, the place in the low bits, is several times as fast as argsort.
    packed = (key >> np.uint64(room) << np.uint64(room)) | np.arange(len(key), dtype=np.uint64)
    packed.sort()
    place = (packed & np.uint64(2**room - 1)).astype(np.int64)
    packed >>= np.uint64(room)
    equal = packed[1:] == packed[:-1]
    left = np.flatnonzero(equal)  # places of the sorted list that have a like one behind them
    if not len(left):
        return
    breaks = np.flatnonzero(~equal)
    last = np.append(breaks, len(key) - 1)[np.searchsorted(breaks, left)]
    step = 1
    while len(left):
        yield place[left], place[left + step]
        step += 1
        more = left + step <= last
        left, last = left[more], last[more]
        if (step in (2, 4) or step % 8 == 0) and len(left):
            alive = _undecided(number_of(place), last, left)
            left, last = left[alive], last[alive]


def _undecided(number: np.ndarray, last: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Of runs that end at `last`: whether members behind `left` are of other components."""
    change = np.flatnonzero(number[1:] != number[:-1])
    following = np.searchsorted(change, left)
    found = np.append(change, len(number))[following]
    return found < last
