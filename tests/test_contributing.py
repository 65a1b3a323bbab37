"""CONTRIBUTING.md: its diffs fit this version of the code."""

import re
import subprocess

import pytest
from conftest import REPOSITORY

TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
DIFFS = dict(re.findall(r"^## A (\w+)\n.*?^```diff\n(.*?)^```$", TEXT, re.M | re.S))


def test_there_is_one_for_each_thing_that_people_add():
    assert set(DIFFS) == {"backbone", "stage", "plot", "metric"}


@pytest.mark.parametrize("name", DIFFS)
def test_a_diff_applies(name, tmp_path):
    for file in set(re.findall(r"^--- a/(.+)$", DIFFS[name], re.M)):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes((REPOSITORY / file).read_bytes())
    done = subprocess.run(
        ["git", "apply", "-"], cwd=tmp_path, input=DIFFS[name], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
