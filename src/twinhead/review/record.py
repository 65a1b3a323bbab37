"""Write answers down, one at a time: what was confirmed is on the disk, whatever happens next."""

import csv
import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from filelock import FileLock

from twinhead import files, paths
from twinhead.errors import InputError
from twinhead.ingest import answers, images

MAX_STEM = 60
"""Letters of a photograph's name that its copy keeps."""


def append(row: dict[str, str], path: Path = paths.ANSWERS) -> None:
    """Add an answer to the table and wait until the disk has it.

    Several processes may do so at once. Raises InputError where the table isn't whole, and OSError,
    with the table as it was, where there is no room.
    """
    with alone(path):
        answers.read(path)
        if not path.exists():
            _write(_line(list(answers.COLUMNS)), path)
        handle = os.open(path, os.O_RDWR | os.O_APPEND)
        try:
            size = os.fstat(handle).st_size
            whole = not size or os.pread(handle, 1, size - 1) == b"\n"
            line = ("" if whole else "\n") + _line([row[name] for name in answers.COLUMNS])
            _add(handle, line.encode(), size)
        finally:
            os.close(handle)


def remove(row: dict[str, str], path: Path = paths.ANSWERS) -> bool:
    """Delete an answer's row, and say whether it was there; the others stay as they are."""
    wanted = [row[name] for name in answers.COLUMNS]
    with alone(path):
        if answers.read(path).empty:
            return False
        # As `answers.read` does: a row may have several lines, and nothing but \n ends one.
        lines = list(io.StringIO(path.read_bytes().decode()))
        kept: list[str] = []
        rows, begin = csv.reader(lines), 0
        for values in rows:
            kept += lines[begin : rows.line_num] if values != wanted else []
            begin = rows.line_num
        if len(kept) < len(lines):
            _write("".join(kept), path)
        return len(kept) < len(lines)


def keep(data: bytes, name: str, folder: Path = paths.REVIEWED) -> Path:
    """Copy a photograph to where those of reviews lie; nothing there is ever overwritten.

    The copy's name has the photograph's own and its digest, so that equal bytes are kept once.
    """
    digest, given = sha256(data).hexdigest(), Path(name)
    stem = "".join(x if x.isalnum() or x in "-_" else "_" for x in given.stem)[:MAX_STEM]
    suffix = given.suffix.lower() if given.suffix.lower() in images.FORMATS else ".png"
    copy = folder / f"{stem}-{digest[:12]}{suffix}"
    if copy.exists():
        if sha256(copy.read_bytes()).hexdigest() != digest:
            raise InputError(f"{copy}: not the photograph that its name says; move it away")
        return copy
    with files.whole(copy) as part, part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    _settle(folder)
    return copy


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep other reviewers' processes waiting."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.stem}.lock")):
        yield


def _add(handle: int, data: bytes, size: int) -> None:
    try:
        written = os.write(handle, data)  # one call: killed, it has been made or not
        if written < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, size)
        raise


def _write(text: str, path: Path) -> None:
    with files.whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    _settle(path.parent)


def _settle(folder: Path) -> None:
    """Let the disk have the folder's new names, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _line(values: list[str]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerow(values)
    return written.getvalue()
