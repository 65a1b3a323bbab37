"""What does it save to keep freed memory (src/twinhead/heap.py)? `train`, with it and without.

The finished workspace's training, in a folder of its own, in turns, each a process: seconds by the
clock, and of the processor for the program and for the kernel.

    python benchmarks/heap.py [--turns 3]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import workspaces
from elsewhere import GIVEN

from twinhead import paths

READ = (*GIVEN, paths.FEATURES)
CODE = """
import sys
from twinhead import heap, stage
if not {kept}:
    heap.keep_freed = lambda: False
sys.argv = ["stage", "train"]
stage.main()
"""


def main(turns: int) -> None:
    seconds: dict[bool, list[tuple[float, float, float]]] = {True: [], False: []}
    for turn in range(turns):
        for kept in (True, False) if turn % 2 else (False, True):
            seconds[kept].append(train(kept))
    medians = {
        kept: [statistics.median(column) for column in zip(*taken, strict=True)]
        for kept, taken in seconds.items()
    }
    print(f"| `train`, median of {turns} | seconds | the program's | the kernel's |")
    print("|---|---|---|---|")
    for kept, name in ((True, "kept"), (False, "given back")):
        cells = " | ".join(f"{value:.1f}" for value in medians[kept])
        print(f"| freed memory {name} | {cells} |")
    print(f"given back / kept: {medians[False][0] / medians[True][0]:.2f}")


def train(kept: bool) -> tuple[float, float, float]:
    """Seconds by the clock, of the program and of the kernel."""
    with tempfile.TemporaryDirectory() as folder:
        env = workspaces.link(Path(folder), READ)
        env = {name: text for name, text in env.items() if not name.startswith("MLFLOW_")}
        before, started = os.times(), time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", CODE.format(kept=kept)],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
        )
        taken, after = time.perf_counter() - started, os.times()
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    program = after.children_user - before.children_user
    return taken, program, after.children_system - before.children_system


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=3)
    main(parser.parse_args().turns)
