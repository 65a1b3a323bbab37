"""Where photographs, answers and heat maps lie: a folder that all workers see, or an S3 prefix.

S3 is read and written through PyArrow, which Spark's users have: in the workers, as files are, so
that no photograph goes through Java, and no jar has to be brought along.
"""

import os
import posixpath
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from twinhead.errors import InputError
from twinhead.ingest import images, limits
from twinhead.serving import formats, photographs

S3 = ("s3a://", "s3://")
UNFINISHED = "_unfinished"
"""Files are written in here and renamed; Spark and PyArrow pass over what begins with `_`."""


class File(NamedTuple):
    """A photograph as the listing finds it."""

    path: str
    """Whole: of the file system's root, or with the bucket."""
    bytes: int
    modified: int
    """Nanoseconds since 1970."""


@dataclass(frozen=True)
class Folder:
    root: str

    def photographs(self) -> Iterator[File]:
        """Yield the photographs below it, as `predict` finds them.

        Raises InputError naming a folder that can't be listed.
        """
        for path in photographs.below(Path(self.root), photographs.refuse):
            try:
                about = os.stat(path)
                yield File(str(path), about.st_size, about.st_mtime_ns)
            except OSError:  # a link that leads nowhere: reading it says so
                yield File(str(path), 0, 0)

    def exists(self) -> bool:
        return os.path.isdir(self.root)

    def read(self, path: str) -> bytes:
        """A photograph's bytes. Raises InputError naming it if it can't be read."""
        return images.contents(Path(path))

    def below(self, path: str) -> str:
        """A photograph's path, from here on."""
        return os.path.relpath(path, self.root)

    def uri(self, name: str) -> str:
        return Path(self.root, name).as_uri()

    def names(self) -> list[str]:
        """What lies here, files and folders."""
        with suppress(FileNotFoundError):
            return sorted(os.listdir(self.root))
        return []

    def take(self, name: str) -> bytes | None:
        """A file's bytes, or None where there is none."""
        with suppress(FileNotFoundError):
            return Path(self.root, name).read_bytes()
        return None

    def put(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all. Raises OSError naming it."""
        target, part = Path(self.root, name), Path(self.root, UNFINISHED, uuid.uuid4().hex)
        for folder in (target.parent, part.parent):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        finally:
            with suppress(OSError):  # the block's own error says more
                part.unlink(missing_ok=True)

    def arrow(self) -> tuple[Any, str]:
        """The file system as PyArrow knows it, and the place in it."""
        from pyarrow import fs

        return fs.LocalFileSystem(), self.root


@dataclass(frozen=True)
class Prefix:
    """Of an S3 bucket: `bucket/some/prefix`."""

    root: str
    scheme: str

    def photographs(self) -> Iterator[File]:
        """Yield the photographs below it by the names that `predict` would take in a folder."""
        from pyarrow import fs

        todo = [self.root]
        while todo:
            place = todo.pop()
            found = _s3().get_file_info(fs.FileSelector(place))
            folders = [one.base_name for one in found if one.type == fs.FileType.Directory]
            todo += [f"{place}/{name}" for name in reversed(photographs.entered(folders))]
            for one in sorted(found, key=lambda one: one.path):
                if one.type == fs.FileType.File and photographs.is_photograph(one.base_name):
                    yield File(self.scheme + one.path, one.size, one.mtime_ns)

    def exists(self) -> bool:
        from pyarrow import fs

        return _s3().get_file_info(self.root).type == fs.FileType.Directory

    def read(self, path: str) -> bytes:
        """A photograph's bytes. Raises InputError naming it if it can't be read."""
        try:
            with _s3().open_input_file(path.removeprefix(self.scheme)) as file:
                if file.size() > limits.BYTES:
                    raise InputError(f"{path}: more than {limits.BYTES:,} bytes are not read")
                return file.read()
        except FileNotFoundError:
            raise InputError(f"{path}: can't be read (No such object)") from None

    def below(self, path: str) -> str:
        return posixpath.relpath(path.removeprefix(self.scheme), self.root)

    def uri(self, name: str) -> str:
        return f"{self.scheme}{self.root}/{name}"

    def names(self) -> list[str]:
        from pyarrow import fs

        found = _s3().get_file_info(fs.FileSelector(self.root, allow_not_found=True))
        return sorted(one.base_name for one in found)

    def take(self, name: str) -> bytes | None:
        try:
            with _s3().open_input_file(f"{self.root}/{name}") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def put(self, name: str, data: bytes) -> None:
        """Write an object, which is there when its last byte has come."""
        with _s3().open_output_stream(f"{self.root}/{name}") as file:
            file.write(data)

    def arrow(self) -> tuple[Any, str]:
        return _s3(), self.root


Place = Folder | Prefix


def place(name: str) -> Place:
    """A folder, or an S3 prefix where the name begins as one does."""
    for scheme in S3:
        if name.startswith(scheme):
            root = name.removeprefix(scheme).strip("/")
            if not root:
                raise InputError(f"{name}: names no bucket")
            return Prefix(root, scheme)
    if "://" in name:
        raise InputError(f"{formats.printable(name)}: expected a folder or {S3[0]}bucket/prefix")
    return Folder(os.path.abspath(name))


@cache
def _s3() -> Any:
    """S3 as the environment describes it: keys, region and endpoint, as for all tools of AWS'."""
    from pyarrow import fs

    named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not named:
        return fs.S3FileSystem()
    scheme, _, host = named.rstrip("/").partition("://")
    return fs.S3FileSystem(endpoint_override=host, scheme=scheme)
