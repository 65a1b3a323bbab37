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

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Takes a photograph, (height, width, 3), uint8, and gives it back changed."""


def noise(spread: float, *, grey: bool = False) -> Change:
    """Gaussian noise of that standard deviation, of 255; grey: the same in all three channels."""

    def change(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        drawn = rng.normal(0, spread, (*image.shape[:2], 1) if grey else image.shape)
        return np.clip(np.rint(image + drawn), 0, 255).astype(np.uint8)

    return change


def jpeg(quality: int) -> Change:
    """The photograph as a JPEG of that quality has it."""

    def change(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    return change


KINDS: dict[str, Change] = {
    "noise 3": noise(3),
    "noise 1": noise(1),
    "grey noise 3": noise(3, grey=True),
    "JPEG 70": jpeg(70),
    "JPEG 90": jpeg(90),
}
"""Weak ones, too: they change the features in another direction than strong ones.

docs/results.md ("What it has never seen") has the trial that set the kinds and PHOTOGRAPHS.
"""
PHOTOGRAPHS = 2
"""Good ones of a category that are changed: the change is nearly the same in each."""


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
        altered = np.stack([change(image, rng) for change in KINDS.values() for image in images])
        batches = [altered[at : at + given.read] for at in range(0, len(altered), given.read)]
        values = np.concatenate(
            [trunk.predict_on_batch(some.astype(np.float32))[POOLED] for some in batches]
        )
        apart = values.reshape(len(KINDS), len(rows), -1) - usual
        found[category] = apart.mean(axis=1)
    return found
