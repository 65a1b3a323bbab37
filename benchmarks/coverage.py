"""How often do the 95% intervals of the AUROC hold the truth?

Draws data sets whose AUROC is known: normal scores, defective ones shifted, in several categories
of so many good and defective images. `alike`: all categories have that area; `mixed`: half of them
are perfect and the others so much worse that the mean is the same. In groups: three images each
share half of their variance. Counts how often the intervals of evaluation.auroc, pooled and of the
mean over the categories, hold the area; 94% are expected everywhere. With --champion it draws two
networks that are equally good, and counts how often the second seems surely better.

    python benchmarks/coverage.py [--sets 1000] [--champion]
"""

import argparse
import itertools

import numpy as np
from scipy.stats import norm

from twinhead import evaluation

IMAGES = ((6, 2), (15, 9), (50, 30))
"""Good and defective images a category."""
AREAS = (0.9, 0.99, 1.0)
CATEGORIES = (4, 15)
RESAMPLES = 200
TOGETHER = 3
"""Images of a group; they share half of their variance."""
PERFECT = 50.0
"""A shift, in spreads, that no draw bridges."""


def draw(
    rng: np.random.Generator,
    images: tuple[int, int],
    area: float,
    categories: int,
    mixed: bool,
    grouped: bool,
    networks: int = 1,
) -> tuple[np.ndarray, ...]:
    """Defective or not, category and group, (n,) each, and scores, (networks, n)."""
    kinds = np.repeat([False, True], images)
    defective, category = np.tile(kinds, categories), np.repeat(range(categories), sum(images))
    group = np.arange(len(defective))
    if grouped:
        within = np.concatenate([np.arange(count) // TOGETHER for count in images])
        within[images[0] :] += within[images[0] - 1] + 1
        group = np.tile(within, categories) + category * (within.max() + 1)
    areas = np.full(categories, area)
    if mixed:
        areas[: categories // 2] = 1
        areas[categories // 2 :] -= (1 - area) * (categories // 2) / (categories - categories // 2)
    shifts = np.where(areas == 1, PERFECT, np.sqrt(2) * norm.ppf(np.minimum(areas, 1 - 1e-12)))
    noise = rng.normal(size=(networks, len(defective)))
    if grouped:
        shared = rng.normal(size=(networks, group.max() + 1))[:, group]
        noise = np.sqrt(0.5) * (noise + shared)
    return defective, category, group, defective * shifts[category] + noise


def covered(rng: np.random.Generator, sets: int, area: float, **case: object) -> dict[str, float]:
    """How often the intervals hold the area, and how wide they are on average."""
    found = {"auroc_category_mean": np.zeros(2), "auroc": np.zeros(2)}
    for number in range(sets):
        defective, category, group, scores = draw(rng, area=area, **case)
        told = evaluation.auroc(defective, scores[0], category, RESAMPLES, group, seed=number)
        for name, counts in found.items():
            low, high = told[f"{name}_low"], told[f"{name}_high"]
            counts += low <= area + 1e-9 and area - 1e-9 <= high, high - low
    return {name: counts / sets for name, counts in found.items()}


def crowned(rng: np.random.Generator, sets: int, area: float, **case: object) -> float:
    """How often the second of two equally good networks seems surely better."""
    wins = 0
    for _ in range(sets):
        defective, category, group, scores = draw(rng, area=area, networks=2, **case)
        told = evaluation.advantage(defective, scores[1], scores[0], category, group)
        wins += told["advantage_low"] > 0
    return wins / sets


def main(sets: int, champion: bool) -> None:
    rng = np.random.default_rng(0)
    if champion:
        print("| good/defective a category | AUROC | categories | alone | in groups |")
    else:
        print("| good/defective a category | AUROC | categories | mean | pooled | mean, in groups |"
              " pooled, in groups | width of the mean's |")  # fmt: skip
    print(f"|---|---|---|---|---|{'' if champion else '---|---|---|'}")
    lowest = 1.0
    for images, area, count, mixed in itertools.product(IMAGES, AREAS, CATEGORIES, (False, True)):
        if area == 1 and mixed:
            continue
        case = {"images": images, "area": area, "categories": count, "mixed": mixed}
        if champion:
            shares = [crowned(rng, sets, grouped=grouped, **case) for grouped in (False, True)]
            cells = [f"{value:.1%}" for value in shares]
        else:
            found = [covered(rng, sets, grouped=grouped, **case) for grouped in (False, True)]
            shares = [kind[name][0] for kind in found for name in kind]
            cells = [*(f"{value:.1%}" for value in shares)]
            cells.append(f"{found[0]['auroc_category_mean'][1]:.3f}")
            lowest = min(lowest, *shares)
        kind = "mixed" if mixed else "alike"
        print(f"| {images[0]}/{images[1]} | {area:.2f} | {count}, {kind} | {' | '.join(cells)} |",
              flush=True)  # fmt: skip
    if not champion:
        print(f"\nThe lowest: {lowest:.1%}, of {sets:,} data sets in each cell.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--champion", action="store_true")
    chosen = parser.parse_args()
    main(chosen.sets, chosen.champion)
