"""Fit the network to the train split; val chooses the epoch."""

import shutil

from twinhead import catalog, features, params, paths, pixels, splits, stage, summary
from twinhead.plots import training as curves


def train() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import network, tracking, training

    frame, split = catalog.read(paths.CATALOG), splits.read(paths.SPLITS)
    images = pixels.load(paths.PIXELS)
    training.check(frame, split, settings.model)
    with tracking.training(settings) as live:
        result = training.train(
            network.inputs(settings.model, images, features.load(paths.FEATURES)),
            images.shape[1],
            frame,
            split,
            settings.model,
            settings.train,
            state=paths.TRAINING_STATE,
            epoch_done=stage.epochs(settings.train.epochs, live.epoch),
        )
        network.save(result.best(), paths.MODEL)
        network.save(result.checkpoint(), paths.CHECKPOINT)
        result.history.to_csv(paths.HISTORY, index=False, lineterminator="\n")
        stage.write_json(result.metrics(), paths.metrics("train"))
        summary.write("train", result.metrics())
        curves.learning_curves(
            result.history, result.progress.best_epoch, paths.PLOTS / "train/learning_curves.png"
        )
    shutil.rmtree(paths.TRAINING_STATE, ignore_errors=True)
    tracking.record("train", settings, live)


if __name__ == "__main__":
    stage.run(train)
