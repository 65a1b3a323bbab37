"""The stages' numbers under the names that they have in MLflow."""

import math
import time

from mlflow.entities import Metric

from twinhead import params
from twinhead.dataset import splits


def of_stage(stage: str, measured: dict) -> list[Metric]:
    """A metrics file's numbers under MLflow's names: `test/defect_auroc`, `embed/trustworthiness`.

    What comes before the slash is a group in the UI. Numbers per category or defect type and the
    baselines stay in the file, which the run has too, and the chosen epoch's losses in the curves.
    """
    found = []
    for key, value in params.flat(measured):
        if (
            "by_" in key
            or key.startswith("baselines")
            or isinstance(value, (bool, str))
            or value is None
        ):
            continue
        if stage == "train" and key.startswith(tuple(f"{name}_" for name in splits.SPLITS)):
            continue
        # The group `train` is the train split's, beside `val` and `test`.
        group, name = "training" if stage == "train" else stage, key
        if stage == "evaluate" and key.startswith(splits.SPLITS):
            group, _, name = key.partition(".")
        found.append(point(f"{group}/{name.replace('.', '_')}", value, 0))
    return found


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
