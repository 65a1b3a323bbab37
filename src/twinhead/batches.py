"""Stored pixels as the batches that Keras trains on and predicts from."""

import math

import keras
import numpy as np

from twinhead import params
from twinhead.augmentation import augment

PREDICT_SIZE = 64
"""Images in a batch that is only predicted."""


class Batches(keras.utils.PyDataset):
    """Batches of (images, targets) for the given rows, each image read from the memory map once.

    Without settings the rows come in their order and unchanged: what validation needs. With
    settings they come shuffled and augmented by (settings.seed, epoch, row).

    Args:
        pixels: (images, size, size, 3), uint8, usually memory-mapped.
        rows: (n,), the catalog rows to give.
        targets: by task, (images,), indexed by catalog row like pixels.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        rows: np.ndarray,
        targets: dict[str, np.ndarray],
        batch_size: int = PREDICT_SIZE,
        settings: params.Train | None = None,
        epoch: int = 0,
    ) -> None:
        super().__init__(workers=1, max_queue_size=4)
        self.pixels, self.targets, self.batch_size = pixels, targets, batch_size
        self.settings, self.epoch = settings, epoch
        self.rows = np.asarray(rows)
        if settings:
            self.rows = np.random.default_rng((settings.seed, epoch)).permutation(self.rows)

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / self.batch_size)

    def __getitem__(self, batch: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        rows = self.rows[batch * self.batch_size : (batch + 1) * self.batch_size]
        if self.settings:
            change, seed = self.settings.augmentation, self.settings.seed
            images = np.stack([augment(self.pixels[r], r, self.epoch, seed, change) for r in rows])
        else:
            images = self.pixels[rows].astype(np.float32)
        return images, {task: values[rows] for task, values in self.targets.items()}
