"""Does one network with two heads beat two networks with one? Queue, run and tabulate the answer.

Both backbones, each with both heads and with either one, three seeds: eighteen experiments through
DVC's queue. The table comes from their MLflow runs and goes into docs/comparison.md and README.md.
An experiment that has its run already isn't made again, so that an interrupted comparison goes on.

    python benchmarks/comparison.py [-S data.root=/absolute/path ...] [--backbone cnn ...]
"""

import argparse
import itertools
import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml

from twinhead import params, paths, tracking

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


def compare(backbones: list[str], overrides: list[str]) -> None:
    cases = list(itertools.product(backbones, TASKS, SEEDS))
    changes = {case: _changes(*case) + overrides for case in cases}
    digests = {case: tracking.params_digest(_settings(changes[case])) for case in cases}
    known = set(tracking.runs(params.load()).get("tags.twinhead.params", []))
    for case in (case for case in cases if digests[case] not in known):
        name = "-".join(map(str, case)).replace("_", "-")
        dvc("exp", "remove", name, check=False, capture_output=True)
        flags = [flag for change in changes[case] for flag in ("-S", change)]
        dvc("exp", "run", "--queue", "--name", name, *flags, "evaluate")
    # One at a time: the seconds of two trainings that share a processor say nothing.
    dvc("exp", "run", "--run-all", "--jobs", "1")
    found = tracking.runs(params.load()).drop_duplicates("tags.twinhead.params")
    found = found.set_index("tags.twinhead.params")
    if missing := [case for case in cases if digests[case] not in found.index]:
        sys.exit(f"no finished run for {missing}; `dvc queue status` and `dvc queue logs` say why")
    runs = found.loc[list(digests.values())].set_index(pd.MultiIndex.from_tuples(cases)).sort_index()
    text = report(runs, backbones)
    TABLE.write_text(f"# One network or two\n\n{text}", encoding="utf-8")
    begin, end = "<!-- comparison -->\n", "<!-- /comparison -->"
    before, _, rest = README.read_text(encoding="utf-8").partition(begin)
    README.write_text(before + begin + text + end + rest.partition(end)[2], encoding="utf-8")
    print(text)


def report(runs: pd.DataFrame, backbones: list[str]) -> str:
    """Return the table and the paper's three claims as Markdown.

    runs: `tracking.runs`, indexed by backbone, tasks and seed.
    """
    lines = [
        f"| backbone | heads | {' | '.join(COLUMNS.values())} |",
        f"|---|---|{'---|' * len(COLUMNS)}",
    ]
    for backbone, tasks in itertools.product(backbones, TASKS):
        cells = [_spread(runs.loc[backbone, tasks], column) for column in COLUMNS]
        lines.append(f"| {backbone} | {tasks} | {' | '.join(cells)} |")
    claims = [line for backbone in backbones for line in _claims(runs, backbone)]
    data = runs.iloc[0]["params.data.root"]
    head = (
        f"Data: `{data}`, test images; mean ± standard deviation over the seeds {SEEDS}. The seconds"
        " are those of all epochs; the frozen backbone's features, computed once for all, come on top.\n"
    )
    return "\n".join([head, *lines, "", *claims, ""])


def _claims(runs: pd.DataFrame, backbone: str) -> list[str]:
    """The paper's claims: 30% fewer parameters, 40% faster training, +5% in defect detection."""

    def mean(tasks: str, column: str) -> float:
        return runs.loc[backbone, tasks][column].mean()

    def saved(column: str) -> float:
        return 1 - mean("both", column) / (mean("category", column) + mean("defect", column))

    auroc = "metrics.test/defect_auroc_category_mean"
    gain = mean("both", auroc) - mean("defect", auroc)
    size = "metrics.training/parameters"
    return [
        f"* {backbone}, both heads against two networks: parameters {-saved(size):+.1%}"
        f" (the paper: −30%), training time {-saved('seconds'):+.1%} (the paper: −40%),"
        f" defect AUROC {gain:+.3f} (the paper: +5% in defect detection)."
    ]


def _spread(rows: pd.DataFrame, column: str) -> str:
    values = rows[column].dropna() if column in rows else pd.Series(dtype=float)
    if values.empty:
        return "–"
    if column.endswith("parameters"):
        return f"{values.iloc[0]:,.0f}"
    digits = 0 if column == "seconds" else 3
    return f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"


def _changes(backbone: str, tasks: str, seed: int) -> list[str]:
    """What the case changes in params.yaml, as DVC takes it."""
    head = ["explain.head=category"] if tasks == "category" else []
    chosen = [f"model.tasks=[{TASKS[tasks]}]", f"train.seed={seed}"]
    return [*BACKBONES[backbone], *chosen, *head]


def _settings(changes: list[str]) -> params.Params:
    """The params that an experiment with these changes has."""
    tree = yaml.safe_load(paths.PARAMS.read_text(encoding="utf-8"))
    for change in changes:
        key, _, value = change.partition("=")
        *sections, name = key.split(".")
        place = tree
        for section in sections:
            place = place[section]
        place[name] = yaml.safe_load(value)
    return params.Params.model_validate(tree)


def dvc(*arguments: str, check: bool = True, **options: object) -> None:
    subprocess.run(["dvc", *arguments], check=check, **options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-S", "--set-param", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--backbone", action="append", choices=BACKBONES)
    chosen = parser.parse_args()
    compare(chosen.backbone or list(BACKBONES), chosen.set_param)
