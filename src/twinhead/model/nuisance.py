"""Nuisance: what differs between two photographs of one product, as the pooled features see it.

The next day's camera has another noise, the next program saves a JPEG of another quality. A little
of either shall not make a product unknown. So a few good training photographs of each category are
changed in these ways, and go through the backbone once more.
"""

import io
from collections.abc import Callable

import keras
import numpy as np
from PIL import Image

from twinhead.dataset import splits
from twinhead.dataset.features import POOLED
from twinhead.dataset.store import Store
from twinhead.model.training_data import Data

PHOTOGRAPHS = 2
"""Good ones of a category that are changed: the change is nearly the same in each."""


def noisy(
    image: np.ndarray, spread: float, rng: np.random.Generator, *, grey: bool = False
) -> np.ndarray:
    """The image, (height, width, 3), uint8, with Gaussian noise of that standard deviation, of 255.

    grey: the noise of a camera without colours, the same in all three channels.
    """
    shape = (*image.shape[:2], 1) if grey else image.shape
    return np.clip(np.rint(image + rng.normal(0, spread, shape)), 0, 255).astype(np.uint8)


def compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """The image, (height, width, 3), uint8, as a JPEG of that quality has it."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


KINDS: tuple[Callable[[np.ndarray, np.random.Generator], np.ndarray], ...] = (
    lambda image, rng: noisy(image, 3, rng),
    lambda image, rng: noisy(image, 1, rng),
    lambda image, rng: noisy(image, 3, rng, grey=True),
    lambda image, rng: compressed(image, 70),
    lambda image, rng: compressed(image, 90),
)
"""Weak and strong: the features don't change in proportion."""


def changes(trunk: keras.Model, pixels: Store | np.ndarray, given: Data, seed: int) -> np.ndarray:
    """How noise and JPEG change the pooled features: (categories, kinds, values), float32.

    The mean over PHOTOGRAPHS good training photographs of each category, drawn by seed; 0 where it
    has none. trunk: from images, (n, size, size, 3), to a dict with `pooled`, (n, values). pixels:
    (images, size, size, 3), uint8; their rows are those of `given`.
    """
    found = np.zeros((given.categories, len(KINDS), given.pooled.shape[-1]), np.float32)
    good = (given.split == splits.TRAIN) & (given.defective == 0)
    for category in range(given.categories):
        rng = np.random.default_rng((seed, category))
        own = np.flatnonzero(good & (given.category == category))
        if not len(own):
            continue
        rows = np.sort(rng.permutation(own)[:PHOTOGRAPHS])
        images, usual = np.asarray(pixels[rows]), np.asarray(given.pooled[rows])[:, 0]
        altered = np.stack([alter(image, rng) for alter in KINDS for image in images])
        values = np.asarray(trunk([altered.astype(np.float32)], training=False)[POOLED])
        apart = values.reshape(len(KINDS), len(rows), -1) - usual
        found[category] = apart.mean(axis=1)
    return found
