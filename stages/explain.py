"""Show where in a photograph the network's answer comes from; score that against the masks."""

from collections.abc import Iterator

import numpy as np

from twinhead import files, params, paths, stage
from twinhead.attribution import localisation
from twinhead.dataset import catalog, pixels, splits, tables

SUMMARY = {"pointing_hit": "pointing_hit"}


def explain() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import tracking
        from twinhead.attribution import maps
        from twinhead.model import network

    with tracking.running("explain", settings) as live:
        frame = catalog.read(paths.CATALOG)
        predictions = tables.read(paths.PREDICTIONS)
        test = localisation.with_outcomes(predictions[predictions["split"] == splits.TEST])
        model, images = network.load(paths.MODEL), pixels.load(paths.PIXELS)
        masks = pixels.load_masks(paths.MASKS, frame)

        def heat(rows: list[int]) -> Iterator[np.ndarray]:
            return maps.maps(model, images, rows, settings.explain.head, settings.explain.method)

        scores = localisation.score(test, heat(list(test.index)), masks)
        chosen = localisation.choose(
            test, settings.explain.images_per_category, settings.explain.seed
        )
        files.write_table(localisation.mark(scores.table, chosen), paths.EXPLANATIONS)
        with files.whole(paths.HEAT_MAPS) as part:
            shape = (len(chosen), *images.shape[1:3])
            drawn = files.new_array(part, np.float32, shape)
            for place, heat_map in zip(drawn, heat(chosen), strict=True):
                place[...] = heat_map
            drawn.flush()
        files.write_json(scores.metrics, paths.metrics("explain"))
        files.write_json(files.chosen(scores.metrics, SUMMARY), paths.summary("explain"))
        tracking.record("explain", settings, live)
