"""`twinhead drift`: compare a folder's photographs with those that the network knows, for cron."""

import re
import time
from argparse import Namespace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from twinhead import errors, files, params, paths, stage
from twinhead.dataset import catalog, pixels, tables
from twinhead.drift import comparison, figure
from twinhead.errors import InputError
from twinhead.serving import formats, photographs

if TYPE_CHECKING:
    from twinhead.serving.predictor import Predictor

FINE, DRIFTED = 0, 1
"""How `drift` ends; 2 is for what stops the whole."""
BATCH = 64
ALL = "all"
"""The category of every photograph, for a network that tells none."""
UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def drift(options: Namespace) -> int:
    """Do what the command line asks, and return the exit code.

    Raises InputError for what can't be done at all; a photograph that can't be read is named.
    """
    if not 0 < options.false_alarms < 1:
        raise InputError(
            f"--false-alarms is {options.false_alarms:g}; expected a share such as .01"
        )
    if options.last is not None and options.last < 1:
        raise InputError(f"--last is {options.last}; expected a number of photographs")
    if not options.folder.is_dir():
        raise InputError(f"{options.folder}: no such folder; expected one of photographs")
    for file in filter(None, (options.plot, options.json)):
        formats.check(file)
    settings = params.load()
    listed = chosen(list(photographs.find([str(options.folder)])), options.since, options.last)
    with stage.loading():
        from twinhead.model import detector
        from twinhead.serving import predictor

    model = predictor.load(paths.MODEL)
    usual = reference()
    now = ask(model, listed)
    if now.empty:
        raise InputError(f"{options.folder}: none of {len(listed)} photographs can be read")
    if "category" not in model.columns:
        usual = usual.assign(category=ALL)
    found = comparison.compare(
        now, usual, model.rules.threshold_of, detector.UNUSUAL, options.false_alarms
    )
    if found.table.empty:
        needed = f"({comparison.LEAST} needed)"
        if max(found.few.values()) < comparison.LEAST:
            raise InputError(f"{options.folder}: too few photographs of every category {needed}")
        raise InputError(f"{paths.CROSSFIT}: too few good photographs to compare with {needed}")
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
            figure.draw(found, now, usual, part)
    if options.track:
        with stage.loading():
            from twinhead.tracking import runs

        day = int(time.time() // 86_400)
        run = runs.add(settings, "drift", comparison.numbers(found), day)
        print(f"drift: kept in run {run}, step {day}")
    return DRIFTED if found.drifted else FINE


def reference() -> pd.DataFrame:
    """The good training images as they were cross-fitted: `category` and the columns of MEASURES.

    Raises InputError where the workspace lacks them, as with the paper's network.
    """
    for path in (paths.CROSSFIT, paths.CATALOG, paths.PIXELS):
        if not path.exists():
            raise InputError(f"{path} is missing; run `dvc repro` or `dvc checkout` first")
    crossfit = tables.read(paths.CROSSFIT)
    good = crossfit[crossfit["defective"] == 0]
    if good.empty or "unusual" not in good:
        raise InputError(
            f"{paths.CROSSFIT}: no cross-fitted answers of good images to compare with"
        )
    frame, stored = catalog.read(paths.CATALOG), pixels.load(paths.PIXELS)
    rows = pd.Series(frame.index, frame["path"])[good["path"]].to_numpy()
    parts = [
        comparison.measure(stored[rows[start : start + BATCH]])
        for start in range(0, len(rows), BATCH)
    ]
    table = good[["category", "defect_probability", "unusual"]].reset_index(drop=True)
    table = table.rename(columns={"defect_probability": "score"})
    return table.join(pd.concat(parts, ignore_index=True))


def ask(model: "Predictor", listed: list[Path]) -> pd.DataFrame:
    """What the network says of photographs, and how they look; as `reference`."""
    from twinhead.review.photographs import looker

    found, done, tell, look = [], 0, stage.progress("drift"), looker(model)
    for part in photographs.decoded(listed, model.size, BATCH):
        read = []
        for _, image in part:
            if isinstance(image, InputError):
                print(f"drift: {errors.printable(str(image))}", flush=True)
            else:
                read.append(image)
        done += len(part)
        if len(listed) > BATCH:
            tell(done, len(listed))
        if read:
            images = np.array(read, np.uint8)
            found.append(said(look(images), model.metadata.categories, images))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def said(given: dict[str, np.ndarray], categories: list[str], images: np.ndarray) -> pd.DataFrame:
    """The rows of some photographs, (n, size, size, 3), uint8, by the network's outputs."""
    named = np.full(len(images), ALL, object)
    if "category" in given:
        named = np.array(categories, object)[given["category"].argmax(axis=1)]
    return pd.DataFrame({
        "category": named, "score": given["defect"][:, 0].astype(float),
        "unusual": given["unusual"][:, 0].astype(float),
    }).join(comparison.measure(images))  # fmt: skip


def chosen(listed: list[Path], since: str | None, last: int | None) -> list[Path]:
    """Those that were written since then, and of these the last so many.

    Raises InputError for a time that isn't one, and where no photograph is left.
    """
    stamps = {file: file.stat().st_mtime for file in listed if file.exists()}
    begin = moment(since, datetime.now()) if since else float("-inf")
    kept = [file for file, stamp in stamps.items() if stamp >= begin]
    if not kept:
        raise InputError(f"no photograph is newer than {since}")
    return sorted(kept, key=lambda file: stamps[file])[-(last or len(kept)) :]


def moment(text: str, now: datetime) -> float:
    """Seconds since 1970 of a time such as 2026-01-31, 2026-01-31T06:00, 12h, 7d or 2w ago."""
    if ago := re.fullmatch(r"(\d{1,5})([hdw])", text):
        return (now - timedelta(**{UNITS[ago[2]]: int(ago[1])})).timestamp()
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        expected = "expected a date such as 2026-01-31, or 12h, 7d or 2w"
        raise InputError(f"--since is {errors.shown(text)}; {expected}") from None
