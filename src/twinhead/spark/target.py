"""The answers that a TARGET holds: Parquet files by category, each of them whole.

A photograph's row is there or not; there is no other record of what was answered. Only the driver
writes, with a lock, so a worker that outlives its driver can't add anything.
"""

import fcntl
import io
import json
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from twinhead import files
from twinhead.errors import InputError
from twinhead.serving import formats
from twinhead.spark.places import UNFINISHED, File, Folder, Place

if TYPE_CHECKING:
    import pyarrow

BEGUN = "_twinhead.json"
"""Which model the answers are of."""
TOUCHED = "_touched"
"""Files that were written again with a content that had been answered: their new sizes and times.
Spark passes over what begins with `_`."""
LOCK = "_lock"
CATEGORY = "category"
NONE = "__HIVE_DEFAULT_PARTITION__"
"""As Spark calls the folder of rows without a category."""
ESCAPED = {*map(chr, range(1, 32)), "\x7f", *"\"#%'*/:=?\\{[]^"}
"""In folders' names, as Spark does it."""
DIGEST_BYTES = 16
"""Of the digests that stand for what is known: so many that no two will ever be equal."""
STAMP = ("path", "digest", "bytes", "modified")
COLUMNS = {
    "category": "string", "category_probability": "double", "defect_probability": "double",
    "defective": "bool", "known": "bool", "review": "bool",
}  # fmt: skip
"""What an answer may have; what a network doesn't say is null."""


class Known:
    """What was answered before, in 48 bytes a photograph."""

    def __init__(self, rows: Iterator[tuple[str, str | None, int, int]]) -> None:
        stamps, contents, paths = bytearray(), bytearray(), bytearray()
        for path, digest, size, modified in rows:
            contents += _key(path, digest)
            if digest is not None:  # else it couldn't be read, and is tried again
                stamps += _key(path, size, modified)
                paths += _key(path)
        self._stamps, self._contents, self._paths = map(_sorted, (stamps, contents, paths))

    def answered(self, file: File) -> bool:
        """Whether the file, of this size and time, was answered."""
        return _within(self._stamps, _key(*file))

    def changed(self, file: File) -> bool:
        """Whether it was, but has another size or time now."""
        return _within(self._paths, _key(file.path)) and not self.answered(file)

    def same(self, path: str, digest: str | None) -> bool:
        """Whether this content was answered under this path."""
        return _within(self._contents, _key(path, digest))


class Target:
    """A place that holds the answers of one model."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._run, self._numbers = uuid.uuid4().hex[:12], count()

    @contextmanager
    def taken(self, model: dict[str, str]) -> Iterator[None]:
        """Hold the place for this run. Raises InputError if it isn't free for this model."""
        self._check(model)  # before the lock makes a folder of what isn't one of ours
        with _lock(self.place):
            if self._check(model):  # again: another run may have begun meanwhile
                self.place.put(BEGUN, json.dumps(model, indent=2).encode())
            yield

    def _check(self, model: dict[str, str]) -> bool:
        """Whether nothing has begun here yet. Raises InputError if it isn't free for this model."""
        root, begun = formats.printable(self.place.root), self.place.take(BEGUN)
        if begun is None and any(not name.startswith("_") for name in self.place.names()):
            raise InputError(f"{root}: holds something else; name a new folder, or an empty one")
        if begun is not None and json.loads(begun) != model:
            raise InputError(f"{root}: has the answers of another model; name a new folder")
        return begun is None

    def known(self) -> Known:
        """What was answered before. Raises InputError naming a file that can't be read."""
        return Known(self._stamps())

    def commit(self, rows: Collection[dict], touched: Collection[dict] = ()) -> None:
        """Add rows: a file for each category, which appears whole.

        Killed between two of them, the rows of the first are there, and those of the second are
        answered again by the next run.
        """
        name = f"{self._run}-{next(self._numbers):06}.parquet"
        parts = defaultdict(list)
        for row in rows:
            parts[row.get(CATEGORY)].append(row)
        for category in sorted(parts, key=str):
            folder = f"{CATEGORY}={NONE if category is None else _escaped(category)}"
            self.place.put(f"{folder}/{name}", _parquet(parts[category], schema()))
        if touched:
            self.place.put(f"{TOUCHED}/{name}", _parquet(touched, schema(STAMP)))

    def _stamps(self) -> Iterator[tuple[str, str | None, int, int]]:
        from pyarrow import fs, parquet

        system, root = self.place.arrow()
        for folder in self.place.names():
            if not folder.startswith((f"{CATEGORY}=", TOUCHED)):
                continue
            for found in system.get_file_info(fs.FileSelector(f"{root}/{folder}")):
                try:
                    with system.open_input_file(found.path) as opened:
                        read = parquet.ParquetFile(opened)
                        for batch in read.iter_batches(columns=list(STAMP)):
                            columns = (batch.column(name).to_pylist() for name in STAMP)
                            yield from zip(*columns, strict=True)
                except (ValueError, KeyError) as error:  # PyArrow's errors are such
                    fault = str(error).partition("\n")[0]
                    raise InputError(f"{found.path}: not a file of answers ({fault})") from None


@contextmanager
def _lock(place: Place) -> Iterator[None]:
    """Keep other runs out of a folder; S3 has no locks. It ends with this process, however."""
    if not isinstance(place, Folder):
        yield
        return
    root = Path(place.root)
    root.mkdir(parents=True, exist_ok=True)
    with (root / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{formats.printable(root)}: another run is writing there") from None
        files.remove(root / UNFINISHED)
        yield


def schema(names: Sequence[str] = ()) -> "pyarrow.Schema":
    """The columns of a file, or these of them; the category stands in the folder's name."""
    import pyarrow

    answer = [item for item in COLUMNS.items() if item[0] != CATEGORY]
    fields = [("path", "string"), ("digest", "string"), *answer, ("heat_map", "string")]
    fields += [("error", "string"), ("bytes", "int64"), ("modified", "int64")]
    return pyarrow.schema(
        [
            (name, pyarrow.type_for_alias(kind))
            for name, kind in fields
            if not names or name in names
        ]
    )


def _parquet(rows: Collection[dict], schema: "pyarrow.Schema") -> bytes:
    import pyarrow
    from pyarrow import parquet

    file = io.BytesIO()
    written = [row | {"path": formats.spelt(row["path"])} for row in rows]
    parquet.write_table(pyarrow.Table.from_pylist(written, schema=schema), file)
    return file.getvalue()


def _escaped(name: str) -> str:
    return "".join(f"%{ord(one):02X}" if one in ESCAPED else one for one in name)


def _key(path: str, *more: object) -> bytes:
    text = "\0".join(map(str, (formats.spelt(path), *more)))
    return blake2b(text.encode(errors="surrogatepass"), digest_size=DIGEST_BYTES).digest()


def _sorted(keys: bytearray) -> np.ndarray:
    return np.sort(np.frombuffer(keys, f"S{DIGEST_BYTES}"))


def _within(known: np.ndarray, key: bytes) -> bool:
    wanted = np.frombuffer(key, known.dtype)[0]  # NumPy drops zero bytes at the end, of both
    at = known.searchsorted(wanted)
    return bool(at < len(known) and known[at] == wanted)
