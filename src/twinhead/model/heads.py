"""The two heads: the paper's, and those that compare a product with good ones of its category."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from twinhead.backbones.registration import registered
from twinhead.model.moments import Moments

SHARED = "shared"
"""The layer that both heads read."""
CATEGORY_LOGITS, DEFECT_LOGIT = "category_logits", "defect_logit"
POOLED, DEVIATION = "pooled", "deviation"
SCALE_FLOOR = 0.1
"""A feature's spread counts as at least this share of what it is in the average category."""


def paper(pooled: keras.KerasTensor, tasks: Sequence[str], categories: int, seed: int) -> dict:
    """Add the paper's shared layer and heads; return probabilities by task.

    pooled: (batch, filters). `category` is (batch, categories), `defect` (batch, 1), both float32.
    """
    shared = layers.Dense(512, activation="relu", name=SHARED)(pooled)
    shared = layers.Dropout(0.5, seed=seed, name="shared_dropout")(shared)
    answers = {}
    if "category" in tasks:
        x = layers.Dense(256, activation="relu", name="category_hidden")(shared)
        x = layers.Dropout(0.3, seed=seed + 1, name="category_dropout")(x)
        answers["category"] = _category(x, categories)
    if "defect" in tasks:
        x = layers.Dense(128, activation="relu", name="defect_hidden")(shared)
        x = layers.Dropout(0.3, seed=seed + 2, name="defect_dropout")(x)
        logit = _defect_logit(x)
        answers["defect"] = layers.Activation("sigmoid", dtype="float32", name="defect")(logit)
    return answers


def comparing(
    features: keras.KerasTensor, tasks: Sequence[str], categories: int, seed: int
) -> dict:
    """Add heads for a pretrained backbone's pooled maps, (batch, values).

    Both read the maps' means and spreads, standardised (`shared`). The defect head reads how far
    these lie from the good images of the category that the category head sees, so that it need not
    learn what each product looks like; without a category head, from all good images.

    Returns by task: `category`, (batch, categories), probabilities; `defect`, (batch, 1), the logit
    that detector.py combines with what the patches say; with it `deviation`, (batch, values).
    """
    shared = Standardised(dtype="float32", name=SHARED)(features)
    answers = {}
    if "category" in tasks:
        x = layers.Dense(512, activation="relu", name="category_hidden")(shared)
        x = layers.Dropout(0.5, seed=seed, name="category_dropout")(x)
        answers["category"] = _category(x, categories)
    if "defect" in tasks:
        seen = [answers["category"]] if "category" in tasks else []
        groups = categories if "category" in tasks else 1
        deviation = Deviation(groups, dtype="float32", name=DEVIATION)([shared, *seen])
        answers["defect"] = _defect_logit(deviation, start="zeros")
        answers[DEVIATION] = deviation
    return answers


@registered
class Standardised(layers.Layer):
    """Features less their mean, over their standard deviation, both taken by `adapt`."""

    def build(self, shape: tuple) -> None:
        self.mean = self.add_weight(shape=shape[-1:], initializer="zeros", trainable=False)
        self.scale = self.add_weight(shape=shape[-1:], initializer="ones", trainable=False)

    def adapt(self, moments: Moments) -> None:
        """moments: of the training images' features."""
        _, mean, spread = moments.joined(range(len(moments.count)))
        self.mean.assign(mean)
        self.scale.assign(spread + 1e-6)

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return (x - self.mean) / self.scale


@registered
class Deviation(layers.Layer):
    """Features less the mean of good images of the same category, over their standard deviation.

    Takes [features, category probabilities], (batch, features) and (batch, categories), and weighs
    the categories' statistics by the probabilities; [features] alone are of one category. No
    gradient reaches the probabilities: the defects don't teach the category head.
    """

    def __init__(self, categories: int, **options: object) -> None:
        super().__init__(**options)
        self.categories = categories

    def build(self, shapes: list[tuple]) -> None:
        shape = (self.categories, shapes[0][-1])
        self.mean = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="mean")
        self.scale = self.add_weight(shape=shape, initializer="ones", trainable=False, name="scale")

    def adapt(self, moments: Moments) -> None:
        """Take the statistics of `good_statistics`; moments: of the features that it reads."""
        mean, scale = good_statistics(moments)
        self.mean.assign(mean)
        self.scale.assign(scale)

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        features, *seen = inputs
        likely = ops.stop_gradient(seen[0]) if seen else ops.ones_like(features[:, :1])
        return (features - ops.matmul(likely, self.mean)) / ops.matmul(likely, self.scale)

    def get_config(self) -> dict:
        return super().get_config() | {"categories": self.categories}


def good_statistics(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of each category's good images: (categories, features) each.

    A category without good images takes all of its images, and one with a single image the average
    category's spread.
    """
    categories, values = len(moments.count) // 2, moments.mean.shape[1]
    mean, scale = np.zeros((categories, values)), np.full((categories, values), np.nan)
    for number in range(categories):
        good, bad = Moments.group(number, 0), Moments.group(number, 1)
        count, own, spread = moments.joined([good] if moments.count[good] else [good, bad])
        if count:
            mean[number] = own
        if count > 1:
            scale[number] = spread
    known = ~np.isnan(scale[:, 0])
    average = scale[known].mean(axis=0) if known.any() else np.ones(values)
    scale[~known] = average
    return mean, np.maximum(scale, SCALE_FLOOR * average + 1e-6)


def _category(x: keras.KerasTensor, categories: int) -> keras.KerasTensor:
    logits = layers.Dense(categories, dtype="float32", name=CATEGORY_LOGITS)(x)
    return layers.Softmax(dtype="float32", name="category")(logits)


def _defect_logit(x: keras.KerasTensor, start: str = "glorot_uniform") -> keras.KerasTensor:
    return layers.Dense(1, kernel_initializer=start, dtype="float32", name=DEFECT_LOGIT)(x)
