"""Stored pixels or features as the batches that Keras trains on and predicts from."""

import math
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from twinhead import params
from twinhead.dataset.store import Store
from twinhead.model.augmentation import augment

AHEAD = 2
"""Threads that prepare the next batches while the network learns from one; they keep the order."""
PREDICT_SIZE = 64
"""Images in a batch that is only predicted."""
USUAL_SIDE = 320
"""Pixels a side up to which so many are predicted together; of larger ones fewer."""
TOGETHER = 32
"""Batches of features that are handed over at once: one by one takes longer than learning them."""

Batch = tuple[np.ndarray, dict[str, np.ndarray]]


def at_a_time(side: int) -> int:
    """How many photographs of so many pixels a side are predicted, or read, together."""
    return max(1, PREDICT_SIZE * USUAL_SIDE**2 // max(side, USUAL_SIDE) ** 2)


class Batches(keras.utils.PyDataset):
    """Batches of (inputs, targets) for the given rows, each read from its store once.

    Without settings the rows come in their order and unchanged: what validation needs. With
    settings they come shuffled by (settings.seed, epoch), images augmented by (seed, epoch, row),
    stored features in all of their views; `start` goes on to another epoch.

    Args:
        inputs: the images, (images, size, size, 3), uint8, or their stored features, (images,
            views, features), float32: a store, or an array in memory.
        rows: (n,), the catalog rows to give.
        targets: by task, (images,), indexed by catalog row like inputs.
        batch_size: None for what is only predicted: as many as fit in memory.
    """

    def __init__(
        self,
        inputs: Store | np.ndarray,
        rows: np.ndarray,
        targets: dict[str, np.ndarray],
        batch_size: int | None = None,
        settings: params.Train | None = None,
        epoch: int = 0,
    ) -> None:
        super().__init__(
            workers=AHEAD if settings and inputs.ndim == 4 else 1, max_queue_size=2 * AHEAD
        )
        usual = PREDICT_SIZE if inputs.ndim == 3 else at_a_time(inputs.shape[1])
        self.inputs, self.targets, self.batch_size = inputs, targets, batch_size or usual
        self.settings = settings
        views = inputs.shape[1] if settings and inputs.ndim == 3 else 1
        self._ordered = np.array([(row, view) for row in rows for view in range(views)])
        self.start(epoch)
        self.source = self._stream() if inputs.ndim == 3 else self
        """What `fit` and `predict` take: for features the same batches, at a lower price each."""

    def start(self, epoch: int) -> None:
        """Shuffle and augment for this epoch from now on."""
        self.epoch, self.items = epoch, self._ordered
        if self.settings:
            self.items = np.random.default_rng((self.settings.seed, epoch)).permutation(self.items)

    def __len__(self) -> int:
        return math.ceil(len(self.items) / self.batch_size)

    def __getitem__(self, batch: int) -> Batch:
        return self._read(batch * self.batch_size, self.batch_size)

    def _read(self, start: int, size: int) -> Batch:
        rows, views = self.items[start : start + size].T
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

    def _stream(self) -> tf.data.Dataset:
        def read() -> Iterator[Batch]:
            size = TOGETHER * self.batch_size
            return (self._read(start, size) for start in range(0, len(self.items), size))

        signature = (
            tf.TensorSpec((None, self.inputs.shape[2]), tf.float32),
            {task: tf.TensorSpec((None,), values.dtype) for task, values in self.targets.items()},
        )
        stream = tf.data.Dataset.from_generator(read, output_signature=signature)
        stream = stream.rebatch(self.batch_size).prefetch(1)
        return stream.apply(tf.data.experimental.assert_cardinality(len(self)))
