"""The heat maps that `explain` drew: the best, the worst and the others."""

from pathlib import Path

import pandas as pd

from twinhead import paths
from twinhead.attribution import localisation
from twinhead.report import thumbnails
from twinhead.report.markup import (
    Html,
    figure,
    folded,
    join,
    number,
    paragraph,
    picture,
    share,
    text,
)  # fmt: skip
from twinhead.report.results import Results

BEST = 4
MOST = 60
"""More drawings than that stay in their folder."""


def section(results: Results) -> Html | None:
    scores = results.metrics["explain"]
    drawn = _drawn(results)
    if drawn.empty:
        return None
    said = []
    if scores["images"]:
        said = [
            f"The heat map's peak lies on the defect for {share(scores['pointing_hit'])} of the"
            f" {scores['images']} defective test images that have a mask;"
            f" {share(scores['energy_in_mask'])} of the heat lies in the masks, which cover"
            f" {share(scores['mask_area'])} of the image.",
            f"Over single pixels the AUROC is {number(scores['pixel_auroc'])}.",
        ]
        if scores["found"]["images"]:
            found = scores["found"]
            said.append(
                f"Of the {found['images']} defects that were found, the peak lies on"
                f" {share(found['pointing_hit'])}."
            )
    else:
        said = ["No defective test image has a mask, so the maps can be looked at but not scored."]
    note = "Brighter is more suspect, on one scale for all images; a blue line is the true defect."
    return join([paragraph(*said, note), *_galleries(drawn)])


def _galleries(drawn: pd.DataFrame) -> list[Html]:
    ranked = drawn.dropna(subset="energy_in_mask").sort_values(
        ["pointing_hit", "energy_in_mask"], ascending=False, kind="stable"
    )
    take = min(BEST, len(ranked) // 2)
    best, worst = ranked.head(take), ranked.tail(take)[::-1]
    others = drawn.drop([*best.index, *worst.index])
    kept = others.head(MOST - 2 * take)
    parts = []
    if take:
        parts += [
            Html("<h3>The best of those drawn</h3>"), _gallery(best),
            Html("<h3>The worst of those drawn</h3>"), _gallery(worst),
        ]  # fmt: skip
    if len(kept):
        shown = _gallery(kept)
        parts.append(folded(f"The other {len(kept)}", shown) if take else shown)
    if len(others) > len(kept):
        left = f"{len(others) - len(kept)} more lie in {paths.OVERLAYS.as_posix()}/."
        parts.append(paragraph(left))
    return parts


def _drawn(results: Results) -> pd.DataFrame:
    """The test images of which there is a drawing, with their scores, the file and its texts."""
    test = localisation.with_outcomes(results.test)
    test[["file", "title", "subtitle"]] = [localisation.describe(row) for _, row in test.iterrows()]
    there = [(paths.OVERLAYS / name).is_file() for name in test["file"]]
    scores = results.explanations[["path", "pointing_hit", "energy_in_mask"]]
    return test[there].reset_index().merge(scores, on="path", how="left")


def _gallery(rows: pd.DataFrame) -> Html:
    figures = [_figure(row, paths.OVERLAYS / row["file"]) for _, row in rows.iterrows()]
    return Html(f'<div class="overlays">{"".join(figures)}</div>')


def _figure(row: pd.Series, file: Path) -> Html:
    lines = [Html(f"<b>{text(row['title'])}</b>"), row["subtitle"]]
    if pd.notna(row["energy_in_mask"]):
        lines.append(f"{row['energy_in_mask']:.1%} of the heat lies in the mask")
    caption = Html("<br>".join(map(text, lines)))
    return figure(picture(thumbnails.overlay(file), row["title"]), caption)
