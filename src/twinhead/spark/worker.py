"""What a Spark worker does: read photographs, answer for them, draw their heat maps.

Its Python needs NumPy, Pillow and OpenVINO; PyArrow where something lies in S3. This package's own
modules come with the job.
"""

import errno
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

import numpy as np

from twinhead import edge
from twinhead.edge import Runtime
from twinhead.errors import InputError
from twinhead.ingest import images
from twinhead.serving import batch
from twinhead.serving.photographs import HEATED
from twinhead.spark.places import File, Place

TOGETHER = 64
"""Photographs that are held at a time, decoded."""
OF_THE_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.ENOTDIR, errno.EISDIR)
"""Errors that no other try would mend: a photograph's heat map can't have this name."""
READERS = 4
"""Photographs that are read and decoded side by side: a store such as S3 keeps each one waiting."""
DIGITS = 16
"""Of a photograph's digest, in its heat map's name."""


@dataclass(frozen=True)
class Work:
    """What is the same for all photographs of a job."""

    source: Place
    model: str
    """The name under which Spark brings the exported model's folder."""
    precision: str
    heatmaps: Place | None


@dataclass
class _Read:
    file: File
    digest: str | None = None
    """SHA-256 of its bytes; None where they can't be read."""
    pixels: np.ndarray | None = None
    fault: str | None = None


def answer(work: Work, files: Sequence[File]) -> Iterator[dict]:
    """Yield a row for each photograph, in their order, as target.schema has them.

    One that can't be read has the reason as `error`, and no answer.
    """
    model = loaded(work.model, work.precision)
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(files), TOGETHER):
            part = files[start : start + TOGETHER]
            yield from _rows(work, model, pool.map(lambda one: _read(work, one, model.size), part))


def digest(work: Work, files: Sequence[File]) -> Iterator[str | None]:
    """Yield each photograph's digest, or None where it can't be read."""
    for file in files:
        try:
            yield sha256(work.source.read(file.path)).hexdigest()
        except InputError:
            yield None


@cache
def loaded(name: str, precision: str) -> Runtime:
    """The model: once in each worker process, which Spark keeps for the jobs that follow."""
    from pyspark import SparkFiles

    return edge.load(SparkFiles.get(name), precision)


def _read(work: Work, file: File, size: int) -> _Read:
    found = _Read(file)
    try:
        data = work.source.read(file.path)
        found.digest = sha256(data).hexdigest()
        found.pixels = images.decode(data, file.path, size)
    except InputError as error:
        found.fault = str(error).removeprefix(f"{file.path}: ")
    return found


def _rows(work: Work, model: Runtime, found: Iterator[_Read]) -> Iterator[dict]:
    part = list(found)
    read = [one.pixels for one in part if one.pixels is not None]
    given = batch.answers(model, read, work.heatmaps is not None)
    for one in part:
        row: dict = one.file._asdict() | {"digest": one.digest}
        if one.pixels is not None:
            answer, heat = next(given)
            row |= answer
            if work.heatmaps and heat is not None:
                row["heat_map"], one.fault = _draw(work, work.heatmaps, model, one, heat)
        yield row | {"error": one.fault}


def _draw(
    work: Work, place: Place, model: Runtime, one: _Read, heat: np.ndarray
) -> tuple[str | None, str | None]:
    """Write the photograph with its heat map; return its URI, or what is wrong with it.

    A file's content is in the name: drawn again, by a task's second try, it's the same one.
    """
    path = one.file.path
    try:
        png = model.draw(work.source.read(path), path, heat)
    except InputError as error:  # it was there when it was decoded
        return None, str(error).removeprefix(f"{path}: ")
    name = f"{work.source.below(path)}.{(one.digest or '')[:DIGITS]}{HEATED}"
    try:
        place.put(name, png)
    except OSError as error:
        if error.errno not in OF_THE_NAME:
            raise  # the place fails: Spark tries again, and the run can be gone on with
        return None, f"its heat map can't be written ({error.strerror})"
    return place.uri(name), None
