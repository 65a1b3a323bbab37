"""How long from nothing to an AUROC of 0.98 on images that the network hasn't seen?

Runs the stages up to `evaluate` on your images, in a folder of its own with nothing cached: the
default, and the paper's network and recipe. Seconds are those of all stages together; the quality
is the test split's defect AUROC as the mean over the categories.

    python benchmarks/quality.py FOLDER [--recipe default] [--seed 0] [--keep FOLDER]
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import workspaces

from twinhead.model.precision import available

STAGES = ("index", "split", "features", "train", "evaluate")
RECIPES = {
    "default": {},
    "paper": {
        "model": {"backbone": "cnn"},
        "data": {"image_size": 224},
        "train": {"schedule": "constant", "precision": available("mixed_bfloat16")},
    },
}
GOAL = 0.98


def main(root: Path, recipes: list[str], seed: int, keep: Path | None) -> None:
    for recipe in recipes:
        seconds, judged = run(root.resolve(), RECIPES[recipe], seed)
        if keep:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{recipe}.json").write_text(json.dumps(judged, indent=2), encoding="utf-8")
        defect = judged["test"]["defect"]
        found, low, high = (defect[f"auroc_category_mean{end}"] for end in ("", "_low", "_high"))
        taken = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
        verdict = "reached" if found >= GOAL else "not reached"
        print(f"{recipe}: {sum(seconds.values()):.0f} s ({taken})")
        print(
            f"  test AUROC {found:.3f} ({low:.3f} to {high:.3f}); {GOAL} is {verdict}", flush=True
        )


def run(
    root: Path, changes: dict[str, dict], seed: int, keep: Path | None = None
) -> tuple[dict[str, float], dict]:
    """Return the seconds of each stage, and what `metrics/evaluate.json` holds.

    keep: a folder that gets that file, and the predictions.
    """
    own = {"data": {"root": str(root)}, "train": {"seed": seed}}
    sections = changes.keys() | own.keys()
    settings = {name: {**changes.get(name, {}), **own.get(name, {})} for name in sections}
    with tempfile.TemporaryDirectory() as folder:
        env = workspaces.make(Path(folder), settings)
        seconds = workspaces.run(Path(folder), STAGES, env)
        judged = json.loads((Path(folder) / "metrics/evaluate.json").read_text(encoding="utf-8"))
        for name in ("reports/predictions.csv", "metrics/evaluate.json") if keep else ():
            shutil.copy(Path(folder) / name, keep)
    return seconds, judged


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("root", type=Path, metavar="FOLDER")
    parser.add_argument("--recipe", action="append", choices=RECIPES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for each recipe's metrics")
    chosen = parser.parse_args()
    main(chosen.root, chosen.recipe or list(RECIPES), chosen.seed, chosen.keep)
