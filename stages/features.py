"""Run the ImageNet backbone over every image, once for all experiments.

Frozen, it is what the heads learn from; and it is the baseline that every network has to beat.
"""

from twinhead import params, paths, stage
from twinhead.dataset import pixels
from twinhead.dataset.features import POOLED


def features() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import engine
        from twinhead.backbones import extraction

    images = pixels.load(paths.PIXELS)
    views = settings.features.views if settings.model.has_frozen_backbone else 1
    trunk = extraction.trunk(images.shape[1])
    describe = engine.fastest(trunk)
    computed = extraction.build(
        describe,
        list(trunk.output) if settings.model.has_frozen_backbone else [POOLED],
        images,
        views,
        paths.FEATURES,
        paths.EXTRACTED,
        stage.progress("features"),
        engine=engine.version(describe),
    )
    went = f"{computed} of {len(images)} images went through the backbone"
    print(f"features: {went} ({describe.name})", flush=True)
