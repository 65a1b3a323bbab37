"""Stored pixels or features as the batches that Keras trains on and predicts from."""

import math

import keras
import numpy as np

from twinhead import params
from twinhead.augmentation import augment

AHEAD = 2
"""Threads that prepare the next batches while the network learns from one; they keep the order."""
PREDICT_SIZE = 64
"""Images in a batch that is only predicted."""


class Batches(keras.utils.PyDataset):
    """Batches of (inputs, targets) for the given rows, each read from the memory map once.

    Without settings the rows come in their order and unchanged: what validation needs. With
    settings they come shuffled by (settings.seed, epoch), images augmented by (seed, epoch, row),
    stored features in all of their views.

    Args:
        inputs: the images, (images, size, size, 3), uint8, or their stored features, (images,
            views, features), float32; usually memory-mapped.
        rows: (n,), the catalog rows to give.
        targets: by task, (images,), indexed by catalog row like inputs.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        rows: np.ndarray,
        targets: dict[str, np.ndarray],
        batch_size: int = PREDICT_SIZE,
        settings: params.Train | None = None,
        epoch: int = 0,
    ) -> None:
        super().__init__(
            workers=AHEAD if settings and inputs.ndim == 4 else 1, max_queue_size=2 * AHEAD
        )
        self.inputs, self.targets, self.batch_size = inputs, targets, batch_size
        self.settings, self.epoch = settings, epoch
        views = inputs.shape[1] if settings and inputs.ndim == 3 else 1
        self.items = np.array([(row, view) for row in rows for view in range(views)])
        if settings:
            self.items = np.random.default_rng((settings.seed, epoch)).permutation(self.items)

    def __len__(self) -> int:
        return math.ceil(len(self.items) / self.batch_size)

    def __getitem__(self, batch: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        rows, views = self.items[batch * self.batch_size : (batch + 1) * self.batch_size].T
        if self.inputs.ndim == 3:
            given = self.inputs[rows, views]
        elif self.settings:
            change, seed = self.settings.augmentation, self.settings.seed
            given = np.empty((len(rows), *self.inputs.shape[1:]), np.float32)
            for row, place in zip(rows, given, strict=True):
                augment(self.inputs[row], row, self.epoch, seed, change, out=place)
        else:
            given = self.inputs[rows].astype(np.float32)
        return given, {task: values[rows] for task, values in self.targets.items()}
