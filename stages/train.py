"""Fit the network to the train split; val chooses the epoch."""

from twinhead import stage  # first of all: from here on Ctrl-C ends it with a line

# isort: split
import shutil

from twinhead import (
    catalog,
    features,
    files,
    params,
    paths,
    pixels,
    splits,
    summary,
)  # fmt: skip
from twinhead.plots import training as curves


def train() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import machine, network, tracking, training

    precision = machine.precision(settings.train.precision)
    if precision != settings.train.precision:
        print(f"train: no bfloat16 in this processor; the training is in {precision}", flush=True)
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
            settings.train.model_copy(update={"precision": precision}),
            state=paths.TRAINING_STATE,
            epoch_done=stage.epochs(settings.train.epochs, live.epoch),
        )
        if result.progress.diverged:
            print(f"train: {training.diverged(result.progress, settings.train)}", flush=True)
        network.save(result.best(), paths.MODEL)
        network.save(result.checkpoint(), paths.CHECKPOINT)
        files.write_table(result.history, paths.HISTORY)
        files.write_json(result.metrics(), paths.metrics("train"))
        summary.write("train", result.metrics())
        with files.whole(paths.PLOTS / "train") as folder:
            curves.learning_curves(
                result.history, result.progress.best_epoch, folder / "learning_curves.png"
            )
        tracking.record("train", settings, live)
    # Last of all: a stage that is killed before its end starts again, and so needs no new training.
    shutil.rmtree(paths.TRAINING_STATE, ignore_errors=True)


if __name__ == "__main__":
    stage.run(train)
