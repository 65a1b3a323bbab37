"""The heat map that suits a network: where it differs from good products, or else Grad-CAM."""

from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np

from twinhead.attribution import gradcam, taylor
from twinhead.dataset.store import Store


def maps(
    model: keras.Model, pixels: Store | np.ndarray, rows: Sequence[int], head: str, method: str
) -> Iterator[np.ndarray]:
    """Yield one heat map after the other; head and method as `explain` has them in params.yaml."""
    if _compares(model, head, method):
        return taylor.heat_maps(model, pixels, rows)
    return gradcam.heat_maps(model, pixels, rows, head)


def mapper(model: keras.Model, head: str, method: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return what makes the maps of a batch: (images, size, size, 3) to (images, size, size)."""
    if _compares(model, head, method):
        return taylor.mapper(model)
    return gradcam.mapper(model, head)


def _compares(model: keras.Model, head: str, method: str) -> bool:
    return method == "best" and head == "defect" and taylor.is_possible(model)
