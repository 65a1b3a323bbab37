"""The rule that sets the threshold: what counts as defective, chosen without the test images."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from sklearn.metrics import precision_recall_curve

from twinhead import params

DEFAULT_THRESHOLD = 0.5
"""Where no image can choose one."""
FALSE_ALARMS = 0.02
"""The false-alarm rate where there are no defects to choose by, and none is given."""


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


def choose(
    defective: np.ndarray, scores: np.ndarray, settings: params.OperatingPoint
) -> OperatingPoint:
    """Choose the threshold by images that the network was not fitted to.

    Without defects each rule becomes a false-alarm rate: the one given, or FALSE_ALARMS. Where that
    takes more good images than there are, it becomes the lowest rate that these can promise.

    Args:
        defective: (n,), 0 or 1. scores: (n,), probabilities.
    """
    defective = np.asarray(defective, bool)
    scores = np.asarray(scores, float)  # between two float32 neighbours there is no threshold
    good = np.sort(scores[~defective])
    if not len(good):
        return OperatingPoint(DEFAULT_THRESHOLD, None, None, None)
    lowest = 1 / (len(good) + 1)
    rule, value = settings.rule, settings.value
    if not defective.any() and rule != "false_alarm_rate":
        rule, value = "false_alarm_rate", FALSE_ALARMS
    if value is None:  # f1: the one rule that takes none
        threshold = best_f1(defective, scores)
    elif rule == "false_alarm_rate":
        value = max(value, lowest)
        threshold = at_false_alarm_rate(good, value)
    elif rule == "recall":
        threshold = _just_below(scores, _at_recall(scores[defective], value))
    else:
        threshold = _cheapest(defective, scores, value)
    return OperatingPoint(_written(threshold, scores), rule, value, lowest)


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


def _cheapest(defective: np.ndarray, scores: np.ndarray, miss: float) -> float:
    """The threshold at which misses, each as dear as `miss` false alarms, cost least in all."""
    tried = np.unique(scores)[::-1]
    good, bad = np.sort(scores[~defective]), np.sort(scores[defective])
    false = len(good) - np.searchsorted(good, tried)
    missed = np.searchsorted(bad, tried)
    costs = false + miss * missed
    if miss * len(bad) < costs.min():
        return float(np.nextafter(tried[0], 2))
    return _just_below(scores, tried[int(costs.argmin())])


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
