"""The layers that turn patches into readings, and readings into one probability and one map.

Each layer has weights by category and takes the category's number, (batch,), as its last input.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from twinhead.backbones.registration import registered

POOLED, FINE, COARSE, LEARNED = READINGS = "pooled", "fine", "coarse", "learned"
"""The readings in the order of their weights; fine and coarse are distances from the memory."""
SCORE_FLOORS = {POOLED: 0.0, LEARNED: 0.0}
"""What was learned never lowers what the memory says."""
DETAIL = "detail"
"""How far a patch of the finest grid lies from good ones at its place: it sharpens the heat map,
and no probability reads it."""
MAP_FLOORS = {FINE: -6.0, DETAIL: -6.0, LEARNED: -3.0}
"""What is surely good is equally dark; so no part of the map can blot out what another sees."""
SHARE = {FINE: 0.01, COARSE: 0.03, LEARNED: 0.01, DETAIL: 0.01}
"""The share of a photograph's patches, the oddest ones, whose mean is the photograph's reading."""
PEAK = "peak"
"""The fine distance of the oddest patch alone: it tells the unknown, and no probability."""
RINGS = {FINE: 5, COARSE: 3, DETAIL: 10}  # as wide in pixels as those of the fine grid
"""Rings of cells along the map's border that have a level of their own, with all that is within."""
QUANTILE = 0.999
"""Of good patches' distances: the level of a ring."""
LIMIT = 20.0
"""A channel counts at most so many spreads: what is farther is as odd as can be."""


@registered
class SameGrid(layers.Layer):
    """The maps of strides 8 and 16 on the grid of stride 16, float32.

    Takes [fine, middle], each (batch, height, width, channels). The fine one is averaged over 2 × 2
    cells. Gives a list of both.
    """

    def call(self, maps: list[keras.KerasTensor]) -> list[keras.KerasTensor]:
        fine, middle = (ops.cast(x, "float32") for x in maps)
        return [ops.average_pool(fine, 2, strides=2, padding="same"), middle]


@registered
class Likeliest(layers.Layer):
    """The number of the likeliest category: (batch, categories) to (batch,), int32."""

    def call(self, probabilities: keras.KerasTensor) -> keras.KerasTensor:
        # Keras's argmax looks at the bits of zeros, which OpenVINO can't. Of equals, the first.
        return ops.top_k(probabilities, 1)[1][:, 0]


@registered
class Mean(layers.Layer):
    """The mean of some arrays of one shape.

    Keras's Average adds one after the other, and TensorFlow's graph optimizer reorders sums of
    three and more, in each process differently. A reduction keeps its order.
    """

    def call(self, arrays: list[keras.KerasTensor]) -> keras.KerasTensor:
        return ops.mean(ops.stack(arrays), axis=0)


@registered
class FoldMean(layers.Layer):
    """The mean over the folds, which are the second axis; it stays, of length 1."""

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return ops.mean(x, axis=1, keepdims=True)


@registered
class TopMean(layers.Layer):
    """The mean of a map's highest values: (batch, height, width) to (batch, 1).

    Of several maps, (batch, maps, height, width), each by itself: (batch, maps).
    """

    def __init__(self, share: float, **options: Any) -> None:
        super().__init__(**options)
        self.share = share

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        *maps, height, width = x.shape[1:]
        positions = height * width
        values = ops.reshape(x, (-1, *(maps or [1]), positions))
        return ops.mean(ops.top_k(values, top_count(positions, self.share))[0], axis=-1)

    def get_config(self) -> dict:
        return super().get_config() | {"share": self.share}


def top_count(positions: int, share: float) -> int:
    """How many of so many patches are a photograph's reading."""
    return max(1, round(share * positions))


def top_mean(maps: np.ndarray, share: float) -> np.ndarray:
    """As TopMean: (n, height, width) to (n,)."""
    flat = maps.reshape(len(maps), -1)
    count = top_count(flat.shape[1], share)
    return np.partition(flat, -count, axis=1)[:, -count:].mean(axis=1)


def rings(height: int, width: int, count: int) -> np.ndarray:
    """Each cell's distance from the map's border, at most count - 1: (height, width), integers."""
    rows, columns = np.arange(height)[:, None], np.arange(width)
    apart = np.minimum(
        np.minimum(rows, height - 1 - rows), np.minimum(columns, width - 1 - columns)
    )
    return np.minimum(apart, count - 1)


def ring_levels(distance: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """QUANTILE of good patches' distances in each ring, over that of the innermost: (rings,).

    At least 1. distance: (n, height, width); ring: (height, width), integers.
    """
    usual = np.array(
        [np.quantile(distance[:, ring == number], QUANTILE) for number in np.unique(ring)]
    )
    return np.maximum(usual / max(usual[-1], 1e-6), 1)


@registered
class RingLevel(layers.Layer):
    """Distances over the level that good products have so near to the border: [map, category].

    The backbone sees zeros beyond the border, and what is cut off there differs from one photograph
    to the next, so that good patches lie farther from each other.
    """

    def __init__(self, categories: int, rings: int, **options: Any) -> None:
        super().__init__(**options)
        self.categories, self.rings = categories, rings

    def build(self, shapes: list[tuple]) -> None:
        shape = (self.categories, self.rings)
        self.level = self.add_weight(shape=shape, initializer="ones", trainable=False, name="level")

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        x, category = inputs
        height, width = x.shape[1:3]
        ring = ops.convert_to_tensor(rings(height, width, self.rings).reshape(-1))
        level = ops.take(ops.take(self.level, category, axis=0), ring, axis=1)
        return x / ops.reshape(level, (-1, height, width))

    def get_config(self) -> dict:
        return super().get_config() | {"categories": self.categories, "rings": self.rings}


@registered
class Logarithm(layers.Layer):
    """The natural logarithm: distances are compared by their ratios."""

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return ops.log(x)


@registered
class Slice(layers.Layer):
    """The values from `start` up to `stop`: (batch, values) to (batch, stop - start).

    A layer of its own has a name of ours; Keras counts its own slices in each process anew.
    """

    def __init__(self, start: int, stop: int, **options: Any) -> None:
        super().__init__(**options)
        self.start, self.stop = start, stop

    def call(self, values: keras.KerasTensor) -> keras.KerasTensor:
        return values[:, self.start : self.stop]

    def get_config(self) -> dict:
        return super().get_config() | {"start": self.start, "stop": self.stop}


@registered
class Mahalanobis(layers.Layer):
    """How far values lie from good photographs' ones, by how these go together: [values, category].

    The values, (batch, width), less the category's mean, times its whitening: their root mean
    square is the Mahalanobis distance over the root of the width. The mean stays 0 for values that
    are good ones' deviations already. Gives (batch, 1).
    """

    def __init__(self, categories: int, **options: Any) -> None:
        super().__init__(**options)
        self.categories = categories

    def build(self, shapes: list[tuple]) -> None:
        shape = (self.categories, shapes[0][-1])
        self.mean = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="mean")
        self.whitening = self.add_weight(
            shape=(*shape, shape[1]), initializer="zeros", trainable=False, name="whitening"
        )

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        values, category = inputs
        values -= ops.take(self.mean, category, axis=0)
        white = ops.matmul(values[:, None], ops.take(self.whitening, category, axis=0))
        return ops.sqrt(ops.mean(white**2, axis=2))

    def get_config(self) -> dict:
        return super().get_config() | {"categories": self.categories}


@registered
class PatchMahalanobis(layers.Layer):
    """How far each patch lies from good ones at its place: [map, category].

    PaDiM (Defard et al. 2021, arXiv:2011.08785) with one covariance for all places, so that few
    photographs tell it: each patch, less the mean of its place, times its category's whitening; the
    root mean square of that. The means are kept in float16, as stored features are. Takes (batch,
    height, width, channels) and (batch,), and gives (batch, height, width), float32.
    """

    def __init__(self, categories: int, **options: Any) -> None:
        super().__init__(**options)
        self.categories = categories

    def build(self, shapes: list[tuple]) -> None:
        *place, channels = shapes[0][1:]
        self.mean = self.add_weight(
            shape=(self.categories, *place, channels),
            initializer="zeros",
            trainable=False,
            dtype="float16",
            name="mean",
        )
        self.whitening = self.add_weight(
            shape=(self.categories, channels, channels),
            initializer="zeros",
            trainable=False,
            name="whitening",
        )

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        x, category = inputs
        height, width, channels = x.shape[1:]
        apart = ops.cast(x, "float32") - ops.cast(ops.take(self.mean, category, axis=0), "float32")
        apart = ops.reshape(apart, (-1, height * width, channels))
        white = ops.matmul(apart, ops.take(self.whitening, category, axis=0))
        # The logarithm that follows has no value at 0.
        found = ops.sqrt(ops.maximum(ops.mean(white**2, axis=2), 1e-12))
        return ops.reshape(found, (-1, height, width))

    def get_config(self) -> dict:
        return super().get_config() | {"categories": self.categories}


@registered
class Enlarged(layers.Layer):
    """A map on a finer grid, bilinear: (batch, …, …, 1) to (batch, height, width, 1)."""

    def __init__(self, height: int, width: int, **options: Any) -> None:
        super().__init__(**options)
        self.height, self.width = height, width

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return ops.image.resize(x, (self.height, self.width), interpolation="bilinear")

    def get_config(self) -> dict:
        return super().get_config() | {"height": self.height, "width": self.width}


@registered
class Sharpened(layers.Layer):
    """The weighted mean of a map and its detail, each from a floor up: [map, detail] of one shape.

    The map counts 1.
    """

    def __init__(self, share: float, floors: tuple[float, float], **options: Any) -> None:
        """share: how much the detail counts. floors: the map's, and the detail's."""
        super().__init__(**options)
        self.share, self.floors = share, tuple(floors)

    def call(self, maps: list[keras.KerasTensor]) -> keras.KerasTensor:
        x, detail = (ops.maximum(*pair) for pair in zip(maps, self.floors, strict=True))
        return (x + self.share * detail) / (1 + self.share)

    def get_config(self) -> dict:
        return super().get_config() | {"share": self.share, "floors": self.floors}


@registered
class Unusual(layers.Layer):
    """How unlike any good photograph of its category one is: [deviation, *distances, category].

    deviation: (batch, values), in spreads of good photographs: its root mean square, in units of
    what is usual of these. distances: (batch, 1) each; 1 of one counts as so many such units.
    Gives the largest, (batch, 1).
    """

    def __init__(self, categories: int, units: list[float], **options: Any) -> None:
        """units: what 1 of each distance counts as."""
        super().__init__(**options)
        self.categories, self.units = categories, units

    def build(self, shapes: list[tuple]) -> None:
        shape = (self.categories, 1)
        self.usual = self.add_weight(shape=shape, initializer="ones", trainable=False, name="usual")

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        deviation, *distances, category = inputs
        most = ops.sqrt(ops.mean(deviation**2, axis=1, keepdims=True))
        most /= ops.take(self.usual, category, axis=0)
        for distance, unit in zip(distances, self.units, strict=True):
            most = ops.maximum(most, unit * distance)
        return most

    def get_config(self) -> dict:
        return super().get_config() | {"categories": self.categories, "units": self.units}


@registered
class Standardise(layers.Layer):
    """Values less their category's mean, over its spread: [values, category].

    The values are (batch, …, width), the statistics (categories, width); beyond ± limit they are
    cut off where one is given.
    """

    def __init__(self, categories: int, limit: float | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.categories, self.limit = categories, limit

    def build(self, shapes: list[tuple]) -> None:
        shape = (self.categories, shapes[0][-1])
        self.mean = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="mean")
        self.scale = self.add_weight(shape=shape, initializer="ones", trainable=False, name="scale")

    def assign(self, mean: np.ndarray, scale: np.ndarray) -> None:
        """mean, scale: (categories, width), or (categories,) for a width of 1."""
        self.mean.assign(np.reshape(mean, self.mean.shape))
        self.scale.assign(np.reshape(scale, self.scale.shape))

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        x, category = inputs
        shape = (-1, *(1 for _ in x.shape[1:-1]), x.shape[-1])
        mean = ops.reshape(ops.take(self.mean, category, axis=0), shape)
        scale = ops.reshape(ops.take(self.scale, category, axis=0), shape)
        x = (x - mean) / scale
        return x if self.limit is None else ops.clip(x, -self.limit, self.limit)

    def get_config(self) -> dict:
        return super().get_config() | {"categories": self.categories, "limit": self.limit}


@registered
class Combine(layers.Layer):
    """The readings' weighted sum: [*readings, category], (batch, …) each.

    The weights, (categories, readings), are never negative, and a reading counts from its floor up:
    what was learned can raise what the memory says, and lower it by no more than its floor allows.
    As a mean, the sum is divided by the weights', so that categories have one scale.
    """

    def __init__(
        self,
        categories: int,
        names: list[str],
        floors: dict[str, float],
        mean: bool = False,
        **options: Any,
    ) -> None:
        """names: of the readings, of READINGS, in the order in which they are given."""
        super().__init__(**options)
        self.categories, self.names, self.floors, self.mean = categories, names, floors, mean

    def build(self, shapes: list[tuple]) -> None:
        shape = (self.categories, len(READINGS))
        self.weight = self.add_weight(
            shape=shape, initializer="ones", trainable=False, name="weight"
        )

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        *given, category = inputs
        weight = ops.take(self.weight, category, axis=0)
        weights = ops.stack([weight[:, READINGS.index(name)] for name in self.names])
        weights = ops.reshape(weights, (len(given), -1, *(1 for _ in given[0].shape[1:])))
        counted = [
            ops.maximum(x, self.floors[name]) if name in self.floors else x
            for name, x in zip(self.names, given, strict=True)
        ]
        total = ops.sum(weights * ops.stack(counted), axis=0)  # in one order, as in Mean
        return total / ops.sum(weights, axis=0) if self.mean else total

    def get_config(self) -> dict:
        own = {name: getattr(self, name) for name in ("categories", "names", "floors", "mean")}
        return super().get_config() | own


@registered
class Calibrate(layers.Layer):
    """A score as a probability: [score, category], (batch, 1) and (batch,), to (batch, 1).

    Platt 1999: the sigmoid of a slope above 0 times the score plus the category's own offset, so
    that the order within a category stays.
    """

    def __init__(self, categories: int, **options: Any) -> None:
        super().__init__(**options)
        self.categories = categories

    def build(self, shapes: list[tuple]) -> None:
        shape = (self.categories, 1)
        self.slope = self.add_weight(shape=shape, initializer="ones", trainable=False, name="slope")
        self.offset = self.add_weight(
            shape=shape, initializer="zeros", trainable=False, name="offset"
        )

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        score, category = inputs
        slope, offset = (ops.take(w, category, axis=0) for w in (self.slope, self.offset))
        return ops.sigmoid(slope * score + offset)

    def get_config(self) -> dict:
        return super().get_config() | {"categories": self.categories}
