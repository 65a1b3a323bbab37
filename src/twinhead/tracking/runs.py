"""The experiment's run: found by its digests, or made; signed with what it is of."""

import math
import os
import warnings
from pathlib import Path
from statistics import median

import mlflow
import pandas as pd
from mlflow.data.pandas_dataset import from_pandas
from mlflow.entities import Param, RunTag
from mlflow.tracking import MlflowClient

from twinhead import params, paths
from twinhead.dataset import catalog
from twinhead.errors import InputError
from twinhead.tracking import environment, experiment, identity, metrics, store, workspace
from twinhead.tracking.live import Live

NAME_TAG, BASELINE_TAG = "dvc.experiment", "dvc.baseline"
REPEATS_TAG = "twinhead.repeats"
"""Of a run whose model somebody else has made before, from the same: that one's id."""


def start(live: Live, settings: params.Params) -> None:
    """Take up the experiment's run or make it, and let it run."""
    found = store.connect(settings)
    fresh = live.stage == "train"  # whose model is still to come
    known = [] if fresh else own(found, settings)
    known = known or _unfinished(found, settings)
    run_id = live.run_id = known[0] if known else _create(found, settings)
    client = MlflowClient()
    if known:
        sign(run_id, settings)
    _describe(run_id, settings)
    client.update_run(run_id, status="RUNNING")
    if fresh:
        logged = client.get_metric_history(run_id, "loss/train") if known else []
        live.logged = {(metric.step, metric.value) for metric in logged}
        tags = [RunTag(f"machine.{name}", fact) for name, fact in environment.facts().items()]
        client.log_batch(run_id, tags=tags)
        print(f"train: MLflow run {run_id} in {store.address()}", flush=True)


def find(found: str, digests: dict[str, str]) -> list[str]:
    """The ids of the experiment's runs that have all of these digests, oldest first."""
    wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in digests.items())
    runs = MlflowClient().search_runs([found], wanted, order_by=["attributes.start_time"])
    return [run.info.run_id for run in runs]


def own(found: str, settings: params.Params) -> list[str]:
    """This workspace's runs of the model that it holds, oldest first."""
    whose = {identity.WORKSPACE_TAG: workspace.current()}
    return find(found, identity.result(settings) | whose)


def say_repeated(run_id: str, found: str, settings: params.Params) -> None:
    """Tag the run with the one that had its model before, from another workspace."""
    same = find(found, identity.result(settings))
    if same and same[0] != run_id:
        MlflowClient().set_tag(run_id, REPEATS_TAG, same[0])


def _unfinished(found: str, settings: params.Params) -> list[str]:
    """Runs that a killed training of the same here has left: taken up, not doubled."""
    tags = {
        run: MlflowClient().get_run(run).data.tags for run in find(found, identity.inputs(settings))
    }
    return [run for run, known in tags.items() if identity.MODEL_TAG not in known]


def _create(found: str, settings: params.Params) -> str:
    client, (name, baseline) = MlflowClient(), experiment.current()
    tags = identity.inputs(settings) | {NAME_TAG: name, BASELINE_TAG: baseline}
    run = client.create_run(
        found,
        run_name=name or _plain_name(settings),
        tags={key: value for key, value in tags.items() if value},
    )
    return run.info.run_id


def _plain_name(settings: params.Params) -> str:
    return f"{settings.model.backbone}-{identity.params_digest(settings)[:6]}"


def sign(run_id: str, settings: params.Params) -> None:
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


def _describe(run_id: str, settings: params.Params) -> None:
    """Log params and data set where the run lacks them: new, or killed before it had them."""
    client = MlflowClient()
    inputs = client.get_run(run_id).inputs
    if inputs and inputs.dataset_inputs:
        return
    known = params.flat(identity.decisive(settings))
    client.log_batch(run_id, params=[Param(name, str(value)) for name, value in known])
    root, images = settings.data.root, catalog.read(paths.CATALOG)
    with mlflow.start_run(run_id=run_id), warnings.catch_warnings():
        # It wonders which of two equal ways a path can be read, and whether sizes may be missing.
        warnings.simplefilter("ignore", UserWarning)
        name, digest = Path(root).name, identity.data_digest()[:32]
        mlflow.log_input(from_pandas(images, root, name=name, digest=digest), "index")


def add(settings: params.Params, group: str, values: dict[str, float], step: int) -> str:
    """Add numbers to the run of the workspace's model, and return its id.

    Raises InputError where there is no such run, or no store.
    """
    known = own(store.reach(settings), settings)
    if not known:
        raise InputError("the store has no run of this model; `twinhead track` sends it there")
    points = [metrics.point(f"{group}/{name}", value, step) for name, value in values.items()]
    MlflowClient().log_batch(known[0], points)
    return known[0]


def finished(settings: params.Params, tag: str, value: str) -> pd.DataFrame:
    """The finished runs whose tag has this value, newest first, with training `seconds`.

    As `mlflow.search_runs` gives them. The seconds are the epochs' median times their number: what
    else a machine does now and then counts less.
    """
    wanted = f"attributes.status = 'FINISHED' and tags.`{tag}` = '{value}'"
    table = mlflow.search_runs([store.connect(settings)], wanted)
    history = MlflowClient().get_metric_history
    table["seconds"] = [
        median(taken.values()) * len(taken) if taken else math.nan
        for taken in (
            {metric.step: metric.value for metric in history(run_id, "seconds_per_epoch")}
            for run_id in table["run_id"]
        )
    ]
    return table
