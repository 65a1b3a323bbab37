"""Judge the model on train, val and test; val chooses the defect threshold."""

from twinhead import (
    baselines, catalog, charts, evaluation, features, params, paths, pixels, splits, stage, summary,
)  # fmt: skip
from twinhead.plots import evaluation as figures


def evaluate() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import inference, network, tracking

    frame, split = catalog.read(paths.CATALOG), splits.read(paths.SPLITS)
    names = catalog.labels(frame)["categories"]
    model, known = network.load(paths.MODEL), features.load(paths.FEATURES)
    inputs = network.inputs(settings.model, pixels.load(paths.PIXELS), known)
    predictions = inference.predict(model, inputs, frame, split, names)
    metrics = evaluation.judge(predictions, settings.evaluate.bootstrap)
    metrics["baselines"] = baselines.judge(predictions, known[:, 0])
    predictions = evaluation.decide(predictions, metrics)
    predictions.to_csv(paths.PREDICTIONS, index=False, lineterminator="\n")
    stage.write_json(metrics, paths.metrics("evaluate"))
    summary.write("evaluate", metrics)
    charts.write(predictions, stage.fresh(paths.CHARTS))
    figures.draw(predictions, metrics, names, stage.fresh(paths.PLOTS / "evaluate"))
    tracking.record("evaluate", settings)


if __name__ == "__main__":
    stage.run(evaluate)
