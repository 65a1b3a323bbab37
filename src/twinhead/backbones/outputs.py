"""What is read of a pretrained backbone's maps: pooled, and patch by patch."""

import keras
from keras import layers

from twinhead.backbones import pooling
from twinhead.dataset.features import POOLED

POOLED_STAGES = ("stage4", "stage5", "stage6", "stage7")
"""The maps whose means and spreads are read."""
PATCH_STAGES = ("stage3", "stage5", "stage7")
"""The maps that are read patch by patch."""


def of(maps: dict[str, keras.KerasTensor]) -> dict[str, keras.KerasTensor]:
    """By name: `pooled`, (batch, values), float32, and PATCH_STAGES in float16, as they are kept.

    The layers that give them are called pooling.FEATURES, and as the stages.
    """
    found = {POOLED: pooling.features([maps[name] for name in POOLED_STAGES])}
    return found | {
        name: layers.Identity(dtype="float16", name=name)(maps[name]) for name in PATCH_STAGES
    }
