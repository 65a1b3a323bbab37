"""What do two choices of the stages' processes save? Each stage with one and without, in turns.

memory     `train`, where freed memory is kept for the next array (src/twinhead/heap.py)
collector  `evaluate`, where Python's collector rests while libraries load, and doesn't go through
           all that they left when the process ends (src/twinhead/stage.py)

The finished workspace's stage, in a folder of its own, each turn a process: seconds by the clock,
and of the processor for the program and for the kernel.

    python benchmarks/heap.py [memory] [collector] [--turns 3]
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
CHOICES = {
    "memory": ("train", READ, "heap.keep_freed = lambda: False"),
    "collector": (
        "evaluate",
        (*READ, paths.MODEL, paths.CROSSFIT),
        "gc.disable = gc.freeze = lambda: None",
    ),
}
"""The stage that shows it, what that reads, and what takes the choice away."""
CODE = """
import gc, sys
from twinhead import heap, stage
{first}
sys.argv = ["stage", "{name}"]
stage.main()
"""


def main(choices: list[str], turns: int) -> None:
    print("| | seconds | the program's | the kernel's |")
    print("|---|---|---|---|")
    for choice in choices:
        name, read, without = CHOICES[choice]
        seconds: dict[str, list[tuple[float, float, float]]] = {"": [], without: []}
        for turn in range(turns):
            for first in seconds if turn % 2 else reversed(seconds):
                seconds[first].append(run(name, read, first))
        medians = {
            first: [statistics.median(column) for column in zip(*taken, strict=True)]
            for first, taken in seconds.items()
        }
        for first, called in (("", choice), (without, f"without {choice}")):
            cells = " | ".join(f"{value:.1f}" for value in medians[first])
            print(f"| `{name}`, {called} | {cells} |")
        ratio = medians[without][0] / medians[""][0]
        print(f"| `{name}`, without / with | {ratio:.2f} | | |", flush=True)


def run(name: str, read: tuple[Path, ...], first: str) -> tuple[float, float, float]:
    """Seconds by the clock, of the program and of the kernel, of a stage after this line."""
    with tempfile.TemporaryDirectory() as folder:
        env = workspaces.link(Path(folder), read)
        env = {name: text for name, text in env.items() if not name.startswith("MLFLOW_")}
        before, started = os.times(), time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", CODE.format(first=first, name=name)],
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
    parser.add_argument("choices", nargs="*", metavar="CHOICE", default=list(CHOICES))
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    if unknown := set(given.choices) - set(CHOICES):
        parser.error(f"{', '.join(sorted(unknown))}: expected {' or '.join(CHOICES)}")
    main(given.choices, given.turns)
