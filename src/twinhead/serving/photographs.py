"""Find the photographs that a command line names, and decode them ahead of the network."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np

from twinhead import cores
from twinhead.errors import InputError
from twinhead.ingest import images

HEATED = ".heat.png"
"""How the names of drawn heat maps end, so that none is taken for a photograph."""
HALF_DRAWN = ".heat.partial.png"


def find(names: list[str]) -> Iterator[Path]:
    """Yield the photographs that files, folders and patterns name, each once.

    Of a folder, all below it whose names end as photographs' do, sorted; no hidden ones, no drawn
    heat maps, and no masks where it is in MVTec AD's layout. A photograph that doesn't exist is
    given as it is: reading it will say so. Raises InputError for a folder that doesn't exist or is
    without photographs, for one that can't be listed, and for a pattern that nothing matches. Of
    one folder, no more than the names of those that it is in are held.
    """
    places = [place for name in names for place in _places(name)]
    seen: set[Path] | None = set() if len(places) > 1 else None
    for place in places:
        for file in _below(place) if place.is_dir() else [place]:
            if seen is None:
                yield file
            elif file not in seen:
                seen.add(file)
                yield file


def below(folder: Path, unlisted: Callable[[OSError], None] = lambda error: None) -> Iterator[Path]:
    """Yield the photographs below a folder as `find` does, or none.

    unlisted: is told of each folder whose names can't be had.
    """
    seen = set()
    for place, folders, files in os.walk(folder, onerror=unlisted, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        folders[:] = entered(folders)
        yield from (Path(place, name) for name in sorted(files) if is_photograph(name))


def entered(folders: list[str]) -> list[str]:
    """Those of the folders side by side in which photographs are looked for, sorted."""
    layout = {"train", "test"} & set(folders)
    return sorted(
        name
        for name in folders
        if not name.startswith(".") and not (layout and name == "ground_truth")
    )


def decoded(
    files: Iterable[Path], size: int, count: int
) -> Iterator[list[tuple[Path, np.ndarray | InputError]]]:
    """Yield the files in lists of `count`, each with its pixels or with what is wrong with it.

    Pixels are (size, size, 3), uint8.

    All cores decode, one list ahead of the one that is being looked at, and no further: memory
    stays bounded however many files there are.
    """

    def read(file: Path) -> np.ndarray | InputError:
        try:
            return images.read(file, size)
        except InputError as error:
            return error

    rest = iter(files)
    with ThreadPoolExecutor(cores.available()) as pool:
        part: list[Path] = []
        ahead = pool.map(read, part)
        while True:
            after = list(islice(rest, count))
            found = pool.map(read, after)
            if part:
                yield list(zip(part, ahead, strict=True))
            if not after:
                return
            part, ahead = after, found


def _places(name: str) -> list[Path]:
    path = Path(name)
    # A file may be called a[1].png; only what doesn't exist can be a pattern.
    if path.exists():
        return [path]
    if matches := sorted(glob.glob(name, recursive=True)):
        return [Path(match) for match in matches]
    if glob.has_magic(name):
        raise InputError(f"{name}: nothing matches it")
    if not is_photograph(path.name):
        raise InputError(f"{name}: no such file or folder")
    return [path]


def _below(folder: Path) -> Iterator[Path]:
    none = True
    for file in below(folder, refuse):
        none = False
        yield file
    if none:
        raise InputError(f"{folder}: no photographs in it; expected {', '.join(images.FORMATS)}")


def refuse(error: OSError) -> None:
    """For `below`: raise InputError naming the folder."""
    raise InputError(f"{error.filename}: can't be listed ({error.strerror})")


def is_photograph(name: str) -> bool:
    """Whether a file of this name is looked at."""
    known = Path(name).suffix.lower() in images.FORMATS
    return known and not name.startswith(".") and not name.endswith((HEATED, HALF_DRAWN))
