"""What the ImageNet backbone says of every image: computed once, and read by all experiments."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from keras import layers

from twinhead import files
from twinhead.backbones import efficientnet_lite0, pooling

STAGES = ("stage4", "stage5", "stage6", "stage7")
"""The pretrained maps whose means and spreads are read; docs/choosing.md compares them."""
PATCH_STAGES = ("stage3", "stage5", "stage7")
"""Those that are read patch by patch."""
BATCH = 8
"""Large batches leave the processor's cache: a quarter slower at 448 pixels a side."""
FLIPS = (
    (),
    (2,),  # left to right
    (1,),  # upside down
    (1, 2),  # turned by 180 degrees
)
"""The axes of (images, height, width, channels) that each view reverses."""


def trunk(image_size: int) -> keras.Model:
    """The pretrained backbone up to what is stored, as a frozen network has it."""
    image = keras.Input((image_size, image_size, 3), name="image")
    return keras.Model(image, outputs(efficientnet_lite0.build(image, "imagenet")))


def outputs(maps: dict[str, keras.KerasTensor]) -> dict[str, keras.KerasTensor]:
    """What is read of a backbone's maps: `pooled`, (batch, values), and PATCH_STAGES as they are.

    Each is given by a layer of its own name, `pooled` by `features`.
    """
    found = {"pooled": pooling.features([maps[name] for name in STAGES])}
    return found | {name: layers.Identity(name=name)(maps[name]) for name in PATCH_STAGES}


def build(
    describe: Callable[[np.ndarray], np.ndarray],
    width: int,
    pixels: np.ndarray,
    views: int,
    path: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write the features of `views` flips of every image: (images, views, width), float32.

    Args:
        describe: the backbone; takes (batch, size, size, 3), float32, and gives (batch, width).
        pixels: (images, size, size, 3), uint8. View 0 is the image as photographed.
    """
    with files.whole(path) as part:
        stored = files.new_array(part, np.float32, (len(pixels), views, width))
        for start in range(0, len(pixels), BATCH):
            images = pixels[start : start + BATCH].astype(np.float32)
            for view in range(views):
                stored[start : start + BATCH, view] = describe(np.flip(images, FLIPS[view]))
            progress(min(start + BATCH, len(pixels)), len(pixels))
        stored.flush()
