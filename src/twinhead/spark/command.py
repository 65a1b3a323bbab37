"""`twinhead spark`: answer for as many photographs as there are, once each."""

import sys
from argparse import Namespace
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from itertools import chain, islice
from typing import Any

from twinhead import errors
from twinhead.errors import InputError
from twinhead.serving import formats, models
from twinhead.serving.tally import Tally
from twinhead.spark import java, places, session, worker
from twinhead.spark.places import File
from twinhead.spark.target import COLUMNS, Known, Target

ALL_READ, UNREADABLE = 0, 1
"""How `spark` ends; 2 is for what stops the whole."""
AHEAD = 2
"""Such commits that are in work: the workers begin the next while the last of one are awaited."""


def spark(options: Namespace) -> int:
    """Do what the command line asks, and return the exit code.

    Raises InputError for what can't be done at all, most of it before anything is started.
    """
    for needed in ("pyspark", "pyarrow"):
        if find_spec(needed) is None:
            raise InputError(errors.not_installed(needed, "spark"))
    settings = _settings(options.conf)
    if options.commit < 1:
        raise InputError(f"--commit is {options.commit}; expected a number of photographs")
    source, target = places.place(options.source), places.place(options.target)
    heatmaps = places.place(options.heatmaps) if options.heatmaps else None
    java.check()
    if not source.exists():
        raise InputError(f"{formats.printable(options.source)}: no such folder")
    with ExitStack() as stack:
        place = stack.enter_context(models.located(options.model))
        model = models.exported(options.model, place)
        if heatmaps and model.known.scale is None:
            raise InputError(f"{options.model}: its export has no heat maps; see docs/edge.md")
        held = Target(target)
        stack.enter_context(held.taken({"model": model.digest, "precision": model.precision}))
        work = worker.Work(source, f"twinhead-{model.digest[:16]}", model.precision, heatmaps)
        tally = _run(options, settings, held, model, work)
    print(f"spark: {tally.line()}", file=sys.stderr)
    return UNREADABLE if tally.unread + tally.undrawn else ALL_READ


def _settings(given: list[str]) -> dict[str, str]:
    settings = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not name or not equals:
            raise InputError(f"--conf {one}: expected NAME=VALUE")
        settings[name] = value
    return settings


def _run(
    options: Namespace,
    settings: dict[str, str],
    held: Target,
    model: models.Exported,
    work: worker.Work,
) -> Tally:
    tally, known = Tally(), held.known()
    listed = work.source.photographs()
    first = next(listed, None)
    if first is None:
        raise InputError(f"{formats.printable(options.source)}: no photographs in it")
    new = _new(chain([first], listed), known, tally)
    rounds = iter(lambda: list(islice(new, options.commit)), [])
    begin = next(rounds, None)
    if begin is None:  # then nothing has to be started
        return tally
    with (
        session.started(options.master, settings, model.files, work.model) as opened,
        ThreadPoolExecutor(AHEAD) as pool,
    ):
        waiting: deque[Future] = deque()

        def write() -> None:
            rows, touched = waiting.popleft().result()
            held.commit(rows, touched)
            _count(tally, rows)
            tally.before += len(touched)
            done = f"{tally.answered + tally.unread} photographs are answered"
            print(f"spark: {done}", file=sys.stderr, flush=True)

        for files in chain([begin], rounds):
            waiting.append(pool.submit(_answered, opened, work, known, files))
            if len(waiting) == AHEAD:
                write()
        while waiting:
            write()
    return tally


def _new(listed: Iterable[File], known: Known, tally: Tally) -> Iterator[File]:
    for file in listed:
        if known.answered(file):
            tally.before += 1
        else:
            yield file


def _answered(
    opened: Any, work: worker.Work, known: Known, files: list[File]
) -> tuple[list[dict], list[dict]]:
    """The photographs' rows; and the stamps of those whose content was answered before."""
    changed = [file for file in files if known.changed(file)]
    touched: list[dict] = []
    if changed:
        digests = session.ask(opened, partial(worker.digest, work), changed)
        touched = [
            file._asdict() | {"digest": digest}
            for file, digest in zip(changed, digests, strict=True)
            if digest is not None and known.same(file.path, digest)
        ]
        same = {row["path"] for row in touched}
        files = [file for file in files if file.path not in same]
    rows = session.ask(opened, partial(worker.answer, work), files) if files else []
    return [row for row in rows if not known.same(row["path"], row["digest"])], touched


def _count(tally: Tally, rows: list[dict]) -> None:
    for row in rows:
        if COLUMNS.keys() & row.keys():
            tally.add(row)
            tally.undrawn += row["error"] is not None
        else:
            tally.unread += 1
