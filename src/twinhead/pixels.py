"""The pixels store: every image of the catalog, decoded and resized once."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import PIL

from twinhead import files, images
from twinhead.errors import InputError

IMAGE, MASK = "image", "mask"
COLUMNS = {"kind": str, "sha256": str, "width": int, "height": int, "mode": str, "check": str}
"""Of the list of decoded files: kind; digest of the file; what it is; digest of what was stored."""


def build(
    frame: pd.DataFrame,
    root: Path,
    size: int,
    pixels: Path,
    masks: Path,
    decoded: Path,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    """Decode what the catalog lists, on all cores, into two NumPy files and a list of their
    origins.

    Where the three are there from an earlier build, a file whose bytes it has seen
    is taken from there; the result is the same as from nothing.

    Args:
        frame: the catalog as `catalog.scan` returns it.
        size: pixels a side to resize to.
        pixels: file for the images, (rows, size, size, 3), uint8, row i = catalog row i.
        masks: file for the masks, (rows that have one, size, size), bool, in the catalog's order.
        decoded: file for the list of the decoded files, a row of COLUMNS for each: the images in
            the order of `pixels`, then the masks in that of `masks`.

    Returns the catalog completed with width, height, mode and sha256.
    Raises InputError naming every file that can't be decoded; what an earlier build left stays
    then.
    """
    root, total = Path(root), len(frame)
    with_mask = np.flatnonzero(frame["mask"] != "")
    mask_row = dict(zip(with_mask, range(len(with_mask)), strict=True))
    earlier = _Earlier(size, pixels, masks, decoded)
    with (
        files.whole(pixels) as part,
        files.whole(masks) as masks_part,
        files.whole(decoded) as list_part,
    ):
        stored = files.new_array(part, np.uint8, (total, size, size, 3))
        stored_masks = files.new_array(masks_part, bool, (len(with_mask), size, size))

        def decode(row: int) -> list[tuple] | InputError:
            try:
                facts = [earlier.take(IMAGE, root / frame["path"].iat[row], stored[row])]
                if row in mask_row:
                    place = stored_masks[mask_row[row]]
                    facts.append(earlier.take(MASK, root / frame["mask"].iat[row], place))
            except InputError as error:
                return error
            return facts

        found = []
        # Pillow decodes and hashlib hashes outside the interpreter's lock: threads use every core.
        pool = ThreadPoolExecutor(workers or os.cpu_count())
        try:
            for done, facts in enumerate(pool.map(decode, range(total)), start=1):
                found.append(facts)
                progress(done, total)
        finally:
            pool.shutdown(cancel_futures=True)  # interrupted, it decodes no more
        if bad := [str(facts) for facts in found if isinstance(facts, InputError)]:
            raise InputError("\n".join(bad))
        stored.flush()
        stored_masks.flush()
        rows = [facts[0] for facts in found] + [facts[1] for facts in found if len(facts) == 2]
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        table.to_csv(list_part, index=False, lineterminator="\n")
    facts = table[table["kind"] == IMAGE].reset_index(drop=True)
    return frame.assign(**facts[["width", "height", "mode", "sha256"]])


def load(path: Path) -> np.ndarray:
    """The stored images, memory-mapped and read-only."""
    return np.load(path, mmap_mode="r")


def load_masks(path: Path, frame: pd.DataFrame) -> dict[int, np.ndarray]:
    """The stored masks by the image's number in the catalog: (size, size), bool, none empty."""
    numbered = zip(np.flatnonzero(frame["mask"] != ""), np.load(path, mmap_mode="r"), strict=True)
    return {number: mask for number, mask in numbered if mask.any()}


class _Earlier:
    """What the last build left, to be taken over where a file's bytes are the same."""

    def __init__(self, size: int, pixels: Path, masks: Path, decoded: Path) -> None:
        # Another size, decoder or Pillow gives other pixels, and then no check agrees.
        code = Path(images.__file__).read_bytes()
        self.size, self.version = (
            size,
            f"{sha256(code).hexdigest()} {PIL.__version__} {size}".encode(),
        )
        try:
            table = pd.read_csv(decoded, dtype=COLUMNS, keep_default_na=False)[list(COLUMNS)]
            self.stored = {IMAGE: load(pixels), MASK: load(masks)}
        except (OSError, ValueError, KeyError):  # none, or not whole: all is decoded
            self.facts = {}
            return
        number = table.groupby("kind").cumcount()
        rows = zip(number, table.itertuples(index=False, name=None), strict=True)
        self.facts = {facts[:2]: (place, facts) for place, facts in rows}

    def take(self, kind: str, path: Path, place: np.ndarray) -> tuple:
        """Fill `place` with the decoded file; return its row of COLUMNS."""
        data = images.contents(path)
        digest = sha256(data).hexdigest()
        number, facts = self.facts.get((kind, digest), (0, None))
        if facts and number < len(self.stored[kind]):
            known = self.stored[kind][number]
            if known.shape == place.shape and self._check(known) == facts[-1]:
                place[:] = known
                return facts
        width, height, mode = 0, 0, ""
        if kind == MASK:
            place[:] = images.decode_mask(data, path, self.size)
        else:
            photograph = images.decode(data, path, self.size)
            place[:] = photograph.pixels
            width, height, mode = photograph.width, photograph.height, photograph.mode
        return kind, digest, width, height, mode, self._check(place)

    def _check(self, array: np.ndarray) -> str:
        seen = sha256(self.version)
        seen.update(np.ascontiguousarray(array).data)
        return seen.hexdigest()
