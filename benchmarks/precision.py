"""Does bfloat16 train faster than float32, and is what it trains as good?

Both backbones, both precisions, three seeds, through DVC's queue; runs that are there already
count. Quality is that of the test images, speed the median epoch's. What a frozen backbone says is
float32 either way; only its heads' training differs.

    python benchmarks/precision.py [-S data.root=/absolute/path ...]
"""

import argparse
import itertools
import sys

import experiments
import pandas as pd
from comparison import BACKBONES, SEEDS

from twinhead.model.precision import has_bfloat16

PRECISIONS = ("float32", "mixed_bfloat16")
QUALITY = {
    "category accuracy": "metrics.test/category_accuracy",
    "defect AUROC, mean over categories": "metrics.test/defect_auroc_category_mean",
    "defect AUROC, pooled": "metrics.test/defect_auroc",
}


def main(overrides: list[str]) -> None:
    if not has_bfloat16():
        sys.exit("this processor has no bfloat16; both would be float32")
    cases = list(itertools.product(BACKBONES, PRECISIONS, SEEDS))
    names = [
        f"{backbone}-{precision}-{seed}".replace("_", "-") for backbone, precision, seed in cases
    ]
    changes = [
        [
            *(change for change in BACKBONES[backbone] if "precision" not in change),
            f"train.precision={precision}",
            f"train.seed={seed}",
            *overrides,
        ]
        for backbone, precision, seed in cases
    ]
    runs = experiments.finish(dict(zip(names, changes, strict=True)))
    runs = runs.set_index(pd.MultiIndex.from_tuples(cases)).sort_index()
    print(f"| backbone | precision | s an epoch | {' | '.join(QUALITY)} |")
    print(f"|---|---|---|{'---|' * len(QUALITY)}")
    pace = runs["seconds"] / runs["metrics.training/epochs"]
    for backbone, precision in itertools.product(BACKBONES, PRECISIONS):
        rows = runs.loc[backbone, precision]
        cells = [experiments.spread(rows[column]) for column in QUALITY.values()]
        seconds = pace.loc[backbone, precision].median()
        print(f"| {backbone} | {precision} | {seconds:.2f} | {' | '.join(cells)} |")
    for backbone in BACKBONES:
        ours, theirs = (pace.loc[backbone, precision].median() for precision in PRECISIONS)
        print(f"{backbone}: float32 / mixed_bfloat16, seconds an epoch: {ours / theirs:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("-S", "--set-param", action="append", default=[], metavar="KEY=VALUE")
    main(parser.parse_args().set_param)
