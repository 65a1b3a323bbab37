"""The whole pipeline in a repository of its own: what runs, what it leaves, and what it says."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, Workspace
from mlflow.artifacts import download_artifacts
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from twinhead import edge

STAGES = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


@pytest.fixture
def workspace(workspace: Workspace) -> Iterator[Workspace]:
    """With the runs of the test, too, taken away after it."""
    known = {run.info.run_id for run in runs(workspace)}
    yield workspace
    for run in runs(workspace):
        if run.info.run_id not in known:
            client(workspace).delete_run(run.info.run_id)


def client(workspace: Workspace) -> MlflowClient:
    return MlflowClient(f"sqlite:///{workspace.root / 'mlflow.db'}")


def runs(workspace: Workspace) -> list[Run]:
    """Of the workspace's own store, newest first."""
    return all_runs(client(workspace))


def all_runs(store: MlflowClient) -> list[Run]:
    """Newest first."""
    return store.search_runs([found.experiment_id for found in store.search_experiments()])


def ran(output: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", output)


def assert_complete(workspace: Workspace, run: Run, store: MlflowClient | None = None) -> None:
    """The run has what DESIGN.md promises, whichever stages DVC took from its cache."""
    run_id = run.info.run_id
    if store is None:
        store = client(workspace)
        assert run.info.artifact_uri.startswith((workspace.root / "mlartifacts").as_uri())
    assert run.info.status == "FINISHED" and "twinhead.failure" not in run.data.tags
    plain = f"{run.data.params['model.backbone']}-{run.data.tags['twinhead.params'][:6]}"
    assert run.info.run_name == run.data.tags.get("dvc.experiment", plain)
    assert re.fullmatch("[0-9a-f]{40}", run.data.tags["dvc.baseline"])
    for name in ("twinhead.params", "twinhead.data", "twinhead.model"):
        assert re.fullmatch("[0-9a-f]{64}", run.data.tags[name])
    assert run.data.params["train.epochs"] == "2" and "sample.seed" not in run.data.params
    index = json.loads((workspace.root / "metrics/index.json").read_text(encoding="utf-8"))
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.name == "inspected" and index["digest"].startswith(data.dataset.digest)
    for name in ("loss/train", "loss/val", "category_accuracy/val", "defect_auroc/val"):
        steps = [point.step for point in store.get_metric_history(run_id, name)]
        assert sorted(steps) == [1, 2], name
    for name in ("index/images", "split/test_images", "training/parameters",
                 "training/trained_parameters", "train/defect_auroc",
                 "val/defect_auroc", "test/defect_auroc", "test/category_accuracy",
                 "embed/trustworthiness", "explain/pointing_hit"):  # fmt: skip
        assert name in run.data.metrics, name
    folder = Path(store.download_artifacts(run_id, ""))
    for name in ("index/labels.json", "split/splits.csv", "train/history.csv",
                 "plots/train/learning_curves.png", "train/model.keras", "evaluate/predictions.csv",
                 "plots/evaluate/roc.png", "plots/embed/map_by_category.png", "embed/embedding.csv",
                 "explain/explain.json", "export/edge/edge.json", "export/edge/float.bin",
                 "report/index.html"):  # fmt: skip
        assert (folder / name).is_file(), name
    assert list((folder / "plots/heatmaps").glob("*.png"))
    (model,) = store.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'")
    kept = Path(download_artifacts(model.artifact_location, tracking_uri=store.tracking_uri))
    assert (kept / "MLmodel").is_file() and (kept / "artifacts/model.keras").is_file()
    assert edge.load(kept / "artifacts/edge").categories


def test_all_outputs_are_there(finished):
    missing = []
    for name in set(STAGES) - {"sample"}:
        for out in STAGES[name]["outs"]:
            path = finished.root / (out if isinstance(out, str) else next(iter(out)))
            full = any(path.iterdir()) if path.is_dir() else path.is_file() and path.stat().st_size
            missing += [] if full else [path]
    assert missing == []


def test_the_experiment_has_one_complete_run(finished):
    (run,) = runs(finished)
    assert_complete(finished, run)


def test_a_tiny_network_learns_the_tiny_data(finished):
    metrics = json.loads((finished.root / "metrics/evaluate.json").read_text(encoding="utf-8"))
    assert metrics["threshold_chosen_on"] == "val and cross-fitted train"
    for split in ("train", "val", "test"):
        assert metrics[split]["category"]["accuracy"] > 0.9
        assert metrics[split]["defect"]["auroc"] > 0.8


def test_a_second_repro_runs_nothing_and_makes_no_run(finished):
    before = runs(finished)
    output = finished.dvc("repro", "report")
    assert "Data and pipelines are up to date." in output and ran(output) == []
    assert len(runs(finished)) == len(before)


def test_a_changed_param_of_evaluate_runs_what_reads_it_and_makes_a_complete_run(workspace):
    before, measured = runs(workspace), workspace.root / "metrics/evaluate.json"
    known = measured.read_bytes()
    output = workspace.dvc("exp", "run", "report", "-S", "evaluate.bootstrap=120")
    # An area of 1 has the same interval from any number of draws.
    drawn = {"plots"} if measured.read_bytes() != known else set()
    assert set(ran(output)) == {"evaluate", "report"} | drawn
    new, *old = runs(workspace)
    assert len(old) == len(before) and new.data.params["evaluate.bootstrap"] == "120"
    assert_complete(workspace, new)
    assert "model: the same as version 1 of twinhead" in output


@pytest.mark.long
def test_an_experiment_in_a_throw_away_copy_has_its_complete_run_in_the_real_store(workspace):
    before = runs(workspace)
    workspace.dvc("exp", "run", "report", "--temp", "-S", "embed.perplexity=4")
    new, *old = runs(workspace)
    assert len(old) == len(before) and new.data.params["embed.perplexity"] == "4.0"
    assert_complete(workspace, new)
    assert not list((workspace.root / ".dvc/tmp").rglob("mlflow.db"))


@pytest.mark.long
def test_a_forced_run_leaves_the_same_lock_file_and_no_second_run(workspace):
    lock, before = (workspace.root / "dvc.lock").read_text(encoding="utf-8"), runs(workspace)
    # Not by forks, which share the seeds of a process: another process has to leave the same.
    forced = workspace.start("dvc", "repro", "--force", "report")
    output, _ = forced.communicate()
    assert forced.returncode == 0, output
    assert set(ran(output)) == set(STAGES) - {"sample"}
    assert (workspace.root / "dvc.lock").read_text(encoding="utf-8") == lock
    assert len(runs(workspace)) == len(before)
    assert_complete(workspace, runs(workspace)[0])


def misspelt(workspace: Workspace, folder: Path) -> None:
    workspace.set({"train": {"epocs": 3}})


def impossible(workspace: Workspace, folder: Path) -> None:
    workspace.set({"embed": {"perplexity": "many"}})


def missing(workspace: Workspace, folder: Path) -> None:
    workspace.set({"data": {"root": str(folder / "nowhere")}})


def empty(workspace: Workspace, folder: Path) -> None:
    (folder / "socket/train").mkdir(parents=True)
    workspace.set({"data": {"root": str(folder)}})


def truncated(workspace: Workspace, folder: Path) -> None:
    file = folder / "bolt/test/scratch/001.png"
    file.write_bytes(file.read_bytes()[:200])
    workspace.set({"data": {"root": str(folder)}})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (misspelt, "train.epocs is unknown; did you mean epochs?"),
        (impossible, "embed.perplexity is 'many'; expected a finite number"),
        (missing, "copied/nowhere"),
        (empty, "copied/socket: an empty category"),
        (truncated, "copied/bolt/test/scratch/001.png: can't be decoded"),
    ],
)
def test_bad_input_is_told_in_one_line_and_costs_nothing_that_was_there(
    workspace, copied, spoil: Callable[[Workspace, Path], None], said
):
    before = runs(workspace)
    spoil(workspace, copied)
    done = workspace.run("dvc", "repro", "report")
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert len([line for line in done.stdout.splitlines() if said in line]) == 1, done.stdout
    assert len(runs(workspace)) == len(before)
    workspace.restore()
    assert ran(workspace.dvc("repro", "report")) == []
