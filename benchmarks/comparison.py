"""Does one network with two heads beat two networks with one? Queue, run and tabulate the answer.

Both backbones, each with both heads and with either one, three seeds: eighteen experiments through
DVC's queue. The table comes from their MLflow runs and goes into docs/comparison.md, between two
marks, from where the report on these images takes it. An experiment that has its run already isn't
made again, so that an interrupted comparison resumes.

    python benchmarks/comparison.py [-S data.root=/absolute/path ...] [--backbone cnn ...]
"""

import argparse
import itertools

import experiments
import pandas as pd

from twinhead import paths
from twinhead.model.precision import available
from twinhead.report import comparison
from twinhead.tracking import identity

BACKBONES = {
    "efficientnet_lite0": [],
    "cnn": ["model.backbone=cnn", "data.image_size=224", "train.schedule=constant",
            f"train.precision={available('mixed_bfloat16')}"],
}  # fmt: skip
TASKS = {"both": "category,defect", "category": "category", "defect": "defect"}
SEEDS = (0, 1, 2)
COLUMNS = {
    "metrics.training/parameters": "parameters",
    "metrics.training/trained_parameters": "trained",
    "seconds": "training, s",
    "metrics.test/category_accuracy": "category accuracy",
    "metrics.test/defect_auroc_category_mean": "defect AUROC, mean over categories",
    "metrics.test/defect_auroc": "defect AUROC, pooled",
}


def compare(backbones: list[str], overrides: list[str]) -> None:
    cases = list(itertools.product(backbones, TASKS, SEEDS))
    names = ["-".join(map(str, case)).replace("_", "-") for case in cases]
    changes = [_changes(*case) + overrides for case in cases]
    runs = experiments.finish(dict(zip(names, changes, strict=True)))
    runs = runs.set_index(pd.MultiIndex.from_tuples(cases)).sort_index()
    text = report(runs, backbones)
    before, _, rest = paths.COMPARISON.read_text(encoding="utf-8").partition(comparison.BEGIN)
    after = rest.partition(comparison.END)[2]
    written = "".join([before, comparison.BEGIN, text, comparison.END, after])
    paths.COMPARISON.write_text(written, encoding="utf-8")
    print(text)


def report(runs: pd.DataFrame, backbones: list[str]) -> str:
    """Return the table and the paper's three claims as Markdown.

    runs: `tracking.runs.finished`, indexed by backbone, tasks and seed.
    """
    lines = [
        f"| backbone | heads | {' | '.join(COLUMNS.values())} |",
        f"|---|---|{'---|' * len(COLUMNS)}",
    ]
    for backbone, tasks in itertools.product(backbones, TASKS):
        cells = [_cell(runs.loc[backbone, tasks], column) for column in COLUMNS]
        lines.append(f"| {backbone} | {tasks} | {' | '.join(cells)} |")
    claims = [_claim(runs, backbone) for backbone in backbones]
    data = runs.iloc[0]["params.data.root"]
    head = (
        f"Data: `{data}`, test images; mean ± standard deviation over the seeds {SEEDS}. The"
        " seconds are the epochs' median times their number; the frozen backbone's features,"
        " computed once for all, come on top.\n"
    )
    first = runs.iloc[0]
    known = {
        name.removeprefix("params."): value
        for name, value in first.dropna().items()
        if str(name).startswith("params.")
    }
    made = comparison.made_of(first[f"tags.{identity.DATA_TAG}"], known)
    return "\n".join([head, made, "", *lines, "", *claims, ""])


def _claim(runs: pd.DataFrame, backbone: str) -> str:
    """The paper's claims: 30% fewer parameters, 40% faster training, +5% in defect detection."""

    def mean(tasks: str, column: str) -> float:
        return runs.loc[backbone, tasks][column].mean()

    def saved(column: str) -> float:
        return 1 - mean("both", column) / (mean("category", column) + mean("defect", column))

    auroc = "metrics.test/defect_auroc_category_mean"
    gain = runs.loc[backbone, "both"][auroc] - runs.loc[backbone, "defect"][auroc]
    size = "metrics.training/parameters"
    return (
        f"* {backbone}, both heads against two networks: parameters {-saved(size):+.1%}"
        f" (the paper: −30%), training time {-saved('seconds'):+.1%} (the paper: −40%),"
        f" defect AUROC {gain.mean():+.3f} ± {gain.std():.3f} (the paper: +5% in defect detection)."
    )


def _cell(rows: pd.DataFrame, column: str) -> str:
    values = rows[column].dropna() if column in rows else pd.Series(dtype=float)
    if column.endswith("parameters") and len(values):
        return f"{values.iloc[0]:,.0f}"
    return experiments.spread(values, 0 if column == "seconds" else 3)


def _changes(backbone: str, tasks: str, seed: int) -> list[str]:
    """What the case changes in params.yaml, as DVC takes it."""
    head = ["explain.head=category"] if tasks == "category" else []
    chosen = [f"model.tasks=[{TASKS[tasks]}]", f"train.seed={seed}"]
    return [*BACKBONES[backbone], *chosen, *head]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("-S", "--set-param", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--backbone", action="append", choices=BACKBONES)
    chosen = parser.parse_args()
    compare(chosen.backbone or list(BACKBONES), chosen.set_param)
