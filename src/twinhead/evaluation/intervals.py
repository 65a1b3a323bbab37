"""Areas under the ROC curve, and the intervals of areas, of their differences and of shares.

Images of one group (duplicates, one product, one lot) count as one draw throughout.
"""

import numpy as np
from scipy import optimize, stats

CONFIDENCE = 0.95
AT_ONCE = 4_000_000
"""Weights of images that are in memory at a time."""
EDGE = 1e-9
"""Areas that are this close are the same."""


def auroc(
    defective: np.ndarray,
    scores: np.ndarray,
    categories: np.ndarray,
    resamples: int,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, float | None]:
    """Area under the ROC curve, pooled and as the mean over the categories, with 95% intervals.

    The area is the share of (defective, good) pairs that the scores put in the right order, ties
    counting half (Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747). An interval holds
    two others. One is percentiles of a bootstrap that redraws whole groups: all together for the
    pooled area, within each category for the mean. Where no pair is in the wrong order, each draw
    is like the other; so the second is the set of all areas from which the measured one is within
    1.96 standard errors, by their own variance, with as many images as groups (Newcombe 2006,
    doi:10.1002/sim.2324). `benchmarks/coverage.py` shows how often they hold the truth. Categories
    that lack one of the two kinds don't count in the mean; what is not defined is None.

    Args:
        defective, scores, categories, groups: (n,) each; without groups each image is its own.
        resamples: how many bootstrap draws, or 0 for no intervals.
    """
    defective, scores = np.asarray(defective, bool), np.asarray(scores, float)
    categories = np.asarray(categories)
    groups = np.arange(len(scores)) if groups is None else np.asarray(groups)
    rng = np.random.default_rng(seed)
    strata = [categories == name for name in np.unique(categories)]
    strata = [own for own in strata if 0 < defective[own].sum() < own.sum()]
    mean = [(defective[own], scores[own], groups[own]) for own in strata]
    pooled = [(defective, scores, groups)] if 0 < defective.sum() < len(defective) else []
    return _interval("auroc", pooled, resamples, rng) | _interval(
        "auroc_category_mean", mean, resamples, rng
    )


def _interval(
    name: str,
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    resamples: int,
    rng: np.random.Generator,
) -> dict[str, float | None]:
    """The mean area of some parts, each (defective, scores, groups), with its interval."""
    if not parts:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    area = float(np.mean([_areas(*part[:2], np.ones((1, len(part[0]))))[0] for part in parts]))
    if not resamples:
        return {name: area}
    drawn = np.mean([_redrawn(*part, resamples, rng) for part in parts], axis=0)
    low, high = np.percentile(drawn, (50 - 50 * CONFIDENCE, 50 + 50 * CONFIDENCE))
    least, most = _plausible(area, [_effective(part[0], part[2]) for part in parts])
    return {
        name: area,
        f"{name}_low": float(min(low, least)),
        f"{name}_high": float(max(high, most)),
    }


def _areas(defective: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The area where image i counts weights[d, i] times, for each of the draws d: (draws,)."""
    order = np.argsort(scores, kind="stable")
    first = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # of equal scores
    bad, good = (
        np.add.reduceat(weights[:, order] * kind[order], first, axis=1)
        for kind in (defective, ~defective)
    )
    below = np.cumsum(good, axis=1) - good / 2  # ties count half
    return (bad * below).sum(axis=1) / (bad.sum(axis=1) * good.sum(axis=1))


def _redrawn(
    defective: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    resamples: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """The areas of bootstrap draws of whole groups: (resamples,).

    Groups of good images, of defective ones and of both are drawn separately, so that no draw lacks
    one of the two kinds.
    """
    group = np.unique(groups, return_inverse=True)[1]
    kinds = np.zeros(group.max() + 1, int)
    np.bitwise_or.at(kinds, group, np.where(defective, 2, 1))
    drawn = []
    step = max(1, AT_ONCE // len(scores))
    for start in range(0, resamples, step):
        draws = min(step, resamples - start)
        times = np.zeros((draws, len(kinds)))
        for kind in np.unique(kinds):
            own = np.flatnonzero(kinds == kind)
            times[:, own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), draws)
        drawn.append(_areas(defective, scores, times[:, group]))
    return np.concatenate(drawn)


def _effective(defective: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """How many independent images the defective and the good ones are worth (Kish 1965)."""
    sizes = [np.unique(groups[kind], return_counts=True)[1] for kind in (defective, ~defective)]
    return tuple(float(size.sum() ** 2 / (size**2).sum()) for size in sizes)  # type: ignore[return-value]


def _plausible(area: float, counts: list[tuple[float, float]]) -> tuple[float, float]:
    """The lowest and the highest mean area from which the measured one is not too far.

    counts: of each category, the numbers of defective and of good images.
    """
    z = stats.norm.ppf((1 + CONFIDENCE) / 2)

    def excess(true: float) -> float:
        variance = sum(_variance(true, *pair) for pair in counts) / len(counts) ** 2
        return (area - true) ** 2 - z**2 * variance

    # At 0 and at 1 there is no variance, so these solve it too; the root wanted lies between.
    low = 0.0 if area < EDGE else optimize.brentq(excess, 0, area - EDGE)
    high = 1.0 if area > 1 - EDGE else optimize.brentq(excess, area + EDGE, 1)
    return float(low), float(high)


def _variance(area: float, defective: float, good: float) -> float:
    """Of a measured area whose true value is `area` (Hanley and McNeil 1982; Newcombe 2006)."""
    half = (defective + good) / 2 - 1
    spread = 1 + half * (1 - area) / (2 - area) + half * area / (1 + area)
    return area * (1 - area) * spread / (defective * good)


def advantage(
    defective: np.ndarray,
    scores: np.ndarray,
    others: np.ndarray,
    categories: np.ndarray,
    groups: np.ndarray | None = None,
    confidence: float = CONFIDENCE,
) -> dict[str, float | None]:
    """How much larger the mean area over the categories is by `scores` than by `others`.

    Returns `advantage`, with an interval of that confidence; None where there is no such area. The
    variance of the difference is that of the images' paired shares of it (DeLong et al. 1988,
    doi:10.2307/2531595), summed by group (Obuchowski 1997, doi:10.2307/2533958). The interval is
    Student's: its degrees of freedom count the groups that the two scores place differently, of
    good or of defective ones the fewer, since two images can't show much. All arrays: (n,).
    """
    defective, categories = np.asarray(defective, bool), np.asarray(categories)
    groups = np.arange(len(defective)) if groups is None else np.asarray(groups)
    differences, variances, moved = [], [], np.zeros(2, int)
    for name in np.unique(categories):
        own = categories == name
        if not 0 < defective[own].sum() < own.sum():
            continue
        shares = _shares(defective[own], scores[own]) - _shares(defective[own], others[own])
        bad, group = defective[own], np.unique(groups[own], return_inverse=True)[1]
        difference, parts = shares[bad].mean(), np.zeros(len(shares))
        for kind in (bad, ~bad):
            count = len(np.unique(group[kind]))
            # Of a single group nothing says how much it varies: it may be by the whole of it.
            apart = shares[kind] - (difference if count > 1 else 0)
            parts[kind] = apart / kind.sum() * np.sqrt(count / max(count - 1, 1))
        variances.append((np.bincount(group, weights=parts) ** 2).sum())
        differences.append(difference)
        moved += [len(np.unique(group[kind & (shares != 0)])) for kind in (bad, ~bad)]
    if not differences:
        return dict.fromkeys(("advantage", "advantage_low", "advantage_high"))
    found = float(np.mean(differences))
    free = moved.min() - 1
    if free < 1:
        reach = 0.0 if not moved.any() else 2.0
    else:
        error = np.sqrt(np.sum(variances)) / len(variances)
        reach = float(stats.t.ppf((1 + confidence) / 2, free) * error)
    return {
        "advantage": found,
        "advantage_low": max(-1.0, found - reach),
        "advantage_high": min(1.0, found + reach),
    }


def _shares(defective: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Of each image: the share of images of the other kind that stand on the right side of it."""
    scores = np.asarray(scores, float)
    shares = np.empty(len(scores))
    for kind, sign in ((defective, 1), (~defective, -1)):
        others = np.sort(sign * scores[~kind])
        below = np.searchsorted(others, sign * scores[kind], "left")
        upto = np.searchsorted(others, sign * scores[kind], "right")
        shares[kind] = (below + upto) / (2 * len(others))
    return shares


def share(
    which: np.ndarray, groups: np.ndarray | None = None
) -> tuple[float | None, float | None, float | None]:
    """The share of images that are so, with a 95% interval that holds at least as often as it says.

    Clopper and Pearson's (1934, doi:10.1093/biomet/26.4.404), of as many images as there are
    groups. which: (n,), bool; of no image nothing is known.
    """
    which = np.asarray(which, bool)
    if not len(which):
        return None, None, None
    sizes = np.unique(np.arange(len(which)) if groups is None else groups, return_counts=True)[1]
    images = float(sizes.sum() ** 2 / (sizes**2).sum())
    found = float(which.mean())
    yes, tail = found * images, (1 - CONFIDENCE) / 2
    low = 0.0 if found == 0 else float(stats.beta.ppf(tail, yes, images - yes + 1))
    high = 1.0 if found == 1 else float(stats.beta.ppf(1 - tail, yes + 1, images - yes))
    return found, low, high
