"""The heat maps that `explain` scored and `plots` drew: the best, the worst and the others."""

import pandas as pd

from twinhead import paths
from twinhead.attribution import localisation
from twinhead.report import thumbnails
from twinhead.report.results import Results

BEST = 4
MOST = 60
"""More drawings than that stay in their folder."""


def section(results: Results) -> dict | None:
    drawn = _drawn(results)
    if drawn.empty:
        return None
    drawn["found"] = drawn["outcome"].isin(["hit", "right"])
    ranked = drawn.dropna(subset="energy_in_mask").sort_values(
        ["found", "pointing_hit", "energy_in_mask"], ascending=False, kind="stable"
    )
    take = min(BEST, len(ranked) // 2)
    best, worst = ranked.head(take), ranked.tail(take)[::-1]
    others = drawn.drop([*best.index, *worst.index])
    kept = others.head(MOST - 2 * take)
    return {
        "scores": results.metrics["explain"],
        "best": _figures(best),
        "worst": _figures(worst),
        "others": _figures(kept),
        "left": len(others) - len(kept),
        "folder": paths.OVERLAYS.as_posix(),
    }


def _drawn(results: Results) -> pd.DataFrame:
    """The test images of which there is a drawing, with their scores, the file and its texts."""
    test = localisation.with_outcomes(results.test)
    test[["file", "title", "subtitle"]] = [localisation.describe(row) for _, row in test.iterrows()]
    there = [(paths.OVERLAYS / name).is_file() for name in test["file"]]
    scores = results.explanations[["path", "pointing_hit", "energy_in_mask"]]
    return test[there].reset_index().merge(scores, on="path", how="left")


def _figures(rows: pd.DataFrame) -> list[dict]:
    return [
        {
            "picture": thumbnails.overlay(paths.OVERLAYS / row["file"]),
            "title": row["title"],
            "subtitle": row["subtitle"],
            "energy": row["energy_in_mask"] if pd.notna(row["energy_in_mask"]) else None,
        }
        for _, row in rows.iterrows()
    ]
