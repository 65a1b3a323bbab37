"""Fit the readings: the memory from good images, the rest from labelled defects, by cross-fitting.

What was fitted to an image says little of it. So the training images are cut into folds, each is
read by what the others have given, and from these readings come the levels of good products, the
weights and the calibration.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
from sklearn.covariance import ledoit_wolf

from twinhead.dataset import splits
from twinhead.errors import InputError
from twinhead.model import detail, heads, memory, patch_learning, readings, stacking
from twinhead.model.detector import (
    COARSE_MAP,
    FINE_MAPS,
    FOLDS,
    JOINT,
    SEEN_EACH,
    SEEN_JOINT,
    TINT,
    UNUSUAL,
    UNUSUAL_UNITS,
    WIDTHS,
    pooled_place,
)
from twinhead.model.moments import Moments
from twinhead.model.readings import COARSE, FINE, LEARNED, PEAK, POOLED, READINGS
from twinhead.model.training_data import Data

LEAST_DEVIATION = 1e-3
"""A channel's spread counts as that much more: a constant one says nothing."""
SHARES = {FINE: (0.5, 1.0), COARSE: (1.0,)}
"""How much each map of a memory's patches counts: the finer one half."""
LEAST_CHANGE = 0.05
"""So much of its spread over a photograph's positions may a pooled channel change in any product.

Else products that are all alike would be unknown after a change of light that nobody sees.
"""
LEAST_TINT = 0.005
"""The chromaticity of any product varies by at least half a percent of a colour."""
TOLERATED_CHANGE = 0.5
"""A tolerated change adds so much Mahalanobis distance, where a usual photograph has about 1.

Twice the change adds twice as much. Wholly free of charge, it would hide some other products.
"""
FEWEST = 10
"""Good photographs of a category that tell how its pooled values go together, and its tint."""


@dataclass(frozen=True)
class Schedule:
    """How the pooled head was trained, to train it again without a fold."""

    epochs: int
    batch_size: int
    learning_rate: float
    seed: int


def fit(model: keras.Model, given: Data, changes: np.ndarray, schedule: Schedule) -> pd.DataFrame:
    """Give a network's readings their weights, in place; its pooled head is trained already.

    changes: of the pooled features, that make no photograph unknown: (categories, kinds, values),
    float32, as `nuisance.changes` gives them; `kinds` may be 0.

    Returns a row for each training image, its index the image: `fold`, the readings that the other
    folds gave it, their `score`, `defect_probability`, and how `unusual` it is. The same arguments
    give the same weights.
    """
    train = np.flatnonzero(given.split == splits.TRAIN)
    fold = _folds(given, train, schedule.seed)
    learns = bool(given.defective[train].any())
    alone = _alone(given, train, fold)
    fine = _memory(model, given, train, fold, alone, FINE)
    coarse = _memory(model, given, train, fold, alone, COARSE)
    _patch_statistics(model, given, train, fine)
    detail.fit(model, given, train, fold, alone)
    table = pd.DataFrame({"fold": fold}, index=train)
    table[FINE] = np.log(readings.top_mean(fine, readings.SHARE[FINE]))
    table[COARSE] = np.log(readings.top_mean(coarse, readings.SHARE[COARSE]))
    table[PEAK] = np.log(readings.top_mean(fine, 0))
    table.loc[alone, [FINE, COARSE, PEAK]] = np.nan
    table[POOLED], table["unusual"] = _pooled(model, given, changes, train, fold, alone, schedule)
    tint = UNUSUAL_UNITS[TINT] * _tint(model, given, train, fold)
    table["unusual"] = np.where(alone, 1.0, np.maximum(table["unusual"], tint))
    table[LEARNED] = 0.0
    if learns:
        table[LEARNED] = patch_learning.fit(model, given, train, fold, fine, schedule.seed)
    _combine(model, given, table)
    return table


def check_groups(group: np.ndarray) -> None:
    """Raise InputError where the training images, of these groups, are too few to cross-fit."""
    if (count := len(np.unique(group))) < FOLDS:
        raise InputError(
            f"the train split holds too few images that differ: {count}, where duplicates and lots"
            f" count once; cross-fitting needs {FOLDS}"
        )


def _folds(given: Data, train: np.ndarray, seed: int) -> np.ndarray:
    """Deal the groups out to the folds, by category and kind: (training images,), integers.

    Raises InputError where there are fewer groups than folds.
    """
    check_groups(given.group[train])
    labels, group = np.unique(given.group[train], return_inverse=True)
    rng, fold = np.random.default_rng(seed), np.full(len(labels), -1)
    strata = given.category[train] * 2 + given.defective[train]
    turn = int(rng.integers(FOLDS))
    for stratum in np.unique(strata):
        for number in rng.permutation(np.unique(group[strata == stratum])):
            if fold[number] < 0:
                fold[number] = turn % FOLDS
                turn += 1
    return fold[group]


def _alone(given: Data, train: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Which training images no other fold can judge: (training images,), bool.

    All good images of their category stand in their own fold; what the memory holds of them would
    be compared with itself.
    """
    category, good = given.category[train], given.defective[train] == 0
    found = np.zeros(len(train), bool)
    for number in range(given.categories):
        own = category == number
        reference = own & good if (own & good).any() else own
        for part in range(FOLDS):
            found |= own & (fold == part) & (not (reference & (fold != part)).any())
    return found


def _memory(
    model: keras.Model,
    given: Data,
    train: np.ndarray,
    fold: np.ndarray,
    alone: np.ndarray,
    name: str,
) -> np.ndarray:
    """Choose the memory of the fine or the coarse patches, their units and the rings' levels.

    Returns each training image's distances from the memory of the other folds, over the rings'
    levels: (training images, height, width), float32. Where it stands `alone`, they are usual ones.
    """
    layer, scaled = model.get_layer(f"{name}_distance"), model.get_layer(f"{name}_patches")
    height, width = scaled.output.shape[1:3]
    ring = readings.rings(height, width, readings.RINGS[name])
    found = np.empty((len(train), height, width), np.float32)
    memories, scales = [], np.ones(scaled.scale.shape, np.float32)
    level = np.ones((given.categories, readings.RINGS[name]), np.float32)
    for category in range(given.categories):
        own = given.category[train] == category
        good = own & (given.defective[train] == 0)
        good = good if good.any() else own
        if not own.any():
            memories.append(np.zeros((1, scaled.output.shape[-1]), np.float32))
            continue
        scales[category] = _units(model, given, train[good], name)
        memories.append(
            memory.fit(_patches(model, given, train[good], name, scales[category]), layer.capacity)
        )
        for part in range(FOLDS):
            of_others = good & (fold != part)
            kept = memories[-1]
            if 0 < of_others.sum() < good.sum():
                rows = train[of_others]
                patches = _patches(model, given, rows, name, scales[category])
                kept = memory.fit(patches, layer.capacity)
            places = np.flatnonzero(own & (fold == part))
            patches = _patches(model, given, train[places], name, scales[category])
            for place, of_photograph in zip(places, patches, strict=True):
                found[place] = memory.distances(of_photograph, kept).reshape(height, width)
        if (judged := good & ~alone).any():
            usual = readings.ring_levels(found[judged], ring)
            level[category, : len(usual)] = usual
        found[own] /= level[category][ring]
    found[alone] = np.median(found[~alone]) if (~alone).any() else 1.0
    layer.assign(memories)
    scaled.scale.assign(scales)
    model.get_layer(f"{name}_level").level.assign(level)
    return np.maximum(found, 1e-6)


def _maps(model: keras.Model, given: Data, rows: np.ndarray, name: str) -> list[np.ndarray]:
    """What a memory's patches are made of: (rows, height, width, channels) each, float32."""
    if name == COARSE:
        return [np.asarray(given.maps[COARSE_MAP][rows], np.float32)]
    on_grid = model.get_layer("same_grid")(
        [np.asarray(given.maps[stage][rows]) for stage in FINE_MAPS]
    )
    return [np.asarray(x) for x in on_grid]


def _units(model: keras.Model, given: Data, rows: np.ndarray, name: str) -> np.ndarray:
    """One over the root of each map's total variance, so that all count alike: (maps,), float32."""
    share = np.array(SHARES[name])
    moments = [Moments(1, x.shape[-1]) for x in _maps(model, given, rows[:1], name)]
    for start in range(0, len(rows), given.read):
        maps = _maps(model, given, rows[start : start + given.read], name)
        for moment, x in zip(moments, maps, strict=True):
            flat = x.reshape(-1, x.shape[-1])
            moment.add(flat, np.zeros(len(flat), int))
    units = []
    for moment in moments:
        _, mean, deviation = moment.joined([0])
        spread, size = np.sqrt((deviation**2).sum()), np.sqrt((mean**2).sum())
        units.append(max(spread, memory.LEAST_VARIATION * size, 1e-6))
    return (share / np.array(units)).astype(np.float32)


def _patches(
    model: keras.Model, given: Data, rows: np.ndarray, name: str, scale: np.ndarray
) -> Iterator[np.ndarray]:
    """What the memory compares of one photograph after the other: (patches, width), float32."""
    for start in range(0, len(rows), given.read):
        maps = _maps(model, given, rows[start : start + given.read], name)
        joined = np.concatenate([x * unit for x, unit in zip(maps, scale, strict=True)], axis=-1)
        for patches in joined:
            # As the network keeps them.
            yield patches.reshape(-1, patches.shape[-1]).astype(np.float16).astype(np.float32)


def _patch_statistics(
    model: keras.Model, given: Data, train: np.ndarray, apart: np.ndarray
) -> None:
    """Standardise the patch networks' inputs by good patches of each category."""
    near, spread = np.zeros(given.categories), np.ones(given.categories)
    of_maps = {
        name: [np.zeros((given.categories, width)), np.ones((given.categories, width))]
        for name, width in ((FINE, sum(WIDTHS[x] for x in FINE_MAPS)), (COARSE, WIDTHS[COARSE_MAP]))
    }
    for category in range(given.categories):
        own = given.category[train] == category
        good = own & (given.defective[train] == 0)
        good = good if good.any() else own
        if not good.any():
            continue
        for name, (mean, scale) in of_maps.items():
            moments = Moments(1, mean.shape[1])
            for start in range(0, int(good.sum()), given.read):
                rows = train[good][start : start + given.read]
                patches = np.concatenate(_maps(model, given, rows, name), axis=-1)
                patches = patches.reshape(-1, patches.shape[-1])
                moments.add(patches, np.zeros(len(patches), int))
            _, mean[category], own_spread = moments.joined([0])
            scale[category] = own_spread + LEAST_DEVIATION
        near[category] = apart[good].mean()
        spread[category] = apart[good].std() + LEAST_DEVIATION
    model.get_layer("patch_deviation").assign(*of_maps[FINE])
    model.get_layer("coarse_deviation").assign(*of_maps[COARSE])
    model.get_layer("distance_deviation").assign(near, spread)


def _pooled(
    model: keras.Model,
    given: Data,
    changes: np.ndarray,
    train: np.ndarray,
    fold: np.ndarray,
    alone: np.ndarray,
    schedule: Schedule,
) -> tuple[np.ndarray, np.ndarray]:
    """What the other folds' references and pooled head say of the training images.

    Returns the logits, 0 where there are no defects to learn from, and how unusual each photograph
    is by its pooled values, (training images,) both. Sets what the network compares these with.
    """
    shared, final = model.get_layer(heads.SHARED), model.get_layer(heads.DEVIATION)
    unusual = model.get_layer("unusual")
    each, joint = (slice(*pooled_place(name)) for name in (SEEN_EACH, SEEN_JOINT))
    category, defective = given.category[train], given.defective[train]
    group = Moments.group(category, defective)
    logits, size, mahalanobis = np.zeros((3, len(train)))
    telling = _telling(given, train)
    deviation = np.empty((len(train), final.mean.shape[1]), np.float32)  # the largest array here
    for part in range(FOLDS):
        fitted, own = fold != part, fold == part
        moments = Moments(given.categories, given.pooled.shape[-1])
        for some, whole in _pooled_features(given, train, shared):
            moments.add(whole[fitted[some]], group[some][fitted[some]])
        mean, scale = heads.good_statistics(moments)
        _fill_deviation(given, train, shared, mean, scale, deviation)
        size[own] = np.sqrt((deviation[own, each] ** 2).mean(axis=1))
        white = _whitening(
            deviation[fitted, joint],
            category[fitted],
            defective[fitted],
            _tolerance(changes, shared, mean, scale, joint),
            telling,
        )
        mahalanobis[own] = _distances(deviation[own, joint], category[own], white)
        if defective.any():
            logits[own] = _without(deviation, defective, fitted, own, schedule, part)
    judged = (defective == 0) & ~alone
    of_all = np.median(size[judged]) if judged.any() else np.median(size)
    usual = np.full(given.categories, of_all)
    for number in range(given.categories):
        if len(good := size[judged & (category == number)]):
            usual[number] = np.median(good)
    mean, scale = np.asarray(final.mean), np.asarray(final.scale)
    # A usual photograph, changed in the worst of the tolerated ways, lies at the limit.
    change = (_in_deviations(changes, shared, scale, each) ** 2).mean(axis=2)
    worst = np.sqrt(usual**2 + change.max(axis=1, initial=0))
    usual = np.maximum(usual, worst / UNUSUAL)
    unusual.usual.assign(usual[:, None])
    _fill_deviation(given, train, shared, mean, scale, deviation)
    tolerance = _tolerance(changes, shared, mean, scale, joint)
    white = _whitening(deviation[:, joint], category, defective, tolerance, telling)
    model.get_layer(JOINT).whitening.assign(white)
    return logits, np.maximum(size / usual[category], UNUSUAL_UNITS[JOINT] * mahalanobis)


def _pooled_features(
    given: Data, train: np.ndarray, shared: heads.Standardised
) -> Iterator[tuple[slice, np.ndarray]]:
    """The training images' pooled features as `shared` gives them, some at a time."""
    for start in range(0, len(train), given.read):
        some = slice(start, start + given.read)
        yield some, np.asarray(shared(np.asarray(given.pooled[train[some]])[:, 0]))


def _fill_deviation(
    given: Data,
    train: np.ndarray,
    shared: heads.Standardised,
    mean: np.ndarray,
    scale: np.ndarray,
    found: np.ndarray,
) -> None:
    """Fill `found`, (images, values), with features in spreads of their category's good ones.

    mean, scale: of good photographs' features as `shared` gives them, (categories, values).
    """
    category = given.category[train]
    for some, whole in _pooled_features(given, train, shared):
        found[some] = (whole - mean[category[some]]) / scale[category[some]]


def _tolerance(
    changes: np.ndarray,
    shared: heads.Standardised,
    mean: np.ndarray,
    scale: np.ndarray,
    joint: slice,
) -> np.ndarray:
    """What the values of `joint` may change by in any product, as covariances in the deviations.

    (categories, values, values). Each value by LEAST_CHANGE of its channel's spread over a
    photograph's positions; all of them together by each of the changes, (categories, kinds, pooled
    values), so that one of these lies TOLERATED_CHANGE from where it was. mean, scale: as for
    `_fill_deviation`. The values of `joint` are a map's means, and then its spreads over the
    positions.
    """
    of_all, spread_of_all = np.asarray(shared.mean)[joint], np.asarray(shared.scale)[joint]
    typical = mean[:, joint] * spread_of_all + of_all
    within = typical[:, typical.shape[1] // 2 :]
    unit = scale[:, joint] * spread_of_all
    least = LEAST_CHANGE * np.tile(within, 2) / unit + LEAST_DEVIATION
    # With the covariance v·vᵀ alone, v's squared distance over the number of values is 1 over that.
    together = _in_deviations(changes, shared, scale, joint)
    together /= TOLERATED_CHANGE * np.sqrt(together.shape[-1])
    return np.stack(
        [np.diag(own**2) + kinds.T @ kinds for own, kinds in zip(least, together, strict=True)]
    )


def _in_deviations(
    changes: np.ndarray, shared: heads.Standardised, scale: np.ndarray, place: slice
) -> np.ndarray:
    """Changes of the pooled features in spreads of good ones: (categories, kinds, values there).

    scale: as for `_fill_deviation`.
    """
    unit = scale[:, place] * np.asarray(shared.scale)[place]
    return changes[:, :, place] / unit[:, None]


def _telling(given: Data, train: np.ndarray) -> np.ndarray:
    """Which categories have FEWEST good photographs or more: (categories,), bool."""
    good = train[given.defective[train] == 0]
    return np.bincount(given.category[good], minlength=given.categories) >= FEWEST


def _whitening(
    deviation: np.ndarray,
    category: np.ndarray,
    defective: np.ndarray,
    tolerance: np.ndarray,
    telling: np.ndarray,
) -> np.ndarray:
    """The Cholesky factor of good photographs' inverse covariance: (categories, values, values).

    The root mean square of a deviation times it is the Mahalanobis distance over the root of the
    number of values. The covariance is shrunk (Ledoit and Wolf 2004,
    doi:10.1016/S0047-259X(03)00096-4), and the tolerance is added to it. Zeros where a category
    isn't `telling`, (categories,), bool.

    deviation: (n, values), from the mean of the category's good photographs. tolerance:
    (categories, values, values), a covariance in its units.
    """
    result = np.zeros(tolerance.shape, np.float32)
    for number, tolerated in enumerate(tolerance):
        good = (category == number) & (defective == 0)
        if telling[number] and good.any():
            known = deviation[good].astype(np.float64)
            covariance, _ = ledoit_wolf(known, assume_centered=True)
            result[number] = np.linalg.cholesky(np.linalg.inv(covariance + tolerated))
    return result


def _distances(deviation: np.ndarray, category: np.ndarray, white: np.ndarray) -> np.ndarray:
    """As the network measures them, (n,): deviation, (n, values), whitened by `_whitening`."""
    found = np.zeros(len(deviation))
    for number in np.unique(category):
        own = category == number
        found[own] = np.sqrt(((deviation[own] @ white[number]) ** 2).mean(axis=1))
    return found


def _tint(model: keras.Model, given: Data, train: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """The distance of each training image's chromaticity from good ones of the other folds.

    As the network measures it, (training images,). Sets what the network compares with.
    """
    values = np.asarray(given.chromaticity[train], np.float32)
    category, defective = given.category[train], given.defective[train]
    tolerance = np.tile(LEAST_TINT**2 * np.eye(values.shape[1]), (given.categories, 1, 1))
    telling = _telling(given, train)
    found = np.zeros(len(train))

    def usual(known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean = np.zeros((given.categories, values.shape[1]), np.float32)
        for number in np.unique(category[known]):
            mean[number] = values[known & (category == number)].mean(axis=0)
        apart = (values - mean[category])[known]
        return mean, _whitening(apart, category[known], defective[known], tolerance, telling)

    good = defective == 0
    for part in range(FOLDS):
        own, (mean, white) = fold == part, usual(good & (fold != part))
        found[own] = _distances(values[own] - mean[category[own]], category[own], white)
    mean, white = usual(good)
    layer = model.get_layer(TINT)
    layer.mean.assign(mean)
    layer.whitening.assign(white)
    return found


def _without(
    deviation: np.ndarray,
    defective: np.ndarray,
    fitted: np.ndarray,
    own: np.ndarray,
    schedule: Schedule,
    part: int,
) -> np.ndarray:
    """Train a pooled head on the fitted images; return its logits of the fold that it lacks."""
    keras.utils.set_random_seed(schedule.seed + part)
    head = keras.Sequential(
        [keras.Input(deviation.shape[1:]), keras.layers.Dense(1, kernel_initializer="zeros")]
    )
    steps = -(-int(fitted.sum()) // schedule.batch_size) * schedule.epochs
    rate = keras.optimizers.schedules.CosineDecay(schedule.learning_rate, steps)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    head.compile(keras.optimizers.Adam(rate), loss, jit_compile=False)
    head.optimizer.build(head.trainable_variables)  # else the graph is traced twice
    head.fit(
        deviation[fitted],
        defective[fitted].astype(np.float32)[:, None],
        batch_size=schedule.batch_size,
        epochs=schedule.epochs,
        verbose=0,
    )
    return head.predict(deviation[own], batch_size=1024, verbose=0)[:, 0]


def _combine(model: keras.Model, given: Data, table: pd.DataFrame) -> None:
    """Set the levels, the weights and the calibration from the cross-fitted readings.

    Adds `score` and `defect_probability` to the table, in each fold by the levels, weights and
    calibration of the others: a threshold that is chosen by them keeps its promise. Raises
    `unusual` to what the oddest patch says, where that is more.
    """
    category, defective = given.category[table.index], given.defective[table.index]
    values, fold = table[list(READINGS)].to_numpy(float), table["fold"].to_numpy()
    labelled = np.isin(np.arange(given.categories), category[defective == 1])
    whole = stacking.judge(values, category, defective, labelled)
    for place, name in enumerate(READINGS):
        reading = model.get_layer(f"{name}_reading")
        reading.assign(whole.mean[:, place], whole.spread[:, place])
    peak = table[PEAK].to_numpy(float)
    levels = stacking.fit_levels(peak, category, defective, given.categories)
    model.get_layer(f"{PEAK}_reading").assign(*levels)
    for name in ("score", "map_score"):
        model.get_layer(name).weight.assign(whole.weight)
    calibrate = model.get_layer("defect")
    calibrate.slope.assign(whole.slope[:, None])
    calibrate.offset.assign(whole.offset[:, None])
    table["score"] = table["defect_probability"] = 0.0
    for part in range(FOLDS):
        own, others = fold == part, fold != part
        judge = stacking.judge(values[others], category[others], defective[others], labelled)
        mean, spread = stacking.fit_levels(
            peak[others], category[others], defective[others], given.categories
        )
        above = np.nan_to_num((peak[own] - mean[category[own]]) / spread[category[own]])
        table.loc[own, "unusual"] = np.maximum(table["unusual"][own], UNUSUAL_UNITS[PEAK] * above)
        table.loc[own, "score"] = judge.score(values[own], category[own])
        table.loc[own, "defect_probability"] = judge.probability(values[own], category[own])
