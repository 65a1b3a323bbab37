"""The network's answers for stored pixels or features."""

import keras
import numpy as np
import pandas as pd

from twinhead.dataset.store import Store
from twinhead.errors import InputError
from twinhead.model import network
from twinhead.model.batches import Batches


def predict(
    model: keras.Model,
    inputs: Store | np.ndarray,
    frame: pd.DataFrame,
    split: pd.Series,
    categories: list[str],
) -> pd.DataFrame:
    """Answer for every catalog row, in one pass, from its pixels or its stored features.

    The table has path, split, category, defect_type and defective of the catalog and, for the heads
    that the model has, `category_predicted` and its `category_probability`, and
    `defect_probability`.
    """
    batches = Batches(inputs, np.arange(len(frame)), {})
    answers = network.part_for(model, inputs).predict(batches, verbose=0)
    table = frame[["path"]].assign(split=split)
    table[["category", "defect_type", "defective"]] = frame[
        ["category", "defect_type", "defective"]
    ]
    if "category" in answers:
        names = np.array(categories)
        table["category_predicted"] = names[answers["category"].argmax(axis=1)]
        table["category_probability"] = answers["category"].max(axis=1)
    if "defect" in answers:
        table["defect_probability"] = answers["defect"][:, 0]
    return table


def features(
    model: keras.Model, inputs: Store | np.ndarray, rows: np.ndarray, layer: str
) -> np.ndarray:
    """What a layer of the heads gives for these catalog rows: (rows, values), float32.

    inputs: as `predict` takes them. Raises InputError if the heads have no such layer.
    """
    start = network.pooled(model)
    after = keras.Model(start.output, model.output).layers
    known = [start.name] + [x.name for x in after if not isinstance(x, keras.layers.InputLayer)]
    if layer not in known:
        raise InputError(f"embed.layer is {layer!r}; the network has {', '.join(known)}")
    if layer == start.name and inputs.ndim == 3:
        return inputs[rows, 0]
    begin = model.inputs if inputs.ndim == 4 else start.output
    part = keras.Model(begin, model.get_layer(layer).output)
    return part.predict(Batches(inputs, rows, {}), verbose=0).astype(np.float32)
