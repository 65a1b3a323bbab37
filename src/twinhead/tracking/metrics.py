"""The stages' numbers under the names that they have in MLflow."""

import math
import re
import time

from mlflow.entities import Metric

from twinhead import params
from twinhead.dataset import splits

BASELINES = "baselines"
BY_CATEGORY = {
    "images": "images",
    "category.accuracy": "category_accuracy",
    "defect.defective": "defective",
    "defect.auroc": "auroc",
    "defect.recall": "recall",
    "defect.false_alarm_rate": "false_alarm_rate",
    "defect.f1": "f1",
}
"""Which numbers of a category the run gets, and what it calls them."""
MOST_LETTERS = 200


def of_stage(stage: str, measured: dict) -> list[Metric]:
    """A metrics file's numbers under MLflow's names: `test/defect_auroc`, `embed/trustworthiness`.

    What comes before the slash is a group in the UI. A category's are `by_category_auroc/bottle`,
    so that the UI has them side by side; a simple guess's, `baselines/…`. Numbers per defect type
    stay in the file, which the run has too, and the chosen epoch's losses in the curves.
    """
    found = _of_categories(measured) if stage == "evaluate" else []
    for key, value in params.flat(measured):
        if (
            "by_" in key
            or key.startswith("thresholds.")
            or isinstance(value, (bool, str))
            or value is None
        ):
            continue
        if stage == "train" and key.startswith(tuple(f"{name}_" for name in splits.SPLITS)):
            continue
        # The group `train` is the train split's, beside `val` and `test`.
        group, name = "training" if stage == "train" else stage, key
        if stage == "evaluate" and key.startswith((*splits.SPLITS, BASELINES)):
            group, _, name = key.partition(".")
        found.append(point(f"{group}/{name.replace('.', '_')}", value, 0))
    return found


def _of_categories(measured: dict) -> list[Metric]:
    """The test metrics of each category that tell it from the others."""
    found: dict[str, float] = {}
    for category, judged in measured[splits.TEST].get("by_category", {}).items():
        known = dict(params.flat(judged))
        for key, name in BY_CATEGORY.items():
            if (value := known.get(key)) is not None:
                # MLflow takes letters, digits and these; names that become the same are numbered.
                plain = re.sub(r"[^\w.\- ]", "_", category)[:MOST_LETTERS].strip(". ") or "_"
                place, more = f"by_category_{name}/{plain}", 2
                while place in found:
                    place, more = f"by_category_{name}/{plain} {more}", more + 1
                found[place] = value
    return [point(name, value, 0) for name, value in found.items()]


def of_epoch(row: dict[str, float]) -> list[Metric]:
    """A row of the history as metrics `loss/train`, `loss/val` and so on, at the epoch as step."""
    found = []
    for column, value in row.items():
        split, _, name = column.partition("_")
        if name and not math.isnan(value):
            found.append(point(f"{name}/{split}", value, int(row["epoch"])))
    return found


def point(name: str, value: float, step: int) -> Metric:
    return Metric(name, float(value), time.time_ns() // 1_000_000, step)
