"""Grad-CAM on networks whose answers are known, since their weights are set by hand."""

import keras
import numpy as np
import pytest
from keras import layers

from twinhead.attribution import gradcam
from twinhead.model import heads

SIDE = 24
RED, BLUE = slice(4, 9), slice(14, 20)
"""Where the photographs have their red and their blue square."""


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    """A red and a blue square on grey; only the blue one; only the red one; plain grey."""
    images = np.full((4, SIDE, SIDE, 3), 90, np.uint8)
    for number in (0, 2):
        images[number, RED, RED] = (255, 0, 0)
    for number in (0, 1):
        images[number, BLUE, BLUE] = (0, 0, 255)
    return images


def colour_detector(weights: tuple[float, float] = (1, 0), bias: float = 0) -> keras.Model:
    """A network of two filters, red and blue, whose mean activations times `weights` say defect.

    Its categories are red and blue; a defect's logit is bias + the weighted means.
    """
    image = keras.Input((SIDE, SIDE, 3), name="image")
    scaled = layers.Rescaling(1 / 255)(image)
    colours = layers.Conv2D(2, 1, activation="relu", name="colours")
    pooled = layers.GlobalAveragePooling2D()(colours(scaled))
    defect = layers.Dense(1, name=heads.DEFECT_LOGIT)
    category = layers.Dense(2, use_bias=False, name=heads.CATEGORY_LOGITS)
    answers = {
        "defect": layers.Activation("sigmoid")(defect(pooled)),
        "category": layers.Softmax()(category(pooled)),
    }
    red_less_others, blue_less_others = [1, -1, -1], [-1, -1, 1]
    kernel = np.transpose([red_less_others, blue_less_others])[None, None]
    colours.set_weights([kernel, np.zeros(2)])
    defect.set_weights([np.reshape(weights, (2, 1)), np.array([bias])])
    category.set_weights([np.eye(2)])
    return keras.Model(image, answers)


def maps(model: keras.Model, images: np.ndarray, rows: list[int], head: str) -> np.ndarray:
    return np.array(list(gradcam.heat_maps(model, images, rows, head)))


def test_the_map_lies_where_the_answer_comes_from_and_nowhere_else(photographs):
    (heat,) = maps(colour_detector(), photographs, [0], "defect")
    assert heat.shape == (SIDE, SIDE) and heat.dtype == np.float32
    expected = np.zeros((SIDE, SIDE), bool)
    expected[RED, RED] = True
    assert ((heat > 0) == expected).all()


def test_the_map_s_sum_is_the_logit(photographs):
    (heat,) = maps(colour_detector((3, 0)), photographs, [0], "defect")
    logit = 3 * 25 / SIDE**2  # the mean of the red filter, 1 on 5 × 5 pixels
    assert heat.sum() == pytest.approx(logit, rel=1e-5)


def test_what_speaks_against_the_answer_is_left_out(photographs):
    (heat,) = maps(colour_detector((1, -1)), photographs, [0], "defect")
    assert heat[RED, RED].all() and not heat[BLUE, BLUE].any()


def test_an_answer_without_evidence_has_an_empty_map(photographs):
    assert not maps(colour_detector(), photographs, [1, 3], "defect").any()


@pytest.mark.parametrize("bias", [200, -200])
def test_a_saturated_answer_still_has_its_map(photographs, bias):
    model = colour_detector(bias=bias)
    assert float(model(photographs[:1])["defect"][0, 0]) in (0, 1)
    expected = maps(colour_detector(), photographs, [0], "defect")
    np.testing.assert_allclose(maps(model, photographs, [0], "defect"), expected)


def test_the_category_head_explains_the_likeliest_category(photographs):
    red, blue = maps(colour_detector(), photographs, [2, 1], "category")
    assert red[RED, RED].all() and not red[BLUE, BLUE].any()
    assert blue[BLUE, BLUE].all() and not blue[RED, RED].any()


def test_maps_come_in_the_order_of_the_rows_over_many_batches(photographs):
    model, rows = colour_detector(), [0, 2, 1] * 50
    alone = [maps(model, photographs, [row], "defect")[0] for row in range(3)]
    together = maps(model, photographs, rows, "defect")
    np.testing.assert_array_equal(together, [alone[row] for row in rows])


def test_a_coarse_map_is_enlarged_to_the_image():
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = layers.MaxPooling2D(4)(image)
    x = layers.Conv2D(2, 3, padding="same", name="last")(x)
    x = layers.Dense(1, name=heads.DEFECT_LOGIT)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, {"defect": layers.Activation("sigmoid")(x)})
    noise = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), np.uint8)
    (heat,) = maps(model, noise, [0], "defect")
    assert heat.shape == (SIDE, SIDE) and heat.min() >= 0
