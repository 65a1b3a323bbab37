"""From the readings to one probability: levels of good products, weights, and the calibration."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from twinhead.model.readings import READINGS, SCORE_FLOORS

LEAST_SPREAD = 0.25
"""A category's spread of a reading counts as at least this share of the median category's."""
SHRINK_POOLED, SHRINK_OWN, SHRINK_OFFSET = 64.0, 16.0, 0.25
"""How strongly the weights are drawn to PRIOR, a category's weights and offset to those of all.

The first two were chosen by a trial with 0 to 10 labels, which docs/results.md tells of.
"""
PRIOR = np.array([0.0, 1.0, 0.5, 0.0])
"""The readings' weights of a category without labelled defects."""
LEAST = np.array([0.0, 0.2, 0.0, 0.0])
"""The readings' weights are at least so large: the memory never falls silent."""
GOOD_ONLY_OFFSET = -3.0
"""Without defects, a probability of 0.5 is a memory's reading of three spreads above good."""


@dataclass(frozen=True)
class Judgement:
    """What makes a probability of the readings, by category."""

    mean: np.ndarray
    spread: np.ndarray
    """(categories, readings), of good images."""
    weight: np.ndarray
    """(categories, readings)."""
    slope: np.ndarray
    """(categories,): one for all that have labelled defects, 1 for the others."""
    offset: np.ndarray
    """(categories,)."""

    def standardised(self, values: np.ndarray, category: np.ndarray) -> np.ndarray:
        """Readings in spreads of good images, (n, readings); one that nobody gave is usual."""
        found = np.nan_to_num((values - self.mean[category]) / self.spread[category])
        for place, name in enumerate(READINGS):
            found[:, place] = np.maximum(found[:, place], SCORE_FLOORS.get(name, -np.inf))
        return found

    def score(self, values: np.ndarray, category: np.ndarray) -> np.ndarray:
        return (self.standardised(values, category) * self.weight[category]).sum(axis=1)

    def probability(self, values: np.ndarray, category: np.ndarray) -> np.ndarray:
        return expit(self.slope[category] * self.score(values, category) + self.offset[category])


def judge(
    values: np.ndarray, category: np.ndarray, defective: np.ndarray, labelled: np.ndarray
) -> Judgement:
    """Fit levels, weights and calibration to readings: (n, readings), NaN where nobody gave one.

    labelled: (categories,), bool, which have labelled defects, here or in a fold that is left out.
    The others are judged as if there were no labels at all: what other products' defects look like
    says little of theirs.
    """
    categories = len(labelled)
    of_readings = [fit_levels(column, category, defective, categories) for column in values.T]
    mean, spread = (np.stack(part, axis=1) for part in zip(*of_readings, strict=True))
    found = Judgement(
        mean,
        spread,
        weight=np.tile(PRIOR, (categories, 1)),
        slope=np.ones(categories),
        offset=np.full(categories, GOOD_ONLY_OFFSET),
    )
    if not (defective[labelled[category]] == 0).any():  # they have defects alone
        labelled = np.ones(categories, bool)
    taught = labelled[category]
    category, truth = category[taught], defective[taught]
    if len(set(truth)) < 2:
        return found
    standardised = found.standardised(values[taught], category)
    weight = fit_weights(standardised, category, truth, categories)
    found = replace(found, weight=np.where(labelled[:, None], weight, PRIOR))
    slope, offset = fit_platt(found.score(values[taught], category), category, truth, categories)
    return replace(
        found,
        slope=np.where(labelled, slope, 1.0),
        offset=np.where(labelled, offset, GOOD_ONLY_OFFSET),
    )


def fit_levels(
    values: np.ndarray, category: np.ndarray, defective: np.ndarray, categories: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of each category's good images, or else all of its: (categories,) each.

    A category without any takes the median category's.
    """
    mean, spread = np.full(categories, np.nan), np.full(categories, np.nan)
    known = np.isfinite(values)
    for number in range(categories):
        own = known & (category == number)
        good = values[own & (defective == 0)] if (own & (defective == 0)).any() else values[own]
        if len(good):
            mean[number] = good.mean()
        if len(good) > 1:
            spread[number] = good.std()
    middle, usual = (
        float(np.nanmedian(of)) if np.isfinite(of).any() else other
        for of, other in ((mean, 0.0), (spread, 1.0))
    )
    spread = np.where(np.isnan(spread), usual, np.maximum(spread, LEAST_SPREAD * usual))
    return np.where(np.isnan(mean), middle, mean), np.maximum(spread, 1e-6)


def fit_weights(
    values: np.ndarray, category: np.ndarray, defective: np.ndarray, categories: int
) -> np.ndarray:
    """Each category's weights of the readings, none negative: (categories, readings)."""
    of_all = _logistic(values, defective, PRIOR, SHRINK_POOLED)
    found = np.tile(of_all, (categories, 1))
    for number in range(categories):
        own = category == number
        if len(set(defective[own])) == 2:
            found[number] = _logistic(values[own], defective[own], of_all, SHRINK_OWN)
    return found


def _logistic(
    values: np.ndarray, truth: np.ndarray, prior: np.ndarray, strength: float
) -> np.ndarray:
    """Weights of a logistic regression, none negative, drawn to a prior: (readings,)."""

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        weight, bias = point[:-1], point[-1]
        logit, off = values @ weight + bias, weight - prior
        error = expit(logit) - truth
        cost = (np.logaddexp(0, logit) - truth * logit).sum() + strength / 2 * (off**2).sum()
        return cost, np.append(values.T @ error + strength * off, error.sum())

    start = np.append(np.maximum(prior, LEAST + 0.1), -2.0)
    limits = [(low, None) for low in LEAST] + [(None, None)]
    return minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits).x[:-1]


def fit_platt(
    score: np.ndarray, category: np.ndarray, truth: np.ndarray, categories: int
) -> tuple[float, np.ndarray]:
    """The slope, above 0, and each category's offset with which the probabilities fit best.

    An offset is drawn to that of all; a category without both kinds of images takes that.
    """
    both = [n for n in range(categories) if len(set(truth[category == n])) == 2]
    own = np.array([category == number for number in both], float).reshape(len(both), len(score))

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        slope, offset, apart = point[0], point[1], point[2:]
        logit = slope * score + offset + apart @ own
        error = expit(logit) - truth
        cost = (np.logaddexp(0, logit) - truth * logit).sum() + 1e-3 * slope**2
        cost += SHRINK_OFFSET / 2 * (apart**2).sum()
        slopes = np.array([error @ score + 2e-3 * slope, error.sum()])
        return cost, np.concatenate([slopes, own @ error + SHRINK_OFFSET * apart])

    start = np.concatenate([[1.0, -1.0], np.zeros(len(both))])
    limits = [(1e-3, None)] + [(None, None)] * (len(start) - 1)
    slope, offset, *apart = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits).x
    offsets = np.full(categories, offset)
    offsets[both] += apart
    return float(slope), offsets
