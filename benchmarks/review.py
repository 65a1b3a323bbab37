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

A line's photographs are mostly good: with --defects 0.1 at most that share of the pool is
defective, and other defects are left out. Without it the pool has all of them.

With --stand-in the pooled features alone take the network's place: that takes seconds, and is what
the order was chosen by.

    python benchmarks/review.py FOLDER [FOLDER ...] --work FOLDER [--categories …] [--seeds 0 1 2]
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import detector
import detector_data
import numpy as np
import pandas as pd
from detector_data import Photographs
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from twinhead import evaluation, params
from twinhead.dataset import catalog, splits
from twinhead.review import queue

ROUNDS = (10, 20, 50, 100)
KNOWN = 0.5
"""The share of train's good photographs that the network starts with."""
RESAMPLES = 1000
SPREADS = 3.0
"""Of good photographs, above which the stand-in calls one defective."""


@dataclass(frozen=True)
class Told:
    """What a network says of all photographs."""

    table: pd.DataFrame
    """`category`, `defective`, `split`, `defect_probability`, `disagreement`."""
    threshold: float


Look = Callable[[Photographs, pd.Series, pd.Series, params.Params], Told]
Order = Callable[[pd.DataFrame, float, np.random.Generator], pd.Index]
ORDERS: dict[str, Order] = {
    "queue": lambda pool, threshold, rng: queue.order(pool, threshold).index,
    "suspicion": lambda pool, threshold, rng: (
        pool.sort_values("defect_probability", ascending=False, kind="stable").index
    ),
    "threshold": lambda pool, threshold, rng: (
        queue.margins(pool, threshold).abs().sort_values(kind="stable").index
    ),
    "chance": lambda pool, threshold, rng: pd.Index(rng.permutation(pool.index)),
}


def main(folders: list[Path], work: Path, categories: list[str] | None, orders: list[str],
         seeds: list[int], memory: int, quick: bool, defects: float) -> None:  # fmt: skip
    settings = params.load(detector.REPOSITORY / "params.yaml")
    smaller = settings.model.model_copy(update={"memory": memory})
    settings = settings.model_copy(update={"model": smaller})
    given = detector_data.prepare(folders, work, settings, categories)
    file = work / "results/review.csv"
    file.parent.mkdir(exist_ok=True)
    digest = sha256(given.frame["sha256"].str.cat().encode()).hexdigest()[:8]
    code = sha256(Path(queue.__file__).read_bytes()).hexdigest()[:8]
    look = stand_in if quick else whole
    key = {"version": detector.code_version(settings), "photographs": digest, "look": look.__name__}
    key["share"] = f"{defects:g}"
    for seed in seeds:
        for name in orders:
            own = key | {"order": name, "seed": str(seed)}
            own["code"] = code if name == "queue" else ""
            if detector.is_measured(detector_data.read(file), own):
                continue
            found = simulate(given, detector.seeded(settings, seed), name, seed, look, defects)
            detector_data.append([own | row for row in found], file)
            print(name, seed, " ".join(f"{row['answers']}: {row['auroc']:.4f}" for row in found),
                  flush=True)  # fmt: skip
    rows = detector_data.read(file)
    rows = rows[(rows[list(key)] == pd.Series(key)).all(axis=1) & rows["order"].isin(orders)]
    rows = rows[rows["code"].isin(["", code]) & rows["seed"].isin([str(seed) for seed in seeds])]
    names = ", ".join(catalog.categories(given.frame))
    print(f"\n{len(given.frame):,} photographs: {names}; seeds {seeds}\n")
    print(table(rows.apply(detector.as_numbers)))


def simulate(
    given: Photographs,
    settings: params.Params,
    name: str,
    seed: int,
    look: Look,
    defects: float,
) -> list[dict]:
    """The AUROC on test before any answer and after each round, in one order.

    defects: at most this share of the pool.
    """
    split, group = given.split(settings.split)
    frame, rng = given.frame, np.random.default_rng(seed)
    defective = frame["defective"] == 1
    good = frame.index[~defective & (split == splits.TRAIN)]
    start = split.copy()
    hidden = rng.permutation(good)[int(len(good) * KNOWN) :]
    start[hidden] = splits.UNUSED
    labelled = rng.permutation(frame.index[defective & split.isin([splits.TRAIN, splits.VAL])])
    start[labelled] = splits.UNUSED
    most = int(len(hidden) * defects / (1 - defects)) if defects < 1 else len(labelled)
    pool, answered = pd.Index(sorted([*hidden, *labelled[:most]])), []
    chance, found = np.random.default_rng((seed, 1)), []
    for answers in (*ROUNDS, None):
        current = start.copy()
        current[answered] = splits.TRAIN
        told = look(given, current, group, settings)
        test = told.table[told.table["split"] == splits.TEST]
        truth, scores = test["defective"].to_numpy(bool), test["defect_probability"].to_numpy()
        areas = evaluation.auroc(truth, scores, test["category"].to_numpy(), RESAMPLES)
        called = scores >= told.threshold
        found.append({
            "answers": len(answered), "defects": int(defective[answered].sum()),
            "pool": len(pool), "pool_defects": int(defective[pool].sum()),
            "auroc": areas["auroc_category_mean"], "low": areas["auroc_category_mean_low"],
            "high": areas["auroc_category_mean_high"],
            "recall": float(called[truth].mean()), "false_alarms": float(called[~truth].mean()),
        })  # fmt: skip
        if answers is not None:
            left = told.table.loc[pool.difference(answered)].drop(columns="defective")
            order = ORDERS[name](left, told.threshold, chance)
            answered += list(order[: answers - len(answered)])
    return found


def whole(given: Photographs, split: pd.Series, group: pd.Series, settings: params.Params) -> Told:
    """What twinhead's own network says, trained as the pipeline does it."""
    fitted = detector.fit(given, split, group, settings)
    apart = pd.Series(0.0, given.frame.index)
    if given.frame["defective"][split == splits.TRAIN].any():
        single = detector.alone(given, fitted, given.frame.index.to_numpy())
        apart[:] = single["memory"] - single["learned"]
    table = fitted.predictions.assign(disagreement=apart)
    return Told(table, fitted.metrics["threshold"])


def stand_in(
    given: Photographs, split: pd.Series, group: pd.Series, settings: params.Params
) -> Told:
    """What the pooled features alone say: distance from good ones, and a logistic regression."""
    frame, values = given.frame, given.source.inputs[:, 0]
    table = frame[["category", "defective"]].assign(split=split, score=0.0, disagreement=0.0)
    for _, rows in frame.groupby("category"):
        own, truth = values[rows.index], rows["defective"].to_numpy()
        known = (split[rows.index] == splits.TRAIN).to_numpy()
        good = own[known & (truth == 0)]
        spread = good.std(axis=0)
        own = ((own - good.mean(axis=0)) / (spread + np.median(spread) / 4 + 1e-6)).clip(-10, 10)
        far = _standardised(np.sqrt((own**2).mean(axis=1)), known & (truth == 0))
        learned = np.zeros(len(own))
        if truth[known].any():
            fitted = LogisticRegression(C=3e-4, class_weight="balanced", max_iter=200)
            fitted.fit(own[known], truth[known])
            learned = _standardised(fitted.decision_function(own), known & (truth == 0))
            table.loc[rows.index, "disagreement"] = far - learned
            far = far / 2
        table.loc[rows.index, "score"] = far + learned.clip(min=0)
    table["defect_probability"] = expit(table["score"] - SPREADS)
    return Told(table, 0.5)


def _standardised(values: np.ndarray, good: np.ndarray) -> np.ndarray:
    return (values - values[good].mean()) / (values[good].std() + 1e-6)


def table(rows: pd.DataFrame) -> str:
    columns = sorted(rows["answers"].unique())
    lines = [f"| order | {' | '.join(f'{n} answers' for n in columns)} |",
             f"|---|{'---|' * len(columns)}"]  # fmt: skip
    for name, own in rows.groupby("order", sort=False):
        cells = [detector.span(own[own["answers"] == n]["auroc"]) for n in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    chance = rows[rows["order"] == "chance"].set_index(["seed", "answers"])["auroc"]
    for name, own in rows[rows["order"] != "chance"].groupby("order", sort=False):
        ahead = own.set_index(["seed", "answers"])["auroc"] - chance
        cells = [_signed(ahead[ahead.index.get_level_values("answers") == n]) for n in columns]
        lines.append(f"| {name} − chance | {' | '.join(cells)} |")
    for name, own in rows.groupby("order", sort=False):
        for column in ("defects", "recall", "false_alarms"):
            digits = 0 if column == "defects" else 3
            cells = [detector.span(own[own["answers"] == n][column], digits) for n in columns]
            lines.append(f"| {name}: {column} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _signed(values: pd.Series) -> str:
    return f"{values.mean():+.3f} ({values.min():+.3f} to {values.max():+.3f})"


if __name__ == "__main__":
    parser = detector_data.parser(__doc__)
    parser.add_argument("--orders", nargs="+", choices=ORDERS, default=list(ORDERS))
    parser.add_argument("--memory", type=int, default=500, help="patches of each category")
    parser.add_argument("--defects", type=float, default=1.0, help="at most this share of the pool")
    parser.add_argument("--stand-in", action="store_true", help="pooled features alone: seconds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    chosen = parser.parse_intermixed_args()
    if not 0 <= chosen.defects <= 1:
        parser.error(f"--defects is {chosen.defects:g}; expected a share, 0 to 1")
    main(chosen.folders, chosen.work, chosen.categories, chosen.orders, chosen.seeds,
         chosen.memory, chosen.stand_in, chosen.defects)  # fmt: skip
