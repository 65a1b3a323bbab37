"""Photographs that show the same: copies, re-encodings, one product taken twice in a row."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from twinhead.partition import hamming

USUAL = 0.2
"""Near duplicates are at most this part as far apart as two images of their category usually are.

Where a fixture makes all products look alike to the hash, likeness says little.
"""
SEEN = 500
"""Images of a category from which is known how far apart two of them usually are."""
FEW = 10
"""Images of a category below which nothing is known of it: `share` alone counts."""


def groups(frame: pd.DataFrame, share: float) -> pd.Series:
    """Number the photographs of a catalog so that duplicates have one number: that of the first.

    Rows of equal bytes are duplicates, and those whose perceptual hashes differ in at most `share`
    of their bits (0: equal bytes alone), and at most in USUAL of what is usual in the category of
    either; so are duplicates of duplicates.
    """
    kept = frame.drop_duplicates("sha256")
    first = pd.Series(kept.index, index=kept["sha256"])
    same = frame["sha256"].map(first)
    if not share:
        return same.rename("group")
    looks = kept.drop_duplicates("phash")  # thousands of black frames would be millions of pairs
    words = words_of(looks["phash"])
    number = hamming.components(words, _limits(looks, words, share))
    lowest = pd.Series(looks.index).groupby(number).transform("min").set_axis(looks["phash"])
    return same.map(kept["phash"].map(lowest)).rename("group")


def words_of(hashes: Iterable[str]) -> np.ndarray:
    """The bits of n hexadecimal hashes of one length, (n, bits / 64), uint64."""
    hashes = list(hashes)
    packed = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint64)
    return packed.reshape(len(hashes), -1)


def _limits(frame: pd.DataFrame, words: np.ndarray, share: float) -> np.ndarray:
    """In how many bits each may differ from another that shows the same: (n,), int."""
    bits = hamming.WORD * words.shape[1]
    limits = np.empty(len(frame), int)
    for rows in frame.groupby("category").indices.values():
        # Those of the lowest digests: neither a new name nor, mostly, a new image changes them.
        seen = rows[np.argsort(frame["sha256"].to_numpy()[rows])[:SEEN]]
        limits[rows] = np.float32(min(share * bits, USUAL * _usual(words[seen])))
    return limits


def _usual(words: np.ndarray) -> float:
    """The median distance of two different ones, in bits; all bits where there are too few."""
    if len(words) < FEW:
        return hamming.WORD * words.shape[1]
    some, others = np.triu_indices(len(words), 1)
    return float(np.median(hamming.distances(words[some], words[others])))
