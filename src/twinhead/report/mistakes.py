"""Every miss, every false alarm and every wrong category, as photographs."""

import pandas as pd

from twinhead.report import thumbnails
from twinhead.report.markup import (
    Html,
    count,
    figure,
    folded,
    join,
    paragraph,
    picture,
    table,
    text,
)  # fmt: skip
from twinhead.report.results import Results

FIRST, MOST = 24, 100
"""Photographs of each kind of mistake: seen at once, and in all; the rest is a table."""


def section(results: Results) -> Html:
    test, parts = results.test, []
    if "defect_predicted" in test:
        defective, alarm = test["defective"] == 1, test["defect_predicted"] == 1
        missed = test[defective & ~alarm].sort_values("defect_probability", kind="stable")
        false = test[~defective & alarm].sort_values(
            "defect_probability", ascending=False, kind="stable"
        )
        parts += [
            *_kind(missed, "missed defect", "Called good, the surest first.", results),
            *_kind(false, "false alarm", "Called defective, the surest first.", results),
        ]
    if "category_predicted" in test:
        wrong = test[test["category"] != test["category_predicted"]].sort_values(
            "category_probability", ascending=False, kind="stable"
        )
        parts += _kind(wrong, "wrong category", "The surest first.", results)
    return join(parts)


def _kind(rows: pd.DataFrame, name: str, note: str, results: Results) -> list[Html]:
    """One kind of mistake: what is first is shown, and what is too much is listed."""
    plural = "wrong categories" if name == "wrong category" else f"{name}s"
    if rows.empty:
        return [Html(f"<h3>No {plural}</h3>"), paragraph("Not one among the test images.")]
    shown, listed = rows.head(MOST), rows.iloc[MOST:]
    total = Html(f"<h3>{len(rows):,} {name if len(rows) == 1 else plural}</h3>")
    figures = [_figure(number, row, results) for number, row in shown.iterrows()]
    parts = [total, paragraph(note), _gallery(figures[:FIRST])]
    if len(shown) > FIRST:
        parts.append(folded(f"The next {len(shown) - FIRST}", _gallery(figures[FIRST:])))
    if len(listed):
        said = f"{count(len(listed), 'more image')}: the page shows {MOST} of a kind as pictures."
        head = ["image", "category", "defect", "the network"]
        facts = ["path", "category", "defect_type"]
        cells = [[*row[facts], _said(row)] for _, row in listed.iterrows()]
        parts.append(folded(said, table(head, cells, "names")))
    return parts


def _gallery(figures: list[Html]) -> Html:
    return Html(f'<div class="gallery">{"".join(figures)}</div>')


def _figure(number: int, row: pd.Series, results: Results) -> Html:
    shown = picture(thumbnails.photograph(results.pixels[number]), row["path"])
    what = text(f"{row['category']}, {row['defect_type']}")
    caption = Html(f"<b>{what}</b><br>{text(_said(row))}<br><small>{text(row['path'])}</small>")
    return figure(shown, caption)


def _said(row: pd.Series) -> str:
    said = []
    if "defect_probability" in row:
        said.append(f"defect probability {row['defect_probability']:.1%}")
    if "category_predicted" in row and row["category_predicted"] != row["category"]:
        said.append(f"taken for {row['category_predicted']} ({row['category_probability']:.1%})")
    return ", ".join(said)
