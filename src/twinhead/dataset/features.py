"""The stored features of the catalog's images."""

from pathlib import Path

import numpy as np

from twinhead import files


def load(path: Path) -> np.ndarray:
    """The stored features, (images, views, features), float32, memory-mapped and read-only."""
    return files.load_array(path)
