"""Lots: products of one batch, sheet or serial number, which stay on one side of a split."""

import re

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from twinhead.errors import InputError

LARGE = 1 / 3
"""The part of a category from which on a group is too large to be passed over in silence."""


def names(frame: pd.DataFrame, pattern: str) -> pd.Series:
    """The lot of each catalog row, as `split.group_by` finds it in the path; "" for none.

    pattern: a regular expression, whose first group names the lot; "" gives no lots. It is sought
    anywhere in the path. Raises InputError where it finds none at all.
    """
    if not pattern:
        return pd.Series("", index=frame.index, name="lot")
    seek = re.compile(pattern).search
    found = [match[1] if (match := seek(path)) else "" for path in frame["path"]]
    lot = pd.Series(found, index=frame.index, name="lot").fillna("")
    if not (lot != "").any():
        raise InputError(
            f"split.group_by: {pattern!r} names no lot in any of {len(frame):,} paths, such as"
            f" {frame['path'].iat[0]}"
        )
    return lot


def join(alike: pd.Series, lot: pd.Series) -> pd.Series:
    """Number the rows so that duplicates and lots, and what they link, have one number: the lowest.

    alike: as `duplicates.groups` gives it. lot: as `names` gives it.
    """
    named = (lot != "").to_numpy()
    size = len(alike)
    places = pd.Series(np.arange(size), index=alike.index)
    of_lot = places[named].groupby(lot[named].to_numpy()).transform("min")
    some = np.concatenate([places.to_numpy(), places[named].to_numpy()])
    others = np.concatenate([places.loc[alike].to_numpy(), of_lot.to_numpy()])
    links = coo_array((np.ones(len(some), bool), (some, others)), shape=(size, size))
    number = connected_components(links, directed=False)[1]
    lowest = places.groupby(number).transform("min").to_numpy()
    return pd.Series(alike.index[lowest], index=alike.index, name="group")


def remarks(frame: pd.DataFrame, lot: pd.Series, group: pd.Series) -> list[str]:
    """What a person should know of the groups, a line each."""
    lines = []
    if (lot != "").any() and (alone := int((lot == "").sum())):
        first = frame["path"][lot == ""].iat[0]
        lines.append(f"split.group_by names no lot for {alone:,} images, such as {first}")
    whole = frame["category"].value_counts()
    counted = frame.groupby([group.rename("group"), "category"], sort=True).size()
    large = counted[
        (counted > 1) & (counted > LARGE * whole[counted.index.get_level_values(1)].to_numpy())
    ]
    for (first, category), images in large.items():
        called = f" (lot {lot[first]})" if lot[first] else ""
        lines.append(
            f"one group has {images:,} of {whole[category]:,} images of {category}: what"
            f" {frame['path'][first]}{called} is linked to; all of them stand on one side"
        )
    return lines
