"""The stored pixels and masks of the catalog's images."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from twinhead.dataset.store import Store


def load(path: Path) -> Store:
    """The stored images, (images, size, size, 3), uint8; row i is catalog row i."""
    return Store(path)


def load_masks(path: Path, frame: pd.DataFrame) -> "Masks":
    """The stored masks by the image's number in the catalog: (size, size), bool, none empty."""
    return Masks(Store(path), np.flatnonzero(frame["mask"] != ""))


class Masks(Mapping):
    """Masks by the image's number, each read when it is indexed; an empty one counts as none."""

    def __init__(self, store: Store, numbers: np.ndarray) -> None:
        self.store = store
        self.rows = {int(number): row for row, number in enumerate(numbers)}

    def __getitem__(self, number: int) -> np.ndarray:
        mask = self.store[self.rows[number]]
        if not mask.any():
            raise KeyError(number)
        return mask

    def __iter__(self) -> Iterator[int]:
        return (number for number in self.rows if number in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)
