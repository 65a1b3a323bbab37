"""The rule that sets the thresholds: what counts as defective, chosen without the test images."""

import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from sklearn.metrics import precision_recall_curve

from twinhead import params

DEFAULT_THRESHOLD = 0.5
"""Where no image can choose one."""
FALSE_ALARMS = 0.02
"""The false-alarm rate where there are no defects to choose by, and none is given."""
FEWEST = 10
"""Of fewer defects the highest F1 is unsteady. In all: a false-alarm rate takes its place. Of a
category: the common threshold holds."""
REDRAWN = 40
"""Times that a category's images are drawn anew, to see how far its own threshold may be off."""
STEADY = 0.1
"""In log-odds: no threshold is taken for better known than that."""
EDGE = 1e-6
"""The log-odds of a threshold end at those of this probability, and of one less it."""


@dataclass(frozen=True)
class OperatingPoint:
    threshold: float
    """The probability from which on an image counts as defective."""
    rule: str | None
    """The rule that chose it, or None where no image could."""
    value: float | None
    """The rule's number: a rate, or the cost of a miss in false alarms."""
    lowest_false_alarm_rate: float | None
    """The lowest that so many good images can promise: one over their number plus one."""
    by_category: dict[str, float] = field(default_factory=dict)
    """The thresholds of categories that have some of their own."""
    good_only: "OperatingPoint | None" = None
    """That of the categories without labelled defects, where others have some."""
    review: tuple[float, float] | None = None
    """Between these probabilities a person's look costs less than either decision."""

    def band(self, threshold: float) -> dict[str, float]:
        """`low` and `high`, as far, in log-odds, from this threshold as from the common one."""
        assert self.review is not None
        by = _log_odds(threshold) - _log_odds(self.threshold)
        low, high = (float(expit(_log_odds(end) + by)) if by else end for end in self.review)
        return {"low": low, "high": high}

    def thresholds(self, categories: pd.Series | None, rows: pd.Index) -> pd.Series:
        """Each image's threshold; its category is the predicted one, or not known."""
        if categories is None:
            return pd.Series(self.threshold, rows)
        return categories.map(self.by_category).fillna(self.threshold).astype(float)


def choose(
    defective: np.ndarray, scores: np.ndarray, settings: params.OperatingPoint
) -> OperatingPoint:
    """Choose the threshold by images that the network was not fitted to.

    Without defects each rule becomes a false-alarm rate: the one given, or FALSE_ALARMS; with fewer
    than FEWEST, `f1` does. Where that takes more good images than there are, it becomes the lowest
    rate that these can promise.

    Args:
        defective: (n,), 0 or 1. scores: (n,), probabilities.
    """
    return by_rule(defective, scores, _answerable(settings, int(np.sum(defective))))


def _answerable(settings: params.OperatingPoint, defects: int) -> params.OperatingPoint:
    """The rule that so many defects can answer."""
    needed = {"f1": FEWEST, "recall": 1, "cost": 1}.get(settings.rule, 0)
    if defects >= needed:
        return settings
    return params.OperatingPoint(rule="false_alarm_rate", value=FALSE_ALARMS)


def by_rule(
    defective: np.ndarray, scores: np.ndarray, settings: params.OperatingPoint
) -> OperatingPoint:
    """As `choose`, by the rule that is given, however few defects there are: but one, at least."""
    defective = np.asarray(defective, bool)
    scores = np.asarray(scores, float)  # between two float32 neighbours there is no threshold
    good = np.sort(scores[~defective])
    if settings.rule == "threshold" and settings.value is not None:
        lowest = 1 / (len(good) + 1) if len(good) else None
        return OperatingPoint(settings.value, "threshold", settings.value, lowest)
    if not len(good):
        return OperatingPoint(DEFAULT_THRESHOLD, None, None, None)
    lowest = 1 / (len(good) + 1)
    rule, value, band = settings.rule, settings.value, None
    if value is None:  # f1: the one rule that takes none
        threshold = best_f1(defective, scores)
    elif rule == "false_alarm_rate":
        value = max(value, lowest)
        threshold = at_false_alarm_rate(good, value)
    elif rule == "recall":
        threshold = _just_below(scores, _at_recall(scores[defective], value))
    else:
        band = _band(defective, scores, value, settings.review) if settings.review else None
        threshold = _cheapest(defective, scores, value, band)
    return OperatingPoint(_written(threshold, scores), rule, value, lowest, review=band)


def choose_each(
    held_out: pd.DataFrame, settings: params.OperatingPoint, taught: Collection[str]
) -> OperatingPoint:
    """Choose the threshold of all images, and of each category one between that and its own.

    A category's own threshold is the common one, if that is as good for its images, or else the one
    that the rule chooses. It is drawn towards the common one, the more, the less its images tell it
    from that (empirical Bayes, Efron and Morris 1975, doi:10.2307/2285814): in log-odds, by the
    variance of its threshold when its images are drawn anew, against the variance between the
    categories. Where a category lacks two images, or groups, of a kind that the rule counts, or
    has fewer than FEWEST defects for `f1`, the common one holds.

    Categories that are not taught, beside others that are, are judged by what is usual and not by
    labels: the thresholds of each kind are chosen by themselves.

    Args:
        held_out: `defective`, `defect_probability`, `category`, and `group` where there are some,
            of images that the network was not fitted to.
        taught: the categories with labelled defects in train.
    """
    defective, own = held_out["defective"].astype(bool), held_out["category"].isin(taught)
    rest = held_out[~own & ~defective]
    if settings.rule == "threshold" or defective[own].nunique() < 2 or rest.empty:
        return _by_category(held_out, settings)
    good_only, found = (_by_category(rows, settings) for rows in (rest, held_out[own]))
    usual = {
        str(name): good_only.by_category.get(name, good_only.threshold)
        for name in rest["category"].unique()
    }
    return replace(found, by_category=found.by_category | usual, good_only=good_only)


def _by_category(held_out: pd.DataFrame, settings: params.OperatingPoint) -> OperatingPoint:
    """As `choose_each`, of categories of one kind."""
    truth = held_out["defective"].to_numpy(bool)
    scores = held_out["defect_probability"].to_numpy(float)
    common = choose(truth, scores, settings)
    if common.rule in (None, "threshold"):
        return common
    rule = settings.model_copy(update={"rule": common.rule, "value": common.value, "review": None})
    group = held_out["group"].to_numpy() if "group" in held_out else np.arange(len(scores))
    rng, found = np.random.default_rng(0), {}
    for name, rows in held_out.reset_index(drop=True).groupby("category").indices.items():
        lots = [
            [kind[group[kind] == one] for one in np.unique(group[kind])]
            for kind in (rows[truth[rows]], rows[~truth[rows]])
        ]
        if common.rule == "false_alarm_rate":  # good images alone decide
            rows, lots = rows[~truth[rows]], lots[1:]
        if min(map(len, lots)) < 2:
            continue
        own = _own(truth[rows], scores[rows], rule, common.threshold)
        drawn = []
        for _ in range(REDRAWN):
            again = [lot[place] for lot in lots for place in rng.integers(len(lot), size=len(lot))]
            redrawn = np.concatenate(again)
            drawn.append(_own(truth[redrawn], scores[redrawn], rule, common.threshold))
        found[str(name)] = rows, own, max(float(np.var(drawn)), STEADY**2)
    if len(found) < 2:  # with one category, its own is the common one
        return common
    middle = _log_odds(common.threshold)
    away = np.array([own - middle for _, own, _ in found.values()])
    error = np.array([variance for _, _, variance in found.values()])
    between = max(0.0, float(((away**2 - error) / error).sum() / (1 / error).sum()))
    shrunk = away * between / (between + error)
    chosen = {
        name: _written(float(expit(middle + by)), scores[rows])
        for by, (name, (rows, _, _)) in zip(shrunk, found.items(), strict=True)
        if by and (common.rule != "f1" or truth[rows].sum() >= FEWEST)
    }
    return replace(common, by_category=chosen)


def _own(
    defective: np.ndarray, scores: np.ndarray, rule: params.OperatingPoint, common: float
) -> float:
    """The log-odds of a category's threshold: the common one where that decides the same."""
    own = by_rule(defective, scores, rule).threshold
    same = np.array_equal(scores >= own, scores >= common)
    return _log_odds(common if same else own)


def _log_odds(threshold: float) -> float:
    return float(logit(np.clip(threshold, EDGE, 1 - EDGE)))


def _band(
    defective: np.ndarray, scores: np.ndarray, miss: float, look: float
) -> tuple[float, float] | None:
    """From where to where a person should look, if a look costs `look` false alarms (Chow 1970).

    doi:10.1109/TIT.1970.1054406. None where it never pays.
    """
    tried = np.unique(scores)
    ends = np.append(tried, np.nextafter(tried[-1], 2))
    good, bad, every = (np.sort(part) for part in (scores[~defective], scores[defective], scores))
    missed, below = np.searchsorted(bad, ends), np.searchsorted(every, ends)
    false, above = len(good) - np.searchsorted(good, ends), len(every) - below
    # A lower end costs the misses below it, and spares the looks at those; likewise the upper end.
    low = int(np.argmin(miss * missed - look * below))
    high = len(ends) - 1 - int(np.argmin((false - look * above)[::-1]))
    if not low < high:
        return None
    upper = _just_below(scores, float(ends[high])) if high < len(tried) else float(ends[high])
    return _written(_just_below(scores, float(ends[low])), scores), _written(upper, scores)


def at_false_alarm_rate(good: np.ndarray, rate: float) -> float:
    """The threshold that a further good image reaches with at most this probability.

    Split conformal prediction (Vovk et al. 2005, doi:10.1007/b106715): it lies above the ⌈(n + 1)
    (1 − rate)⌉-th of the n sorted scores.
    """
    place = math.ceil((len(good) + 1) * (1 - rate) - 1e-9)
    return float(np.nextafter(good[max(min(place, len(good)), 1) - 1], 2))


def best_f1(defective: np.ndarray, scores: np.ndarray) -> float:
    """The threshold of the highest F1: half-way, in log-odds, to the next lower score."""
    precision, recall, scored = precision_recall_curve(defective, scores)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)[:-1]
    return _just_below(scores, scored[np.flatnonzero(f1 == f1.max())[-1]])


def _at_recall(scores: np.ndarray, recall: float) -> float:
    """The highest of these scores that at least the share `recall` of them reaches."""
    ordered = np.sort(scores)[::-1]
    return float(ordered[math.ceil(recall * len(ordered) - 1e-9) - 1])


def _cheapest(
    defective: np.ndarray, scores: np.ndarray, miss: float, band: tuple[float, float] | None
) -> float:
    """The threshold at which misses, each as dear as `miss` false alarms, cost least in all.

    With a middle band it lies in there.
    """
    ends = np.unique(scores)
    ends = np.append(ends, np.nextafter(ends[-1], 2))
    good, bad = np.sort(scores[~defective]), np.sort(scores[defective])
    costs = len(good) - np.searchsorted(good, ends) + miss * np.searchsorted(bad, ends)
    if band:
        # An end of the band lies just below the score from which on it counts.
        costs[(ends < band[0]) | (np.append(0, ends[:-1]) >= band[1])] = np.inf
    place = len(ends) - 1 - int(costs[::-1].argmin())
    if place == len(ends) - 1:
        return float(ends[-1])
    return _just_below(scores, float(ends[place]))


def _just_below(scores: np.ndarray, chosen: float) -> float:
    """Half-way, in log-odds, between a score that is called defective and the next lower one."""
    below = scores[scores < chosen]
    if not len(below):
        return float(chosen) * (1 - 1e-8)
    low = below.max()
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = expit((logit(low) + logit(chosen)) / 2)
    # A probability of 0 or 1 has no finite log-odds.
    return float(middle if low < middle < chosen else (low + chosen) / 2)


def _written(threshold: float, scores: np.ndarray) -> float:
    """As `metrics/evaluate.json` will have it, so that all who read it there decide alike."""
    written = float(f"{threshold:.9g}")
    same = np.array_equal(scores >= written, scores >= threshold)
    return written if same else float(threshold)
