"""A tracking server instead of the repository's own store: the same runs, whatever befalls it."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Workspace, copied_files, environment, forking, free_port
from mlflow.tracking import MlflowClient
from served import Served
from test_pipeline import all_runs, assert_complete

TRAIN = ("python", "-m", "twinhead.stage", "train")
HEALTH = "/health"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    """An MLflow server whose store outlives it."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--backend-store-uri", f"sqlite:///{tmp_path / 'store.db'}"]
    command += ["--artifacts-destination", (tmp_path / "artifacts").as_uri()]
    # Its background jobs, which nothing here uses, are seven processes more.
    variables = environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    log = tmp_path / "server.log"
    made = Served(shlex.join(command), f"http://127.0.0.1:{port}", log, variables)
    try:
        made.start(HEALTH)
        yield made
    finally:
        made.stop()


def killed_in_training(workspace: Workspace, variables: dict[str, str]) -> None:
    """Start a training, and kill it with all that it has started after its first epoch."""
    programs, seen = forking().folder, ""
    training = workspace.start(*TRAIN, group=True, programs=programs, **variables)
    for line in training.stdout:
        seen += line
        if "epoch 1 of" in line:
            subprocess.run(["kill", "-KILL", "--", f"-{training.pid}"], check=True)
    assert training.wait() != 0, seen


@pytest.mark.long
def test_a_server_that_dies_in_mid_training_costs_nothing_and_gets_the_whole_run_later(
    workspace, server, case
):
    variables = {"MLFLOW_TRACKING_URI": server.address}
    training, said = workspace.start(*TRAIN, programs=forking().folder, **variables), []
    for line in training.stdout:
        said.append(line)
        if "epoch 1 of" in line:
            server.stop()
    assert training.wait() == 0 and "train: done" in said[-1], said
    assert len([line for line in said if "can't be used" in line]) == 1, said
    server.start(HEALTH)
    done = workspace.run("python", "-m", "twinhead", "track", **variables)
    assert done.returncode == 0, done.stdout
    store = MlflowClient(server.address)
    (run,) = all_runs(store)
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")
    assert_complete(workspace, run, store)
    seconds = store.get_metric_history(run.info.run_id, "seconds_per_epoch")
    assert [point.step for point in seconds] == [1, 2]
    listed = workspace.run("python", "-m", "twinhead", "champion", **variables).stdout
    assert re.search("^version 1 .* champion$", listed, re.MULTILINE), listed
    outcome = "`train` says so once and ends well; `make track` sends the whole run later"
    case("Faults", "MLflow's server dies in mid-training", outcome)


def test_a_training_that_must_be_tracked_does_not_begin_without_a_server(workspace):
    workspace.set({"tracking": {"on_failure": "stop"}})
    variables = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{free_port()}"}
    for command in (["-m", "twinhead.stage", "train"], ["-m", "twinhead", "track"]):
        done = workspace.run("python", *command, **variables)
        assert done.returncode != 0 and "epoch" not in done.stdout, done.stdout
        (line,) = [line for line in done.stdout.splitlines() if "error" in line]
        assert f"MLflow at {variables['MLFLOW_TRACKING_URI']} can't be used" in line


@pytest.mark.long
def test_two_people_at_one_server_have_a_run_each_though_their_params_are_the_same(
    paper: Workspace, server: Served, tmp_path: Path
):
    variables = {"MLFLOW_TRACKING_URI": server.address}
    ann, bob = (copied_files(paper, tmp_path / name) for name in ("ann", "bob"))
    killed_in_training(ann, variables)
    forks = {"programs": forking().folder}
    both = [one.start(*TRAIN, **forks, **variables) for one in (bob, ann)]  # at the same time
    for process in both:
        said, _ = process.communicate()
        assert process.returncode == 0, said
    for one in (bob, ann):
        done = one.run("python", "-m", "twinhead", "track", **variables)
        assert done.returncode == 0, done.stdout
    store = MlflowClient(server.address)
    second, first = all_runs(store)
    for one, run in ((ann, first), (bob, second)):
        assert_complete(one, run, store)
        curve = store.get_metric_history(run.info.run_id, "loss/train")
        assert sorted(point.step for point in curve) == [1, 2]
    assert first.data.tags["twinhead.workspace"] != second.data.tags["twinhead.workspace"]
    assert second.data.tags["twinhead.repeats"] == first.info.run_id
    assert "twinhead.repeats" not in first.data.tags


@pytest.mark.long
def test_a_training_that_is_resumed_with_other_code_begins_a_run_of_its_own(
    paper: Workspace, server: Served, tmp_path: Path
):
    variables = {"MLFLOW_TRACKING_URI": server.address}
    ann = copied_files(paper, tmp_path / "ann")
    killed_in_training(ann, variables)
    with (ann.root / "src/twinhead/model/heads.py").open("a", encoding="utf-8") as file:
        file.write("\n# another code\n")
    done = ann.run(*TRAIN, **variables)
    assert done.returncode == 0, done.stdout
    store = MlflowClient(server.address)
    new, old = all_runs(store)
    assert old.data.tags["twinhead.code"] != new.data.tags["twinhead.code"]
    curve = store.get_metric_history(new.info.run_id, "loss/train")
    assert [point.step for point in curve] == [1, 2] and new.info.status == "FINISHED"
