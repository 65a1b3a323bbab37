"""Where a product differs from good ones: the heat map of the heads that compare."""

from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from twinhead.backbones import pooling
from twinhead.dataset.store import Store
from twinhead.model import heads
from twinhead.model.batches import PREDICT_SIZE

NOISE = 0.1
"""What is below this share of an image's peak counts as nothing."""


def is_possible(model: keras.Model) -> bool:
    """Whether the network has a defect head that compares."""
    return any(layer.name == heads.DEVIATION for layer in model.layers)


def heat_maps(
    model: keras.Model, pixels: Store | np.ndarray, rows: Sequence[int]
) -> Iterator[np.ndarray]:
    """Yield the heat map of one image after the other: (size, size), float32, from 0 up.

    Each position of a feature map gives what it adds to the defect's logit: the gradient times the
    difference from the mean of good images of that category, summed over the channels: a
    first-order Taylor expansion around "good" (Montavon et al. 2017, arXiv:1512.02479). The
    coarsest map says what is odd, all together say where: the heat is the geometric mean of the
    two, each cut off at zero and enlarged bilinearly, less a tenth of its peak. It is in units of
    the logit at a position. docs/choosing.md compares it with Grad-CAM and others.

    Args:
        pixels: (images, size, size, 3), on the scale of 0 to 255; rows: which of them, in which
        order.
    """
    weigh = mapper(model)
    for start in range(0, len(rows), PREDICT_SIZE // 2):
        yield from weigh(pixels[list(rows[start : start + PREDICT_SIZE // 2])])


def mapper(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Return what makes a batch's heat maps: (images, size, size, 3) to (images, size, size)."""
    names = [layer.name for layer in model.layers if isinstance(layer, pooling.MeanAndSpread)]
    maps = [model.get_layer(name).input for name in names]
    backbone = keras.Model(model.inputs, maps)
    # With the maps as inputs of their own, a finer one's gradient is not also that of the coarser.
    answer = {name: model.output[name] for name in model.output if name == "category"}
    heads_alone = keras.Model(maps, answer | {"logit": model.get_layer(heads.DEFECT_LOGIT).output})
    reference = _good_means(model, [int(x.shape[-1]) for x in maps])
    size = model.input_shape[1:3]

    @tf.function(input_signature=[tf.TensorSpec(model.input_shape, tf.float32)])
    def weigh(batch: tf.Tensor) -> tf.Tensor:
        found = backbone(batch, training=False)
        with tf.GradientTape() as tape:
            tape.watch(found)
            answers = heads_alone(found, training=False)
        gradients = tape.gradient(answers["logit"], found)
        likely = answers.get("category", tf.ones_like(answers["logit"]))
        added = []
        for x, slope, good in zip(found, gradients, reference, strict=True):
            difference = tf.cast(x, tf.float32) - (likely @ good)[:, None, None, :]
            share = tf.reduce_sum(tf.cast(slope, tf.float32) * difference, axis=3, keepdims=True)
            added.append(tf.image.resize(share, size)[..., 0])
        heat = tf.sqrt(tf.nn.relu(added[-1]) * tf.nn.relu(tf.add_n(added)))
        return tf.nn.relu(heat - NOISE * tf.reduce_max(heat, axis=(1, 2), keepdims=True))

    return lambda batch: weigh(tf.constant(batch, tf.float32)).numpy()


def _good_means(model: keras.Model, channels: list[int]) -> list[tf.Tensor]:
    """Each map's mean in good images of each category: (categories, channels)."""
    shared, deviation = model.get_layer(heads.SHARED), model.get_layer(heads.DEVIATION)
    mean = np.asarray(shared.mean) + np.asarray(shared.scale) * np.asarray(deviation.mean)
    starts = np.cumsum([0, *(2 * n for n in channels)])  # a map's means come before its spreads
    return [tf.constant(mean[:, at : at + n]) for at, n in zip(starts[:-1], channels, strict=True)]
