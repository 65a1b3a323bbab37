"""The few numbers that DVC's tables show; all others stay in the stages' metrics files."""

from twinhead import files, paths

COLUMNS = {
    "evaluate": {
        "test_category": "test.category.accuracy",
        "test_auroc_mean": "test.defect.auroc_category_mean",
        "test_auroc": "test.defect.auroc",
        "test_f1": "test.defect.f1",
        "train_auroc_mean": "train.defect.auroc_category_mean",
        "threshold": "threshold",
    },
    "explain": {"pointing_hit": "pointing_hit"},
    "embed": {"defect_knn": "defect_knn_auroc"},
    "train": {"parameters": "parameters", "best_epoch": "best_epoch"},
}
"""By stage: the column, short enough for a terminal, and where the metrics have it.

Each stage writes its own: an experiment that stops at `evaluate` shows no other's test metrics.
"""


def write(name: str, metrics: dict) -> None:
    """Write a stage's columns, as far as its metrics define them."""
    found = {column: _at(metrics, place) for column, place in COLUMNS[name].items()}
    known = {column: value for column, value in found.items() if value is not None}
    files.write_json(known, paths.summary(name))


def _at(tree: dict, place: str) -> float | None:
    for key in place.split("."):
        tree = (tree or {}).get(key)
    return tree
