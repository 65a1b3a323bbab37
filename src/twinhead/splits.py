"""Which images train the network, which choose its epoch and threshold, and which judge it."""

from pathlib import Path

import numpy as np
import pandas as pd

from twinhead import files, params
from twinhead.errors import InputError

TRAIN, VAL, TEST = "train", "val", "test"
SPLITS = (TRAIN, VAL, TEST)
UNUSED = "unused"
"""An exact copy of a test image that MVTec AD's own folders put into train."""


def assign(frame: pd.DataFrame, settings: params.Split) -> pd.Series:
    """Give every catalog row its split: "train", "val", "test" or, for official copies, "unused".

    Both protocols take each stratum (category × defective) in its share, and keep images of equal
    bytes together. `random` draws test and val from all images; `official` takes MVTec AD's own
    test folders for test, and draws val out of its train folders. The same catalog and settings
    give the same splits. Raises InputError where a split would stay empty.
    """
    rng = np.random.default_rng(settings.seed)
    split = pd.Series(TRAIN, index=frame.index)
    if settings.protocol == "random":
        groups = frame.drop_duplicates("sha256")
        test = _draw(groups, round(settings.test_fraction * len(groups)), rng)
        split[frame["sha256"].isin(groups["sha256"][test])] = TEST
    else:
        split[frame["official"] == "test"] = TEST
        copies = frame["sha256"].isin(frame["sha256"][split == TEST])
        split[copies & (split == TRAIN)] = UNUSED
    rest = frame[split == TRAIN].drop_duplicates("sha256")
    val = _draw(rest, round(settings.val_fraction * len(frame.drop_duplicates("sha256"))), rng)
    split[frame["sha256"].isin(rest["sha256"][val]) & (split == TRAIN)] = VAL
    for name in SPLITS:
        if not (split == name).any():
            raise InputError(
                f"split: no images left for {name} out of {len(frame)};"
                " add images, or change split.protocol, test_fraction or val_fraction"
            )
    return split.rename("split")


def write(frame: pd.DataFrame, split: pd.Series, path: Path) -> None:
    files.write_table(pd.DataFrame({"path": frame["path"], "split": split}), path)


def read(path: Path) -> pd.Series:
    return pd.read_csv(path, dtype=str, keep_default_na=False)["split"]


def counts(frame: pd.DataFrame, split: pd.Series) -> dict:
    """Images per split, in all and per category, good and defective."""

    def count(rows: pd.DataFrame) -> dict:
        defective = int(rows["defective"].sum())
        return {"images": len(rows), "good": len(rows) - defective, "defective": defective}

    kept = frame.drop_duplicates("sha256")
    return {
        "duplicates_kept_together": len(frame) - len(kept),
        **{UNUSED: int((split == UNUSED).sum())},
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
