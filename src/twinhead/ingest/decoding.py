"""Every image of the catalog, decoded and resized once: what dataset/pixels.py reads."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import PIL

from twinhead import files
from twinhead.errors import InputError
from twinhead.ingest import images, limits, phash

IMAGE, MASK = "image", "mask"
COLUMNS = {
    "kind": str, "sha256": str, "width": int, "height": int, "mode": str, "phash": str,
    "check": str,
}  # fmt: skip
"""Of the list of decoded files: kind; digest of the file; what it is; digest of what was stored."""
FACTS = ["width", "height", "mode", "sha256", "phash"]
"""What the catalog has of them."""
SLACK = 0.01
"""How much, as a part of its width, a mask's proportions may differ from its image's."""


@dataclass(frozen=True)
class Built:
    frame: pd.DataFrame
    """The completed catalog: without skipped images, and without the names of skipped masks."""
    skipped: list[tuple[str, str, str]]
    """Of each skipped file: what was skipped, its path in the catalog, and why."""
    empty: set[int]
    """The catalog's numbers of the images whose masks mark nothing."""


def build(
    frame: pd.DataFrame,
    root: Path,
    size: int,
    pixels: Path,
    masks: Path,
    decoded: Path,
    on_bad: str = "stop",
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Built:
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
        on_bad: "stop", or "skip" for a catalog without the images and masks that can't be used.

    Raises InputError naming every file that can't be used if on_bad is "stop", or if no image is
    left; what an earlier build left stays then.
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

        def decode(row: int) -> tuple[tuple | InputError, tuple | InputError | None]:
            """What was found out of an image and of its mask."""
            try:
                image = earlier.take(IMAGE, root / frame["path"].iat[row], stored[row])
            except InputError as error:
                image = error
            if row not in mask_row:
                return image, None
            try:
                file = root / frame["mask"].iat[row]
                mask = earlier.take(MASK, file, stored_masks[mask_row[row]])
                if isinstance(image, tuple):
                    _check_shape(file, mask[2:4], image[2:4])
            except InputError as error:
                return image, error
            return image, mask

        found = _all(decode, total, workers, progress)
        bad = [str(facts) for pair in found for facts in pair if isinstance(facts, InputError)]
        kept = [row for row, (image, _) in enumerate(found) if not isinstance(image, InputError)]
        if bad and (on_bad == "stop" or not kept):
            raise InputError("\n".join(bad))
        stored.flush()
        stored_masks.flush()
        kept_masks = [row for row in kept if isinstance(found[row][1], tuple)]
        empty = {row for row in kept_masks if not stored_masks[mask_row[row]].any()}
        if len(kept) < total:
            files.keep_rows(part, kept)
        if len(kept_masks) < len(with_mask):
            files.keep_rows(masks_part, [mask_row[row] for row in kept_masks])
        rows = [found[row][0] for row in kept] + [found[row][1] for row in kept_masks]
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        table.to_csv(list_part, index=False, lineterminator="\n")
    facts = table[table["kind"] == IMAGE][FACTS].set_index(pd.Index(kept))
    named = frame["mask"].where(frame.index.isin(kept_masks), "")
    whole = frame.assign(mask=named).loc[kept].join(facts).reset_index(drop=True)
    numbers = {row: number for number, row in enumerate(kept)}
    return Built(whole, _skipped(frame, found, root), {numbers[row] for row in empty})


def _all(
    decode: Callable[[int], tuple],
    total: int,
    workers: int | None,
    progress: Callable[[int, int], None],
) -> list[tuple]:
    # Pillow decodes and hashlib hashes outside the interpreter's lock: threads use every core.
    found, pool = [], ThreadPoolExecutor(workers or os.cpu_count())
    try:
        for done, facts in enumerate(pool.map(decode, range(total)), start=1):
            found.append(facts)
            progress(done, total)
    finally:  # interrupted, it doesn't decode the rest first
        pool.shutdown(cancel_futures=True)
    return found


def _check_shape(file: Path, mask: tuple[int, int], image: tuple[int, int]) -> None:
    """Raise InputError for a mask that can't be its image's, scaled: the proportions differ."""
    width = mask[0] * image[1] / mask[1]
    if abs(width - image[0]) > max(SLACK * image[0], image[1] / mask[1], 1):
        found, expected = (" × ".join(map(str, size)) for size in (mask, image))
        raise InputError(f"{file}: {found} pixels, but its image has {expected}: not its mask")


def _skipped(frame: pd.DataFrame, found: list[tuple], root: Path) -> list[tuple[str, str, str]]:
    rows = []
    for number, pair in enumerate(found):
        for kind, column, facts in zip((IMAGE, MASK), ("path", "mask"), pair, strict=True):
            if isinstance(facts, InputError):
                path = frame[column].iat[number]
                rows.append((kind, path, str(facts).removeprefix(f"{root / path}: ")))
    return rows


class _Earlier:
    """What the last build left, to be taken over where a file's bytes are the same."""

    def __init__(self, size: int, pixels: Path, masks: Path, decoded: Path) -> None:
        # Another size, decoder or Pillow gives other pixels, and then no check agrees.
        code = b"".join(Path(module.__file__).read_bytes() for module in (images, limits, phash))
        self.size, self.version = (
            size,
            f"{sha256(code).hexdigest()} {PIL.__version__} {size}".encode(),
        )
        try:
            table = pd.read_csv(decoded, dtype=COLUMNS, keep_default_na=False)[list(COLUMNS)]
            self.stored = {IMAGE: files.load_array(pixels), MASK: files.load_array(masks)}
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
        if kind == MASK:
            place[:], (width, height) = images.decode_mask(data, path, self.size)
            return kind, digest, width, height, "", "", self._check(place)
        picture, mode = images.upright(data, path)
        place[:] = images.resized(picture, self.size)
        return kind, digest, *picture.size, mode, phash.of(picture), self._check(place)

    def _check(self, array: np.ndarray) -> str:
        seen = sha256(self.version)
        seen.update(np.ascontiguousarray(array).data)
        return seen.hexdigest()
