"""What the ImageNet backbone says of every image: computed once, and read by all experiments."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from twinhead import files

BATCH = 8
"""Large batches leave the processor's cache: a quarter slower at 448 pixels a side."""
FLIPS = (
    (),
    (2,),  # left to right
    (1,),  # upside down
    (1, 2),  # turned by 180 degrees
)
"""The axes of (images, height, width, channels) that each view reverses."""


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


def load(path: Path) -> np.ndarray:
    """The stored features, (images, views, features), float32, memory-mapped and read-only."""
    return files.load_array(path)
