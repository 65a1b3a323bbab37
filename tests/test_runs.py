"""One experiment, one run, always complete: however it was started, and where a stage fails."""

import json
import os
import select
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from conftest import Workspace
from test_pipeline import assert_complete, client, ran, runs, workspace  # noqa: F401  (a fixture)

from twinhead.tracking import experiment


@pytest.fixture
def clone(finished: Workspace, tmp_path: Path) -> Workspace:
    """A colleague's clone: its commits, and nothing that git doesn't keep."""
    made = Workspace(tmp_path / "clone")
    finished.git("clone", "--quiet", ".", str(made.root))
    return made


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def head(repository: Workspace) -> str:
    return repository.run("git", "rev-parse", "HEAD").stdout.strip()


def wait_for_workers(repository: Workspace, count: int) -> None:
    """Until DVC's queue workers have ended, as they do by themselves when nothing is queued."""
    folder = repository.root / ".dvc/tmp/exps/celery"
    for number in range(1, count + 1):
        (file,) = folder.rglob(f"dvc-exp-worker-{number}.json")
        try:
            process = os.pidfd_open(json.loads(file.read_text())["pid"])
        except ProcessLookupError:
            continue
        if not select.select([process], [], [], 300)[0]:
            # Now and then one reads another's half-written message, and then stays without work.
            repository.dvc("queue", "stop")
            assert select.select([process], [], [], 300)[0], f"worker {number} hasn't ended"
        os.close(process)


@pytest.mark.long
def test_two_workers_run_a_grid_on_a_new_store_with_a_model_from_the_cache(finished, clone):
    clone.dvc("cache", "dir", "--local", str(finished.root / ".dvc/cache"))
    pipeline = yaml.safe_load((clone.root / "dvc.yaml").read_text(encoding="utf-8"))
    # Never run here, so that `dvc exp apply` would miss its images.
    del pipeline["stages"]["sample"]
    (clone.root / "dvc.yaml").write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    clone.git("commit", "--quiet", "--all", "--message", "Use images of our own")
    clone.dvc("exp", "run", "--queue", "report", "-S", "evaluate.bootstrap=110,120")
    clone.dvc("queue", "start", "-j", "2")
    wait_for_workers(clone, 2)
    made = {run.data.params["evaluate.bootstrap"]: run for run in runs(clone)}
    assert len(runs(clone)) == 2 and set(made) == {"110", "120"}
    names = clone.dvc("exp", "list", "--name-only").split()
    for bootstrap, run in made.items():
        name = run.data.tags["dvc.experiment"]
        assert name in names and run.data.tags["dvc.baseline"] == head(clone)
        said = ran(clone.dvc("queue", "logs", name))
        clone.dvc("exp", "apply", name)
        measured = [place.root / "metrics/evaluate.json" for place in (finished, clone)]
        drawn = ["plots"] if measured[0].read_bytes() != measured[1].read_bytes() else []
        assert said == ["evaluate", *drawn, "report"]
        assert f"bootstrap: {bootstrap}" in (clone.root / "params.yaml").read_text()
        assert digest(clone.root / "models/model.keras") == run.data.tags["twinhead.model"]
        assert_complete(clone, run)
    assert not list((clone.root / ".dvc/tmp").rglob("mlflow.db"))


@pytest.mark.long
def test_a_clone_that_pulled_its_results_makes_their_complete_run(finished, clone, tmp_path):
    for repository in (finished, clone):
        repository.dvc("remote", "add", "--local", "--force", "shelf", str(tmp_path / "shelf"))
    finished.dvc("push", "--quiet", "--remote", "shelf", "--with-deps", "report")
    clone.dvc("pull", "--quiet", "--remote", "shelf", "--with-deps", "report")
    for _ in range(2):
        said = clone.run("python", "-m", "twinhead", "track")
        assert said.returncode == 0, said.stdout
    (run,) = runs(clone)
    assert_complete(clone, run)
    assert run.data.tags["dvc.baseline"] == head(clone)
    (known,) = [old for old in runs(finished) if old.data.tags["twinhead.params"] ==
                run.data.tags["twinhead.params"]]  # fmt: skip
    assert run.info.run_name == known.info.run_name and run.data.metrics.keys() == {
        name for name in known.data.metrics if name != "seconds_per_epoch"
    }


@pytest.mark.long
def test_a_failing_stage_s_run_has_failed_and_is_finished_when_it_is_mended(
    workspace,  # noqa: F811
):
    before, code = runs(workspace), workspace.root / "src/twinhead/embedding.py"
    whole = code.read_text(encoding="utf-8")
    code.write_text(f"{whole}\n\ndef place(*anything):\n    raise ValueError('the map tore')\n")
    failed = workspace.run("dvc", "exp", "run", "report", "-S", "embed.perplexity=5")
    assert failed.returncode != 0
    new, *old = runs(workspace)
    assert len(old) == len(before) and new.info.status == "FAILED"
    assert new.data.tags["twinhead.failure"] == "embed: ValueError: the map tore"
    code.write_text(whole, encoding="utf-8")
    assert ran(workspace.dvc("repro", "report")) == ["embed", "plots", "report"]
    mended, *others = runs(workspace)
    assert len(others) == len(before) and mended.info.run_id == new.info.run_id
    assert "dvc.experiment" not in mended.data.tags  # which failed, so that DVC hasn't kept it
    assert_complete(workspace, mended)
    seconds = client(workspace).get_metric_history(mended.info.run_id, "seconds_per_epoch")
    assert [point.step for point in seconds] == [1, 2]  # of the training that made the model


def test_an_experiment_that_was_applied_is_known_by_its_lock_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_STAGE", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    repository = Workspace(tmp_path)
    repository.git("init", "--quiet")
    for text in ("first", "tried"):
        (tmp_path / "dvc.lock").write_text(text)
        repository.git("add", ".")
        repository.git("commit", "--quiet", "--message", text)
    start = repository.run("git", "rev-parse", "HEAD~1").stdout.strip()
    repository.git("update-ref", f"refs/exps/{start[:2]}/{start[2:]}/stout-eyas", "HEAD")
    repository.git("checkout", "--quiet", start)
    assert experiment.current() == ("", start)
    (tmp_path / "dvc.lock").write_text("tried")
    assert experiment.current() == ("stout-eyas", start)
    monkeypatch.setenv("DVC_STAGE", "train")  # which has yet to write the lock file
    assert experiment.current() == ("", start)
