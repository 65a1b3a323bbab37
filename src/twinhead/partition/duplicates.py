"""Photographs that show the same: copies, re-encodings, one product taken twice in a row."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

USUAL = 0.2
"""Near duplicates are at most this part as far apart as two images of their category usually are.

Where a fixture makes all products look alike to the hash, likeness says little.
"""
SEEN = 500
"""Images of a category from which is known how far apart two of them usually are."""
FEW = 10
"""Images of a category below which nothing is known of it: `share` alone counts."""
BLOCK = 2048


def groups(frame: pd.DataFrame, share: float) -> pd.Series:
    """Number the photographs of a catalog so that duplicates have one number: that of the first.

    Rows of equal bytes are duplicates, and those whose perceptual hashes differ in at most `share`
    of their bits (0: equal bytes alone); so are duplicates of duplicates.
    """
    kept = frame.drop_duplicates("sha256")
    first = pd.Series(kept.index, index=kept["sha256"])
    same = frame["sha256"].map(first)
    if not share:
        return same.rename("group")
    looks = kept.drop_duplicates("phash")  # thousands of black frames would be millions of pairs
    rows, others = _pairs(looks, share)
    size = (len(looks), len(looks))
    joined = coo_array((np.ones(len(rows), bool), (rows, others)), shape=size)
    number = connected_components(joined, directed=False)[1]
    lowest = pd.Series(looks.index).groupby(number).transform("min").set_axis(looks["phash"])
    return same.map(kept["phash"].map(lowest)).rename("group")


def signs_of(hashes: Iterable[str]) -> np.ndarray:
    """The bits of n hexadecimal hashes as -1 and 1, (n, bits), float32.

    Products count where they agree.
    """
    packed = np.array([np.frombuffer(bytes.fromhex(text), np.uint8) for text in hashes])
    return np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1


def apart(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The share of bits in which each of `some` differs from each of `others`, as `signs`."""
    return (1 - some @ others.T / some.shape[1]) / 2


def _pairs(frame: pd.DataFrame, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the pairs that look alike, in blocks: all distances at once fill the memory."""
    signs = signs_of(frame["phash"])
    limits = np.full(len(frame), share, np.float32)
    for rows in frame.groupby("category").indices.values():
        limits[rows] = min(share, USUAL * _usual(signs[rows]))
    found = [np.empty((2, 0), int)]
    for start in range(0, len(frame), BLOCK):
        for other in range(start, len(frame), BLOCK):
            some, others = slice(start, start + BLOCK), slice(other, other + BLOCK)
            near = apart(signs[some], signs[others])
            limit = np.minimum(limits[some, None], limits[None, others])
            found.append(np.argwhere(near <= limit).T + [[start], [other]])
    return tuple(np.concatenate(found, axis=1))


def _usual(signs: np.ndarray) -> float:
    """The median distance of two different images, or 1 where there are too few."""
    if len(signs) < FEW:
        return 1.0
    chosen = signs[np.linspace(0, len(signs) - 1, min(len(signs), SEEN)).astype(int)]
    pairs = apart(chosen, chosen)[np.triu_indices(len(chosen), 1)]
    return float(np.median(pairs))
