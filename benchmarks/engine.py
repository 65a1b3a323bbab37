"""Answers a second from stored pixels: OpenVINO and TensorFlow, in one run and in turns.

    python benchmarks/engine.py --categories 1 4 15
    python benchmarks/engine.py --workspace FOLDER

The whole network, from the photograph's pixels to category, probability and anomaly map, with
pretrained weights and a memory of drawn patches: how fast it answers doesn't depend on what it has
learned. Both engines are asked as `predict` asks them, in batches, and one photograph at a time.
On a busy machine the processor's seconds hold better than the clock's.

The second asks both for a finished workspace's photographs of val and test: how far their answers
are apart, and how many photographs they decide alike.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import process_memory

from twinhead import params, stage

BATCH, TURNS = 64, 3
SINGLE = 16
"""Photographs one at a time, each turn."""
ENGINES = "OpenVino", "TensorFlow"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--categories", type=int, nargs="+", default=[1, 4, 15])
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--memory", type=int, default=2000)
    parser.add_argument("--workspace", type=Path, metavar="FOLDER")
    parser.add_argument("--start", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.workspace:
        os.chdir(options.workspace)
        agree()
        return
    for categories in options.categories:
        if options.start:
            start(options.start, options.size, categories, options.memory)
        else:
            compare(options.size, categories, options.memory)


def compare(size: int, categories: int, memory: int) -> None:
    """Print what both engines cost, and how far their answers are apart."""
    print(f"{categories} categories, {size} × {size}, a memory of {memory}; load {load()}")
    for name in ENGINES:
        same = "--size", str(size), "--memory", str(memory), "--categories", str(categories)
        subprocess.run([sys.executable, __file__, "--start", name, *same], check=True)
    model = build(size, categories, memory)
    from twinhead import engine

    engines = {name: getattr(engine, name)(model) for name in ENGINES}
    images = pixels(BATCH, size)
    answers = {name: run(images) for name, run in engines.items()}
    for run in engines.values():
        run(images[:1])  # as `images`, it may be the first of its length
    paces: dict[str, dict[str, list[tuple[float, float]]]] = {name: {} for name in ENGINES}
    for _ in range(TURNS):
        for name, run in engines.items():
            paces[name].setdefault(f"in batches of {BATCH}", []).append(
                timed(lambda run=run: run(images), len(images))
            )
            paces[name].setdefault("one at a time", []).append(
                timed(lambda run=run: [run(images[n : n + 1]) for n in range(SINGLE)], SINGLE)
            )
    for way in paces[ENGINES[0]]:
        clock, own = ([statistics.median(pair[k] for pair in paces[name][way]) for name in ENGINES]
                      for k in (0, 1))  # fmt: skip
        best = [1 / min(pair[0] for pair in paces[name][way]) for name in ENGINES]
        print(
            f"  {way}: {1 / clock[0]:.1f} and {1 / clock[1]:.1f} images/s (best turn {best[0]:.1f}"
            f" and {best[1]:.1f}), {clock[1] / clock[0]:.2f} times; "
            f"{1e3 * own[0]:.1f} and {1e3 * own[1]:.1f} ms of a core each,"
            f" {own[1] / own[0]:.2f} times"
        )
    apart = {key: float(np.abs(answers[ENGINES[0]][key] - answers[ENGINES[1]][key]).max())
             for key in answers[ENGINES[0]]}  # fmt: skip
    print("  apart by at most", ", ".join(f"{key} {value:.1e}" for key, value in apart.items()))
    print(f"  load {load()}", flush=True)


def agree() -> None:
    """Print how far the engines' answers are apart, and how many are decided alike."""
    from twinhead import engine, paths
    from twinhead.dataset import pixels, splits, tables
    from twinhead.export import parity
    from twinhead.serving import predictor

    known, images = tables.read(paths.PREDICTIONS), pixels.load(paths.PIXELS)
    rows = known[known["split"].isin([splits.VAL, splits.TEST])]
    asked = predictor.load(paths.MODEL)
    found = [
        parity.answers(
            getattr(engine, name)(asked.model), images, rows, asked.categories, asked.rules
        )[0]
        for name in ENGINES
    ]
    print(f"{len(rows)} photographs of val and test")
    if "defect_probability" in found[0]:
        apart = (found[0]["defect_probability"] - found[1]["defect_probability"]).abs().max()
        print(f"defect probabilities apart by {apart:.1e} at most")
    same = parity.compare(*found, (None, None))
    for name, what in parity.SHARES.items():
        if same[name] is not None:
            print(f"{same[name]:.2%} of the {what} are equal")


def start(name: str, size: int, categories: int, memory: int) -> None:
    """Print what a process of its own takes from the network to the first answer, and memory."""
    model = build(size, categories, memory)
    from twinhead import engine

    image, before = pixels(1, size), time.perf_counter()
    own = time.process_time()
    run = getattr(engine, name)(model)
    run(image)
    took, own = time.perf_counter() - before, time.process_time() - own
    run(pixels(BATCH, size))
    peak = process_memory.peak() / 2**30
    said = f"{took:.1f} s to the first answer ({own:.1f} s of a core), {peak:.2f} GiB at its peak"
    print(f"  {name}: {said}", flush=True)


def build(size: int, categories: int, memory: int):
    """The default network with drawn good patches."""
    with stage.loading():
        from twinhead.model import network
        from twinhead.model.memory import MemoryDistance

    settings = params.Model(
        backbone="efficientnet_lite0", weights="imagenet", frozen=True, memory=memory,
        tasks=["category", "defect"],
    )  # fmt: skip
    model, rng = network.build(settings, size, categories, seed=0), np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, MemoryDistance):
            shape = layer.memory.shape[1:]
            layer.assign([2 * rng.random(shape, np.float32) for _ in range(categories)])
    return model


def pixels(count: int, size: int) -> np.ndarray:
    """Smooth drawn photographs, (count, size, size, 3), uint8."""
    coarse = np.random.default_rng(1).integers(0, 256, (count, 10, 10, 3), np.uint8)
    repeats = -(-size // 10)
    return coarse.repeat(repeats, axis=1).repeat(repeats, axis=2)[:, :size, :size]


def timed(work: Callable[[], object], images: int) -> tuple[float, float]:
    """Seconds of the clock, and of the processor, for an image."""
    before, own = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - before) / images, (time.process_time() - own) / images


def load() -> str:
    return f"{os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores"


if __name__ == "__main__":
    main()
