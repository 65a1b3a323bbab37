"""Each image's split: which train the network, which choose, and which judge it."""

from pathlib import Path

import pandas as pd

TRAIN, VAL, TEST = "train", "val", "test"
SPLITS = (TRAIN, VAL, TEST)
UNUSED = "unused"
"""Of a test image's group in an official train folder, or a defect beyond `train_defects`."""


def read(path: Path) -> pd.Series:
    return pd.read_csv(path, dtype=str, keep_default_na=False)["split"]
