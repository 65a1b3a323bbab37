"""What a frozen backbone says of every image: computed once, and then read by all experiments."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from numpy.lib.format import open_memmap

BATCH = 32
FLIPS = (
    (),
    (2,),  # left to right
    (1,),  # upside down
    (1, 2),  # turned by 180 degrees
)
"""The axes of (images, height, width, channels) that each view reverses."""


def build(
    trunk: keras.Model,
    pixels: np.ndarray,
    views: int,
    path: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write the features of `views` flips of every image: (images, views, features), float32.

    pixels: (images, size, size, 3), uint8. View 0 is the image as photographed.
    """
    part = Path(f"{path}.partial")
    stored = open_memmap(part, "w+", np.float32, (len(pixels), views, trunk.output.shape[-1]))
    for start in range(0, len(pixels), BATCH):
        images = pixels[start : start + BATCH].astype(np.float32)
        for view in range(views):
            flipped = np.flip(images, FLIPS[view])
            stored[start : start + BATCH, view] = trunk.predict_on_batch(flipped)
        progress(min(start + BATCH, len(pixels)), len(pixels))
    stored.flush()
    part.replace(path)


def leave_out(path: Path) -> None:
    """Write that there are no stored features: the backbone is trained, and needs the pixels."""
    np.save(path, np.zeros((0, 0, 0), np.float32))


def inputs(path: Path, pixels: np.ndarray) -> np.ndarray:
    """What training and prediction start from: the stored features if there are any, else pixels."""
    stored = np.load(path)
    return stored if stored.size else pixels
