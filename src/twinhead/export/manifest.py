"""The list of what is in `models/edge/`, and what an answer needs beside the network."""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from twinhead import errors
from twinhead.errors import InputError
from twinhead.export.decisions import Rules

FILE = "edge.json"
FLOAT, INT8 = PRECISIONS = "float", "int8"
ENDINGS = ".xml", ".bin"
"""Of a network's two files: its graph, its weights."""
VERSION = 1
"""Of this list."""


@dataclass(frozen=True)
class Manifest:
    version: int
    categories: list[str]
    rules: Rules
    scale: float | None
    """The heat at which the colours end; None for a network without a map of its own."""
    size: int
    """Pixels a side that the network takes."""
    tiles: int
    """`data.tiles` in params.yaml; `size` has them in it."""
    files: dict[str, str]
    """SHA-256 of all other files, by name; none where OpenVINO couldn't run."""
    gate: dict
    """How far each precision is from the trained model on val: metrics/export.json."""
    model: str
    """SHA-256 of models/model.keras."""

    @property
    def precisions(self) -> list[str]:
        """Those of PRECISIONS that are there."""
        return [name for name in PRECISIONS if f"{name}{ENDINGS[0]}" in self.files]


def write(manifest: Manifest, folder: Path) -> None:
    text = json.dumps(asdict(manifest), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> Manifest:
    """Raises InputError naming the file if it is missing or holds something else."""
    file = folder / FILE
    try:
        listed = json.loads(file.read_text(encoding="utf-8"))
        version = listed["version"]  # first: another version's list may hold other things
        if version != VERSION:
            raise InputError(
                f"{file}: of version {errors.shown(version)}; this twinhead reads {VERSION}"
            )
        found = Manifest(**listed | {"rules": Rules(**listed["rules"])})
    except InputError:  # a ValueError, too
        raise
    except FileNotFoundError:
        raise InputError(f"{file} is missing; `dvc repro export` makes one") from None
    except (TypeError, ValueError, KeyError):
        raise InputError(f"{file}: not the list of an exported twinhead model") from None
    return found


def network(precision: str) -> list[str]:
    """The names of a network's files."""
    return [f"{precision}{ending}" for ending in ENDINGS]


def check(folder: Path, known: Manifest, names: list[str]) -> None:
    """Raise InputError naming a file that is missing, or isn't the one that the list has."""
    for name, digest in digests(folder, names).items():
        if known.files.get(name) != digest:
            raise InputError(f"{folder / name} isn't the file that {FILE} lists")


def digests(folder: Path, names: list[str]) -> dict[str, str]:
    """SHA-256 of these files, by name. Raises InputError naming one that is missing."""
    found = {}
    for name in names:
        try:
            found[name] = sha256((folder / name).read_bytes()).hexdigest()
        except FileNotFoundError:
            raise InputError(f"{folder / name} is missing; copy the whole folder") from None
    return found
