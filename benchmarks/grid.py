"""A day's work in small: a grid of experiments through DVC's queue, and the two tables of it.

The first table is DVC's, the second MLflow's; each row is one experiment and one run.

    python benchmarks/grid.py [-S data.root=/absolute/path ...] [--jobs 2]
"""

import argparse
import os
import subprocess

import pandas as pd

from twinhead import params
from twinhead.tracking import experiment, runs

GRID = ["train.learning_rate=0.0005,0.001", "train.seed=0,1"]
UNSHOWN = (
    "Created|State|Executor|.*/|.*_category|.*_f1|train_auroc_mean|threshold|pointing_hit"
    "|defect_knn|parameters|best_epoch"
)
"""What DVC's table does without here, so that the changed params, its last columns, have room."""
COLUMNS = {
    "tags.mlflow.runName": "experiment",
    "params.train.learning_rate": "learning_rate",
    "params.train.seed": "seed",
    "metrics.test/category_accuracy": "test category",
    "metrics.train/defect_auroc_category_mean": "train AUROC",
    "metrics.val/defect_auroc_category_mean": "val AUROC",
    "metrics.test/defect_auroc_category_mean": "test AUROC",
    "seconds": "seconds",
}


def explore(changes: list[str], jobs: int) -> None:
    flags = [flag for change in changes for flag in ("-S", change)]
    dvc("exp", "run", "--queue", *flags, "report")
    dvc("exp", "run", "--run-all", "--jobs", str(jobs))
    shown = ("--only-changed", "--hide-workspace", "--keep", "val_auroc|test_auroc")
    sorting = ("--sort-by", "val_auroc_mean", "--sort-order", "desc", "--drop", UNSHOWN)
    dvc("exp", "show", "--no-pager", *shown, *sorting)
    _, baseline = experiment.current()
    ours = runs.finished(params.load(), runs.BASELINE_TAG, baseline)
    print(table(ours).to_string(index=False))


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """The columns to show, the best on val, which chooses, first."""
    chosen = runs.reindex(columns=list(COLUMNS)).rename(columns=COLUMNS)
    return chosen.sort_values("val AUROC", ascending=False).round(3)


def dvc(*arguments: str) -> None:
    # DVC cuts a table to 80 columns where no terminal says how wide it is.
    subprocess.run(["dvc", *arguments], check=True, env={"COLUMNS": "120"} | os.environ)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-S", "--set-param", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    explore(GRID + chosen.set_param, chosen.jobs)
