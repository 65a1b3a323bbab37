"""What is kept of a whole photograph: each channel's mean and spread, and the tint."""

import keras
from keras import layers, ops

from twinhead.backbones.registration import registered

FEATURES = "features"
"""The layer that gives a pretrained backbone's pooled maps."""
CELL = 16
"""Pixels a side of what is averaged first for the tint."""


def features(maps: list[keras.KerasTensor]) -> keras.KerasTensor:
    """Pool the maps and join them: (batch, height, width, channels) each, to (batch, values)."""
    pooled = [
        MeanAndSpread(dtype="float32", name=f"pooled_{place}")(x)
        for place, x in enumerate(maps, start=1)
    ]
    return layers.Concatenate(dtype="float32", name=FEATURES)(pooled)


@registered
class Chromaticity(layers.Layer):
    """A photograph's tint, whatever its brightness: (batch, h, w, 3), of 255, to (batch, 2).

    log((red + 1) / (green + 1)) and log((blue + 1) / (green + 1)) of the channels' means, float32:
    black has no tint.
    """

    def call(self, image: keras.KerasTensor) -> keras.KerasTensor:
        # Over cells first: where a float32 adds up millions of values, it rounds each of them.
        cells = ops.average_pool(ops.cast(image, "float32"), CELL, strides=CELL, padding="same")
        mean = ops.log(ops.mean(cells, axis=(1, 2)) + 1)
        return ops.take(mean, [0, 2], axis=1) - mean[:, 1:2]


@registered
class MeanAndSpread(layers.Layer):
    """A map's mean and standard deviation over its positions: (batch, h, w, c) to (batch, 2c)."""

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        # The root's slope at 0 is infinite; 1e-6 is far below what any map varies by.
        spread = ops.sqrt(ops.var(x, axis=(1, 2)) + 1e-6)
        return ops.concatenate([ops.mean(x, axis=(1, 2)), spread], axis=-1)
