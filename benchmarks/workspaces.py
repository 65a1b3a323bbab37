"""Workspaces of a benchmark's own: params.yaml with some changes, and the stages run in it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from twinhead import yaml_file

REPOSITORY = Path(__file__).resolve().parents[1]


def make(folder: Path, changes: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """Write params.yaml as shipped but for the changes, by section; return the environment."""
    settings, _ = yaml_file.read(REPOSITORY / "params.yaml")
    assert isinstance(settings, dict)
    for section, values in changes.items():
        if unknown := set(values) - set(settings.get(section, {})):
            raise ValueError(f"params.yaml has no {section}.{', '.join(sorted(unknown))}")
        settings[section] |= values
    (folder / ".dvc").mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return environment(folder)


def link(folder: Path, given: Iterable[Path]) -> dict[str, str]:
    """Link files of the workspace in which we are into a folder; return the environment.

    What the folder has already stays.
    """
    (folder / ".dvc").mkdir(parents=True, exist_ok=True)
    for path in given:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if not (folder / path).exists():
            (folder / path).symlink_to(path.resolve())
    return environment(folder)


def environment(folder: Path) -> dict[str, str]:
    """In which a stage works in that folder, by this repository's code."""
    return os.environ | {
        "PYTHONPATH": str(REPOSITORY / "src"),
        "DVC_ROOT": str(folder.resolve()),
    }


def run(folder: Path, stages: Iterable[str], env: Mapping[str, str]) -> dict[str, float]:
    """Run stages one after the other; return the seconds of each. What they say goes to stderr."""
    seconds = {}
    for name in stages:
        started = time.perf_counter()
        command = [sys.executable, "-m", "twinhead.stage", name]
        subprocess.run(command, cwd=folder, env=env, check=True, stdout=sys.stderr)
        seconds[name] = time.perf_counter() - started
    return seconds
