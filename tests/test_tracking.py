"""The bridge to MLflow: nothing that befalls the store costs any work."""

from pathlib import Path

import pytest
from conftest import REPOSITORY, forking, free_port
from mlflow.tracking import MlflowClient
from test_pipeline import all_runs

from twinhead.tracking import store as kept

ROOM = ".dvc/tmp/exps/standalone/tmp7a"
"""Where DVC makes its throw-away copies."""


@pytest.fixture
def closed() -> str:
    """The address of a server that isn't there."""
    return f"http://127.0.0.1:{free_port()}"


@pytest.mark.long
def test_a_server_that_cannot_be_reached_costs_no_training_and_is_said_once(workspace, closed):
    model = workspace.root / "models/model.keras"
    before = model.stat().st_mtime_ns
    done = workspace.run("python", "-m", "twinhead.stage", "train", MLFLOW_TRACKING_URI=closed)
    assert done.returncode == 0 and "Traceback" not in done.stdout, done.stdout
    assert model.stat().st_mtime_ns > before and "train: done" in done.stdout
    said = [line for line in done.stdout.splitlines() if "can't be used" in line]
    assert len(said) == 1 and closed in said[0]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a throw-away copy of itself inside."""
    (tmp_path / ROOM / ".dvc").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("place", ["", "stages", ROOM])
@pytest.mark.parametrize("told", [True, False], ids=["DVC_ROOT", "folder alone"])
def test_the_store_lies_at_the_repository_s_root_from_wherever_it_is_asked(
    repository, monkeypatch, place, told
):
    (repository / place).mkdir(exist_ok=True)
    monkeypatch.chdir(repository / place)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    if told:
        monkeypatch.setenv("DVC_ROOT", str(repository if place != ROOM else repository / ROOM))
    assert kept.repository() == repository
    assert kept.address() == f"sqlite:///{repository / 'mlflow.db'}"


OPEN_A_RUN = """
import sys
from twinhead import params, tracking

settings = params.load()
seed = settings.explain.model_copy(update={"seed": int(sys.argv[1])})
with tracking.running("train", settings.model_copy(update={"explain": seed})):
    pass
"""


@pytest.mark.long
def test_several_processes_may_open_a_new_store_at_once(finished, tmp_path):
    """As the workers of `dvc exp run --queue` do, each in a copy of its own."""
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    variables = {"DVC_ROOT": str(tmp_path), "PYTHONPATH": str(REPOSITORY / "src")}
    programs = forking().folder
    workers = [
        finished.start("python", "-c", OPEN_A_RUN, str(seed), programs=programs, **variables)
        for seed in range(3)
    ]
    said = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0], said
    runs = all_runs(MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}"))
    assert sorted(run.data.params["explain.seed"] for run in runs) == ["0", "1", "2"], said
    artifacts = (tmp_path / "mlartifacts").as_uri()
    assert all(run.info.artifact_uri.startswith(artifacts) for run in runs)


STOPPED_AND_STARTED = """
import os
from twinhead import params, tracking

settings = params.load()
for name, stop in {"first": KeyboardInterrupt, "second": ValueError, "third": None}.items():
    os.environ |= {"DVC_EXP_NAME": name, "DVC_EXP_BASELINE_REV": name[0] * 40}
    try:
        with tracking.running("train", settings) as live:
            live.epoch({"epoch": 1, "train_loss": 1.0, "val_loss": 2.0}, seconds=3.0)
            if stop:
                raise stop
    except (KeyboardInterrupt, ValueError):
        pass
tracking.record("report", settings, live)
tracking.record("report", settings)
"""


def test_a_training_that_was_stopped_and_started_again_has_one_run(finished, tmp_path):
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    variables = {"DVC_ROOT": str(tmp_path), "PYTHONPATH": str(REPOSITORY / "src")}
    done = finished.run("python", "-c", STOPPED_AND_STARTED, **variables)
    assert done.returncode == 0 and "can't be used" not in done.stdout, done.stdout
    store = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = all_runs(store)
    assert run.info.status == "FINISHED" and "test/defect_auroc" in run.data.metrics
    assert "twinhead.failure" not in run.data.tags
    assert len(store.get_metric_history(run.info.run_id, "seconds_per_epoch")) == 1
    # It is the last one's files that `dvc exp apply` of its name brings back.
    assert run.info.run_name == run.data.tags["dvc.experiment"] == "third"
    assert run.data.tags["dvc.baseline"] == "t" * 40
