"""Files and folders that appear whole or not at all."""

import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import DTypeLike

from twinhead import errors
from twinhead.errors import InputError

if TYPE_CHECKING:  # a small machine has none
    import pandas as pd

BLOCK = 2**20
CONFLICT = "\n<<<<<<< "
"""How git begins what a merge left to decide."""
_parsing = threading.RLock()


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a place to write a file or a folder to, which becomes `path` when the block ends well.

    What was at `path` stays until then. A block that fails leaves nothing of its own; one that is
    killed leaves a `.partial`, which no command takes for the thing itself and the next start
    removes. (A folder can't be exchanged at one stroke: killed at that instant, neither is there.)
    An OSError names `path`, also where what has written there gave it no name.
    """
    path = Path(path)
    part = path.with_name(f"{path.stem}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(part)
        yield part
        if path.is_dir():
            shutil.rmtree(path)
        part.replace(path)
    except OSError as error:
        raise _named(error, part, path) from error
    finally:
        with suppress(OSError):  # the block's own error says more
            remove(part)


def new_array(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap:
    """Make a NumPy file of that dtype and shape, mapped for writing.

    Its room on the disk is taken at once: a mapped file that finds the disk full while it is
    written would end the process without a word. Raises OSError where there isn't enough.
    """
    try:
        array = open_memmap(path, "w+", dtype, shape)
        _take_room(path, array.offset)
    except OSError as error:
        raise _named(error, path, path) from error
    return array


def _take_room(path: Path, start: int) -> None:
    """Allocate a file's blocks; where the system can't, write zeros from `start` to its end."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):  # not on macOS, nor on Windows
            os.posix_fallocate(file.fileno(), 0, max(size, 1))
            return
        file.seek(start)
        while (left := size - file.tell()) > 0:
            file.write(bytes(min(left, BLOCK)))


def load_array(path: Path) -> np.memmap:
    """A NumPy file, memory-mapped and read-only; one with pickled objects is not read.

    Raises InputError naming the file if it is missing or isn't whole.
    """
    try:
        # NumPy parses a header as Python, and Python 3.11's parser counts its depth for all
        # threads together: two that parse at once can end in a SystemError.
        with _parsing:
            return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise errors.missing(path) from None
    except (OSError, ValueError, EOFError) as error:
        fault = str(error).partition("\n")[0]
        if "pickle" in fault or "Python objects" in fault:  # NumPy says how to read them anyway
            fault = "pickled objects, which could run any code"
        raise InputError(f"{path}: not an array of numbers ({fault})") from None


def write_array(array: np.ndarray, path: Path) -> None:
    """Write a NumPy file: the bytes of `np.save`, which doesn't say why it can't write."""
    with whole(path) as part:
        written = new_array(part, array.dtype, array.shape)
        written[...] = array
        written.flush()


def write_table(table: "pd.DataFrame", path: Path) -> None:
    """Write a table as CSV, without its index."""
    with whole(path) as part:
        table.to_csv(part, index=False, lineterminator="\n")


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises InputError naming it if it is missing or isn't JSON."""
    text = ""
    try:
        text = Path(path).read_text(encoding="utf-8")
        return json.loads(text)
    except FileNotFoundError:
        raise errors.missing(path) from None
    except ValueError as error:
        why = "git's conflict markers are in it" if CONFLICT in f"\n{text}" else error
        raise InputError(f"{path}: not JSON ({why})") from None


def write_json(content: dict, path: Path) -> None:
    """Write a metrics file: nine significant digits."""
    text = json.dumps(_rounded(content), indent=2, ensure_ascii=False, allow_nan=False)
    with whole(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def chosen(metrics: dict, columns: dict[str, str]) -> dict[str, float]:
    """Pick the few numbers that DVC's tables show: columns names each one's place, `test.f1`.

    What the metrics don't define is left out.
    """

    def at(place: str) -> float | None:
        tree: Any = metrics
        for key in place.split("."):
            tree = (tree or {}).get(key)
        return tree

    found = {column: at(place) for column, place in columns.items()}
    return {column: value for column, value in found.items() if value is not None}


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return float(f"{value:.9g}") if isinstance(value, float) else value


def _named(error: OSError, part: Path, path: Path) -> OSError:
    """The error with the name that a user knows, where it has that of the part, or none."""
    where = Path(error.filename or part)
    if not where.is_relative_to(part):
        return error
    name = str(path / where.relative_to(part))
    if error.errno is None:
        return OSError(f"{name}: {error}")
    return OSError(error.errno, error.strerror, name)


def remove(path: Path) -> None:
    """Take a file or a folder away, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
