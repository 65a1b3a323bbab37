"""The network's answers for the catalog's images, and the features of its layers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from twinhead import params
from twinhead.dataset.features import POOLED
from twinhead.dataset.store import Store
from twinhead.errors import InputError
from twinhead.model import detector, network
from twinhead.model.batches import Batches, at_a_time


@dataclass(frozen=True)
class Source:
    """The network's input: stored features where the backbone is frozen, or else pixels."""

    pixels: Store | np.ndarray
    features: dict[str, Store] | None = None

    def read(self, rows: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
        """What the network, or its answering part, takes of these images."""
        if self.features is None:
            return self.pixels[rows].astype(np.float32)
        of_photograph = {name: store[rows] for name, store in self.features.items()}
        return of_photograph | {POOLED: of_photograph[POOLED][:, 0]}

    @property
    def inputs(self) -> Store | np.ndarray:
        """What the heads learn from: (images, views, values), or (images, size, size, 3)."""
        return self.pixels if self.features is None else self.features[POOLED]


def source(settings: params.Model, pixels: Store, features: dict[str, Store]) -> Source:
    return Source(pixels, features if settings.has_frozen_backbone else None)


def answers(
    model: keras.Model, given: Source, rows: Sequence[int]
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the network's answers, some images at a time: by output, (images, …) each."""
    part = model if given.features is None else network.answering_part(model)
    answer = tf.function(lambda batch: part(batch, training=False), reduce_retracing=True)
    size = at_a_time(model.input_shape[1])
    for start in range(0, len(rows), size):
        some = np.asarray(rows[start : start + size])
        # Always as many: an answer must not depend on the batch.
        read = given.read(np.resize(some, size))
        if isinstance(read, dict):  # a network without a defect head reads no patches
            read = {name: read[name] for name in part.input}
        found = answer(read)
        yield {name: np.asarray(values)[: len(some)] for name, values in found.items()}


def predict(
    model: keras.Model,
    given: Source,
    frame: pd.DataFrame,
    split: pd.Series,
    categories: list[str],
) -> pd.DataFrame:
    """Answer for every catalog row, in one pass.

    The table has path, split, category, defect_type and defective of the catalog and, for the heads
    that the model has, `category_predicted` and its `category_probability`, `defect_probability`,
    and `known`, 0 or 1: whether the photograph is like any good one of its category.
    """
    table = frame[["path"]].assign(split=split)
    table[["category", "defect_type", "defective"]] = frame[
        ["category", "defect_type", "defective"]
    ]
    names, found = np.array(categories), []
    for answer in answers(model, given, range(len(frame))):
        columns = {}
        if "category" in answer:
            columns["category_predicted"] = names[answer["category"].argmax(axis=1)]
            columns["category_probability"] = answer["category"].max(axis=1)
        if "defect" in answer:
            columns["defect_probability"] = answer["defect"][:, 0]
        if "unusual" in answer:
            columns["known"] = (answer["unusual"][:, 0] <= detector.UNUSUAL).astype(int)
        found.append(pd.DataFrame(columns))
    return table.join(pd.concat(found, ignore_index=True).set_axis(table.index))


def features(model: keras.Model, given: Source, rows: np.ndarray, layer: str) -> np.ndarray:
    """What a layer of the heads gives for these catalog rows: (rows, values), float32.

    Raises InputError if the heads have no such layer.
    """
    start, inputs = network.pooled(model), given.inputs
    after = network.learning_part(model, list(network.tasks(model)), stored=True).layers
    known = [start.name] + [x.name for x in after if not isinstance(x, keras.layers.InputLayer)]
    if layer not in known:
        raise InputError(f"embed.layer is {layer!r}; the network has {', '.join(known)}")
    if layer == start.name and inputs.ndim == 3:
        return inputs[rows, 0]
    begin = model.inputs if inputs.ndim == 4 else start.output
    part = keras.Model(begin, model.get_layer(layer).output)
    return part.predict(Batches(inputs, rows, {}), verbose=0).astype(np.float32)
