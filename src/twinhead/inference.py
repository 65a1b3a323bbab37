"""The network's answers for stored pixels or features."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd

from twinhead import network
from twinhead.batches import Batches
from twinhead.errors import InputError


def predict(
    model: keras.Model,
    inputs: np.ndarray,
    frame: pd.DataFrame,
    split: pd.Series,
    categories: list[str],
) -> pd.DataFrame:
    """Answer for every catalog row, in one pass, from its pixels or its stored features.

    Returns path, split, category, defect_type and defective of the catalog and, for the heads that
    the model has, `category_predicted` and its `category_probability`, and `defect_probability`.
    """
    part = network.part_for(model, inputs)
    answers = part.predict(Batches(inputs, np.arange(len(frame)), {}), verbose=0)
    table = frame[["path"]].assign(split=split)
    table[["category", "defect_type", "defective"]] = frame[["category", "defect_type", "defective"]]
    if "category" in answers:
        names = np.array(categories)
        table["category_predicted"] = names[answers["category"].argmax(axis=1)]
        table["category_probability"] = answers["category"].max(axis=1)
    if "defect" in answers:
        table["defect_probability"] = answers["defect"][:, 0]
    return table


def read(path: Path) -> pd.DataFrame:
    """Read predictions back from their file; a category called 001 or NA stays a name."""
    names = ("path", "split", "category", "defect_type", "category_predicted")
    return pd.read_csv(path, dtype=dict.fromkeys(names, str), keep_default_na=False)


def features(model: keras.Model, inputs: np.ndarray, layer: str) -> np.ndarray:
    """What a layer gives for every image: (images, values), float32; maps are averaged over space.

    Raises InputError if the network has no layer of that name after these inputs.
    """
    known = network.part_for(model, inputs).layers
    names = [part.name for part in known if not isinstance(part, keras.layers.InputLayer)]
    if layer not in names:
        raise InputError(f"embed.layer is {layer!r}; the network has {', '.join(names)}")
    part = network.part_for(model, inputs, layer)
    values = part.predict(Batches(inputs, np.arange(len(inputs)), {}), verbose=0)
    return values.mean(axis=tuple(range(1, values.ndim - 1))).astype(np.float32)
