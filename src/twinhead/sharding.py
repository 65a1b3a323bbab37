"""Write a store of dataset/store.py: its bytes depend on its rows alone, not on what was before.

Where a row begins a new shard is decided by the row's own key (content-defined chunking, as rsync
and backup programs do it), so that a row that comes, goes or moves changes the shards around it
and no other: DVC's cache and remote grow by those.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import numpy as np

from twinhead import files
from twinhead.dataset.store import INDEX, Store
from twinhead.errors import InputError

MEAN, MOST = 8, 32
"""Rows of a shard. Fewer would be more files to hash and push, 12,500 of 100,000 images as it is.

With 16, ten photographs more in one folder rewrote 63 rows (`python benchmarks/additions.py`).
"""


def key(array: np.ndarray) -> str:
    """A digest of an array's dtype, shape and numbers: 32 hexadecimal digits."""
    seen = sha256(f"{array.dtype.str} {array.shape} ".encode())
    seen.update(np.ascontiguousarray(array).data)
    return seen.hexdigest()[:32]


def name(keys: list[str]) -> str:
    """What a shard of these rows is called."""
    return sha256(" ".join(keys).encode()).hexdigest()[:32]


def begins(key: str, rows: int) -> bool:
    """Whether a row begins a new shard where the last one has so many rows."""
    return rows == MOST or int(key, 16) % MEAN == 0


def cut(keys: list[str]) -> list[list[str]]:
    """The keys of a store's rows, shard by shard."""
    shards: list[list[str]] = []
    for key in keys:
        if not shards or begins(key, len(shards[-1])):
            shards.append([])
        shards[-1].append(key)
    return shards


@contextmanager
def writing(
    path: Path, dtype: np.dtype | type | None = None, shape: tuple[int, ...] | None = None
) -> Iterator["Writer"]:
    """Give what takes a store's rows in their order; it is whole at `path` when the block ends.

    Until then the earlier store stays, and what is equal in both is left as it lies. A block that
    fails leaves nothing of its own; one that is killed leaves shards that no index names, which the
    next one takes away, as it does where that sweep fails. An OSError names `path`.

    dtype, shape: of one row; None: those of the first shard.
    """
    writer = Writer(Path(path), dtype, shape)
    try:
        writer.path.mkdir(parents=True, exist_ok=True)
        yield writer
        writer.finish()
    except BaseException as error:
        # Of the new index, too, where it was written and only the sweep has failed.
        listed = _listed(writer.path)
        for file in writer.new:
            if file.name not in listed:
                with suppress(OSError):  # the block's own error says more
                    file.unlink(missing_ok=True)
        with suppress(OSError):
            writer.path.rmdir()  # where there was nothing before
        if isinstance(error, OSError) and _is_within(error, writer.path):
            raise OSError(error.errno, error.strerror, str(writer.path)) from error
        raise


class Writer:
    """Takes the rows of a store one by one with `add`, or whole shards, cut as `add` cuts them."""

    def __init__(
        self, path: Path, dtype: np.dtype | type | None, shape: tuple[int, ...] | None
    ) -> None:
        self.path = path
        self.dtype, self.shape = None if dtype is None else np.dtype(dtype), shape
        self.shards: list[tuple[str, list[str]]] = []
        self.new: list[Path] = []
        """Files that weren't there."""
        self._keys: list[str] = []
        self._rows: list[np.ndarray] = []
        self._places: dict[str, tuple[str, int]] = {}

    def add(self, key: str, row: np.ndarray) -> None:
        """Take the next row; equal keys mean equal rows."""
        if begins(key, len(self._keys)):
            self._cut()
        self._keys.append(key)
        self._rows.append(row)

    def shard(self, keys: list[str], rows: np.ndarray) -> Path:
        """Take the rows of one shard; return its file."""
        file = self.file(keys)
        if not _has(file, rows):
            if not file.exists():
                self.new.append(file)
            files.write_array(rows, file)
        self._take(keys, rows)
        return file

    def keep(self, keys: list[str]) -> Path:
        """Take a shard whose file is there and whole."""
        self._take(keys, files.load_array(self.file(keys)))
        return self.file(keys)

    def read(self, key: str) -> np.ndarray:
        """A row that lies in one of the shards written so far. Raises KeyError if none does."""
        return self.load(*self._places[key])

    def load(self, shard: str, place: int) -> np.ndarray:
        """A row of a shard that is there, listed or not."""
        return np.array(files.load_array(self.path / f"{shard}.npy")[place])

    def finish(self) -> None:
        """Write the last shard and the index, and take away what it doesn't name."""
        self._cut()
        if self.dtype is None:
            raise ValueError(f"{self.path}: no rows, and no dtype given")
        content = {"dtype": self.dtype.str, "shape": self.shape, "shards": self.shards}
        with files.whole(self.path / INDEX) as part:
            part.write_text(json.dumps(content) + "\n", encoding="utf-8")
        listed = {INDEX, *(f"{shard}.npy" for shard, _ in self.shards)}
        for file in self.path.iterdir():
            if file.name not in listed:
                files.remove(file)

    def file(self, keys: list[str]) -> Path:
        """Where the shard of these rows lies."""
        return self.path / f"{name(keys)}.npy"

    def _take(self, keys: list[str], rows: np.ndarray) -> None:
        self.dtype, self.shape = self.dtype or rows.dtype, self.shape or rows.shape[1:]
        self.shards.append((name(keys), keys))
        self._places |= {key: (name(keys), place) for place, key in enumerate(keys)}

    def _cut(self) -> None:
        if self._keys:
            self.shard(self._keys, np.stack(self._rows))
            self._keys, self._rows = [], []


def _listed(path: Path) -> set[str]:
    """The names of a store's shards; none where it is missing or isn't whole."""
    try:
        return {f"{shard}.npy" for shard, _ in Store(path).shards}
    except (InputError, OSError):
        return set()


def _has(file: Path, rows: np.ndarray) -> bool:
    """Whether a file holds these rows and no byte more."""
    try:
        found = files.load_array(file)
        size = file.stat().st_size
    except (OSError, InputError):
        return False
    return (
        (found.dtype, found.shape) == (rows.dtype, rows.shape)
        and size == found.offset + found.nbytes
        and bool((found == rows).all())
    )


def _is_within(error: OSError, path: Path) -> bool:
    return error.filename is not None and Path(error.filename).is_relative_to(path)
