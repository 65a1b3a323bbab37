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
from keras import ops
from scipy.optimize import minimize
from scipy.special import expit

from twinhead.dataset import splits
from twinhead.model import detector, heads, memory, readings
from twinhead.model.detector import COMPARED, FOLDS, WIDTHS
from twinhead.model.readings import LEARNED, MEMORY, POOLED, READINGS

READ = 64
"""Photographs that are read from the stores at a time."""
BATCH, EPOCHS, RATE, DECAY = 24, 12, 2e-3, 1e-4
"""Of the patch networks' training."""
QUANTILE = 0.999
"""Of good patches' distances: the level of a ring."""
LEAST_SPREAD = 0.25
"""A category's spread of a reading counts as at least this share of the median category's."""
SHRINK_POOLED, SHRINK_OWN = 1.0, 4.0
"""How strongly the weights are drawn to (0, 1, 0), and a category's to those of all."""
GOOD_ONLY_OFFSET = -3.0
"""Without defects, a probability of 0.5 is a memory's reading of three spreads above good."""


@dataclass(frozen=True)
class Data:
    """The stored features of all images, and what is known of them; rows are the catalog's."""

    pooled: np.ndarray
    """(images, views, values), float32, or a store of it."""
    maps: dict[str, np.ndarray]
    """By name of detector.WIDTHS: (images, height, width, channels), float16, or stores of it."""
    category: np.ndarray
    """(images,), integers: each image's category; all 0 for a network without a category head."""
    defective: np.ndarray
    """(images,), 0 or 1."""
    split: np.ndarray
    """(images,), text: train, val, test or unused."""
    group: np.ndarray
    """(images,): equal for images that stay on one side."""
    masks: dict[int, np.ndarray]
    """By image: (size, size), bool."""

    @property
    def categories(self) -> int:
        return int(self.category.max()) + 1

    def grid(self) -> tuple[int, int]:
        return self.maps[COMPARED].shape[1:3]


def fit(model: keras.Model, data: Data, head: "HeadSettings", seed: int) -> pd.DataFrame:
    """Give a network's readings their weights, in place; its pooled head is trained already.

    Returns a row for each training image, its index the image: `fold`, the readings that the other
    folds gave it, their `score` and `defect_probability`. The same arguments give the same weights.
    """
    train = np.flatnonzero(data.split == splits.TRAIN)
    fold = _folds(data, train, seed)
    learns = bool(data.defective[train].any())
    apart = _memory(model, data, train, fold)
    _patch_statistics(model, data, train, apart)
    table = pd.DataFrame({"fold": fold}, index=train)
    table[MEMORY] = readings.top_mean(apart)
    table[POOLED] = table[LEARNED] = 0.0
    if learns:
        table[POOLED] = _pooled(model, data, train, fold, head, seed)
        table[LEARNED] = _patch_networks(model, data, train, fold, apart, seed)
    _combine(model, data, table, learns)
    return table


@dataclass(frozen=True)
class HeadSettings:
    """How the pooled head was trained, to train it again without a fold."""

    epochs: int
    batch_size: int
    learning_rate: float


def _folds(data: Data, train: np.ndarray, seed: int) -> np.ndarray:
    """Deal the groups out to the folds, by category and kind: (training images,), integers."""
    rng, fold = np.random.default_rng(seed), np.full(len(train), -1)
    strata = data.category[train] * 2 + data.defective[train]
    for stratum in np.unique(strata):
        turn = int(rng.integers(FOLDS))
        groups = np.unique(data.group[train[strata == stratum]])
        for group in rng.permutation(groups):
            own = data.group[train] == group
            if fold[own][0] < 0:
                fold[own] = turn % FOLDS
                turn += 1
    return fold


def _memory(model: keras.Model, data: Data, train: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Choose the memories and the rings' levels.

    Returns each training image's distances from the memory of the other folds: (training images,
    height, width), float32, over the rings' levels.
    """
    layer, levels = model.get_layer("distance"), model.get_layer("ring_level")
    ring = readings.rings(*data.grid())
    found = np.empty((len(train), *data.grid()), np.float32)
    memories, level = [], np.ones((data.categories, readings.RINGS), np.float32)
    for category in range(data.categories):
        own = data.category[train] == category
        good = own & (data.defective[train] == 0)
        good = good if good.any() else own
        if not own.any():
            memories.append(np.zeros((1, layer.width), np.float32))
            continue
        memories.append(memory.fit(_patches(data, train[good]), layer.capacity))
        for part in range(FOLDS):
            of_others = train[good & (fold != part)]
            kept = memories[-1]
            if len(of_others) and len(of_others) < good.sum():
                kept = memory.fit(_patches(data, of_others), layer.capacity)
            places = np.flatnonzero(own & (fold == part))
            for place, patches in zip(places, _patches(data, train[places]), strict=True):
                found[place] = memory.distances(patches, kept).reshape(data.grid())
        quantiles = [np.quantile(found[good][:, ring == r], QUANTILE) for r in np.unique(ring)]
        level[category, : len(quantiles)] = np.maximum(np.array(quantiles) / quantiles[-1], 1)
        found[own] /= level[category][ring]
    layer.assign(memories)
    levels.level.assign(level)
    return found


def _patches(data: Data, rows: np.ndarray) -> Iterator[np.ndarray]:
    """What the memory compares of one photograph after the other: (patches, width), float32."""
    store = data.maps[COMPARED]
    for start in range(0, len(rows), READ):
        for patches in np.asarray(store[rows[start : start + READ]], np.float32):
            yield patches.reshape(-1, patches.shape[-1])


def _patch_statistics(model: keras.Model, data: Data, train: np.ndarray, apart: np.ndarray) -> None:
    """Standardise the patch networks' inputs by good patches of each category."""
    joined = model.get_layer("patches")
    width = sum(WIDTHS.values())
    mean, scale = np.zeros((data.categories, width)), np.ones((data.categories, width))
    near, spread = np.zeros(data.categories), np.ones(data.categories)
    for category in range(data.categories):
        own = data.category[train] == category
        good = own & (data.defective[train] == 0)
        good = good if good.any() else own
        if not good.any():
            continue
        total, squares, count = np.zeros(width), np.zeros(width), 0
        rows = train[good]
        for start in range(0, len(rows), READ):
            part = rows[start : start + READ]
            patches = np.asarray(joined([np.asarray(data.maps[name][part]) for name in WIDTHS]))
            patches = patches.reshape(-1, width).astype(np.float64)
            total += patches.sum(axis=0)
            squares += (patches**2).sum(axis=0)
            count += len(patches)
        mean[category] = total / count
        scale[category] = np.sqrt(np.maximum(squares / count - mean[category] ** 2, 0)) + 1e-3
        near[category], spread[category] = apart[good].mean(), apart[good].std() + 1e-3
    model.get_layer("patch_deviation").assign(mean, scale)
    model.get_layer("distance_deviation").assign(near, spread)


def _pooled(
    model: keras.Model,
    data: Data,
    train: np.ndarray,
    fold: np.ndarray,
    settings: HeadSettings,
    seed: int,
) -> np.ndarray:
    """The pooled head's logits of the training images, each by a head that lacks its fold."""
    shared = model.get_layer(heads.SHARED)
    values, logits = np.empty((len(train), data.pooled.shape[-1]), np.float32), np.empty(len(train))
    for start in range(0, len(train), READ):
        rows = train[start : start + READ]
        values[start : start + READ] = shared(np.asarray(data.pooled[rows])[:, 0])
    category, defective = data.category[train], data.defective[train]
    for part in range(FOLDS):
        fitted, own = fold != part, fold == part
        mean, scale = heads.good_statistics(
            values[fitted], category[fitted], defective[fitted], data.categories
        )
        deviation = ((values - mean[category]) / scale[category]).astype(np.float32)
        keras.utils.set_random_seed(seed + part)
        head = keras.Sequential(
            [keras.Input((values.shape[1],)), keras.layers.Dense(1, kernel_initializer="zeros")]
        )
        steps = -(-int(fitted.sum()) // settings.batch_size) * settings.epochs
        rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        head.compile(keras.optimizers.Adam(rate), loss, jit_compile=False)
        head.fit(
            deviation[fitted],
            defective[fitted].astype(np.float32)[:, None],
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            verbose=0,
        )
        logits[own] = head.predict(deviation[own], batch_size=1024, verbose=0)[:, 0]
    return logits


class _Lessons(keras.utils.PyDataset):
    """Batches of stored maps for a patch network: shuffled by (seed, epoch), or in their order."""

    def __init__(
        self,
        data: Data,
        rows: np.ndarray,
        apart: np.ndarray,
        targets: np.ndarray | None = None,
        seed: int = 0,
    ) -> None:
        """rows, apart: images and their distances; targets: by mask, (images, height, width)."""
        super().__init__()
        self.data, self.rows, self.apart, self.targets, self.seed = data, rows, apart, targets, seed
        self.epoch = 0
        self.on_epoch_begin()

    def on_epoch_begin(self) -> None:
        self.order = np.arange(len(self.rows))
        if self.targets is not None:
            rng = np.random.default_rng((self.seed, self.epoch))
            self.order = rng.permutation(self.order)
            self.epoch += 1

    def __len__(self) -> int:
        return -(-len(self.rows) // BATCH)

    def __getitem__(self, batch: int) -> tuple:
        places = self.order[batch * BATCH : (batch + 1) * BATCH]
        rows = self.rows[places]
        given = {name: np.asarray(self.data.maps[name][rows]) for name in WIDTHS}
        given |= {"category": self.data.category[rows], "distance": self.apart[places]}
        if self.targets is None:
            return (given,)
        label = self.data.defective[rows].astype(np.float32)[:, None]
        return given, {"photograph": label, "patches": self.targets[places]}


def _patch_networks(
    model: keras.Model,
    data: Data,
    train: np.ndarray,
    fold: np.ndarray,
    apart: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Train a network for each fold left out; return the readings that these give to their folds.

    The label of the photograph says what its oddest patches show (multiple-instance learning);
    where there is a mask, it says so of each patch.
    """
    targets, found = _mask_targets(data, train), np.empty(len(train))
    for part in range(FOLDS):
        learner = _learner(model, data, part)
        fitted, own = fold != part, fold == part
        keras.utils.set_random_seed(seed + part)
        lessons = _Lessons(data, train[fitted], apart[fitted], targets[fitted], seed + part)
        rate = keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * len(lessons))
        learner.compile(
            keras.optimizers.AdamW(rate, weight_decay=DECAY),
            {
                "photograph": keras.losses.BinaryCrossentropy(from_logits=True),
                "patches": mask_loss,
            },
            jit_compile=False,
        )
        learner.fit(lessons, epochs=EPOCHS, shuffle=False, verbose=0)
        given = learner.predict(_Lessons(data, train[own], apart[own]), verbose=0)
        found[own] = given["photograph"][:, 0]
    return found


def _learner(model: keras.Model, data: Data, part: int) -> keras.Model:
    """One of the network's patch networks behind stored maps, category and distance as inputs."""
    given = {
        name: keras.Input(data.maps[name].shape[1:], dtype="float16", name=name) for name in WIDTHS
    }
    given["category"] = keras.Input((), dtype="int32", name="category")
    given["distance"] = keras.Input(data.grid(), name="distance")
    patches = model.get_layer("patches")([given[name] for name in WIDTHS])
    deviation = model.get_layer("patch_deviation")([patches, given["category"]])
    column = model.get_layer("distance_column")(given["distance"])
    column = model.get_layer("distance_deviation")([column, given["category"]])
    logits = model.get_layer(f"patch_network{part}")([deviation, column])
    return keras.Model(given, {"photograph": readings.TopMean()(logits), "patches": logits})


def _mask_targets(data: Data, rows: np.ndarray) -> np.ndarray:
    """What each patch shows: 1 where a mask has marked any of it, 0 where not, -1 without a mask.

    Returns (rows, height, width), float32.
    """
    height, width = data.grid()
    found = np.full((len(rows), height, width), -1, np.float32)
    for place, row in enumerate(rows):
        if row in data.masks:
            mask = data.masks[row]
            cells = np.zeros((height, width), np.float32)
            y, x = np.nonzero(mask)
            cells[y * height // mask.shape[0], x * width // mask.shape[1]] = 1
            found[place] = cells
    return found


@keras.saving.register_keras_serializable("twinhead")
def mask_loss(target: keras.KerasTensor, logit: keras.KerasTensor) -> keras.KerasTensor:
    """Cross-entropy over the patches of a mask and over the others, half each: (batch,).

    target: (batch, height, width), as `_mask_targets` has it.
    """
    inside, outside = (ops.cast(ops.equal(target, value), logit.dtype) for value in (1, 0))
    total = 0.0
    for where, loss in ((inside, ops.softplus(-logit)), (outside, ops.softplus(logit))):
        total += ops.sum(where * loss, axis=(1, 2)) / (ops.sum(where, axis=(1, 2)) + 1e-6)
    return total


def _combine(model: keras.Model, data: Data, table: pd.DataFrame, learns: bool) -> None:
    """Set the levels, the weights and the calibration from the cross-fitted readings.

    Adds `score` and `defect_probability` to the table.
    """
    category, defective = data.category[table.index], data.defective[table.index]
    values = np.empty((len(table), len(READINGS)))
    for place, name in enumerate(READINGS):
        mean, spread = _levels(table[name].to_numpy(), category, defective, data.categories)
        model.get_layer(f"{name}_reading").assign(mean, spread)
        values[:, place] = (table[name] - mean[category]) / spread[category]
        if name in detector.SCORE_FLOORS:
            values[:, place] = np.maximum(values[:, place], detector.SCORE_FLOORS[name])
    weight = np.tile([0.0, 1.0, 0.0], (data.categories, 1))
    slope, offset = 1.0, GOOD_ONLY_OFFSET
    if learns:
        weight = _weights(values, category, defective, data.categories)
    score = (values * weight[category]).sum(axis=1)
    if learns:
        slope, offset = _platt(score, defective)
    for name in ("score", "map_score"):
        model.get_layer(name).weight.assign(weight)
    calibrate = model.get_layer("defect")
    calibrate.slope.assign(np.full(calibrate.slope.shape, slope))
    calibrate.offset.assign(np.full(calibrate.offset.shape, offset))
    table["score"], table["defect_probability"] = score, expit(slope * score + offset)


def _levels(
    values: np.ndarray, category: np.ndarray, defective: np.ndarray, categories: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of each category's good images: (categories,) each."""
    mean, spread = np.zeros(categories), np.full(categories, np.nan)
    for number in range(categories):
        good = values[(category == number) & (defective == 0)]
        if len(good):
            mean[number] = good.mean()
        if len(good) > 1:
            spread[number] = good.std()
    usual = np.nanmedian(spread) if np.isfinite(spread).any() else 1.0
    spread = np.where(np.isnan(spread), usual, np.maximum(spread, LEAST_SPREAD * usual))
    return mean, np.maximum(spread, 1e-6)


def _weights(
    values: np.ndarray, category: np.ndarray, defective: np.ndarray, categories: int
) -> np.ndarray:
    """Each category's weights of the readings, none negative: (categories, readings)."""
    of_all = _logistic(values, defective, np.array([0.0, 1.0, 0.0]), SHRINK_POOLED)
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

    start = np.append(np.maximum(prior, 0.1), -2.0)
    limits = [(0, None)] * len(prior) + [(None, None)]
    return minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits).x[:-1]


def _platt(score: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Slope and offset of the logistic function that fits best; the slope is above 0."""

    def loss(point: np.ndarray) -> float:
        logit = point[0] * score + point[1]
        return (np.logaddexp(0, logit) - truth * logit).sum() + 1e-3 * point[0] ** 2

    slope, offset = minimize(
        loss, [1.0, -1.0], method="L-BFGS-B", bounds=[(1e-3, None), (None, None)]
    ).x
    return float(slope), float(offset)
