"""ROC and precision-recall curves, and the tables from which DVC draws and compares charts."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics import precision_recall_curve, roc_curve

from twinhead.dataset import splits


def roc(defective: ArrayLike, scores: ArrayLike) -> pd.DataFrame:
    """Return the ROC curve as `false_alarm_rate` and `recall`, both growing.

    defective: (n,), 0 or 1, both kinds among them; scores: (n,), a high one for a defect.
    """
    false, true, _ = roc_curve(defective, scores)
    return pd.DataFrame({"false_alarm_rate": false, "recall": true})


def precision_recall(defective: ArrayLike, scores: ArrayLike) -> pd.DataFrame:
    """Return `recall`, growing, and `precision`; arguments as those of `roc`."""
    precise, recall, _ = precision_recall_curve(defective, scores)
    # Charts join the points by growing recall; those of equal recall must come as they lie.
    return pd.DataFrame({"recall": recall, "precision": precise})[::-1]


def alarms(
    defective: ArrayLike, scores: ArrayLike, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return how many defective and how many good images reach each threshold: two of (t,), int.

    The ROC curve in counts, at thresholds of one's own. defective, scores: (n,) each.
    """
    defective, scores = np.asarray(defective, bool), np.asarray(scores, float)
    found, false = (
        kind.sum() - np.searchsorted(np.sort(scores[kind]), thresholds)
        for kind in (defective, ~defective)
    )
    return found, false


def write(predictions: pd.DataFrame, folder: Path) -> None:
    """Write a CSV for each table that predictions, as `evaluation.decide` returns them, allow."""
    folder.mkdir(exist_ok=True)
    test = predictions[predictions["split"] == splits.TEST]
    for name, table in tables(test).items():
        table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")


def tables(test: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return curves of (x, y) and confusions of (actual, predicted), one row an image, by name."""
    found = {}
    if "category_predicted" in test:
        found["category"] = _confusion(test["category"], test["category_predicted"])
    if "defect_predicted" in test:
        names = {0: "good", 1: "defective"}
        found["defect"] = _confusion(
            test["defective"].map(names), test["defect_predicted"].map(names)
        )
        if test["defective"].nunique() == 2:
            scored = test["defective"], test["defect_probability"]
            found["roc"] = roc(*scored)
            found["precision_recall"] = precision_recall(*scored)
    return found


def _confusion(actual: pd.Series, predicted: pd.Series) -> pd.DataFrame:
    return pd.DataFrame({"actual": actual, "predicted": predicted})
