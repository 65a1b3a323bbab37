"""Each image's split: which train the network, which choose, and which judge it."""

from pathlib import Path

import pandas as pd

TRAIN, VAL, TEST = "train", "val", "test"
SPLITS = (TRAIN, VAL, TEST)
UNUSED = "unused"
"""A duplicate of a test image that MVTec AD's own folders put into train."""


def groups(path: Path) -> pd.Series:
    """The path of each image's group: of the first of its duplicates, or its own."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return table["duplicate_of"].where(table["duplicate_of"] != "", table["path"])


def read(path: Path) -> pd.Series:
    return pd.read_csv(path, dtype=str, keep_default_na=False)["split"]
