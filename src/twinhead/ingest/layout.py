"""The images of a folder in MVTec AD's layout, listed without opening them."""

import json
from hashlib import sha256
from pathlib import Path

import pandas as pd

from twinhead import files, paths
from twinhead.dataset.catalog import COLUMNS, GOOD
from twinhead.errors import InputError
from twinhead.ingest import given_splits, images


def scan(root: Path) -> pd.DataFrame:
    """List the images below root, sorted by path, without opening them.

    Returns the catalog's columns up to `reviewed`; the folder's splits.csv fills `given`, if any.
    Raises InputError for a missing or empty folder, for one that isn't in MVTec AD's layout, and
    for a splits.csv that doesn't fit it.
    """
    root = Path(root)
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise InputError(f"data.root: {root} {found}; expected a folder in MVTec AD's layout")
    rows = [row for category in _folders(root) for row in _scan_category(root, category)]
    if not rows:
        raise InputError(
            f"data.root: {root} holds no categories; expected <category>/train/good/*.png and so on"
        )
    frame = pd.DataFrame(rows).sort_values("path", ignore_index=True)
    given = given_splits.read(root / given_splits.NAME, frame["path"])
    return frame.assign(given=given, reviewed="")


def place(root: Path, path: str) -> Path:
    """Where a photograph of the catalog lies: below root, or where those of a review are kept."""
    own = f"{paths.REVIEWED.as_posix()}/"  # no category: one has train or test in it
    return Path(path) if path.startswith(own) else Path(root) / path


def masks(root: Path) -> list[str]:
    """The paths of all mask files below root, relative to it, whether or not they have an image."""
    truths = [folder / "ground_truth" for folder in _folders(Path(root))]
    kinds = [kind for truth in truths if truth.is_dir() for kind in _folders(truth)]
    return [mask.relative_to(root).as_posix() for kind in kinds for mask in _images(kind)]


def state(root: Path, frame: pd.DataFrame) -> dict[str, tuple[int, int] | None]:
    """Size in bytes and time of change of splits.csv and of all files that the catalog lists.

    None for one that isn't there.
    """
    listed = [given_splits.NAME, *frame["path"], *frame["mask"]]
    return {path: _stat(Path(root) / path) for path in listed if path}


def check_unchanged(root: Path, before: dict[str, tuple[int, int] | None]) -> None:
    """Raise InputError where files below root came, went or changed since `state` gave `before`."""
    now = state(root, scan(root))
    changed = [path for path in sorted(before | now) if before.get(path, 0) != now.get(path, 0)]
    if changed:
        raise InputError(
            f"{Path(root) / changed[0]}: changed while it was read"
            + (f", and {len(changed) - 1:,} other files" if changed[1:] else "")
            + "; run it again when the folder is at rest"
        )


def add(frame: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    """The list with further rows, sorted by path."""
    return pd.concat([frame, more], ignore_index=True).sort_values("path", ignore_index=True)


def write(frame: pd.DataFrame, path: Path) -> None:
    files.write_table(frame[list(COLUMNS)], path)


def labels(frame: pd.DataFrame) -> dict:
    """The names behind the numbers: sorted categories, and each category's defect types."""
    types = frame.groupby("category")["defect_type"].unique()
    return {
        "categories": sorted(types.index),
        "defect_types": {name: sorted(set(types[name]) - {GOOD}) for name in sorted(types.index)},
    }


def counts(frame: pd.DataFrame) -> dict:
    """How many images of each kind there are, per category and in all."""

    def count(rows: pd.DataFrame) -> dict:
        return {
            "images": len(rows),
            "defective": int(rows["defective"].sum()),
            "masks": int((rows["mask"] != "").sum()),
        }

    return {
        **count(frame),
        "duplicates": int(frame["sha256"].duplicated().sum()),
        "digest": digest(frame),
        "by_category": {name: count(rows) for name, rows in frame.groupby("category")},
    }


def digest(frame: pd.DataFrame) -> str:
    """The data set's identity: SHA-256 over every image's bytes, path, label and mask path."""
    identity = frame[["path", "category", "defect_type", "mask", "sha256"]]
    return sha256(json.dumps(identity.to_numpy().tolist()).encode()).hexdigest()


def _scan_category(root: Path, category: Path) -> list[dict]:
    folders = {folder.name: folder for folder in _folders(category)}
    sides = [folders[name] for name in ("train", "test") if name in folders]
    if not sides:
        raise InputError(
            f"{category}: neither train nor test in it; expected a category in MVTec AD's layout"
            " (a folder whose name starts with a dot is left out)"
        )
    truths = {}
    if "ground_truth" in folders:
        truths = {truth.name: truth for truth in _folders(folders["ground_truth"])}
    rows = []
    for side in sides:
        if stray := _images(side):
            raise InputError(f"{stray[0]}: expected in a folder such as {side / GOOD}")
        for kind in _folders(side):
            found = _images(kind)
            if kind.name != GOOD and kind.name.strip().casefold() == GOOD:
                raise InputError(f"{kind}: rename it to {GOOD}, or its images would be defects")
            if not found:
                raise InputError(f"{kind}: no images in it; expected {', '.join(images.FORMATS)}")
            has_masks = kind.name != GOOD and kind.name in truths
            masks = _images(truths[kind.name]) if has_masks else []
            by_stem = {mask.stem: mask for mask in masks}
            for file in found:
                mask = by_stem.get(f"{file.stem}_mask") or by_stem.get(file.stem)
                rows.append({
                    "path": file.relative_to(root).as_posix(),
                    "category": category.name,
                    "defect_type": kind.name,
                    "defective": int(kind.name != GOOD),
                    "mask": mask.relative_to(root).as_posix() if mask else "",
                    "official": side.name,
                })  # fmt: skip
    if not rows:
        raise InputError(
            f"{category}: an empty category; expected images in train/{GOOD} or test/*"
        )
    return rows


def _stat(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _folders(folder: Path) -> list[Path]:
    found = [path for path in _visible(folder) if path.is_dir()]
    for path in found:
        if path.is_symlink():
            raise InputError(
                f"{path}: a link to a folder, behind which DVC sees no change; put the folder"
                " itself there, or links to its files"
            )
    return found


def _images(folder: Path) -> list[Path]:
    """A link that leads nowhere counts too: decoding it says so."""
    named = [path for path in _visible(folder) if path.suffix.lower() in images.FORMATS]
    return [path for path in named if path.is_file() or path.is_symlink()]


def _visible(folder: Path) -> list[Path]:
    try:
        found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder}: can't be read ({error.strerror})") from None
    for path in found:
        if path.name.encode(errors="ignore").decode() != path.name:
            raise InputError(f"{str(path)!a}: the name is not UTF-8; rename it")
    return found
