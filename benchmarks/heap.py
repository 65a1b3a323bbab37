"""What do two choices of the stages' processes save? Each stage with one and without, in turns.

memory     `train`, where freed memory is kept for the next array (src/twinhead/heap.py)
exit       `evaluate`, where Python's collector doesn't walk all that the libraries left when the
           process ends (src/twinhead/stage.py)

The finished workspace's stage, in a folder of its own, each turn a process with an MLflow store
that it makes: seconds by the clock, those from its last line to its end, and seconds of the
processor for the program and for the kernel.

    python benchmarks/heap.py [memory] [exit] [--turns 3]
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
TRAINED = (paths.MODEL, paths.CROSSFIT, paths.HISTORY, paths.metrics("train"))
CHOICES = {
    "memory": ("train", READ, "heap.keep_freed = lambda: False"),
    "exit": ("evaluate", (*READ, *TRAINED), "gc.freeze = lambda: None"),
}
"""The stage that shows it, what that reads, and the line that takes the choice away."""
CODE = """
import gc, sys
from twinhead import heap, stage
{line}
sys.argv = ["stage", "{stage}"]
stage.main()
"""


def main(choices: list[str], turns: int) -> None:
    print("| | seconds | to end | the program's | the kernel's | times as long |")
    print("|---|---|---|---|---|---|")
    for choice in choices:
        stage, read, without = CHOICES[choice]
        lines = {"as it is": "", "without": without}
        seconds: dict[str, list[tuple[float, ...]]] = {key: [] for key in lines}
        for turn in range(turns):
            for key in lines if turn % 2 else reversed(lines):
                seconds[key].append(run(stage, read, lines[key]))
        medians = {
            key: [statistics.median(column) for column in zip(*taken, strict=True)]
            for key, taken in seconds.items()
        }
        for key, median in medians.items():
            cells = " | ".join(f"{value:.1f}" for value in median)
            ratio = median[0] / medians["as it is"][0]
            print(f"| `{stage}`, {choice}: {key} | {cells} | {ratio:.2f} |", flush=True)


def run(stage: str, read: tuple[Path, ...], line: str) -> tuple[float, ...]:
    """Run a stage after a line: seconds by the clock, to its end, the program's, the kernel's."""
    with tempfile.TemporaryDirectory() as folder:
        env = workspaces.link(Path(folder), read)
        env = {name: text for name, text in env.items() if not name.startswith("MLFLOW_")}
        before, started = os.times(), time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-c", CODE.format(line=line, stage=stage)],
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None  # as for any pipe
            said, last = [], started
            for text in process.stdout:
                said.append(text)
                last = time.perf_counter() if "done in" in text else last
        ended, after = time.perf_counter(), os.times()
    if process.returncode or any("can't be used" in text for text in said):  # MLflow's store
        sys.exit("".join(said))
    program = after.children_user - before.children_user
    return ended - started, ended - last, program, after.children_system - before.children_system


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
