"""Do images of the test split reach the training? With shuffled labels nothing can be learnt.

Shuffles the finished workspace's defect labels within each category, by group: duplicates and the
images of a lot share one. Then it splits, trains and evaluates as ever, on its pixels and features.
The test AUROC has to come out near 0.5; where it doesn't, the network has seen what it is judged
on. `--plant` splits as if there were no groups: where there are some, the leak has to be found.
tests/test_leaks.py does both on photographs of its own.

    python benchmarks/leak.py [--seed 0] [--plant]
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from elsewhere import GIVEN, run

from twinhead import paths
from twinhead.dataset import catalog, splits
from twinhead.ingest import layout

SHUFFLED = ["defect_type", "defective", "official"]


def shuffle(frame: pd.DataFrame, group: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """The catalog with each group's labels those of another group of its category.

    No photograph has a mask then: its own would tell the true label, another's nothing.
    """
    frame, columns = frame.copy(), [frame.columns.get_loc(name) for name in SHUFFLED]
    labels = frame.iloc[:, columns].to_numpy()
    for rows in frame.groupby("category").indices.values():
        firsts = rows[np.unique(group[rows], return_index=True)[1]]
        given = dict(zip(group[firsts], rng.permutation(firsts), strict=True))
        frame.iloc[rows, columns] = labels[[given[one] for one in group[rows]]]
    return frame.assign(mask="")


def main(seed: int, plant: bool) -> None:
    rng = np.random.default_rng(seed)
    group = splits.groups(paths.SPLITS).to_numpy()
    frame = shuffle(catalog.read(paths.CATALOG), group, rng)
    settings = yaml.safe_load(paths.PARAMS.read_text(encoding="utf-8"))
    if plant:
        settings["split"] |= {"near_duplicates": 0.0, "group_by": ""}
        frame["sha256"] = [f"{number:064x}" for number in range(len(frame))]
    given = {*GIVEN, paths.FEATURES} - {
        paths.PARAMS,
        paths.CATALOG,
        paths.SPLITS,
        paths.metrics("split"),
    }
    with tempfile.TemporaryDirectory() as folder:
        layout.write(frame, Path(folder) / paths.CATALOG)
        (Path(folder) / paths.PARAMS).write_text(yaml.safe_dump(settings), encoding="utf-8")
        run(Path(folder), {}, tuple(given), ("split", "train", "evaluate"))
        judged = json.loads((Path(folder) / paths.metrics("evaluate")).read_text(encoding="utf-8"))
    twins = judged["test"]["twins"]
    sizes = np.unique(group, return_counts=True)[1]
    print(f"{(sizes > 1).sum()} groups of several images, {sizes[sizes > 1].sum()} images in all")
    print(f"{twins['images']} test images with a near twin in train ({twins['share']:.1%})")
    for split in ("train", "test"):
        found = judged[split]["defect"]
        values = [found[f"auroc_category_mean{end}"] for end in ("", "_low", "_high")]
        print("{}: AUROC {:.3f} ({:.3f} to {:.3f})".format(split, *values))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plant", action="store_true", help="split as if there were no groups")
    chosen = parser.parse_args()
    main(chosen.seed, chosen.plant)
