"""The heat map that suits a network: its own patch map, or else Grad-CAM."""

from collections.abc import Iterator, Sequence

import keras
import numpy as np

from twinhead.attribution import gradcam
from twinhead.model import inference, network
from twinhead.model.inference import Source


def maps(
    model: keras.Model, given: Source, rows: Sequence[int], head: str, method: str
) -> Iterator[np.ndarray]:
    """Yield one heat map after the other, (height, width), float32; the higher, the odder.

    A network that reads patches gives its anomaly map, a number for each of the finest ones;
    Grad-CAM one for each pixel, from 0 up. head and method as `explain` has them in params.yaml.
    """
    if of_patches(model, head, method):
        for answer in inference.answers(model, given, rows):
            yield from answer["anomaly_map"]
    else:
        yield from gradcam.heat_maps(model, given.pixels, rows, head)


def of_patches(model: keras.Model, head: str, method: str) -> bool:
    """Whether the heat map is the network's own."""
    return method == "best" and head == "defect" and network.detects(model)
