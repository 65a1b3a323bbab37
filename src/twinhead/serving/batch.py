"""A batch of decoded photographs through a model: one look, for answers and heat maps alike."""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Protocol

import numpy as np


class Model(Protocol):
    """A predictor.Predictor, or the Runtime of an export."""

    def look(self, pixels: np.ndarray) -> dict[str, np.ndarray]: ...

    def read(self, given: dict[str, np.ndarray], threshold: float | None = None) -> list[dict]: ...

    def heat(
        self, pixels: np.ndarray, given: dict[str, np.ndarray] | None = None
    ) -> Iterator[np.ndarray]: ...


def answers(
    model: Model, images: Sequence[np.ndarray], heat: bool, threshold: float | None = None
) -> Iterator[tuple[dict, np.ndarray | None]]:
    """Yield each photograph's answer and, if asked for, its heat map, (height, width), float32.

    images: (size, size, 3), uint8, each. threshold: instead of the model's own, for all categories.
    Raises InputError where heat maps are asked for and the model has none.
    """
    if not len(images):
        return
    pixels = np.array(images, np.uint8)
    look = model.look(pixels)
    maps: Iterator[np.ndarray | None] = model.heat(pixels, look) if heat else repeat(None)
    yield from zip(model.read(look, threshold), maps, strict=False)
