"""Layers of ours under names that Keras can write into a file, wherever their code lies."""

import keras


def registered(layer: type) -> type:
    """Register a layer as `twinhead>Name`, and let its files name no module of ours.

    Keras writes a layer's module beside that name; a move of the code would change a model's bytes.
    """
    layer.__module__ = "twinhead"
    return keras.saving.register_keras_serializable("twinhead")(layer)
