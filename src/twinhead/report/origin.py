"""The data and the params that the results come from, and how to make them again."""

import json
import re
import shlex
from collections.abc import Iterator

import pandas as pd

from twinhead import params, paths
from twinhead.dataset import splits
from twinhead.ingest import quality
from twinhead.report.markup import Html, code, folded, join, paragraph, table, text
from twinhead.report.results import Results

LISTED = 200
"""Remarks of a kind that the page names."""
_ONE_SIDE = "each kept on one side of the split"


def section(results: Results) -> Html:
    index, counts = results.metrics["index"], results.metrics["split"]
    settings = dict(params.flat(params.relevant(results.settings)))
    facts = [
        ["folder", code(results.settings.data.root)],
        ["images", f"{index['images']:,}"],
        ["of them defective", f"{index['defective']:,}"],
        ["of those with a mask", f"{index['masks']:,}"],
        ["categories", f"{len(index['by_category']):,}"],
        ["exact duplicates", f"{index['duplicates']:,}, {_ONE_SIDE}"],
        ["near duplicates", f"{counts['near_duplicates_kept_together']:,}, {_ONE_SIDE}"],
        ["joined by lot", f"{counts['lots_kept_together']:,}, {_ONE_SIDE}"],
        ["SHA-256 of images and labels", code(index["digest"])],
    ]
    rows = [
        [name, *(f"{counts[name][kind]:,}" for kind in ("images", "good", "defective"))]
        for name in splits.SPLITS
    ]
    spared = counts["defects_left_out"]
    if alike := counts[splits.UNUSED] - spared:
        rows.append(["unused: in a test image's group", f"{alike:,}", "", ""])
    if spared:
        rows.append(["unused: split.train_defects", f"{spared:,}", "0", f"{spared:,}"])
    return join([
        table(["data", ""], facts, "facts"),
        table(["split", "images", "good", "defective"], rows),
        _remarks(results.remarks),
        Html("<h3>How to make it again</h3>"),
        paragraph(
            "With these params in ", code(paths.PARAMS.as_posix()), " and the same data, the first",
            " command makes the environment and the results; the second makes the results in an"
            " environment that is there; the third sets every param by itself.",
        ),
        _commands(results.settings),
        folded(f"All {len(settings)} params", table(["param", "value"], [
            [name, _value(value)] for name, value in settings.items()
        ], "facts")),
    ])  # fmt: skip


def _remarks(found: pd.DataFrame) -> Html:
    """What is odd about the data, with every file's name."""
    kinds = found.groupby("kind", sort=False)
    parts = []
    for kind, rows in kinds:
        listed = rows[["path", "remark"]].head(LISTED).to_numpy().tolist()
        if len(rows) > LISTED:
            listed.append([f"{len(rows) - LISTED:,} more are in {paths.REMARKS}", ""])
        parts.append(folded(f"{quality.KINDS[kind]}: {len(rows):,}", table(["file", ""], listed)))
    return join(parts)


def overrides(settings: params.Params) -> Iterator[str]:
    """All params as `dvc exp run -S` takes them."""
    for name, value in params.flat(params.relevant(settings)):
        yield f"{name}={_override(value)}"


def _commands(settings: params.Params) -> Html:
    changes = (f"-S {shlex.quote(change)}" for change in overrides(settings))
    lines = ["make run", "dvc repro", " \\\n    ".join(["dvc exp run", *changes])]
    return Html("".join(f"<pre>{text(line)}</pre>" for line in lines))


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
