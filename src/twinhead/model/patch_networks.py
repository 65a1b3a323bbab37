"""The networks that look at each patch alone: has something like it been labelled as a defect?"""

from typing import Any

import keras
from keras import layers, ops

from twinhead.backbones.registration import registered

HIDDEN = 64
"""Units in each of a shipped network's two layers."""
CAUTIOUS = -2.0
"""The logit of every patch before training: good."""


@registered
class PatchNetworks(layers.Layer):
    """Networks of one kind, one for each fold left out.

    Takes [patches, distance] or [patches, distance, coarse]. patches: (batch, height, width,
    channels) of the fine grid; distance: (batch, height, width, 1); coarse: (batch, …, …, channels)
    of the coarse grid; all standardised by good patches. Gives logits, (batch, folds, height,
    width). The networks share no weight; they lie side by side, so that one multiplication serves
    all.
    """

    def __init__(self, folds: int, seed: int, units: int = HIDDEN, **options: Any) -> None:
        """units: in each of a network's two layers."""
        super().__init__(**options)
        self.folds, self.seed, self.units = folds, seed, units

    def build(self, shapes: list[tuple]) -> None:
        of_patches, of_distance, *of_coarse = (shape[-1] for shape in shapes)
        fine, width = of_patches + of_distance, self.folds * self.units
        channels = fine + sum(of_coarse)

        def kernel(name: str, shape: tuple[int, ...], scale: float, place: int) -> keras.Variable:
            # He et al. 2015 (arXiv:1502.01852); scale: for the inputs that the shape doesn't tell.
            drawn = keras.initializers.VarianceScaling(2.0 * scale, seed=self.seed + place)
            return self.add_weight(shape=shape, initializer=drawn, name=name)

        self.fine = kernel("fine", (fine, width), fine / channels, 1)
        self.coarse = [kernel("coarse", (own, width), own / channels, 3) for own in of_coarse]
        self.bias = self.add_weight(shape=(width,), initializer="zeros", name="bias")
        square = (self.folds, self.units, self.units)
        self.hidden = kernel("hidden", square, self.folds, 2)
        self.hidden_bias = self.add_weight(
            shape=(self.folds, self.units), initializer="zeros", name="hidden_bias"
        )
        self.logit = self.add_weight(
            shape=(self.folds, self.units + of_distance, 1), initializer="zeros", name="logit"
        )
        self.logit_bias = self.add_weight(
            shape=(self.folds,),
            initializer=keras.initializers.Constant(CAUTIOUS),
            name="logit_bias",
        )

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        patches, distance, *coarse = inputs
        height, width = distance.shape[1:3]
        flat = ops.reshape(distance, (-1, distance.shape[-1]))
        x = ops.concatenate([ops.reshape(patches, (-1, patches.shape[-1])), flat], axis=1)
        x = ops.matmul(x, self.fine)
        if coarse:
            # On its own grid, where it is a quarter of the work, and then repeated: the same sum.
            # The bias is added there: see readings.Mean for sums of three.
            own = ops.matmul(ops.reshape(coarse[0], (-1, coarse[0].shape[-1])), self.coarse[0])
            own = ops.reshape(own + self.bias, (-1, *coarse[0].shape[1:3], x.shape[-1]))
            x = x + ops.reshape(repeated(own, height, width), (-1, x.shape[-1]))
        else:
            x = x + self.bias
        logits = []
        for fold, own in enumerate(ops.split(ops.relu(x), self.folds, axis=1)):
            own = ops.relu(ops.matmul(own, self.hidden[fold]) + self.hidden_bias[fold])
            own = ops.matmul(ops.concatenate([own, flat], axis=1), self.logit[fold])
            logits.append(ops.reshape(own + self.logit_bias[fold], (-1, height, width)))
        return ops.stack(logits, axis=1)

    def get_config(self) -> dict:
        return super().get_config() | {
            "folds": self.folds,
            "seed": self.seed,
            "units": self.units,
        }


def repeated(x: keras.KerasTensor, height: int, width: int) -> keras.KerasTensor:
    """A map of stride 32 on the grid of stride 16: (batch, height, width, channels)."""
    return ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2)[:, :height, :width]
