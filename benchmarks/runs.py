"""What do the commands that ask MLflow cost when there are ten thousand experiments?

The workspace's own run is copied, with other values, into an experiment of its own. Each call is
timed with ten runs in it, and with all of them. Run it after `dvc repro`, on a database that may be
filled: MLFLOW_TRACKING_URI names it (sqlite:///copy.db, postgresql://…), not a server.

    python benchmarks/runs.py [--runs 10000] [--versions 1000]
"""

import argparse
import random
import time
from collections.abc import Callable, Iterator
from uuid import uuid4

import mlflow
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME
from sqlalchemy import MetaData, RowMapping, create_engine, insert, select

from twinhead import params
from twinhead.serving import registry
from twinhead.tracking import identity, runs, store

FEW = 10
BATCH = 50
COMMITS = 100
TABLES = ("runs", "tags", "params", "metrics", "latest_metrics")


def main(count: int, versions: int) -> None:
    settings = params.load()
    known = runs.own(store.connect(settings), settings)
    if not known:
        raise SystemExit("the workspace has no run; run `dvc repro` or `make track` first")
    client, pattern = MlflowClient(), MlflowClient().get_run(known[0])
    tracking = settings.tracking.model_copy(update={"experiment": f"trial-{uuid4().hex[:8]}"})
    trial = settings.model_copy(update={"tracking": tracking})
    name = tracking.experiment
    found = client.create_experiment(name)
    client.create_registered_model(name)
    try:
        seconds = {}
        for number in (FEW, count - FEW):
            made = fill(found, pattern, number)
            for run in made[:versions]:
                tags = {registry.SERVED_TAG: run}
                client.create_model_version(name, f"runs:/{run}/model", run, tags)
            seconds[number] = {what: taken(call) for what, call in calls(trial, found).items()}
        for what, few in seconds[FEW].items():
            many = seconds[count - FEW][what]
            print(f"{what}: {few:.2f} s, {many:.2f} s with {count} runs: {many / few:.1f} times")
    finally:
        client.delete_registered_model(name)
        client.delete_experiment(found)


def calls(settings: params.Params, found: str) -> dict[str, Callable[[], object]]:
    """What each command asks of MLflow, by the command's name."""
    name = settings.tracking.experiment
    registered = MlflowClient().search_model_versions(f"name = '{name}'", max_results=1)[0]
    chosen = MlflowClient().get_run(str(registered.run_id)).info.run_name
    best = ["metrics.`val/defect_auroc_category_mean` DESC"]
    return {
        "a stage's, `report`'s and `track`'s search for their run": lambda: runs.own(
            found, settings
        ),
        "`champion`, the list": lambda: registry.listing(settings),
        "`champion NAME`": lambda: registry.crown(settings, chosen),
        "`make experiments`, the table of one commit": lambda: runs.finished(
            settings, runs.BASELINE_TAG, "0"
        ),
        "the first page of MLflow's table, best on val first": lambda: MlflowClient().search_runs(
            [found], order_by=best, max_results=100
        ),
    }


def taken(call: Callable[[], object]) -> float:
    """Seconds, the shorter of two."""
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def fill(found: str, pattern: Run, count: int) -> list[str]:
    """Add runs like the pattern, with drawn metrics, and return their ids.

    Straight into the database: through MLflow it would take an hour.
    """
    engine = create_engine(mlflow.get_tracking_uri())
    known = MetaData()
    known.reflect(engine, only=TABLES)
    made = [uuid4().hex for _ in range(count)]
    with engine.begin() as connection:
        for name in TABLES:
            table = known.tables[name]
            rows = connection.execute(
                select(table).where(table.c.run_uuid == pattern.info.run_id)
            ).mappings().all()  # fmt: skip
            for some in batched(made, BATCH):
                copies = [dict(row) | own(name, row, found, run) for run in some for row in rows]
                connection.execute(insert(table), copies)
    engine.dispose()
    return made


def own(table: str, row: RowMapping, found: str, run: str) -> dict[str, object]:
    """What a copied run has of its own in a row of this table."""
    changed: dict[str, object] = {"run_uuid": run}
    if table == "runs":
        changed |= {"experiment_id": int(found), "name": f"run-{run[:12]}"}
    elif table == "tags":
        drawn = {
            MLFLOW_RUN_NAME: f"run-{run[:12]}",
            identity.PARAMS_TAG: run,
            registry.SERVED_TAG: run,
            runs.BASELINE_TAG: str(random.randrange(COMMITS)),
        }
        changed["value"] = drawn.get(row["key"], row["value"])
    elif table in ("metrics", "latest_metrics"):
        changed["value"] = random.random()
    return changed


def batched(values: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--versions", type=int, default=1_000)
    chosen = parser.parse_args()
    main(chosen.runs, chosen.versions)
