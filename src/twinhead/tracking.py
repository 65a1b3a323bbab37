"""The bridge between DVC and MLflow: every experiment has one run, and the run has everything.

A run is found by what made it: the digests of the params, of the data set and of the model. So a
stage needs no run id from another stage, and whatever DVC took from its cache is filled in from the
files that lie there.
"""

import fcntl
import json
import logging
import math
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
logging.getLogger("alembic").setLevel(logging.WARNING)

import mlflow  # noqa: E402
import pandas as pd  # noqa: E402
from mlflow.entities import Metric, Param, RunStatus, RunTag  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402

from twinhead import (  # noqa: E402
    catalog,
    errors,
    experiment,
    files,
    machine,
    params,
    paths,
    splits,
    view,
)
from twinhead import stage as stage_script  # noqa: E402
from twinhead.errors import InputError  # noqa: E402
from twinhead.journal import FOLDER, Journal  # noqa: E402

logging.getLogger("mlflow").setLevel(logging.WARNING)
# These two log a traceback of each error that they raise, too.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
logging.getLogger("sqlalchemy").setLevel(logging.CRITICAL)

SERVER = os.environ.get("MLFLOW_TRACKING_URI")
"""The user's own server or store. Read now: MLflow overwrites the variable."""
ARTIFACTS = "mlartifacts"
PATIENCE = 3
"""Seconds that an interrupted stage gives the store to mark its run as killed."""
NAME_TAG, BASELINE_TAG, FAILURE_TAG = "dvc.experiment", "dvc.baseline", "twinhead.failure"
PARAMS_TAG, DATA_TAG, MODEL_TAG = "twinhead.params", "twinhead.data", "twinhead.model"
FILES = {
    "index": [paths.metrics("index"), paths.LABELS, paths.REMARKS],
    "split": [paths.metrics("split"), paths.SPLITS],
    "train": [paths.metrics("train"), paths.HISTORY, paths.PLOTS / "train", paths.MODEL],
    "evaluate": [paths.metrics("evaluate"), paths.PREDICTIONS, paths.PLOTS / "evaluate"],
    "embed": [paths.metrics("embed"), paths.EMBEDDING, paths.PLOTS / "embed"],
    "explain": [paths.metrics("explain"), paths.EXPLANATIONS, paths.GRADCAM],
    "report": [paths.REPORT],
}
"""What the run gets of each stage, in the pipeline's order."""

_ABOUT = {
    "mlflow.experimentKind": "custom_model_development",  # the UI's views for trained models
    view.TAG: view.state(),
    "mlflow.note.content": (
        "One run for each experiment of the pipeline. `test/…` is measured on images that"
        " the network has never seen; `loss/train` and `loss/val` are curves over the epochs."
        " `dvc exp apply <run name>` brings a run's files back, where it was a DVC experiment."
    ),
}


@dataclass
class Live:
    """A run while a stage works on it. A store that fails stops only the telling."""

    stage: str
    journal: Journal
    run_id: str = ""
    told: set[tuple[int, float]] = field(default_factory=set)
    """Epochs, by their loss, that a training of the same run has logged before."""
    said: bool = False
    """Whether the user knows that the store can't be used."""
    telling: bool = False
    """Whether the stage is in the middle of a call to the store."""
    asked: bool = False
    """Whether it is to end when that call has."""

    def epoch(self, row: dict[str, float], seconds: float) -> None:
        """Log one epoch's row of the history, and its duration."""
        epoch = int(row["epoch"])
        self.journal.epoch(epoch, seconds, machine.facts())
        if not self.run_id or (epoch, row["train_loss"]) in self.told:
            return
        with _spared(self):
            metrics = _epoch(row) + [_metric("seconds_per_epoch", seconds, epoch)]
            MlflowClient().log_batch(self.run_id, metrics)

    def close(self, status: int, reason: str) -> None:
        if not self.run_id:
            return
        with _spared(self):
            MlflowClient().set_tag(self.run_id, FAILURE_TAG, f"{self.stage}: {reason}"[:4000])
            MlflowClient().set_terminated(self.run_id, RunStatus.to_string(status))

    def leave(self) -> bool:
        """Say that the stage is interrupted; False if it has to finish a word to the store first.

        An exception there could end in a callback of the database's, which swallows it. Asked
        twice, it is raised all the same.
        """
        if self.telling and self.asked:
            raise KeyboardInterrupt
        self.asked = self.telling
        if not self.telling:
            self.kill()
        return not self.telling

    def kill(self) -> None:
        """Close it as killed, without keeping a user waiting who wants to be gone."""
        self.asked = False
        closing = threading.Thread(target=self.close, args=(RunStatus.KILLED, "interrupted"))
        closing.daemon = True
        closing.start()
        closing.join(PATIENCE)
        if closing.is_alive():
            print(f"{self.stage}: MLflow at {store()} doesn't answer; the run isn't marked")


def repository() -> Path:
    """The real repository's root, also from within DVC's throw-away copies of it."""
    here = Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / ".dvc").is_dir() and ".dvc/tmp" not in folder.as_posix():
            return folder
    return here


def store(root: Path | None = None) -> str:
    """Where runs go: MLFLOW_TRACKING_URI, or an SQLite file at the repository's root."""
    root = root or repository()
    return SERVER or f"sqlite:///{root / 'mlflow.db'}"


@contextmanager
def running(stage: str, settings: params.Params) -> Iterator[Live]:
    """Open the experiment's run, made where there is none, while a stage works.

    A stage that fails or is stopped leaves it failed or killed, with the reason in a tag. Raises
    InputError before a training if the store can't be used and `tracking.on_failure` is "stop".
    """
    live = Live(stage, _journal(settings))
    must = stage == "train" and settings.tracking.on_failure == "stop"
    remedy = "; make it reachable, or set tracking.on_failure to continue" if must else None
    try:
        with stage_script.parting(live.leave):
            with _spared(live, remedy):
                _open(live, settings)
            yield live
    except KeyboardInterrupt:
        live.kill()
        raise
    except Exception as error:
        live.close(RunStatus.FAILED, errors.told(error) or f"{type(error).__name__}: {error}")
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
    live = live or Live(stage, _journal(settings))
    digests = _digests(settings)
    if stage == "train":
        live.journal.close(digests[MODEL_TAG])
    with _spared(live, remedy="" if by_hand else None):
        known = [run for run in _runs(_connect(settings), digests) if run != live.run_id]
        if known:
            if live.run_id:  # the same model once more: its run is complete already
                MlflowClient().delete_run(live.run_id)
            live.run_id = known[0]
            _sign(live.run_id, settings)
        elif not live.run_id:
            _open(live, settings)
        MlflowClient().set_tag(live.run_id, MODEL_TAG, digests[MODEL_TAG])
        for name in _up_to(stage):
            _send(live.run_id, name, live.journal)
        last(live.run_id, settings)
        MlflowClient().set_terminated(live.run_id)
        if FAILURE_TAG in MlflowClient().get_run(live.run_id).data.tags:
            MlflowClient().delete_tag(live.run_id, FAILURE_TAG)


def comparison(settings: params.Params) -> str:
    """The page of MLflow's UI that compares the runs, as what follows the UI's address."""
    try:
        return view.link(_connect(settings))
    except Exception as error:
        raise InputError(_trouble(error)) from None


def runs(settings: params.Params) -> pd.DataFrame:
    """All finished runs, newest first, as `mlflow.search_runs` gives them, with training `seconds`.

    These are the epochs' median times their number: what else a machine does now and then counts
    less.
    """
    table = mlflow.search_runs([_connect(settings)], "attributes.status = 'FINISHED'")
    history = MlflowClient().get_metric_history
    table["seconds"] = [
        median(taken.values()) * len(taken) if taken else math.nan
        for taken in (
            {metric.step: metric.value for metric in history(run_id, "seconds_per_epoch")}
            for run_id in table["run_id"]
        )
    ]
    return table


def _send(run_id: str, stage: str, journal: Journal) -> None:
    client = MlflowClient()
    found = [path for path in FILES[stage] if path.exists()]
    digest = sha256("".join(map(_file_digest, found)).encode()).hexdigest()
    if not found or client.get_run(run_id).data.tags.get(f"twinhead.{stage}") == digest:
        return
    if paths.metrics(stage) in found:
        measured = json.loads(paths.metrics(stage).read_text(encoding="utf-8"))
        client.log_batch(run_id, _metrics(stage, measured))
    if stage == "train":
        _send_curves(run_id, journal.read())
    for path in found:
        if path.is_dir():
            folder = "plots" if path.parent == paths.PLOTS else path.name
            client.log_artifacts(run_id, str(path), f"{stage}/{folder}")
        else:
            client.log_artifact(run_id, str(path), stage)
    client.set_tag(run_id, f"twinhead.{stage}", digest)


def _send_curves(run_id: str, page: dict) -> None:
    """Send the epochs and seconds that the run lacks: the store was away, or DVC had the model."""
    client, history = MlflowClient(), pd.read_csv(paths.HISTORY)
    told = {metric.step for metric in client.get_metric_history(run_id, "loss/train")}
    metrics = [
        metric
        for row in history[~history["epoch"].isin(told)].to_dict("records")
        for metric in _epoch(row)
    ]
    if page.get("model") == _file_digest(paths.MODEL):
        told = {metric.step for metric in client.get_metric_history(run_id, "seconds_per_epoch")}
        metrics += [
            _metric("seconds_per_epoch", page["seconds"][str(epoch)], epoch)
            for epoch in history["epoch"]
            if epoch not in told and str(epoch) in page["seconds"]
        ]
        tags = [RunTag(f"machine.{name}", fact) for name, fact in page["machine"].items()]
        client.log_batch(run_id, tags=tags)
    for start in range(0, len(metrics), 1000):  # the most that a server takes at once
        client.log_batch(run_id, metrics[start : start + 1000])


def _open(live: Live, settings: params.Params) -> None:
    """Take up the experiment's run or make it, and let it run."""
    found = _connect(settings)
    fresh = live.stage == "train"  # whose model is still to come
    known = [] if fresh else _runs(found, _digests(settings))
    known = known or _unfinished(found, settings)
    run_id = live.run_id = known[0] if known else _create(found, settings)
    client = MlflowClient()
    if known:
        _sign(run_id, settings)
    _describe(run_id, settings)
    client.update_run(run_id, status="RUNNING")
    if fresh:
        told = client.get_metric_history(run_id, "loss/train") if known else []
        live.told = {(metric.step, metric.value) for metric in told}
        tags = [RunTag(f"machine.{name}", fact) for name, fact in machine.facts().items()]
        client.log_batch(run_id, tags=tags)
        print(f"train: MLflow run {run_id} in {store()}", flush=True)


def _sign(run_id: str, settings: params.Params) -> None:
    """Let a run that is taken up name the experiment that has its files now."""
    client, (name, baseline) = MlflowClient(), experiment.current()
    run = client.get_run(run_id)
    before = run.data.tags.get(NAME_TAG, "")
    # A plain `dvc repro` takes no finished run from its experiment, nor does a command by hand.
    if not name and (run.info.status == "FINISHED" or "DVC_STAGE" not in os.environ):
        return
    if name != before:
        client.update_run(run_id, name=name or _plain_name(settings))
        client.set_tag(run_id, NAME_TAG, name) if name else client.delete_tag(run_id, NAME_TAG)
    client.set_tag(run_id, BASELINE_TAG, baseline)


def _plain_name(settings: params.Params) -> str:
    return f"{settings.model.backbone}-{params_digest(settings)[:6]}"


def _create(found: str, settings: params.Params) -> str:
    client, (name, baseline) = MlflowClient(), experiment.current()
    tags = {
        PARAMS_TAG: params_digest(settings),
        DATA_TAG: _data_digest(),
        NAME_TAG: name,
        BASELINE_TAG: baseline,
    }
    run = client.create_run(
        found,
        run_name=name or _plain_name(settings),
        tags={key: value for key, value in tags.items() if value},
    )
    return run.info.run_id


def _describe(run_id: str, settings: params.Params) -> None:
    """Log params and data set where the run lacks them: new, or killed before it was told."""
    client = MlflowClient()
    if client.get_run(run_id).inputs.dataset_inputs:
        return
    known = params.flat(_decisive(settings))
    client.log_batch(run_id, params=[Param(name, str(value)) for name, value in known])
    root, images = settings.data.root, catalog.read(paths.CATALOG)
    with mlflow.start_run(run_id=run_id), warnings.catch_warnings():
        # It wonders which of two equal ways a path can be read, and whether sizes may be missing.
        warnings.simplefilter("ignore", UserWarning)
        name, digest = Path(root).name, _data_digest()[:32]
        mlflow.log_input(mlflow.data.from_pandas(images, root, name=name, digest=digest), "index")


def _connect(settings: params.Params) -> str:
    """Point MLflow at the store and return the experiment's id; both are made where new."""
    root = repository()
    mlflow.set_tracking_uri(store(root))
    name = settings.tracking.experiment
    # Several workers that make the SQLite store at once would break it.
    with alone(), _briefly():
        _make_store(root)
        found = MlflowClient().get_experiment_by_name(name)
        if found:
            if found.tags.get(view.TAG) != view.state():
                MlflowClient().set_experiment_tag(found.experiment_id, view.TAG, view.state())
            return mlflow.set_experiment(experiment_id=found.experiment_id).experiment_id
        # Left to itself, MLflow would take the current directory, which may be a throw-away copy.
        served = urlsplit(SERVER or "").scheme in ("http", "https", "databricks")
        local = None if served else (root / ARTIFACTS).as_uri()
        made = MlflowClient().create_experiment(name, artifact_location=local, tags=_ABOUT)
        return mlflow.set_experiment(experiment_id=made).experiment_id


def _make_store(root: Path) -> None:
    """Make the repository's own store where there is none, whole or not at all.

    Killed while it makes its tables, MLflow could never use the file again.
    """
    file = root / "mlflow.db"
    if SERVER or file.exists():
        return
    with files.whole(file) as part:
        MlflowClient(f"sqlite:///{part}").search_experiments(max_results=1)


@contextmanager
def alone() -> Iterator[None]:
    """Keep the repository's other processes waiting where this one is in here."""
    with (repository() / ".mlflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _briefly() -> Iterator[None]:
    """Ask a server once, for seconds: more patience is for one that is known to live."""
    limits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
    usual = {name: os.environ[name] for name in limits}
    os.environ.update(limits)
    try:
        yield
    finally:
        os.environ.update(usual)


@contextmanager
def _spared(live: Live, remedy: str | None = None) -> Iterator[None]:
    """Let a store that fails cost the telling, never the work; say it once.

    With a remedy, raise InputError instead: no work has begun.
    """
    live.telling = True
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # a store fails in the ways of its database, driver and network
        live.run_id = ""
        if remedy is not None:
            raise InputError(_trouble(error) + remedy) from None
        if not live.said:
            print(
                f"{live.stage}: {_trouble(error)}; `make track` sends the results later", flush=True
            )
        live.said = True
    finally:
        live.telling = False
    if live.asked:
        raise KeyboardInterrupt


def _trouble(error: Exception) -> str:
    """Say that the store failed, without the layers of libraries that its error came through."""
    cause = re.search(r"\[Errno -?\d+\] ([^'\")]+)|[Tt]imed out", str(error))
    reason = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
    if cause:
        reason = (cause[1] or "it doesn't answer").strip()
    return f"MLflow at {store()} can't be used ({reason})"


def _runs(found: str, digests: dict[str, str]) -> list[str]:
    """The ids of the experiment's runs that have all of these digests, oldest first."""
    wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in digests.items())
    runs = MlflowClient().search_runs([found], wanted, order_by=["attributes.start_time"])
    return [run.info.run_id for run in runs]


def _unfinished(found: str, settings: params.Params) -> list[str]:
    """Runs that a killed training of the same params and data has left: taken up, not doubled."""
    inputs = {PARAMS_TAG: params_digest(settings), DATA_TAG: _data_digest()}
    tags = {run: MlflowClient().get_run(run).data.tags for run in _runs(found, inputs)}
    return [run for run, known in tags.items() if MODEL_TAG not in known]


def _journal(settings: params.Params) -> Journal:
    """The page of the training under these params: whatever decides the model is in its name."""
    parts = settings.model_dump(include={"data", "split", "features", "model", "train"})
    digest = sha256((json.dumps(parts, sort_keys=True) + _data_digest()).encode()).hexdigest()
    return Journal(repository() / FOLDER / f"{digest[:16]}.json")


def _up_to(stage: str) -> list[str]:
    """The stage and those before it whose files are surely of the same experiment."""
    names = list(FILES)[: list(FILES).index(stage) + 1]
    return [name for name in names if (stage, name) != ("explain", "embed")]


def _digests(settings: params.Params) -> dict[str, str]:
    return {
        PARAMS_TAG: params_digest(settings),
        DATA_TAG: _data_digest(),
        MODEL_TAG: _file_digest(paths.MODEL),
    }


def params_digest(settings: params.Params) -> str:
    """The identity of the params that decide the results: SHA-256, as the tag of a run has it."""
    return sha256(json.dumps(_decisive(settings), sort_keys=True).encode()).hexdigest()


def _decisive(settings: params.Params) -> dict:
    """The params that decide the results."""
    sections = params.relevant(settings)
    return {name: section for name, section in sections.items() if name != "tracking"}


def _data_digest() -> str:
    return json.loads(paths.metrics("index").read_text(encoding="utf-8"))["digest"]


def _file_digest(path: Path) -> str:
    if path.is_dir():
        return "".join(f"{file.name} {_file_digest(file)}" for file in sorted(path.iterdir()))
    return sha256(path.read_bytes()).hexdigest()


def _metrics(stage: str, measured: dict) -> list[Metric]:
    """A metrics file's numbers under MLflow's names: `test/defect_auroc`, `embed/trustworthiness`.

    What comes before the slash is a group in the UI. Numbers per category or defect type and the
    baselines stay in the file, which the run has too, and the chosen epoch's losses in the curves.
    """
    found = []
    for key, value in params.flat(measured):
        if (
            "by_" in key
            or key.startswith("baselines")
            or isinstance(value, (bool, str))
            or value is None
        ):
            continue
        if stage == "train" and key.startswith(tuple(f"{name}_" for name in splits.SPLITS)):
            continue
        # The group `train` is the train split's, beside `val` and `test`.
        group, name = "training" if stage == "train" else stage, key
        if stage == "evaluate" and key.startswith(splits.SPLITS):
            group, _, name = key.partition(".")
        found.append(_metric(f"{group}/{name.replace('.', '_')}", value, 0))
    return found


def _epoch(row: dict[str, float]) -> list[Metric]:
    """A row of the history as metrics `loss/train`, `loss/val` and so on, at the epoch as step."""
    found = []
    for column, value in row.items():
        split, _, name = column.partition("_")
        if name and not math.isnan(value):
            found.append(_metric(f"{name}/{split}", value, int(row["epoch"])))
    return found


def _metric(name: str, value: float, step: int) -> Metric:
    return Metric(name, float(value), time.time_ns() // 1_000_000, step)
