"""Show where in the photograph the network's answer comes from, and score that against the masks."""

from collections.abc import Iterator

import numpy as np

from twinhead import catalog, explanation, params, paths, pixels, splits, stage
from twinhead.plots import overlay


def explain() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import heat, inference, network, tracking

    frame = catalog.read(paths.CATALOG)
    predictions = inference.read(paths.PREDICTIONS)
    test = explanation.with_outcomes(predictions[predictions["split"] == splits.TEST])
    model, images = network.load(paths.MODEL), pixels.load(paths.PIXELS)
    masks = pixels.load_masks(paths.MASKS, frame)

    def maps(rows: list[int]) -> Iterator[np.ndarray]:
        return heat.maps(model, images, rows, settings.explain.head, settings.explain.method)

    scores = explanation.score(test, maps(list(test.index)), masks)
    scores.table.to_csv(paths.EXPLANATIONS, index=False, lineterminator="\n")
    stage.write_json(scores.metrics, paths.metrics("explain"))
    folder = stage.fresh(paths.GRADCAM)
    chosen = explanation.choose(test, settings.explain.images_per_category, settings.explain.seed)
    for row, heat_map in zip(chosen, maps(chosen), strict=True):
        name, title, subtitle = explanation.describe(test.loc[row])
        overlay.draw(
            images[row], masks.get(row), heat_map, scores.scale, title, subtitle, folder / name
        )
    tracking.record("explain", settings)


if __name__ == "__main__":
    stage.run(explain)
