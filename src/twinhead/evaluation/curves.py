"""ROC and precision-recall curves, and the tables from which DVC draws and compares charts."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics import precision_recall_curve, roc_curve

from twinhead.dataset import splits
from twinhead.evaluation import intervals

BINS = 10
"""Of probabilities, for the reliability diagram and the calibration error."""


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


def reliability(defective: ArrayLike, probabilities: ArrayLike) -> pd.DataFrame:
    """Return how often images of a probability are defective: a row for each bin that has images.

    `probability` is the bin's mean, `defective` the share, with its 95% interval `low` to `high`
    (Clopper and Pearson), of `images`. Of BINS equal bins; where the probabilities are right, the
    share is the mean. defective, probabilities: (n,).
    """
    truth, scores = np.asarray(defective, float), np.asarray(probabilities, float)
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    rows = []
    for number in np.unique(bins):
        own = bins == number
        share, low, high = intervals.share(truth[own] == 1)
        rows.append((scores[own].mean(), share, low, high, int(own.sum())))
    return pd.DataFrame(rows, columns=["probability", "defective", "low", "high", "images"])


def write(predictions: pd.DataFrame, folder: Path) -> None:
    """Write a CSV for each table that predictions, as `evaluation.decide` returns them, allow."""
    folder.mkdir(exist_ok=True)
    test = predictions[predictions["split"] == splits.TEST]
    found = tables(test)
    if "defect_probability" in predictions:
        parts = [
            reliability(rows["defective"], rows["defect_probability"]).assign(split=name)
            for name in (splits.VAL, splits.TEST)
            for rows in [predictions[predictions["split"] == name]]
        ]
        found["reliability"] = pd.concat(parts, ignore_index=True)
    for name, table in found.items():
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
