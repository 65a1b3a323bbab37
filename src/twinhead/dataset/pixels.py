"""The stored pixels and masks of the catalog's images."""

from pathlib import Path

import numpy as np
import pandas as pd

from twinhead import files


def load(path: Path) -> np.ndarray:
    """The stored images, memory-mapped and read-only."""
    return files.load_array(path)


def load_masks(path: Path, frame: pd.DataFrame) -> dict[int, np.ndarray]:
    """The stored masks by the image's number in the catalog: (size, size), bool, none empty."""
    numbered = zip(np.flatnonzero(frame["mask"] != ""), files.load_array(path), strict=True)
    return {int(number): mask for number, mask in numbered if mask.any()}
