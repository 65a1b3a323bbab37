"""Where runs are kept: MLFLOW_TRACKING_URI, or an SQLite file at the repository's root."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
from filelock import FileLock
from mlflow.tracking import MlflowClient

from twinhead import files, params
from twinhead.errors import InputError
from twinhead.tracking import ui
from twinhead.tracking.client_settings import SERVER

ARTIFACTS = "mlartifacts"
_ABOUT = {
    "mlflow.experimentKind": "custom_model_development",  # the UI's views for trained models
    ui.TAG: ui.state(),
    "mlflow.note.content": (
        "One run for each experiment of the pipeline. `test/…` is measured on images that"
        " the network has never seen; `loss/train` and `loss/val` are curves over the epochs."
        " `dvc exp apply <run name>` brings a run's files back, where it was a DVC experiment."
    ),
}


def repository() -> Path:
    """The real repository's root, also from within DVC's throw-away copies of it."""
    here = Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / ".dvc").is_dir() and ".dvc/tmp" not in folder.as_posix():
            return folder
    return here


def address(root: Path | None = None) -> str:
    """Where runs go: MLFLOW_TRACKING_URI, or an SQLite file at the repository's root."""
    root = root or repository()
    return SERVER or f"sqlite:///{root / 'mlflow.db'}"


def connect(settings: params.Params) -> str:
    """Point MLflow at the store and return the experiment's id; both are made where new."""
    root = repository()
    mlflow.set_tracking_uri(address(root))
    name = settings.tracking.experiment
    # Several workers that make the SQLite store at once would break it.
    with alone(), briefly():
        _make_store(root)
        found = MlflowClient().get_experiment_by_name(name)
        if found:
            if found.tags.get(ui.TAG) != ui.state():
                MlflowClient().set_experiment_tag(found.experiment_id, ui.TAG, ui.state())
            return mlflow.set_experiment(experiment_id=found.experiment_id).experiment_id
        # Left to itself, MLflow would take the current directory, which may be a throw-away copy.
        served = urlsplit(SERVER or "").scheme in ("http", "https", "databricks")
        local = None if served else (root / ARTIFACTS).as_uri()
        made = MlflowClient().create_experiment(name, artifact_location=local, tags=_ABOUT)
        return mlflow.set_experiment(experiment_id=made).experiment_id


def reach(settings: params.Params) -> str:
    """The experiment's id, as `connect` returns it. Raises InputError where there's no store."""
    try:
        return connect(settings)
    except Exception as error:  # in the ways of its database, driver and network
        raise InputError(trouble(error)) from None


def _make_store(root: Path) -> None:
    """Make the repository's own store where there is none, whole or not at all.

    Killed while it makes its tables, MLflow could never use the file again.
    """
    file = root / "mlflow.db"
    if SERVER or file.exists():
        return
    with files.whole(file) as part:
        MlflowClient(f"sqlite:///{part}").search_experiments(max_results=1)


def alone() -> FileLock:
    """Keep the repository's other processes waiting where this one is in here."""
    return FileLock(repository() / ".mlflow.lock")


@contextmanager
def briefly() -> Iterator[None]:
    """Ask a server once, for seconds: more patience is for one that is known to live."""
    limits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
    usual = {name: os.environ[name] for name in limits}
    os.environ.update(limits)
    try:
        yield
    finally:
        os.environ.update(usual)


def trouble(error: Exception) -> str:
    """Say that the store failed, without the layers of libraries that its error came through."""
    cause = re.search(r"\[Errno -?\d+\] ([^'\")]+)|[Tt]imed out", str(error))
    reason = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
    if cause:
        reason = (cause[1] or "it doesn't answer").strip()
    return f"MLflow at {address()} can't be used ({reason})"
