"""Does the order of the review queue help? A simulated reviewer answers for real products.

The network starts with good photographs alone: all of val's, and half of train's. All other
photographs of train and val are the pool, without labels: good ones and defects. In rounds it asks
for 10, 20, 50 and 100 answers in all, is trained on them, and asks on; the answers are the data
set's own labels. In each order the same start; test is never asked about. It prints the AUROC on
test (mean over the categories) after each round, its difference from chance, and how many of the
answers were defects.

queue      twinhead's order (src/twinhead/review/queue.py), as `twinhead review` has it
suspicion  the highest defect probability first
threshold  the nearest to the threshold first
chance     any

    python benchmarks/review.py FOLDER [FOLDER ...] --work FOLDER [--categories …] [--seeds 0 1 2]
"""

import argparse
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import detector
import detector_data
import numpy as np
import pandas as pd
from detector_data import Photographs

from twinhead import evaluation, params
from twinhead.dataset import catalog, splits
from twinhead.review import queue

ROUNDS = (10, 20, 50, 100)
KNOWN = 0.5
"""The share of train's good photographs that the network starts with."""
RESAMPLES = 1000
Order = Callable[[pd.DataFrame, float, np.random.Generator], pd.Index]
ORDERS: dict[str, Order] = {
    "queue": lambda pool, threshold, rng: queue.order(pool, threshold).index,
    "suspicion": lambda pool, threshold, rng: (
        pool.sort_values("defect_probability", ascending=False, kind="stable").index
    ),
    "threshold": lambda pool, threshold, rng: (
        queue._margins(pool, threshold).abs().sort_values(kind="stable").index
    ),
    "chance": lambda pool, threshold, rng: pd.Index(rng.permutation(pool.index)),
}


def main(folders: list[Path], work: Path, categories: list[str] | None, orders: list[str],
         seeds: list[int], memory: int) -> None:  # fmt: skip
    settings = params.load(detector.REPOSITORY / "params.yaml")
    smaller = settings.model.model_copy(update={"memory": memory})
    settings = settings.model_copy(update={"model": smaller})
    given = detector_data.prepare(folders, work, settings, categories)
    file = work / "results/review.csv"
    file.parent.mkdir(exist_ok=True)
    digest = sha256(given.frame["sha256"].str.cat().encode()).hexdigest()[:8]
    code = sha256(Path(queue.__file__).read_bytes()).hexdigest()[:8]
    key = {"version": detector._version(settings), "photographs": digest}
    for seed in seeds:
        for name in orders:
            own = key | {"order": name, "seed": str(seed)}
            own["code"] = code if name == "queue" else ""
            if detector._has(detector_data.read(file), own):
                continue
            found = simulate(given, detector._seeded(settings, seed), name, seed)
            detector_data.append([own | row for row in found], file)
            print(name, seed, " ".join(f"{row['answers']}: {row['auroc']:.4f}" for row in found),
                  flush=True)  # fmt: skip
    rows = detector_data.read(file)
    rows = rows[(rows[list(key)] == pd.Series(key)).all(axis=1) & rows["order"].isin(orders)]
    rows = rows[rows["code"].isin(["", code]) & rows["seed"].isin([str(seed) for seed in seeds])]
    names = ", ".join(catalog.categories(given.frame))
    print(f"\n{len(given.frame):,} photographs: {names}; seeds {seeds}\n")
    print(table(rows.apply(detector._numbers)))


def simulate(given: Photographs, settings: params.Params, name: str, seed: int) -> list[dict]:
    """The AUROC on test before any answer and after each round, in one order."""
    split, group = given.split(settings.split)
    frame, rng = given.frame, np.random.default_rng(seed)
    defective = frame["defective"] == 1
    good = frame.index[~defective & (split == splits.TRAIN)]
    start = split.copy()
    hidden = rng.permutation(good)[int(len(good) * KNOWN) :]
    start[hidden] = splits.UNUSED
    start[defective & split.isin([splits.TRAIN, splits.VAL])] = splits.UNUSED
    pool, answered = start.index[start == splits.UNUSED], []
    chance, found = np.random.default_rng((seed, 1)), []
    for answers in (*ROUNDS, None):
        current = start.copy()
        current[answered] = splits.TRAIN
        fitted = detector.fit(given, current, group, settings)
        test = fitted.test
        areas = evaluation.auroc(
            test["defective"].to_numpy(), test["defect_probability"].to_numpy(),
            test["category"].to_numpy(), RESAMPLES,
        )  # fmt: skip
        judged = fitted.metrics["test"]["defect"]
        found.append({
            "answers": len(answered), "defects": int(defective[answered].sum()),
            "pool": len(pool), "pool_defects": int(defective[pool].sum()),
            "auroc": areas["auroc_category_mean"], "low": areas["auroc_category_mean_low"],
            "high": areas["auroc_category_mean_high"], "f1": judged["f1"],
            "recall": judged["recall"], "precision": judged["precision"],
        })  # fmt: skip
        if answers is not None:
            asked = _ask(given, fitted, pool.difference(answered), bool(defective[answered].any()))
            order = ORDERS[name](asked, fitted.metrics["threshold"], chance)
            answered += list(order[: answers - len(answered)])
    return found


def _ask(
    given: Photographs, fitted: detector.Fitted, rows: pd.Index, learned: bool
) -> pd.DataFrame:
    """What the queue is told of photographs without labels."""
    asked = fitted.predictions.loc[rows].drop(columns="defective")
    if not learned:
        return asked
    single = detector.alone(given, fitted, rows.to_numpy())
    return asked.assign(disagreement=single["memory"] - single["learned"])


def table(rows: pd.DataFrame) -> str:
    columns = sorted(rows["answers"].unique())
    lines = [f"| order | {' | '.join(f'{n} answers' for n in columns)} |",
             f"|---|{'---|' * len(columns)}"]  # fmt: skip
    for name, own in rows.groupby("order", sort=False):
        cells = [detector._span(own[own["answers"] == n]["auroc"]) for n in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    chance = rows[rows["order"] == "chance"].set_index(["seed", "answers"])["auroc"]
    for name, own in rows[rows["order"] != "chance"].groupby("order", sort=False):
        ahead = own.set_index(["seed", "answers"])["auroc"] - chance
        cells = [_signed(ahead[ahead.index.get_level_values("answers") == n]) for n in columns]
        lines.append(f"| {name} − chance | {' | '.join(cells)} |")
    for name, own in rows.groupby("order", sort=False):
        for column in ("defects", "f1"):
            digits = 0 if column == "defects" else 3
            cells = [detector._span(own[own["answers"] == n][column], digits) for n in columns]
            lines.append(f"| {name}: {column} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _signed(values: pd.Series) -> str:
    return f"{values.mean():+.3f} ({values.min():+.3f} to {values.max():+.3f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--categories", nargs="+")
    parser.add_argument("--orders", nargs="+", choices=ORDERS, default=list(ORDERS))
    parser.add_argument("--memory", type=int, default=500, help="patches of each category")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    chosen = parser.parse_intermixed_args()
    main(chosen.folders, chosen.work, chosen.categories, chosen.orders, chosen.seeds,
         chosen.memory)  # fmt: skip
