"""`twinhead drift`: compare a folder's photographs with those that the network knows, for cron."""

import contextlib
import re
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from twinhead import edge, errors, files, params, stage
from twinhead.drift import answers, comparison, figure
from twinhead.drift.answers import ALL
from twinhead.errors import InputError
from twinhead.export import manifest, reference
from twinhead.serving import formats, models, photographs, watch

FINE, DRIFTED = 0, 1
"""How `drift` ends; 2 is for what stops the whole."""
BATCH = 64
UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def drift(options: Namespace) -> int:
    """Do what the command line asks, and return the exit code.

    Raises InputError for what can't be done at all; a photograph that can't be read is named.
    """
    check(options)
    settings = params.load() if options.track else None
    shown = chosen(list(photographs.find([str(options.folder)])), options.since, options.last)
    told = _told(options)
    with models.located(options.model) as place:
        export = models.exported(options.model, place)
        usual = reference.read(export.folder, export.known)
        # In float, as the reference: int8 may take all photographs for a little odder.
        now, unread = ask(edge.load(export.folder, manifest.FLOAT), shown)
    if now.empty:
        raise InputError(f"{options.folder}: none of {len(shown)} photographs can be read")
    if not export.known.categories:
        usual = usual.assign(category=ALL)
    rules = export.known.rules
    assert rules.unusual is not None  # what has a reference was cross-fitted, and can tell
    found = comparison.compare(now, usual, rules.threshold_of, rules.unusual, options.false_alarms)
    if options.page:
        if told is None:
            told = answers.of_look(now, unread, rules)
        _write_page(options, found, now, usual, rules.threshold_of, told)
    if found.table.empty:
        raise InputError(f"{options.folder}: {comparison.nothing(found)}")
    if options.json != formats.STDOUT:
        for line in comparison.lines(found):
            print(line)
        print(
            f"drift: {found.photographs:,} photographs, {found.alarms:.1%} called defective,"
            f" {found.unknown:.1%} unknown: {'DRIFT' if found.drifted else 'no drift'}"
        )
        print(f"drift: {comparison.advice(found, str(options.folder))}", flush=True)
    if options.json:
        rows = found.table.to_dict("records")
        with formats.json_array(options.json) as write:
            write(comparison.numbers(found) | {"tests": rows})
    if options.plot:
        with files.whole(options.plot) as part:
            figure.draw(found, now, usual, rules.threshold_of, part)
    if settings is not None:
        with stage.loading():
            from twinhead.tracking import runs

        day = int(time.time() // 86_400)
        run = runs.add(settings, "drift", comparison.numbers(found), day)
        terminal = sys.stderr if options.json == formats.STDOUT else sys.stdout
        print(f"drift: kept in run {run}, step {day}", file=terminal)
    return DRIFTED if found.drifted else FINE


def check(options: Namespace) -> None:
    """Raise InputError for a command line that can't be followed, before anything is read."""
    if not 0 < options.false_alarms < 1:
        raise InputError(
            f"--false-alarms is {options.false_alarms:g}; expected a share such as .01"
        )
    if options.last is not None and options.last < 1:
        raise InputError(f"--last is {options.last}; expected a number of photographs")
    if not options.folder.is_dir():
        raise InputError(f"{options.folder}: no such folder; expected one of photographs")
    for name in ("plot", "page"):
        if getattr(options, name) == formats.STDOUT:
            raise InputError(f"--{name} -: a {name} needs a file")
    if options.plot and options.plot.suffix.lower() != ".png":
        raise InputError(f"--plot {options.plot}: expected a name that ends with .png")
    if options.jsonl and not options.page:
        raise InputError("--jsonl: only --page shows what `watch` has answered")
    if options.jsonl and not options.jsonl.is_file():
        raise InputError(f"{options.jsonl}: no such file; expected the answers of `twinhead watch`")
    read = options.jsonl or watch.beside(options.folder)
    outputs = [options.plot, options.json, options.page, read if options.page else None]
    formats.check_all([file for file in outputs if file])


def ask(model: edge.Runtime, shown: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the network says of photographs, and how they look; and those that can't be read.

    shown: `file` and `modified`. The first has `modified` and a reference's columns, the second
    `modified` and `error`.
    """
    found, unread, tell = [], [], stage.progress("drift")
    parts = photographs.decoded(shown["file"], model.size, BATCH)
    for start, part in zip(range(0, len(shown), BATCH), parts, strict=True):
        read, stamps = [], []
        for (_, image), stamp in zip(part, shown["modified"][start : start + BATCH], strict=True):
            if isinstance(image, InputError):
                fault = formats.printable(image)
                print(f"drift: {fault}", file=sys.stderr, flush=True)
                unread.append((stamp, fault))
            else:
                read.append(image)
                stamps.append(stamp)
        if len(shown) > BATCH:
            with contextlib.redirect_stdout(sys.stderr):
                tell(start + len(part), len(shown))
        if read:
            images = np.array(read, np.uint8)
            rows = said(model.look(images), model.categories, images)
            found.append(rows.assign(modified=stamps))
    now = pd.concat(found, ignore_index=True) if found else pd.DataFrame()
    return now, pd.DataFrame(unread, columns=["modified", "error"])


def said(given: dict[str, np.ndarray], categories: list[str], images: np.ndarray) -> pd.DataFrame:
    """The rows of some photographs, (n, size, size, 3), uint8, by the network's outputs."""
    named = np.full(len(images), ALL, object)
    if "category" in given:
        named = np.array(categories, object)[given["category"].argmax(axis=1)]
    return pd.DataFrame({
        "category": named, "score": given["defect"][:, 0].astype(float),
        "unusual": given["unusual"][:, 0].astype(float),
    }).join(reference.measure(images))  # fmt: skip


def chosen(listed: list[Path], since: str | None, last: int | None) -> pd.DataFrame:
    """Those that were written since then, and of these the last so many: `file`, `modified`.

    Raises InputError for a time that isn't one, and where no photograph is left.
    """
    there = [file for file in listed if file.exists()]
    stamps = [file.stat().st_mtime for file in there]
    kept = newest(pd.DataFrame({"file": there, "modified": stamps}), since, last)
    if kept.empty:
        raise InputError(f"no photograph is newer than {since}")
    return kept


def newest(table: pd.DataFrame, since: str | None, last: int | None) -> pd.DataFrame:
    """The rows that are `modified` (seconds since 1970) since then, of these the last so many."""
    if since:
        table = table[table["modified"] >= moment(since, datetime.now())]
    ordered = table.sort_values("modified", kind="stable", ignore_index=True)
    return ordered.tail(last or len(ordered)).reset_index(drop=True)


def moment(text: str, now: datetime) -> float:
    """Seconds since 1970 of a time such as 2026-01-31, 2026-01-31T06:00, 12h, 7d or 2w ago."""
    if ago := re.fullmatch(r"(\d{1,5})([hdw])", text):
        return (now - timedelta(**{UNITS[ago[2]]: int(ago[1])})).timestamp()
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        expected = "expected a date such as 2026-01-31, or 12h, 7d or 2w"
        raise InputError(f"--since is {errors.shown(text)}; {expected}") from None


def _told(options: Namespace) -> pd.DataFrame | None:
    """What `watch` has answered, of the same time; None where it has answered nothing then."""
    file = options.jsonl or watch.beside(options.folder)
    if not options.page or not file.is_file():
        return None
    told = newest(answers.of_watch(file), options.since, options.last)
    return None if told.empty else told


def _write_page(
    options: Namespace,
    found: comparison.Drift,
    now: pd.DataFrame,
    usual: pd.DataFrame,
    threshold_of: Callable[[str], float],
    told: pd.DataFrame,
) -> None:
    from twinhead.drift import page  # with scikit-learn, which takes a second

    with tempfile.TemporaryDirectory() as place, files.whole(options.page) as part:
        plot = Path(place) / "plot.png"
        figure.draw(found, now, usual, threshold_of, plot)
        about = page.About(options.folder, options.model, datetime.now())
        part.write_text(page.page(found, told, plot, about), encoding="utf-8")
