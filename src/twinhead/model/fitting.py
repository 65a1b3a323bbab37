"""Fit the readings: the memory from good images, the rest from labelled defects, by cross-fitting.

What was fitted to an image says little of it. So the training images are cut into folds, each is
read by what the others have given, and from these readings come the levels of good products, the
weights and the calibration.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
import pandas as pd
from keras import ops
from scipy.optimize import minimize
from scipy.special import expit

from twinhead.dataset import splits
from twinhead.dataset.features import POOLED as POOLED_FEATURES
from twinhead.dataset.store import Store
from twinhead.errors import InputError
from twinhead.model import detector, heads, memory, readings
from twinhead.model.batches import at_a_time
from twinhead.model.detector import COARSE_MAP, FINE_MAPS, FOLDS, WIDTHS
from twinhead.model.moments import Moments
from twinhead.model.readings import COARSE, FINE, LEARNED, POOLED, READINGS

STRIDE = 16
"""Pixels a side of a cell of the fine grid."""
BATCH, EPOCHS, RATE, DECAY = 36, 12, 2e-3, 1e-4
"""Of the patch networks' training; of a batch each learns from two thirds."""
LEAST_DEVIATION = 1e-3
"""A channel's spread counts as that much more: a constant one says nothing."""
QUANTILE = 0.999
"""Of good patches' distances: the level of a ring."""
SHARES = {FINE: (0.5, 1.0), COARSE: (1.0,)}
"""How much each map of a memory's patches counts: the finer one half."""
LEAST_VARIATION = 0.01
"""A map varies by at least this share of its size: in units of nothing, float16 overflows."""
LEAST_SPREAD = 0.25
"""A category's spread of a reading counts as at least this share of the median category's."""
SHRINK_POOLED, SHRINK_OWN, SHRINK_OFFSET = 1.0, 4.0, 0.25
"""How strongly the weights are drawn to PRIOR, a category's weights and offset to those of all."""
PRIOR = np.array([0.0, 1.0, 0.5, 0.0])
"""The readings' weights where no defects are known."""
LEAST = np.array([0.0, 0.2, 0.0, 0.0])
"""The readings' weights are at least so large: the memory never falls silent."""
GOOD_ONLY_OFFSET = -3.0
"""Without defects, a probability of 0.5 is a memory's reading of three spreads above good."""


@dataclass(frozen=True)
class Data:
    """The stored features of the images, and what is known of them; rows are the catalog's."""

    pooled: Store | np.ndarray
    """(images, views, values), float32."""
    maps: Mapping[str, Store | np.ndarray]
    """By name of detector.WIDTHS: (images, height, width, channels), float16."""
    category: np.ndarray
    """(images,), integers: each image's category; all 0 for a network without a category head."""
    defective: np.ndarray
    """(images,), 0 or 1."""
    split: np.ndarray
    """(images,), text: train, val, test or unused."""
    group: np.ndarray
    """(images,): equal for images that stay on one side."""
    masks: Mapping[int, np.ndarray]
    """By image: (size, size), bool."""
    categories: int

    @property
    def read(self) -> int:
        """Photographs that are read from the stores at a time."""
        return at_a_time(STRIDE * self.grid()[0])

    def grid(self) -> tuple[int, int]:
        height, width = self.maps["stage5"].shape[1:3]
        return height, width


@dataclass(frozen=True)
class Schedule:
    """How the pooled head was trained, to train it again without a fold."""

    epochs: int
    batch_size: int
    learning_rate: float
    seed: int


def data(
    features: Mapping[str, Store | np.ndarray],
    masks: Mapping[int, np.ndarray],
    frame: pd.DataFrame,
    split: pd.Series,
    group: pd.Series,
    tasks: Sequence[str],
) -> Data:
    """Put together what `fit` takes; features: by name, row i = catalog row i."""
    codes = frame["category"].astype("category").cat.codes.to_numpy(np.int32)
    category = codes if "category" in tasks else np.zeros_like(codes)
    return Data(
        features[POOLED_FEATURES],
        {name: features[name] for name in WIDTHS},
        category,
        frame["defective"].to_numpy(),
        split.to_numpy(),
        group.to_numpy(),
        masks,
        int(category.max()) + 1,
    )


def fit(model: keras.Model, given: Data, schedule: Schedule) -> pd.DataFrame:
    """Give a network's readings their weights, in place; its pooled head is trained already.

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
    table = pd.DataFrame({"fold": fold}, index=train)
    table[FINE] = np.log(readings.top_mean(fine, readings.SHARE[FINE]))
    table[COARSE] = np.log(readings.top_mean(coarse, readings.SHARE[COARSE]))
    table.loc[alone, [FINE, COARSE]] = np.nan
    table[POOLED], table["unusual"] = _pooled(model, given, train, fold, alone, schedule, learns)
    table[LEARNED] = 0.0
    if learns:
        table[LEARNED] = _patch_networks(model, given, train, fold, fine, schedule.seed)
    _combine(model, given, table)
    return table


def _folds(given: Data, train: np.ndarray, seed: int) -> np.ndarray:
    """Deal the groups out to the folds, by category and kind: (training images,), integers.

    Raises InputError where there are fewer groups than folds.
    """
    labels, group = np.unique(given.group[train], return_inverse=True)
    if len(labels) < FOLDS:
        raise InputError(
            f"the train split holds {len(labels)} groups of images (duplicates and lots count"
            f" once); cross-fitting needs {FOLDS}"
        )
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
            usual = [
                np.quantile(found[judged][:, ring == number], QUANTILE)
                for number in np.unique(ring)
            ]
            level[category, : len(usual)] = np.maximum(np.array(usual) / max(usual[-1], 1e-6), 1)
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
        units.append(max(spread, LEAST_VARIATION * size, 1e-6))
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
    train: np.ndarray,
    fold: np.ndarray,
    alone: np.ndarray,
    schedule: Schedule,
    learns: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """What the other folds' references and pooled head say of the training images.

    Returns the logits, 0 where there are no defects to learn from, and how unusual each photograph
    is, (training images,) both. What is usual is set in the network.
    """
    shared, values = model.get_layer(heads.SHARED), given.pooled.shape[-1]
    unusual = model.get_layer("unusual")
    category, defective = given.category[train], given.defective[train]
    deviation, logits = np.empty((len(train), values), np.float32), np.zeros(len(train))
    size = np.empty(len(train))
    parts = [slice(start, start + given.read) for start in range(0, len(train), given.read)]
    for part in range(FOLDS):
        fitted, own = fold != part, fold == part
        moments = Moments(given.categories, values)
        for some in parts:
            deviation[some] = shared(np.asarray(given.pooled[train[some]])[:, 0])
            group = Moments.group(category[some], defective[some])
            moments.add(deviation[some][fitted[some]], group[fitted[some]])
        mean, scale = heads.good_statistics(moments)
        for some in parts:
            deviation[some] = (deviation[some] - mean[category[some]]) / scale[category[some]]
        seen = deviation[own, unusual.start : unusual.end]
        size[own] = np.sqrt((seen**2).mean(axis=1))
        if learns:
            logits[own] = _without(deviation, defective, fitted, own, schedule, part)
    judged = (defective == 0) & ~alone
    of_all = np.median(size[judged]) if judged.any() else np.median(size)
    usual = np.full(given.categories, of_all)
    for number in range(given.categories):
        if len(good := size[judged & (category == number)]):
            usual[number] = np.median(good)
    unusual.usual.assign(usual[:, None])
    return logits, np.where(alone, 1.0, size / usual[category])


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


class _Lessons(keras.utils.PyDataset):
    """Batches of stored maps for the patch networks: shuffled by (seed, epoch), or in their order.

    A photograph teaches the networks of the other folds; for those of its own the targets are -1.
    """

    def __init__(
        self,
        given: Data,
        rows: np.ndarray,
        fold: np.ndarray,
        apart: np.ndarray,
        masks: np.ndarray | None = None,
        seed: int = 0,
    ) -> None:
        """Give rows of the catalog, each with its fold and its patches' distances.

        masks: what each patch shows, as `_mask_targets` has it; without them there are no targets.
        """
        super().__init__()
        self.given, self.rows, self.fold, self.apart = given, rows, fold, apart
        self.masks, self.seed, self.epoch = masks, seed, 0
        self.without = np.array(list(detector.network_names().values()))
        self.on_epoch_begin()

    def on_epoch_begin(self) -> None:
        self.order = np.arange(len(self.rows))
        if self.masks is not None:
            rng = np.random.default_rng((self.seed, self.epoch))
            self.order = rng.permutation(self.order)
            self.epoch += 1

    def __len__(self) -> int:
        return -(-len(self.rows) // BATCH)

    def __getitem__(self, batch: int) -> tuple:
        places = self.order[batch * BATCH : (batch + 1) * BATCH]
        rows = self.rows[places]
        given = {name: self.given.maps[name][rows].astype(np.float32) for name in WIDTHS}
        given |= {"category": self.given.category[rows], "distance": self.apart[places]}
        if self.masks is None:
            return (given,)
        taught = self.fold[places, None] != self.without
        label = np.where(taught, self.given.defective[rows, None], -1).astype(np.float32)
        masks = self.masks[places].reshape(len(rows), 1, -1)
        patches = np.where(taught[..., None], masks, np.float32(-1))
        return given, np.concatenate([label[..., None], patches], axis=-1)


def _patch_networks(
    model: keras.Model,
    given: Data,
    train: np.ndarray,
    fold: np.ndarray,
    apart: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Train networks for each fold left out; return the readings that these give to their folds.

    The label of the photograph says what its oddest patches show (multiple-instance learning);
    where there is a mask, it says so of each patch. The networks learn side by side, so that a
    photograph is read once an epoch; nothing that one learns reaches another.
    """
    learner, reader = _learner(model, given)
    keras.utils.set_random_seed(seed)
    lessons = _Lessons(given, train, fold, apart, _mask_targets(given, train), seed)
    rate = keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * len(lessons))
    learner.compile(keras.optimizers.AdamW(rate, weight_decay=DECAY), loss, jit_compile=False)
    # Else the graph is traced twice; as with several losses, whose means are made by the first.
    learner.optimizer.build(learner.trainable_variables)
    learner.fit(lessons, epochs=EPOCHS, shuffle=False, verbose=0)
    found = reader.predict(_Lessons(given, train, fold, apart), verbose=0)
    return found[np.arange(len(train)), fold].astype(float)


def _learner(model: keras.Model, given: Data) -> tuple[keras.Model, keras.Model]:
    """The patch networks behind stored maps, category and distance as inputs.

    The first gives each network's logits, of the photograph and then of its patches: (batch,
    networks, 1 + height * width); the second the folds' readings, (batch, folds).
    """
    inputs, behind = _behind(model, given)
    logits = {
        name: model.get_layer(name)(detector.read_by(name, *behind))
        for name in detector.network_names()
    }
    top = readings.TopMean(readings.SHARE[LEARNED])
    photographs = ops.stack([top(x) for x in logits.values()], axis=1)
    patches = ops.stack([keras.layers.Flatten()(x) for x in logits.values()], axis=1)
    learner = keras.Model(inputs, ops.concatenate([photographs, patches], axis=-1))
    of_folds = [
        model.get_layer(f"{LEARNED}{fold}_top")(
            model.get_layer(f"fold{fold}_logits")([logits[name] for name in names])
        )
        for fold, names in enumerate(detector.fold_networks())
    ]
    return learner, keras.Model(inputs, keras.layers.Concatenate()(of_folds))


def _behind(
    model: keras.Model, given: Data
) -> tuple[dict[str, keras.KerasTensor], list[keras.KerasTensor]]:
    """Inputs for stored maps, category and distance, and what a patch network reads of them."""
    inputs = {name: keras.Input(given.maps[name].shape[1:], name=name) for name in WIDTHS}
    inputs["category"] = keras.Input((), dtype="int32", name="category")
    inputs["distance"] = keras.Input(given.grid(), name="distance")
    grid = model.get_layer("same_grid")([inputs[name] for name in FINE_MAPS])
    read = {
        "patch_deviation": model.get_layer("patches")(grid),
        "coarse_deviation": inputs[COARSE_MAP],
        "distance_deviation": model.get_layer("distance_column")(inputs["distance"]),
    }
    return inputs, [model.get_layer(name)([x, inputs["category"]]) for name, x in read.items()]


def _mask_targets(given: Data, rows: np.ndarray) -> np.ndarray:
    """What each patch shows: 1 where a mask has marked any of it, 0 where not, -1 without a mask.

    Returns (rows, height, width), float32.
    """
    height, width = given.grid()
    found = np.full((len(rows), height, width), -1, np.float32)
    for place, row in enumerate(rows):
        if row in given.masks:
            mask = given.masks[row]
            cells = np.zeros((height, width), np.float32)
            y, x = np.nonzero(mask)
            cells[y * height // mask.shape[0], x * width // mask.shape[1]] = 1
            found[place] = cells
    return found


def loss(target: keras.KerasTensor, logit: keras.KerasTensor) -> keras.KerasTensor:
    """Cross-entropy of the photographs' labels, and of the patches where there is a mask: (batch,).

    target, logit: (batch, networks, 1 + patches), the photograph first. A label is 0, 1, or -1 for
    a network that doesn't learn from it; of the patches a target is as `_mask_targets` has it.
    """
    return _label_loss(target[..., 0], logit[..., 0]) + _mask_loss(target[..., 1:], logit[..., 1:])


def _label_loss(target: keras.KerasTensor, logit: keras.KerasTensor) -> keras.KerasTensor:
    taught = ops.cast(target >= 0, logit.dtype)
    return ops.sum(taught * (ops.softplus(logit) - target * logit), axis=1)


def _mask_loss(target: keras.KerasTensor, logit: keras.KerasTensor) -> keras.KerasTensor:
    """Over the patches of a mask and over the others, half each."""
    inside, outside = (ops.cast(ops.equal(target, value), logit.dtype) for value in (1, 0))
    total = 0.0
    for where, entropy in ((inside, ops.softplus(-logit)), (outside, ops.softplus(logit))):
        of_network = ops.sum(where * entropy, axis=2) / (ops.sum(where, axis=2) + 1e-6)
        total += ops.sum(of_network, axis=1)
    return total


@dataclass(frozen=True)
class _Judgement:
    """What makes a probability of the readings; by category, but for the slope."""

    mean: np.ndarray
    spread: np.ndarray
    """(categories, readings), of good images."""
    weight: np.ndarray
    """(categories, readings)."""
    slope: float
    offset: np.ndarray
    """(categories,)."""

    def standardised(self, values: np.ndarray, category: np.ndarray) -> np.ndarray:
        """Readings in spreads of good images, (n, readings); one that nobody gave is usual."""
        found = np.nan_to_num((values - self.mean[category]) / self.spread[category])
        for place, name in enumerate(READINGS):
            found[:, place] = np.maximum(found[:, place], detector.SCORE_FLOORS.get(name, -np.inf))
        return found

    def score(self, values: np.ndarray, category: np.ndarray) -> np.ndarray:
        return (self.standardised(values, category) * self.weight[category]).sum(axis=1)

    def probability(self, values: np.ndarray, category: np.ndarray) -> np.ndarray:
        return expit(self.slope * self.score(values, category) + self.offset[category])


def _judgement(
    values: np.ndarray, category: np.ndarray, defective: np.ndarray, categories: int
) -> _Judgement:
    """Fit levels, weights and calibration to readings: (n, readings), NaN where nobody gave one."""
    levels = [_levels(column, category, defective, categories) for column in values.T]
    mean, spread = (np.stack(part, axis=1) for part in zip(*levels, strict=True))
    good_only = np.full(categories, GOOD_ONLY_OFFSET)
    found = _Judgement(mean, spread, np.tile(PRIOR, (categories, 1)), 1.0, good_only)
    if len(set(defective)) < 2:
        return found
    weight = _weights(found.standardised(values, category), category, defective, categories)
    found = replace(found, weight=weight)
    score = found.score(values, category)
    slope, offset = _platt(score, category, defective, categories)
    return replace(found, slope=slope, offset=offset)


def _combine(model: keras.Model, given: Data, table: pd.DataFrame) -> None:
    """Set the levels, the weights and the calibration from the cross-fitted readings.

    Adds `score` and `defect_probability` to the table, in each fold by the levels, weights and
    calibration of the others: a threshold that is chosen by them keeps its promise.
    """
    category, defective = given.category[table.index], given.defective[table.index]
    values, fold = table[list(READINGS)].to_numpy(float), table["fold"].to_numpy()
    whole = _judgement(values, category, defective, given.categories)
    for place, name in enumerate(READINGS):
        reading = model.get_layer(f"{name}_reading")
        reading.assign(whole.mean[:, place], whole.spread[:, place])
    for name in ("score", "map_score"):
        model.get_layer(name).weight.assign(whole.weight)
    calibrate = model.get_layer("defect")
    calibrate.slope.assign(np.full(calibrate.slope.shape, whole.slope))
    calibrate.offset.assign(whole.offset[:, None])
    table["score"] = table["defect_probability"] = 0.0
    for part in range(FOLDS):
        own, others = fold == part, fold != part
        judge = _judgement(values[others], category[others], defective[others], given.categories)
        table.loc[own, "score"] = judge.score(values[own], category[own])
        table.loc[own, "defect_probability"] = judge.probability(values[own], category[own])


def _levels(
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


def _weights(
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


def _platt(
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
