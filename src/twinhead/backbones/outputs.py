"""What a pretrained network keeps of a photograph: its maps, pooled and by patch, and its tint."""

import keras
from keras import layers

from twinhead.backbones import pooling
from twinhead.dataset.features import CHROMATICITY, POOLED

POOLED_STAGES = ("stage4", "stage5", "stage6", "stage7")
"""The maps whose means and spreads are read."""
PATCH_STAGES = ("stage3", "stage5", "stage7")
"""The maps that are read patch by patch."""


def of(
    image: keras.KerasTensor, maps: dict[str, keras.KerasTensor]
) -> dict[str, keras.KerasTensor]:
    """What is kept of an image and its maps, by name, in its dtype.

    `chromaticity`, (batch, 2), and `pooled`, (batch, values), in float32; PATCH_STAGES in float16.
    The layers that give them have these names, but for `pooled`, whose layer is pooling.FEATURES.
    """
    found = {
        CHROMATICITY: pooling.Chromaticity(dtype="float32", name=CHROMATICITY)(image),
        POOLED: pooling.features([maps[name] for name in POOLED_STAGES]),
    }
    return found | {
        name: layers.Identity(dtype="float16", name=name)(maps[name]) for name in PATCH_STAGES
    }
