"""The exported model beside the trained one: start, latency, pace, memory, size; and what is lost.

    python benchmarks/edge.py [--workspace FOLDER]
    python benchmarks/edge.py --install [--workspace FOLDER]
    python benchmarks/edge.py --figure FOLDER --work FOLDER

The first tabulates a workspace's models/model.keras and models/edge/, on its own photographs, in
turns: each way in a process of its own, from the start of Python. On a busy machine the processor's
seconds hold better than the clock's. TensorFlow is what `predict` runs where OpenVINO is missing.
The second installs `twinhead[edge]` into an environment of its own, by pip, and answers there. The
third trains at several sizes on the photographs of FOLDER, exports each, judges it on test, and
draws docs/edge.png: AUROC against photographs a second.
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import process_memory
import workspaces

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "src"
WAYS = "tensorflow", "openvino", "float", "int8"
"""The trained network by either engine, and the two exports."""
SINGLE, BATCH = 110, 64
SIZES = 128, 192, 256, 320
STAGES = "index", "split", "features", "train", "evaluate", "explain", "export"
FIGURE = REPOSITORY / "docs/edge.png"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--figure", type=Path, metavar="FOLDER")
    parser.add_argument("--work", type=Path, default=Path("edge_benchmark"))
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.workspace)
    elif options.install:
        install(options.workspace / "models/edge")
    elif options.figure:
        figure(options.figure, options.work, options.sizes, options.turns)
    else:
        tabulate(options.workspace, options.turns)


def tabulate(workspace: Path, count: int) -> None:
    """Print the table, as Markdown."""
    known = json.loads((workspace / "models/edge/edge.json").read_text(encoding="utf-8"))
    ways = [name for name in WAYS if name != "int8" or "int8.xml" in known["files"]]
    print(
        f"{processor()}; {known['size']} × {known['size']}, {len(known['categories'])} categories"
    )
    found = turns(workspace, ways, count)
    print("| | first answer: first start | later | p50 | p99 | in batches | memory | files |")
    print("|---|---|---|---|---|---|---|---|")
    for name in ways:
        of_turns = found[name]
        of = {key: statistics.median(one[key] for one in of_turns) for key in of_turns[0]}
        later = statistics.median(one["start"] for one in of_turns[1:])
        print(
            f"| {name} | {of_turns[0]['start']:.2f} s | {later:.2f} s | {of['p50']:.1f} ms"
            f" | {of['p99']:.1f} ms | {of['pace']:.1f} images/s ({of['core']:.1f} ms)"
            f" | {of['memory']:.0f} MB | {of['files']:.1f} MB |"
        )
    print(f"In brackets: milliseconds an image, of a core. {load()}")


def load() -> str:
    return f"Load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores."


def turns(workspace: Path, ways: list[str], count: int) -> dict[str, list[dict]]:
    """What `measure` prints for each way, count times, in turns.

    In the first one no compiled form is kept yet.
    """
    found: dict[str, list[dict]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as cache:
        env = os.environ | {"PYTHONPATH": str(SOURCE), "TWINHEAD_CACHE": cache}
        for _, name in itertools.product(range(count), ways):
            command = [sys.executable, __file__, "--workspace", str(workspace), "--measure", name]
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                env=env | {"BEGUN": str(time.time())},
            )
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    return found


def measure(way: str, workspace: Path) -> None:
    """Print what this process takes, as JSON: seconds, milliseconds, images a second, MB."""
    place = workspace / ("models/model.keras" if way in WAYS[:2] else "models/edge")
    import numpy as np

    # One photograph as the pipeline has stored it: decoding is the same for all.
    shard = np.load(next((workspace / "data/pixels").glob("*.npy")), mmap_mode="r")
    pixels = np.resize(np.asarray(shard), (BATCH, *shard.shape[1:]))
    if way in WAYS[:2]:
        os.chdir(workspace)
        from twinhead import engine, stage

        with stage.loading():
            from twinhead.serving import predictor

        if way == "tensorflow":
            engine.fastest = engine.TensorFlow  # type: ignore[assignment]
        model = predictor.load(Path("models/model.keras"))
        files = Path("models/model.keras").stat().st_size
    else:
        from twinhead import edge

        model = edge.load(place, way)
        files = sum((place / f"{way}{ending}").stat().st_size for ending in (".xml", ".bin"))
    model.answer(pixels[:1])
    start = time.time() - float(os.environ["BEGUN"])
    single = []
    for turn in range(SINGLE):
        before = time.perf_counter()
        model.answer(pixels[turn % BATCH][None])
        single.append(time.perf_counter() - before)
    model.answer(pixels)
    before, core = time.perf_counter(), time.process_time()
    model.answer(pixels)
    pace, core = BATCH / (time.perf_counter() - before), (time.process_time() - core) / BATCH
    p50, p99 = (1e3 * float(value) for value in np.percentile(single[10:], [50, 99]))
    print(json.dumps({
        "start": start, "p50": p50, "p99": p99, "pace": pace,
        "core": 1e3 * core, "memory": process_memory.peak() / 1e6, "files": files / 1e6,
    }))  # fmt: skip


def install(model: Path) -> None:
    """Print what pip brings with `twinhead[edge]`, and an answer from there."""
    code = f"""
import numpy as np
from twinhead import edge
model = edge.load({str(model.resolve())!r})
print(model.answer(np.zeros((1, model.size, model.size, 3), np.uint8)))
"""
    with tempfile.TemporaryDirectory() as place:
        # What isn't committed stays out, and pip builds beside the code.
        code_only = shutil.ignore_patterns("data", "models", "reports", ".*", "mlartifacts")
        shutil.copytree(REPOSITORY, f"{place}/source", ignore=code_only)
        subprocess.run([sys.executable, "-m", "venv", f"{place}/venv"], check=True)
        own = f"{place}/venv/bin/python"
        pip = [own, "-m", "pip", "--disable-pip-version-check"]
        kept = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
        for command in (
            [*pip, "install", "--quiet", f"{place}/source[edge]"],
            [*pip, "list"],
            [own, "-c", code],
        ):
            subprocess.run(command, cwd=place, env=kept, check=True)


def figure(photographs: Path, work: Path, sizes: list[int], count: int) -> None:
    """Train and export at each size, judge on test, print the table and draw the figure."""
    rows = []
    for size in sizes:
        workspace = work / str(size)
        trained(workspace, photographs.resolve(), size)
        found = judged(workspace)
        ways = [name for name in WAYS[2:] if name in found]
        for name, of_turns in turns(workspace, ways, count).items():
            pace = statistics.median(one["pace"] for one in of_turns)
            rows.append((size, name, pace, *found[name]))
    print("| size | precision | images/s | AUROC | AUROC, mean | decided as the trained one |")
    print("|---|---|---|---|---|---|")
    for size, name, pace, pooled, mean, equal in rows:
        print(f"| {size} | {name} | {pace:.1f} | {pooled:.4f} | {mean:.4f} | {equal:.2%} |")
    draw(rows)


def trained(workspace: Path, photographs: Path, size: int) -> None:
    """Run the pipeline up to `export` at a size; what is there already, of these params, stays."""
    file = workspace / "params.yaml"
    before = file.read_bytes() if file.exists() else None
    env = workspaces.make(workspace, {"data": {"root": str(photographs), "image_size": size}})
    export = workspace / "models/edge"
    if before != file.read_bytes():
        shutil.rmtree(export, ignore_errors=True)  # also where this run is killed
    if not (export / "edge.json").exists():
        workspaces.run(workspace, STAGES, env)


def judged(workspace: Path) -> dict[str, tuple[float, float, float]]:
    """By precision: test AUROC, its mean over categories, and the share decided as before.

    int8 is judged where the gate kept it. The reference are `evaluate`'s answers.
    """
    import pandas as pd

    from twinhead import edge
    from twinhead.dataset import pixels
    from twinhead.export import parity

    predictions = pd.read_csv(workspace / "reports/predictions.csv")
    test = predictions[predictions["split"] == "test"]
    images = pixels.load(workspace / "data/pixels")
    known = edge.load(workspace / "models/edge").manifest
    found = {}
    for name in known.precisions:
        model = edge.load(workspace / "models/edge", name)
        answers, _ = parity.answers(model.look, images, test, known.categories, known.rules)
        equal = parity.compare(answers, test, (None, None))["equal_decisions"]
        found[name] = parity.auroc(answers), parity.mean_auroc(answers), equal
    return found


def draw(rows: list[tuple]) -> None:
    from matplotlib.figure import Figure

    from twinhead.plots import style

    shown = Figure(figsize=(6.2, 3.8), layout="constrained")
    axes = shown.subplots()
    for name, colour in (("float", style.GOOD), ("int8", style.DEFECTIVE)):
        points = [(pace, mean, size) for size, one, pace, _, mean, _ in rows if one == name]
        if not points:  # the gate kept float alone
            continue
        axes.plot(*list(zip(*points, strict=True))[:2], "o-", color=colour, label=name)
        for pace, mean, size in points:
            axes.annotate(f"{size}²", (pace, mean), xytext=(5, 5), textcoords="offset points")
    axes.set(xlabel="photographs a second, in batches, two cores",
             ylabel="defect AUROC on test, mean over categories")  # fmt: skip
    axes.set_ylim(top=1)
    axes.grid(axis="y", color="#e3e5e8")
    axes.legend(loc="lower left")
    style.save(shown, FIGURE)


def processor() -> str:
    """Its name, its cores, and whether it multiplies int8 in one instruction."""
    with open("/proc/cpuinfo") as facts:
        told = dict(line.split("\t", 1) for line in facts if "\t" in line)
    flags = told["flags"].split()
    vnni = sorted({flag for flag in flags if "vnni" in flag or flag == "amx_int8"})
    widest = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "neither AVX"
    cores = len(os.sched_getaffinity(0))
    name = told["model name"].strip(": \n")
    return f"{name}, {cores} cores, {widest}, {', '.join(vnni) or 'no VNNI'}"


if __name__ == "__main__":
    main()
