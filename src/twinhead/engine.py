"""What runs a finished network: OpenVINO on the processor, or TensorFlow where there is none.

Both give the same within rounding. OpenVINO's bytes are its own: the same on one machine, however
many images are given at a time and whatever ran before, for each image goes through alone.
"""

import sys
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from twinhead import processor


class OpenVino(processor.Network):
    """A network as OpenVINO runs it. Not for several threads at a time."""

    def __init__(self, model: keras.Model) -> None:
        """model: from images, (batch, height, width, channels), to a dict of arrays.

        Raises ImportError where OpenVINO is missing, and RuntimeError where it can't run here, or
        not this network.
        """
        super().__init__(converted(model))


class TensorFlow:
    """A network as TensorFlow runs it; its last bits depend on how many images are given."""

    def __init__(self, model: keras.Model) -> None:
        """model: from images, (batch, height, width, channels), to a dict of arrays."""
        self.name = f"tensorflow {tf.__version__}"
        # One function for all lengths; predict_on_batch takes seconds for several of them.
        images = tf.TensorSpec(model.input_shape, tf.float32)
        self._answer = tf.function(lambda batch: model(batch, training=False), [images])

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The network's answers for (n, height, width, channels), any numbers: (n, …) by output."""
        found = self._answer(tf.constant(images, tf.float32))
        return {name: values.numpy() for name, values in found.items()}


Engine = OpenVino | TensorFlow
"""Its `name` tells what the last digits of its answers depend on."""


def fastest(model: keras.Model) -> Engine:
    """OpenVINO, or TensorFlow where it can't be used, which a line on stderr says once."""
    try:
        return OpenVino(model)
    except (ImportError, RuntimeError) as error:
        fault = " ".join(str(error).split())
        if "bad_alloc" in fault:  # else a full memory would decide on the bytes
            raise MemoryError(fault) from error
        _say(fault[:300])
        return TensorFlow(model)


def converted(model: keras.Model, dtype: tf.DType = tf.float32) -> Any:
    """The network as an openvino.Model for one image of that dtype, in memory from end to end.

    Its outputs have the network's names, sorted. Raises ImportError where OpenVINO is missing, and
    RuntimeError for a network that it can't run.
    """
    if any(layer.compute_dtype == "bfloat16" for layer in model.layers):
        raise RuntimeError("the network computes in bfloat16")
    frontend = processor.load().frontend
    from openvino.frontend.tensorflow.graph_iterator import GraphIteratorTFGraph

    one = tf.TensorSpec((1, *model.input_shape[1:]), dtype)
    whole = tf.function(lambda images: model(tf.cast(images, tf.float32), training=False))
    traced = whole.get_concrete_function(one)
    names = sorted(traced.structured_outputs)  # TensorFlow's order
    of_tensor = dict(zip((tensor.name for tensor in traced.outputs), names, strict=True))
    reader = frontend.FrontEndManager().load_by_framework("tf")
    # It has to live until the graph is converted.
    operations = GraphIteratorTFGraph(traced.graph, False, output_names_map=of_tensor)
    found = reader.convert(reader.load(operations))
    for output in found.outputs:
        output.tensor.set_names(output.names & set(names))
    return found


def version(engine: Engine) -> str:
    """What decides the last digits of its answers: the engine, its version and these modules."""
    sources = (Path(__file__), Path(str(processor.__file__)))
    code = sha256(b"".join(file.read_bytes() for file in sources))
    return f"{engine.name} {code.hexdigest()[:16]}"


@cache
def _say(fault: str) -> None:
    said = f"OpenVINO can't be used ({fault}); TensorFlow takes its place"
    print(said, file=sys.stderr, flush=True)
