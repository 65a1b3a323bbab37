"""Each image's split: which train the network, which choose, and which judge it."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

TRAIN, VAL, TEST = "train", "val", "test"
SPLITS = (TRAIN, VAL, TEST)
UNUSED = "unused"
"""Of a test image's group in an official train folder, or a defect beyond `train_defects`."""


def groups(path: Path) -> pd.Series:
    """Number each image's group: duplicates, and images of one lot, have the same number."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    own = table["path"]
    first = own.where(table["duplicate_of"] == "", table["duplicate_of"]).to_numpy()
    lot = ("lot " + table["lot"]).where(table["lot"] != "", own).to_numpy()
    number = pd.factorize(np.concatenate([own, first, lot]))[0].reshape(3, -1)
    ties = np.ones(2 * len(own)), (np.tile(number[0], 2), number[1:].ravel())
    joined = coo_array(ties, shape=(number.max() + 1,) * 2)
    return pd.Series(connected_components(joined, directed=False)[1][number[0]], table.index)


def read(path: Path) -> pd.Series:
    return pd.read_csv(path, dtype=str, keep_default_na=False)["split"]
