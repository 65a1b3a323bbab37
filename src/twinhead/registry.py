"""The model, for use: logged to its run, registered as a version, and the best of them champion."""

import base64
import json
import os
import sys
import tempfile
from hashlib import sha256
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow  # noqa: E402
import pandas as pd  # noqa: E402
from mlflow.entities.model_registry import ModelVersion  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.models import Model, ModelSignature  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema  # noqa: E402
from PIL import Image  # noqa: E402

from twinhead import evaluation, facts, params, paths, pixels, splits, tracking  # noqa: E402
from twinhead.errors import InputError  # noqa: E402

CHAMPION = "champion"
SERVED_TAG = "twinhead.served"
"""On a run and on a version: the digest of the network and of what its answers need beside it."""
RESAMPLES = 1000
PACKAGE = Path(__file__).parent
NEEDED = ("keras", "matplotlib", "numpy", "pandas", "pillow", "pydantic", "pyyaml", "tensorflow")
"""What a server has to install for src/twinhead/served.py, beside MLflow."""


def keep(run_id: str, settings: params.Params) -> None:
    """Log the workspace's model to its run, register it, and let it challenge the champion.

    A model that the run has already is left alone; one whose threshold or heat map has changed
    since takes the place of the old one; an equal one of another run gets no second version.
    """
    known = facts.collect()
    digest = sha256(json.dumps([vars(known), _digest(paths.MODEL)]).encode()).hexdigest()
    client = MlflowClient()
    run = client.get_run(run_id)
    if run.data.tags.get(SERVED_TAG) == digest:
        return
    logged = client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run_id}'", max_results=1
    )
    model_id = _log(run_id, known, logged[0].model_id if logged else None)
    with tracking.alone():
        print(f"model: {_register(settings, run_id, model_id, digest)}", flush=True)
    client.set_tag(run_id, SERVED_TAG, digest)


def crown(settings: params.Params, wanted: str) -> str:
    """Make a version champion, named by its number or by its run's id or name; say what was done.

    Raises InputError if there is no such version.
    """
    name = _connect(settings)
    with tracking.alone():
        found = [one for one in _versions(name) if wanted in _names(one)]
        if not found:
            known = ", ".join(str(one.version) for one in _versions(name)) or "none"
            raise InputError(f"{wanted}: no version, run id or run name of {name}; versions: {known}")
        before, chosen = _champion(name), found[0]
        MlflowClient().set_registered_model_alias(name, CHAMPION, chosen.version)
    instead = f" instead of version {before}" if before not in (None, str(chosen.version)) else ""
    return f"version {chosen.version} of {name} is champion{instead}"


def listing(settings: params.Params) -> str:
    """The registered versions, newest first, with their runs; the champion is marked."""
    name = _connect(settings)
    champion = _champion(name)
    lines = [
        f"{CHAMPION if str(one.version) == champion else '':8}  version {one.version}"
        f"  run {' '.join(_names(one)[1:])}"
        for one in _versions(name)
    ]
    return "\n".join(lines) or f"no version of {name} is registered; `dvc repro` registers one"


def fetch(uri: str, folder: Path) -> Path:
    """Download a model, such as models:/twinhead@champion, and return the folder it lies in."""
    try:
        _open_store()
        return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
    except MlflowException as error:
        raise InputError(f"{uri}: {str(error).splitlines()[0]}") from None


def save_model(path: str, mlflow_model: Model, known: facts.Facts, **_: object) -> None:
    """Write the model's folder: what MLflow asks of a flavor that Model.log is given."""
    with tempfile.TemporaryDirectory() as folder:
        noted = Path(folder) / "facts.json"
        facts.write(known, noted)
        mlflow.pyfunc.save_model(
            path,
            python_model=str(PACKAGE / "served.py"),
            code_paths=[str(PACKAGE)],
            artifacts={"network": str(paths.MODEL), "facts": str(noted)},
            signature=_signature(),
            input_example=_example(),
            pip_requirements=[f"{name}=={version(name)}" for name in NEEDED],
            mlflow_model=mlflow_model,
        )


def _log(run_id: str, known: facts.Facts, model_id: str | None) -> str:
    made = Model.log(
        artifact_path=None,  # the name that `name` had
        name="model",
        flavor=sys.modules[__name__],
        run_id=run_id,
        model_id=model_id,
        known=known,
        # MLflow would load TensorFlow and try the example out; a test does that, on a real server.
        validate_serving_input=False,
    )
    return made.model_id


def _signature() -> ModelSignature:
    metrics = json.loads(paths.metrics("evaluate").read_text(encoding="utf-8"))[splits.TEST]
    answers = []
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
    answers.append(ColSpec(DataType.string, "heat_map", required=False))
    return ModelSignature(
        # Text, not `binary`: of that, the scoring server decodes base64 in some of its formats and
        # drops what isn't base64 without a word. From Python, bytes pass as well.
        inputs=Schema([ColSpec(DataType.string, "image")]),
        outputs=Schema(answers),
        params=ParamSchema([ParamSpec("heat_map", DataType.boolean, False)]),
    )


def _example() -> pd.DataFrame:
    file = BytesIO()
    Image.fromarray(pixels.load(paths.PIXELS)[0]).save(file, "PNG")
    return pd.DataFrame({"image": [base64.b64encode(file.getvalue()).decode()]})


def _register(settings: params.Params, run_id: str, model_id: str, digest: str) -> str:
    """Make a version of a new model, compare it with the champion, and say what came of it."""
    client, name = MlflowClient(), _name(settings)
    known = _versions(name)
    for one in known:
        if one.model_id == model_id:
            client.set_model_version_tag(name, one.version, SERVED_TAG, digest)
            return f"version {one.version} of {name} has the new threshold or heat map"
        if one.tags.get(SERVED_TAG) == digest:
            return f"the same as version {one.version} of {name}"
    if not known and not _exists(name):
        client.create_registered_model(name, description="Photographs in, answers out.")
    run = client.get_run(run_id)
    tags = {SERVED_TAG: digest, tracking.DATA_TAG: run.data.tags[tracking.DATA_TAG]}
    made = client.create_model_version(
        name, f"models:/{model_id}", run_id, tags=tags, model_id=model_id
    )
    champion = _champion(name)
    better, why = (True, "the first") if champion is None else _challenge(name, champion, tags)
    if better:
        client.set_registered_model_alias(name, CHAMPION, made.version)
    outcome = "is champion" if better else f"; version {champion} stays champion"
    return f"version {made.version} of {name} {outcome}: {why}".replace(" ;", ";")


def _challenge(name: str, champion: str, tags: dict[str, str]) -> tuple[bool, str]:
    """Whether the workspace's model beats the champion on the same test images, and why."""
    client = MlflowClient()
    holder = client.get_model_version(name, champion)
    if holder.tags.get(tracking.DATA_TAG) != tags[tracking.DATA_TAG]:
        return False, "it was judged on another data set"
    with tempfile.TemporaryDirectory() as folder:
        try:
            file = client.download_artifacts(holder.run_id, "evaluate/predictions.csv", folder)
        except (MlflowException, OSError):
            return False, "its run has no predictions to compare with"
        return compare(read_test(paths.PREDICTIONS), read_test(Path(file)))


def read_test(file: Path) -> pd.DataFrame:
    """The rows of a predictions table that are for test, by path."""
    table = pd.read_csv(file, dtype={"path": str, "category": str}, keep_default_na=False)
    return table[table["split"] == splits.TEST].sort_values("path", ignore_index=True)


def compare(new: pd.DataFrame, champion: pd.DataFrame) -> tuple[bool, str]:
    """Whether a new model's test AUROC, as the mean over categories, is surely above the champion's.

    Both are predictions of the test images, sorted by path. Surely: the 95% interval of the
    difference, from a bootstrap over these images, lies above 0. Also returns why, in words.
    """
    truth = ["path", "category", "defective"]
    if not new[truth].equals(champion[truth]):
        return False, "it was judged on other test images"
    if "defect_probability" not in new or "defect_probability" not in champion:
        return False, "only models with a defect head are compared"
    found = evaluation.advantage(
        new["defective"].to_numpy(),
        new["defect_probability"].to_numpy(),
        champion["defect_probability"].to_numpy(),
        new["category"].to_numpy(),
        RESAMPLES,
    )
    if found["advantage"] is None:
        return False, "no category has both good and defective test images"
    difference, low, high = found.values()
    said = f"test AUROC {difference:+.3f} (95% interval {low:+.3f} to {high:+.3f})"
    return low > 0, said


def _connect(settings: params.Params) -> str:
    """Point MLflow at the store; return the registered model's name."""
    try:
        _open_store()
        _versions(_name(settings))
    except MlflowException as error:
        said = str(error).splitlines()[0]
        raise InputError(f"MLflow at {tracking.store()} can't be used: {said}") from None
    return _name(settings)


def _open_store() -> None:
    store = tracking.store()
    file = Path(store.removeprefix("sqlite:///"))
    if store != str(file) and not file.is_file():
        raise InputError(f"{file} is missing, so there are no models; `dvc repro` makes one")
    mlflow.set_tracking_uri(store)


def _name(settings: params.Params) -> str:
    """The experiment's name; the registry takes neither slashes nor colons."""
    return settings.tracking.experiment.replace("/", "-").replace(":", "-")


def _versions(name: str) -> list[ModelVersion]:
    """Newest first."""
    quoted = name.replace("'", "''")
    found = MlflowClient().search_model_versions(f"name = '{quoted}'")
    return sorted(found, key=lambda one: int(one.version), reverse=True)


def _exists(name: str) -> bool:
    return any(one.name == name for one in MlflowClient().search_registered_models())


def _champion(name: str) -> str | None:
    if not _exists(name):
        return None
    found = MlflowClient().get_registered_model(name).aliases.get(CHAMPION)
    return None if found is None else str(found)


def _names(one: ModelVersion) -> list[str]:
    """What a user may call a version: its number, its run's id, its run's name."""
    try:
        run = MlflowClient().get_run(one.run_id)
    except MlflowException:
        return [str(one.version), one.run_id]
    return [str(one.version), one.run_id, run.info.run_name]


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
