"""What a photograph looks like in 1,024 bits: re-encoded or made smaller, it keeps nearly all.

A hash of the lowest frequencies of the cosine transform (Zauner 2010, "Implementation and
benchmarking of perceptual image hash functions"), with sixteen times the usual bits: photographs of
a product in a fixture share the coarse ones.
"""

from collections.abc import Iterable

import numpy as np
from PIL import Image
from scipy.fft import dctn

SIDE, FREQUENCIES = 64, 32
"""Pixels a side that are looked at; frequencies a side that are kept."""
BITS = FREQUENCIES**2


def of(picture: Image.Image) -> str:
    """Hash an RGB picture of any size, not distorted: BITS bits as hexadecimal digits."""
    factor = max(1, min(picture.size) // (2 * SIDE))
    small = picture.reduce(factor).convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    found = dctn(np.asarray(small, np.float32), norm="ortho")[:FREQUENCIES, :FREQUENCIES]
    return np.packbits(found > np.median(found)).tobytes().hex()


def signs(hashes: Iterable[str]) -> np.ndarray:
    """The bits of n hashes as -1 and 1, (n, BITS), float32: products count where they agree."""
    packed = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(-1, BITS // 8)
    return np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1


def apart(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The share of bits in which each of `some` differs from each of `others`, as `signs`."""
    return (1 - some @ others.T / BITS) / 2
