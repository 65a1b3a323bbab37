"""What is read of a photograph's patches, and how the readings become one probability and one map.

Each layer has weights by category and takes the category's number, (batch,), as its last input.
"""

import keras
import numpy as np
from keras import layers, ops

from twinhead.backbones.registration import registered

POOLED, MEMORY, LEARNED = READINGS = "pooled", "memory", "learned"
"""The three readings, in the order of their weights."""
SHARE = 0.01
"""The share of a photograph's patches, the oddest ones, whose mean is the photograph's reading."""
RINGS = 5
"""Cells next to the map's border, counted from it, that have a level of their own."""
LIMIT = 20.0
"""A channel counts at most so many spreads: what is farther is as odd as can be."""


@registered
class Patches(layers.Layer):
    """The maps of strides 8, 16 and 32 as one vector a patch of stride 16.

    Takes [fine, middle, coarse], each (batch, height, width, channels); the fine one is averaged
    over 2 × 2 cells, the coarse one repeated. Gives (batch, height, width, all channels) in the
    middle one's height and width, float32.
    """

    def call(self, maps: list[keras.KerasTensor]) -> keras.KerasTensor:
        fine, middle, coarse = (ops.cast(x, "float32") for x in maps)
        height, width = middle.shape[1:3]
        fine = ops.average_pool(fine, 2, strides=2, padding="same")
        coarse = ops.repeat(ops.repeat(coarse, 2, axis=1), 2, axis=2)[:, :height, :width]
        return ops.concatenate([fine, middle, coarse], axis=-1)


@registered
class Likeliest(layers.Layer):
    """The number of the likeliest category: (batch, categories) to (batch,), int32."""

    def call(self, probabilities: keras.KerasTensor) -> keras.KerasTensor:
        return ops.argmax(probabilities, axis=-1)


@registered
class TopMean(layers.Layer):
    """The mean of a map's highest values: (batch, height, width) to (batch, 1)."""

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        count = top_count(x.shape[1] * x.shape[2])
        highest, _ = ops.top_k(ops.reshape(x, (-1, x.shape[1] * x.shape[2])), count)
        return ops.mean(highest, axis=1, keepdims=True)


def top_count(positions: int) -> int:
    """How many of so many patches are a photograph's reading."""
    return max(1, round(SHARE * positions))


def top_mean(maps: np.ndarray) -> np.ndarray:
    """As TopMean: (n, height, width) to (n,)."""
    flat = maps.reshape(len(maps), -1)
    count = top_count(flat.shape[1])
    return np.partition(flat, -count, axis=1)[:, -count:].mean(axis=1)


def rings(height: int, width: int) -> np.ndarray:
    """Each cell's distance from the map's border, at most RINGS - 1: (height, width), integers."""
    rows, columns = np.arange(height)[:, None], np.arange(width)
    apart = np.minimum(
        np.minimum(rows, height - 1 - rows), np.minimum(columns, width - 1 - columns)
    )
    return np.minimum(apart, RINGS - 1)


@registered
class RingLevel(layers.Layer):
    """Distances over the level that good products have so near to the border: [map, category].

    The backbone sees zeros beyond the border, so that patches there lie far from each other.
    """

    def __init__(self, categories: int, **options) -> None:
        super().__init__(**options)
        self.categories = categories

    def build(self, shapes: list[tuple]) -> None:
        shape = (self.categories, RINGS)
        self.level = self.add_weight(shape=shape, initializer="ones", trainable=False, name="level")

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        x, category = inputs
        ring = ops.convert_to_tensor(rings(*x.shape[1:3]).reshape(-1))
        level = ops.take(ops.take(self.level, category, axis=0), ring, axis=1)
        return x / ops.reshape(level, (-1, *x.shape[1:3]))

    def get_config(self) -> dict:
        return super().get_config() | {"categories": self.categories}


@registered
class Standardise(layers.Layer):
    """Values less their category's mean, over its spread: [values, category].

    The values are (batch, …, width), the statistics (categories, width); beyond ± limit they are
    cut off where one is given.
    """

    def __init__(self, categories: int, limit: float | None = None, **options) -> None:
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
    """The readings' weighted sum: [pooled, memory, learned, category], (batch, …) each.

    The weights, (categories, 3), are never negative, and a reading counts from its floor up: what
    was learned can raise what the memory says, and lower it by no more than its floor allows. For a
    map the pooled reading is left out.
    """

    def __init__(self, categories: int, floors: dict[str, float], **options) -> None:
        super().__init__(**options)
        self.categories, self.floors = categories, floors

    def build(self, shapes: list[tuple]) -> None:
        shape = (self.categories, len(READINGS))
        self.weight = self.add_weight(
            shape=shape, initializer="ones", trainable=False, name="weight"
        )

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        *given, category = inputs
        weight = ops.take(self.weight, category, axis=0)
        total = 0.0
        for name, x in zip(READINGS[-len(given) :], given, strict=True):
            own = weight[:, READINGS.index(name)]
            own = ops.reshape(own, (-1, *(1 for _ in x.shape[1:])))
            total += own * (ops.maximum(x, self.floors[name]) if name in self.floors else x)
        return total

    def get_config(self) -> dict:
        return super().get_config() | {"categories": self.categories, "floors": self.floors}


@registered
class Calibrate(layers.Layer):
    """A score as a probability: [score, category], (batch, 1) and (batch,), to (batch, 1).

    Platt 1999: the sigmoid of a slope above 0 times the score plus the category's own offset, so
    that the order within a category stays.
    """

    def __init__(self, categories: int, **options) -> None:
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
