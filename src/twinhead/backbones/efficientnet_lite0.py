"""EfficientNet-Lite0: a small convolutional backbone that runs well on a processor.

Tan and Le, EfficientNet, ICML 2019; Lite (ReLU6, no squeeze-and-excite) is from tensorflow/tpu.
"""

import keras
from keras import layers

from twinhead.backbones import weights as imagenet

STEM, HEAD = 32, 1280
STAGES = (
    # repeats, kernel, stride of the first block, expansion, filters
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def build(
    image: keras.KerasTensor, weights: str | None = "imagenet"
) -> dict[str, keras.KerasTensor]:
    """Add the backbone's layers, each named, to the graph that `image` starts.

    Args:
        image: RGB as a camera gives it, 0 to 255, (batch, height, width, 3), any float dtype.
        weights: "imagenet", or None for random ones.

    Returns the feature maps, each (batch, height / stride, width / stride, filters): "stage1" to
    "stage7", at strides 2, 4, 8, 16, 16, 32, 32, and "head" (32).
    ImageNet's batch normalisation comes frozen, and should stay so while convolutions are
    fine-tuned: small batches of look-alike products are no better estimate of its statistics.
    Raises InputError where the weights are missing.
    """
    if weights not in ("imagenet", None):
        raise ValueError(f'weights is {weights!r}; expected "imagenet" or None')
    graph = _Graph(frozen_statistics=weights is not None)
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="normalise")(image)
    x = graph.convolve(x, "stem", ("_conv_stem", "_bn0"), filters=STEM, stride=2)
    maps, block, width = {}, 0, STEM
    for stage, (repeats, kernel, stride, expansion, filters) in enumerate(STAGES, start=1):
        for repeat in range(repeats):
            name, torch, shortcut = f"block{block}", f"_blocks.{block}", x
            if expansion > 1:
                source = f"{torch}._expand_conv", f"{torch}._bn0"
                x = graph.convolve(x, f"{name}_expand", source, filters=width * expansion, kernel=1)
            source = f"{torch}._depthwise_conv", f"{torch}._bn1"
            step = 1 if repeat else stride
            x = graph.convolve(x, f"{name}_depthwise", source, kernel=kernel, stride=step)
            source = f"{torch}._project_conv", f"{torch}._bn2"
            x = graph.convolve(x, f"{name}_project", source, filters=filters, kernel=1, relu=False)
            if repeat:
                x = layers.Add(name=f"{name}_add")([shortcut, x])
            block, width = block + 1, filters
        maps[f"stage{stage}"] = x
    maps["head"] = graph.convolve(x, "head", ("_conv_head", "_bn1"), filters=HEAD, kernel=1)
    if weights == "imagenet":
        graph.assign(imagenet.load())
    return maps


class _Graph:
    """Adds convolutions to a graph, and remembers which torch tensors each layer takes."""

    def __init__(self, frozen_statistics: bool):
        self.frozen_statistics = frozen_statistics
        self.sources: dict[layers.Layer, str] = {}

    def convolve(
        self,
        x: keras.KerasTensor,
        name: str,
        sources: tuple[str, str],
        filters: int | None = None,
        kernel: int = 3,
        stride: int = 1,
        relu: bool = True,
    ) -> keras.KerasTensor:
        """Convolution (depthwise where filters is None), batch normalisation, ReLU6."""
        options = dict(strides=stride, padding="same", use_bias=False, name=f"{name}_conv")
        if filters is None:
            convolution = layers.DepthwiseConv2D(kernel, **options)
        else:
            convolution = layers.Conv2D(filters, kernel, **options)
        normalisation = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")
        # training=False wouldn't do: a functional model's own `training` overrides its layers'.
        normalisation.trainable = not self.frozen_statistics
        self.sources |= dict(zip((convolution, normalisation), sources, strict=True))
        x = normalisation(convolution(x))
        return layers.ReLU(6.0, name=f"{name}_relu")(x) if relu else x

    def assign(self, tensors: dict) -> None:
        for layer, source in self.sources.items():
            if isinstance(layer, layers.BatchNormalization):
                parts = ("weight", "bias", "running_mean", "running_var")
                layer.set_weights([tensors[f"{source}.{part}"] for part in parts])
            else:
                # torch: (out, in, height, width); Keras: (height, width, in, out), but for a
                # depthwise kernel (height, width, channels, 1)
                depthwise = isinstance(layer, layers.DepthwiseConv2D)
                axes = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
                layer.set_weights([tensors[f"{source}.weight"].transpose(axes)])
