"""Which settings does val choose? The command behind docs/choosing.md.

Runs the stages up to `evaluate` on a folder once for each setting, on one split. Prints them by
their AUROC on val, the mean over the categories: the difference to the shipped params on the same
val images, with the interval that the registry's champion needs (each further setting has to be
surer), and test beside it, which chooses nothing. Results are kept in --work: what is there isn't
run again.

    python benchmarks/choosing.py FOLDER --work FOLDER [--seed 0] [--setting NAME ...]
"""

import argparse
import json
from pathlib import Path

import detector
import pandas as pd
import quality

from twinhead import params
from twinhead.dataset import splits, tables
from twinhead.serving import registry

SETTINGS: dict[str, dict[str, dict]] = {
    "as shipped": {},
    "256 pixels a side": {"data": {"image_size": 256}},
    "a memory of 500": {"model": {"memory": 500}},
    "seen mirrored, too": {"features": {"views": 2}},
}
"""What docs/choosing.md compares; the first one is what the others challenge."""


def main(root: Path, work: Path, seed: int, names: list[str]) -> None:
    found = {name: measure(root.resolve(), work, seed, name) for name in names}
    lines = ["| setting | val | challenge on val | test |", "|---|---|---|---|"]
    for name in sorted(found, key=lambda name: -area(found[name][0], splits.VAL)):
        judged, predictions = found[name]
        challenge = "–"
        if name != names[0]:
            number = names.index(name)
            better, why = registry.compare(predictions, found[names[0]][1], number)
            challenge = f"{'better' if better else 'not surely better'}: {why.partition(';')[0]}"
        cells = [quoted(judged, splits.VAL), challenge, quoted(judged, splits.TEST)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    print("\n".join(lines))


def measure(root: Path, work: Path, seed: int, name: str) -> tuple[dict, pd.DataFrame]:
    """What `evaluate` leaves: its metrics and its predictions."""
    code = detector.code_version(params.load(detector.REPOSITORY / "params.yaml"))
    folder = work / f"{name.replace(' ', '-').replace(',', '')}-{seed}-{code}"
    if not (folder / "evaluate.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        quality.run(root, SETTINGS[name], seed, keep=folder)
    judged = json.loads((folder / "evaluate.json").read_text(encoding="utf-8"))
    return judged, tables.read(folder / "predictions.csv")


def area(judged: dict, split: str) -> float:
    return judged[split]["defect"]["auroc_category_mean"]


def quoted(judged: dict, split: str) -> str:
    defect = judged[split]["defect"]
    low, high = (defect[f"auroc_category_mean_{end}"] for end in ("low", "high"))
    return f"{area(judged, split):.3f} ({low:.3f}–{high:.3f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("root", type=Path, metavar="FOLDER")
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--setting", action="append", choices=SETTINGS)
    chosen = parser.parse_args()
    main(chosen.root, chosen.work, chosen.seed, chosen.setting or list(SETTINGS))
