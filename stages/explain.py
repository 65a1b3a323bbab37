"""Show where in a photograph the network's answer comes from; score that against the masks."""

from twinhead import stage  # first of all: from here on Ctrl-C ends it with a line

# isort: split
from collections.abc import Iterator

import numpy as np

from twinhead import (
    catalog,
    evaluation,
    explanation,
    files,
    params,
    paths,
    pixels,
    splits,
    summary,
)
from twinhead.plots import overlay


def explain() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import heat, network, tracking

    with tracking.running("explain", settings) as live:
        frame = catalog.read(paths.CATALOG)
        predictions = evaluation.read(paths.PREDICTIONS)
        test = explanation.with_outcomes(predictions[predictions["split"] == splits.TEST])
        model, images = network.load(paths.MODEL), pixels.load(paths.PIXELS)
        masks = pixels.load_masks(paths.MASKS, frame)

        def maps(rows: list[int]) -> Iterator[np.ndarray]:
            return heat.maps(model, images, rows, settings.explain.head, settings.explain.method)

        scores = explanation.score(test, maps(list(test.index)), masks)
        files.write_table(scores.table, paths.EXPLANATIONS)
        files.write_json(scores.metrics, paths.metrics("explain"))
        summary.write("explain", scores.metrics)
        chosen = explanation.choose(
            test, settings.explain.images_per_category, settings.explain.seed
        )
        with files.whole(paths.GRADCAM) as folder:
            for row, heat_map in zip(chosen, maps(chosen), strict=True):
                name, title, subtitle = explanation.describe(test.loc[row])
                overlay.draw(
                    images[row],
                    masks.get(row),
                    heat_map,
                    scores.scale,
                    title,
                    subtitle,
                    folder / name,
                )
        tracking.record("explain", settings, live)


if __name__ == "__main__":
    stage.run(explain)
