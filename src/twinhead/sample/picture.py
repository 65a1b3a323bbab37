"""One image of the data set, with its mask: the same draw with and without the defect, compared."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

from twinhead.sample.defects import Defect
from twinhead.sample.goods import GOODS
from twinhead.sample.hardware import HARDWARE
from twinhead.sample.light import expose
from twinhead.sample.plan import GOOD, PUBLISHED
from twinhead.sample.textures import TEXTURES

Array = np.ndarray
DRAW = GOODS | HARDWARE | TEXTURES
VISIBLE = 0.05  # a change of 13 grey levels: above the sensor noise, so an eye can find it
ATTEMPTS = 12


@dataclass
class Picture:
    """An exposed image, uint8 (size, size, 3); a defective one has its mask and its good twin.

    The mask is bool (size, size). The twin is the same product under the same camera, without the
    defect; it isn't written to disk.
    """

    image: Array
    mask: Array | None = None
    twin: Array | None = None


def take(category: str, folder: str, number: int, size: int, seed: int) -> Picture:
    """Return picture `number` of a category's folder, such as "test/good" or "test/scratch_head".

    It depends on these five values only, whatever else is drawn and in whatever order.
    """
    types = GOOD + tuple(f"test/{name}" for name in PUBLISHED[category][3])
    key = [seed, list(PUBLISHED).index(category), types.index(folder), number]
    product, camera, *flaws = np.random.SeedSequence(key).spawn(2 + ATTEMPTS)

    def draw(defect: Defect | None) -> Array:
        return np.clip(DRAW[category](np.random.default_rng(product), size, defect), 0, 1)

    good = draw(None)
    if folder in GOOD:
        return Picture(expose(np.random.default_rng(camera), good))
    least = max(4, round(0.0005 * size * size))
    for attempt, flaw in enumerate(flaws):
        rng = np.random.default_rng(flaw)
        severity = max(rng.random(), attempt / (ATTEMPTS - 1))
        flawed = draw(Defect(folder.removeprefix("test/"), rng, severity))
        mask = _changed(good, flawed)
        if mask.sum() >= least:
            break
    image, twin = (expose(np.random.default_rng(camera), scene) for scene in (flawed, good))
    return Picture(image, mask, twin)


def _changed(good: Array, flawed: Array) -> Array:
    """Return where two drawings differ visibly, with gaps closed as an annotator would."""
    raw = (abs(flawed - good).max(axis=-1) > VISIBLE).astype(np.uint8)
    reach = 2 * round(len(raw) / 128) + 1
    closed = minimum_filter(maximum_filter(raw, reach), reach)
    return (closed | raw).astype(bool)
