"""The columns of DVC's tables: taken from the metrics, and left out where nothing is defined."""

import json

import pytest
from conftest import REPOSITORY

from twinhead import paths, summary


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def written(name: str) -> dict:
    return json.loads(paths.summary(name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", summary.COLUMNS)
def test_every_column_is_a_number_of_the_stage_s_own_metrics(name):
    metrics = json.loads((REPOSITORY / paths.metrics(name)).read_text(encoding="utf-8"))
    summary.write(name, metrics)
    assert set(written(name)) == set(summary.COLUMNS[name])
    assert all(isinstance(value, (int, float)) for value in written(name).values())


def test_a_head_that_is_missing_has_no_column(metrics):
    without = {split: {"category": metrics[split]["category"]} for split in ("train", "test")}
    summary.write("evaluate", without)
    assert set(written("evaluate")) == {"test_category"}


def test_what_is_not_defined_has_no_column():
    summary.write("explain", {"pointing_hit": None})
    assert written("explain") == {}


def test_no_two_columns_share_a_name():
    """DVC would put the file's path before both."""
    names = [column for columns in summary.COLUMNS.values() for column in columns]
    assert len(names) == len(set(names)) <= 12
