"""Decode and resize every image once, into the stores that dataset/pixels.py reads."""

from collections import deque
from collections.abc import Callable, Collection, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

import numpy as np
import pandas as pd
import PIL

from twinhead import cores, files, sharding
from twinhead.dataset.store import Store
from twinhead.errors import InputError
from twinhead.ingest import images, layout, limits, phash

IMAGE, MASK, UNUSABLE = "image", "mask", "unusable"
COLUMNS = {
    "origin": str, "key": str, "width": int, "height": int, "mode": str, "phash": str,
    "check": str,
}  # fmt: skip
"""Of the list of decoded files: a digest of a file's bytes and of what decodes them; the key in its
store; what the file is; digest of the line up to here."""
FACTS = ["width", "height", "mode", "sha256", "phash"]
"""What the catalog has of them."""
SLACK = 0.01
"""How much, as a part of its width, a mask's proportions may differ from its image's."""
AHEAD = 4
"""Files a thread that wait for their turn to be stored."""


@dataclass(frozen=True)
class Built:
    frame: pd.DataFrame
    """The completed catalog: without skipped images, and without the names of skipped masks."""
    skipped: list[tuple[str, str, str]]
    """Of each skipped file: what was skipped, its path in the catalog, and why."""
    empty: set[int]
    """The catalog's numbers of the images whose masks mark nothing."""
    decoded: int
    """How many files weren't known from an earlier build."""


def build(
    frame: pd.DataFrame,
    root: Path,
    size: int,
    pixels: Path,
    masks: Path,
    decoded: Path,
    on_bad: str = "stop",
    left_out: Mapping[str, str] | None = None,
    unmasked: Collection[str] = (),
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Built:
    """Decode what the catalog lists, on all cores, into two stores and a list of their origins.

    Where the three are there from an earlier build, a file whose bytes it has seen
    is taken from there; the result is the same as from nothing. Equal files are decoded once.

    Args:
        frame: the catalog as `layout.scan` returns it.
        size: pixels a side to resize to.
        pixels: store for the images, (rows, size, size, 3), uint8, row i = catalog row i.
        masks: store for the masks, (rows that have one, size, size), bool, in the catalog's order.
        decoded: file for the list of the decoded files, a row of COLUMNS for each origin.
        on_bad: "stop", or "skip" for a catalog without the images and masks that can't be used.
        left_out: by SHA-256, why an image is not to be used, although it could be.
        unmasked: the SHA-256 of images whose masks don't count.

    Raises InputError naming every file that can't be used if on_bad is "stop", or if no image is
    left; what an earlier build left stays then.
    """
    root, total = Path(root), len(frame)
    found: list[tuple] = []
    rows: dict[str, tuple] = {}
    empty: set[int] = set()
    with (
        sharding.writing(pixels, np.uint8, (size, size, 3)) as stored,
        sharding.writing(masks, bool, (size, size)) as stored_masks,
        files.whole(decoded) as list_part,
    ):
        decoder = _Decoder(size, {IMAGE: pixels, MASK: masks}, decoded)
        decoder.written = {IMAGE: stored, MASK: stored_masks}

        def decode(row: int) -> tuple[tuple | InputError, tuple | InputError | None]:
            """An image and its mask, each with what was found out of it."""
            mask_name = frame["mask"].iat[row]
            try:
                image = decoder.take(IMAGE, layout.place(root, frame["path"].iat[row]))
                if reason := (left_out or {}).get(image[1]):
                    image = _LeftOut(reason)
            except InputError as error:
                image = InputError(str(error))  # without its traceback, which holds the bytes
            if not mask_name or isinstance(image, _LeftOut) or _digest(image) in unmasked:
                return image, None
            try:
                mask = decoder.take(MASK, root / mask_name)
                if isinstance(image, tuple):
                    _check_shape(root / mask_name, mask[0][2:4], image[0][2:4])
            except InputError as error:
                return image, InputError(str(error))
            return image, mask

        with closing(_in_order(decode, total, workers)) as pairs:
            for number, (image, mask) in enumerate(pairs):
                progress(number + 1, total)
                if isinstance(image, tuple):
                    facts, digest, values = image
                    stored.add(facts[1], values)
                    rows[facts[0]] = facts
                    image = (*facts[2:5], digest, facts[5])
                    if isinstance(mask, tuple):
                        facts, _, values = mask
                        stored_masks.add(facts[1], values)
                        rows[facts[0]] = facts
                        if not values.any():
                            empty.add(number)
                found.append((image, mask if isinstance(mask, InputError) else mask is not None))
        bad = [
            str(facts)
            for pair in found
            for facts in pair
            if isinstance(facts, InputError) and not isinstance(facts, _LeftOut)
        ]
        kept = [row for row, (image, _) in enumerate(found) if not isinstance(image, InputError)]
        if bad and (on_bad == "stop" or not kept):
            raise InputError("\n".join(bad))
        if not kept:
            raise InputError(f"{root}: no image is left; all are answered as not usable")
        table = pd.DataFrame([rows[origin] for origin in sorted(rows)], columns=list(COLUMNS))
        table.to_csv(list_part, index=False, lineterminator="\n")
    facts = pd.DataFrame([found[row][0] for row in kept], kept, FACTS)
    kept_masks = [row for row in kept if found[row][1] is True]
    named = frame["mask"].where(frame.index.isin(kept_masks), "")
    whole = frame.assign(mask=named).loc[kept].join(facts).reset_index(drop=True)
    numbers = {row: number for number, row in enumerate(kept)}
    skipped = _skipped(frame, found, root)
    return Built(whole, skipped, {numbers[row] for row in empty}, decoder.decoded)


def _in_order(
    work: Callable[[int], tuple], total: int, workers: int | None
) -> Generator[tuple, None, None]:
    """Yield work(0), work(1), …, computed on all cores a few ahead: what waits must fit in memory.

    Pillow decodes and hashlib hashes outside the interpreter's lock, so that threads do.
    """
    workers = workers or cores.available()
    pool, waiting = ThreadPoolExecutor(workers), deque()
    try:
        for row in range(total):
            waiting.append(pool.submit(work, row))
            if len(waiting) > AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # interrupted, it doesn't decode the rest first
        pool.shutdown(cancel_futures=True)


def _digest(image: tuple | InputError) -> str:
    return image[1] if isinstance(image, tuple) else ""


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
                kind = UNUSABLE if isinstance(facts, _LeftOut) else kind
                place = layout.place(root, path)
                rows.append((kind, path, str(facts).removeprefix(f"{place}: ")))
    return rows


class _LeftOut(InputError):
    """Of an image that someone has called not usable."""


class _Decoder:
    """Decodes files, but for those whose bytes were decoded before, in an earlier build or this."""

    def __init__(self, size: int, stores: dict[str, Path], decoded: Path) -> None:
        # Another size, decoder or Pillow may give other pixels: then nothing is known.
        code = b"".join(Path(module.__file__).read_bytes() for module in (images, limits, phash))
        self.size = size
        self.version = f"{sha256(code).hexdigest()} {PIL.__version__} {size}"
        self.decoded = 0
        self.written: dict[str, sharding.Writer] = {}
        self._known: dict[str, tuple] = {}
        self._places: dict[str, dict[str, int]] = {}
        self._claimed: dict[str, Future] = {}
        self._values: WeakValueDictionary[str, np.ndarray] = WeakValueDictionary()
        self._lock = Lock()
        try:
            table = pd.read_csv(decoded, dtype=COLUMNS, keep_default_na=False)[list(COLUMNS)]
            self._stores = {kind: Store(path) for kind, path in stores.items()}
        except (OSError, ValueError, KeyError):  # none, or not whole: all is decoded
            return
        lines = table.itertuples(index=False, name=None)
        self._known = {line[0]: line for line in lines if line == _checked(line[:-1])}
        for kind, store in self._stores.items():
            self._places[kind] = {key: row for row, key in enumerate(store.keys)}

    def take(self, kind: str, path: Path) -> tuple[tuple, str, np.ndarray]:
        """Return what was found out of a file (as COLUMNS), its SHA-256 and its pixels."""
        data = images.contents(path)
        digest = sha256(data).hexdigest()
        origin = sha256(f"{kind} {self.version} {digest}".encode()).hexdigest()
        with self._lock:
            first = origin not in self._claimed
            claim = self._claimed.setdefault(origin, Future())
        if first:
            try:
                facts, values = self._earlier(kind, origin) or self._decode(
                    kind, origin, data, path
                )
                self._values[origin] = values
                claim.set_result(facts)
            except BaseException as error:
                # Its traceback would hold the file's bytes for as long as the claim is kept.
                bare = InputError(str(error)) if isinstance(error, InputError) else error
                claim.set_exception(bare)
                raise
            return facts, digest, values
        try:
            facts = claim.result()
        except InputError:  # of the same bytes in another file: it has its own name
            self._decode(kind, origin, data, path)
            raise
        values = self._values.get(origin)
        if values is None:  # what nobody holds any more is on the disk, or was left out
            try:
                values = self.written[kind].read(facts[1])
            except KeyError:
                values = self._decode(kind, origin, data, path)[1]
        return facts, digest, values

    def _earlier(self, kind: str, origin: str) -> tuple[tuple, np.ndarray] | None:
        facts = self._known.get(origin)
        row = self._places[kind].get(facts[1]) if facts else None
        if facts is None or row is None:
            return None
        try:
            values = self._stores[kind][row]
        except InputError:  # half a shard
            return None
        return (facts, values) if sharding.key(values) == facts[1] else None

    def _decode(self, kind: str, origin: str, data: bytes, path: Path) -> tuple[tuple, np.ndarray]:
        if kind == MASK:
            values, (width, height) = images.decode_mask(data, path, self.size)
            mode, look = "", ""
        else:
            picture, mode = images.upright(data, path)
            values, look = images.resized(picture, self.size), phash.of(picture)
            width, height = picture.size
        with self._lock:
            self.decoded += 1
        return _checked((origin, sharding.key(values), width, height, mode, look)), values


def _checked(line: tuple) -> tuple:
    return (*line, sha256(repr(line).encode()).hexdigest()[:16])
