"""Judge the model on train, val and test; val chooses the defect threshold."""

from twinhead import stage  # first of all: from here on Ctrl-C ends it with a line

# isort: split
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
        files.write_array(read, paths.HEAD_INPUTS)
        files.write_json(metrics, paths.metrics("evaluate"))
        summary.write("evaluate", metrics)
        with files.whole(paths.CHARTS) as folder:
            charts.write(predictions, folder)
        with files.whole(paths.PLOTS / "evaluate") as folder:
            figures.draw(predictions, metrics, names, folder)
        tracking.record("evaluate", settings, live)


if __name__ == "__main__":
    stage.run(evaluate)
