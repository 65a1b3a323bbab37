"""Compute the heat map of each test image, and score the maps against the masks."""

from twinhead import files, params, paths, stage
from twinhead.attribution import localisation
from twinhead.dataset import catalog, features, pixels, splits, tables

SUMMARY = {"pointing_hit": "pointing_hit"}


def explain() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import tracking
        from twinhead.attribution import maps
        from twinhead.model import inference, network

    with tracking.running("explain", settings) as live:
        frame = catalog.read(paths.CATALOG)
        predictions = tables.read(paths.PREDICTIONS)
        test = localisation.with_outcomes(predictions[predictions["split"] == splits.TEST])
        model, images = network.load(paths.MODEL), pixels.load(paths.PIXELS)
        masks = pixels.load_masks(paths.MASKS, frame)
        source = inference.source(settings.model, images, features.load(paths.FEATURES))

        chosen = localisation.choose(
            test, settings.explain.images_per_category, settings.explain.seed
        )
        rows, explain = list(test.index), settings.explain
        heat = maps.maps(model, source, rows, explain.head, explain.method)
        scores = localisation.score(test, heat, masks, images.shape[1], keep=chosen)
        files.write_table(localisation.mark(scores.table, chosen), paths.EXPLANATIONS)
        files.write_array(scores.kept, paths.HEAT_MAPS)
        files.write_json(scores.metrics, paths.metrics("explain"))
        files.write_json(files.chosen(scores.metrics, SUMMARY), paths.summary("explain"))
        tracking.record("explain", settings, live)
