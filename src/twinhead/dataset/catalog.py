"""The catalog: one row for every image, sorted by path."""

from pathlib import Path

import pandas as pd

GOOD = "good"
CONFIRMED, RELABELLED, NEW = "confirmed", "relabelled", "new"
COLUMNS = {
    "path": str, "category": str, "defect_type": str, "defective": int, "mask": str,
    "official": str, "given": str, "reviewed": str, "width": int, "height": int, "mode": str,
    "sha256": str, "phash": str,
}  # fmt: skip
"""The columns and their types. Paths are relative to data.root; mask is empty if there is none.

official: "train" or "test", the folder it lies in. given: what the data's own splits.csv says.
reviewed: what an answer of a person's did: "confirmed", "relabelled", "new", or "" without one.
"""


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=COLUMNS, keep_default_na=False)


def categories(frame: pd.DataFrame) -> list[str]:
    """The names of the categories, sorted: their numbers are the places in this list."""
    return sorted(frame["category"].unique())
