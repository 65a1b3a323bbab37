"""What if the light changes, the focus, the position? Held-out photographs, altered on purpose.

Takes the finished workspace's network and thresholds, and answers for the test photographs as they
are and altered in each of the ways below, one at a time; beside it the logistic regression on the
pooled features of the pretrained backbone, with the same protocol (its threshold from val, by F1).
The alterations are made in the pixels that the network sees, at its size. It prints Markdown: the
AUROC as the mean over the categories with its interval, false alarms, defects found, and what is
called unknown of the good ones; and which categories suffer most. With --evened each altered
photograph, and each as it is, is first brought to the median brightness of its category's good
training photographs, by one factor, as a camera's automatic exposure would: what of the damage can
be mended so?

With --vary FOLDER it answers for nothing. It leaves a data set there: links to the workspace's
photographs, each in the split that it has, and a copy of each good one of train and val, altered by
chance in light, focus, noise and JPEG, in the same split. Train on it, and see whether that mends
the damage; the test photographs are the same.

    python benchmarks/stress.py [--work FOLDER] [--only brightness ...] [--evened]
    python benchmarks/stress.py --vary FOLDER
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter

from twinhead import evaluation, files, params, paths
from twinhead.dataset import catalog, features, pixels, splits, tables
from twinhead.evaluation import baselines, intervals, operating_point
from twinhead.model import nuisance
from twinhead.model.nuisance import Change
from twinhead.params import OperatingPoint
from twinhead.review import held_out

AS_IT_IS = "as photographed"
RESAMPLES = 1000
BATCH = 32


def brighter(by: float) -> Change:
    """All values times 1 + by: more light, or less."""
    return lambda image, rng: np.clip(image * (1.0 + by), 0, 255).round().astype(np.uint8)


def warmer(by: float) -> Change:
    """Red times 1 + by, blue times 1 - by: another white balance."""
    factors = np.array([1 + by, 1, 1 - by])
    return lambda image, rng: np.clip(image * factors, 0, 255).round().astype(np.uint8)


def blurred(radius: float) -> Change:
    """Out of focus: a Gaussian of so many pixels."""
    return lambda image, rng: np.asarray(
        Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius))
    )


def turned(degrees: float) -> Change:
    """About the middle, one way or the other; what comes in from outside is mirrored."""

    def alter(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        size, sign = len(image), 1 if rng.random() < 0.5 else -1
        wide = np.pad(image, ((size // 4,) * 2, (size // 4,) * 2, (0, 0)), "symmetric")
        turned = Image.fromarray(wide).rotate(sign * degrees, Image.Resampling.BICUBIC)
        edge = size // 4
        return np.asarray(turned)[edge : edge + size, edge : edge + size]

    return alter


def shifted(share: float) -> Change:
    """By that share of the side in a direction of chance; what comes in is mirrored."""

    def alter(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        size, angle = len(image), rng.uniform(0, 2 * np.pi)
        edge = round(share * size)
        down, right = (round(edge * part(angle)) for part in (np.sin, np.cos))
        wide = np.pad(image, ((edge,) * 2, (edge,) * 2, (0, 0)), "symmetric")
        return wide[edge + down : edge + down + size, edge + right : edge + right + size]

    return alter


def evened(image: np.ndarray, level: float) -> np.ndarray:
    """The photograph times what brings its mean to a level, 0 to 255; what is clipped stays so."""
    return np.clip(image * (level / max(image.mean(), 1.0)), 0, 255).round().astype(np.uint8)


def varied(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A photograph as the same line may take it another day: each of four changes by even odds."""
    drawn = (
        brighter(rng.uniform(-0.2, 0.2)),
        blurred(rng.uniform(0, 1.5)),
        nuisance.noise(rng.uniform(0, 5)),
        nuisance.jpeg(int(rng.uniform(50, 95))),
    )
    for alter in drawn:
        if rng.random() < 0.5:
            image = alter(image, rng)
    return image


ALTERATIONS: dict[str, Change] = {
    AS_IT_IS: lambda image, rng: image,
    **{f"brightness {by:+.0%}": brighter(by) for by in (-0.4, -0.2, -0.1, 0.1, 0.2, 0.4)},
    **{f"warmth {by:+.0%}": warmer(by) for by in (0.02, 0.05)},
    **{f"blur {radius:g} px": blurred(radius) for radius in (0.5, 1, 2)},
    **{f"JPEG quality {quality}": nuisance.jpeg(quality) for quality in (95, 80, 60, 30)},
    **{f"rotation {degrees}°": turned(degrees) for degrees in (1, 2, 5, 10)},
    **{f"shift {share:.0%}": shifted(share) for share in (0.01, 0.03, 0.1)},
    **{f"noise {spread:g} of 255": nuisance.noise(spread) for spread in (2, 5, 10)},
}


def main(work: Path | None, only: list[str], even: bool) -> None:
    import keras

    from twinhead import engine
    from twinhead.model import network

    frame, images = catalog.read(paths.CATALOG), pixels.load(paths.PIXELS)
    known = tables.read(paths.PREDICTIONS)
    judged = json.loads(paths.metrics("evaluate").read_text(encoding="utf-8"))
    names = np.array(catalog.categories(frame))
    model = network.load(paths.MODEL)
    pooled = {features.POOLED: network.trunk(model).output[features.POOLED]}
    ask = engine.fastest(keras.Model(model.input, {**model.output, **pooled}))
    logistic, threshold = regression(known)
    split = splits.read(paths.SPLITS)
    rows = np.flatnonzero(split == splits.TEST)
    levels = brightness(frame, split, images) if even else None
    chosen = [
        name for name in ALTERATIONS if not only or name == AS_IT_IS or name.split()[0] in only
    ]
    lines, worst, digest = [], [], held_out.digest(paths.MODEL)
    for name in chosen:
        file = work / f"{digest}-{name.replace(' ', '-')}{'-evened' * even}.csv" if work else None
        if file and file.exists():
            found = tables.read(file)
        else:
            found = answer(name, rows, images, known, ask, logistic, names, levels)
            if file:
                files.write_table(found, file)
        decided = evaluation.decide(found, judged)
        ours, theirs = summary(decided), summary(
            decided.assign(
                defect_probability=decided["logistic"],
                defect_predicted=(decided["logistic"] >= threshold).astype(int),
            )
        )  # fmt: skip
        unknown = 1 - decided["known"][decided["defective"] == 0].mean()
        lines.append(f"| {name} | {ours} | {unknown:.1%} | {theirs} |")
        worst.append(f"| {name} | {by_category(decided)} |")
        print(lines[-1], flush=True)
    head = "AUROC, mean | false alarms | defects found"
    print(f"\n| altered | {head} | good: unknown | logistic: {head} |\n|{'---|' * 8}")
    print("\n".join(lines))
    print("\n| altered | lowest AUROC | most false alarms |\n|---|---|---|")
    print("\n".join(worst))


def vary(
    frame: pd.DataFrame, split: pd.Series, images: pixels.Store, root: Path, into: Path
) -> None:
    """Leave a data set in `into`: links to that of root, and altered copies of good photographs.

    Only those of train and val have a copy. Its splits.csv gives each photograph its split, and a
    copy that of its photograph. Raises FileExistsError where `into` is there, and ValueError for a
    workspace with answers: a copy's folder says what it is, and they say otherwise.
    """
    if (frame["reviewed"] != "").any():
        raise ValueError("--vary: some photographs were answered; begin without data/answers.csv")
    into.mkdir(parents=True)
    listed = []
    for row, photograph in frame.iterrows():
        for path in filter(None, (photograph["path"], photograph["mask"])):
            link = into / path
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(root / path)
        listed.append((photograph["path"], split[row]))
        if photograph["defective"] or split[row] not in (splits.TRAIN, splits.VAL):
            continue
        copy = f"{photograph['path']}.varied.png"
        altered = varied(images[row], np.random.default_rng((row, 8)))
        Image.fromarray(altered).save(into / copy)
        listed.append((copy, split[row]))
    files.write_table(pd.DataFrame(listed, columns=["path", "split"]), into / "splits.csv")


def brightness(frame: pd.DataFrame, split: pd.Series, images: pixels.Store) -> dict[str, float]:
    """By category: the median over good training photographs of the mean value, 0 to 255."""
    good = frame[(split == splits.TRAIN) & (frame["defective"] == 0)]
    means = pd.Series({row: images[row].mean() for row in good.index})
    return means.groupby(good["category"]).median().to_dict()


def regression(known: pd.DataFrame) -> tuple:
    """The logistic regression of evaluation.baselines, fitted to train, and its threshold."""
    pooled = features.load(paths.FEATURES)[features.POOLED]
    parts = {split: np.flatnonzero(known["split"] == split) for split in (splits.TRAIN, splits.VAL)}
    truth = known["defective"].to_numpy()
    train, val = parts[splits.TRAIN], parts[splits.VAL]
    fitted = baselines.logistic_regression().fit(pooled[train, 0], truth[train])
    rule = OperatingPoint(rule="f1", value=None)
    scores = fitted.predict_proba(pooled[val, 0])[:, 1]
    return fitted, operating_point.choose(truth[val], scores, rule).threshold


def answer(
    name: str,
    rows: np.ndarray,
    images: pixels.Store,
    known: pd.DataFrame,
    ask: Callable,
    logistic: object,
    names: np.ndarray,
    levels: dict[str, float] | None,
) -> pd.DataFrame:
    """The answers for these rows' photographs, altered, as a table of predictions.

    ask: gives the network's answers for photographs, and their pooled features.
    levels: by category, to which brightness each is brought; None leaves it.
    """
    from twinhead.model import detector

    columns: dict[str, list] = {"category_predicted": [], "defect_probability": [], "known": [],
                                "logistic": []}  # fmt: skip
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        altered = np.stack([
            ALTERATIONS[name](images[row], np.random.default_rng((int(row), 7))) for row in some
        ])  # fmt: skip
        if levels:
            wanted = [levels[category] for category in known["category"][some]]
            altered = np.stack([evened(*pair) for pair in zip(altered, wanted, strict=True)])
        told = ask(altered)
        columns["category_predicted"] += names[told["category"].argmax(axis=1)].tolist()
        columns["defect_probability"] += told["defect"][:, 0].tolist()
        columns["known"] += (told["unusual"][:, 0] <= detector.UNUSUAL).astype(int).tolist()
        columns["logistic"] += logistic.predict_proba(told[features.POOLED])[:, 1].tolist()
    facts = [
        column
        for column in ("path", "split", "category", "defect_type", "defective", "group")
        if column in known
    ]
    return known.loc[rows, facts].assign(**columns).reset_index(drop=True)


def summary(decided: pd.DataFrame) -> str:
    truth, group = decided["defective"].to_numpy(), decided.get("group")
    areas = evaluation.auroc(
        truth, decided["defect_probability"].to_numpy(), decided["category"].to_numpy(),
        RESAMPLES, None if group is None else group.to_numpy(),
    )  # fmt: skip
    mean, low, high = (areas[f"auroc_category_mean{end}"] for end in ("", "_low", "_high"))
    cells = [f"{mean:.3f} ({low:.3f}–{high:.3f})"]
    for kind in (0, 1):
        own = truth == kind
        alarms = decided["defect_predicted"].to_numpy()[own] == 1
        share, low, high = intervals.share(alarms, None if group is None else group[own].to_numpy())
        cells.append(f"{share:.1%} ({low:.1%}–{high:.1%})")
    return " | ".join(cells)


def by_category(decided: pd.DataFrame) -> str:
    """The category of the lowest AUROC, and that of the most false alarms."""
    areas, alarms = {}, {}
    for name, own in decided.groupby("category"):
        area = evaluation.auroc(own["defective"], own["defect_probability"], own["category"], 0)
        if area["auroc"] is not None:
            areas[name] = area["auroc"]
        good = own[own["defective"] == 0]
        alarms[name] = (int(good["defect_predicted"].sum()), len(good))
    low = min(areas, key=areas.__getitem__)
    most = max(alarms, key=lambda name: alarms[name][0] / max(alarms[name][1], 1))
    return f"{low} {areas[low]:.3f} | {most} {alarms[most][0]} of {alarms[most][1]}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="keeps the answers")
    kinds = sorted({name.split()[0] for name in ALTERATIONS} - {"as"})
    parser.add_argument("--only", nargs="+", choices=kinds, default=[])
    parser.add_argument("--evened", action="store_true", help="bring back the usual brightness")
    parser.add_argument("--vary", type=Path, metavar="FOLDER", help="leave a data set there")
    given = parser.parse_args()
    if given.vary:
        root = Path(params.load().data.root).resolve()
        known = catalog.read(paths.CATALOG), splits.read(paths.SPLITS), pixels.load(paths.PIXELS)
        vary(*known, root, given.vary)
        sys.exit()
    if given.work:
        given.work.mkdir(parents=True, exist_ok=True)
    main(given.work, given.only, given.evened)
