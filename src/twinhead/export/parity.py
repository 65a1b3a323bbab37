"""The gate: on val, int8 answers as the trained network, or it isn't kept.

Float is kept, and says what is beyond a limit.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from twinhead.attribution import localisation
from twinhead.dataset.store import Store
from twinhead.export import decisions
from twinhead.export.decisions import Rules

LIMITS = {"auroc": 0.003, "auroc_category_mean": 0.003, "equal_decisions": 0.995,
          "equal_known": 0.99, "pixel_auroc": 0.005}  # fmt: skip
"""How far areas may lie apart, and the share of photographs of which the same must be said."""
SHARES = {"equal_decisions": "decisions", "equal_known": "answers known or unknown"}
COLUMNS = {"category_predicted": "category", "defect_probability": "defect_probability",
           "defect_predicted": "defective", "known": "known"}  # fmt: skip
"""Of predictions: what an answer calls them."""
TOGETHER = 64
"""Photographs that are answered at a time."""
Answer = Callable[[np.ndarray], dict[str, np.ndarray]]
"""From pixels, (images, size, size, 3), uint8, to what a network gives, by output."""


def answers(
    network: Answer,
    pixels: Store | np.ndarray,
    val: pd.DataFrame,
    categories: list[str],
    rules: Rules,
) -> tuple[pd.DataFrame, np.ndarray | None]:
    """What a network answers for photographs, as `reports/predictions.csv` has it, and its maps.

    val: rows of that table, whose index is the row in pixels. The maps are (images, height, width),
    float32, or None of a network that has none.
    """
    table = val[["path", "category", "defect_type", "defective"]].copy()
    given = _joined(network, pixels, val.index)
    read = pd.DataFrame(decisions.read(given, categories, rules), index=val.index)
    for name, answer in COLUMNS.items():
        if answer in read:
            table[name] = read[answer]
    return table, given.get("anomaly_map")


def pixel_auroc(
    val: pd.DataFrame, maps: np.ndarray | None, masks: Mapping[int, np.ndarray], size: int
) -> float | None:
    """The heat maps' area over all pixels; None where there are no maps or no masks."""
    if maps is None or not any(number in masks for number in val.index):
        return None
    scores = localisation.score(localisation.with_outcomes(val), maps, masks, size)
    return scores.metrics["pixel_auroc"]


def compare(
    found: pd.DataFrame, before: pd.DataFrame, areas: tuple[float | None, float | None]
) -> dict[str, float | None]:
    """How far apart two tables of answers for the same photographs are, by the names of LIMITS.

    areas: their `pixel_auroc`; int8's is compared with float's. What can't be judged, for lack of
    defects, masks or photographs, is None. A decision is the category, and whether the product is
    defective.
    """
    decided = [name for name in ("category_predicted", "defect_predicted") if name in before]
    return {
        "auroc": _apart(auroc(found), auroc(before)),
        "auroc_category_mean": _apart(mean_auroc(found), mean_auroc(before)),
        "equal_decisions": _equal(found, before, decided),
        "equal_known": _equal(found, before, ["known"]) if "known" in before else None,
        "pixel_auroc": _apart(*areas),
    }


def failures(apart: dict[str, float | None]) -> list[str]:
    """What of `compare` is beyond its limit, in words: empty if nothing is."""
    said = []
    for name, limit in LIMITS.items():
        value = apart[name]
        if value is None:
            continue
        if name in SHARES and value < limit:
            said.append(f"{value:.1%} of the {SHARES[name]} are equal, expected {limit:.1%}")
        if name not in SHARES and value > limit:
            said.append(f"{name} differs by {value:.4f}, expected at most {limit}")
    return said


def _joined(
    network: Answer,
    pixels: Store | np.ndarray,
    rows: pd.Index,
) -> dict:
    parts = list(_answers(network, pixels, rows))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _answers(
    network: Answer,
    pixels: Store | np.ndarray,
    rows: pd.Index,
) -> Iterator[dict]:
    for start in range(0, max(len(rows), 1), TOGETHER):  # once also for none: it has the shapes
        yield network(pixels[rows[start : start + TOGETHER].to_numpy()])


def auroc(rows: pd.DataFrame) -> float | None:
    if "defect_probability" not in rows or rows["defective"].nunique() < 2:
        return None
    return float(roc_auc_score(rows["defective"], rows["defect_probability"]))


def mean_auroc(rows: pd.DataFrame) -> float | None:
    areas = [auroc(of_category) for _, of_category in rows.groupby("category")]
    known = [area for area in areas if area is not None]
    return float(np.mean(known)) if known else None


def _equal(found: pd.DataFrame, before: pd.DataFrame, columns: list[str]) -> float | None:
    equal = (found[columns] == before[columns]).all(axis=1)
    return float(equal.mean()) if len(equal) else None


def _apart(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else abs(one - other)
