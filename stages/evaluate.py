"""Judge the model on every split; choose the threshold on val and the cross-fitted train images."""

from twinhead import evaluation, files, params, paths, stage
from twinhead.dataset import catalog, features, pixels, splits, tables

SUMMARY = {
    "val_auroc_mean": "val.defect.auroc_category_mean",
    "test_auroc_mean": "test.defect.auroc_category_mean",
    "val_auroc": "val.defect.auroc",
    "test_auroc": "test.defect.auroc",
    "val_f1": "val.defect.f1",
    "test_f1": "test.defect.f1",
    "test_category": "test.category.accuracy",
    "train_auroc_mean": "train.defect.auroc_category_mean",
}
"""Val chooses, and so stands before test, which only judges."""


def evaluate() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import tracking
        from twinhead.model import inference, network

    with tracking.running("evaluate", settings) as live:
        frame, split = catalog.read(paths.CATALOG), splits.read(paths.SPLITS)
        model, known = network.load(paths.MODEL), features.load(paths.FEATURES)
        source = inference.source(settings.model, pixels.load(paths.PIXELS), known)
        names = catalog.categories(frame)
        predictions = inference.predict(model, source, frame, split, names)
        predictions["group"] = splits.groups(paths.SPLITS)
        crossfit = tables.read(paths.CROSSFIT)
        metrics = evaluation.judge(predictions, crossfit, settings.evaluate)
        relabelled = (frame["reviewed"] == catalog.RELABELLED) & (split == splits.TEST)
        metrics[splits.TEST]["relabelled"] = int(relabelled.sum())
        pooled = known[features.POOLED]
        metrics["baselines"] = evaluation.judge_baselines(predictions, lambda rows: pooled[rows, 0])
        predictions[evaluation.NEAREST] = evaluation.nearest(
            predictions, lambda rows: pooled[rows, 0]
        )
        metrics["test"]["twins"] = evaluation.judge_twins(predictions, settings.evaluate.bootstrap)
        predictions = evaluation.decide(predictions, metrics)
        files.write_table(predictions, paths.PREDICTIONS)
        files.write_json(metrics, paths.metrics("evaluate"))
        files.write_json(files.chosen(metrics, SUMMARY), paths.summary("evaluate"))
        with files.whole(paths.CHARTS) as folder:
            evaluation.write_curves(predictions, folder)
        tracking.record("evaluate", settings, live)
