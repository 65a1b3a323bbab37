"""Do images of the test split reach the training? With shuffled labels nothing can be learnt.

Shuffles the finished workspace's defect labels within each category, splits, trains and evaluates
as ever, on its pixels and features. The test AUROC has to come out near 0.5; where it doesn't, the
network has seen what it is judged on.

    python benchmarks/leak.py [--seed 0]
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from elsewhere import GIVEN, run

from twinhead import paths
from twinhead.dataset import catalog
from twinhead.ingest import layout

SHUFFLED = ["defect_type", "defective", "mask", "official"]


def main(seed: int) -> None:
    rng, frame = np.random.default_rng(seed), catalog.read(paths.CATALOG)
    for rows in frame.groupby("category").indices.values():
        columns = [frame.columns.get_loc(name) for name in SHUFFLED]
        frame.iloc[rows, columns] = frame.iloc[rng.permutation(rows), columns].to_numpy()
    given = {*GIVEN, paths.FEATURES} - {paths.CATALOG, paths.SPLITS, paths.metrics("split")}
    with tempfile.TemporaryDirectory() as folder:
        layout.write(frame, Path(folder) / paths.CATALOG)
        run(Path(folder), {}, tuple(given), ("split", "train", "evaluate"))
        judged = json.loads((Path(folder) / paths.metrics("evaluate")).read_text(encoding="utf-8"))
    for split in ("train", "test"):
        found = judged[split]["defect"]
        values = [found[f"auroc_category_mean{end}"] for end in ("", "_low", "_high")]
        print("{}: AUROC {:.3f} ({:.3f} to {:.3f})".format(split, *values))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args().seed)
