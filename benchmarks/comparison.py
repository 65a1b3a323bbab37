"""Does one network with two heads beat two networks with one? Queue, run and tabulate the answer.

Both backbones, each with both heads and with either one, three seeds: eighteen experiments through
DVC's queue. The table comes from their MLflow runs and goes into docs/comparison.md and README.md.

    python benchmarks/comparison.py [-S data.root=/absolute/path ...]
"""

import itertools
import subprocess
import sys
from pathlib import Path

import pandas as pd

from twinhead import params, tracking

BACKBONES = {
    "efficientnet_lite0": [],
    "cnn": ["model.backbone=cnn", "data.image_size=224", "train.schedule=constant"],
}
TASKS = {"both": "category,defect", "category": "category", "defect": "defect"}
SEEDS = (0, 1, 2)
TABLE, README = Path("docs/comparison.md"), Path("README.md")
COLUMNS = {
    "metrics.training/parameters": "parameters",
    "metrics.training/trained_parameters": "trained",
    "seconds": "training, s",
    "metrics.test/category_accuracy": "category accuracy",
    "metrics.test/defect_auroc_category_mean": "defect AUROC, mean over categories",
    "metrics.test/defect_auroc": "defect AUROC, pooled",
}


def compare(overrides: list[str]) -> None:
    names = [_name(*case) for case in itertools.product(BACKBONES, TASKS, SEEDS)]
    dvc("exp", "remove", *names, check=False)
    for backbone, tasks, seed in itertools.product(BACKBONES, TASKS, SEEDS):
        chosen = [*BACKBONES[backbone], f"model.tasks=[{TASKS[tasks]}]", f"train.seed={seed}"]
        chosen += ["explain.head=category"] if tasks == "category" else []
        settings = [flag for value in chosen + overrides for flag in ("-S", value)]
        dvc("exp", "run", "--queue", "--name", _name(backbone, tasks, seed), *settings, "evaluate")
    # One at a time: the seconds of two trainings that share a processor say nothing.
    dvc("exp", "run", "--run-all", "--jobs", "1")
    text = report(tracking.runs(params.load()), names)
    TABLE.write_text(f"# One network or two\n\n{text}", encoding="utf-8")
    begin, end = "<!-- comparison -->\n", "<!-- /comparison -->"
    before, _, rest = README.read_text(encoding="utf-8").partition(begin)
    README.write_text(before + begin + text + end + rest.partition(end)[2], encoding="utf-8")
    print(text)


def report(runs: pd.DataFrame, names: list[str]) -> str:
    """Return the table and the paper's three claims as Markdown; runs: `tracking.runs`."""
    runs = runs[runs["tags.dvc.experiment"].isin(names)]
    runs = runs.drop_duplicates("tags.dvc.experiment").set_index("tags.dvc.experiment")
    missing = sorted(set(names) - set(runs.index))
    if missing:
        sys.exit(f"no finished run for {', '.join(missing)}; see `dvc queue logs`")
    lines = [
        f"| backbone | heads | {' | '.join(COLUMNS.values())} |",
        f"|---|---|{'---|' * len(COLUMNS)}",
    ]
    for backbone, tasks in itertools.product(BACKBONES, TASKS):
        rows = runs.loc[[_name(backbone, tasks, seed) for seed in SEEDS]]
        cells = [_spread(rows, column) for column in COLUMNS]
        lines.append(f"| {backbone} | {tasks} | {' | '.join(cells)} |")
    claims = [line for backbone in BACKBONES for line in _claims(runs, backbone)]
    data = runs.iloc[0]["params.data.root"]
    head = f"Data: `{data}`; mean ± standard deviation over the seeds {SEEDS}; test images only.\n"
    return "\n".join([head, *lines, "", *claims, ""])


def _claims(runs: pd.DataFrame, backbone: str) -> list[str]:
    """The paper's claims: 30% fewer parameters, 40% faster training, +5% in defect detection."""

    def mean(tasks: str, column: str) -> float:
        return runs.loc[[_name(backbone, tasks, seed) for seed in SEEDS], column].mean()

    def saved(column: str) -> float:
        return 1 - mean("both", column) / (mean("category", column) + mean("defect", column))

    auroc = "metrics.test/defect_auroc_category_mean"
    gain = mean("both", auroc) - mean("defect", auroc)
    return [
        f"* {backbone}, both heads against two networks: parameters {-saved(_PARAMETERS):+.1%}"
        f" (the paper: −30%), training time {-saved('seconds'):+.1%} (the paper: −40%),"
        f" defect AUROC {gain:+.3f} (the paper: +5% in defect detection)."
    ]


_PARAMETERS = "metrics.training/parameters"


def _spread(rows: pd.DataFrame, column: str) -> str:
    values = rows[column].dropna() if column in rows else pd.Series(dtype=float)
    if values.empty:
        return "–"
    if column.endswith("parameters"):
        return f"{values.iloc[0]:,.0f}"
    digits = 0 if column == "seconds" else 3
    return f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"


def _name(backbone: str, tasks: str, seed: int) -> str:
    return f"{backbone.replace('_', '-')}-{tasks}-{seed}"


def dvc(*arguments: str, check: bool = True) -> None:
    subprocess.run(["dvc", *arguments], check=check)


if __name__ == "__main__":
    compare([value for value in sys.argv[1:] if value != "-S"])
