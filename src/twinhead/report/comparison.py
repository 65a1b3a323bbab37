"""One network or two: the table of `make comparison`, where it is of this data, params and code."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import twinhead
from twinhead import params
from twinhead.report.results import Results

BEGIN, END = "<!-- comparison -->\n", "<!-- /comparison -->"
"""The marks in docs/comparison.md between which benchmarks/comparison.py writes."""

DECIDING = ("backbones", "dataset", "evaluation", "ingest", "model", "partition")
"""Folders of twinhead whose code decides the table."""
VARIED = (
    "model.backbone", "model.tasks", "data.image_size", "train.schedule", "train.precision",
    "train.seed", "evaluate.", "embed.", "explain.", "tracking.",
)  # fmt: skip
"""Params that differ within the table, and those that it doesn't depend on."""


def section(results: Results) -> dict | None:
    lines = results.comparison.partition(BEGIN)[2].partition(END)[0].splitlines()
    known = dict(params.flat(params.relevant(results.settings)))
    if f"Made of: `{made_of(results.metrics['index']['digest'], known)}`" not in lines:
        return None
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


def made_of(data: str, known: Mapping[str, object]) -> str:
    """The digest of what a table is made of: the data's own digest, the params and the code."""
    told = {
        name: str(value) for name, value in sorted(known.items()) if not name.startswith(VARIED)
    }
    seen = sha256(json.dumps([data, told]).encode())
    source = Path(twinhead.__file__).parent
    for folder in DECIDING:
        for file in sorted((source / folder).rglob("*.py")):
            seen.update(file.read_bytes())
    return seen.hexdigest()[:16]
