"""Find the photographs that a command line names, and decode them ahead of the network."""

import glob
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from twinhead.errors import InputError
from twinhead.ingest import images

HEATED = ".heat.png"
"""How the names of drawn heat maps end, so that none is taken for a photograph."""


def find(names: list[str]) -> list[Path]:
    """Return the photographs that files, folders and patterns name, each once.

    Of a folder, all below it whose names end as photographs' do, sorted; no hidden ones, no drawn
    heat maps, and no masks where it is in MVTec AD's layout. What doesn't exist is returned as it
    is: reading it will say so. Raises InputError for a folder without photographs.
    """
    found: dict[Path, None] = {}
    for name in names:
        path = Path(name)
        # A file may be called a[1].png; only what doesn't exist can be a pattern.
        matches = [] if path.exists() else sorted(glob.glob(name, recursive=True))
        for place in map(Path, matches or [name]):
            found |= dict.fromkeys(_below(place) if place.is_dir() else [place])
    return list(found)


def decoded(
    files: list[Path], size: int, count: int
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

    parts = [files[at : at + count] for at in range(0, len(files), count)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ahead = [pool.map(read, part) for part in parts[:1]]
        for part, after in zip(parts, [*parts[1:], []], strict=True):
            ahead.append(pool.map(read, after))
            yield list(zip(part, ahead.pop(0), strict=True))


def _below(folder: Path) -> list[Path]:
    found, seen = [], set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        layout = {"train", "test"} & set(folders)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not (layout and name == "ground_truth")
        )
        found += [Path(place, name) for name in sorted(files) if _is_photograph(name)]
    if not found:
        raise InputError(f"{folder}: no photographs in it; expected {', '.join(images.FORMATS)}")
    return found


def _is_photograph(name: str) -> bool:
    known = Path(name).suffix.lower() in images.FORMATS
    return known and not name.startswith(".") and not name.endswith(HEATED)
