"""The stages' tables of images: predictions, the map's points, the heat maps' scores."""

from pathlib import Path

import pandas as pd

TEXT = ("path", "split", "category", "defect_type", "category_predicted", "outcome",
        "nearest_train")  # fmt: skip
NUMBERS = ("pointing_hit", "energy_in_mask", "mask_area", "fine", "coarse", "distance")
"""Columns that are empty where they aren't defined."""


def read(path: Path) -> pd.DataFrame:
    """Read a table of images; a category called 001 or NA stays a name."""
    empty = dict.fromkeys(NUMBERS, [""])
    kinds = dict.fromkeys(TEXT, str)
    return pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=empty)
