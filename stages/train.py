"""Fit the network to the train split; val chooses the epoch."""

from twinhead import catalog, params, paths, pixels, splits, stage
from twinhead.plots import training as curves


def train() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import network, tracking, training

    frame, split = catalog.read(paths.CATALOG), splits.read(paths.SPLITS)
    with tracking.training(settings) as live:
        result = training.train(
            pixels.load(paths.PIXELS),
            frame,
            split,
            settings.model,
            settings.train,
            state=paths.TRAINING_STATE,
            epoch_done=stage.epochs(settings.train.epochs, live.epoch),
        )
        network.save(result.model, paths.MODEL)
        result.history.to_csv(paths.HISTORY, index=False, lineterminator="\n")
        stage.write_json(result.metrics(), paths.metrics("train"))
        curves.learning_curves(
            result.history, result.best_epoch, paths.PLOTS / "train" / "learning_curves.png"
        )
        result.model.set_weights(result.checkpoint)
        network.save(result.model, paths.CHECKPOINT)
    tracking.record("train", settings, live)


if __name__ == "__main__":
    stage.run(train)
