"""Every miss, every false alarm and every wrong category, as photographs."""

import pandas as pd

from twinhead.report import thumbnails
from twinhead.report.results import Results

FIRST, MOST = 24, 100
"""Photographs of each kind of mistake: seen at once, and in all; the rest is a table."""


def section(results: Results) -> dict:
    test, kinds = results.test, []
    if "defect_predicted" in test:
        defective, alarm = test["defective"] == 1, test["defect_predicted"] == 1
        missed = test[defective & ~alarm].sort_values("defect_probability", kind="stable")
        false = test[~defective & alarm].sort_values(
            "defect_probability", ascending=False, kind="stable"
        )
        kinds += [
            _kind(missed, "missed defect", "missed defects", "The surest first."),
            _kind(false, "false alarm", "false alarms", "Called defective, the surest first."),
        ]
    if "category_predicted" in test:
        wrong = test[test["category"] != test["category_predicted"]].sort_values(
            "category_probability", ascending=False, kind="stable"
        )
        kinds.append(_kind(wrong, "wrong category", "wrong categories", "The surest first."))
    for kind in kinds:
        for mistake in kind["shown"]:
            mistake["picture"] = thumbnails.photograph(results.pixels[mistake["number"]])
    other_folder = bool(test["path"].str.contains("/train/", regex=False).any())
    return {"kinds": kinds, "first": FIRST, "most": MOST, "other_folder": other_folder}


def _kind(rows: pd.DataFrame, name: str, plural: str, note: str) -> dict:
    """One kind of mistake: what is first is shown, and what is too much is listed."""
    found = [
        {"number": number, **row[["path", "category", "defect_type"]], "said": _said(row)}
        for number, row in rows.iterrows()
    ]
    kept = {"shown": found[:MOST], "listed": found[MOST:]}
    return {"name": name, "plural": plural, "note": note, **kept}


def _said(row: pd.Series) -> str:
    said = []
    if "defect_probability" in row:
        said.append(f"defect probability {row['defect_probability']:.1%}")
    if row.get("known", 1) == 0:
        said.append("UNKNOWN")
    if "category_predicted" in row and row["category_predicted"] != row["category"]:
        said.append(f"taken for {row['category_predicted']} ({row['category_probability']:.1%})")
    return ", ".join(said)
