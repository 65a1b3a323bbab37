"""The model, for use: logged to its run, registered as a version, and the best of them champion."""

import base64
import json
import os
import re
import shutil
import tempfile
import warnings
from hashlib import sha256
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.entities import LoggedModelOutput, Metric, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from PIL import Image

from twinhead import evaluation, files, params, paths
from twinhead.dataset import pixels, splits, tables
from twinhead.errors import InputError
from twinhead.export import manifest
from twinhead.serving import code, metadata
from twinhead.tracking import identity, store

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

CHAMPION = "champion"
SERVED_TAG = "twinhead.served"
"""On a run and on a version: the digest of the network and of what its answers need beside it."""
CHALLENGE_TAG = "twinhead.challenge"
"""On a version: how many have challenged a champion on the same data, with it."""
SHOWN = 100
"""Runs or versions that one call asks the store for, of however many there are."""
NUMBER = re.compile("[0-9]{1,9}")
"""A version's; a run's id may be digits alone, and more than a database takes for a number."""
DOUBT = 0.05
"""The chance that some challenger, of however many, wins without being better."""
SERVED = Path(__file__).with_name("pyfunc.py")
NEEDED = (
    "keras", "numpy", "openvino", "pandas", "pillow", "pydantic", "ruamel.yaml",
    "tensorflow",
)  # fmt: skip
"""What a server has to install for serving/pyfunc.py, beside MLflow."""


def keep(run_id: str, settings: params.Params) -> None:
    """Log the workspace's model to its run, register it, and let it challenge the champion.

    A model that the run has already is left alone; one whose threshold, heat map or code has
    changed since takes the place of the old one; an equal one of another run gets no second
    version.
    """
    source = sha256(b"".join(file.read_bytes() for file in sorted(code.needed(SERVED))))
    answered = [vars(metadata.collect()), sha256(paths.MODEL.read_bytes()).hexdigest()]
    answered.append(source.hexdigest())
    if _exported():
        answered.append(identity.file_digest(paths.EDGE))
    digest = sha256(json.dumps(answered).encode()).hexdigest()
    client = MlflowClient()
    run = client.get_run(run_id)
    if run.data.tags.get(SERVED_TAG) == digest:
        return
    model_id = _log(run)
    with store.alone():
        print(f"model: {_register(settings, run, model_id, digest)}", flush=True)
    client.set_tag(run_id, SERVED_TAG, digest)


def crown(settings: params.Params, wanted: str) -> str:
    """Make a version champion, named by its number or by its run's id or name; say what was done.

    Raises InputError if there is no such version.
    """
    name = _connect(settings)
    with store.alone():
        number = NUMBER.fullmatch(wanted)
        found = _versions(name, f"version_number = {wanted}") if number else []
        for run in _runs(settings, wanted) if not found else []:
            if digest := run.data.tags.get(SERVED_TAG):
                found += _versions(name, _tagged(SERVED_TAG, digest))
        if not found:
            numbers = ", ".join(str(one.version) for one in _versions(name)) or "none"
            raise InputError(f"{wanted}: no version or run of {name}; its newest: {numbers}")
        before, chosen = _champion(name), found[0].version
        MlflowClient().set_registered_model_alias(name, CHAMPION, chosen)
    instead = f" instead of version {before}" if before not in (None, str(chosen)) else ""
    return f"version {chosen} of {name} is champion{instead}"


def listing(settings: params.Params) -> str:
    """The newest registered versions, newest first, with their runs; the champion is marked."""
    name = _connect(settings)
    champion, known = _champion(name), _versions(name)
    if champion is not None and champion not in {str(one.version) for one in known}:
        known += _versions(name, f"version_number = {champion}")
    names = {run.info.run_id: run.info.run_name for run in _runs_of(settings, known)}
    lines = [
        f"version {one.version}  run {one.run_id} {names.get(one.run_id, '(deleted)')}"
        + (f"  {CHAMPION}" if str(one.version) == champion else "")
        for one in known
    ]
    return "\n".join(lines) or f"no version of {name} is registered; `dvc repro` registers one"


def fetch(uri: str, folder: Path) -> Path:
    """Download a model, such as models:/twinhead@champion, and return the folder it lies in."""
    try:
        _open_store()
        return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
    except MlflowException as error:
        raise InputError(f"{uri}: {str(error).splitlines()[0]}") from None


def save(folder: Path, about: Model | None = None) -> None:
    """Write the workspace's model as MLflow keeps one: a folder with all that a server needs."""
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # MLflow's use of pandas
        known, package = Path(place) / metadata.FILE, Path(place) / "twinhead"
        for file in code.needed(SERVED):
            copy = package / file.relative_to(code.SOURCE / "twinhead")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
        metadata.write(metadata.collect(), known)
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(SERVED),
            code_paths=[str(package)],
            artifacts={"network": str(paths.MODEL), "metadata": str(known), **_exported()},
            signature=_signature(),
            input_example=_example(),
            pip_requirements=[f"{name}=={version(name)}" for name in NEEDED],
            mlflow_model=about,
        )


def _exported() -> dict[str, str]:
    """The folder of the stage `export`, where it holds this network."""
    if not (paths.EDGE / manifest.FILE).is_file():
        return {}
    listed = manifest.read(paths.EDGE)
    own = listed.model == sha256(paths.MODEL.read_bytes()).hexdigest()
    return {"edge": str(paths.EDGE)} if own and listed.files else {}


def _log(run: Run) -> str:
    """Make the run's logged model, or renew it where it has one; return its id.

    mlflow.pyfunc.log_model does as much and then loads TensorFlow to try the example out; a test
    does that, on a real server.
    """
    client, run_id = MlflowClient(), run.info.run_id
    found = client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run_id}'", max_results=1
    )
    new = (run.info.experiment_id, "model", run_id)
    logged = found[0] if found else client.create_logged_model(*new)
    with tempfile.TemporaryDirectory() as place:
        save(Path(place) / "model", Model(run_id=run_id, model_id=logged.model_id))
        client.log_model_artifacts(logged.model_id, str(Path(place) / "model"))
    client.finalize_logged_model(logged.model_id, "READY")
    if not found:
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        judged = [name for name in run.data.metrics if name.startswith(f"{splits.TEST}/")]
        points = [client.get_metric_history(run_id, name)[-1] for name in judged]
        client.log_batch(run_id, [_of_model(point, logged.model_id) for point in points])
    return logged.model_id


def _of_model(point: Metric, model_id: str) -> Metric:
    """The same number as one of the model, which the UI's page of models shows."""
    return Metric(point.key, point.value, point.timestamp, point.step, model_id=model_id)


def _signature() -> ModelSignature:
    judged = files.read_json(paths.metrics("evaluate"))
    metrics = judged[splits.TEST]
    answers: list = []
    given = [ParamSpec("heat_map", DataType.boolean, False)]
    if "category" in metrics:
        answers += [
            ColSpec(DataType.string, "category"),
            ColSpec(DataType.double, "category_probability"),
        ]
    if "defect" in metrics:
        answers += [
            ColSpec(DataType.double, "defect_probability"),
            ColSpec(DataType.boolean, "defective"),
        ]
        given.append(ParamSpec("threshold", DataType.double, None))
    if "unknown" in metrics:
        answers.append(ColSpec(DataType.boolean, "known"))
    if "review" in judged:
        answers.append(ColSpec(DataType.boolean, "review"))
    answers.append(ColSpec(DataType.string, "heat_map", required=False))
    return ModelSignature(
        # Text, not `binary`: of that, the scoring server decodes base64 in some of its formats and
        # drops what isn't base64 without a word. From Python, bytes pass as well.
        inputs=Schema([ColSpec(DataType.string, "image")]),
        outputs=Schema(answers),
        params=ParamSchema(given),
    )


def _example() -> pd.DataFrame:
    file = BytesIO()
    Image.fromarray(pixels.load(paths.PIXELS)[0]).save(file, "PNG")
    return pd.DataFrame({"image": [base64.b64encode(file.getvalue()).decode()]})


def _register(settings: params.Params, run: Run, model_id: str, digest: str) -> str:
    """Make a version of a new model, compare it with the champion, and say what came of it."""
    client, name = MlflowClient(), _name(settings)
    source = f"models:/{model_id}"
    for one in _versions(name, f"source_path = '{source}'"):
        client.set_model_version_tag(name, one.version, SERVED_TAG, digest)
        return f"version {one.version} of {name} is renewed"
    for one in _versions(name, _tagged(SERVED_TAG, digest)):
        return f"the same as version {one.version} of {name}"
    if not _exists(name):
        client.create_registered_model(name, description="Photographs in, answers out.")
    tags = {SERVED_TAG: digest, identity.DATA_TAG: run.data.tags[identity.DATA_TAG]}
    champion = _champion(name)
    better, why = True, "it is the first"
    if champion is not None:
        same = _versions(name, _tagged(identity.DATA_TAG, tags[identity.DATA_TAG]))
        number = max((int(one.tags.get(CHALLENGE_TAG, 0)) for one in same), default=0) + 1
        better, why = _challenge(name, champion, tags, number)
        tags[CHALLENGE_TAG] = str(number)
    made = client.create_model_version(name, source, run.info.run_id, tags=tags, model_id=model_id)
    if better:
        client.set_registered_model_alias(name, CHAMPION, made.version)
        return f"version {made.version} of {name} is champion: {why}"
    return (
        f"version {made.version} of {name}; version {champion} stays champion: {why}"
        f" (`twinhead champion {made.version}` makes this one)"
    )


def _challenge(name: str, champion: str, tags: dict[str, str], number: int) -> tuple[bool, str]:
    """Whether the workspace's model beats the champion on the same val images, and why."""
    client = MlflowClient()
    holder = client.get_model_version(name, champion)
    if holder.tags.get(identity.DATA_TAG) != tags[identity.DATA_TAG]:
        return False, "it was judged on another data set"
    with tempfile.TemporaryDirectory() as folder:
        try:
            file = client.download_artifacts(str(holder.run_id), "evaluate/predictions.csv", folder)
        except (MlflowException, OSError):
            return False, "its run has no predictions to compare with"
        return compare(tables.read(paths.PREDICTIONS), tables.read(Path(file)), number)


def compare(new: pd.DataFrame, champion: pd.DataFrame, number: int = 1) -> tuple[bool, str]:
    """Whether a new model's val AUROC, as the mean over categories, surely exceeds the champion's.

    Both are tables of predictions. Surely: the interval of the difference, on the same val images,
    lies above 0. The n-th challenger's may miss with a chance of DOUBT / n (n + 1), so that with
    however many it stays below DOUBT in all. Also returns why, in words, with the difference on
    test, which decides nothing.
    """
    parts = []
    for table in (new, champion):
        chosen = table[table["split"].isin([splits.VAL, splits.TEST])]
        parts.append(chosen.sort_values("path", ignore_index=True))
    new, champion = parts
    truth = ["path", "split", "category", "defective"]
    for split in (splits.VAL, splits.TEST):
        ours, theirs = (part[part["split"] == split][truth] for part in parts)
        if not ours.reset_index(drop=True).equals(theirs.reset_index(drop=True)):
            return False, f"it was judged on other {split} images"
    if "defect_probability" not in new or "defect_probability" not in champion:
        return False, "only models with a defect head are compared"
    confidence = 1 - DOUBT / (number * (number + 1))
    found = {
        split: _advantage(new, champion, split, confidence) for split in (splits.VAL, splits.TEST)
    }
    difference, low, high = found[splits.VAL].values()
    if difference is None or low is None or high is None:
        return False, "no category has both good and defective val images"
    beside = found[splits.TEST]["advantage"]
    shown = "not defined" if beside is None else f"{beside:+.3f}"
    why = (
        f"val AUROC {difference:+.3f} ({confidence:.2%} interval {low:+.3f} to {high:+.3f},"
        f" challenger {number}); test, which doesn't decide: {shown}"
    )
    return low > 0, why


def _advantage(
    new: pd.DataFrame, champion: pd.DataFrame, split: str, confidence: float
) -> dict[str, float | None]:
    own = (new["split"] == split).to_numpy()
    group = new["group"].to_numpy()[own] if "group" in new else None
    return evaluation.advantage(
        new["defective"].to_numpy()[own],
        new["defect_probability"].to_numpy()[own],
        champion["defect_probability"].to_numpy()[own],
        new["category"].to_numpy()[own],
        group,
        confidence,
    )


def _connect(settings: params.Params) -> str:
    """Point MLflow at the store; return the registered model's name."""
    try:
        _open_store()
        _versions(_name(settings))
    except MlflowException as error:
        fault = str(error).splitlines()[0]
        raise InputError(f"MLflow at {store.address()} can't be used: {fault}") from None
    return _name(settings)


def _open_store() -> None:
    address = store.address()
    file = Path(address.removeprefix("sqlite:///"))
    if address.startswith("sqlite:///") and not file.is_file():
        raise InputError(f"{file} is missing, so there are no models; `dvc repro` makes one")
    mlflow.set_tracking_uri(address)


def _name(settings: params.Params) -> str:
    """The experiment's name, without what the registry or its searches don't take."""
    return re.sub(r"[/:'\"\\]", "-", settings.tracking.experiment)


def _versions(name: str, wanted: str = "") -> list[ModelVersion]:
    """The newest of a model's versions of which this filter is true, newest first."""
    asked = " and ".join(filter(None, (f"name = '{name}'", wanted)))
    return list(
        MlflowClient().search_model_versions(
            asked, max_results=SHOWN, order_by=["version_number DESC"]
        )
    )


def _tagged(tag: str, value: str) -> str:
    return f"tags.`{tag}` = '{value}'"


def _champion(name: str) -> str | None:
    if not _exists(name):
        return None
    found = MlflowClient().get_registered_model(name).aliases.get(CHAMPION)
    return None if found is None else str(found)


def _exists(name: str) -> bool:
    return bool(MlflowClient().search_registered_models(f"name = '{name}'"))


def _runs(settings: params.Params, wanted: str) -> list[Run]:
    """The experiment's runs of this id or name."""
    quoted = wanted.replace("'", "")
    for attribute in ("run_id", "run_name"):
        if found := _search(settings, f"attributes.{attribute} = '{quoted}'"):
            return found
    return []


def _runs_of(settings: params.Params, known: list[ModelVersion]) -> list[Run]:
    ids = ", ".join(f"'{one.run_id}'" for one in known)
    return _search(settings, f"attributes.run_id IN ({ids})") if ids else []


def _search(settings: params.Params, wanted: str) -> list[Run]:
    experiment = MlflowClient().get_experiment_by_name(settings.tracking.experiment)
    if experiment is None:
        return []
    return list(MlflowClient().search_runs([experiment.experiment_id], wanted, max_results=SHOWN))
