"""Run a frozen backbone over every image, once for all experiments on the heads."""

from twinhead import params, paths, pixels, stage


def features() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import features as stored
        from twinhead import network

    if not network.is_frozen(settings.model):
        print("features: none stored, since the backbone is trained itself")
        return stored.leave_out(paths.FEATURES)
    images = pixels.load(paths.PIXELS)
    trunk = network.trunk(network.build(settings.model, images.shape[1], categories=1, seed=0))
    views, progress = settings.features.views, stage.progress("features")
    return stored.build(trunk, images, views, paths.FEATURES, progress)


if __name__ == "__main__":
    stage.run(features)
