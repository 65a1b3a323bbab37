"""The pixels store: every image of the catalog, decoded and resized once."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap

from twinhead import images
from twinhead.errors import InputError


def build(
    frame: pd.DataFrame,
    root: Path,
    size: int,
    pixels: Path,
    masks: Path,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    """Decode what the catalog lists, on all cores, into two NumPy files.

    Args:
        frame: the catalog as `catalog.scan` returns it.
        size: pixels a side to resize to.
        pixels: file for the images, (rows, size, size, 3), uint8, row i = catalog row i.
        masks: file for the masks, (rows that have one, size, size), bool, in the catalog's order.

    Returns the catalog completed with width, height, mode and sha256.
    Raises InputError naming every file that can't be decoded; nothing is left behind then.
    """
    root, total = Path(root), len(frame)
    with_mask = np.flatnonzero(frame["mask"] != "")
    mask_row = dict(zip(with_mask, range(len(with_mask)), strict=True))
    part = Path(f"{pixels}.partial")
    stored = open_memmap(part, "w+", np.uint8, (total, size, size, 3))
    stored_masks = np.zeros((len(with_mask), size, size), bool)

    def decode(row: int) -> tuple[int, int, str, str] | InputError:
        try:
            photograph = images.read(root / frame["path"].iat[row], size)
            stored[row] = photograph.pixels
            if row in mask_row:
                stored_masks[mask_row[row]] = images.read_mask(root / frame["mask"].iat[row], size)
        except InputError as error:
            return error
        return photograph.width, photograph.height, photograph.mode, photograph.sha256

    facts = []
    # Pillow decodes and hashlib hashes outside the interpreter's lock: threads use every core.
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for done, fact in enumerate(pool.map(decode, range(total)), start=1):
            facts.append(fact)
            progress(done, total)
    bad = [str(fact) for fact in facts if isinstance(fact, InputError)]
    if bad:
        part.unlink()
        raise InputError("\n".join(bad))
    stored.flush()
    part.replace(pixels)
    np.save(masks, stored_masks)
    return frame.assign(**dict(zip(("width", "height", "mode", "sha256"), zip(*facts), strict=True)))


def load(path: Path) -> np.ndarray:
    """The stored images, memory-mapped and read-only."""
    return np.load(path, mmap_mode="r")


def load_masks(path: Path, frame: pd.DataFrame) -> dict[int, np.ndarray]:
    """The stored masks by the image's number in the catalog: (size, size), bool, none empty."""
    numbered = zip(np.flatnonzero(frame["mask"] != ""), np.load(path), strict=True)
    return {number: mask for number, mask in numbered if mask.any()}
