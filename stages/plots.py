"""Draw what the other stages have measured: curves, confusions, the map and the heat maps."""

import pandas as pd

from twinhead import files, params, paths, stage
from twinhead.dataset import catalog, pixels, tables
from twinhead.plots import embedding, overlays, training
from twinhead.plots import evaluation as quality


def plots() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import tracking

    with tracking.running("plots", settings) as live:
        frame = catalog.read(paths.CATALOG)
        predictions = tables.read(paths.PREDICTIONS)
        metrics = files.read_json(paths.metrics("evaluate"))
        best = files.read_json(paths.metrics("train"))["best_epoch"]
        with files.whole(paths.PLOTS / "train") as folder:
            training.learning_curves(
                pd.read_csv(paths.HISTORY), best, folder / "learning_curves.png"
            )
        with files.whole(paths.PLOTS / "evaluate") as folder:
            quality.draw(predictions, metrics, catalog.categories(frame), folder)
        with files.whole(paths.PLOTS / "embed") as folder:
            embedding.draw(tables.read(paths.EMBEDDING), folder)
        with files.whole(paths.OVERLAYS) as folder:
            overlays.draw(
                predictions,
                tables.read(paths.EXPLANATIONS),
                files.load_array(paths.HEAT_MAPS),
                pixels.load(paths.PIXELS),
                pixels.load_masks(paths.MASKS, frame),
                folder,
            )
        tracking.record("plots", settings, live)
