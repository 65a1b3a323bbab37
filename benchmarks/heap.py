"""What does it save to keep freed memory (src/twinhead/heap.py)? `train`, with it and without.

In the finished workspace, in a copy, in turns, each a process of its own: seconds by the clock, and
of the processor for the program and for the kernel.

    python benchmarks/heap.py
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from twinhead import paths

TURNS = 3
CODE = """
import sys
from twinhead import heap, stage
if {without}:
    heap.keep_freed = lambda: False
sys.argv = ["stage", "train"]
stage.main()
"""


def main() -> None:
    paths.require(paths.MODEL)
    with tempfile.TemporaryDirectory() as folder:
        apart = shutil.ignore_patterns(".git", ".dvc", ".venv", "raw", "mlruns")
        shutil.copytree(".", folder, dirs_exist_ok=True, ignore=apart)
        seconds: dict[bool, list[tuple[float, float, float]]] = {False: [], True: []}
        for _ in range(TURNS):
            for without, taken in seconds.items():
                taken.append(train(Path(folder), without))
    named = {False: "kept", True: "given back"}
    medians = {
        without: [statistics.median(column) for column in zip(*taken, strict=True)]
        for without, taken in seconds.items()
    }
    print(f"`train`, median of {TURNS}, freed memory | seconds | the program's | the kernel's")
    for without, (clock, program, kernel) in medians.items():
        print(f"{named[without]:46} | {clock:7.1f} | {program:13.1f} | {kernel:.1f}")
    print(f"given back / kept: {medians[True][0] / medians[False][0]:.2f}")


def train(workspace: Path, without: bool) -> tuple[float, float, float]:
    """Seconds by the clock, of the program and of the kernel."""
    before, started = os.times(), time.perf_counter()
    code = CODE.format(without=without)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=workspace,
        env=os.environ | {"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
    )
    taken, after = time.perf_counter() - started, os.times()
    if done.returncode:
        sys.exit(done.stderr)
    program = after.children_user - before.children_user
    return taken, program, after.children_system - before.children_system


if __name__ == "__main__":
    main()
