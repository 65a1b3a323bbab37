"""The loop: labels that came from review, what the last round changed, and what is asked next."""

import pandas as pd

from twinhead.dataset import splits
from twinhead.report import thumbnails
from twinhead.report.results import Results
from twinhead.review import held_out, improvement, queue

NEXT = 8
"""Photographs that the queue would ask about first."""


def section(results: Results) -> dict | None:
    if results.said is None or results.judged.get("threshold") is None:
        return None
    counted = results.metrics["index"].get("answers", {})
    round_, last = results.round, None
    if round_ is not None:
        last = {"lines": list(improvement.lines(round_)), "verdict": improvement.verdict(round_)}
    return {
        "answers": counted,
        "relabelled": results.judged[splits.TEST].get("relabelled", 0),
        "round": last,
        "next": [_shown(results, number, row) for number, row in _next(results).iterrows()],
    }


def _next(results: Results) -> pd.DataFrame:
    """Of train and val, what no answer is about yet."""
    assert results.said is not None
    asked = results.said[results.said["split"].isin([splits.TRAIN, splits.VAL])]
    asked = asked[asked["defect_probability"].notna() & (asked["reviewed"] == "")]
    named = asked.get("category_predicted", asked["category"])  # as `review` decides
    ordered = queue.order(asked, held_out.thresholds(results.judged, named))
    return ordered[ordered["reason"] != queue.SURE].head(NEXT)


def _shown(results: Results, number: int, row: pd.Series) -> dict:
    return {
        "picture": thumbnails.photograph(results.pixels[number]),
        "reason": row["reason"],
        "probability": float(row["defect_probability"]),
        **{name: row[name] for name in ("path", "category", "defect_type")},
    }
