"""Work in proportion to the change: what `dvc repro` runs after an edit of the code, for real.

`python -m pytest -s tests/test_edits.py --each` makes the edits one by one and prints the table.
Without --each a turn's edits are made at once: none alone runs more than all of them together.
"""

from uuid import uuid4

import pytest
from conftest import REPOSITORY, Workspace, outputs
from test_pipeline import assert_complete, ran, runs, workspace  # noqa: F401  (a fixture)

AFTERWARDS = ["evaluate", "embed", "explain", "export", "report"]
TURNS = [
    {
        "tracking/runs.py": ["report"],
        "tracking/ui.py": ["report"],
        "report/metrics.py": ["report"],
        "serving/predict.py": ["report"],
        "spark/worker.py": ["report"],
        "edge/runtime.py": ["report"],
        "review/queue.py": ["report"],
        "drift/comparison.py": ["report"],
        "stage.py": ["report"],
        "errors.py": ["report"],
        "params.py": ["report"],
    },
    {
        "plots/style.py": ["plots", "report"],
        "plots/training.py": ["plots", "report"],
        "ingest/images.py": ["index", "report"],
        "ingest/limits.py": ["index", "report"],
        "ingest/quality.py": ["index", "report"],
    },
    {
        "evaluation/metrics.py": ["evaluate", "plots", "report"],
        "attribution/localisation.py": ["explain", "export", "plots", "report"],
        "embedding.py": ["embed", "report"],
    },
    {
        "model/heads.py": ["train", *AFTERWARDS],
        "model/fitting.py": ["train", *AFTERWARDS],
    },
]
"""By file in src/twinhead that gets one more comment: the stages that run, and no others.

`report` lists the whole package, since it says which code a model is shipped with.
"""
OWN = {"index": "data/decoded.csv"}
"""What names the code that made it: read by its own stage alone."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "edits" in metafunc.fixturenames:
        alone = [{name: stages} for turn in TURNS for name, stages in turn.items()]
        given = alone if metafunc.config.getoption("--each") else TURNS
        metafunc.parametrize("edits", given, ids=[next(iter(turn)) for turn in given])


@pytest.mark.long
def test_an_edit_runs_the_stages_that_read_it_and_changes_no_result(
    workspace: Workspace,  # noqa: F811
    edits: dict[str, list[str]],
):
    before, known = outputs(workspace), runs(workspace)
    for name in edits:
        with (workspace.root / "src/twinhead" / name).open("a", encoding="utf-8") as file:
            file.write(f"\n# remark {uuid4()}\n")  # no edit that DVC has cached the run of
    found = ran(workspace.dvc("repro", "report"))
    assert set(found) == {stage for stages in edits.values() for stage in stages}
    after = outputs(workspace)
    changed = {name for name in after if after[name] != before.get(name)}
    assert after.keys() == before.keys() and changed <= {
        OWN[name] for name in set(OWN) & set(found)
    }
    # The same experiment, whose run is complete as before.
    assert len(runs(workspace)) == len(known)
    assert_complete(workspace, runs(workspace)[0])
    for name, stages in edits.items():
        print(
            f"\n| a comment in `{name}` | {', '.join(f'`{stage}`' for stage in stages)} |", end=""
        )


def test_every_edited_file_is_there():
    for turn in TURNS:
        for name in turn:
            assert (REPOSITORY / "src/twinhead" / name).is_file(), name
