"""What the readings are fitted to: the stored features of the images, and what is known of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from twinhead.dataset.features import CHROMATICITY, POOLED
from twinhead.dataset.store import Store
from twinhead.model.batches import at_a_time
from twinhead.model.detector import WIDTHS

STRIDE = 16
"""Pixels a side of a cell of the fine grid."""


@dataclass(frozen=True)
class Data:
    """The stored features of the images, and what is known of them; rows are the catalog's."""

    pooled: Store | np.ndarray
    """(images, views, values), float32."""
    chromaticity: Store | np.ndarray
    """(images, 2), float32."""
    maps: Mapping[str, Store | np.ndarray]
    """By name of detector.WIDTHS: (images, height, width, channels), float16."""
    category: np.ndarray
    """(images,), integers: each image's category; all 0 for a network without a category head."""
    defective: np.ndarray
    """(images,), 0 or 1."""
    split: np.ndarray
    """(images,), text: train, val, test or unused."""
    group: np.ndarray
    """(images,): equal for images that stay on one side."""
    masks: Mapping[int, np.ndarray]
    """By image: (size, size), bool."""
    categories: int

    @property
    def read(self) -> int:
        """Photographs that are read from the stores at a time."""
        return at_a_time(STRIDE * self.grid()[0])

    def grid(self) -> tuple[int, int]:
        height, width = self.maps["stage5"].shape[1:3]
        return height, width


def gather(
    features: Mapping[str, Store | np.ndarray],
    masks: Mapping[int, np.ndarray],
    frame: pd.DataFrame,
    split: pd.Series,
    group: pd.Series,
    tasks: Sequence[str],
) -> Data:
    """Put together what fitting.fit takes; features: by name, row i = catalog row i."""
    codes = frame["category"].astype("category").cat.codes.to_numpy(np.int32)
    category = codes if "category" in tasks else np.zeros_like(codes)
    return Data(
        features[POOLED],
        features[CHROMATICITY],
        {name: features[name] for name in WIDTHS},
        category,
        frame["defective"].to_numpy(),
        split.to_numpy(),
        group.to_numpy(),
        masks,
        int(category.max()) + 1,
    )
