"""The heat map's detail: how far the finest patches lie from good ones at their place.

Defard et al., PaDiM, ICPR 2021 (arXiv:2011.08785), with one covariance for all places of a
category, so that few photographs tell it. No probability reads it.
"""

from collections.abc import Iterator

import keras
import numpy as np

from twinhead.model import memory, readings, stacking
from twinhead.model.detector import DETAIL_MAP, FOLDS
from twinhead.model.readings import DETAIL
from twinhead.model.training_data import Data

LEAST_VARIANCE = 1e-3
"""In each direction a patch of the finest grid varies by this share of a channel's mean variance
more: where good ones hardly do, rounding would tell."""
PHOTOGRAPHS = 500
"""At most so many good ones of a category tell what its finest grid shows: a bound on time."""


def fit(
    model: keras.Model, given: Data, train: np.ndarray, fold: np.ndarray, alone: np.ndarray
) -> None:
    """Set what good patches of the finest grid are like at each place, and what is usual of them.

    A photograph is compared with the places' means of the other folds.
    """
    layer = model.get_layer(f"{DETAIL}_distance")
    mean = np.zeros(layer.mean.shape, np.float16)
    whitening = np.zeros(layer.whitening.shape, np.float32)
    height, width = mean.shape[1:3]
    ring = readings.rings(height, width, readings.RINGS[DETAIL])
    level = np.ones((given.categories, readings.RINGS[DETAIL]), np.float32)
    reading = np.full(len(train), np.nan)
    for category in range(given.categories):
        own = given.category[train] == category
        good = own & (given.defective[train] == 0)
        photographs = np.flatnonzero(good if good.any() else own)
        if not len(photographs):
            continue
        among = np.linspace(0, len(photographs) - 1, min(len(photographs), PHOTOGRAPHS))
        photographs = photographs[np.rint(among).astype(int)]
        rows, parts = train[photographs], fold[photographs]
        mean[category], others = _means_of_places(given, rows, parts)
        whitening[category] = _whitening_of_places(given, rows, parts, others)
        if (judged := ~alone[photographs]).any():
            found = np.concatenate(
                [
                    np.sqrt(((apart @ whitening[category]) ** 2).mean(axis=-1))
                    for apart in _from_places(given, rows[judged], parts[judged], others)
                ]
            )
            of_rings = readings.ring_levels(found, ring)
            level[category, : len(of_rings)] = of_rings
            top = readings.top_mean(found / level[category][ring], readings.SHARE[DETAIL])
            reading[photographs[judged]] = np.log(np.maximum(top, 1e-6))
    layer.mean.assign(mean)
    layer.whitening.assign(whitening)
    model.get_layer(f"{DETAIL}_level").level.assign(level)
    usual = stacking.fit_levels(
        reading, given.category[train], given.defective[train], given.categories
    )
    model.get_layer(f"{DETAIL}_reading").assign(*usual)


def _means_of_places(
    given: Data, rows: np.ndarray, fold: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What photographs show on average at each place of the finest grid.

    Of all, (height, width, channels), and of those outside each fold, (FOLDS, height, width,
    channels), both float32. Where all lie in one fold, nobody else tells how a place varies: then
    all places have one mean.
    """
    finest, count = given.maps[DETAIL_MAP], np.bincount(fold, minlength=FOLDS)
    total = np.zeros((FOLDS, *finest.shape[1:]))
    for part in range(FOLDS):
        own = rows[fold == part]
        for start in range(0, len(own), given.read):
            some = np.asarray(finest[own[start : start + given.read]], np.float64)
            total[part] += some.sum(axis=0)
    mean = total.sum(axis=0) / len(rows)
    if count.max() == len(rows):
        mean[:] = mean.mean(axis=(0, 1))
        return mean.astype(np.float32), np.stack([mean] * FOLDS).astype(np.float32)
    others = (total.sum(axis=0) - total) / (len(rows) - count)[:, None, None, None]
    return mean.astype(np.float32), others.astype(np.float32)


def _whitening_of_places(
    given: Data, rows: np.ndarray, fold: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """The Cholesky factor of the inverse covariance over all places: (channels, channels)."""
    channels = others.shape[-1]
    covariance, count = np.zeros((channels, channels)), len(rows) * others[0, ..., 0].size
    for apart in _from_places(given, rows, fold, others):
        flat = apart.reshape(-1, channels).astype(np.float64)
        covariance += flat.T @ flat / count
    size = np.mean(others.astype(np.float64) ** 2)
    least = LEAST_VARIANCE * np.trace(covariance) / channels + memory.LEAST_VARIATION**2 * size
    return np.linalg.cholesky(np.linalg.inv(covariance + max(least, 1e-12) * np.eye(channels)))


def _from_places(
    given: Data, rows: np.ndarray, fold: np.ndarray, others: np.ndarray
) -> Iterator[np.ndarray]:
    """Photographs' finest patches, less what the other folds show there, some at a time.

    (n, height, width, channels), float32. fold, others: as `_means_of_places` has them.
    """
    for start in range(0, len(rows), given.read):
        some = slice(start, start + given.read)
        yield np.asarray(given.maps[DETAIL_MAP][rows[some]], np.float32) - others[fold[some]]
