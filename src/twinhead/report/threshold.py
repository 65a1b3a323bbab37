"""What each threshold costs: missed defects against false alarms."""

import json

import numpy as np
import pandas as pd

from twinhead.dataset import splits
from twinhead.evaluation import curves
from twinhead.evaluation.metrics import GIVEN
from twinhead.report.results import Results

SHOWN = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
"""The table's thresholds, beside the chosen one."""
DEFECT_RATE, MISS_COST = 2, 10
"""What the reader begins with: defects in a hundred products, false alarms that a miss costs."""
MOST_STEPS = 1000


def section(results: Results) -> dict | None:
    """A table of thresholds, a chart of all of them, and a slider where scripts run."""
    judged, test = results.judged, results.test
    if "threshold" not in judged or test.empty:
        return None
    by_category = judged.get("thresholds", {})
    chosen = judged["threshold"]
    if not by_category:
        chosen = _least_alarm(results.predictions, chosen)
    steps = _steps(test["defect_probability"].to_numpy(), chosen)
    chosen_on_val = judged["threshold_chosen_on"] not in (None, GIVEN)
    counts = {splits.TEST: _counts(test, steps)}
    if chosen_on_val:
        val = results.predictions[results.predictions["split"] == splits.VAL]
        counts[splits.VAL] = _counts(val, steps)
    place = int(np.searchsorted(steps, chosen))
    named = [_shown(step, chosen, judged["threshold"]) for step in steps]
    # For a command: what decides as the step does, though no probability is above 1.
    exact = [f"{min(step, 1.0):.9g}" for step in steps]
    return {
        "chosen_on_val": chosen_on_val,
        "origin": _origin(judged),
        "by_category": dict(sorted(by_category.items())),
        "in_use": judged[splits.TEST]["defect"],
        "review": judged[splits.TEST].get("review"),
        "band": judged.get("review"),
        "test": counts[splits.TEST],
        "last": len(steps) - 1,
        "chosen": place,
        "at": _across(place, steps),
        "lines": _lines(counts[splits.TEST], steps),
        "curves": json.dumps({"steps": named, "exact": exact, **counts, "chosen": place}),
        "rate": DEFECT_RATE,
        "cost": MISS_COST,
        "table_rows": _table(test, chosen, judged["threshold"]),
    }


def _origin(judged: dict) -> str:
    match judged["threshold_chosen_on"]:
        case None:
            return "not chosen"
        case str(on) if on == GIVEN:
            return "set in params.yaml"
        case on:
            return f"chosen on {on}{', of all categories' if judged.get('thresholds') else ''}"


def _counts(rows: pd.DataFrame, steps: np.ndarray) -> dict:
    """Of a split: how many images there are of each kind, and raise an alarm at each step."""
    found, false = curves.alarms(rows["defective"], rows["defect_probability"], steps)
    defective = int(rows["defective"].sum())
    kinds = {"defective": defective, "good": len(rows) - defective}
    return {"found": found.tolist(), "false": false.tolist(), **kinds}


def _least_alarm(predictions: pd.DataFrame, threshold: float) -> float:
    """The threshold, or the lowest probability that it called defective: files round them apart."""
    called = predictions["defect_probability"][predictions["defect_predicted"] == 1]
    return min(threshold, called.min()) if len(called) else threshold


def _steps(scores: np.ndarray, chosen: float) -> np.ndarray:
    """Ascending thresholds between which nothing changes; the last is above all scores."""
    found = np.unique(scores)
    if len(found) > MOST_STEPS:
        found = found[np.linspace(0, len(found) - 1, MOST_STEPS).round().astype(int)]
    return np.append(np.unique(np.append(found, chosen)), np.inf)


def _shown(step: float, chosen: float, threshold: float) -> str:
    if step == chosen:
        step = threshold
    return f"{step:.4g}" if np.isfinite(step) else "above all"


def _across(place: int, steps: np.ndarray) -> str:
    """Where a step lies on the chart, which is 1000 wide."""
    return f"{1000 * place / (len(steps) - 1):.1f}"


def _lines(test: dict, steps: np.ndarray) -> dict[str, str]:
    """The chart's lines, of missed defects and of false alarms, where there are such images."""
    missed = [test["defective"] - found for found in test["found"]]
    wrong = {"misses": (missed, test["defective"]), "alarms": (test["false"], test["good"])}
    return {
        kind: " ".join(
            f"{_across(place, steps)},{200 - 200 * count / total:.1f}"
            for place, count in enumerate(counts)
        )
        for kind, (counts, total) in wrong.items()
        if total
    }


def _table(test: pd.DataFrame, chosen: float, threshold: float) -> list[dict]:
    steps = np.array(sorted({*SHOWN, chosen}))
    counts = _counts(test, steps)
    defective, good, rate = counts["defective"], counts["good"], DEFECT_RATE / 100
    return [
        {
            "threshold": _shown(step, chosen, threshold),
            "is_chosen": step == chosen,
            "counts": [found, defective - found, false, good - false],
            "missed": 1000 * rate * (defective - found) / defective if defective else None,
            "stopped": 1000 * (1 - rate) * false / good if good else None,
        }
        for step, found, false in zip(steps, counts["found"], counts["false"], strict=True)
    ]
