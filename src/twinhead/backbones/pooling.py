"""Feature maps pooled to a vector: each channel's mean and spread."""

import keras
from keras import layers, ops

from twinhead.backbones.registration import registered

STAGES = ("stage4", "stage5", "stage6", "stage7")
"""The pretrained maps that the heads read; docs/choosing.md compares them."""
FEATURES = "features"
"""The layer that gives a pretrained backbone's pooled maps."""


def features(maps: list[keras.KerasTensor]) -> keras.KerasTensor:
    """Pool the maps and join them: (batch, height, width, channels) each, to (batch, values)."""
    pooled = [
        MeanAndSpread(dtype="float32", name=f"pooled_{place}")(x)
        for place, x in enumerate(maps, start=1)
    ]
    return layers.Concatenate(dtype="float32", name=FEATURES)(pooled)


@registered
class MeanAndSpread(layers.Layer):
    """A map's mean and standard deviation over its positions: (batch, h, w, c) to (batch, 2c)."""

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        # The root's slope at 0 is infinite; 1e-6 is far below what any map varies by.
        spread = ops.sqrt(ops.var(x, axis=(1, 2)) + 1e-6)
        return ops.concatenate([ops.mean(x, axis=(1, 2)), spread], axis=-1)
