"""Send what a stage leaves to the experiment's run; fill in from files what the run lacks."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256

import pandas as pd
from mlflow.entities import RunStatus, RunTag
from mlflow.tracking import MlflowClient

from twinhead import errors, files, params, paths
from twinhead import stage as runner
from twinhead.tracking import identity, metrics, runs, store
from twinhead.tracking.live import FAILURE_TAG, Live, log_points, spared
from twinhead.tracking.training_log import FOLDER, TrainingLog

FILES = {
    "index": [paths.metrics("index"), paths.LABELS, paths.REMARKS],
    "split": [paths.metrics("split"), paths.SPLITS],
    "train": [paths.metrics("train"), paths.HISTORY, paths.MODEL],
    "evaluate": [paths.metrics("evaluate"), paths.PREDICTIONS],
    "embed": [paths.metrics("embed"), paths.EMBEDDING],
    "explain": [paths.metrics("explain"), paths.EXPLANATIONS],
    "export": [paths.metrics("export"), paths.EDGE],
    "plots": [paths.PLOTS / name for name in ("train", "evaluate", "embed")] + [paths.OVERLAYS],
    "report": [paths.metrics("report"), paths.REPORT],
}
"""What the run gets of each stage, in the pipeline's order."""
BESIDE = {("explain", "embed"), ("export", "embed"), ("plots", "export")}
"""A stage, and one before it that it doesn't read."""


@contextmanager
def running(stage: str, settings: params.Params) -> Iterator[Live]:
    """Open the experiment's run, made where there is none, while a stage works.

    A stage that fails or is stopped leaves it failed or killed, with the reason in a tag. Raises
    InputError before a training if the store can't be used and `tracking.on_failure` is "stop", and
    FileNotFoundError without the files that tell which run it is.
    """
    live = Live(stage, _log(settings))
    must = stage == "train" and settings.tracking.on_failure == "stop"
    remedy = "; make it reachable, or set tracking.on_failure to continue" if must else None
    for file in (paths.CATALOG, *([paths.MODEL] if stage != "train" else [])):
        file.stat()  # a missing one isn't the store's fault
    try:
        with runner.parting(live.leave):
            with spared(live, remedy):
                runs.start(live, settings)
            yield live
    except KeyboardInterrupt:
        live.kill()
        raise
    except Exception as error:
        live.close(RunStatus.FAILED, errors.message(error) or f"{type(error).__name__}: {error}")
        raise


def record(
    stage: str,
    settings: params.Params,
    live: Live | None = None,
    last: Callable[[str, params.Params], None] = lambda run_id, settings: None,
) -> None:
    """Send what a stage, and each before it, has left to the experiment's run.

    `live` is the run that the stage has open; `last` is called with the run's id before it is
    called finished. Nothing is sent twice. A store that can't be used stops no stage: the files
    stay, and calling this later, without `live`, sends them; that raises InputError if the store
    still can't be used. Reads the stages' files in the current directory, the model and
    `metrics/index.json` at least.
    """
    by_hand = live is None
    live = live or Live(stage, _log(settings))
    model = identity.file_digest(paths.MODEL)
    if stage == "train":
        live.log.close(model)
    with spared(live, remedy="" if by_hand else None):
        experiment = store.connect(settings)
        known = [run for run in runs.own(experiment, settings) if run != live.run_id]
        if known:
            if live.run_id:  # the same model once more: its run is complete already
                MlflowClient().delete_run(live.run_id)
            live.run_id = known[0]
            runs.sign(live.run_id, settings)
        elif not live.run_id:
            runs.start(live, settings)
        MlflowClient().set_tag(live.run_id, identity.MODEL_TAG, model)
        runs.say_repeated(live.run_id, experiment, settings)
        for name in _up_to(stage):
            _send(live.run_id, name, live.log)
        last(live.run_id, settings)
        MlflowClient().set_terminated(live.run_id)
        if FAILURE_TAG in MlflowClient().get_run(live.run_id).data.tags:
            MlflowClient().delete_tag(live.run_id, FAILURE_TAG)


def _send(run_id: str, stage: str, log: TrainingLog) -> None:
    client = MlflowClient()
    found = [path for path in FILES[stage] if path.exists()]
    digest = sha256("".join(map(identity.file_digest, found)).encode()).hexdigest()
    if not found or client.get_run(run_id).data.tags.get(f"twinhead.{stage}") == digest:
        return
    if paths.metrics(stage) in found:
        measured = files.read_json(paths.metrics(stage))
        log_points(run_id, metrics.of_stage(stage, measured))
    if stage == "train":
        _send_curves(run_id, log.read())
    for path in found:
        if path.is_dir():
            client.log_artifacts(run_id, str(path), f"{stage}/{path.name}")
        else:
            client.log_artifact(run_id, str(path), stage)
    client.set_tag(run_id, f"twinhead.{stage}", digest)


def _send_curves(run_id: str, page: dict) -> None:
    """Send the epochs and seconds that the run lacks: the store was away, or DVC had the model."""
    client, history = MlflowClient(), pd.read_csv(paths.HISTORY)
    logged = {metric.step for metric in client.get_metric_history(run_id, "loss/train")}
    points = [
        point
        for row in history[~history["epoch"].isin(logged)].to_dict("records")
        for point in metrics.of_epoch(row)
    ]
    if page.get("model") == identity.file_digest(paths.MODEL):
        logged = {metric.step for metric in client.get_metric_history(run_id, "seconds_per_epoch")}
        points += [
            metrics.point("seconds_per_epoch", page["seconds"][str(epoch)], epoch)
            for epoch in history["epoch"]
            if epoch not in logged and str(epoch) in page["seconds"]
        ]
        tags = [RunTag(f"machine.{name}", fact) for name, fact in page["machine"].items()]
        client.log_batch(run_id, tags=tags)
    log_points(run_id, points)


def _up_to(stage: str) -> list[str]:
    """The stage and those before it whose files are surely of the same experiment."""
    names = list(FILES)[: list(FILES).index(stage) + 1]
    return [name for name in names if (stage, name) not in BESIDE]


def _log(settings: params.Params) -> TrainingLog:
    """The page of the training under these params: whatever decides the model is in its name."""
    parts = settings.model_dump(include={"data", "split", "features", "model", "train"})
    digest = sha256(
        (json.dumps(parts, sort_keys=True) + identity.data_digest()).encode()
    ).hexdigest()
    return TrainingLog(store.repository() / FOLDER / f"{digest[:16]}.json")
