"""What does `dvc repro` with nothing to do cost beyond DVC itself?

The finished workspace, against the same graph as bare DVC sees it: the same stages and outputs,
with neither params nor modules to compare. The two take turns. Run it after `dvc repro`.

    python benchmarks/overhead.py
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

TURNS = 7


def main() -> None:
    if "up to date" not in dvc("repro", Path.cwd()):
        sys.exit("something was to do; run it again")
    with tempfile.TemporaryDirectory(dir=".dvc/tmp") as folder:
        bare = Path(folder)
        make_bare(bare)
        seconds: dict[str, list[float]] = {"here": [], "bare": []}
        for _ in range(TURNS):
            for name, place in (("here", Path.cwd()), ("bare", bare)):
                started = time.perf_counter()
                dvc("repro", place)
                seconds[name].append(time.perf_counter() - started)
    ours, theirs = (statistics.median(seconds[name]) for name in ("here", "bare"))
    print(
        f"dvc repro, nothing to do (median of {TURNS}): here {ours:.2f} s, bare DVC {theirs:.2f} s"
    )
    print(f"here / bare DVC: {ours / theirs:.2f}")


def make_bare(root: Path) -> None:
    """Make a repository with the same stages, files and outputs, of which DVC knows no more."""
    stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    data = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["data"]["root"]
    made = {name: [next(iter(out)) if isinstance(out, dict) else out for out in stage["outs"]]
            for name, stage in stages.items()}  # fmt: skip
    given = "images" if Path(data).is_absolute() else data
    files = {path for outs in made.values() for path in outs}
    bare = {
        name: {
            "cmd": "true",
            "deps": [
                given if dep == "${data.root}" else dep
                for dep in stage["deps"]
                if dep in files or dep == "${data.root}"
            ],
            "outs": made[name],
        }
        for name, stage in stages.items()
    }
    for path, source in {path: path for path in files}.items() | {(given, data)}:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if source != path:
            (root / path).symlink_to(source)
        elif Path(source).is_dir():
            shutil.copytree(source, root / path, copy_function=os.link)
        else:
            os.link(source, root / path)
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": bare}), encoding="utf-8")
    dvc("init", root, "--no-scm")
    dvc("commit", root, "--force")


def dvc(command: str, place: Path, *options: str) -> str:
    done = subprocess.run(
        ["dvc", command, *options],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stdout)
    return done.stdout


if __name__ == "__main__":
    main()
