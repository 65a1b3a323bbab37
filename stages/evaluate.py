"""Judge the model on train, val and test; val chooses the defect threshold."""

import numpy as np

from twinhead import (
    baselines,
    catalog,
    charts,
    evaluation,
    features,
    files,
    params,
    paths,
    pixels,
    splits,
    stage,
    summary,
)  # fmt: skip
from twinhead.plots import evaluation as figures


def evaluate() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import inference, network, tracking

    with tracking.running("evaluate", settings) as live:
        frame, split = catalog.read(paths.CATALOG), splits.read(paths.SPLITS)
        names = catalog.labels(frame)["categories"]
        model, known = network.load(paths.MODEL), features.load(paths.FEATURES)
        inputs = network.inputs(settings.model, pixels.load(paths.PIXELS), known)
        predictions, read = inference.predict(model, inputs, frame, split, names)
        metrics = evaluation.judge(predictions, settings.evaluate.bootstrap)
        metrics["baselines"] = baselines.judge(predictions, known[:, 0])
        predictions = evaluation.decide(predictions, metrics)
        files.write_table(predictions, paths.PREDICTIONS)
        with files.whole(paths.HEAD_INPUTS) as part:
            np.save(part, read)
        files.write_json(metrics, paths.metrics("evaluate"))
        summary.write("evaluate", metrics)
        with files.whole(paths.CHARTS) as folder:
            charts.write(predictions, folder)
        with files.whole(paths.PLOTS / "evaluate") as folder:
            figures.draw(predictions, metrics, names, folder)
        tracking.record("evaluate", settings, live)


if __name__ == "__main__":
    stage.run(evaluate)
