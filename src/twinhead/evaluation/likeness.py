"""How alike each test image and its nearest train image are: too alike, and the split leaks."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from twinhead.dataset import splits
from twinhead.evaluation import intervals

MOST = 5000
"""Training images of a category that are looked through; of more, these many are drawn."""
FAR = 10
"""Of the nearest training images the one whose distance is the usual one."""
TWIN = 0.5
"""At less than this share of the usual distance an image has a near twin."""
COLUMNS = ["nearest_train", "distance"]


def nearest(predictions: pd.DataFrame, read: Callable[[np.ndarray], np.ndarray]) -> pd.DataFrame:
    """Return `nearest_train`, a path, and `distance` for each row; other splits' are empty.

    The distance is that of the pooled features, each standardised by the category's training
    images, over the median distance of these to their FAR-th nearest of another group. So 0 is a
    copy, something below 1 usual, and what is below TWIN a near twin.

    Args:
        predictions: with `path`, `split`, `category`, and `group` where there are some.
        read: takes rows, (n,), and gives the frozen backbone's pooled features, (n, features).
    """
    found = pd.DataFrame({"nearest_train": "", "distance": np.nan}, predictions.index)
    group = predictions["group"].to_numpy() if "group" in predictions else None
    for _, rows in predictions.groupby("category").indices.items():
        split = predictions["split"].to_numpy()[rows]
        train, test = rows[split == splits.TRAIN], rows[split == splits.TEST]
        if len(train) > MOST:
            train = np.sort(np.random.default_rng(0).permutation(train)[:MOST])
        if len(train) < 3 or not len(test):
            continue
        known, asked = read(train).astype(np.float32), read(test).astype(np.float32)
        middle, spread = known.mean(axis=0), known.std(axis=0) + 1e-6
        known, asked = (known - middle) / spread, (asked - middle) / spread
        among = NearestNeighbors(algorithm="brute").fit(known)
        usual = _usual(among, known, train if group is None else group[train])
        away, places = among.kneighbors(asked, 1)
        if usual:
            names = predictions["path"].to_numpy()[train[places[:, 0]]]
            found.iloc[test, 0] = names
            found.iloc[test, 1] = away[:, 0] / usual
    return found


def _usual(among: NearestNeighbors, known: np.ndarray, group: np.ndarray) -> float:
    """The median distance of training images to the FAR-th nearest of another group.

    Not to the first: where twins went to different groups unnoticed, that is a twin.
    """
    away, places = among.kneighbors(known, min(len(known), 4 * FAR))
    other = group[places] != group[:, None]
    count = other.cumsum(axis=1)
    # The FAR-th of another group, or the last where there are fewer.
    place = (count >= np.minimum(count[:, -1:], FAR)).argmax(axis=1)
    there = other.any(axis=1)
    return float(np.median(away[there, place[there]])) if there.any() else 0.0


def judge(predictions: pd.DataFrame, resamples: int) -> dict:
    """How many test images have a near twin in train, and the AUROC without them.

    predictions: with the columns of `nearest`. `distance` is the median; `images` counts near
    twins; the areas are those of `intervals.auroc`, None where nothing is left.
    """
    test = predictions[predictions["split"] == splits.TEST]
    twin = test["distance"] < TWIN
    known = test["distance"].dropna()
    found = {
        "distance": float(known.median()) if len(known) else None,
        "images": int(twin.sum()),
        "share": float(twin.mean()) if len(test) else None,
    }
    if "defect_probability" not in test:
        return found
    left = test[~twin]
    return found | intervals.auroc(
        left["defective"].to_numpy(),
        left["defect_probability"].to_numpy(),
        left["category"].to_numpy(),
        resamples,
        left["group"].to_numpy() if "group" in left else None,
    )
