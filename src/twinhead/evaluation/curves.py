"""The test images' curves and confusions as tables, from which DVC draws and compares charts."""

from pathlib import Path

import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from twinhead.dataset import splits


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
            false, true, _ = roc_curve(*scored)
            found["roc"] = pd.DataFrame({"false_alarm_rate": false, "recall": true})
            precise, recall, _ = precision_recall_curve(*scored)
            curve = pd.DataFrame({"recall": recall, "precision": precise})
            # Charts join the points by growing recall; those of equal recall must come as they lie.
            found["precision_recall"] = curve[::-1]
    return found


def _confusion(actual: pd.Series, predicted: pd.Series) -> pd.DataFrame:
    return pd.DataFrame({"actual": actual, "predicted": predicted})
