"""Each image's split: which train the network, which choose, and which judge it."""

from pathlib import Path

import pandas as pd

TRAIN, VAL, TEST = "train", "val", "test"
SPLITS = (TRAIN, VAL, TEST)
UNUSED = "unused"
"""A duplicate of a test image that MVTec AD's own folders put into train."""


def read(path: Path) -> pd.Series:
    return pd.read_csv(path, dtype=str, keep_default_na=False)["split"]
