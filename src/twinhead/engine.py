"""What runs a finished network: OpenVINO on the processor, or TensorFlow where there is none.

Both give the same within rounding. OpenVINO's bytes are its own: the same on one machine, however
many images are given at a time and whatever ran before, for each image goes through alone.
"""

import os
import sys
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

STREAMS = 8
"""Images that go through side by side, at most, each on cores of its own."""
REPORTS = "openvino.tools.ovc"
"""The part of OpenVINO that on import writes an id into the home folder, and on use reports over
the network. Nothing here needs it."""


class OpenVino:
    """A network as OpenVINO runs it. Not for several threads at a time."""

    def __init__(self, model: keras.Model) -> None:
        """model: from images, (batch, height, width, channels), to a dict of arrays.

        Raises ImportError where OpenVINO is missing, and RuntimeError where it can't run here, or
        not this network.
        """
        if any(layer.compute_dtype == "bfloat16" for layer in model.layers):
            raise RuntimeError("the network computes in bfloat16")
        self._openvino = _import()
        self._model, self._names = self._convert(model)
        self._alone = self._compile(1)  # now: it tells whether this processor will do
        self.name = f"openvino {self._openvino.__version__.partition('-')[0]}"

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The network's answers for (n, height, width, channels), any numbers: (n, …) by output."""
        queue = self._alone if len(images) == 1 else self._together
        found = [
            np.empty((len(images), *tuple(output.shape)[1:]), output.element_type.to_dtype())
            for output in self._model.outputs
        ]

        def keep(request: Any, place: int) -> None:
            for number, values in enumerate(found):
                values[place] = request.get_output_tensor(number).data[0]

        queue.set_callback(keep)
        for place, image in enumerate(images):
            queue.start_async([np.ascontiguousarray(image[None], np.float32)], place)
        queue.wait_all()
        return dict(zip(self._names, found, strict=True))

    @cached_property
    def _together(self) -> Any:
        return self._compile(min(cores(), STREAMS))

    def _compile(self, streams: int) -> Any:
        """A queue for so many images at a time; a single one has all cores."""
        hints = self._openvino.properties.hint
        settings = {
            hints.inference_precision: self._openvino.Type.f32,  # its default may be bfloat16
            self._openvino.properties.inference_num_threads: cores(),
            self._openvino.properties.num_streams: streams,
            hints.enable_cpu_pinning: False,  # other programs may be on the first cores, too
        }
        compiled = self._openvino.Core().compile_model(self._model, "CPU", settings)
        return self._openvino.AsyncInferQueue(compiled, streams)

    def _convert(self, model: keras.Model) -> tuple[Any, list[str]]:
        """The graph for one image, in memory from end to end, and the names of its outputs."""
        frontend = self._openvino.frontend
        from openvino.frontend.tensorflow.graph_iterator import GraphIteratorTFGraph

        one = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)
        whole = tf.function(lambda images: model(images, training=False))
        traced = whole.get_concrete_function(one)
        names = sorted(traced.structured_outputs)  # TensorFlow's order
        of_tensor = dict(zip((tensor.name for tensor in traced.outputs), names, strict=True))
        reader = frontend.FrontEndManager().load_by_framework("tf")
        # It has to live until the graph is converted.
        operations = GraphIteratorTFGraph(traced.graph, False, output_names_map=of_tensor)
        converted = reader.convert(reader.load(operations))
        return converted, [next(iter(output.names & set(names))) for output in converted.outputs]


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


def version(engine: Engine) -> str:
    """What decides the last digits of its answers: the engine, its version and this module."""
    return f"{engine.name} {sha256(Path(__file__).read_bytes()).hexdigest()[:16]}"


def cores() -> int:
    """How many cores this process may use; all of the machine's where the system doesn't say."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS, nor on Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _say(fault: str) -> None:
    said = f"OpenVINO can't be used ({fault}); TensorFlow takes its place"
    print(said, file=sys.stderr, flush=True)


def _import() -> Any:
    """OpenVINO without what reports its use; whoever wants that can import it afterwards."""
    hidden = REPORTS not in sys.modules
    if hidden:
        sys.modules[REPORTS] = None  # type: ignore[assignment]  # then importing it fails
    try:
        import openvino
    finally:
        if hidden:
            del sys.modules[REPORTS]
    return openvino
