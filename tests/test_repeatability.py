"""The same bytes: in another folder, and after any number of killings."""

import random
import shutil
import signal
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, Workspace, begun

from twinhead import catalog

EPOCHS = 12
STAGES = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def outputs(workspace: Workspace) -> dict[str, str]:
    """The digest of every file that the stages leave."""
    found = {}
    for name in set(STAGES) - {"sample"}:
        for out in STAGES[name]["outs"]:
            path = workspace.root / (out if isinstance(out, str) else next(iter(out)))
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                digest = sha256(file.read_bytes()).hexdigest()
                found[str(file.relative_to(workspace.root))] = digest
    return found


def test_another_folder_gets_the_same_bytes_in_every_output(finished, folder, tmp_path):
    other = begun(tmp_path / "another place", folder)
    other.dvc("repro", "report")
    assert outputs(other) == outputs(finished)
    locks = [(place.root / "dvc.lock").read_text(encoding="utf-8") for place in (other, finished)]
    assert locks[0] == locks[1]


def test_the_order_in_which_files_are_listed_changes_nothing(folder, monkeypatch):
    expected, listed = catalog.scan(folder), Path.iterdir
    for shuffled in (reversed, lambda found: random.sample(found, len(found))):
        monkeypatch.setattr(Path, "iterdir", lambda path, mix=shuffled: iter(mix([*listed(path)])))
        assert catalog.scan(folder).equals(expected)


@pytest.fixture
def copy(finished, tmp_path) -> Workspace:
    """The finished repository's files, in which `train` can be run by itself."""
    shutil.copytree(finished.root, tmp_path / "copy", ignore=shutil.ignore_patterns(".dvc"))
    (tmp_path / "copy/.dvc").mkdir()
    copied = Workspace(tmp_path / "copy")
    paper = {"backbone": "cnn"}
    copied.set({"model": paper, "train": {"epochs": EPOCHS, "patience": EPOCHS, "batch_size": 4}})
    return copied


def started(workspace: Workspace) -> subprocess.Popen:
    return workspace.start("python", "-u", "stages/train.py", DVC_ROOT=str(workspace.root))


def trained(workspace: Workspace) -> dict[str, str]:
    found = outputs(workspace)
    names = ("models/", "reports/history.csv", "reports/plots/train", "metrics/train.json")
    return {name: found[name] for name in found if name.startswith(names)}


def test_a_training_killed_at_any_moment_ends_with_the_bytes_of_one_never_killed(copy):
    undisturbed = started(copy)
    assert undisturbed.wait() == 0, undisturbed.stdout.read()
    expected = trained(copy)
    shutil.rmtree(copy.root / "models")
    moments = sorted(random.sample(range(1, EPOCHS), 3))
    for moment in moments:
        running = started(copy)
        for line in running.stdout:
            if f"epoch {moment} of" in line:  # now it is somewhere in the next one
                break
        running.send_signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
    last = started(copy)
    said = last.communicate()[0]
    assert last.returncode == 0, said
    assert trained(copy) == expected, f"killed after the epochs {moments}"
    assert not (copy.root / "models/.training").exists()
