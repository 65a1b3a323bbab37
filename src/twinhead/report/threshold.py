"""What each threshold costs: missed defects against false alarms."""

import json
from html import escape

import numpy as np
import pandas as pd

from twinhead.dataset import splits
from twinhead.report.markup import Html, join, paragraph, table
from twinhead.report.results import Results

SHOWN = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
"""The table's thresholds, beside the chosen one."""
DEFECT_RATE, MISS_COST = 2, 10
"""What the reader begins with: defects in a hundred products, false alarms that a miss costs."""
MOST_STEPS = 1000


def section(results: Results) -> Html | None:
    """A table of thresholds, a chart of all of them, and a slider where scripts run."""
    judged, test = results.judged, results.test
    if "threshold" not in judged or test.empty:
        return None
    origin = "chosen on val" if judged["threshold_chosen_on"] else "not chosen: val has one kind"
    chosen = _least_alarm(results.predictions, judged["threshold"])
    steps = _steps(test["defect_probability"].to_numpy(), chosen)
    place = int(np.searchsorted(steps, chosen))
    val = results.predictions[results.predictions["split"] == splits.VAL]
    found, false = alarms(test, steps)
    defective = int(test["defective"].sum())
    good = len(test) - defective
    curves = {
        "steps": [_shown(step, chosen, judged["threshold"]) for step in steps],
        "test": {"found": found, "false": false, "defective": defective, "good": good},
        "chosen": place,
    }
    if judged["threshold_chosen_on"]:
        seen, wrong = alarms(val, steps)
        bad = int(val["defective"].sum())
        curves["val"] = {"found": seen, "false": wrong, "defective": bad, "good": len(val) - bad}
    return join([
        paragraph(
            "An image raises an alarm where its defect probability reaches the threshold."
            " A lower one misses fewer defects and stops more good products. Below are the"
            f" {defective:,} defective and {good:,} good test images at every threshold.",
            "The threshold in use was chosen on val, for the highest F1: the test images only show"
            " what it costs." if "val" in curves else "",
        ),
        _chart(curves, origin),
        _explorer(curves, origin),
        _table(test, chosen, judged["threshold"], origin),
    ])  # fmt: skip


def alarms(rows: pd.DataFrame, steps: np.ndarray) -> tuple[list[int], list[int]]:
    """How many defective and how many good images raise an alarm at each threshold."""
    counted = []
    for value in (1, 0):
        scores = np.sort(rows["defect_probability"][rows["defective"] == value].to_numpy(float))
        counted.append((len(scores) - np.searchsorted(scores, steps)).tolist())
    return counted[0], counted[1]


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


def _chart(curves: dict, origin: str) -> Html:
    last, test = len(curves["steps"]) - 1, curves["test"]
    lines = []
    for kind, total, wrong in (
        ("misses", test["defective"], [test["defective"] - found for found in test["found"]]),
        ("alarms", test["good"], test["false"]),
    ):
        if total:
            points = " ".join(
                f"{1000 * place / last:.1f},{200 - 200 * count / total:.1f}"
                for place, count in enumerate(wrong)
            )
            lines.append(f'<polyline class="{kind}" points="{points}"/>')
    at = f"{1000 * curves['chosen'] / last:.1f}"
    return Html(
        '<div class="keys"><span class="misses">defects missed</span>'
        f'<span class="alarms">false alarms</span><span class="chosen">{origin}</span>'
        "<span>from 0% below to 100% above</span></div>"
        '<svg class="costs" viewBox="0 0 1000 200" preserveAspectRatio="none" role="img"'
        ' aria-label="Share of defects missed and of good images stopped, by threshold">'
        f'{"".join(lines)}<line class="chosen" x1="{at}" x2="{at}" y1="0" y2="200"/>'
        f'<line class="now" x1="{at}" x2="{at}" y1="0" y2="200"/></svg>'
        '<p class="ends"><span>low: many alarms</span><span>high: few alarms</span></p>'
    )


def _explorer(curves: dict, origin: str) -> Html:
    """Hidden until the script has filled it in."""
    cheapest = (
        '<button type="button" data-do="cheapest">Cheapest on val at these costs</button>'
        if "val" in curves
        else ""
    )
    tiles = "".join(
        f'<div class="tile {kind}"><b data-out="{name}"></b><span>{label}</span></div>'
        for kind, name, label in (
            ("right", "found", "defects found"), ("misses", "missed", "defects missed"),
            ("alarms", "false", "false alarms"), ("right", "passed", "good ones passed"),
        )
    )  # fmt: skip
    return Html(
        f'<div class="explorer" hidden data-curves="{escape(json.dumps(curves))}">'
        f'<input type="range" min="0" max="{len(curves["steps"]) - 1}" value="{curves["chosen"]}"'
        ' aria-label="Threshold">'
        f'<p><b>Threshold <output data-out="threshold"></output></b>'
        f' <span data-out="note">({origin})</span></p>'
        f'<div class="tiles">{tiles}</div>'
        '<p class="ask"><label>In 1,000 products of which'
        f' <input type="number" data-in="rate" value="{DEFECT_RATE}" min="0" max="100" step="0.1">'
        ' % are defective,</label> that would be <b data-out="misses"></b> missed and'
        ' <b data-out="stops"></b> stopped for nothing.</p>'
        '<p class="ask"><label>If a miss costs as much as'
        f' <input type="number" data-in="cost" value="{MISS_COST}" min="0" step="1"> false alarms,'
        '</label> that is worth <b data-out="cost"></b> false alarms.</p>'
        f'<p><button type="button" data-do="chosen">Back to the one in use</button> {cheapest}</p>'
        "</div>"
    )


def _table(test: pd.DataFrame, chosen: float, threshold: float, origin: str) -> Html:
    defective = int(test["defective"].sum())
    good, rows = len(test) - defective, []
    steps = np.array(sorted({*SHOWN, chosen}))
    for step, found, false in zip(steps, *alarms(test, steps), strict=True):
        name = _shown(step, chosen, threshold)
        marked = Html(f"<b>{name}, {origin}</b>") if step == chosen else name
        missed = defective - found
        rate = DEFECT_RATE / 100
        per_thousand = [
            f"{1000 * share * wrong / total:.1f}" if total else "not defined"
            for share, wrong, total in ((rate, missed, defective), (1 - rate, false, good))
        ]
        rows.append([marked, *map(str, (found, missed, false, good - false)), *per_thousand])
    head = ["threshold", "found", "missed", "false alarms", "rightly passed"]
    note = f"Per 1,000: in so many products of which {DEFECT_RATE}% are defective."
    rated = ["missed per 1,000", "false alarms per 1,000"]
    return join([table(head + rated, rows, "costs"), paragraph(note)])
