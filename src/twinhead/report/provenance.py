"""The data and the params that the results come from, and how to make them again."""

import json
import re
import shlex
from collections.abc import Iterator

import pandas as pd

from twinhead import params, paths
from twinhead.dataset import splits
from twinhead.ingest import quality
from twinhead.report.results import Results

LISTED = 200
"""Remarks of a kind that the page names."""


def section(results: Results) -> dict:
    counts = results.metrics["split"]
    settings = dict(params.flat(params.relevant(results.settings)))
    return {
        "root": results.settings.data.root,
        "index": results.metrics["index"],
        "counts": counts,
        "splits": splits.SPLITS,
        "remarks": _remarks(results.remarks),
        "remarks_file": paths.REMARKS.as_posix(),
        "params_file": paths.PARAMS.as_posix(),
        "commands": _commands(results.settings),
        "params": {name: _value(value) for name, value in settings.items()},
    }


def _remarks(found: pd.DataFrame) -> list[dict]:
    """What is odd about the data, by kind, with the names of the first files."""
    return [
        {
            "title": quality.KINDS[kind],
            "total": len(rows),
            "listed": rows[["path", "remark"]].head(LISTED).to_numpy().tolist(),
        }
        for kind, rows in found.groupby("kind", sort=False)
    ]


def overrides(settings: params.Params) -> Iterator[str]:
    """All params as `dvc exp run -S` takes them."""
    for name, value in params.flat(params.relevant(settings)):
        yield f"{name}={_override(value)}"


def _commands(settings: params.Params) -> list[str]:
    changes = (f"-S {shlex.quote(change)}" for change in overrides(settings))
    return ["make run", "dvc repro", " \\\n    ".join(["dvc exp run", *changes])]


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _override(value: object) -> str:
    """A value as `dvc exp run -S` reads it: text that isn't a plain word stands in quotes."""
    if isinstance(value, list):
        return f"[{','.join(_override(inner) for inner in value)}]"
    if not isinstance(value, str):
        return json.dumps(value)
    if re.fullmatch(r"[\w./-]+", value, re.ASCII):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
