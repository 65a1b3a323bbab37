"""What would each part cost at a hundred thousand, a million and a hundred million photographs?

Arithmetic, no measurement: the figures that were measured elsewhere in the repository, what the
code counts for each photograph, and prices that are assumed stand below by name, with where each is
from. Writes the tables of docs/scale.md anew, and draws docs/scale.png.

    python benchmarks/scale.py            # prints the tables
    python benchmarks/scale.py --write    # and writes both files
"""

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE, FIGURE = REPOSITORY / "docs/scale.md", REPOSITORY / "docs/scale.png"
SIZES = (100_000, 1_000_000, 100_000_000)
KB, MB, GB, GIB = 1e3, 1e6, 1e9, 2**30
HOUR, MONTH = 3600, 730 * 3600

# ---- Counted: bytes that the code and its committed results have for each photograph.
SIDE = 320
"""data.image_size, as shipped."""
PIXELS, MASK = SIDE**2 * 3, SIDE**2
POOLED = 4 * 1408
MAPS = 2 * (40 * 40 * 40 + 20 * 20 * 112 + 10 * 10 * 320)
"""backbones/outputs.py: stage3, stage5 and stage7 in float16."""
CHROMATICITY = 4 * 2
TRAIN, VAL, TEST = 0.7, 0.1, 0.2
"""Shares of the splits, as shipped."""
STORES, KEY = 6, 42
"""Pixels and five features; bytes of a row in a store's index.json (25,013 for 600 rows)."""
SHARD = 8 * (1 - (7 / 8) ** 32)
"""Rows of a shard, on average: sharding.MEAN and MOST. The embedded data set has 7.1."""
LISTS = (237_578 + 249_441) / 600
"""catalog.csv and decoded.csv of the embedded data set, in dvc.lock; so the next ones."""
SPLITS, EXTRACTED, PREDICTIONS = 68_604 / 600, 58_490 / 600, 54_894 / 600
DESCRIBED = POOLED + MAPS + CHROMATICITY + EXTRACTED
CROSSFIT, EXPLANATIONS = 70_331 / 416, 11_328 / 121
MODEL, EDGE, OVERLAYS, PAGE_BYTES = 38_732_039, 38_234_115, 17_722_898 + 346_032, 4_295_021
"""Of fifteen categories; they don't grow with the photographs."""
RUN = 2 * (MODEL + EDGE) + OVERLAYS + PAGE_BYTES
"""What one experiment leaves in MLflow: the files, and the registered model's own copies."""
FINE, COARSE, TARGETS = 4 * 20 * 20, 4 * 10 * 10, 4 * 20 * 20
"""fitting.py and patch_learning.py hold these of each training image: distances, mask targets."""
DEVIATION = POOLED * (1 + 2 / 3)
"""The same: the pooled features, and the two folds of them that a head learns from."""
POOL = 2 * 250_000 * 320 * 4
"""model/memory.py: the patches that are chosen from at a time, and their joined copy."""
LOOKED_AT = 4 * 40 * 40 + POOLED
"""review/photographs.py keeps this of each photograph of a folder."""
RESUMED, WATCHED = 8, 8
"""docs/edge.md: what `predict --resume` and `watch` remember of each photograph."""

# ---- Measured. Core-seconds are those of two cores of an AMD EPYC.
INDEX = 2 / 52.6
"""benchmarks/README.md, indexing.py: 360 PNGs of 1024², with masks, to 448²."""
DECODE = 2 / 61.2
"""The same: decoding and resizing alone."""
SEARCH = {10_000: 0.2, 30_000: 0.8, 100_000: 4.7, 1_000_000: 93.0}
"""The same, duplicates.py: hashes that differ in half of their bits, seconds of one core."""
BACKBONE = 0.0243
"""The same, engine.py: the whole network by OpenVINO, one category; without writing."""
BY_TENSORFLOW = 0.0531
"""The same: the whole network, fifteen categories; `evaluate` has no backbone, and a
bootstrap."""
FITTING = 33.6 * 2 / 611
"""docs/results.md: seconds for 611 good photographs on two cores that others shared, as if it had
had both; without the patch networks, which learn from defects."""
EXPLAIN = (28 - 11) * 2 / ((5354 - 600) * 0.2)
"""benchmarks/README.md, size.py: its growth from 600 to 5,354 images."""
EMBED, DRAW = 53.0, 18.0 + 14.0
"""The same: seconds of `embed` for 5,354 images, and of `plots` and `report`."""
FLOAT, INT8 = 0.0442, 0.0314
"""docs/edge.md: the exported network, fifteen categories, without decoding."""
REVIEWED = 0.0494
"""The same: the trained network by OpenVINO, which `review` asks about a folder."""
EDGE_MEMORY, TRAINED_MEMORY = 340 * MB, 1170 * MB
START = {"index": 0.13, "split": 0.13, "features": 0.49, "train": 0.65, "evaluate": 1.36,
         "embed": 1.14, "explain": 1.18, "report": 0.42}  # fmt: skip
"""GiB, benchmarks/README.md, size.py: the peak of the process where the growth begins; `report`
with `plots`."""
RENDERED = 98_000
"""Photographs between its two columns at 64²: 2,000 and 100,000."""
GROWTH = {"index": 0.03 * GIB / 4754, "split": 0.25 * GIB / RENDERED,
          "features": 0.02 * GIB / 4754, "evaluate": 0.26 * GIB / RENDERED,
          "train": (1.58 * GIB - POOL) / RENDERED - TRAIN * DEVIATION,
          "embed": 0.09 * GIB / RENDERED, "explain": 0.09 * GIB / RENDERED,
          "report": 0.14 * GIB / RENDERED}  # fmt: skip
"""Bytes a photograph, from the same tables, whose last digit is 0.01 GiB; `train` without what is
counted above; `explain`, which didn't grow there, as `embed`."""

# ---- Assumed.
PHOTOGRAPH = 1 * MB
MASKED = 0.25
"""Share of photographs with a mask, as in the embedded data set."""
CATEGORIES, EXPERIMENTS = 15, 100
CORE_PRICE, MEMORY_PRICE, WITH_A_CORE = 0.035, 0.004, 4
"""Dollars an hour for a core and for a GiB, and the GiB that come with each core."""
OBJECTS_PRICE, DISK_PRICE, PUT_PRICE = 0.023, 0.08, 0.005 / 1000
"""Dollars a month for a GB of object storage and of an SSD; for an object written."""
DATABASE_PRICE = 50
"""Dollars a month for a small PostgreSQL."""
FILES_A_SECOND = 200
"""That DVC hashes and sends."""
SPARK_SHARE = 0.10
"""Of a worker's time that is Spark's own; docs/spark.md, spark.py: 0.094 by two of them."""


@dataclass(frozen=True)
class Part:
    """What one part costs, as functions of the number of photographs."""

    name: str
    seconds: Callable[[float], float] | None = None
    """Of a core."""
    memory: Callable[[float], float] | None = None
    """Bytes of one process, at its peak."""
    disk: Callable[[float], float] | None = None
    """Bytes that stay."""
    cores: int = 2
    """That one process keeps busy, of the two that were measured."""
    objects: Callable[[float], float] | None = None
    """Files that are written to object storage."""
    disk_price: float = DISK_PRICE
    by_month: float = 0
    """Dollars a month beside the disk."""
    up_to: int = 0
    """Photographs with which the seconds were measured."""
    stands_in: bool = False
    """The seconds are of something like it; docs/scale.md says what they lack."""

    def once(self, photographs: float) -> float | None:
        """Dollars to compute it one time."""
        found = self.objects(photographs) * PUT_PRICE if self.objects else 0.0
        if self.seconds is None:
            return found or None
        hours = self.seconds(photographs) / self.cores / HOUR
        need = self.memory(photographs) / GIB if self.memory else 0.0
        memory = max(need, WITH_A_CORE * self.cores)
        return found + hours * (self.cores * CORE_PRICE + memory * MEMORY_PRICE)

    def monthly(self, photographs: float) -> float | None:
        """Dollars a month to keep what it leaves."""
        if self.disk is None:
            return None
        return self.disk(photographs) / GB * self.disk_price + self.by_month


def grown(stage: str, more: float = 0.0, start: float = 0.0) -> Callable[[float], float]:
    """Bytes of memory: what was measured at the start, and so much for each photograph."""
    each = GROWTH[stage] + more
    return lambda n: START[stage] * GIB + start + each * n


def search(photographs: float) -> float:
    """Seconds of the search for near duplicates; beyond what was measured, its last slope."""
    known, taken = np.log(list(SEARCH)), np.log(list(SEARCH.values()))
    at = np.log(photographs)
    low = int(np.clip(np.searchsorted(known, at), 1, len(known) - 1))
    slope = (taken[low] - taken[low - 1]) / (known[low] - known[low - 1])
    return float(np.exp(taken[low] + slope * (at - known[low])))


def stores(photographs: float) -> float:
    """Bytes of `data/`: what DVC keeps a copy of, and sends to its remote."""
    return photographs * (PIXELS + MASKED * MASK + LISTS + SPLITS + DESCRIBED + STORES * KEY)


def shards(photographs: float) -> float:
    return photographs * (STORES + MASKED) / SHARD


HELD = TRAIN * (FINE + COARSE + TARGETS + DEVIATION)
PARTS = (
    Part("the photographs", disk=lambda n: n * PHOTOGRAPH, disk_price=OBJECTS_PRICE),
    Part("`index`", lambda n: n * INDEX, grown("index"),
         lambda n: n * (PIXELS + MASKED * MASK + LISTS + (1 + MASKED) * KEY), up_to=360),
    Part("`split`: near duplicates", search, grown("split"), lambda n: n * SPLITS, cores=1,
         up_to=1_000_000),
    Part("`features`", lambda n: n * BACKBONE, grown("features"),
         lambda n: n * (DESCRIBED + (STORES - 1) * KEY), up_to=64, stands_in=True),
    Part("`train`", lambda n: n * TRAIN * FITTING, grown("train", HELD, POOL),
         lambda n: 2 * MODEL + n * TRAIN * CROSSFIT, up_to=611, stands_in=True),
    Part("`evaluate`", lambda n: n * BY_TENSORFLOW,
         grown("evaluate", 2 * POOLED * TEST / CATEGORIES), lambda n: n * PREDICTIONS, up_to=64,
         stands_in=True),
    Part("`embed`, of 6,000", lambda n: EMBED, grown("embed"), lambda n: 6000 * 41_167 / 600,
         cores=1, up_to=5354),
    Part("`explain`", lambda n: n * TEST * EXPLAIN, grown("explain"),
         lambda n: n * TEST * EXPLANATIONS, up_to=5354),
    Part("`export`", lambda n: n * VAL * (FLOAT + INT8), None, lambda n: EDGE, up_to=64),
    Part("`plots`, `report`", lambda n: DRAW, grown("report"), lambda n: OVERLAYS + PAGE_BYTES,
         cores=1, up_to=5354),
    Part("DVC's cache", disk=stores),
    Part("DVC's remote", lambda n: shards(n) / FILES_A_SECOND, None, stores, cores=1,
         objects=shards, disk_price=OBJECTS_PRICE),
    Part(f"MLflow, {EXPERIMENTS} runs", disk=lambda n: EXPERIMENTS * (
         RUN + n * (SPLITS + PREDICTIONS + TEST * EXPLANATIONS)), disk_price=OBJECTS_PRICE,
         by_month=DATABASE_PRICE),
    Part("`predict`, float", lambda n: n * (DECODE + FLOAT), lambda n: EDGE_MEMORY + RESUMED * n,
         lambda n: n * PREDICTIONS, up_to=64),
    Part("`predict`, int8", lambda n: n * (DECODE + INT8), lambda n: EDGE_MEMORY + RESUMED * n,
         lambda n: n * PREDICTIONS, up_to=64),
    Part("`watch`, float", lambda n: n * (DECODE + FLOAT), lambda n: EDGE_MEMORY + WATCHED * n,
         lambda n: n * 2 * PREDICTIONS, up_to=64),
    Part("`predict` on Spark", lambda n: n * (DECODE + FLOAT) / (1 - SPARK_SHARE),
         lambda n: EDGE_MEMORY, lambda n: n * PREDICTIONS, up_to=64),
    Part("`review` of a folder", lambda n: n * (DECODE + REVIEWED),
         lambda n: TRAINED_MEMORY + LOOKED_AT * n, up_to=64),
)  # fmt: skip
FIRST_ANSWERING = next(part for part in PARTS if part.name.startswith("`predict"))
"""From this one on they answer for photographs with a model that is there."""
MEASURED = {("`split`: near duplicates", size) for size in SEARCH}
"""Parts and sizes whose seconds were measured as such."""


def table(photographs: int) -> str:
    """A row for each part; each money column is for a million photographs."""
    lines = [
        "| part | disk | core-hours | hours on two cores | memory | $ a million, once | a month |",
        "|---|---|---|---|---|---|---|",
    ]
    millions, once, monthly, hours, kept = photographs / 1e6, 0.0, 0.0, 0.0, 0.0
    for part in PARTS:
        if part is FIRST_ANSWERING:
            lines.append(
                f"| **the pipeline, to here** | {size(kept)} | ~ {short(hours)} | – | –"
                f" | ~ {money(once / millions)} | {money(monthly / millions)} |"
            )
        sign = "~ " if part.stands_in else ""
        core = clock = "–"
        if part.seconds:
            of_core = part.seconds(photographs) / HOUR
            core, clock = sign + short(of_core), sign + short(of_core / part.cores)
            if (part.name, photographs) in MEASURED:
                core, clock = f"**{core}**", f"**{clock}**"
        cost, rent = part.once(photographs), part.monthly(photographs)
        disk = size(part.disk(photographs)) if part.disk else "–"
        memory = size(part.memory(photographs)) if part.memory else "–"
        lines.append(
            f"| {part.name} | {disk} | {core} | {clock} | {memory}"
            f" | {'–' if cost is None else sign + money(cost / millions)}"
            f" | {'–' if rent is None else money(rent / millions)} |"
        )
        once, monthly = once + (cost or 0), monthly + (rent or 0)
        kept += part.disk(photographs) if part.disk else 0
        hours += part.seconds(photographs) / HOUR if part.seconds else 0
    return "\n".join(lines)


def short(number: float) -> str:
    """Two digits: nothing here is known better."""
    rounded = float(f"{number:.1e}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:.2g}"


def size(number: float) -> str:
    for unit, name in ((1e15, "PB"), (1e12, "TB"), (GB, "GB"), (MB, "MB"), (KB, "kB")):
        if number >= unit:
            return f"{short(number / unit)} {name}"
    return f"{number:.0f} B"


def money(dollars: float) -> str:
    return "< 0.01" if dollars < 0.01 else short(dollars)


def text() -> str:
    """The three tables, as docs/scale.md has them."""
    parts = []
    for photographs in SIZES:
        parts.append(f"### {photographs:,} photographs\n\n{table(photographs)}")
        parts.append(
            f"{short(shards(photographs))} files of shards; an `index.json` of"
            f" {size(photographs * KEY)} for each of the larger stores."
        )
    return "\n\n".join(parts)


def with_tables(page: str) -> str:
    """The page with its tables as they are now."""
    tables = f"<!-- tables -->\n{text()}\n<!-- /tables -->"
    return re.sub("<!-- tables -->.*<!-- /tables -->", lambda _: tables, page, flags=re.S)


LINES = {
    "`index`": "#1f5fa8", "`split`: near duplicates": "#2b8a5f", "`features`": "#e08a1e",
    "`train`": "#c8322b", "`embed`, of 6,000": "#8a8f98", "`predict`, float": "#6b4fa0",
    "`evaluate`": "#3aa0a8", "`review` of a folder": "#b5589a",
}  # fmt: skip
CALLED = {"`split`: near duplicates": "split", "`embed`, of 6,000": "embed",
          "`predict`, float": "predict", "`review` of a folder": "review"}  # fmt: skip
HOURS = ("`index`", "`split`: near duplicates", "`features`", "`train`", "`embed`, of 6,000",
         "`predict`, float")  # fmt: skip
MEMORY = ("`index`", "`split`: near duplicates", "`features`", "`train`", "`evaluate`",
          "`predict`, float", "`review` of a folder")  # fmt: skip
MEMORY_UP_TO = {"`index`": 5354, "`features`": 5354, "`split`: near duplicates": 100_000,
                "`train`": 100_000, "`evaluate`": 100_000}  # fmt: skip
"""Photographs with which the memory was measured."""
TICKS = ["100", "1,000", "10,000", "100,000", "1 million", "10", "100 million"]


def draw(path: Path) -> None:
    """Draw the hours and the memory; what is measured as a line to its dot, the rest dashed."""
    from matplotlib.figure import Figure

    from twinhead.plots import style

    known = {part.name: part for part in PARTS}
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, names, marks in (
        (left, HOURS, {1: "an hour", 24: "a day", 730: "a month"}),
        (right, MEMORY, {8: "8 GiB", 256: "256 GiB"}),
    ):
        axes.set(xscale="log", yscale="log", xlim=(50, 1e8), xlabel="photographs")
        axes.set_xticks([10.0**power for power in range(2, 9)], TICKS)
        axes.minorticks_off()
        if axes is left:
            axes.set(title="Hours on two cores", ylim=(1e-4, 1e6))
            ticks = [10.0**power for power in range(-4, 7, 2)]
        else:
            axes.set(title="Memory of one process, GiB", ylim=(0.05, 3e3))
            ticks = [10.0**power for power in range(-1, 4)]
        axes.set_yticks(ticks, [f"{tick:,g}" if tick < 1e4 else f"{tick:,.0f}" for tick in ticks])
        for at in SIZES:
            axes.axvline(at, color="#dddddd", lw=0.8, zorder=0)
        for at, name in marks.items():
            axes.axhline(at, color="#bbbbbb", lw=0.8, ls=":", zorder=0)
            axes.text(60, at * 1.12, name, color="#777777", size=8)
        ends = []
        for name in names:
            part, at = known[name], np.geomspace(50, 1e8, 300)
            if axes is left:
                values = [part.seconds(n) / part.cores / HOUR for n in at]
                last = part.up_to
            else:
                values, last = [part.memory(n) / GIB for n in at], MEMORY_UP_TO.get(name, 0)
            values = np.array(values)
            axes.plot(at, values, color=LINES[name], lw=1.2, ls="--")
            if last:
                axes.plot(at[at <= last], values[at <= last], color=LINES[name], lw=2.2)
                end = float(np.exp(np.interp(np.log(last), np.log(at), np.log(values))))
                axes.plot(last, end, "o", color=LINES[name], ms=5)
            sign = "~ " if part.stands_in and axes is left else ""
            ends.append((values[-1], f"{sign}{CALLED.get(name, name.strip('`'))}", LINES[name]))
        label(axes, ends)
    left.plot([], [], "o-", color="#555555", lw=2.2, ms=5, label="up to what was measured")
    left.plot([], [], "--", color="#555555", lw=1.2, label="extrapolated, or counted from the code")
    left.legend(loc="upper left", bbox_to_anchor=(0.08, 1.0), fontsize=8)
    style.save(figure, path)


def label(axes, ends: list[tuple[float, str, str]]) -> None:
    """Write each line's name at its end, apart from the others."""
    low, high = np.log(axes.get_ylim())
    least, place = 0.05 * (high - low), -np.inf
    for value, name, colour in sorted(ends):
        place = max(np.log(value), place + least)
        axes.text(1.25e8, np.exp(place), name, color=colour, size=9, va="center")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="write docs/scale.md and scale.png")
    print(text())
    if parser.parse_args().write:
        PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        draw(FIGURE)
