"""What networks said of photographs that they hadn't learned from."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

from twinhead import paths
from twinhead.dataset import splits, tables
from twinhead.errors import InputError

FINE, LEARNED = "fine", "learned"
"""Readings, as model/readings.py names them; the report shall not have to import Keras for it."""
UNUSUAL = 2.5
"""As model/detector.py has it."""
MODEL_DIGITS = 12
"""Of a model's digest, in the table of answers."""


def digest(path: Path) -> str:
    """What the table of answers calls a model: the first digits of its file's SHA-256."""
    return sha256(path.read_bytes()).hexdigest()[:MODEL_DIGITS]


def of_catalog(frame: pd.DataFrame) -> pd.DataFrame:
    """What the workspace's network said of each photograph of its catalog, as `said` gives it.

    Raises InputError where `index` has run since.
    """
    table = said(tables.read(paths.PREDICTIONS), tables.read(paths.CROSSFIT))
    if list(table["path"]) != list(frame["path"]):
        raise InputError(f"{paths.PREDICTIONS}: not of this catalog; run `dvc repro` first")
    return table


def said(predictions: pd.DataFrame, crossfit: pd.DataFrame) -> pd.DataFrame:
    """What was said of each photograph by networks that hadn't learned from it.

    For train the cross-fitted answers; where there are none NaN. Adds `disagreement`: how many
    spreads of good photographs the memory's reading exceeds that of the learned patches by.
    """
    if "defect_probability" not in predictions:
        raise InputError(f"{paths.PREDICTIONS}: of a network without a defect head")
    table = predictions.assign(disagreement=0.0)
    if "known" not in table:
        table["known"] = 1
    train = table.index[table["split"] == splits.TRAIN]
    table["known"] = table["known"].astype(float)
    table.loc[train, ["defect_probability", "known"]] = np.nan
    if crossfit.empty:
        return table
    by_path = crossfit.set_index("path")
    rows = train[table["path"][train].isin(by_path.index)]
    own = by_path.loc[table["path"][rows]]
    table.loc[rows, "defect_probability"] = own["defect_probability"].to_numpy()
    table.loc[rows, "known"] = (own["unusual"] <= UNUSUAL).astype(float).to_numpy()
    if own[LEARNED].any():
        apart = _standardised(own, FINE) - _standardised(own, LEARNED)
        table.loc[rows, "disagreement"] = apart.fillna(0.0).to_numpy()
    return table


def thresholds(judged: dict, category: pd.Series) -> pd.Series:
    """Each photograph's threshold; judged: metrics/evaluate.json; category: what decides on it."""
    own = category.map(judged.get("thresholds", {})).astype(float)
    return own.fillna(judged["threshold"])


def of_round(path: Path) -> pd.DataFrame:
    """What a network said of the test photographs when it began to ask: ROUND, as a table."""
    kinds = {"path": str, "sha256": str, "model": str}
    try:
        return pd.read_csv(path, dtype=kinds, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a table of a round ({error})") from None


def _standardised(rows: pd.DataFrame, name: str) -> pd.Series:
    good = rows[rows["defective"] == 0].groupby("category")[name]
    mean, spread = rows["category"].map(good.mean()), rows["category"].map(good.std())
    return (rows[name] - mean) / spread.clip(lower=1e-3)
