"""The same bytes: in any order of the files, and after any number of killings.

tests/test_faults.py compares the outputs of two whole runs in two folders, of which one is killed.
"""

import random
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

import pytest
from conftest import Workspace, copied_files, forget_training, outputs

from twinhead.ingest import layout

EPOCHS = 12


def test_the_order_in_which_files_are_listed_changes_nothing(folder, monkeypatch):
    expected, listed = layout.scan(folder), Path.iterdir
    for shuffled in (reversed, lambda found: random.sample(found, len(found))):
        monkeypatch.setattr(Path, "iterdir", lambda path, mix=shuffled: iter(mix([*listed(path)])))
        assert layout.scan(folder).equals(expected)


@pytest.fixture
def copy(finished, tmp_path) -> Workspace:
    """The finished repository's files, in which `train` can be run by itself."""
    copied = copied_files(finished, tmp_path / "copy")
    paper = {"backbone": "cnn"}
    copied.set({"model": paper, "train": {"epochs": EPOCHS, "patience": EPOCHS, "batch_size": 4}})
    return copied


def started(workspace: Workspace) -> subprocess.Popen:
    return workspace.start(
        "python", "-u", "-m", "twinhead.stage", "train", DVC_ROOT=str(workspace.root)
    )


@pytest.mark.long
def test_a_training_killed_while_the_readings_are_fitted_ends_with_the_same_bytes(
    finished, tmp_path
):
    """The patch networks, the memory and the calibration come after the epochs."""
    copied = copied_files(finished, tmp_path / "copy")
    forget_training(copied)
    running = started(copied)
    for line in running.stdout:
        if "epoch 2 of at most 2" in line:
            break
    time.sleep(random.uniform(0, 3))
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    last = started(copied)
    said = last.communicate()[0]
    assert last.returncode == 0 and "epoch 1 of at most 2" not in said, said
    assert trained(copied) == trained(finished)


def trained(workspace: Workspace) -> dict[str, str]:
    found = outputs(workspace)
    names = ("models/", "reports/history.csv", "reports/crossfit.csv", "metrics/train.json")
    return {name: found[name] for name in found if name.startswith(names)}


@pytest.mark.long
def test_a_training_killed_at_any_moment_ends_with_the_bytes_of_one_never_killed(copy):
    undisturbed = started(copy)
    said, _ = undisturbed.communicate()
    assert undisturbed.returncode == 0, said
    expected = trained(copy)
    epoch = median(float(taken) for taken in re.findall(r"epoch .*, ([\d.]+) s", said))
    forget_training(copy)
    # So many epochs are over, and so many seconds of the next one.
    moments = [(over, random.uniform(0, epoch)) for over in random.sample(range(1, EPOCHS), 3)]
    killed = 0
    for over, seconds in sorted(moments):
        running = started(copy)
        for line in running.stdout:
            if f"epoch {over} of" in line:
                break
        # It may have ended meanwhile: on a busy machine the epochs are of very different lengths.
        with suppress(subprocess.TimeoutExpired):
            running.wait(seconds)
        running.send_signal(signal.SIGKILL)
        killed += running.wait() == -signal.SIGKILL
    assert killed, f"none was killed at {moments}"
    last = started(copy)
    said = last.communicate()[0]
    assert last.returncode == 0, said
    assert trained(copy) == expected, f"killed at {moments}"
    assert not (copy.root / "models/.training").exists()
