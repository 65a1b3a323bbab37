"""How MLflow's UI compares the runs: chosen columns, and charts with train and val in one.

The UI keeps a shared view in a tag of the experiment, as JSON, and a link names the tag's key. The
keys inside are the UI's own (MLflow 3.17); one that doesn't know them shows its usual columns.
"""

import json

KEY = "twinhead"
TAG = f"mlflow.sharedViewState.{KEY}"
COLUMNS = [
    "attributes.`Models`",
    "params.`model.backbone`",
    "params.`train.learning_rate`",
    "params.`train.seed`",
    "metrics.`val/defect_auroc_category_mean`",
    "metrics.`test/defect_auroc_category_mean`",
    "metrics.`val/defect_auroc`",
    "metrics.`test/defect_auroc`",
    "metrics.`val/category_accuracy`",
    "metrics.`test/category_accuracy`",
    "metrics.`train/defect_auroc`",
    "metrics.`explain/pointing_hit`",
]
SORTED_BY = "metrics.`val/defect_auroc_category_mean`"
"""Val chooses among the runs; test stands beside it."""
SECTION = "training and result"
GROUPS = dict.fromkeys(["val", "test", "train", "explain", "embed"], True)
GROUPS |= dict.fromkeys(["by_category_auroc", "by_category_recall"], True)
GROUPS |= dict.fromkeys(["baselines", "evaluate", "training", "index", "split"], False)
"""The other metrics' sections in their order, and whether they are unfolded."""
CURVES = ("loss", "category_accuracy", "defect_accuracy")
BARS = ("val/defect_auroc_category_mean", "test/defect_auroc_category_mean")


def state() -> str:
    """Return the tag's value."""
    curves = [
        _chart("LINE", f"{name}/val", selectedMetricKeys=[f"{name}/train", f"{name}/val"])
        for name in CURVES
    ]
    # The chart that the UI would make for each metric beside those of ours.
    spare = [_chart("LINE", f"{name}/train", deleted=True, isGenerated=True) for name in CURVES]
    bars = [_chart("BAR", name) for name in BARS]
    shown = {
        "selectedColumns": COLUMNS,
        "orderByKey": SORTED_BY,
        "orderByAsc": False,
        "compareRunCharts": curves + [_chart("LINE", "defect_auroc/val")] + bars + spare,
        "compareRunSections": [_section(SECTION, KEY)]
        + [_section(name, f"{KEY}-{name}", unfolded) for name, unfolded in GROUPS.items()],
        "isAccordionReordered": True,
    }
    return json.dumps(shown, separators=(",", ":"))


def link(experiment: str) -> str:
    """Return the page that compares the runs, as what follows the UI's address."""
    return f"#/experiments/{experiment}/runs?viewStateShareKey={KEY}&compareRunsMode=CHART"


def _section(name: str, uuid: str, unfolded: bool = True) -> dict:
    return {"uuid": uuid, "name": name, "display": unfolded, "isReordered": True}


def _chart(kind: str, metric: str, **options: object) -> dict:
    # Without the second, the UI smooths the curves.
    lines = {"useGlobalXaxisKey": True, "useGlobalLineSmoothing": True} if kind == "LINE" else {}
    return {
        "type": kind,
        "uuid": f"{KEY}-{metric}",
        "metricSectionId": KEY,
        "metricKey": metric,
        "runsCountToCompare": 10,
        **lines,
        **options,
    }
