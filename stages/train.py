"""Fit the network to the train split, then its memory and readings; val chooses the epoch."""

import shutil

from twinhead import files, params, paths, stage
from twinhead.dataset import catalog, features, pixels, splits
from twinhead.errors import InputError

SUMMARY = {"parameters": "parameters", "best_epoch": "best_epoch"}


def train() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import tracking
        from twinhead.model import inference, network, precision, training

    computed = precision.available(settings.train.precision)
    if computed != settings.train.precision:
        # What is computed has to be what the params say: by these DVC knows the result again.
        wanted = settings.train.precision
        raise InputError(
            f"params.yaml: train.precision is {wanted}, but this processor computes without"
            f" bfloat16; set it to {computed}"
        )
    frame, split = catalog.read(paths.CATALOG), splits.read(paths.SPLITS)
    images, masks = pixels.load(paths.PIXELS), pixels.load_masks(paths.MASKS, frame)
    source = inference.source(settings.model, images, features.load(paths.FEATURES))
    training.check(frame, split, settings.model, settings.data.side)
    group = splits.groups(paths.SPLITS)
    training.check_groups(split, group, settings.model)
    with tracking.running("train", settings) as live:
        result = training.train(
            source.inputs,
            images.shape[1],
            frame,
            split,
            settings.model,
            settings.train,
            state=paths.TRAINING_STATE,
            epoch_done=stage.epochs(settings.train.epochs, live.epoch),
            resumed=live.resumed,
        )
        if result.progress.diverged:
            print(f"train: {training.diverged(result.progress, settings.train)}", flush=True)
        if network.detects(result.model):
            print("train: heads done; now memory, patch networks and calibration", flush=True)
        crossfit = training.add_readings(result, source, masks, frame, split, group, settings)
        network.save(result.best(), paths.MODEL)
        network.save(result.checkpoint(), paths.CHECKPOINT)
        files.write_table(crossfit, paths.CROSSFIT)
        files.write_table(result.history, paths.HISTORY)
        files.write_json(result.metrics(), paths.metrics("train"))
        files.write_json(files.chosen(result.metrics(), SUMMARY), paths.summary("train"))
        tracking.record("train", settings, live)
    # Last of all: a stage that is killed before its end starts again, and so needs no new training.
    shutil.rmtree(paths.TRAINING_STATE, ignore_errors=True)
