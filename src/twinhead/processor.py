"""A converted network on this processor, by OpenVINO."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np

from twinhead import cores

STREAMS = 8
"""Images that go through side by side, at most, each on cores of its own."""
REPORTS = "openvino.tools.ovc"
"""The part of OpenVINO that on import writes an id into the home folder, and on use reports over
the network. Nothing here needs it."""


class Network:
    """A network as OpenVINO runs it. Not for several threads at a time."""

    def __init__(self, model: Any) -> None:
        """model: an openvino.Model for one image, whose outputs have names.

        Raises ImportError where OpenVINO is missing, and RuntimeError where it can't run here, or
        not this network.
        """
        self._openvino = load()
        self._model = model
        self.names = [output.any_name for output in model.outputs]
        self._dtype = model.inputs[0].element_type.to_dtype()
        self._alone = self._compile(1)  # now: it tells whether this processor will do
        self.name = f"openvino {version()}"

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
            queue.start_async([np.ascontiguousarray(image[None], self._dtype)], place)
        queue.wait_all()
        return dict(zip(self.names, found, strict=True))

    @cached_property
    def _together(self) -> Any:
        return self._compile(min(cores.wanted(), STREAMS))

    def _compile(self, streams: int) -> Any:
        """A queue for so many images at a time; a single one has all cores."""
        hints = self._openvino.properties.hint
        settings = {
            hints.inference_precision: self._openvino.Type.f32,  # its default may be bfloat16
            self._openvino.properties.inference_num_threads: cores.wanted(),
            self._openvino.properties.num_streams: streams,
            hints.enable_cpu_pinning: False,  # other programs may be on the first cores, too
        }
        return self._openvino.AsyncInferQueue(self._compiled(settings), streams)

    def _compiled(self, settings: dict) -> Any:
        return self._openvino.Core().compile_model(self._model, "CPU", settings)


def load() -> Any:
    """OpenVINO without what reports its use; whoever wants that can import it afterwards."""
    with without(REPORTS):
        import openvino
    return openvino


@contextmanager
def without(module: str) -> Iterator[None]:
    """Let a module be missing to what is imported meanwhile, unless it is there already."""
    hidden = module not in sys.modules
    if hidden:
        sys.modules[module] = None  # type: ignore[assignment]  # then importing it fails
    try:
        yield
    finally:
        if hidden:
            del sys.modules[module]


def version() -> str:
    """OpenVINO's, as people know it: without the build."""
    return load().__version__.partition("-")[0]
