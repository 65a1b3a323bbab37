"""What one of the tests' workers makes for all of them."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock

COLUMNS = (
    ("experiments", "artifact_location"), ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"), ("runs", "artifact_uri"),
)  # fmt: skip
"""Where MLflow's store has whole paths."""


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder of this name that `make` has filled, for all workers: they only read it."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    made, part = base / name, base / f"{name}.partial"
    with FileLock(f"{made}.lock"):
        if not made.exists():
            shutil.rmtree(part, ignore_errors=True)  # of a worker that failed
            part.mkdir()
            make(part)
            part.rename(made)
    return made


def copy_workspace(made: Path, root: Path) -> None:
    """Copy a workspace as if it had been made there: MLflow keeps whole paths."""
    shutil.copytree(made, root, symlinks=True)
    place = root / ".journal/workspace.json"
    before, now = json.loads(place.read_text(encoding="utf-8"))["place"], str(root)
    for file in [place, *root.glob("mlartifacts/**/MLmodel")]:
        file.write_text(file.read_text(encoding="utf-8").replace(before, now), encoding="utf-8")
    with closing(sqlite3.connect(root / "mlflow.db")) as store, store:
        for table, column in COLUMNS:
            store.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (before, now))
        assert before not in "\n".join(store.iterdump()), "a column that isn't in COLUMNS"
