"""Fit the network to the train split; val chooses the epoch."""

import shutil

from twinhead import files, params, paths, stage
from twinhead.dataset import catalog, features, pixels, splits

SUMMARY = {"parameters": "parameters", "best_epoch": "best_epoch"}


def train() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import tracking
        from twinhead.model import network, precision, training

    computed = precision.available(settings.train.precision)
    if computed != settings.train.precision:
        print(f"train: no bfloat16 in this processor; the training is in {computed}", flush=True)
    frame, split = catalog.read(paths.CATALOG), splits.read(paths.SPLITS)
    images = pixels.load(paths.PIXELS)
    training.check(frame, split, settings.model)
    with tracking.running("train", settings) as live:
        result = training.train(
            network.inputs(settings.model, images, features.load(paths.FEATURES)),
            images.shape[1],
            frame,
            split,
            settings.model,
            settings.train.model_copy(update={"precision": computed}),
            state=paths.TRAINING_STATE,
            epoch_done=stage.epochs(settings.train.epochs, live.epoch),
        )
        if result.progress.diverged:
            print(f"train: {training.diverged(result.progress, settings.train)}", flush=True)
        network.save(result.best(), paths.MODEL)
        network.save(result.checkpoint(), paths.CHECKPOINT)
        files.write_table(result.history, paths.HISTORY)
        files.write_json(result.metrics(), paths.metrics("train"))
        files.write_json(files.chosen(result.metrics(), SUMMARY), paths.summary("train"))
        tracking.record("train", settings, live)
    # Last of all: a stage that is killed before its end starts again, and so needs no new training.
    shutil.rmtree(paths.TRAINING_STATE, ignore_errors=True)
