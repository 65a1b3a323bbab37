"""One array for each image, in a folder of shards, of which only the indexed rows are read.

`index.json` has the dtype, the shape of one image's array, and the shards in their order: a name
and the keys of the rows. Each shard is a NumPy file, (rows, …). twinhead/sharding.py writes them.
"""

import json
import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from twinhead import errors, files
from twinhead.errors import InputError

INDEX = "index.json"
OPEN = 1024
"""Shards of a store that are mapped at a time: Linux maps 65,530 files for one process."""
NAME = re.compile("[0-9a-f]{32}")
KINDS = "buif"
"""Of dtypes: truth values and numbers."""


class Store:
    """The arrays of n images, read as NumPy reads an array of (n, …).

    `store[row]`, `store[start:stop]`, `store[rows]` and, with further indices for each row's array,
    `store[rows, views]` give arrays in memory. A shard is mapped when a row of it is read.
    """

    def __init__(self, path: Path) -> None:
        """Raises InputError naming the folder if it is missing or isn't whole."""
        self.path = Path(path)
        try:
            listed = json.loads((self.path / INDEX).read_text(encoding="utf-8"))
            self.dtype = np.dtype(listed["dtype"])
            self.shards = [(str(name), list(keys)) for name, keys in listed["shards"]]
            inner = tuple(int(side) for side in listed["shape"])
            if self.dtype.kind not in KINDS or not all(NAME.fullmatch(x) for x, _ in self.shards):
                raise ValueError("an index of something else")
        except FileNotFoundError:
            raise errors.missing(self.path) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            fault = str(error).partition("\n")[0] or type(error).__name__
            raise InputError(f"{self.path}: not a store of arrays ({fault})") from None
        there = {file.name for file in self.path.iterdir()}
        for name, _ in self.shards:
            if f"{name}.npy" not in there:
                raise errors.missing(self.path / f"{name}.npy")
        self.starts = np.cumsum([0, *(len(keys) for _, keys in self.shards)])
        self.shape = (int(self.starts[-1]), *inner)
        self._numbers = np.arange(len(self))
        self._shard = lru_cache(OPEN)(self._map)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def keys(self) -> list[str]:
        """By row: equal where the arrays were made from equal content."""
        return [key for _, keys in self.shards for key in keys]

    def __getitem__(self, index: object) -> np.ndarray:
        chosen, *inner = index if isinstance(index, tuple) else (index,)
        rows = self._numbers[chosen]  # NumPy's own rules, and its errors
        if not np.ndim(rows):
            return self._read(np.array([rows]), inner)[0]
        return self._read(rows, inner)

    def _read(self, rows: np.ndarray, inner: list) -> np.ndarray:
        if not len(rows):
            return np.empty((0, *self.shape[1:]), self.dtype)[rows, *inner]
        shards = np.searchsorted(self.starts, rows, side="right") - 1
        order, found = np.argsort(shards, kind="stable"), np.empty(0, self.dtype)
        parts = np.split(order, np.flatnonzero(np.diff(shards[order])) + 1)
        for number, places in enumerate(parts):
            shard = int(shards[places[0]])
            # Arrays of numbers go along with the rows, as in NumPy.
            own = [np.asarray(part)[places] if np.ndim(part) else part for part in inner]
            read = self._shard(shard)[rows[places] - self.starts[shard], *own]
            if not number:
                found = np.empty((len(rows), *read.shape[1:]), self.dtype)
            found[places] = read
        return found

    def _map(self, shard: int) -> np.ndarray:
        name, keys = self.shards[shard]
        file = self.path / f"{name}.npy"
        found = files.load_array(file)
        if found.dtype != self.dtype or found.shape != (len(keys), *self.shape[1:]):
            raise InputError(f"{file}: not the shard that {self.path / INDEX} lists")
        return found
