"""The network's answers for stored pixels or features."""

import keras
import numpy as np
import pandas as pd

from twinhead.errors import InputError
from twinhead.model import network
from twinhead.model.batches import Batches

HEAD_INPUTS = "head_inputs"


def predict(
    model: keras.Model,
    inputs: np.ndarray,
    frame: pd.DataFrame,
    split: pd.Series,
    categories: list[str],
) -> tuple[pd.DataFrame, np.ndarray]:
    """Answer for every catalog row, in one pass, from its pixels or its stored features.

    Returns a table and what the heads read of each image, (images, values), float32, from which
    `features` goes on. The table has path, split, category, defect_type and defective of the
    catalog and, for the heads that the model has, `category_predicted` and its
    `category_probability`, and `defect_probability`.
    """
    part = network.part_for(model, inputs)
    asked = part.output | ({HEAD_INPUTS: network.pooled(model).output} if inputs.ndim == 4 else {})
    batches = Batches(inputs, np.arange(len(frame)), {})
    answers = keras.Model(part.inputs, asked).predict(batches, verbose=0)
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
    read = answers[HEAD_INPUTS] if inputs.ndim == 4 else inputs[:, 0]
    return table, np.asarray(read, np.float32)


def features(model: keras.Model, head_inputs: np.ndarray, layer: str) -> np.ndarray:
    """What a layer of the heads gives for every image: (images, values), float32.

    head_inputs: as `predict` returns them. Raises InputError if the heads have no such layer.
    """
    start = network.pooled(model)
    after = keras.Model(start.output, model.output).layers
    known = [start.name] + [x.name for x in after if not isinstance(x, keras.layers.InputLayer)]
    if layer not in known:
        raise InputError(f"embed.layer is {layer!r}; the network has {', '.join(known)}")
    if layer == start.name:
        return head_inputs
    part = keras.Model(start.output, model.get_layer(layer).output)
    return part.predict(head_inputs, batch_size=256, verbose=0).astype(np.float32)
