"""A tracking server instead of the repository's own store: the same runs, whatever befalls it."""

import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Workspace, copied_files, environment, forking, free_port
from mlflow.tracking import MlflowClient
from test_pipeline import assert_complete


@dataclass
class Server:
    """An MLflow server whose store outlives it."""

    folder: Path
    port: int
    process: subprocess.Popen | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        places = {
            "--backend-store-uri": f"sqlite:///{self.folder / 'store.db'}",
            "--artifacts-destination": (self.folder / "artifacts").as_uri(),
            "--host": "127.0.0.1",
            "--port": str(self.port),
        }
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                command + [word for place in places.items() for word in place],
                cwd=self.folder,
                # Its background jobs, which nothing here uses, are seven processes more.
                env=environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.address}/health", timeout=5)
                return
            except OSError:
                time.sleep(0.1)
        pytest.fail((self.folder / "server.log").read_text())

    def kill(self) -> None:
        """Without a farewell, its workers too."""
        if self.process and self.process.poll() is None:
            subprocess.run(["kill", "-KILL", "--", f"-{self.process.pid}"], check=True)
            self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path, free_port())
    made.start()
    yield made
    made.kill()


def test_a_server_that_dies_in_mid_training_costs_nothing_and_gets_the_whole_run_later(
    workspace, server, case
):
    variables = {"MLFLOW_TRACKING_URI": server.address}
    train = ("python", "-m", "twinhead.stage", "train")
    training, said = workspace.start(*train, programs=forking().folder, **variables), []
    for line in training.stdout:
        said.append(line)
        if "epoch 1 of" in line:
            server.kill()
    assert training.wait() == 0 and "train: done" in said[-1], said
    assert len([line for line in said if "can't be used" in line]) == 1, said
    server.start()
    done = workspace.run("python", "-m", "twinhead", "track", **variables)
    assert done.returncode == 0, done.stdout
    store = MlflowClient(server.address)
    (experiment,) = [e for e in store.search_experiments() if e.name != "Default"]
    (run,) = store.search_runs([experiment.experiment_id])
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


def test_two_people_at_one_server_have_a_run_each_though_their_params_are_the_same(
    paper: Workspace, server: Server, tmp_path: Path
):
    variables = {"MLFLOW_TRACKING_URI": server.address}
    train = ("python", "-m", "twinhead.stage", "train")
    ann, bob = (copied_files(paper, tmp_path / name) for name in ("ann", "bob"))
    forks = {"programs": forking().folder}
    killed, seen = ann.start(*train, group=True, **forks, **variables), ""
    for line in killed.stdout:
        seen += line
        if "epoch 1 of" in line:
            subprocess.run(["kill", "-KILL", "--", f"-{killed.pid}"], check=True)
    assert killed.wait() != 0, seen
    both = [one.start(*train, **forks, **variables) for one in (bob, ann)]  # at the same time
    for process in both:
        said, _ = process.communicate()
        assert process.returncode == 0, said
    for one in (bob, ann):
        done = one.run("python", "-m", "twinhead", "track", **variables)
        assert done.returncode == 0, done.stdout
    store = MlflowClient(server.address)
    (experiment,) = [e for e in store.search_experiments() if e.name != "Default"]
    first, second = store.search_runs(
        [experiment.experiment_id], order_by=["attributes.start_time"]
    )
    for one, run in ((ann, first), (bob, second)):
        assert_complete(one, run, store)
        curve = store.get_metric_history(run.info.run_id, "loss/train")
        assert sorted(point.step for point in curve) == [1, 2]
    assert first.data.tags["twinhead.workspace"] != second.data.tags["twinhead.workspace"]
    assert second.data.tags["twinhead.repeats"] == first.info.run_id
    assert "twinhead.repeats" not in first.data.tags


def test_a_training_that_is_resumed_with_other_code_begins_a_run_of_its_own(
    paper: Workspace, server: Server, tmp_path: Path
):
    variables = {"MLFLOW_TRACKING_URI": server.address}
    train = ("python", "-m", "twinhead.stage", "train")
    ann = copied_files(paper, tmp_path / "ann")
    killed = ann.start(*train, group=True, programs=forking().folder, **variables)
    for line in killed.stdout:
        if "epoch 1 of" in line:
            subprocess.run(["kill", "-KILL", "--", f"-{killed.pid}"], check=True)
    assert killed.wait() != 0
    with (ann.root / "src/twinhead/model/heads.py").open("a", encoding="utf-8") as file:
        file.write("\n# another code\n")
    done = ann.run(*train, **variables)
    assert done.returncode == 0, done.stdout
    store = MlflowClient(server.address)
    (experiment,) = [e for e in store.search_experiments() if e.name != "Default"]
    old, new = store.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
    assert old.data.tags["twinhead.code"] != new.data.tags["twinhead.code"]
    curve = store.get_metric_history(new.info.run_id, "loss/train")
    assert [point.step for point in curve] == [1, 2] and new.info.status == "FINISHED"
