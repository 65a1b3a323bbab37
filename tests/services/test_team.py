"""What the pages promise a team, with PostgreSQL, an S3 and MLflow's server for real.

The commands and the files are those of docs/server.md and docs/machines.md.
"""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import page as shown
import psutil
import psycopg2
import pytest
import yaml
from conftest import REPOSITORY, Workspace, begun, environment, forking, free_port
from database import Database
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from page import Page
from served import Served
from test_pipeline import assert_complete
from test_runs import wait_for_workers

DATABASE_PASSWORD = "the password of the database"
STORE_PASSWORD = "secret-of-the-store"
ADMIN_PASSWORD = "the-password-of-admin"
KEY = "the-key-of-forms"
BUCKET = "twinhead"
EPOCHS = 8


@dataclass
class Team:
    """The servers of the page, and who uses them."""

    root: Path
    page: Page
    database: Database
    server: Served
    bucket: object
    """boto3's, as the store's administrator has it."""
    variables: dict[str, str]
    """The environment of the machine that serves."""
    command_lines: set[str] = field(default_factory=set)
    """All that `look` has seen."""

    def join(self, name: str) -> dict[str, str]:
        """Make a user of the server with a home folder; return the environment in there."""
        said = run(self.page.command("export MLFLOW_TRACKING_USERNAME"), self.variables,
                   f"{name}\n{password(name)}\n")  # fmt: skip
        assert "Warning: Password input may be echoed" in said  # as there is no terminal here
        page = replace(
            self.page,
            places=self.page.places | {"username = ann": f"username = {name}"},
            secrets=self.page.secrets | {"mlflow_tracking_password": password(name)},
        )
        for file in ("~/.mlflow/credentials", "~/.aws/credentials"):
            page.write(file, self.root / name)
        return {"HOME": str(self.root / name)}

    def look(self) -> None:
        """Read the command lines of all that runs, as any user of the machine can."""
        running = psutil.process_iter(["cmdline"])
        self.command_lines |= {" ".join(process.info["cmdline"] or ()) for process in running}


@dataclass
class Member:
    """A person of the team, with a repository."""

    workspace: Workspace
    variables: dict[str, str]
    team: Team
    said: str = ""
    """What the page's commands for a result have printed."""

    def bash(self, command: str) -> str:
        """Run a block of the page, which must succeed."""
        with closing_group(self.start(command)) as started:
            said = ""
            for line in started.stdout:
                said += line
                self.team.look()
            assert started.wait() == 0, said
        return said

    def start(self, command: str) -> subprocess.Popen[str]:
        shell = ("bash", "-euo", "pipefail", "-c")
        programs = forking().folder
        return self.workspace.start(
            *shell, command, group=True, programs=programs, **self.variables
        )


def served(team: Team, command: str) -> str:
    return f"export MLFLOW_TRACKING_URI={team.server.address}\n{command}"


def password(name: str) -> str:
    return f"the-password-of-{name}"


def run(command: str, variables: dict[str, str], given: str = "") -> str:
    """Run a block of the page without a terminal, so that it takes passwords from `given`."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        env=variables,
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@contextmanager
def closing_group(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Let nothing of it outlive the test."""
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def team(folder: Path) -> Iterator[Team]:
    """The database, the store and the server, as the page makes them; Ann and Bob join later."""
    with tempfile.TemporaryDirectory(prefix="twinhead-") as place:
        root = Path(place)
        root.chmod(0o755)  # PostgreSQL doesn't run as root: then it has a user of its own
        database = Database(root / "db", free_port())
        store, tracking, serving = free_port(), free_port(), free_port()
        made = Page(
            {
                "/srv/mlflow": str(root / "srv"),
                "127.0.0.1:5432": f"127.0.0.1:{database.port}",
                "https://s3.example.org": f"http://127.0.0.1:{store}",
                "127.0.0.1:5000": f"127.0.0.1:{tracking}",
                "--port 5000": f"--port {tracking}",
                "--port 5001": f"--port {serving}",
                "-S train.seed=1,2": "-S model.backbone=cnn -S train.seed=7",
                "predict photos/": f"predict '{folder}'",
                "make track": f"make --file '{REPOSITORY / 'Makefile'}' READY= track",
            },
            {
                f"127.0.0.1:{database.port}": DATABASE_PASSWORD,
                "AWS_ACCESS_KEY_ID": "key",
                "AWS_SECRET_ACCESS_KEY": STORE_PASSWORD,
                "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN_PASSWORD,
                "MLFLOW_FLASK_SERVER_SECRET_KEY": KEY,
                "aws_access_key_id": "key",
                "aws_secret_access_key": STORE_PASSWORD,
            },
        )
        home = root / "home"
        home.mkdir()
        programs = [str(database.programs), str(Path(sys.executable).parent), os.environ["PATH"]]
        variables = environment(HOME=str(home), PATH=os.pathsep.join(programs))
        with ExitStack() as started:
            database.start()
            started.callback(database.stop)
            run(
                made.command("createuser"),
                variables | database.administration,
                f"{DATABASE_PASSWORD}\n" * 2,
            )
            moto = Served(
                f"exec moto_server -H 127.0.0.1 -p {store}",
                f"http://127.0.0.1:{store}",
                root / "store.log",
                variables,
            )
            started.callback(moto.stop)
            moto.start("/")
            bucket = boto3.resource(
                "s3",
                endpoint_url=moto.address,
                aws_access_key_id="key",
                aws_secret_access_key=STORE_PASSWORD,
                region_name="us-east-1",
            ).create_bucket(Bucket=BUCKET)
            for name in shown.FILES:
                if name.startswith("/srv/mlflow"):
                    made.write(name)
            server = Served(
                made.command("exec mlflow server"),
                f"http://127.0.0.1:{tracking}",
                root / "server.log",
                variables,
            )
            started.callback(server.stop)
            server.start("/health")
            yield Team(root, made, database, server, bucket, variables)


@pytest.fixture(scope="module")
def ann(team: Team, folder: Path) -> Member:
    """She runs the pipeline as the page says, and asks for the champion's answers."""
    variables = team.join("ann")
    member = Member(begun(team.root / "ann/twinhead", folder), variables, team)
    pipeline = yaml.safe_load((member.workspace.root / "dvc.yaml").read_text(encoding="utf-8"))
    del pipeline["stages"]["sample"]  # they have photographs of their own
    text = yaml.safe_dump(pipeline, sort_keys=False)
    (member.workspace.root / "dvc.yaml").write_text(text, encoding="utf-8")
    member.said = member.bash(team.page.command("dvc repro"))
    member.workspace.git("add", ".")
    member.workspace.git("commit", "--quiet", "--message", "First results")
    return member


@pytest.fixture(scope="module")
def pushed(ann: Member) -> Member:
    """She gives her result to the others."""
    ann.bash(ann.team.page.command("dvc remote add"))
    ann.workspace.git("commit", "--quiet", "--all", "--message", "Share the results")
    origin = str(ann.team.root / "origin")
    ann.workspace.git("init", "--quiet", "--bare", origin)
    ann.workspace.git("remote", "add", "origin", origin)
    ann.workspace.git("push", "--quiet", "origin", "HEAD")
    ann.bash(ann.team.page.command("dvc push"))
    return ann


@pytest.fixture(scope="module")
def bob(pushed: Member) -> Member:
    """He clones the repository, and takes her result over."""
    team, clone = pushed.team, Workspace(pushed.team.root / "bob/twinhead")
    variables = team.join("bob")
    pushed.workspace.git("clone", "--quiet", str(team.root / "origin"), str(clone.root))
    member = Member(clone, variables, team)
    command = team.page.command("dvc pull")
    member.said = member.bash(served(team, command))
    return member


@pytest.fixture(scope="module")
def champion(ann: Member) -> Iterator[str]:
    """The address of `mlflow models serve`."""
    team = ann.team
    command = team.page.command("mlflow models serve")
    (port,) = re.findall(r"--port (\d+)", command)
    started = Served(
        command,
        f"http://127.0.0.1:{port}",
        team.root / "champion.log",
        team.variables | ann.variables,
    )
    try:
        started.start("/ping")
        team.look()
        yield started.address
    finally:
        started.stop()


@pytest.fixture(scope="module")
def queued(ann: Member, bob: Member) -> list[tuple[Member, Run]]:
    """Both queue the same experiment, and run it at one time."""
    started = [(one, one.start(one.team.page.command("dvc exp run --queue"))) for one in (ann, bob)]
    for member, process in started:
        with closing_group(process):
            said, _ = process.communicate()
            assert process.returncode == 0, said
        wait_for_workers(member.workspace, 2)
    with pytest.MonkeyPatch.context() as monkeypatch:
        store = client(ann, monkeypatch)
        return [(member, runs_of(member, store)[-1]) for member, _ in started]


@pytest.fixture(scope="module")
def taken(queued: list[tuple[Member, Run]]) -> tuple[Member, Run]:
    """Ann with the files of Bob's experiment, and its run."""
    (ann, _), (bob, run) = queued
    name, page = run.data.tags["dvc.experiment"], ann.team.page
    bob.bash(page.command("dvc exp push").replace("NAME", name))
    ann.bash(page.command("dvc exp pull").replace("NAME", name))
    return ann, run


def client(member: Member, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("HOME", member.variables["HOME"])  # where the credentials are
    return MlflowClient(member.team.server.address)


def runs_of(member: Member, store: MlflowClient) -> list[Run]:
    """The member's own, oldest first."""
    file = member.workspace.root / ".journal/workspace.json"
    kept = json.loads(file.read_text(encoding="utf-8"))
    experiment = store.get_experiment_by_name("twinhead")
    wanted = f"tags.`twinhead.workspace` = '{kept['name']}'"
    order = ["attributes.start_time"]
    return store.search_runs([experiment.experiment_id], wanted, order_by=order)


def test_the_pipeline_leaves_a_complete_run_in_postgresql_and_s3(ann, monkeypatch):
    store = client(ann, monkeypatch)
    (run,) = runs_of(ann, store)
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")
    assert_complete(ann.workspace, run, store)
    kept = [thing.key for thing in ann.team.bucket.objects.filter(Prefix="mlflow/")]
    assert any(key.endswith(f"{run.info.run_id}/artifacts/train/model.keras") for key in kept)
    port, user = ann.team.database.port, "mlflow"
    connected = psycopg2.connect(host="127.0.0.1", port=port, user=user, password=DATABASE_PASSWORD)
    with closing(connected), connected.cursor() as cursor:
        cursor.execute("select status from runs where run_uuid = %s", (run.info.run_id,))
        assert cursor.fetchall() == [("FINISHED",)]
    assert not (ann.workspace.root / "mlflow.db").exists()
    assert "View run" not in ann.said and ann.said.count("MLflow run") == 1


def test_the_registry_s_champion_answers_as_the_workspace_s_model(ann, folder):
    assert re.search("^version 1 .* champion$", ann.said, re.MULTILINE)
    lines = (ann.workspace.root / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    answers = [json.loads(line) for line in lines]
    done = ann.workspace.run("python", "-m", "twinhead", "predict", "--json", "-", str(folder))
    assert answers == json.loads(done.stdout[: done.stdout.rindex("]") + 1]) and answers


def test_the_champion_is_served_from_the_server(ann, champion):
    lines = (ann.workspace.root / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    answers = [json.loads(line) for line in lines]
    images = [base64.b64encode(Path(one.pop("path")).read_bytes()).decode() for one in answers]
    body = json.dumps({"dataframe_split": {"columns": ["image"], "data": [[i] for i in images]}})
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{champion}/invocations", body.encode(), headers)
    with urllib.request.urlopen(request) as answer:
        served = json.load(answer)["predictions"]
    for one, other in zip(served, answers, strict=True):
        assert one["category"] == other["category"] and one["defective"] == other["defective"]
        assert one["defect_probability"] == pytest.approx(other["defect_probability"], abs=1e-4)


def test_a_clone_elsewhere_pulls_the_results_and_has_nothing_to_run(pushed, bob):
    assert "Data and pipelines are up to date." in bob.said
    for name in ("models/model.keras", "reports/index.html", "reports/heat_maps.npy"):
        one, other = (member.workspace.root / name for member in (pushed, bob))
        assert one.read_bytes() == other.read_bytes()


def test_make_track_gives_the_clone_a_complete_run_that_names_the_first(ann, bob, monkeypatch):
    store = client(bob, monkeypatch)
    (first,), (second, *_) = runs_of(ann, store), runs_of(bob, store)
    assert_complete(bob.workspace, second, store)
    assert second.data.tags["twinhead.repeats"] == first.info.run_id


def test_two_queues_at_one_time_leave_each_workspace_its_own_complete_run(queued, monkeypatch):
    store = client(queued[0][0], monkeypatch)
    for member, run in queued:
        assert run.data.params["train.seed"] == "7"
        assert_complete(member.workspace, run, store)
    assert sum("twinhead.repeats" in run.data.tags for _, run in queued) == 1


def test_an_experiment_of_another_machine_is_taken_over_whole(taken):
    member, run = taken
    model = (member.workspace.root / "models/model.keras").read_bytes()
    assert sha256(model).hexdigest() == run.data.tags["twinhead.model"]
    assert "Data and pipelines are up to date." in member.workspace.dvc("status")


def test_a_database_that_dies_and_comes_back_in_mid_training_costs_nothing(bob, monkeypatch):
    bob.workspace.set({"model": {"backbone": "cnn"}, "train": {"epochs": EPOCHS, "patience": 99}})
    database, said = bob.team.database, ""
    with closing_group(bob.start(served(bob.team, "dvc repro evaluate"))) as running:
        for line in running.stdout:
            said += line
            if "epoch 1 of" in line:
                with held():
                    database.stop("immediate")
            if f"epoch {EPOCHS // 2} of" in line:
                with held():
                    database.start()
        assert running.wait() == 0, said
    store = client(bob, monkeypatch)
    run = runs_of(bob, store)[-1]
    assert run.data.params["model.backbone"] == "cnn" and run.info.status == "FINISHED", said
    for name in ("loss/train", "loss/val", "defect_auroc/val", "seconds_per_epoch"):
        points = store.get_metric_history(run.info.run_id, name)
        assert sorted(point.step for point in points) == list(range(1, EPOCHS + 1)), name
    assert "training/parameters" in run.data.metrics and "test/defect_auroc" in run.data.metrics
    for name in ("index/labels.json", "split/splits.csv", "train/history.csv", "train/model.keras",
                 "evaluate/predictions.csv"):  # fmt: skip
        assert Path(store.download_artifacts(run.info.run_id, name)).is_file()


@contextmanager
def held() -> Iterator[None]:
    """Let the stages and commands that run stand still meanwhile."""
    running = psutil.Process(forking().process.pid).children()
    for process in running:
        process.suspend()
    try:
        yield
    finally:
        for process in running:
            process.resume()


@pytest.mark.parametrize("page", ["/", "/api/2.0/mlflow/experiments/search?max_results=1"])
@pytest.mark.parametrize("name", ["", "nobody", "admin"])
def test_the_server_lets_nobody_in_without_the_right_password(team, page, name):
    request = urllib.request.Request(f"{team.server.address}{page}")
    if name:
        request.add_header("Authorization", f"Basic {base64.b64encode(f'{name}:x'.encode())}")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request)


def test_the_database_lets_nobody_in_without_the_password(team):
    with pytest.raises(psycopg2.OperationalError, match="no password supplied"):
        psycopg2.connect(host="127.0.0.1", port=team.database.port, user="mlflow", passfile="none")


def test_nothing_listens_on_an_open_address(team, champion):
    started = [*psutil.Process().children(recursive=True), psutil.Process(team.database.pid)]
    listening = {
        connection.laddr
        for process in started
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    ports = {team.database.port, *(urlsplit(one).port for one in (team.server.address, champion))}
    assert ports <= {address.port for address in listening}
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_no_password_ever_stood_on_a_command_line(team, ann, bob, champion):
    secrets = {*team.page.secrets.values(), password("ann"), password("bob")} - {"key"}
    seen = "\n".join(team.command_lines)
    assert "mlflow server" in seen and "dvc push" in seen and "moto_server" in seen
    assert not [secret for secret in secrets if secret in seen]


def test_what_the_pages_show_is_what_these_tests_have_run(team, pushed, bob, champion, taken):
    (installing,) = set(shown.COMMANDS) - team.page.ran
    assert installing.startswith("pip install")


def test_the_page_installs_the_versions_of_these_tests():
    locks = ("requirements.lock", "requirements-services.lock")
    locked = "".join((REPOSITORY / lock).read_text(encoding="utf-8") for lock in locks)
    named = re.findall(r"([\w-]+)(?:\[\w+\])?==([\w.]+)", shown.TEXT)
    assert len(named) == 4
    for name, version in named:
        assert f"\n{name}=={version}\n" in f"\n{locked}"
