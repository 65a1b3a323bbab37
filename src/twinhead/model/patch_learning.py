"""Train the patch networks, by the photographs' labels and by masks where there are some."""

import keras
import numpy as np
from keras import layers, ops

from twinhead.model.detector import COARSE_MAP, FINE_MAPS, FOLDS, NETWORKS, WIDTHS, read_by
from twinhead.model.training_data import Data

BATCH, EPOCHS, RATE, DECAY = 36, 12, 2e-3, 1e-4
"""Of the patch networks' training; of a batch each learns from two thirds."""


def fit(
    model: keras.Model,
    given: Data,
    train: np.ndarray,
    fold: np.ndarray,
    distance: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Train networks for each fold left out; return the readings that these give to their folds.

    The label of the photograph says what its oddest patches show (multiple-instance learning);
    where there is a mask, it says so of each patch. The networks learn side by side, so that a
    photograph is read once an epoch; nothing that one learns reaches another.

    train: rows of the catalog, (n,); fold: theirs, (n,); distance: of their fine patches, over the
    rings' levels, (n, height, width), float32. Returns (n,), float64.
    """
    learner, reader = _learner(model, given)
    keras.utils.set_random_seed(seed)
    lessons = _Lessons(given, train, fold, distance, _mask_targets(given, train), seed)
    rate = keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * len(lessons))
    learner.compile(keras.optimizers.AdamW(rate, weight_decay=DECAY), loss, jit_compile=False)
    # Else the first step makes its variables, and the graph is traced twice.
    learner.optimizer.build(learner.trainable_variables)
    learner.fit(lessons, epochs=EPOCHS, shuffle=False, verbose=0)
    found = reader.predict(_Lessons(given, train, fold, distance), verbose=0)
    return found[np.arange(len(train)), fold].astype(float)


class _Lessons(keras.utils.PyDataset):
    """Batches of stored maps for the patch networks: shuffled by (seed, epoch), or in their order.

    A photograph teaches the networks of the other folds; for those of its own the targets are -1.
    """

    def __init__(
        self,
        given: Data,
        rows: np.ndarray,
        fold: np.ndarray,
        distance: np.ndarray,
        masks: np.ndarray | None = None,
        seed: int = 0,
    ) -> None:
        """Give rows of the catalog, each with its fold and its patches' distances.

        masks: what each patch shows, as `_mask_targets` has it; without them there are no targets.
        """
        super().__init__()
        self.given, self.rows, self.fold, self.distance = given, rows, fold, distance
        self.masks, self.seed, self.epoch = masks, seed, 0
        self.without = np.tile(np.arange(FOLDS), len(NETWORKS))
        self.on_epoch_begin()

    def on_epoch_begin(self) -> None:
        self.order = np.arange(len(self.rows))
        if self.masks is not None:
            rng = np.random.default_rng((self.seed, self.epoch))
            self.order = rng.permutation(self.order)
            self.epoch += 1

    def __len__(self) -> int:
        return -(-len(self.rows) // BATCH)

    def __getitem__(self, batch: int) -> tuple:
        places = self.order[batch * BATCH : (batch + 1) * BATCH]
        rows = self.rows[places]
        given = {name: self.given.maps[name][rows].astype(np.float32) for name in WIDTHS}
        given |= {"category": self.given.category[rows], "distance": self.distance[places]}
        if self.masks is None:
            return (given,)
        taught = self.fold[places, None] != self.without
        label = np.where(taught, self.given.defective[rows, None], -1).astype(np.float32)
        masks = self.masks[places].reshape(len(rows), 1, -1)
        patches = np.where(taught[..., None], masks, np.float32(-1))
        return given, np.concatenate([label[..., None], patches], axis=-1)


def _learner(model: keras.Model, given: Data) -> tuple[keras.Model, keras.Model]:
    """The patch networks behind stored maps, category and distance as inputs.

    The first gives each network's logits, of the photograph and then of its patches: (batch,
    networks, 1 + height * width); the second the folds' readings, (batch, folds).
    """
    inputs, behind = _behind(model, given)
    logits = [model.get_layer(name)(read_by(name, behind)) for name in NETWORKS]
    joined = layers.Concatenate(axis=1)(logits)
    patches = layers.Reshape((joined.shape[1], -1))(joined)
    tops = model.get_layer("fold_tops")
    photographs = layers.Reshape((joined.shape[1], 1))(tops(joined))
    learner = keras.Model(inputs, layers.Concatenate()([photographs, patches]))
    return learner, keras.Model(inputs, tops(model.get_layer("fold_logits")(logits)))


def _behind(
    model: keras.Model, given: Data
) -> tuple[dict[str, keras.KerasTensor], dict[str, keras.KerasTensor]]:
    """Inputs for stored maps, category and distance, and what the patch networks read of them."""
    inputs = {name: keras.Input(given.maps[name].shape[1:], name=name) for name in WIDTHS}
    inputs["category"] = keras.Input((), dtype="int32", name="category")
    inputs["distance"] = keras.Input(given.grid(), name="distance")
    grid = model.get_layer("same_grid")([inputs[name] for name in FINE_MAPS])
    read = {
        "patches": ("patch_deviation", model.get_layer("patches")(grid)),
        "coarse": ("coarse_deviation", inputs[COARSE_MAP]),
        "distance": (
            "distance_deviation",
            model.get_layer("distance_column")(inputs["distance"]),
        ),
    }
    return inputs, {
        part: model.get_layer(name)([x, inputs["category"]]) for part, (name, x) in read.items()
    }


def _mask_targets(given: Data, rows: np.ndarray) -> np.ndarray:
    """What each patch shows: 1 where a mask has marked any of it, 0 where not, -1 without a mask.

    Returns (rows, height, width), float32.
    """
    height, width = given.grid()
    found = np.full((len(rows), height, width), -1, np.float32)
    for place, row in enumerate(rows):
        if row in given.masks:
            mask = given.masks[row]
            cells = np.zeros((height, width), np.float32)
            y, x = np.nonzero(mask)
            cells[y * height // mask.shape[0], x * width // mask.shape[1]] = 1
            found[place] = cells
    return found


def loss(target: keras.KerasTensor, logit: keras.KerasTensor) -> keras.KerasTensor:
    """Cross-entropy of the photographs' labels, and of the patches where there is a mask: (batch,).

    target, logit: (batch, networks, 1 + patches), the photograph first. A label is 0, 1, or -1 for
    a network that doesn't learn from it; of the patches a target is as `_mask_targets` has it.
    """
    return _label_loss(target[..., 0], logit[..., 0]) + _mask_loss(target[..., 1:], logit[..., 1:])


def _label_loss(target: keras.KerasTensor, logit: keras.KerasTensor) -> keras.KerasTensor:
    taught = ops.cast(target >= 0, logit.dtype)
    return ops.sum(taught * (ops.softplus(logit) - target * logit), axis=1)


def _mask_loss(target: keras.KerasTensor, logit: keras.KerasTensor) -> keras.KerasTensor:
    """Over the patches of a mask and over the others, half each."""
    inside, outside = (ops.cast(ops.equal(target, value), logit.dtype) for value in (1, 0))
    total = 0.0
    for where, entropy in ((inside, ops.softplus(-logit)), (outside, ops.softplus(logit))):
        of_network = ops.sum(where * entropy, axis=2) / (ops.sum(where, axis=2) + 1e-6)
        total += ops.sum(of_network, axis=1)
    return total
