"""Which images train the network, which choose its epoch and threshold, and which judge it."""

from pathlib import Path

import numpy as np
import pandas as pd

from twinhead import files, params
from twinhead.dataset.splits import SPLITS, TEST, TRAIN, UNUSED, VAL
from twinhead.errors import InputError


def assign(frame: pd.DataFrame, group: pd.Series, settings: params.Split) -> pd.Series:
    """Give every catalog row its split: "train", "val", "test" or, for official copies, "unused".

    Both protocols take each stratum (category × defective) in its share, and keep duplicates
    together: `random` draws test and val from all images; `official` takes MVTec AD's own test
    folders for test, and draws val out of its train folders. The same catalog and settings give
    the same splits. group: as `duplicates.groups` gives it. Raises InputError where a split would
    stay empty.
    """
    rng = np.random.default_rng(settings.seed)
    total = group.nunique()
    split = pd.Series(TRAIN, index=frame.index)
    if settings.protocol == "random":
        test = _draw(_one_each(frame, group), round(settings.test_fraction * total), rng)
        split[group.isin(group[test])] = TEST
    else:
        split[frame["official"] == "test"] = TEST
        split[group.isin(group[split == TEST]) & (split == TRAIN)] = UNUSED
    rest = _one_each(frame[split == TRAIN], group)
    val = _draw(rest, round(settings.val_fraction * total), rng)
    split[group.isin(group[val]) & (split == TRAIN)] = VAL
    for name in SPLITS:
        if not (split == name).any():
            raise InputError(
                f"split: no images left for {name} out of {len(frame)};"
                " add images, or change split.protocol, test_fraction or val_fraction"
            )
    return split.rename("split")


def write(frame: pd.DataFrame, split: pd.Series, group: pd.Series, path: Path) -> None:
    """Write a row an image: its path, its split, and which image it is a duplicate of, if any."""
    first = frame["path"].loc[group].to_numpy()
    same = np.where(group.to_numpy() == frame.index, "", first)
    columns = {"path": frame["path"], "split": split, "duplicate_of": same}
    files.write_table(pd.DataFrame(columns), path)


def counts(frame: pd.DataFrame, split: pd.Series, group: pd.Series) -> dict:
    """Images per split, in all and per category, good and defective; and the duplicates."""

    def count(rows: pd.DataFrame) -> dict:
        defective = int(rows["defective"].sum())
        return {"images": len(rows), "good": len(rows) - defective, "defective": defective}

    copies = len(frame) - frame["sha256"].nunique()
    categories = frame["category"].groupby(group).nunique()
    return {
        "duplicates_kept_together": copies,
        "near_duplicates_kept_together": len(frame) - copies - group.nunique(),
        "duplicates_across_categories": int((categories > 1).sum()),
        UNUSED: int((split == UNUSED).sum()),
        **{
            name: {
                **count(frame[split == name]),
                "by_category": {
                    category: count(rows)
                    for category, rows in frame[split == name].groupby("category")
                },
            }
            for name in SPLITS
        },
    }


def _one_each(frame: pd.DataFrame, group: pd.Series) -> pd.DataFrame:
    """One row for each group of duplicates: the first, or the first defective one."""
    ordered = frame.sort_values("defective", ascending=False, kind="stable")
    return ordered[~group[ordered.index].duplicated()].sort_index()


def _draw(frame: pd.DataFrame, total: int, rng: np.random.Generator) -> pd.Index:
    """Draw rows so that each stratum gives its share, to the nearest image, and the sum is total,
    or as near to it as that allows.

    scikit-learn's stratified split refuses strata of one image and draws smaller than the number of
    strata; a factory's first folder has both. A stratum never gives its last image.
    """
    strata = [rows.index for _, rows in frame.groupby(["category", "defective"], sort=True)]
    if not strata:
        return frame.index[:0]
    sizes = np.array([len(rows) for rows in strata])
    ideal = total * sizes / sizes.sum()
    take = np.minimum(np.floor(ideal).astype(int), sizes - 1)
    for stratum in np.argsort(take - ideal, kind="stable"):
        if take.sum() < total and take[stratum] < sizes[stratum] - 1:
            take[stratum] += 1
    drawn = [rng.permutation(rows)[:n] for rows, n in zip(strata, take, strict=True)]
    return pd.Index(np.concatenate(drawn))
