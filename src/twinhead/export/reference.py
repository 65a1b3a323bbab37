"""What later photographs are compared with: the good training images, as they were cross-fitted."""

from pathlib import Path

import numpy as np
import pandas as pd

from twinhead import files
from twinhead.dataset import tables
from twinhead.dataset.store import Store
from twinhead.errors import InputError
from twinhead.export import manifest
from twinhead.export.manifest import Manifest

FILE = "reference.csv"
"""A row for each image, with these COLUMNS."""
LOOKS = ("brightness", "sharpness")
"""Measures of the photograph alone, whatever the network says of it."""
COLUMNS = ("category", "score", "unusual", *LOOKS)
BATCH = 64


def collect(crossfit: pd.DataFrame, frame: pd.DataFrame, images: Store) -> pd.DataFrame | None:
    """Measure the good images of reports/crossfit.csv; frame: the catalog, images: its pixels.

    `score` is the defect probability. None for a network without cross-fitted answers.
    """
    if crossfit.empty or "unusual" not in crossfit:
        return None
    good = crossfit[crossfit["defective"] == 0]
    if good.empty:
        return None
    rows = pd.Series(frame.index, frame["path"])[good["path"]].to_numpy()
    parts = [measure(images[rows[at : at + BATCH]]) for at in range(0, len(rows), BATCH)]
    said = good[["category", "defect_probability", "unusual"]].reset_index(drop=True)
    said.columns = pd.Index(COLUMNS[:3])
    return said.join(pd.concat(parts, ignore_index=True))


def measure(images: np.ndarray) -> pd.DataFrame:
    """The brightness (mean, 0 to 1) and the sharpness of (n, size, size, 3), uint8.

    Sharpness is the logarithm of the mean square of the discrete Laplacian (Pertuz et al. 2013,
    doi:10.1016/j.patcog.2012.11.011, LAPV's relative), over the grey values' variance.
    """
    grey = np.asarray(images, np.float32).mean(axis=-1) / 255
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    edges = ((around - 4 * grey[:, 1:-1, 1:-1]) ** 2).mean(axis=(1, 2))
    contrast = grey.var(axis=(1, 2))
    return pd.DataFrame({
        "brightness": grey.mean(axis=(1, 2)),
        "sharpness": np.log((edges + 1e-9) / (contrast + 1e-9)),
    })  # fmt: skip


def write(reference: pd.DataFrame, folder: Path) -> None:
    files.write_table(reference, folder / FILE)


def read(folder: Path, known: Manifest) -> pd.DataFrame:
    """The reference of an export, with COLUMNS; known: the export's list.

    Raises InputError where it has none, and where the file isn't the one that is listed.
    """
    if FILE not in known.files:
        raise InputError(
            f"{folder}: has no {FILE} to compare with; `dvc repro export` makes one for a network"
            " that was cross-fitted, as the paper's isn't"
        )
    manifest.check(folder, known, [FILE])
    return tables.read(folder / FILE)
