"""Tables that take long to make, shown where they are of this data, params and code."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import twinhead
from twinhead import params
from twinhead.report import thumbnails
from twinhead.report.results import LABELS_CURVE, Results

BEGIN, END = "<!-- comparison -->\n", "<!-- /comparison -->"
"""The marks in docs/comparison.md between which benchmarks/comparison.py writes."""

DECIDING = ("backbones", "dataset", "evaluation", "ingest", "model", "partition")
"""Folders of twinhead whose code decides the tables."""
AFTER = ("embed.", "explain.", "tracking.")
"""Params of what follows the figures."""
VARIED = (
    "model.backbone", "model.tasks", "data.image_size", "train.schedule", "train.precision",
    "train.seed", "evaluate.", *AFTER,
)  # fmt: skip
BY_LABELS = ("split.train_defects", "split.seed", "train.seed", "export.", *AFTER)
"""Params that differ within a table, and those that it doesn't depend on."""


def section(results: Results) -> dict | None:
    """One network or two, by `make comparison`."""
    lines = results.comparison.partition(BEGIN)[2].partition(END)[0].splitlines()
    return _table(lines) if _is_own(lines, results, VARIED) else None


def labels(results: Results) -> dict | None:
    """What labelled defects add, by `benchmarks/detector.py few`."""
    lines = results.labels.splitlines()
    if not _is_own(lines, results, BY_LABELS) or not LABELS_CURVE.exists():
        return None
    return _table(lines) | {"curve": thumbnails.chart(LABELS_CURVE)}


def _is_own(lines: list[str], results: Results, varied: tuple[str, ...]) -> bool:
    known = dict(params.flat(params.relevant(results.settings)))
    return made_of(results.metrics["index"]["digest"], known, varied) in lines


def _table(lines: list[str]) -> dict:
    head, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith("|") and not line.startswith("|-")
    ]
    return {
        "data": [line.replace("`", "") for line in lines if line.startswith("Data:")],
        "head": head,
        "rows": rows,
        "claims": [line.removeprefix("* ") for line in lines if line.startswith("* ")],
    }


def made_of(data: str, known: Mapping[str, object], varied: tuple[str, ...] = VARIED) -> str:
    """The line that tells what a table is made of: the data, by its digest, the params, the code.

    known: the params, `relevant` and `flat`.
    """
    told = {
        name: str(value) for name, value in sorted(known.items()) if not name.startswith(varied)
    }
    seen = sha256(json.dumps([data, told]).encode())
    source = Path(twinhead.__file__).parent
    for folder in DECIDING:
        for file in sorted((source / folder).rglob("*.py")):
            seen.update(file.read_bytes())
    return f"Made of: `{seen.hexdigest()[:16]}`"
