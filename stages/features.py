"""Run the ImageNet backbone over every image, once for all experiments.

Frozen, it is what the heads learn from; and it is the baseline that every network has to beat.
"""

from twinhead import stage  # first of all: from here on Ctrl-C ends it with a line

# isort: split
from twinhead import features as stored
from twinhead import params, paths, pixels


def features() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import network

    images = pixels.load(paths.PIXELS)
    views = settings.features.views if network.is_frozen(settings.model) else 1
    trunk = network.imagenet_trunk(images.shape[1])
    width, progress = trunk.output.shape[-1], stage.progress("features")
    stored.build(trunk.predict_on_batch, width, images, views, paths.FEATURES, progress)


if __name__ == "__main__":
    stage.run(features)
