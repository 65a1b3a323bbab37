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
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from statistics import median

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
logging.getLogger("alembic").setLevel(logging.WARNING)

import mlflow  # noqa: E402
import pandas as pd  # noqa: E402
from mlflow.entities import Metric, Param, RunStatus  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402

from twinhead import catalog, machine, params, paths, splits  # noqa: E402
from twinhead.errors import InputError  # noqa: E402

logging.getLogger("mlflow").setLevel(logging.WARNING)

SERVER = os.environ.get("MLFLOW_TRACKING_URI")
"""The user's own server or store. Read now: MLflow overwrites the variable."""
ARTIFACTS = "mlartifacts"
PARAMS_TAG, DATA_TAG, MODEL_TAG = "twinhead.params", "twinhead.data", "twinhead.model"
FILES = {
    "index": [paths.metrics("index"), paths.LABELS],
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
    "mlflow.note.content": (
        "One run for each experiment of the pipeline. `test/…` is measured on images that the network"
        " has never seen; `loss/train` and `loss/val` are curves over the epochs."
        " `dvc exp apply <run name>` brings a run's files back, where it was a DVC experiment."
    ),
}


@dataclass
class Live:
    """The run of a training, as it happens. A server that fails stops only the telling."""

    run_id: str = ""
    failed: bool = False

    def epoch(self, row: dict[str, float], seconds: float) -> None:
        """Log one epoch's row of the history, and its duration."""
        if not self.run_id:
            return
        with _spared(self):
            metrics = _epoch(row) + [_metric("seconds_per_epoch", seconds, row["epoch"])]
            MlflowClient().log_batch(self.run_id, metrics)

    def close(self, status: int, reason: str) -> None:
        if not self.run_id:
            return
        with _spared(self):
            MlflowClient().set_tag(self.run_id, "twinhead.failure", reason[:4000])
            MlflowClient().set_terminated(self.run_id, RunStatus.to_string(status))


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
def training(settings: params.Params) -> Iterator[Live]:
    """Open the run of a training that starts; it ends as finished, failed or killed."""
    live = Live()
    with _spared(live):
        experiment = _connect(settings)
        left = _unfinished(experiment, settings)
        live.run_id = left[0] if left else _create(experiment, settings)
        MlflowClient().update_run(live.run_id, status="RUNNING")
        for name, fact in machine.facts().items():
            MlflowClient().set_tag(live.run_id, f"machine.{name}", fact)
        print(f"train: MLflow run {live.run_id} in {store()}", flush=True)
    try:
        yield live
    except KeyboardInterrupt:
        live.close(RunStatus.KILLED, "interrupted")
        raise
    except Exception as error:
        live.close(RunStatus.FAILED, str(error))
        raise


def record(
    stage: str,
    settings: params.Params,
    live: Live | None = None,
    last: Callable[[str, params.Params], None] = lambda run_id, settings: None,
) -> None:
    """Send what a stage, and each before it, has left to the experiment's run.

    Makes the run where there is none, or takes `live`, the run of the training that just ended;
    calls `last` with its id before the run is called finished. Nothing is sent twice. An MLflow
    server that can't be used is said and stops nothing: the files stay, and calling this again
    sends them. Reads the stages' files in the current directory, the model and
    `metrics/index.json` at least.
    """
    live = live or Live()
    if live.failed:
        return
    digests = _digests(settings)
    with _spared(live):
        experiment = _connect(settings)
        known = [run_id for run_id in _runs(experiment, digests) if run_id != live.run_id]
        if known:
            if live.run_id:  # the same model once more: its run is complete already
                MlflowClient().delete_run(live.run_id)
            live.run_id = known[0]
        elif not live.run_id:
            left = _unfinished(experiment, settings)
            live.run_id = left[0] if left else _create(experiment, settings)
        MlflowClient().set_tag(live.run_id, MODEL_TAG, digests[MODEL_TAG])
        for name in _up_to(stage):
            _send(live.run_id, name)
        last(live.run_id, settings)
        MlflowClient().set_terminated(live.run_id)


def runs(settings: params.Params) -> pd.DataFrame:
    """All finished runs, newest first, as `mlflow.search_runs` gives them, with training `seconds`.

    These are the epochs' median times their number: what else a machine does now and then counts less.
    """
    table = mlflow.search_runs([_connect(settings)], "attributes.status = 'FINISHED'")
    history = MlflowClient().get_metric_history
    table["seconds"] = [
        median(taken) * len(taken) if taken else math.nan
        for taken in (
            [metric.value for metric in history(run_id, "seconds_per_epoch")]
            for run_id in table["run_id"]
        )
    ]
    return table


def _send(run_id: str, stage: str) -> None:
    client = MlflowClient()
    files = [path for path in FILES[stage] if path.exists()]
    digest = sha256("".join(map(_file_digest, files)).encode()).hexdigest()
    if not files or client.get_run(run_id).data.tags.get(f"twinhead.{stage}") == digest:
        return
    if paths.metrics(stage) in files:
        measured = json.loads(paths.metrics(stage).read_text(encoding="utf-8"))
        for metric in _metrics(stage, measured):
            client.log_metric(run_id, metric.key, metric.value, step=0)
    if stage == "train":
        history = pd.read_csv(paths.HISTORY)
        told = {metric.step for metric in client.get_metric_history(run_id, "loss/train")}
        for row in history[~history["epoch"].isin(told)].to_dict("records"):
            client.log_batch(run_id, _epoch(row))
    for path in files:
        if path.is_dir():
            folder = "plots" if path.parent == paths.PLOTS else path.name
            client.log_artifacts(run_id, str(path), f"{stage}/{folder}")
        else:
            client.log_artifact(run_id, str(path), stage)
    client.set_tag(run_id, f"twinhead.{stage}", digest)


def _create(experiment: str, settings: params.Params) -> str:
    client, digest = MlflowClient(), params_digest(settings)
    tags = {
        PARAMS_TAG: digest,
        DATA_TAG: _data_digest(),
        "dvc.experiment": os.environ.get("DVC_EXP_NAME", ""),
        "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV", ""),
    }
    name = tags["dvc.experiment"] or f"{settings.model.backbone}-{digest[:6]}"
    run = client.create_run(
        experiment, run_name=name, tags={key: value for key, value in tags.items() if value}
    )
    run_id = run.info.run_id
    client.log_batch(run_id, params=[Param(k, str(v)) for k, v in _flat(_relevant(settings))])
    root = settings.data.root
    images = catalog.read(paths.CATALOG)
    with mlflow.start_run(run_id=run_id), warnings.catch_warnings():
        # It wonders which of two equal ways a path can be read, and whether sizes may be missing.
        warnings.simplefilter("ignore", UserWarning)
        name, digest = Path(root).name, _data_digest()[:32]
        mlflow.log_input(mlflow.data.from_pandas(images, root, name=name, digest=digest), "index")
    return run_id


def _connect(settings: params.Params) -> str:
    """Point MLflow at the store and return the experiment's id; both are made where they are new."""
    root = repository()
    mlflow.set_tracking_uri(store(root))
    name = settings.tracking.experiment
    # Several workers that make the SQLite store at once would break it.
    with alone():
        found = MlflowClient().get_experiment_by_name(name)
        if found:
            return mlflow.set_experiment(experiment_id=found.experiment_id).experiment_id
        # Left to itself, MLflow would take the current directory, which may be a throw-away copy.
        local = None if SERVER else (root / ARTIFACTS).as_uri()
        made = MlflowClient().create_experiment(name, artifact_location=local, tags=_ABOUT)
        return mlflow.set_experiment(experiment_id=made).experiment_id


@contextmanager
def alone() -> Iterator[None]:
    """Keep the repository's other processes waiting where this one is in here."""
    with (repository() / ".mlflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _spared(live: Live) -> Iterator[None]:
    """Let a server that fails cost the telling, never the work; it isn't asked again then."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # a store fails in the ways of its database, driver and network
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
        print(f"MLflow at {store()} can't be used: {reason}")
        print("The work goes on and its results are kept; `make track` sends them later.", flush=True)
        live.run_id, live.failed = "", True


def _runs(experiment: str, digests: dict[str, str]) -> list[str]:
    """The ids of the experiment's runs that have all of these digests, oldest first."""
    wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in digests.items())
    found = MlflowClient().search_runs([experiment], wanted, order_by=["attributes.start_time"])
    return [run.info.run_id for run in found]


def _unfinished(experiment: str, settings: params.Params) -> list[str]:
    """Runs that a killed training of the same params and data has left: taken up, not doubled."""
    inputs = {PARAMS_TAG: params_digest(settings), DATA_TAG: _data_digest()}
    tags = {run: MlflowClient().get_run(run).data.tags for run in _runs(experiment, inputs)}
    return [run for run, known in tags.items() if MODEL_TAG not in known]


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


def _relevant(settings: params.Params) -> dict:
    """The params that decide the results."""
    sections = settings.model_dump(exclude={"tracking"})
    if Path(settings.data.root) != paths.SAMPLE:
        del sections["sample"]
    return sections


def params_digest(settings: params.Params) -> str:
    """The identity of the params that decide the results: SHA-256, as the tag of a run has it."""
    return sha256(json.dumps(_relevant(settings), sort_keys=True).encode()).hexdigest()


def _data_digest() -> str:
    return json.loads(paths.metrics("index").read_text(encoding="utf-8"))["digest"]


def _file_digest(path: Path) -> str:
    if path.is_dir():
        return "".join(f"{file.name} {_file_digest(file)}" for file in sorted(path.iterdir()))
    return sha256(path.read_bytes()).hexdigest()


def _flat(tree: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Nested keys joined by dots, with their values."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _metrics(stage: str, measured: dict) -> list[Metric]:
    """A metrics file's numbers under MLflow's names: `test/defect_auroc`, `embed/trustworthiness`.

    What comes before the slash is a group in the UI. Numbers per category or defect type and the
    baselines stay in the file, which the run has too, and the chosen epoch's losses in the curves.
    """
    found = []
    for key, value in _flat(measured):
        if "by_" in key or key.startswith("baselines") or isinstance(value, (bool, str)) or value is None:
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
