"""What Spark costs: photographs a second by one and by two of its workers, and by `predict`.

    python benchmarks/spark.py FOLDER --model models/edge

Each way is a process of its own that is held to as many cores as it has workers; they take turns.
The start is told beside it: until the first photographs are answered.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"
WAYS = [("predict", 1), ("spark", 1), ("predict", 2), ("spark", 2)]
"""By what, on how many cores."""
FIRST = 4
"""Photographs that are answered before the clock starts."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="photographs")
    parser.add_argument("--model", metavar="FOLDER", type=Path, default=Path("models/edge"))
    parser.add_argument("--photographs", metavar="N", type=int, default=512)
    parser.add_argument("--turns", metavar="N", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "CORES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        way, cores = options.measure[0], int(options.measure[1])
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
        found = by_predict(options) if way == "predict" else by_spark(options, cores)
        print(json.dumps(found))
    else:
        tabulate(options)


def tabulate(options: Namespace) -> None:
    """Print the table, as Markdown."""
    found: dict[tuple[str, int], list[dict]] = {way: [] for way in WAYS}
    for _ in range(options.turns):
        for way in WAYS:
            command = [sys.executable, *sys.argv, "--measure", way[0], str(way[1])]
            done = subprocess.run(
                command, stdout=subprocess.PIPE, text=True, check=True,
                env=os.environ | {"PYTHONPATH": str(SOURCE), "BEGUN": str(time.time())},
            )  # fmt: skip
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
    median = {
        way: {key: statistics.median(one[key] for one in turns) for key in turns[0]}
        for way, turns in found.items()
    }
    print("| | photographs/s | of `predict` | of it, Spark's | to the first answers |")
    print("|---|---|---|---|---|")
    for way, of in median.items():
        ratio = of["pace"] / median["predict", way[1]]["pace"]
        share = f"{of['share']:.1%}" if "share" in of else "–"
        cores = "1 core" if way[1] == 1 else f"{way[1]} cores"
        print(f"| {way[0]}, {cores} | {of['pace']:.1f} | {ratio:.2f} | {share}", end="")
        print(f" | {of['start']:.1f} s |")
    print(f"{options.photographs} photographs, {options.turns} turns, medians;", end=" ")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.")


def by_predict(options: Namespace) -> dict[str, float]:
    """Photographs a second, and seconds to the first ones, by what `predict` does."""
    from twinhead import edge
    from twinhead.serving import photographs, predict

    files = list(islice(photographs.find([str(options.folder)]), options.photographs))
    model = edge.load(options.model)
    asked, survey = Namespace(overlays=None, threshold=None), predict.Survey()
    list(predict._answers(model, files[:FIRST], asked, survey, 0))
    begun = time.time()
    count = sum(len(part) for part in predict._answers(model, files, asked, survey, 0))
    return {"pace": count / (time.time() - begun), "start": begun - float(os.environ["BEGUN"])}


def by_spark(options: Namespace, cores: int) -> dict[str, float]:
    """The same by Spark's workers, and which share of their time isn't spent in answering."""
    from twinhead.serving import models
    from twinhead.spark import places, session, worker
    from twinhead.spark.target import Target

    source = places.place(str(options.folder))
    files = list(islice(source.photographs(), options.photographs))
    model = models.exported(str(options.model), options.model)
    work = worker.Work(source, "model", model.precision, None)

    def timed(part: list) -> Iterator[tuple[float, list[dict]]]:
        from twinhead.spark import worker

        begun = time.time()
        rows = list(worker.answer(work, part))
        yield time.time() - begun, rows

    settings = {"spark.executor.memory": "1g"}
    started = session.started(f"local-cluster[{cores},1,1024]", settings, model.files, "model")
    with started as opened, tempfile.TemporaryDirectory() as folder:
        held = Target(places.place(folder))
        for _ in range(2):  # a worker that has come late, too
            session.ask(opened, partial(worker.answer, work), files[: FIRST * cores])
        begun = time.time()
        found = session.ask(opened, timed, files)
        rows = [row for _, part in found for row in part]
        held.commit(rows)
        took = time.time() - begun
        busy = sum(seconds for seconds, _ in found)
    return {
        "pace": len(rows) / took,
        "start": begun - float(os.environ["BEGUN"]),
        "share": 1 - busy / (took * cores),
    }


if __name__ == "__main__":
    main()
