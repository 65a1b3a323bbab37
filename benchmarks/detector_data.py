"""The photographs that benchmarks/detector.py measures: indexed and described once, split as asked.

Several folders become one data set: links to their files, below one root.
"""

import argparse
import fcntl
import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

import twinhead
from twinhead import engine, files, heap, params
from twinhead.backbones import extraction
from twinhead.dataset import catalog, features, pixels
from twinhead.ingest import decoding, layout
from twinhead.model.inference import Source
from twinhead.partition import assignment, duplicates, lots


@dataclass(frozen=True)
class Photographs:
    """Some of the data set's images; row i of each array is row i of `frame`."""

    frame: pd.DataFrame
    """Of the catalog."""
    source: Source
    masks: dict[int, np.ndarray]
    """By row: (size, size), bool."""
    kept: Path
    """For networks that were fitted to some of them."""

    def only(self, rows: np.ndarray) -> "Photographs":
        """Those of some rows, numbered anew."""
        source = self.source
        return Photographs(
            self.frame.iloc[rows].reset_index(drop=True),
            Source(source.pixels[rows], {name: x[rows] for name, x in source.features.items()}),
            {new: self.masks[old] for new, old in enumerate(rows) if old in self.masks},
            self.kept,
        )

    def of(self, categories: list[str]) -> "Photographs":
        return self.only(np.flatnonzero(self.frame["category"].isin(categories)))

    def split(self, settings: params.Split) -> tuple[pd.Series, pd.Series]:
        """Each row's split and group, as the stage `split` draws them from nothing."""
        alike = duplicates.groups(self.frame, settings.near_duplicates)
        group = lots.join(alike, lots.names(self.frame, settings.group_by))
        return assignment.assign(self.frame, group, settings), group


def prepare(
    folders: list[Path], work: Path, settings: params.Params, categories: list[str] | None
) -> Photographs:
    """Index the folders and run the backbone over what is new; return these categories' images.

    work: keeps links, pixels and features, also of folders that were given before.
    """
    heap.keep_freed()
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        linked = _link(folders, work / "root")
        wanted = categories or linked
        stamp, done = _stamp(work / "root", settings), work / "stamp"
        if not done.exists() or done.read_text() != stamp:
            _index(work, settings)
            _describe(pixels.load(work / "pixels"), work, settings)
            done.write_text(stamp)
    frame, images = catalog.read(work / "catalog.csv"), pixels.load(work / "pixels")
    known = features.load(work / "features")
    masks = pixels.load_masks(work / "masks", frame)
    rows = np.flatnonzero(frame["category"].isin(wanted))
    if missing := set(wanted) - set(frame["category"]):
        raise SystemExit(f"no photographs of {', '.join(sorted(missing))}")
    return Photographs(
        frame.iloc[rows].reset_index(drop=True),
        Source(images[rows], {name: store[rows] for name, store in known.items()}),
        {new: masks[old] for new, old in enumerate(rows) if old in masks},
        work / "networks",
    )


def _link(folders: list[Path], root: Path) -> list[str]:
    """Link each category's files below root; return the categories. Links to folders are refused
    by the index, those to files are not."""
    found = []
    for folder in folders:
        for category in sorted(path for path in folder.resolve().iterdir() if path.is_dir()):
            found.append(category.name)
            for file in (path for path in category.rglob("*") if path.is_file()):
                link = root / file.relative_to(category.parent)
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.is_symlink():
                    link.symlink_to(file)
    return found


def _stamp(root: Path, settings: params.Params) -> str:
    """Name the files, and the code and params that make pixels and features of them."""
    seen = sha256(json.dumps(layout.state(root, layout.scan(root))).encode())
    seen.update(f"{settings.data.side} {settings.features.views}".encode())
    package = Path(twinhead.__file__).parent
    folders = [package / name for name in ("backbones", "dataset", "ingest")]
    engines = [package / name for name in ("engine.py", "processor.py")]
    for file in [*engines, *(file for one in folders for file in sorted(one.rglob("*.py")))]:
        seen.update(file.read_bytes())
    return seen.hexdigest()


def _index(work: Path, settings: params.Params) -> None:
    built = decoding.build(
        layout.scan(work / "root"),
        work / "root",
        settings.data.side,
        work / "pixels",
        work / "masks",
        work / "decoded.csv",
        settings.data.on_bad_image,
    )
    layout.write(built.frame, work / "catalog.csv")


def _describe(images: pixels.Store, work: Path, settings: params.Params) -> None:
    trunk = extraction.trunk(images.shape[1])
    describe = engine.fastest(trunk)
    computed = extraction.build(
        describe,
        list(trunk.output),
        images,
        settings.features.views,
        work / "features",
        work / "extracted.csv",
        engine=engine.version(describe),
    )
    print(f"{computed} of {len(images)} images went through the backbone", flush=True)


def parser(about: str) -> argparse.ArgumentParser:
    """What the commands on real products have in common: FOLDER, --work, --categories."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawTextHelpFormatter)
    made.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    made.add_argument("--work", type=Path, required=True, metavar="FOLDER")
    made.add_argument("--categories", nargs="+")
    return made


def append(rows: list[dict], path: Path) -> pd.DataFrame:
    """Add rows to a table of results; the file appears whole or not at all. Return the table."""
    table = read(path)
    table = pd.concat([table, pd.DataFrame(rows).astype(str)], ignore_index=True)
    files.write_table(table, path)
    return read(path)


def read(path: Path) -> pd.DataFrame:
    """The rows so far, as text; none if there is no file."""
    if not path.exists():
        return pd.DataFrame()
    return pd.read_csv(path, dtype=str, keep_default_na=False)
