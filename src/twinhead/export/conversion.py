"""From a trained network to files for OpenVINO: the same network, the same bytes."""

import errno
import os
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from twinhead import engine, processor
from twinhead.export.manifest import ENDINGS


def convert(model: keras.Model) -> Any:
    """The whole network as an openvino.Model.

    It takes one photograph as it is stored, (1, size, size, 3), uint8, and gives what the network
    gives, by name: `category`, `defect`, `unusual` and `anomaly_map`, or those of them that it has.
    One that was trained in bfloat16 is computed in float32, with the same weights.
    Raises ImportError where OpenVINO is missing, and RuntimeError for a network that it can't run.
    """
    found = engine.converted(_in_float32(model), tf.uint8)
    from openvino._offline_transformations import apply_moc_transformations

    # Normalisations become part of their convolutions' weights, whose biases NNCF then corrects.
    apply_moc_transformations(found, cf=False, smart_reshape=False)
    name(found)
    return found


def _in_float32(model: keras.Model) -> keras.Model:
    if all(layer.compute_dtype != "bfloat16" for layer in model.layers):
        return model
    text = model.to_json().replace("mixed_bfloat16", "float32")
    found = keras.models.model_from_json(text)
    found.set_weights(model.get_weights())
    return found


def name(model: Any) -> None:
    """Name each operation by its type and place.

    TensorFlow counts the networks that a process has made into names, and they aren't read again.
    """
    answers = {output.any_name for output in model.outputs}
    for place, operation in enumerate(model.get_ordered_ops()):
        operation.set_friendly_name(f"{operation.get_type_name()}_{place}")
        for output in operation.outputs():
            output.tensor.set_names(output.names & answers)
    (pixels,) = model.inputs
    pixels.tensor.set_names({"pixels"})


def save(model: Any, folder: Path, precision: str) -> None:
    """Write the two files of a network; what it holds in float32 stays in float32.

    Raises OSError naming a file that couldn't be written whole.
    """
    openvino, graph = processor.load(), folder / f"{precision}{ENDINGS[0]}"
    try:
        openvino.save_model(model, graph, compress_to_fp16=False)
        openvino.Core().read_model(graph)  # a full disk may have cut it off without a word
    except RuntimeError as error:
        # OpenVINO doesn't say why; where one may write, it is the room.
        number = errno.ENOSPC if os.access(folder, os.W_OK) else errno.EACCES
        raise OSError(number, os.strerror(number), str(graph)) from error
