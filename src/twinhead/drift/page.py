"""The page of a watched folder: what was answered, and whether it still looks as in training."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd

from twinhead.drift import comparison
from twinhead.drift.answers import ALL
from twinhead.drift.comparison import Drift
from twinhead.report import rendering, thumbnails

RECENT = 14
"""Days that are seen at once; earlier ones open on a click."""
NAMED = 20
"""Photographs that could not be read; the last ones are named."""


@dataclass(frozen=True)
class About:
    folder: Path
    model: str
    """As it was named on the command line."""
    made: datetime


def page(found: Drift, told: pd.DataFrame, plot: Path, about: About) -> str:
    """Return the page as HTML, whole in itself; told: the answers, plot: the comparison's figure.

    All text that comes from the folder is escaped.
    """
    opening = rendering.html("watched/opening", _opening(found, told, about))
    parts = {
        "answers": ("What was answered", _answers(found, told)),
        "drift": ("Does it still look as in training?", _tests(found, plot)),
    }
    sections = [
        {"anchor": anchor, "title": title, "body": rendering.html(f"watched/{anchor}", data)}
        for anchor, (title, data) in parts.items()
    ]
    return rendering.page(f"Twinhead: {about.folder.absolute().name}", opening, sections)


def _opening(found: Drift, told: pd.DataFrame, about: About) -> dict:
    nothing = comparison.nothing(found) if found.table.empty else ""
    return {
        "name": about.folder.absolute().name,
        "folder": str(about.folder),
        "model": about.model,
        "made": _minute(about.made.timestamp()),
        "first": _minute(told["modified"].min()),
        "last": _minute(told["modified"].max()),
        "drifted": _drifted(found),
        "nothing": nothing,
        "advice": "" if nothing else comparison.advice(found, str(about.folder)),
        **_counts(told),
    }


def _answers(found: Drift, told: pd.DataFrame) -> dict:
    day = [datetime.fromtimestamp(seconds).date().isoformat() for seconds in told["modified"]]
    days = [{"name": name} | _counts(own) for name, own in told.groupby(day)][::-1]
    read, lost = told[told["error"] == ""], told[told["error"] != ""]
    drifted = found.table[found.table["drifted"]].groupby("category")["measure"].apply(list)
    categories = [
        {"name": name, "drift": _drift_of(str(name), found, drifted)} | _counts(own)
        for name, own in read.groupby("category")
        if name != ALL
    ]
    return {
        "recent": days[:RECENT],
        "earlier": days[RECENT:],
        "categories": categories,
        "unread": len(lost),
        "named": list(lost.sort_values("modified")["error"][-NAMED:])[::-1],
    }


def _drifted(found: Drift) -> list[str]:
    """Each measure that has drifted, with how many categories: the most drifted first."""
    drifted = found.table[found.table["drifted"]].sort_values("adjusted", kind="stable")
    counts = drifted.groupby("measure", sort=False)["category"].agg(list)
    return [
        f"{comparison.TITLES[name]} ({own[0] if len(own) == 1 else f'{len(own)} categories'})"
        for name, own in counts.items()
    ]


def _drift_of(category: str, found: Drift, drifted: pd.Series) -> str:
    if category in drifted:
        return ", ".join(comparison.TITLES[name] for name in drifted[category])
    return "no" if category in set(found.table["category"]) else "too few to say"


def _counts(told: pd.DataFrame) -> dict:
    """How many photographs, and of those that could be read the shares; None where none could."""
    read = told[told["error"] == ""]
    return {
        "images": len(told),
        "defective": float(read["defective"].mean()) if len(read) else None,
        "unknown": float((~read["known"]).mean()) if len(read) else None,
        "unreadable": len(told) - len(read),
    }


def _tests(found: Drift, plot: Path) -> dict:
    table = found.table.sort_values("adjusted", kind="stable")
    rows = {drifted: [_cells(row) for _, row in own.iterrows()]
            for drifted, own in table.groupby("drifted")}  # fmt: skip
    return {
        "drifted": rows.get(True, []),
        "others": rows.get(False, []),
        "photographs": found.photographs,
        "few": found.few,
        "least": comparison.LEAST,
        "plot": thumbnails.chart(plot) if len(table) else "",
    }


def _cells(row: pd.Series) -> list[str]:
    kind = "{:.1%}" if row["measure"] == comparison.UNKNOWN else "{:.3g}"
    shown = [kind.format(row[name]) for name in ("usual", "now")]
    title = comparison.TITLES[row["measure"]]
    return [row["category"], title, *shown, comparison.shown(row["adjusted"])]


def _minute(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
