"""The data's own splits: a file splits.csv in data.root, for those who have shared out theirs."""

import io
from pathlib import Path

import numpy as np
import pandas as pd

from twinhead import regular_file
from twinhead.dataset.splits import SPLITS
from twinhead.errors import InputError

NAME = "splits.csv"
MAX_BYTES = 2**29
"""Of the file: five million images of a hundred bytes each."""


def read(path: Path, images: pd.Series) -> np.ndarray:
    """The split that the file gives each image, or "" for one that it doesn't list.

    The file has the columns path, relative to data.root, and split; without a file none is given.
    images: the paths of the catalog. Returns (len(images),), object. Raises InputError naming the
    line for a split that is unknown, a path that isn't an image's, and one that is listed twice.
    """
    if not path.exists() and not path.is_symlink():
        return np.full(len(images), "", object)
    table = _table(path)
    split = table["split"]
    for wrong, fault in (
        (~split.isin(SPLITS), "is in {split!r}; expected train, val or test"),
        (table["path"].duplicated(), "is listed twice"),
        (~table["path"].isin(images), "is no image of data.root"),
    ):
        if wrong.any():
            row = table[wrong].iloc[0]
            more = f" (and {int(wrong.sum()) - 1:,} more)" if wrong.sum() > 1 else ""
            what = fault.format(split=str(row["split"])[:80])
            raise InputError(
                f"{path}: line {row.name + 2}: {str(row['path'])[:200]!r} {what}{more}"
            )
    return images.map(table.set_index("path")["split"]).fillna("").to_numpy(object)


def _table(path: Path) -> pd.DataFrame:
    data = regular_file.read(path, MAX_BYTES)
    try:
        table = pd.read_csv(
            io.BytesIO(data), dtype=str, keep_default_na=False, encoding="utf-8-sig",
            skip_blank_lines=False,
        )  # fmt: skip
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected text in UTF-8") from None
    except (ValueError, pd.errors.ParserError) as error:
        fault = "".join(filter(str.isprintable, str(error).partition("\n")[0]))
        raise InputError(f"{path}: not a table of comma-separated values ({fault})") from None
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes the first for the index then
        raise InputError(f"{path}: a line has more values than there are columns")
    if not {"path", "split"} <= set(table):
        found = ", ".join(map(str, table.columns))[:200]
        raise InputError(f"{path}: expected the columns path and split; found {found}")
    table = table.fillna("")
    return table[(table != "").any(axis=1)]
