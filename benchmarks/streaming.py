"""Does answering need more memory the more photographs there are? `predict` and `watch`.

    python benchmarks/streaming.py [--photographs 1000 10000 100000] [--ways predict watch]

Trains a tiny network (the paper's, 32 pixels a side, one epoch on drawn photographs), exports it,
and answers for so many files of 32 pixels a side, 1,000 in a folder, each command a process of its
own. It prints the peak of the memory that a process holds for itself and files, and photographs a
second; a photograph's own bytes are what the last step added, over how many it added.
"""

import argparse
import io
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import process_memory
import workspaces
from PIL import Image

SIZE, IN_FOLDER = 32, 1000
SMALL = {
    "data": {"image_size": SIZE},
    "sample": {"images": 360, "size": SIZE},
    "model": {"backbone": "cnn", "weights": "random", "frozen": False},
    "train": {"epochs": 1},
    "evaluate": {"bootstrap": 100},
    "export": {"int8": False},
}
"""What is changed in params.yaml."""
STAGES = "sample", "index", "split", "features", "train", "evaluate", "explain", "export"
COMMAND = [sys.executable, "-m", "twinhead"]


def main(counts: list[int], ways: list[str]) -> None:
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        env = workspaces.make(work, SMALL)
        workspaces.run(work, STAGES, env)
        print("| photographs | command | memory | photographs/s |\n|---|---|---|---|")
        before: dict[str, tuple[int, float]] = {}
        for count in sorted(counts):
            made(work / "photographs", count)
            for way in ways:
                answers = work / f"{way}.jsonl"
                peak, took = {"predict": predicted, "watch": watched}[way](
                    work, answers, count, env
                )
                found = sum(1 for _ in answers.open(encoding="utf-8"))
                if found != count:
                    raise SystemExit(f"{way}: {found} answers for {count} photographs")
                answers.unlink()
                print(f"| {count:,} | `{way}` | {peak / 1e6:.1f} MB | {count / took:.0f} |",
                      flush=True)  # fmt: skip
                if way in before:
                    fewer, less = before[way]
                    print(f"{way}: {(peak - less) / (count - fewer):.0f} bytes a photograph more")
                before[way] = count, peak


def made(folder: Path, count: int) -> None:
    """So many files, of which those that are there stay."""
    drawn = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(drawn).save(file, "PNG")
    for number in range(count):
        path = folder / f"{number // IN_FOLDER:06}/{number:08}.png"
        if number % IN_FOLDER == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(file.getvalue())


def predicted(work: Path, answers: Path, count: int, env: dict[str, str]) -> tuple[float, float]:
    """Bytes at the peak, and seconds."""
    command = [*COMMAND, "predict", "--model", "models/edge", "--jsonl", answers.name]
    started = time.perf_counter()
    process = subprocess.Popen([*command, "photographs"], cwd=work, env=env,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, process_memory.own(process.pid))
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"predict ended with {process.returncode}")
    return peak, time.perf_counter() - started


def watched(work: Path, answers: Path, count: int, env: dict[str, str]) -> tuple[float, float]:
    """As `predicted`; it ends when the last photograph is answered."""
    command = [*COMMAND, "watch", "photographs", "--model", "models/edge", "--jsonl", answers.name]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=work, env=env,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    peak = 0.0
    with answers.open("a+b") as written:
        lines = 0
        while lines < count and process.poll() is None:
            peak = max(peak, process_memory.own(process.pid))
            time.sleep(0.2)
            lines += written.read().count(b"\n")
    took = time.perf_counter() - started
    process.send_signal(signal.SIGINT)
    if process.wait():
        raise SystemExit(f"watch ended with {process.returncode}")
    return peak, took


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--photographs", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--ways", nargs="+", choices=["predict", "watch"],
                        default=["predict", "watch"])  # fmt: skip
    given = parser.parse_args()
    main(given.photographs, given.ways)
