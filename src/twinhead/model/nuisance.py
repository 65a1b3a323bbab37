"""Nuisance: what differs between two photographs of one product, as the pooled features see it.

The next day's camera has another noise, the next program saves a JPEG of another quality. Neither
makes a product unknown. So a few good training photographs of each category are changed both ways,
and go through the backbone once more.
"""

import io

import keras
import numpy as np
from PIL import Image

from twinhead.dataset import splits
from twinhead.dataset.features import POOLED
from twinhead.dataset.store import Store
from twinhead.model.training_data import Data

NOISE = 3.0
"""The standard deviation of the noise, of 255."""
QUALITY = 70
"""Of the JPEG."""
PHOTOGRAPHS = 4
"""Good ones of a category that are changed: the change is nearly the same in each."""
KINDS = 2


def noisy(image: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """The image, uint8, with Gaussian noise of that standard deviation, of 255."""
    return np.clip(np.rint(image + rng.normal(0, spread, image.shape)), 0, 255).astype(np.uint8)


def compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """The image, (height, width, 3), uint8, as a JPEG of that quality has it."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def changes(trunk: keras.Model, pixels: Store | np.ndarray, given: Data, seed: int) -> np.ndarray:
    """How noise and JPEG change the pooled features: (categories, KINDS, values), float32.

    The mean over PHOTOGRAPHS good training photographs of each category, drawn by seed; 0 where it
    has none. trunk: from images, (n, size, size, 3), to a dict with `pooled`, (n, values). pixels:
    (images, size, size, 3), uint8; their rows are those of `given`.
    """
    found = np.zeros((given.categories, KINDS, given.pooled.shape[-1]), np.float32)
    good = (given.split == splits.TRAIN) & (given.defective == 0)
    for category in range(given.categories):
        rng = np.random.default_rng((seed, category))
        own = np.flatnonzero(good & (given.category == category))
        if not len(own):
            continue
        rows = np.sort(rng.permutation(own)[:PHOTOGRAPHS])
        usual, images = np.asarray(given.pooled[rows])[:, 0], np.asarray(pixels[rows])
        altered = (
            [noisy(image, NOISE, rng) for image in images],
            [compressed(image, QUALITY) for image in images],
        )
        for kind, some in enumerate(altered):
            values = trunk([np.stack(some).astype(np.float32)], training=False)[POOLED]
            found[category, kind] = (np.asarray(values) - usual).mean(axis=0)
    return found
