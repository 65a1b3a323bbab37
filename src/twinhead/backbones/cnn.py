"""The paper's backbone: four convolution blocks, trained from scratch."""

import keras
from keras import layers

FILTERS = (32, 64, 128, 256)


def build(image: keras.KerasTensor) -> dict[str, keras.KerasTensor]:
    """Return the feature maps by layer name, finest first; the last, `conv4`, is the paper's.

    image: (batch, size, size, 3), RGB on the scale of 0 to 255. Map k has size / 2**(k-1) pixels a
    side, before its pooling.
    """
    x = layers.Rescaling(1 / 255, name="rescale")(image)
    maps = {}
    for block, filters in enumerate(FILTERS, start=1):
        name = f"conv{block}"
        convolution = layers.Conv2D(filters, 3, padding="same", activation="relu", name=name)
        maps[name] = convolution(x)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(maps[name])
    return maps | {"pool4": x}
