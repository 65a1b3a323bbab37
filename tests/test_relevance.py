"""The heat map of the heads that compare, on a network whose answer is set by hand."""

import keras
import numpy as np
import pytest
from keras import layers

from twinhead.attribution import taylor
from twinhead.model import heads, network
from twinhead.model.moments import Moments

SIDE = 32
SPOT = slice(8, 14)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Reads two grey maps, fine and coarse; a defect is what makes them brighter than good ones."""
    keras.utils.set_random_seed(0)  # the category head keeps the weights that it is born with
    image = keras.Input((SIDE, SIDE, 3), name="image")
    fine = layers.AveragePooling2D(2)(layers.Rescaling(1 / 255)(image))
    coarse = layers.AveragePooling2D(2)(fine)
    answers = heads.comparing([fine, coarse], ["category", "defect"], categories=2, seed=0)
    model = keras.Model(image, answers)
    good = np.full((4, 12), 0.25, np.float32) + np.linspace(-0.01, 0.01, 4)[:, None]
    moments = Moments(2, 12)
    moments.add(good, Moments.group(np.array([0, 0, 1, 1]), 0))
    network.adapt(model, moments)
    means = np.tile([1.0, 1, 1, 0, 0, 0], 2)[:, None]
    model.get_layer("defect_logit").set_weights([means, np.zeros(1)])
    return model


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    images = np.full((2, SIDE, SIDE, 3), 64, np.uint8)
    images[0, SPOT, SPOT] = 220
    return images


def test_the_heat_lies_where_the_product_differs(
    model: keras.Model, photographs: np.ndarray
) -> None:
    (heat,) = taylor.heat_maps(model, photographs, [0])
    assert heat.shape == (SIDE, SIDE) and heat.dtype == np.float32
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert SPOT.start <= y < SPOT.stop and SPOT.start <= x < SPOT.stop
    assert heat[SPOT, SPOT].sum() > 0.5 * heat.sum()
    assert heat[20:, 20:].max() < 0.01 * heat.max()


def test_a_good_product_stays_dark(model: keras.Model, photographs: np.ndarray) -> None:
    defective, good = taylor.heat_maps(model, photographs, [0, 1])
    assert good.max() < 0.01 * defective.max()


def test_rows_choose_and_order_the_photographs(model: keras.Model, photographs: np.ndarray) -> None:
    first, second = taylor.heat_maps(model, photographs, [1, 0])
    assert first.max() < second.max()


def test_only_heads_that_compare_can_be_explained_so(model: keras.Model) -> None:
    assert taylor.is_possible(model)
    x = keras.Input((4,))
    assert not taylor.is_possible(keras.Model(x, layers.Dense(1)(x)))
