"""The model for use: one for each run, a version for each new model, and an earned champion."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY, Workspace
from mlflow.tracking import MlflowClient

from twinhead import params, paths
from twinhead.errors import InputError
from twinhead.serving import registry

IMAGES = 60


def table(skill: float, seed: int = 0, **columns: object) -> pd.DataFrame:
    """Predictions of a network: a skill of 0 guesses, of 3 knows nearly everything."""
    rng = np.random.default_rng(seed)
    defective = np.arange(IMAGES) % 2
    scores = 1 / (1 + np.exp(-skill * (defective - 0.5) * 2 - rng.normal(0, 1, IMAGES)))
    given = {
        "path": [f"{number:03}.png" for number in range(IMAGES)],
        "split": "val",
        "category": np.where(np.arange(IMAGES) < IMAGES // 2, "bolt", "nut"),
        "defective": defective,
        "defect_probability": scores,
    }
    return pd.DataFrame(given | columns)


def test_a_model_that_is_surely_better_beats_the_champion():
    better, why = registry.compare(table(skill=3), table(skill=0))
    assert better and why.startswith("val AUROC +0.") and "97.50% interval +0." in why


def test_test_images_decide_nothing_and_are_shown():
    """Better on test, the same on val."""
    paths = [f"{number:03}.jpg" for number in range(IMAGES)]
    tables = [
        pd.concat([table(skill=1), table(skill, split="test", path=paths)]) for skill in (3, 0)
    ]
    better, why = registry.compare(*tables)
    assert not better and why.startswith("val AUROC +0.000")
    assert re.search(r"test, which doesn't decide: \+0\.[1-9]", why)


def test_each_further_challenger_has_to_be_surer():
    """What the first challenger wins with, the hundredth doesn't."""
    new, champion = table(skill=1.6), table(skill=0.3)
    assert [registry.compare(new, champion, number)[0] for number in (1, 100)] == [True, False]


def test_a_lot_s_images_are_one_witness():
    new, champion = table(skill=3, group=0), table(skill=0)
    assert registry.compare(new, champion)[0] is False


@pytest.mark.parametrize("skill", [0, 1, 3])
def test_the_same_predictions_beat_nobody(skill):
    assert registry.compare(table(skill), table(skill))[0] is False


def test_a_worse_model_and_one_that_is_better_by_chance_beat_nobody():
    assert registry.compare(table(skill=0), table(skill=3))[0] is False
    assert registry.compare(table(skill=1.1, seed=1), table(skill=1, seed=1))[0] is False


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"path": [f"other{number}.png" for number in range(IMAGES)]}, "other val images"),
        ({"defective": 1 - np.arange(IMAGES) % 2}, "other val images"),
        ({"category": "bolt"}, "other val images"),
    ],
)
def test_other_val_images_or_labels_are_no_comparison(change, why):
    better, said = registry.compare(table(skill=3, **change), table(skill=0))
    assert not better and why in said


def test_models_without_a_defect_head_are_not_compared():
    better, said = registry.compare(table(3).drop(columns="defect_probability"), table(0))
    assert not better and said == "only models with a defect head are compared"


def test_val_images_without_both_kinds_decide_nothing():
    better, said = registry.compare(table(3, defective=1), table(0, defective=1))
    assert not better and said == "no category has both good and defective val images"


RECORD = """
import json
import sys
import pandas as pd
from pathlib import Path
from twinhead import params, paths, tracking
from twinhead.serving import registry

predictions = pd.read_csv(paths.PREDICTIONS)
# Two defects for val are too few to crown anyone: those of train choose with them.
predictions["split"] = predictions["split"].replace("train", "val")
evaluated = json.loads(paths.metrics("evaluate").read_text())
indexed = json.loads(paths.metrics("index").read_text())
network = paths.MODEL.read_bytes()


def record(name, score=None, threshold=None, split=None, digest=None, seed=1):
    # Another network is one of other bytes: what comes after those of its archive is not read.
    paths.MODEL.write_bytes(network + name.encode())
    changed = predictions.copy()
    if score is not None:
        changed["defect_probability"] = abs(changed["defective"] - (1 - score))
    if split:
        val = changed.index[changed["split"] == "val"]
        changed.loc[val[:2], "split"] = "train"
    changed.to_csv(paths.PREDICTIONS, index=False)
    told = dict(evaluated, threshold=threshold or evaluated["threshold"])
    paths.metrics("evaluate").write_text(json.dumps(told))
    paths.metrics("index").write_text(json.dumps(dict(indexed, digest=digest or indexed["digest"])))
    settings = params.load()
    explain = settings.explain.model_copy(update={"seed": seed})
    print(name, end=": ")
    tracking.record("report", settings.model_copy(update={"explain": explain}), last=registry.keep)
    print()


record("first", score=0.0)
record("first", score=0.0)
record("first", score=0.0, seed=2)
record("first", score=0.0, threshold=0.123)
record("worse", score=0.0)
record("better", score=1.0)
record("resplit", score=1.0, split=True)
record("elsewhere", score=1.0, digest="0" * 64)
"""


@pytest.fixture(scope="module")
def recorded(
    finished: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str]]:
    """A workspace of its own where models came and went, and what was said of each."""
    root = tmp_path_factory.mktemp("recorded") / "twinhead"
    ignored = shutil.ignore_patterns("mlflow.db*", "mlartifacts", ".git", "cache", "__pycache__")
    shutil.copytree(finished.root, root, ignore=ignored, symlinks=False)
    for file in (paths.MODEL, paths.PREDICTIONS):  # DVC may have linked them, read-only
        (root / file).chmod(0o644)
    return root, [line for line in run(root, "-c", RECORD).splitlines() if line]


def run(root: Path, *arguments: str) -> str:
    places = {"DVC_ROOT": str(root), "PYTHONPATH": str(REPOSITORY / "src")}
    done = Workspace(root).run("python", *arguments, **places)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_each_model_is_told_in_one_line(recorded):
    _, said = recorded
    first, again, other, moved, worse, better, resplit, elsewhere = said
    assert first == "first: model: version 1 of twinhead is champion: it is the first"
    assert again == "first: "
    assert other == "first: model: the same as version 1 of twinhead"
    assert moved == "first: model: version 1 of twinhead is renewed"
    assert worse.startswith("worse: model: version 2 of twinhead; version 1 stays champion: val")
    assert better.startswith("better: model: version 3 of twinhead is champion: val AUROC +1.000")
    for line, number, reason in (
        (resplit, 4, "it was judged on other val images"),
        (elsewhere, 5, "it was judged on another data set"),
    ):
        remedy = f"(`twinhead champion {number}` makes this one)"
        assert line.endswith(f"version 3 stays champion: {reason} {remedy}")


def test_every_run_has_one_model_and_every_new_model_one_version(recorded):
    root, _ = recorded
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    (experiment,) = [one for one in client.search_experiments() if one.name != "Default"]
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 6 and {run.info.status for run in runs} == {"FINISHED"}
    models = client.search_logged_models([experiment.experiment_id])
    assert sorted(model.source_run_id for model in models) == sorted(r.info.run_id for r in runs)
    versions = client.search_model_versions("name = 'twinhead'")
    assert sorted(int(one.version) for one in versions) == [1, 2, 3, 4, 5]
    assert len({one.run_id for one in versions}) == 5
    first = client.get_model_version("twinhead", "1")
    stored = next(model for model in models if first.source.endswith(model.model_id))
    file = Path(stored.artifact_location.removeprefix("file://")) / "artifacts/metadata.json"
    assert json.loads(file.read_text(encoding="utf-8"))["threshold"] == 0.123


def test_the_champion_can_be_named_by_version_run_id_or_run_name(recorded):
    root, _ = recorded
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    third = client.get_run(client.get_model_version("twinhead", "3").run_id).info
    assert "version 3" in run(root, "-m", "twinhead", "champion").split("champion")[0]
    said = run(root, "-m", "twinhead", "champion", "2")
    assert said == "version 2 of twinhead is champion instead of version 3\n"
    assert run(root, "-m", "twinhead", "champion", third.run_id).startswith("version 3 of twinhead")
    alias = client.get_registered_model("twinhead").aliases
    assert {name: str(version) for name, version in alias.items()} == {"champion": "3"}


def test_the_pipeline_registers_its_model_as_champion(finished):
    client = MlflowClient(f"sqlite:///{finished.root / 'mlflow.db'}")
    (version,) = client.search_model_versions("name = 'twinhead'")
    assert str(client.get_registered_model("twinhead").aliases["champion"]) == str(version.version)


def test_a_wish_for_what_is_not_there_is_one_line(finished, tmp_path, monkeypatch):
    settings = params.load(finished.root / "params.yaml")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with pytest.raises(InputError, match="mlflow.db is missing, so there are no models"):
        registry.crown(settings, "1")
    done = finished.run("python", "-m", "twinhead", "champion", "1" * 32)
    assert done.returncode == 2 and "no version or run of twinhead" in done.stdout, done.stdout
    done = finished.run("python", "-m", "twinhead", "champion", "nobody")
    assert done.returncode == 2
    said = "champion: error: nobody: no version or run of twinhead; its newest: 1\n"
    assert done.stdout == said
