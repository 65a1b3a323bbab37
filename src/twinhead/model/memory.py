"""The memory of good patches: choose a coreset, and measure how far other patches lie from it.

Roth et al., Towards Total Recall in Industrial Anomaly Detection, CVPR 2022 (arXiv:2106.08265),
for many categories in one network.
"""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from twinhead.backbones.registration import registered

CANDIDATES = 256
"""Among so many of the farthest patches the next ones are looked for."""
BLOCK = 16_384
"""Patches whose distances are updated at a time."""
EQUAL = 1e-6
"""Squared distances below this share of the largest square are rounding errors."""
BYTES = 2
"""Of a value in memory: float16."""
LEAST_VARIATION = 0.01
"""A map varies by at least this share of its size: in units of nothing, float16 overflows."""
POOL = 250_000
"""Patches that are chosen from at a time: 600 photographs of 400 patches."""


def fit(photographs: Iterable[np.ndarray], count: int) -> np.ndarray:
    """Choose `count` patches, or all where there are fewer: (at most count, width), float32.

    photographs: arrays of (patches, width). They are taken up to POOL patches at a time; what was
    chosen so far is chosen from again together with the next ones, so that memory stays bounded.
    """
    kept: list[np.ndarray] = []
    waiting: list[np.ndarray] = []
    total = 0

    def choose() -> np.ndarray:
        pool = np.concatenate(kept + waiting)
        return pool[k_centre(pool, count)]

    for patches in photographs:
        waiting.append(np.asarray(patches, np.float32))
        total += len(patches)
        if total >= POOL:
            kept, waiting, total = [choose()], [], 0
    return choose() if waiting else kept[0]


def k_centre(patches: np.ndarray, count: int) -> np.ndarray:
    """The numbers of `count` rows, each the farthest from those before it: (count,), integers.

    Gonzalez 1985 (doi:10.1016/0304-3975(85)90224-5). Exact: one of the CANDIDATES farthest is taken
    only while none of the others can be farther; then the distances of all are updated at once.
    The first is the farthest from the mean; equal ones go by their number. Rows that are equal to
    chosen ones are never taken.
    """
    squares = np.einsum("ij,ij->i", patches, patches)
    equal = EQUAL * squares.max()
    first = int(((patches - patches.mean(axis=0)) ** 2).sum(axis=1).argmax())
    chosen, distance = [first], squares - 2 * (patches @ patches[first]) + squares[first]
    distance[first] = -1
    while len(chosen) < min(count, len(patches)):
        limit, candidates = -np.inf, np.arange(len(patches))
        if len(patches) > CANDIDATES:
            order = np.argpartition(distance, len(patches) - CANDIDATES - 1)
            limit = distance[order[len(patches) - CANDIDATES - 1]]
            candidates = np.sort(order[len(patches) - CANDIDATES :])
        near = distance[candidates]
        new: list[int] = []
        between = squares[candidates, None] + squares[candidates]
        between -= 2 * (patches[candidates] @ patches[candidates].T)
        while len(chosen) + len(new) < count:
            farthest = int(near.argmax())
            if near[farthest] < limit or near[farthest] <= equal:
                break
            new.append(farthest)
            np.minimum(near, between[farthest], out=near)
            near[farthest] = -1
        if not new:
            break
        taken = candidates[new]
        chosen += taken.tolist()
        for start in range(0, len(patches), BLOCK):
            part = slice(start, start + BLOCK)
            nearest = _nearest(patches[part], patches[taken], squares[taken]) + squares[part]
            np.minimum(distance[part], nearest, out=distance[part])
        distance[taken] = -1
    return np.array(chosen)


def distances(patches: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """How far each patch lies from the nearest in memory: (n,), float32. Euclidean."""
    squares = np.einsum("ij,ij->i", memory, memory)
    found = np.empty(len(patches), np.float32)
    for start in range(0, len(patches), BLOCK):
        part = np.asarray(patches[start : start + BLOCK], np.float32)
        nearest = _nearest(part, memory, squares) + np.einsum("ij,ij->i", part, part)
        found[start : start + BLOCK] = np.sqrt(np.maximum(nearest, 0))
    return found


def _nearest(patches: np.ndarray, memory: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """The smallest squared distance to a memory's patches, less the patch's own square: (n,).

    The patches lie along the rows, where NumPy compares many of them at a time.
    """
    apart = memory @ patches.T
    apart *= -2
    apart += squares[:, None]
    return apart.min(axis=0)


@registered
class Scaled(layers.Layer):
    """Maps side by side, each in units that suit its category: [*maps, category].

    The maps are (batch, height, width, channels) of one height and width; a scale, (categories,
    maps), multiplies each. Gives (batch, height, width, all channels), float32.
    """

    def __init__(self, categories: int, **options: Any) -> None:
        super().__init__(**options)
        self.categories = categories

    def build(self, shapes: list[tuple]) -> None:
        shape = (self.categories, len(shapes) - 1)
        self.scale = self.add_weight(shape=shape, initializer="ones", trainable=False, name="scale")

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        *maps, category = inputs
        scale = ops.reshape(ops.take(self.scale, category, axis=0), (-1, 1, 1, len(maps)))
        scaled = [x * scale[..., place : place + 1] for place, x in enumerate(maps)]
        return ops.concatenate(scaled, axis=-1)

    def get_config(self) -> dict:
        return super().get_config() | {"categories": self.categories}


@registered
class MemoryDistance(layers.Layer):
    """The distance of each patch to the nearest good one of the photograph's category.

    Takes [patches, category], (batch, height, width, width of a patch) and (batch,), and gives
    (batch, height, width), float32. The memory is kept in float16, as stored features are.
    """

    def __init__(self, categories: int, capacity: int, **options: Any) -> None:
        super().__init__(**options)
        self.categories, self.capacity = categories, capacity

    def build(self, shapes: list[tuple]) -> None:
        shape = (self.categories, self.capacity, shapes[0][-1])
        self.memory = self.add_weight(
            shape=shape, initializer="zeros", trainable=False, dtype="float16", name="memory"
        )

    def assign(self, memories: list[np.ndarray]) -> None:
        """Take each category's patches, (at most capacity, width); fewer are repeated."""
        shape = self.memory.shape[1:]
        self.memory.assign(np.stack([np.resize(memory, shape) for memory in memories]))

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        patches, category = inputs
        height, width, values = patches.shape[1:]
        compared = ops.reshape(patches, (-1, height * width, values))
        memory = ops.cast(ops.take(self.memory, category, axis=0), "float32")
        apart = ops.sum(memory**2, axis=2)[:, None, :]
        apart -= 2 * ops.matmul(compared, ops.transpose(memory, (0, 2, 1)))
        nearest = ops.min(apart, axis=2) + ops.sum(compared**2, axis=2)
        # The logarithm that follows has no value at 0.
        return ops.reshape(ops.sqrt(ops.maximum(nearest, 1e-12)), (-1, height, width))

    def get_config(self) -> dict:
        own = {"categories": self.categories, "capacity": self.capacity}
        return super().get_config() | own
