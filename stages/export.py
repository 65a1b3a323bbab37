"""Export the model for the edge: in float, and in int8 where that answers as the trained one."""

from hashlib import sha256

from twinhead import files, params, paths, stage
from twinhead.attribution.scale import full_colour
from twinhead.dataset import catalog, pixels, splits, tables


def export() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import tracking
        from twinhead.attribution import maps
        from twinhead.export import package, reference
        from twinhead.export.decisions import Rules
        from twinhead.model import detector, network

    with tracking.running("export", settings) as live:
        frame, images = catalog.read(paths.CATALOG), pixels.load(paths.PIXELS)
        model, explain = network.load(paths.MODEL), settings.explain
        own = maps.of_patches(model, explain.head, explain.method)
        judged = files.read_json(paths.metrics("evaluate"))
        known = package.Judged(
            frame,
            splits.read(paths.SPLITS),
            tables.read(paths.PREDICTIONS),
            Rules(
                judged.get("threshold"),
                judged.get("thresholds", {}),
                judged.get("review"),
                detector.UNUSUAL if network.detects(model) else None,
            ),
            scale=full_colour(tables.read(paths.EXPLANATIONS)) if own else None,
            tiles=settings.data.tiles,
            model=sha256(paths.MODEL.read_bytes()).hexdigest(),
            reference=reference.collect(tables.read(paths.CROSSFIT), frame, images),
        )
        masks = pixels.load_masks(paths.MASKS, frame)
        with files.whole(paths.EDGE) as folder:
            folder.mkdir()
            metrics = package.write(
                model, images, masks, known, settings.export.int8, folder,
                lambda text: print(f"export: {text}", flush=True),
            )  # fmt: skip
        files.write_json(metrics, paths.metrics("export"))
        tracking.record("export", settings, live)
