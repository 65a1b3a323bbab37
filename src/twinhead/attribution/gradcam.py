"""Grad-CAM: where in the photograph an answer of the network comes from."""

from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from twinhead.dataset.store import Store
from twinhead.model import heads, network
from twinhead.model.batches import at_a_time


def heat_maps(
    model: keras.Model,
    pixels: Store | np.ndarray,
    rows: Sequence[int],
    head: str,
    layer: str | None = None,
) -> Iterator[np.ndarray]:
    """Yield the heat map of one image after the other: (size, size), float32, from 0 up.

    Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391): the feature maps of a convolution, each
    weighted by the mean gradient of the answer's logit, summed, negative values cut off, enlarged
    bilinearly. The logit, since a saturated probability has no gradient. The values are in units of
    the logit and not scaled, so that images can be compared.

    Args:
        pixels: (images, size, size, 3), on the scale of 0 to 255; rows: which of them, in which
        order. head: "defect", or "category" for the category that the network finds likeliest.
        layer: name of the convolution; the network's last one by default.
    """
    weigh = mapper(model, head, layer)
    size = at_a_time(pixels.shape[1])
    for start in range(0, len(rows), size):
        yield from weigh(pixels[list(rows[start : start + size])])


def mapper(
    model: keras.Model, head: str, layer: str | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """Return what makes a batch's heat maps: (images, size, size, 3) to (images, size, size)."""
    target = model.get_layer(layer or network.last_convolution(model)).output
    logits = heads.DEFECT_LOGIT if head == "defect" else heads.CATEGORY_LOGITS
    part = keras.Model(model.inputs, [target, model.get_layer(logits).output])

    @tf.function(input_signature=[tf.TensorSpec(model.input_shape, tf.float32)])
    def weigh(batch: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            maps, answers = part(batch, training=False)
            likeliest = tf.reduce_max(answers, axis=1)
        gradient = tape.gradient(likeliest, maps)
        weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        heat = tf.nn.relu(tf.reduce_sum(tf.cast(weights * maps, tf.float32), axis=3, keepdims=True))
        return tf.image.resize(heat, model.input_shape[1:3])[..., 0]

    return lambda batch: weigh(tf.constant(batch, tf.float32)).numpy()
